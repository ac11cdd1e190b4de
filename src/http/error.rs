//! Error responses. All have one form: `{"error", "message"?, "code", "requestId"}`. A handler returns an [`ApiError`]. The
//! envelope adds the request's id to the body. No error contains a secret or text from a provider.

use std::borrow::Cow;
use std::time::Duration;

use axum::http::header::{ALLOW, RETRY_AFTER};
use axum::http::{HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};
use serde::Serialize;
use utoipa::ToSchema;
use utoipa::openapi::{RefOr, Schema};

use super::openapi::one_of;
use super::origin::ForeignRequest;
use crate::auth::{Fault, NoUser};
use crate::json::plain_number;
use crate::limit::Rejected;
use crate::random::NoRandomness;
use turn_ledger::units::{ByteCount, wait_seconds};
use turn_ledger::verdict::{Refusal, UserUsage};

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
    /// No such connection for this caller.
    UnknownConnection,
    /// No such credential, or it has expired.
    UnknownGrant,
    /// The route exists, the method does not.
    MethodNotAllowed {
        /// The value of the `Allow` header, if it is known.
        allow: Option<HeaderValue>,
    },
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
    /// The client has sent too many wrong operator or reporter tokens.
    TooManyWrongTokens {
        /// Time until its count of wrong tokens starts again at zero.
        retry_in: Duration,
    },
    /// The grant, or the client, has too many open connections.
    TooManyConnections {
        /// Which connections are too many, as a part of the message.
        of: &'static str,
        /// After this time the broker has closed lost connections.
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

/// All codes.
pub(super) const CODES: [&str; 17] = [
    "INVALID_REQUEST",
    "UNAUTHORIZED",
    "INVALID_GRANT",
    "INVALID_TOKEN",
    "ORIGIN_NOT_ALLOWED",
    "USER_BLOCKED",
    "USER_LIMIT_REACHED",
    "NOT_FOUND",
    "METHOD_NOT_ALLOWED",
    "PAYLOAD_TOO_LARGE",
    "MISDIRECTED_REQUEST",
    "RATE_LIMITED",
    "BUDGET_EXHAUSTED",
    "LEDGER_UNAVAILABLE",
    "OVERLOADED",
    "SHUTTING_DOWN",
    "INTERNAL",
];

fn code_schema() -> RefOr<Schema> {
    one_of(CODES, "Stable identifier for programs.")
}

/// The body of every error response.
#[derive(Clone, Debug, Default, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct ErrorBody {
    /// Short text for people.
    #[schema(example = "Too many credential requests, please try again later")]
    pub error: &'static str,
    /// What to do. Absent if there is nothing to add.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = String, required = false, example = "Close connections that have ended.")]
    pub message: Option<Cow<'static, str>>,
    /// Used GB with two decimals. Only with `BUDGET_EXHAUSTED`, and of the user with `USER_LIMIT_REACHED`.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = String, required = false, example = "1000.02")]
    pub bandwidth_used: Option<String>,
    /// The limit in GB. Only with `BUDGET_EXHAUSTED`, and of one user with `USER_LIMIT_REACHED`.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = f64, required = false, example = 1000)]
    pub bandwidth_limit: Option<serde_json::Number>,
    /// When the period ends. Only with `BUDGET_EXHAUSTED` and `USER_LIMIT_REACHED`.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = String, format = DateTime, required = false, example = "2025-02-01T00:00:00Z")]
    pub reset_date: Option<String>,
    /// Stable identifier for programs.
    #[schema(schema_with = code_schema)]
    pub code: &'static str,
    /// Also in the `x-request-id` header and in the log.
    #[schema(example = "672e560945ec9517-9")]
    pub request_id: String,
    /// For the log only: the origin that was refused.
    #[serde(skip)]
    #[schema(ignore)]
    pub refused_origin: Option<String>,
}

/// An error as a response.
struct Described {
    status: StatusCode,
    retry_in: Option<Duration>,
    allow: Option<HeaderValue>,
    /// Without the request's id.
    body: ErrorBody,
}

impl Described {
    fn new(status: StatusCode, code: &'static str, error: &'static str) -> Self {
        debug_assert!(CODES.contains(&code), "{code} is not in CODES");
        let body = ErrorBody { error, code, ..ErrorBody::default() };
        Self { status, retry_in: None, allow: None, body }
    }

    fn message(mut self, message: impl Into<Cow<'static, str>>) -> Self {
        self.body.message = Some(message.into());
        self
    }

