//! The errors that the proxy answers itself, in the form of the SFU's own: JSON with `errorCode` and `errorDescription`. A new
//! session is the exception: partytracks takes any JSON there for a session and hangs until the page is reloaded. After
//! anything else it tries again. So errors of a new session are plain text, also those of Cloudflare.

use crate::prelude::*;

/// The longest text made of an error of Cloudflare, in characters.
const TEXT_MAX: usize = 500;

/// The type of our errors.
const JSON: &str = "application/json";
/// The type of errors of a new session.
pub(crate) const TEXT: &str = "text/plain; charset=utf-8";

/// What the proxy was asked for, or why it answers the request itself.
pub(crate) type SfuResult<T> = Result<T, SfuFault>;

/// Why the proxy answers a request itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SfuFault {
    /// The status.
    pub status: u16,
    /// The stable code.
    pub code: &'static str,
    /// What is wrong, or what to do.
    description: &'static str,
    /// When to try again.
    pub retry_in: Option<Duration>,
}

/// The errors, one entry each: its name, status and code, what is wrong or what to do, and when to try again.
macro_rules! faults {
    ($(#[$meaning:meta] $name:ident: $status:literal $code:literal $text:literal $(, in $seconds:literal s)?;)*) => {
        impl SfuFault {
            $(#[$meaning]
            pub const $name: Self = Self { status: $status, code: $code, description: $text, retry_in: None }
                $(.retry_in(Duration::from_secs($seconds)))?;)*
        }
    };
}

faults! {
    /// The body does not have the form that the call expects.
    MALFORMED: 400 "invalid_request" "Send JSON as the SFU's API describes it, with each key once.";
    /// The name of the room is not allowed.
    BAD_ROOM: 400 "invalid_request"
        "Name the room with 1 to 128 bytes, without control characters, and not `.` or `..`.";
    /// The token of the application's sign-in is not valid.
    BAD_TOKEN: 401 "unauthorized"
        "Sign in again and send a new token: this one has expired, or is not valid here.";
    /// The caller has no token and names no room, or has not signed in and must.
    UNAUTHORIZED: 401 "unauthorized"
        "Send a token of your sign-in or a grant, or name the room in correlationId or X-Realtime-Room.";
    /// Only a token may name a room, and this one names none.
    NOT_IN_TOKEN: 403 "room_not_in_token"
        "Send a token whose claim `room` names the room: SFU_ROOMS is token.";
    /// The session belongs to another browser, or the browser sends no cookies.
    NO_COOKIE: 401 "session_locked"
        "The request has no valid cookie of this session. A page of another origin needs SFU_LOCK=false, and a proxy must not change the path.";
    /// Without locks: the session belongs to another caller.
    LOCKED: 401 "session_locked" "This session belongs to another user, grant or address.";
    /// The session is over, or another process opened it: this broker was restarted since, or does not lead any more.
    GONE: 410 "session_gone" "This session is over, or of before a restart. Open a new session.";
    /// The operator has blocked the user, or revoked the session.
    BLOCKED: 403 "user_blocked" "The operator has blocked this user or revoked this session.";
    /// The operator has blocked the client's address.
    ADDRESS_BLOCKED: 403 "address_blocked" "The operator has blocked this client's address.";
    /// The operator has blocked the label, the origin or the call.
    SPENDER_BLOCKED: 403 "blocked" "The operator has blocked this label, origin or call.";
    /// A track of another room, or of a session that is not known.
    OTHER_ROOM: 403 "other_room" "Tracks can be pulled only from sessions of the same room.";
    /// Replies on a data channel that its session does not send.
    NO_CHANNEL: 404 "no_such_channel" "That session has no open data channel of this dataChannelName.";
    /// The path does not have this method.
    METHOD: 405 "method_not_allowed" "Use the method in the Allow header.";
    /// The body is too long.
    TOO_LARGE: 413 "payload_too_large" "The body is too long.";
    /// The address opens sessions too fast, or has too many.
    TOO_MANY_SESSIONS: 429 "too_many_sessions" "This address opens too many sessions.";
    /// The session makes calls too fast, or its address has too many in progress.
    TOO_FAST: 429 "too_many_requests" "This session makes too many calls.", in 1 s;
    /// The session, or its address, has as many tracks as it may.
    TOO_MANY_TRACKS: 429 "too_many_tracks" "The session, or its address, has as many tracks as it may.";
    /// The client takes as much as it may at a time.
    TOO_MUCH: 429 "client_limit_reached"
        "Close tracks: this client, or one that gets the replies, pulls as much at a time as SFU_MBPS_PER_CLIENT allows.";
    /// The budget is spent, or minting is stopped: nothing more is sent to clients.
    SPENT: 429 "budget_exhausted" "The bandwidth of this period is spent or reserved.";
    /// The user has used the limit of a user.
    USER_SPENT: 429 "user_limit_reached" "The bandwidth of this user is spent or reserved.";
    /// The address has used its limit of this day.
    ADDRESS_SPENT: 429 "address_limit_reached" "The bandwidth of this address is spent for this day.";
    /// The ledger cannot be written.
    NOT_RECORDED: 503 "ledger_unavailable" "The ledger cannot be written.";
    /// The ledger's time is in doubt.
    CLOCK_IN_DOUBT: 503 "clock_disagrees" "The clock of the broker's machine is too far ahead.";
    /// A table of the proxy is full, or too many calls to the SFU are in progress.
    FULL: 503 "overloaded" "Too many sessions, tracks or calls are open.";
    /// A user's token cannot be verified now.
    NO_KEYS: 503 "overloaded"
        "Try again in 10 seconds. The operator checks AUTH_JWKS_URL: its keys cannot be fetched.", in 10 s;
    /// The SFU cannot be reached, or its answer cannot be used.
    UNREACHABLE: 502 "sfu_unreachable" "The SFU cannot be reached.";
    /// The SFU, or what stands before it, has answered with something else than JSON. It is not shown: it would run on our origin.
    NOT_JSON: 502 "sfu_bad_answer" "The SFU's answer is not JSON.";
    /// The SFU has not answered in time.
    TIMED_OUT: 504 "sfu_timeout" "The SFU did not answer in time.";
}

impl SfuFault {
    /// The same, with the time after which to try again.
    #[must_use]
    pub const fn retry_in(self, wait: Duration) -> Self {
        Self { retry_in: Some(wait), ..self }
    }

    /// The content type and the body. `is_new`: the request asked for a new session.
    pub fn body(self, is_new: bool) -> (&'static str, String) {
        let Self { code, description, .. } = self;
        if is_new {
            (TEXT, format!("{code}: {description}"))
        } else {
            (JSON, json!({ "errorCode": code, "errorDescription": description }).to_string())
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
            (SfuFault::MALFORMED, 400, "invalid_request"),
            (SfuFault::BAD_ROOM, 400, "invalid_request"),
            (SfuFault::BAD_TOKEN, 401, "unauthorized"),
            (SfuFault::UNAUTHORIZED, 401, "unauthorized"),
            (SfuFault::NO_COOKIE, 401, "session_locked"),
            (SfuFault::LOCKED, 401, "session_locked"),
            (SfuFault::BLOCKED, 403, "user_blocked"),
            (SfuFault::ADDRESS_BLOCKED, 403, "address_blocked"),
            (SfuFault::SPENDER_BLOCKED, 403, "blocked"),
            (SfuFault::NOT_IN_TOKEN, 403, "room_not_in_token"),
            (SfuFault::NOT_JSON, 502, "sfu_bad_answer"),
            (SfuFault::OTHER_ROOM, 403, "other_room"),
            (SfuFault::NO_CHANNEL, 404, "no_such_channel"),
            (SfuFault::METHOD, 405, "method_not_allowed"),
            (SfuFault::GONE, 410, "session_gone"),
            (SfuFault::TOO_LARGE, 413, "payload_too_large"),
            (SfuFault::TOO_MANY_SESSIONS.retry_in(SOON), 429, "too_many_sessions"),
            (SfuFault::TOO_FAST, 429, "too_many_requests"),
            (SfuFault::TOO_MANY_TRACKS, 429, "too_many_tracks"),
            (SfuFault::SPENT.retry_in(SOON), 429, "budget_exhausted"),
            (SfuFault::UNREACHABLE, 502, "sfu_unreachable"),
            (SfuFault::USER_SPENT.retry_in(SOON), 429, "user_limit_reached"),
            (SfuFault::ADDRESS_SPENT.retry_in(SOON), 429, "address_limit_reached"),
            (SfuFault::NOT_RECORDED, 503, "ledger_unavailable"),
            (SfuFault::CLOCK_IN_DOUBT, 503, "clock_disagrees"),
            (SfuFault::FULL, 503, "overloaded"),
            (SfuFault::TIMED_OUT, 504, "sfu_timeout"),
        ] {
            let (content_type, body) = fault.body(false);
            assert_eq!((fault.status, content_type), (status, "application/json"));
            let wait = match code {
                "too_many_sessions" | "budget_exhausted" | "user_limit_reached" | "address_limit_reached" => {
                    Some(SOON)
                }
                "too_many_requests" => Some(Duration::from_secs(1)),
                _ => None,
            };
            assert_eq!(fault.retry_in, wait);
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
