//! The errors that the proxy answers itself, in the form of the SFU's own: JSON with `errorCode` and `errorDescription`. A new
//! session is the exception: partytracks takes any JSON there for a session and hangs until the page is reloaded. After
//! anything else it tries again. So errors of a new session are plain text, Cloudflare's too.

use std::time::Duration;

use serde_json::{Value, json};

/// The longest text made of an error of Cloudflare, in characters.
const TEXT_MAX: usize = 500;

/// Why the proxy answers a request itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// The body does not have the form that the call expects.
    Malformed,
    /// The caller has no valid token, or names no room.
    Unauthorized,
    /// The session belongs to another browser or to another caller.
    Locked,
    /// The session is over, or another process opened it: this broker was restarted since, or does not lead any more.
    Gone,
    /// The operator has blocked the user.
    Blocked,
    /// A track of another room, or of a session that is not known.
    OtherRoom,
    /// Replies on a data channel that its session does not send.
    NoChannel,
    /// The path does not have this method.
    Method,
    /// The body is too long.
    TooLarge,
    /// The address opens sessions too fast, or has too many.
    TooManySessions {
        /// When to try again.
        retry_in: Duration,
    },
    /// The session makes calls too fast, or its address has too many in progress.
    TooFast,
    /// The session, or its address, has as many tracks as it may.
    TooManyTracks,
    /// The client takes as much as it may at a time.
    TooMuch,
    /// The budget is spent, or minting is stopped: nothing more is sent to clients.
    Spent {
        /// When to try again.
        retry_in: Duration,
    },
    /// The user has used the limit of a user.
    UserSpent {
        /// When to try again.
        retry_in: Duration,
    },
    /// The ledger cannot be written.
    NotRecorded,
    /// A table of the proxy is full, or too many calls to the SFU are in progress.
    Full,
    /// The SFU cannot be reached, or its answer cannot be used.
    Unreachable,
    /// The SFU has not answered in time.
    TimedOut,
}

/// The type of our errors.
const JSON: &str = "application/json";
/// The type of errors of a new session.
pub(crate) const TEXT: &str = "text/plain; charset=utf-8";

impl Fault {
    /// The status, the stable code and what to do.
    const fn parts(self) -> (u16, &'static str, &'static str) {
        match self {
            Self::Malformed => {
                (400, "invalid_request", "Send JSON as the SFU's API describes it, with each key once.")
            }
            Self::Unauthorized => (
                401,
                "unauthorized",
                "Send a token of your sign-in or a grant, or name the room in correlationId or X-Realtime-Room.",
            ),
            Self::Locked => (401, "session_locked", "This session belongs to another browser."),
            Self::Blocked => {
                (403, "user_blocked", "The operator has blocked this user or revoked this session.")
            }
            Self::OtherRoom => {
                (403, "other_room", "Tracks can be pulled only from sessions of the same room.")
            }
            Self::NoChannel => {
                (404, "no_such_channel", "That session has no open data channel of this dataChannelName.")
            }
            Self::Method => (405, "method_not_allowed", "Use the method in the Allow header."),
            Self::Gone => {
                (410, "session_gone", "This session is over, or of before a restart. Open a new session.")
            }
            Self::TooLarge => (413, "payload_too_large", "The body is too long."),
            Self::TooManySessions { .. } => {
                (429, "too_many_sessions", "This address opens too many sessions.")
            }
            Self::TooFast => (429, "too_many_requests", "This session makes too many calls."),
            Self::TooManyTracks => {
                (429, "too_many_tracks", "The session, or its address, has as many tracks as it may.")
            }
            Self::TooMuch => (
                429,
                "client_limit_reached",
                "Close tracks: this client, or one that gets the replies, pulls as much at a time as SFU_MBPS_PER_CLIENT allows.",
            ),
            Self::Spent { .. } => {
                (429, "budget_exhausted", "The bandwidth of this period is spent or reserved.")
            }
            Self::UserSpent { .. } => {
                (429, "user_limit_reached", "The bandwidth of this user is spent or reserved.")
            }
            Self::Unreachable => (502, "sfu_unreachable", "The SFU cannot be reached."),
            Self::NotRecorded => (503, "ledger_unavailable", "The ledger cannot be written."),
            Self::Full => (503, "overloaded", "Too many sessions, tracks or calls are open."),
            Self::TimedOut => (504, "sfu_timeout", "The SFU did not answer in time."),
        }
    }

    /// The status.
    pub const fn status(self) -> u16 {
        self.parts().0
    }