    fn retry_in(self, wait: Duration) -> Self {
        Self { retry_in: Some(wait), ..self }
    }

    /// The same with what was used of a limit in GB, and when to try again.
    fn with_figures(self, refusal: &Refusal, used: ByteCount, limit: serde_json::Number) -> Self {
        let body = ErrorBody {
            bandwidth_used: Some(used.gb_nearest()),
            bandwidth_limit: Some(limit),
            reset_date: Some(refusal.figures.period.end.to_string()),
            ..self.body
        };
        Self { body, ..self }.retry_in(refusal.retry_in())
    }
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

    /// Status, code, texts and wait.
    fn describe(self) -> Described {
        match self {
            Self::InvalidRequest(message) => {
                Described::new(StatusCode::BAD_REQUEST, "INVALID_REQUEST", "Invalid request").message(message)
            }
            Self::Unauthorized { expected } => {
                Described::new(StatusCode::UNAUTHORIZED, "UNAUTHORIZED", "Unauthorized")
                    .message(format!("Send {expected} as `Authorization: Bearer <token>`."))
            }
            Self::InvalidGrant => {
                Described::new(StatusCode::UNAUTHORIZED, "INVALID_GRANT", "Invalid grant token").message(
                    "Fetch new credentials and send the `grant` in that response. For an app server: check REPORTER_TOKEN.",
                )
            }
            Self::InvalidToken(fault) => {
                Described::new(StatusCode::UNAUTHORIZED, "INVALID_TOKEN", "Invalid token")
                    .message(format!("Sign in again and send a new token: {fault}."))
            }
            Self::KeysUnreachable => {
                Described::new(StatusCode::SERVICE_UNAVAILABLE, "OVERLOADED", "Keys unreachable")
                    .message("Try again in 10 seconds. The operator checks AUTH_JWKS_URL: its keys cannot be fetched.")
                    .retry_in(Duration::from_secs(10))
            }
            Self::GrantRevoked => {
                Described::new(StatusCode::UNAUTHORIZED, "INVALID_GRANT", "Grant revoked")
                    .message("Fetch new credentials: the operator has revoked these.")
            }
            Self::OriginNotAllowed(foreign) => origin_not_allowed(foreign),
            Self::NotFound => not_found(
                "See /docs for all routes. Set OPERATOR_TOKEN to enable the dashboard and the operator's routes.",
            ),
            Self::UnknownConnection => not_found(
                "This connection is not open, or another grant opened it. Open it again with POST /api/connections.",
            ),
            Self::UnknownGrant => {
                not_found("No live credential has this grant: it has expired, or was not issued here.")
            }
            Self::MethodNotAllowed { allow } => {
                let described = Described::new(
                    StatusCode::METHOD_NOT_ALLOWED,
                    "METHOD_NOT_ALLOWED",
                    "Method not allowed",
                );
                Described { allow, ..described.message("See /openapi.json for the methods of this route.") }
            }
            Self::PayloadTooLarge { bytes_max } => {
                Described::new(StatusCode::PAYLOAD_TOO_LARGE, "PAYLOAD_TOO_LARGE", "Payload too large")
                    .message(format!("Send at most {bytes_max} bytes."))
            }
            Self::MisdirectedRequest => {
                Described::new(StatusCode::MISDIRECTED_REQUEST, "MISDIRECTED_REQUEST", "Misdirected request")
                    .message("Use the address of this service. Its operator adds host names to ALLOWED_HOSTS.")
            }
            Self::RateLimited { retry_in } => {
                over_rate("Too many credential requests, please try again later").retry_in(retry_in)
            }
            Self::TooManyWrongTokens { retry_in } => over_rate("Too many wrong tokens")
                .message("Correct the token. The right one is served at once.")
                .retry_in(retry_in),
            Self::TooManyConnections { of, retry_in } => {
                over_rate("Too many open connections")
                    .message(format!("Close connections {of} that have ended."))
                    .retry_in(retry_in)
            }
            Self::BudgetExhausted(refusal) => match refusal.user {
                Some(user) => user_limit_reached(&refusal, user),
                None => budget_exhausted(&refusal),
            },
            Self::UserBlocked => Described::new(StatusCode::FORBIDDEN, "USER_BLOCKED", "User blocked")
                .message("Ask the operator of this service to unblock you."),
            Self::TooManyUsers => overloaded(
                "Try again later. The operator removes USER_LIMIT_GB: the table of users is full until the period ends.",
            ),
            Self::TooManyBlocked => overloaded("Unblock a user first: as many as possible are blocked."),
            Self::LedgerUnavailable => ledger_unavailable(
                "The ledger cannot be written, or the clock is in doubt. Check the log, the disk that holds STATE_DIR, and the hints of the status.",
            )
            .retry_in(Duration::from_secs(1)),
            Self::OverrideNotRecorded => ledger_unavailable(
                "The change is in effect, but it could not be written, so a restart undoes it. Check the log and the disk that holds STATE_DIR.",
            ),
            Self::NothingToBackUp => {
                not_found("Set STATE_DIR: without it there is no ledger on disk to back up.")
            }
            Self::BackupRunning => overloaded("Try again when the other backup has ended."),
            Self::NotBackedUp => ledger_unavailable(
                "Check the log, and free disk space beside STATE_DIR: a backup needs twice the size of the ledger.",
            ),
            Self::Overloaded => overloaded("Try again in a second."),
            Self::ShuttingDown => {
                Described::new(StatusCode::SERVICE_UNAVAILABLE, "SHUTTING_DOWN", "Shutting down")
            }
            Self::Internal => {
                Described::new(StatusCode::INTERNAL_SERVER_ERROR, "INTERNAL", "Internal error")
                    .message("Report the requestId to the operator of this service.")
            }
        }
    }
}

