//! The errors that the proxy answers itself, in the form of the SFU's own: JSON with `errorCode` and `errorDescription`. A new
//! session is the exception: partytracks takes any JSON there for a session and hangs until the page is reloaded. After
//! anything else it tries again. So errors of a new session are plain text, Cloudflare's too.

use std::time::Duration;

use serde::{Deserialize, Serialize};

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
    /// The operator has blocked the user.
    Blocked,
    /// A track of another room, or of a session that is not known.
    OtherRoom,
    /// The path does not have this method.
    Method,
    /// The body is too long.
    TooLarge,
    /// The address opens sessions too fast, or has too many.
    TooManySessions {
        /// When to try again.
        retry_in: Duration,
    },
    /// The session makes calls too fast.
    TooFast {
        /// When to try again.
        retry_in: Duration,
    },
    /// The session has as many tracks as it may.
    TooManyTracks,
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

/// An answer to a client.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FaultAnswer {
    /// The status.
    pub status: u16,
    /// The content type.
    pub content_type: &'static str,
    /// The body.
    pub body: String,
    /// The value of `Retry-After`, rounded up to seconds.
    pub retry_in: Option<Duration>,
}

/// The type of our errors.
const JSON: &str = "application/json";
/// The type of errors of a new session.
pub const TEXT: &str = "text/plain; charset=utf-8";

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct ErrorBody {
    error_code: &'static str,
    error_description: &'static str,
}

impl Fault {
    /// The status.
    pub const fn status(self) -> u16 {
        match self {
            Self::Malformed => 400,
            Self::Unauthorized | Self::Locked => 401,
            Self::Blocked | Self::OtherRoom => 403,
            Self::Method => 405,
            Self::TooLarge => 413,
            Self::TooManySessions { .. }
            | Self::TooFast { .. }
            | Self::TooManyTracks
            | Self::Spent { .. }
            | Self::UserSpent { .. } => 429,
            Self::Unreachable => 502,
            Self::Full | Self::NotRecorded => 503,
            Self::TimedOut => 504,
        }
    }

    /// The stable code.
    pub const fn code(self) -> &'static str {
        match self {
            Self::Malformed => "invalid_request",
            Self::Unauthorized => "unauthorized",
            Self::Locked => "session_locked",
            Self::Blocked => "user_blocked",
            Self::OtherRoom => "other_room",
            Self::Method => "method_not_allowed",
            Self::TooLarge => "payload_too_large",
            Self::TooManySessions { .. } => "too_many_sessions",
            Self::TooFast { .. } => "too_many_requests",
            Self::TooManyTracks => "too_many_tracks",
            Self::Spent { .. } => "budget_exhausted",
            Self::UserSpent { .. } => "user_limit_reached",
            Self::NotRecorded => "ledger_unavailable",
            Self::Unreachable => "sfu_unreachable",
            Self::Full => "overloaded",
            Self::TimedOut => "sfu_timeout",
        }
    }

    const fn description(self) -> &'static str {
        match self {
            Self::Malformed => "Send JSON as the SFU's API describes it, with each key once.",
            Self::Unauthorized => {
                "Send a token of your sign-in or a grant, or name the room in correlationId or X-Realtime-Room."
            }
            Self::Locked => "This session belongs to another browser.",
            Self::Blocked => "The operator has blocked this user or revoked this session.",
            Self::OtherRoom => "Tracks can be pulled only from sessions of the same room.",
            Self::Method => "Use the method in the Allow header.",
            Self::TooLarge => "The body is too long.",
            Self::TooManySessions { .. } => "This address opens too many sessions.",
            Self::TooFast { .. } => "This session makes too many calls.",
            Self::TooManyTracks => "The session has as many tracks as it may.",
            Self::Spent { .. } => "The bandwidth of this period is spent or reserved.",
            Self::UserSpent { .. } => "The bandwidth of this user is spent or reserved.",
            Self::NotRecorded => "The ledger cannot be written.",
            Self::Unreachable => "The SFU cannot be reached.",
            Self::Full => "Too many sessions, tracks or calls are open.",
            Self::TimedOut => "The SFU did not answer in time.",
        }
    }

    /// The answer. `is_new`: to a request for a new session.
    pub fn answer(self, is_new: bool) -> FaultAnswer {
        let (error_code, error_description) = (self.code(), self.description());
        let (content_type, body) = match self {
            _ if is_new => (TEXT, format!("{error_code}: {error_description}")),
            _ => {
                let body = serde_json::to_string(&ErrorBody { error_code, error_description });
                (JSON, body.unwrap_or_default())
            }
        };
        let retry_in = match self {
            Self::TooManySessions { retry_in }
            | Self::TooFast { retry_in }
            | Self::Spent { retry_in }
            | Self::UserSpent { retry_in } => Some(retry_in),
            _ => None,
        };
        FaultAnswer { status: self.status(), content_type, body, retry_in }
    }
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Upstream {
    error_code: Option<String>,
    error_description: Option<String>,
}

/// The text of Cloudflare's refusal of a new session. `None` for a body that is not JSON, which stays as it is.
pub fn text_of_refusal(status: u16, body: &[u8]) -> Option<String> {
    let json: serde_json::Value = serde_json::from_slice(body).ok()?;
    let Upstream { error_code, error_description } = serde_json::from_value(json).unwrap_or_default();
    let code = error_code.unwrap_or_else(|| format!("http_{status}"));
    let text = format!("{code}: {}", error_description.unwrap_or_else(|| "no session was created".into()));
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
            (Fault::Method, 405, "method_not_allowed"),
            (Fault::TooLarge, 413, "payload_too_large"),
            (Fault::TooManySessions { retry_in: SOON }, 429, "too_many_sessions"),
            (Fault::TooFast { retry_in: SOON }, 429, "too_many_requests"),
            (Fault::TooManyTracks, 429, "too_many_tracks"),
            (Fault::Spent { retry_in: SOON }, 429, "budget_exhausted"),
            (Fault::Unreachable, 502, "sfu_unreachable"),
            (Fault::UserSpent { retry_in: SOON }, 429, "user_limit_reached"),
            (Fault::NotRecorded, 503, "ledger_unavailable"),
            (Fault::Full, 503, "overloaded"),
            (Fault::TimedOut, 504, "sfu_timeout"),
        ] {
            let answer = fault.answer(false);
            assert_eq!((answer.status, answer.content_type), (status, "application/json"));
            let body: serde_json::Value = serde_json::from_str(&answer.body).unwrap();
            assert_eq!(body["errorCode"], code);
            assert!(body["errorDescription"].as_str().unwrap().ends_with('.'));
            let new = fault.answer(true);
            assert_eq!((new.status, new.content_type), (status, TEXT));
            assert!(new.body.starts_with(&format!("{code}: ")));
            assert!(serde_json::from_str::<serde_json::Value>(&new.body).is_err(), "partytracks would hang");
        }
    }

    #[test]
    fn only_temporary_faults_say_when_to_try_again() {
        assert_eq!(Fault::TooManySessions { retry_in: SOON }.answer(true).retry_in, Some(SOON));
        assert_eq!(Fault::Spent { retry_in: SOON }.answer(false).retry_in, Some(SOON));
        assert_eq!(Fault::TimedOut.answer(false).retry_in, None);
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
