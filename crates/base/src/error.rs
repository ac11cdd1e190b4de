//! Error responses. All have one form: `{"error", "message"?, "code", "requestId"}`. A handler returns an [`ApiError`]. Functions in
//! `src/http/refusals.rs` make the errors that show figures of the ledger, functions here all others. The status is that of the code. The
//! envelope adds the request's id to the body. No error contains a secret or text from a provider.

mod body;

use std::borrow::Cow;
use std::time::Duration;

use axum::Extension;
use axum::http::StatusCode;
use axum::http::header::{CONNECTION, RETRY_AFTER, SEC_WEBSOCKET_VERSION, UPGRADE, WWW_AUTHENTICATE};
use axum::response::{IntoResponse, Response};

use crate::random::NoRandomness;
use turn_budget::{SpenderKind, wait_seconds};
use turn_ledger::{NotRecorded, TooManyBlocked};

pub use body::{Code, ErrorBody, ProviderError};

/// Why a request failed, and what the caller can do.
#[derive(Clone, Debug, PartialEq)]
pub struct ApiError {
    /// The status of the response.
    pub status: StatusCode,
    /// How long it takes until the request can be accepted, if that is known.
    retry_in: Option<Duration>,
    /// The body, without the request's id.
    pub body: Box<ErrorBody>,
}

impl ApiError {
    /// An error with the status of its code. `error`: a short text for people.
    pub fn new(code: Code, error: &'static str) -> Self {
        let body = ErrorBody { error, code: code.into(), ..ErrorBody::default() };
        Self { status: code.status(), retry_in: None, body: Box::new(body) }
    }

    /// What the caller can do. It begins with a verb.
    #[must_use]
    pub fn message(mut self, message: impl Into<Cow<'static, str>>) -> Self {
        self.body.message = Some(message.into());
        self
    }

    /// What the operator can do, for the log only. It begins with a verb. Without it, the log shows the message in its place, if the error
    /// is about a rate limit or an origin, and otherwise nothing.
    #[must_use]
    pub fn remedy(mut self, remedy: &'static str) -> Self {
        self.body.remedy = Some(remedy);
        self
    }

    /// How long it takes until the request can be accepted.
    #[must_use]
    pub fn retry_in(self, wait: Duration) -> Self {
        Self { retry_in: Some(wait), ..self }
    }

    /// The request is not as documented: `message` says what is expected.
    pub fn invalid(message: impl Into<Cow<'static, str>>) -> Self {
        Self::new(Code::InvalidRequest, "Invalid request").message(message)
    }

    /// The request lacks the `Upgrade` of a WebSocket: `message` says what to do.
    pub fn upgrade_required(message: &'static str) -> Self {
        Self::new(Code::UpgradeRequired, "Upgrade required").message(message)
    }

    /// The request does not prove who sends it.
    pub fn unauthorized(message: impl Into<Cow<'static, str>>) -> Self {
        Self::new(Code::Unauthorized, "Unauthorized").message(message)
    }

    /// There is no token. `expected`: what the route expects.
    pub fn no_token(expected: &str) -> Self {
        Self::unauthorized(format!("Send {expected} as `Authorization: Bearer <token>`."))
    }

    /// The operator has blocked a spender of this kind.
    pub fn blocked(kind: SpenderKind) -> Self {
        let (code, error) = match kind {
            SpenderKind::User => (Code::UserBlocked, "User blocked"),
            SpenderKind::Address => (Code::AddressBlocked, "Address blocked"),
            SpenderKind::Label | SpenderKind::Origin | SpenderKind::Call | SpenderKind::Key => {
                (Code::Blocked, "Blocked")
            }
        };
        Self::new(code, error)
            .message(format!("Ask the operator of this service to unblock this {}.", kind.name()))
    }

    /// There is no such thing: `message` says what to do.
    pub fn not_found(message: impl Into<Cow<'static, str>>) -> Self {
        Self::new(Code::NotFound, "Not found").message(message)
    }

    /// The body is longer than the longest that is read.
    pub fn payload_too_large(bytes_max: usize) -> Self {
        Self::new(Code::PayloadTooLarge, "Payload too large")
            .message(format!("Send at most {bytes_max} bytes."))
    }

    /// The client is over a limit. `error`: what there is too much of.
    pub fn too_many(error: &'static str, message: impl Into<Cow<'static, str>>, retry_in: Duration) -> Self {
        Self::new(Code::RateLimited, error).message(message).retry_in(retry_in)
    }

    /// The ledger cannot do what was asked: `message` says what to do.
    pub fn ledger_unavailable(message: &'static str) -> Self {
        Self::new(Code::LedgerUnavailable, "Ledger unavailable").message(message)
    }