fn origin_not_allowed(foreign: ForeignRequest) -> Described {
    let described = Described::new(StatusCode::FORBIDDEN, "ORIGIN_NOT_ALLOWED", "Origin not allowed");
    match foreign {
        ForeignRequest::Origin(origin) => {
            // Browsers send `null` for a file and for a sandboxed frame. CLIENT_URL does not take it.
            let mut described = described.message(if origin.contains("://") {
                format!("Add {origin} to CLIENT_URL if the page is yours.")
            } else {
                format!(
                    "Serve the page from an address, and add that to CLIENT_URL: {origin:?} names no page."
                )
            });
            described.body.refused_origin = Some(origin);
            described
        }
        ForeignRequest::Site => described.message(
            "Call `fetch` in a page whose origin is in CLIENT_URL, or type the URL: a link mints nothing.",
        ),
        ForeignRequest::Prefetch => {
            described.message("Send the request when a call begins: a prefetch mints nothing.")
        }
    }
}

fn not_found(message: &'static str) -> Described {
    Described::new(StatusCode::NOT_FOUND, "NOT_FOUND", "Not found").message(message)
}

fn over_rate(error: &'static str) -> Described {
    Described::new(StatusCode::TOO_MANY_REQUESTS, "RATE_LIMITED", error)
}

fn overloaded(message: &'static str) -> Described {
    Described::new(StatusCode::SERVICE_UNAVAILABLE, "OVERLOADED", "Overloaded")
        .message(message)
        .retry_in(Duration::from_secs(1))
}

fn ledger_unavailable(message: &'static str) -> Described {
    Described::new(StatusCode::SERVICE_UNAVAILABLE, "LEDGER_UNAVAILABLE", "Ledger unavailable")
        .message(message)
}

fn budget_exhausted(refusal: &Refusal) -> Described {
    let figures = &refusal.figures;
    let limit = plain_number(figures.limit.as_gb());
    let state = if refusal.client_frees_at.is_some() {
        "has room, but your address has reserved its share of it with credentials already issued. Please try again later."
    } else if figures.is_spent() {
        "has been reached. Please wait until next month."
    } else {
        "is reserved in full by credentials already issued. Please try again later."
    };
    let described =
        Described::new(StatusCode::TOO_MANY_REQUESTS, "BUDGET_EXHAUSTED", "Bandwidth limit reached")
            .message(format!("Monthly bandwidth limit of {limit} GB {state}"));
    described.with_figures(refusal, figures.used, limit)
}

fn user_limit_reached(refusal: &Refusal, user: UserUsage) -> Described {
    let limit = plain_number(user.limit.as_gb());
    let state = if user.is_spent() {
        "has been reached. Please wait until next month."
    } else {
        "is reserved in full by credentials already issued to you. Please try again later."
    };
    let described = Described::new(StatusCode::TOO_MANY_REQUESTS, "USER_LIMIT_REACHED", "User limit reached")
        .message(format!("Your monthly bandwidth limit of {limit} GB {state}"));
    described.with_figures(refusal, user.used, limit)
}

impl From<Rejected> for ApiError {
    fn from(rejected: Rejected) -> Self {
        match rejected {
            Rejected::OverRate { retry_in } => Self::RateLimited { retry_in },
            Rejected::NoClient => Self::Internal,
        }
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
