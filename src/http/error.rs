//! Every error answer of the service, in one form: `{"error", "message"?, "code", "requestId"}`. A handler returns an
//! [`ApiError`]; the envelope, which knows the request's id, writes the body. Nothing in it comes from a provider, and
//! nothing in it is a secret.

use std::time::Duration;

use axum::http::header::{ALLOW, RETRY_AFTER};
use axum::http::{HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};
use serde::Serialize;
use utoipa::ToSchema;
use utoipa::openapi::{RefOr, Schema};

use super::openapi::one_of;
use crate::json::plain_number;
use crate::limit::Rejected;
use crate::random::NoRandomness;
use turn_ledger::units::wait_seconds;
use turn_ledger::verdict::Refusal;

/// Why a request was not served.
#[derive(Clone, Debug, PartialEq)]
pub enum ApiError {
    /// Something in the request is not as documented.
    InvalidRequest(String),
    /// No token, or not the right one.
    Unauthorized {
        /// Whose token is wanted.
        wants: &'static str,
    },
    /// A bearer token that is no grant of ours, or one that is over.
    InvalidGrant,
    /// The page's origin is not allowed.
    OriginNotAllowed {
        /// What it said, cut short.
        origin: String,
    },
    /// No such route.
    NotFound,
    /// No such connection for this caller.
    UnknownConnection,
    /// No credential of that name is out.
    UnknownGrant,
    /// The route exists, the method does not.
    MethodNotAllowed {
        /// What is allowed, for the `Allow` header, as far as it is known.
        allow: Option<HeaderValue>,
    },
    /// The body is longer than the cap.
    PayloadTooLarge {
        /// The cap.
        bytes_max: usize,
    },
    /// Over the per-client rate.
    RateLimited {
        /// When the next request passes.
        retry_in: Duration,
    },
    /// Too many open connections on one grant.
    TooManyConnections {
        /// When one may have been given up.
        retry_in: Duration,
    },
    /// The budget is spent.
    BudgetExhausted(Refusal),
    /// The ledger cannot be written.
    LedgerUnavailable,
    /// An order counts, but the ledger could not be written.
    OrderNotRecorded,
    /// Too much is under way.
    Overloaded,
    /// The process is about to end.
    ShuttingDown,
    /// Our fault.
    Internal,
}

/// Every code there is.
const CODES: [&str; 13] = [
    "INVALID_REQUEST",
    "UNAUTHORIZED",
    "INVALID_GRANT",
    "ORIGIN_NOT_ALLOWED",
    "NOT_FOUND",
    "METHOD_NOT_ALLOWED",
    "PAYLOAD_TOO_LARGE",
    "RATE_LIMITED",
    "BUDGET_EXHAUSTED",
    "LEDGER_UNAVAILABLE",
    "OVERLOADED",
    "SHUTTING_DOWN",
    "INTERNAL",
];

fn code_schema() -> RefOr<Schema> {
    one_of(CODES, "Stable, for programs.")
}

/// The error form on the wire.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct ErrorBody {
    /// Short, for humans.
    #[schema(example = "Too many credential requests, please try again later")]
    pub error: &'static str,
    /// What to do, where there is something.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = String, required = false)]
    pub message: Option<String>,
    /// Used GB with two decimals; only with `BUDGET_EXHAUSTED`.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = String, required = false, example = "1000.02")]
    pub bandwidth_used: Option<String>,
    /// The limit in GB; only with `BUDGET_EXHAUSTED`.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = f64, required = false, example = 1000)]
    pub bandwidth_limit: Option<serde_json::Number>,
    /// When the period ends; only with `BUDGET_EXHAUSTED`.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = String, format = DateTime, required = false)]
    pub reset_date: Option<String>,
    /// Stable.
    #[schema(schema_with = code_schema)]
    pub code: &'static str,
    /// Also in the `x-request-id` header and in the log.
    #[schema(example = "672e560945ec9517-9")]
    pub request_id: String,
}

