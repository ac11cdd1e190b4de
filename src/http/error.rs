//! Error responses. All have one form: `{"error", "message"?, "code", "requestId"}`. A handler returns an [`ApiError`]. The
//! envelope adds the request's id to the body. No error contains a secret or text from a provider.

mod body;
mod description;

use std::borrow::Cow;
use std::time::Duration;

use axum::http::header::{ALLOW, RETRY_AFTER};
use axum::http::{HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};

use crate::auth::{Fault, NoUser};
use crate::random::NoRandomness;
use turn_ledger::{NotRecorded, Refusal, TooManyBlocked, wait_seconds};

pub(super) use body::CODES;
pub use body::ErrorBody;
use description::Described;

/// Why a request may not mint.
#[derive(Debug, PartialEq)]
pub enum ForeignRequest {
    /// The page's origin is not allowed. The origin, shortened.
    Origin(String),
    /// Another site loads or opens the URL.
    Site,
    /// A browser prefetches or prerenders the URL.
    Prefetch,
}

/// Why a request failed.
#[derive(Debug, PartialEq)]
pub enum ApiError {
    /// The request is not as documented.
    InvalidRequest(Cow<'static, str>),
    /// No token, or not the expected one.
    Unauthorized {
        /// The token that the route expects.
        expected: &'static str,
    },
    /// A token that is not the operator's.
    WrongOperatorToken,
    /// Nobody knows who opens a socket of a room.
    NoRoomUser,
    /// The bearer token is not a grant of this ledger, or the grant has expired.
    InvalidGrant,
    /// The bearer token is a JWT, but not a valid one.
    InvalidToken(Fault),
    /// The keys of users' tokens cannot be fetched.
    KeysUnreachable,
    /// The operator has revoked the grant.
    GrantRevoked,
    /// Another site's page, or a browser's prefetch, may not mint.
    OriginNotAllowed(ForeignRequest),
    /// No such route.
    NotFound,
    /// A path of a protocol of signaling that is off. What `SIGNALING` calls it.
    SignalingOff(&'static str),
    /// A route of the operator, without an `OPERATOR_TOKEN`.
    NoOperator,
    /// No such connection for this caller.
    UnknownConnection,
    /// No such credential, or it has expired.
    UnknownGrant,
    /// Nobody is in that room.
    EmptyRoom,
    /// The route exists, the method does not.
    MethodNotAllowed {
        /// The value of the `Allow` header, if it is known.
        allow: Option<HeaderValue>,
    },
    /// The route takes a WebSocket and nothing else.
    UpgradeRequired,
    /// The request names a host that is not served.
    MisdirectedRequest,
    /// The body is too long.
    PayloadTooLarge {
        /// The longest body that is read.
        bytes_max: usize,
    },
    /// The client is over its rate limit.
    RateLimited {
        /// Time until the next request is accepted.
        retry_in: Duration,
    },
    /// The client is over a limit other than the one of mints.
    OverLimit {
        /// Of what there is too much.
        error: &'static str,
        /// What to do.
        message: &'static str,
        /// Time until the next request can be accepted.
        retry_in: Duration,
    },
    /// The budget, or the limit of the user, has no room.
    BudgetExhausted(Refusal),
    /// The operator has blocked the user.
    UserBlocked,
    /// The table of users has no room for another one.
    TooManyUsers,
    /// As many users are blocked as can be.
    TooManyBlocked,
    /// The ledger cannot be written, or its time is in doubt.
    LedgerUnavailable,
    /// An override is in effect, but the ledger could not be written.
    OverrideNotRecorded,
    /// There is no ledger on disk.
    NothingToBackUp,
    /// Another backup is in progress.
    BackupRunning,
    /// The ledger cannot be written or copied.
    NotBackedUp,
    /// Too many requests are in progress, or a table is full.
    Overloaded,
    /// The process is shutting down.
    ShuttingDown,
    /// A fault of this service.
    Internal,
}

impl ApiError {
    /// The request is not as documented: `message` says what is expected.
    pub fn invalid(message: impl Into<Cow<'static, str>>) -> Self {
        Self::InvalidRequest(message.into())
    }

    /// The error for a status that a layer returned without an [`ErrorBody`].
    #[must_use]
    pub fn of_status(status: StatusCode) -> Self {
        match status {
            StatusCode::NOT_FOUND => Self::NotFound,
            StatusCode::METHOD_NOT_ALLOWED => Self::MethodNotAllowed { allow: None },
            status if status.is_client_error() => Self::invalid("The request could not be read."),
            _ => Self::Internal,
        }
    }

    /// The body, without the request's id.
    #[must_use]
    pub fn into_body(self) -> ErrorBody {
        self.describe().body
    }

    /// The status, and the body without the request's id.
    #[must_use]
    pub fn into_status_and_body(self) -> (StatusCode, ErrorBody) {
        let Described { status, body, .. } = self.describe();
        (status, body)
    }
}

impl From<NoUser> for ApiError {
    fn from(why: NoUser) -> Self {
        match why {
            NoUser::Invalid(fault) => Self::InvalidToken(fault),
            NoUser::KeysUnreachable => Self::KeysUnreachable,
        }
    }
}

/// An override that is in effect. A mint that is not recorded is [`ApiError::LedgerUnavailable`].
impl From<NotRecorded> for ApiError {
    fn from(_: NotRecorded) -> Self {
        Self::OverrideNotRecorded
    }
}

impl From<TooManyBlocked> for ApiError {
    fn from(_: TooManyBlocked) -> Self {
        Self::TooManyBlocked
    }
}

impl From<NoRandomness> for ApiError {
    fn from(_: NoRandomness) -> Self {
        Self::Internal
    }
}

impl IntoResponse for ApiError {
    /// Status and headers. The [`ErrorBody`] is among the extensions; the envelope adds the request's id and sends it.
    fn into_response(self) -> Response {
        let Described { status, retry_in, allow, body } = self.describe();
        let mut response = status.into_response();
        let headers = response.headers_mut();
        if let Some(wait) = retry_in {
            headers.insert(RETRY_AFTER, HeaderValue::from(wait_seconds(wait)));
        }
        if let Some(allow) = allow {
            headers.insert(ALLOW, allow);
        }
        response.extensions_mut().insert(body);
        response
    }
}
