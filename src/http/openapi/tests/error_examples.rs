//! An example of every error in the `OpenAPI` document. Each is made by the code that makes the real response, so its texts are
//! the real ones. The document contains each example once; responses refer to those of their codes.

use std::time::Duration;

use serde_json::{Value, json};
use strum::VariantArray;

use crate::auth::{Fault, NoUser};
use crate::http::refusals::{ForeignRequest, budget_exhausted, origin_not_allowed, too_many_mints};
use turn_base::body::BODY_MAX;
use turn_base::error::{ApiError, Code, ErrorBody};
use turn_ledger::{ByteCount, Figures, Period, Refusal, Timestamp, UserUsage};

const REQUEST_ID: &str = "672e560945ec9517-9";
/// 2025-01-01 and 2025-02-01, in milliseconds.
const PERIOD: [i64; 2] = [1_735_689_600_000, 1_738_368_000_000];

/// Adds the examples to the document, and references to them to every error response.
pub(super) fn add(document: &mut Value) {
    let examples = Code::VARIANTS.iter().map(|code| (<&str>::from(code).to_owned(), example(error(*code))));
    document["components"]["examples"] = Value::Object(examples.collect());
    let items = document["paths"].as_object_mut().into_iter().flat_map(|paths| paths.values_mut());
    let operations = items.filter_map(Value::as_object_mut).flat_map(|item| item.values_mut());
    for responses in operations.filter_map(|operation| operation["responses"].as_object_mut()) {
        responses.values_mut().for_each(refer);
    }
}

/// Refers to the examples of the codes that the response's description names.
fn refer(response: &mut Value) {
    let description = response["description"].as_str().unwrap_or_default();
    let named = description.split("\n\n").filter_map(|text| text.strip_prefix('`')?.split_once("`:"));
    let references = named
        .filter(|(code, _)| code.parse::<Code>().is_ok())
        .map(|(code, _)| (code.to_owned(), json!({"$ref": format!("#/components/examples/{code}")})));
    let references: serde_json::Map<_, _> = references.collect();
    if let Some(content) = response.pointer_mut("/content/application~1json")
        && !references.is_empty()
    {
        content["examples"] = Value::Object(references);
    }
}

/// The status as the summary, and the body.
fn example(error: ApiError) -> Value {
    let body = ErrorBody { request_id: REQUEST_ID.to_owned(), ..*error.body };
    json!({"summary": error.status.to_string(), "value": body})
}

/// An error with this code.
fn error(code: Code) -> ApiError {
    match code {
        Code::InvalidRequest => ApiError::invalid("Set `ttl` to a whole number of seconds from 60 to 86400."),
        Code::Unauthorized => ApiError::no_token("the OPERATOR_TOKEN"),
        Code::InvalidGrant => ApiError::invalid_grant(),
        Code::InvalidToken => NoUser::Invalid(Fault::Expired).into(),
        Code::OriginNotAllowed => {
            origin_not_allowed(ForeignRequest::Origin("https://app.example".to_owned()))
        }
        Code::UserBlocked => ApiError::user_blocked(),
        Code::UserLimitReached => budget_exhausted(&spent_by_user()),
        Code::NotFound => ApiError::no_route(),
        Code::MethodNotAllowed => ApiError::method_not_allowed(),
        Code::PayloadTooLarge => ApiError::payload_too_large(BODY_MAX),
        Code::UpgradeRequired => ApiError::upgrade_required(),
        Code::MisdirectedRequest => ApiError::misdirected(),
        Code::RateLimited => too_many_mints(Duration::from_secs(1)),
        Code::BudgetExhausted => budget_exhausted(&spent()),
        Code::LedgerUnavailable => ApiError::not_recorded(),
        Code::NoLeader => ApiError::no_leader(),
        Code::Overloaded => ApiError::overloaded(),
        Code::ShuttingDown => ApiError::shutting_down(),
        Code::Internal => ApiError::internal(),
    }
}

/// A refusal because 1000 GB are spent.
fn spent() -> Refusal {
    let [start, end] = PERIOD.map(Timestamp::from_millis);
    let used = ByteCount::new(1_000_020_000_000);
    let figures = Figures {
        now: start,
        period: Period { start, end },
        used,
        committed: used,
        margin: ByteCount::ZERO,
        committed_next: ByteCount::ZERO,
        limit: ByteCount::new(1_000_000_000_000),
    };
    Refusal { figures, awaits_reading: false, client_frees_at: None, user: None }
}

/// A refusal because one user has spent a limit of 10 GB.
fn spent_by_user() -> Refusal {
    let refusal = spent();
    let figures = Figures { used: ByteCount::ZERO, committed: ByteCount::ZERO, ..refusal.figures };
    let user = UserUsage { used: ByteCount::new(10_020_000_000), limit: ByteCount::new(10_000_000_000) };
    Refusal { figures, user: Some(user), ..refusal }
}
