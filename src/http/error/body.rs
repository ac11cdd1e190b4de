//! The body of every error response, and the codes in it. A code keeps its meaning: programs depend on it.

use std::borrow::Cow;

use serde::Serialize;
use utoipa::ToSchema;
use utoipa::openapi::{RefOr, Schema};

use crate::http::schema::one_of;

/// All codes.
pub(in crate::http) const CODES: [&str; 17] = [
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
    /// For the log only: what the operator can do, if that is not the message.
    #[serde(skip)]
    #[schema(ignore)]
    pub remedy: Option<&'static str>,
}
