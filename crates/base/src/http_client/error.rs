//! Why a call to another service failed. An error contains neither the URL, which may be a secret, nor anything of the response's
//! body. What to do about it depends on the service, so each client has a `remedy`.

use std::error::Error;
use std::time::Duration;

use reqwest::header::{HeaderMap, RETRY_AFTER};
use reqwest::{Response, StatusCode};

use super::{date, http_date};
use crate::trust::in_words;

/// The longest `Retry-After` that is honoured.
const RETRY_AFTER_MAX: Duration = Duration::from_secs(300);

/// Why a call to another service failed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CallError {
    /// The request could not be built.
    #[error("the request cannot be built")]
    Unsendable,
    /// No connection (DNS, refused, TLS), so the request was not sent. With the root cause.
    #[error("no connection: {0}")]
    Connect(String),
    /// The deadline passed. The request may have had its effect.
    #[error("no answer in time")]
    Timeout,
    /// The connection broke during the exchange. The request may have had its effect. With the root cause.
    #[error("the connection broke: {0}")]
    Broken(String),
    /// A status that is no success.
    #[error("answered {status}")]
    Status {
        /// The status.
        status: StatusCode,
        /// The wait that the service requested, at most five minutes.
        retry_after: Option<Duration>,
    },
    /// The body is longer than any real one.
    #[error("the answer is longer than {0} bytes")]
    TooLong(usize),
    /// The body is not what was asked for.
    #[error("the answer cannot be used: {0}")]
    Unusable(String),
}

impl CallError {
    /// A response with this status and no wait, for tests.
    pub fn of_status(status: u16) -> Self {
        Self::Status { status: StatusCode::from_u16(status).unwrap_or_default(), retry_after: None }
    }

    /// The status of the response, if that is what is wrong.
    pub fn status(&self) -> Option<u16> {
        if let Self::Status { status, .. } = self { Some(status.as_u16()) } else { None }
    }

    /// Whether the same request may succeed later.
    pub fn is_temporary(&self) -> bool {
        match self {
            Self::Connect(_) | Self::Timeout | Self::Broken(_) => true,
            Self::Status { status, .. } => matches!(status.as_u16(), 408 | 425 | 429 | 500..=599),
            Self::Unsendable | Self::TooLong(_) | Self::Unusable(_) => false,
        }
    }

    /// The wait that the service requested.
    pub fn retry_after(&self) -> Option<Duration> {
        if let Self::Status { retry_after, .. } = self { *retry_after } else { None }
    }

    /// Each text that [`Self::outcome`] returns.
    pub const OUTCOMES: [&str; 7] =
        ["connect", "timeout", "broken", "status_5xx", "status_4xx", "status_other", "bad_body"];

    /// A short name for metrics, one of [`Self::OUTCOMES`].
    pub fn outcome(&self) -> &'static str {
        match self {
            Self::Connect(_) => "connect",
            Self::Timeout => "timeout",
            Self::Unsendable | Self::Broken(_) => "broken",
            Self::Status { status, .. } if status.is_server_error() => "status_5xx",
            Self::Status { status, .. } if status.is_client_error() => "status_4xx",
            Self::Status { .. } => "status_other",
            Self::TooLong(_) | Self::Unusable(_) => "bad_body",
        }
    }
}

impl From<reqwest::Error> for CallError {
    fn from(error: reqwest::Error) -> Self {
        let error = error.without_url();
        // "connection refused" says more than "error sending request".
        let causes = std::iter::successors(error.source(), |&cause| cause.source());
        let cause = in_words(&causes.last().map_or_else(|| error.to_string(), ToString::to_string));
        // A connect can also time out, and then nothing was sent.
        if error.is_connect() {
            Self::Connect(cause)
        } else if error.is_timeout() {
            Self::Timeout
        } else if error.is_builder() {
            Self::Unsendable
        } else {
            Self::Broken(cause)
        }
    }
}

/// The response has this status, which is no success.
impl From<&Response> for CallError {
    fn from(response: &Response) -> Self {
        Self::Status { status: response.status(), retry_after: retry_after(response.headers()) }
    }
}

