//! The body of every error response, and the codes in it. A code keeps its meaning: programs depend on it.

use std::borrow::Cow;

use axum::http::StatusCode;
use serde::Serialize;
use strum::{EnumString, IntoStaticStr, VariantArray};
use utoipa::ToSchema;
use utoipa::openapi::{RefOr, Schema};

use crate::schema::one_of;

/// What went wrong, for programs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, EnumString, IntoStaticStr, VariantArray)]
#[strum(serialize_all = "SCREAMING_SNAKE_CASE")]
#[expect(missing_docs, reason = "docs/REFERENCE.md explains each")]
pub enum Code {
    InvalidRequest,
    Unauthorized,
    InvalidGrant,
    InvalidToken,
    OriginNotAllowed,
    UserBlocked,
    AddressBlocked,
    Blocked,
    UserLimitReached,
    GrantLimitReached,
    KeyLimitReached,
    AddressLimitReached,
    NotFound,
    MethodNotAllowed,
    PayloadTooLarge,
    UpgradeRequired,
    MisdirectedRequest,
    RateLimited,
    BudgetExhausted,
    LedgerUnavailable,
    GrantsFull,
    ClockDisagrees,
    NoLeader,
    Overloaded,
    ShuttingDown,
    Internal,
}

impl Code {
    /// The status of a response with this code.
    pub const fn status(self) -> StatusCode {
        match self {
            Self::InvalidRequest => StatusCode::BAD_REQUEST,
            Self::Unauthorized | Self::InvalidGrant | Self::InvalidToken => StatusCode::UNAUTHORIZED,
            Self::OriginNotAllowed | Self::UserBlocked | Self::AddressBlocked | Self::Blocked => {
                StatusCode::FORBIDDEN
            }
            Self::NotFound => StatusCode::NOT_FOUND,
            Self::MethodNotAllowed => StatusCode::METHOD_NOT_ALLOWED,
            Self::PayloadTooLarge => StatusCode::PAYLOAD_TOO_LARGE,
            Self::UpgradeRequired => StatusCode::UPGRADE_REQUIRED,
            Self::MisdirectedRequest => StatusCode::MISDIRECTED_REQUEST,
            Self::RateLimited
            | Self::BudgetExhausted
            | Self::UserLimitReached
            | Self::GrantLimitReached
            | Self::KeyLimitReached
            | Self::AddressLimitReached => StatusCode::TOO_MANY_REQUESTS,
            Self::LedgerUnavailable
            | Self::GrantsFull
            | Self::ClockDisagrees
            | Self::NoLeader
            | Self::Overloaded
            | Self::ShuttingDown => StatusCode::SERVICE_UNAVAILABLE,
            Self::Internal => StatusCode::INTERNAL_SERVER_ERROR,
        }
    }
}

fn code_schema() -> RefOr<Schema> {
    one_of(Code::VARIANTS.iter().map(<&str>::from), "Stable identifier for programs.")
}

/// An error as Cloudflare's API lists it.
#[derive(Clone, Debug, PartialEq, Serialize, ToSchema)]
pub struct ProviderError {
    /// The status of the response.
    #[schema(example = 429)]
    pub code: u16,
    /// What happened, and what to do.
    #[schema(value_type = String, example = "Try again in 30 s.")]
    pub message: Cow<'static, str>,
}

/// The body of every error response.
#[derive(Clone, Debug, Default, PartialEq, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct ErrorBody {
    /// Short text for people.
    #[schema(example = "Too many credential requests, please try again later")]
    pub error: &'static str,
    /// What to do. Absent if there is nothing to add.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = String, required = false, example = "Close connections that have ended.")]
    pub message: Option<Cow<'static, str>>,
    /// Used GB with two decimals. Only with `BUDGET_EXHAUSTED`, of the user with `USER_LIMIT_REACHED`, and of the server key with `KEY_LIMIT_REACHED`.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = String, required = false, example = "1000.02")]
    pub bandwidth_used: Option<String>,
    /// The limit in GB. Only with `BUDGET_EXHAUSTED`, of one user with `USER_LIMIT_REACHED`, and of the server key with `KEY_LIMIT_REACHED`.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = f64, required = false, example = 1000)]
    pub bandwidth_limit: Option<serde_json::Number>,
    /// When the period ends. Only with `BUDGET_EXHAUSTED`, `USER_LIMIT_REACHED` and `KEY_LIMIT_REACHED`.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = String, format = DateTime, required = false, example = "2025-02-01T00:00:00Z")]
    pub reset_date: Option<String>,
    /// Only for Matrix clients: their code.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = String, required = false, example = "M_LIMIT_EXCEEDED")]
    pub errcode: Option<&'static str>,
    /// Only for Matrix clients: when to try again, in milliseconds.
    #[serde(rename = "retry_after_ms", skip_serializing_if = "Option::is_none")]
    #[schema(value_type = u64, required = false, example = 30_000)]
    pub retry_after_ms: Option<u64>,
    /// Only at the proxy of the SFU: the code as the SFU writes codes.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = String, required = false, example = "no_leader")]
    pub error_code: Option<String>,
    /// Only at the proxy of the SFU: what happened, and what to do.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = String, required = false, example = "Try again in a second.")]
    pub error_description: Option<Cow<'static, str>>,
    /// Only for programs that were written for Cloudflare's API: the same as its list has it.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schema(required = false)]
    pub errors: Vec<ProviderError>,
    /// Stable identifier for programs.
    #[schema(schema_with = code_schema)]
    pub code: &'static str,
    /// Also in the `x-request-id` header and in the log.
    #[schema(example = "672e560945ec9517-9")]
    pub request_id: String,
    /// For the log only: the origin that was refused.
    #[serde(skip)]
    pub refused_origin: Option<String>,
    /// For the log only: what the operator can do, if that is not the message.
    #[serde(skip)]
    pub remedy: Option<&'static str>,
}
