//! The body of the leader's response. A long one takes as long as it needs, but it fails if nothing more of it comes.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use axum::BoxError;
use axum::body::{Bytes, HttpBody};
use hyper::body::{Frame, Incoming, SizeHint};
use tokio::time::{Sleep, sleep};

/// The longest time in which nothing more of a response comes.
pub(super) const PROGRESS_MAX: Duration = Duration::from_secs(30);

/// See the module's description.
pub(super) struct Response<B = Incoming> {
    body: B,
    max: Duration,
    /// Set while the next part is waited for.
    patience: Option<Pin<Box<Sleep>>>,
}

impl<B> Response<B> {
    /// `max`: [`PROGRESS_MAX`].
    pub(super) fn new(body: B, max: Duration) -> Self {
        Self { body, max, patience: None }
    }
}

impl<B: HttpBody<Data = Bytes, Error: Into<BoxError>> + Unpin> HttpBody for Response<B> {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        if let Poll::Ready(part) = Pin::new(&mut self.body).poll_frame(context) {
            self.patience = None;
            return Poll::Ready(part.map(|part| part.map_err(Into::into)));
        }
        let max = self.max;
        let patience = self.patience.get_or_insert_with(|| Box::pin(sleep(max)));
        patience.as_mut().poll(context).map(|()| Some(Err(io::Error::from(io::ErrorKind::TimedOut).into())))
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

#[cfg(test)]
mod tests {
    use axum::body::Body;
    use futures_util::stream::unfold;
    use http_body_util::BodyExt;

    use super::*;

    const MAX: Duration = Duration::from_millis(200);

    /// A body with so many parts, each of which takes half of the longest time, and then nothing more.
    fn parts(count: usize) -> Response<Body> {
        let parts = unfold(count, async |left| {
            if left == 0 {
                std::future::pending::<()>().await;
            }
            sleep(MAX / 2).await;
            Some((Ok::<_, io::Error>("part"), left - 1))
        });
        Response::new(Body::from_stream(parts), MAX)
    }

    #[tokio::test]
    async fn a_response_may_be_slow_and_long_but_not_stop() {
        let mut stops = parts(4);
        for _ in 0..4 {
            assert_eq!(stops.frame().await.unwrap().unwrap().into_data().unwrap(), "part");
        }
        assert!(stops.frame().await.unwrap().is_err());
        let known = Response::new(Body::from("1234"), MAX);
        assert_eq!((known.size_hint().exact(), known.is_end_stream()), (Some(4), false));
    }

    #[tokio::test]
    async fn a_client_that_does_not_read_meanwhile_gets_what_has_come() {
        let mut late = parts(1);
        assert!(tokio::time::timeout(MAX / 4, late.frame()).await.is_err());
        sleep(MAX * 2).await;
        assert!(late.frame().await.unwrap().is_ok());
    }
}