impl ApiError {
    /// The status that goes with the error.
    #[must_use]
    pub fn status(&self) -> StatusCode {
        match self {
            Self::InvalidRequest(_) => StatusCode::BAD_REQUEST,
            Self::Unauthorized { .. } | Self::InvalidGrant => StatusCode::UNAUTHORIZED,
            Self::OriginNotAllowed { .. } => StatusCode::FORBIDDEN,
            Self::NotFound | Self::UnknownConnection | Self::UnknownGrant => StatusCode::NOT_FOUND,
            Self::MethodNotAllowed { .. } => StatusCode::METHOD_NOT_ALLOWED,
            Self::PayloadTooLarge { .. } => StatusCode::PAYLOAD_TOO_LARGE,
            Self::RateLimited { .. } | Self::TooManyConnections { .. } | Self::BudgetExhausted(_) => {
                StatusCode::TOO_MANY_REQUESTS
            }
            Self::LedgerUnavailable | Self::OrderNotRecorded | Self::Overloaded | Self::ShuttingDown => {
                StatusCode::SERVICE_UNAVAILABLE
            }
            Self::Internal => StatusCode::INTERNAL_SERVER_ERROR,
        }
    }

    /// The stable code.
    #[must_use]
    pub fn code(&self) -> &'static str {
        match self {
            Self::InvalidRequest(_) => "INVALID_REQUEST",
            Self::Unauthorized { .. } => "UNAUTHORIZED",
            Self::InvalidGrant => "INVALID_GRANT",
            Self::OriginNotAllowed { .. } => "ORIGIN_NOT_ALLOWED",
            Self::NotFound | Self::UnknownConnection | Self::UnknownGrant => "NOT_FOUND",
            Self::MethodNotAllowed { .. } => "METHOD_NOT_ALLOWED",
            Self::PayloadTooLarge { .. } => "PAYLOAD_TOO_LARGE",
            Self::RateLimited { .. } | Self::TooManyConnections { .. } => "RATE_LIMITED",
            Self::BudgetExhausted(_) => "BUDGET_EXHAUSTED",
            Self::LedgerUnavailable | Self::OrderNotRecorded => "LEDGER_UNAVAILABLE",
            Self::Overloaded => "OVERLOADED",
            Self::ShuttingDown => "SHUTTING_DOWN",
            Self::Internal => "INTERNAL",
        }
    }

    /// The error for a status that some layer answered without a body of ours.
    #[must_use]
    pub fn of_status(status: StatusCode, allow: Option<HeaderValue>) -> Self {
        match status {
            StatusCode::NOT_FOUND => Self::NotFound,
            StatusCode::METHOD_NOT_ALLOWED => Self::MethodNotAllowed { allow },
            status if status.is_client_error() => {
                Self::InvalidRequest("The request could not be read.".into())
            }
            _ => Self::Internal,
        }
    }

    fn headline(&self) -> &'static str {
        match self {
            Self::InvalidRequest(_) => "Invalid request",
            Self::Unauthorized { .. } => "Unauthorized",
            Self::InvalidGrant => "Invalid grant token",
            Self::OriginNotAllowed { .. } => "Origin not allowed",
            Self::NotFound | Self::UnknownConnection | Self::UnknownGrant => "Not found",
            Self::MethodNotAllowed { .. } => "Method not allowed",
            Self::PayloadTooLarge { .. } => "Payload too large",
            Self::RateLimited { .. } => "Too many credential requests, please try again later",
            Self::TooManyConnections { .. } => "Too many open connections on this grant",
            Self::BudgetExhausted(_) => "Bandwidth limit reached",
            Self::LedgerUnavailable | Self::OrderNotRecorded => "Ledger unavailable",
            Self::Overloaded => "Overloaded",
            Self::ShuttingDown => "Shutting down",
            Self::Internal => "Internal error",
        }
    }

    fn message(&self) -> Option<String> {
        let text = match self {
            Self::InvalidRequest(what) => what.clone(),
            Self::Unauthorized { wants } => format!("Send {wants} as `Authorization: Bearer <token>`."),
            Self::InvalidGrant => {
                "Fetch new credentials and use the `grant` that comes with them; an app server checks its REPORTER_TOKEN.".into()
            }
            Self::OriginNotAllowed { origin } => format!("Add {origin} to CLIENT_URL if it is a page of yours."),
            Self::UnknownConnection => "Not open, or not yours: open it again with POST /api/connections.".into(),
            Self::MethodNotAllowed { .. } => "See /openapi.json for what this route accepts.".into(),
            Self::PayloadTooLarge { bytes_max } => format!("Send at most {bytes_max} bytes."),
            Self::BudgetExhausted(refusal) => {
                let limit = limit_gb(refusal);
                let state = if refusal.figures.is_spent() {
                    "has been reached. Please wait until next month."
                } else {
                    "is reserved in full by credentials already issued. Please try again later."
                };
                format!("Monthly bandwidth limit of {limit} GB {state}")
            }
            Self::TooManyConnections { .. } => "Close connections that have ended.".into(),
            Self::LedgerUnavailable => "The ledger cannot be written: see the log, and the disk under STATE_DIR.".into(),
            Self::UnknownGrant => "No credential with this grant is out: it has expired, or was never issued here.".into(),
            Self::OrderNotRecorded => "The order counts from now on, but it could not be written, and a restart forgets it: see the log, and the disk under STATE_DIR.".into(),
            Self::Overloaded => "Try again in a second.".into(),
            Self::Internal => "Report the requestId to whoever runs this service.".into(),
            Self::NotFound => "GET /docs shows what there is. The dashboard and what else is the operator's are there once OPERATOR_TOKEN is set.".into(),
            Self::RateLimited { .. } | Self::ShuttingDown => return None,
        };
        Some(text)
    }

    /// The origin that is not allowed, cut to what is shown of it.
    #[must_use]
    pub fn refused_origin(&self) -> Option<&str> {
        match self {
            Self::OriginNotAllowed { origin } => Some(origin),
            _ => None,
        }
    }

    /// How long to wait before trying again makes sense.
    #[must_use]
    pub fn retry_in(&self) -> Option<Duration> {
        match self {
            Self::RateLimited { retry_in } | Self::TooManyConnections { retry_in } => Some(*retry_in),
            Self::BudgetExhausted(refusal) => Some(refusal.retry_in()),
            Self::Overloaded | Self::LedgerUnavailable => Some(Duration::from_secs(1)),
            _ => None,
        }
    }

    /// The body on the wire.
    #[must_use]
    pub fn body(&self, request_id: &str) -> ErrorBody {
        let refusal = if let Self::BudgetExhausted(refusal) = self { Some(refusal) } else { None };
        ErrorBody {
            error: self.headline(),
            message: self.message(),
            bandwidth_used: refusal.map(|refusal| refusal.figures.used.gb_nearest()),
            bandwidth_limit: refusal.map(limit_gb),
            reset_date: refusal.map(|refusal| refusal.figures.period.end.to_string()),
            code: self.code(),
            request_id: request_id.to_owned(),
        }
    }
}

fn limit_gb(refusal: &Refusal) -> serde_json::Number {
    plain_number(refusal.figures.limit.as_gb())
}

impl From<Rejected> for ApiError {
    fn from(rejected: Rejected) -> Self {
        match rejected {
            Rejected::OverRate { retry_in } => Self::RateLimited { retry_in },
            Rejected::NoClient => Self::Internal,
        }
    }
}

impl From<NoRandomness> for ApiError {
    fn from(_: NoRandomness) -> Self {
        Self::Internal
    }
}

impl IntoResponse for ApiError {
    /// Status and headers; the envelope adds the body.
    fn into_response(self) -> Response {
        let mut response = self.status().into_response();
        if let Some(wait) = self.retry_in() {
            response.headers_mut().insert(RETRY_AFTER, HeaderValue::from(wait_seconds(wait)));
        }
        if let Self::MethodNotAllowed { allow: Some(allow) } = &self {
            response.headers_mut().insert(ALLOW, allow.clone());
        }
        response.extensions_mut().insert(self);
        response
    }
}