    /// Something is full: `message` says what to do.
    pub fn full(message: impl Into<Cow<'static, str>>) -> Self {
        Self::new(Code::Overloaded, "Overloaded").message(message).retry_in(Duration::from_secs(1))
    }

    /// The error for a status that a layer returned without an [`ErrorBody`].
    pub fn of_status(status: StatusCode) -> Self {
        match status {
            StatusCode::NOT_FOUND => Self::no_route(),
            StatusCode::METHOD_NOT_ALLOWED => Self::method_not_allowed(),
            status if status.is_client_error() => Self::invalid("Correct the request: it could not be read."),
            _ => Self::internal(),
        }
    }
}

/// The errors that always say the same, one entry each: the function, the code, a short text for people, what the caller can do, and when to
/// try again.
macro_rules! fixed {
    ($(#[$meaning:meta] $name:ident: $code:ident $error:literal $message:literal $(, in $seconds:literal s)?;)*) => {
        impl ApiError {
            $(#[$meaning]
            pub fn $name() -> Self {
                Self::new(Code::$code, $error).message($message)$(.retry_in(Duration::from_secs($seconds)))?
            })*
        }
    };
}

fixed! {
    /// The bearer token is not a grant of this ledger, or the grant has expired.
    invalid_grant: InvalidGrant "Invalid grant token"
        "Fetch new credentials and send the `grant` in that response. For an app server: check its key, or REPORTER_TOKEN.";
    /// The operator has revoked the grant.
    grant_revoked: InvalidGrant "Grant revoked" "Fetch new credentials: the operator has revoked these.";
    /// No such route.
    no_route: NotFound "Not found"
        "Open / in a browser, or see /openapi.json for all routes. This is turn-broker: GET /api/turn-credentials returns ICE servers.";
    /// A route of the operator, without an `OPERATOR_TOKEN`.
    no_operator: NotFound "Not found" "Set OPERATOR_TOKEN to enable the dashboard and the operator's routes.";
    /// The route exists, the method does not.
    method_not_allowed: MethodNotAllowed "Method not allowed"
        "See /openapi.json for the methods of this route.";
    /// The request names a host that is not served.
    misdirected: MisdirectedRequest "Misdirected request"
        "Use the address of this service. Its operator adds host names to ALLOWED_HOSTS.";
    /// The leader cannot write the ledger.
    not_recorded: LedgerUnavailable "Ledger unavailable"
        "Check the log, and the disk that holds STATE_DIR or the database: the ledger cannot be written.", in 1 s;
    /// Several replicas share the ledger, and this one reaches no leader.
    no_leader: NoLeader "No leader"
        "Try again in a second, with jitter: no leader of this service can be reached.", in 1 s;
    /// Too many requests are in progress, or a table is full.
    overloaded: Overloaded "Overloaded" "Try again in a second.", in 1 s;
    /// The process is shutting down.
    shutting_down: ShuttingDown "Shutting down" "Try again in a second.", in 1 s;
    /// A fault of this service.
    internal: Internal "Internal error" "Report the requestId to the operator of this service.";
}

/// A change of the operator is in effect, but not stored. The error for a mint that is not stored is [`ApiError::not_recorded`].
impl From<NotRecorded> for ApiError {
    fn from(_: NotRecorded) -> Self {
        Self::ledger_unavailable(
            "Check the disk or the database: the change is in effect, but it could not be written, so a restart may undo it. The log has the reason.",
        )
    }
}

impl From<TooManyBlocked> for ApiError {
    fn from(_: TooManyBlocked) -> Self {
        Self::full("Unblock somebody first: as many as possible are blocked.")
    }
}

impl From<NoRandomness> for ApiError {
    fn from(_: NoRandomness) -> Self {
        Self::internal()
    }
}

impl IntoResponse for ApiError {
    /// Status and wait. The [`ErrorBody`] is among the extensions; the envelope adds the request's id and sends it.
    fn into_response(self) -> Response {
        let Self { status, retry_in, body } = self;
        let wait = retry_in.map(|wait| [(RETRY_AFTER, wait_seconds(wait))]);
        let scheme = (status == StatusCode::UNAUTHORIZED).then_some([(WWW_AUTHENTICATE, "Bearer")]);
        let upgrade = [(CONNECTION, "upgrade"), (UPGRADE, "websocket"), (SEC_WEBSOCKET_VERSION, "13")];
        let upgrade = (status == StatusCode::UPGRADE_REQUIRED).then_some(upgrade);
        (status, wait, scheme, upgrade, Extension(*body)).into_response()
    }
}
