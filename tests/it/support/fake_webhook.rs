//! A fake receiver of webhooks on loopback: alerts, and what signaling asks and tells. A test plans its responses.
//!
//! Invariants: a request is in [`FakeWebhook::history`] with its exact bytes before its response is sent. Without a planned
//! response it returns 204.

use std::convert::Infallible;

use axum::body::{Body, Bytes};
use axum::extract::{Request, State};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use futures_util::stream;
use tokio::sync::Notify;

use super::http_server::{HttpServer, Received};
use crate::support::prelude::*;

/// The secret part of the URL.
pub(crate) const PATH: &str = "/services/hush-path-fixture?thread=hush-query-fixture";
const REDIRECT_TARGET: &str = "/redirect-target";

/// The response to one request.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Reply {
    /// This status without a body.
    Status(u16),
    /// 200 with this body.
    Text(&'static str),
    /// 429 with `Retry-After` in seconds.
    TooManyRequests { retry_after: &'static str },
    /// 307 to a path that accepts every request.
    Redirect,
    /// No response.
    Hang,
    /// 200 with an endless body.
    EndlessBody,
}

/// The receiver. Dropping it stops it.
pub(crate) struct FakeWebhook {
    core: Arc<Core>,
    server: HttpServer,
}

#[derive(Default)]
struct Core {
    plan: Mutex<VecDeque<Reply>>,
    history: Mutex<Vec<Received>>,
    arrived: Notify,
}

impl FakeWebhook {
    /// Starts on a free port of 127.0.0.1, with responses in this order.
    pub(crate) async fn start(plan: &[Reply]) -> Self {
        let core = Arc::new(Core { plan: Mutex::new(plan.iter().copied().collect()), ..Core::default() });
        // Doctor asks for the root page. Only what is posted counts.
        let router =
            Router::new().route("/", get(async || ())).fallback(receive).with_state(Arc::clone(&core));
        Self { core, server: HttpServer::start(router).await }
    }

    /// The value of a setting such as `ALERT_WEBHOOK_URL`.
    pub(crate) fn url(&self) -> String {
        format!("http://{}{PATH}", self.server.address)
    }

    /// Every request so far, oldest first.
    pub(crate) fn history(&self) -> Vec<Received> {
        self.core.history.lock().unwrap().clone()
    }

    pub(crate) async fn wait_for(&self, count: usize) {
        loop {
            let arrived = self.core.arrived.notified();
            if self.core.history.lock().unwrap().len() >= count {
                return;
            }
            arrived.await;
        }
    }
}

async fn receive(State(core): State<Arc<Core>>, request: Request) -> Response {
    let received = Received::of(request).await;
    core.history.lock().unwrap().push(received);
    let reply = core.plan.lock().unwrap().pop_front().unwrap_or(Reply::Status(204));
    core.arrived.notify_waiters();
    match reply {
        Reply::Status(status) => StatusCode::from_u16(status).unwrap().into_response(),
        Reply::Text(body) => body.into_response(),
        Reply::TooManyRequests { retry_after } => {
            (StatusCode::TOO_MANY_REQUESTS, [("retry-after", retry_after)]).into_response()
        }
        Reply::Redirect => (StatusCode::TEMPORARY_REDIRECT, [("location", REDIRECT_TARGET)]).into_response(),
        Reply::Hang => std::future::pending().await,
        Reply::EndlessBody => {
            let part = || Ok::<_, Infallible>(Bytes::from_static(&[b'x'; 16 * 1024]));
            Body::from_stream(stream::repeat_with(part)).into_response()
        }
    }
}