/// The wait that `Retry-After` requests: whole seconds, or the time from the `Date` of the response to a date.
fn retry_after(headers: &HeaderMap) -> Option<Duration> {
    let text = headers.get(RETRY_AFTER)?.to_str().ok()?.trim();
    let is_number = !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
    let wait = if is_number {
        Duration::from_secs(text.parse().unwrap_or(u64::MAX))
    } else {
        http_date(text)?.since(date(headers)?)
    };
    Some(wait.min(RETRY_AFTER_MAX))
}

#[cfg(test)]
mod tests {
    use super::*;
    use reqwest::dns::{Name, Resolve, Resolving};
    use reqwest::header::DATE;
    use reqwest::{Client, ClientBuilder};
    use std::collections::BTreeSet;
    use std::sync::Arc;

    /// Finds no address: at once, or never ends.
    struct NoAddress {
        is_slow: bool,
    }

    impl Resolve for NoAddress {
        fn resolve(&self, _: Name) -> Resolving {
            if self.is_slow {
                return Box::pin(std::future::pending());
            }
            Box::pin(std::future::ready(Err("no such name".into())))
        }
    }

    /// Why a request to this URL fails.
    async fn failure(client: ClientBuilder, url: &str) -> CallError {
        let _ = rustls::crypto::ring::default_provider().install_default();
        let client = client.no_proxy().build().unwrap();
        client.get(url).send().await.unwrap_err().into()
    }

    #[tokio::test]
    async fn an_error_has_its_root_cause() {
        let client = || Client::builder().dns_resolver(Arc::new(NoAddress { is_slow: false }));
        let error = failure(client(), "http://secret.example").await;
        assert_eq!(error, CallError::Connect("no such name".to_owned()));
        assert_eq!(failure(client(), "no URL").await, CallError::Unsendable);
    }

    #[tokio::test]
    async fn a_connect_that_times_out_had_no_effect() {
        let client = || Client::builder().dns_resolver(Arc::new(NoAddress { is_slow: true }));
        let short = Duration::from_millis(1);
        let error = failure(client().connect_timeout(short), "http://secret.example").await;
        assert!(matches!(error, CallError::Connect(_)), "{error}");
        assert_eq!(failure(client().timeout(short), "http://secret.example").await, CallError::Timeout);
    }

    #[test]
    fn errors_that_may_go_away_are_temporary_and_refusals_are_not() {
        for temporary in [408, 425, 429, 500, 502, 503, 504] {
            assert!(CallError::of_status(temporary).is_temporary(), "{temporary}");
        }
        for refusal in [301, 302, 307, 308, 400, 401, 403, 404, 405, 410, 413, 422] {
            assert!(!CallError::of_status(refusal).is_temporary(), "{refusal}");
        }
        assert!(CallError::Timeout.is_temporary() && !CallError::Unsendable.is_temporary());
    }

    #[test]
    fn retry_after_is_honoured_up_to_five_minutes() {
        let asked = |text: &str| {
            let date = "Wed, 21 Oct 2026 07:28:00 GMT".parse().unwrap();
            let headers = HeaderMap::from_iter([(RETRY_AFTER, text.parse().unwrap()), (DATE, date)]);
            retry_after(&headers).map(|wait| wait.as_secs())
        };
        assert_eq!(asked("0"), Some(0));
        assert_eq!(asked(" 30 "), Some(30));
        assert_eq!(asked("300"), Some(300));
        for long in ["301", "99999999999999999999999"] {
            assert_eq!(asked(long), Some(300), "{long}");
        }
        for (date, wait) in [("07:28:30", 30), ("07:40:00", 300), ("07:00:00", 0)] {
            assert_eq!(asked(&format!("Wed, 21 Oct 2026 {date} GMT")), Some(wait), "{date}");
        }
        for other in ["Wed, 21 Oct 2026", "-1", "1.5", ""] {
            assert_eq!(asked(other), None, "{other}");
        }
    }

    #[test]
    fn each_outcome_is_listed() {
        let text = || String::from("text");
        let own = [CallError::Connect(text()), CallError::Timeout, CallError::Broken(text())];
        let of_status = [503, 404, 302].map(CallError::of_status);
        let of_body = [CallError::TooLong(1), CallError::Unusable(text())];
        let errors = own.into_iter().chain(of_status).chain(of_body);
        let outcomes: BTreeSet<_> = errors.map(|error| error.outcome()).collect();
        assert_eq!(outcomes, BTreeSet::from(CallError::OUTCOMES));
    }
}