    /// The stable code.
    pub const fn code(self) -> &'static str {
        self.parts().1
    }

    /// The content type and the body. `is_new`: of an answer to a request for a new session.
    pub fn body(self, is_new: bool) -> (&'static str, String) {
        let (_, code, description) = self.parts();
        if is_new {
            (TEXT, format!("{code}: {description}"))
        } else {
            (JSON, json!({ "errorCode": code, "errorDescription": description }).to_string())
        }
    }

    /// When to try again.
    pub const fn retry_in(self) -> Option<Duration> {
        match self {
            Self::TooManySessions { retry_in } | Self::Spent { retry_in } | Self::UserSpent { retry_in } => {
                Some(retry_in)
            }
            Self::TooFast => Some(Duration::from_secs(1)),
            _ => None,
        }
    }
}

/// The text of Cloudflare's refusal of a new session. `None` for a body that is not JSON, which stays as it is.
pub(crate) fn text_of_refusal(status: u16, body: &[u8]) -> Option<String> {
    let refusal: Value = serde_json::from_slice(body).ok()?;
    let code = refusal["errorCode"].as_str().map_or_else(|| format!("http_{status}"), str::to_owned);
    let text =
        format!("{code}: {}", refusal["errorDescription"].as_str().unwrap_or("no session was created"));
    Some(text.chars().take(TEXT_MAX).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    const SOON: Duration = Duration::from_secs(5);

    #[test]
    fn our_errors_are_json_but_plain_text_for_a_new_session() {
        for (fault, status, code) in [
            (Fault::Malformed, 400, "invalid_request"),
            (Fault::Unauthorized, 401, "unauthorized"),
            (Fault::Locked, 401, "session_locked"),
            (Fault::Blocked, 403, "user_blocked"),
            (Fault::OtherRoom, 403, "other_room"),
            (Fault::NoChannel, 404, "no_such_channel"),
            (Fault::Method, 405, "method_not_allowed"),
            (Fault::Gone, 410, "session_gone"),
            (Fault::TooLarge, 413, "payload_too_large"),
            (Fault::TooManySessions { retry_in: SOON }, 429, "too_many_sessions"),
            (Fault::TooFast, 429, "too_many_requests"),
            (Fault::TooManyTracks, 429, "too_many_tracks"),
            (Fault::Spent { retry_in: SOON }, 429, "budget_exhausted"),
            (Fault::Unreachable, 502, "sfu_unreachable"),
            (Fault::UserSpent { retry_in: SOON }, 429, "user_limit_reached"),
            (Fault::NotRecorded, 503, "ledger_unavailable"),
            (Fault::Full, 503, "overloaded"),
            (Fault::TimedOut, 504, "sfu_timeout"),
        ] {
            let (content_type, body) = fault.body(false);
            assert_eq!((fault.status(), content_type), (status, "application/json"));
            let has_wait = format!("{fault:?}").contains("retry_in");
            let wait =
                if fault == Fault::TooFast { Some(Duration::from_secs(1)) } else { has_wait.then_some(SOON) };
            assert_eq!(fault.retry_in(), wait);
            let body: Value = serde_json::from_str(&body).unwrap();
            assert_eq!(body["errorCode"], code);
            assert!(body["errorDescription"].as_str().unwrap().ends_with('.'));
            let (content_type, text) = fault.body(true);
            assert_eq!(content_type, TEXT);
            assert!(text.starts_with(&format!("{code}: ")));
            assert!(serde_json::from_str::<Value>(&text).is_err(), "partytracks would hang");
        }
    }

    #[test]
    fn cloudflares_json_refusal_of_a_session_becomes_text() {
        let text = |body: &str| text_of_refusal(503, body.as_bytes());
        let json = r#"{"errorCode":"quota","errorDescription":"Too many sessions"}"#;
        assert_eq!(text(json).as_deref(), Some("quota: Too many sessions"));
        assert_eq!(text("{}").as_deref(), Some("http_503: no session was created"));
        assert_eq!(text("[1]").as_deref(), Some("http_503: no session was created"));
        assert_eq!(text("\"x\"").as_deref(), Some("http_503: no session was created"));
        assert_eq!(text(r#"{"errorCode":7}"#).as_deref(), Some("http_503: no session was created"));
        assert_eq!(text("<html>"), None, "already no JSON");
        assert_eq!(text(""), None);
        let long = format!(r#"{{"errorCode":"x","errorDescription":"{}"}}"#, "ü".repeat(2_000));
        assert_eq!(text(&long).unwrap().chars().count(), TEXT_MAX);
    }
}
