//! The parser of responses: from status and body to a count. Pure. GraphQL reports errors with HTTP 200, so `errors` is
//! read before `data`. Data with errors is refused, because it may be incomplete.

use reqwest::StatusCode;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::Number;

use super::{AnalyticsError, Counted, UsageCount};
use crate::ice::call::unusable;
use crate::meter::prelude::*;

/// Phrases in Cloudflare's messages, in lower case, by meaning. They are searched for in this order. After a rate limit nothing else in the
/// response counts. The phrase about the account contains one of the phrases about rights, so it is searched for first.
const TOO_MANY: &[&str] = &[
    "rate limit",
    "quota exceeded",
    "limit reached",
    "queries too many",
    "excessive resources",
    "too many requests",
];
const NO_ACCOUNT: &[&str] = &["not authorized for that account"];
const NO_RIGHT: &[&str] = &[
    "unauthorized",
    "not authorized",
    "does not have access",
    "authentication error",
    "authenticate request",
    "access token",
    "authorization header",
    "invalid request headers",
];

/// The count, or an error. `keys`: our own keys, whose count the query asked for.
pub(super) fn parse(
    status: StatusCode,
    body: &[u8],
    keys: &[OwnKey],
    counted: &Counted,
) -> Result<UsageCount, AnalyticsError> {
    let account: Account = account(status, body)?;
    Ok(account.count(keys, counted)?)
}

/// The selections of the only account in a response, or an error.
pub(super) fn account<A: DeserializeOwned>(status: StatusCode, body: &[u8]) -> Result<A, AnalyticsError> {
    let errors = errors_in(body);
    if status == StatusCode::OK {
        return match errors? {
            None => only_account(body),
            Some(errors) => Err(known_error(&errors).unwrap_or(AnalyticsError::QueryRefused)),
        };
    }
    let errors = errors.ok().flatten();
    Err(errors.as_deref().and_then(known_error).unwrap_or_else(|| match status {
        StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => AnalyticsError::Unauthorized,
        StatusCode::TOO_MANY_REQUESTS => AnalyticsError::RateLimited,
        StatusCode::BAD_REQUEST if errors.is_some() => AnalyticsError::QueryRefused,
        _ => CallError::Status { status, retry_after: None }.into(),
    }))
}

fn other_form() -> CallError {
    unusable("it has another form")
}

#[derive(Deserialize)]
struct Errors {
    errors: Option<Value>,
}

/// The errors of a response as one text in lower case; `None` without errors, or with an empty list. The text is only searched, never kept.
fn errors_in(body: &[u8]) -> Result<Option<String>, CallError> {
    let Errors { errors } = serde_json::from_slice(body).map_err(|_| unusable("it is no JSON"))?;
    let errors = errors.filter(|errors| errors.as_array().is_none_or(|list| !list.is_empty()));
    Ok(errors.map(|errors| errors.to_string().to_lowercase()))
}

fn known_error(errors: &str) -> Option<AnalyticsError> {
    let says = |phrases: &[&str]| phrases.iter().any(|phrase| errors.contains(phrase));
    if says(TOO_MANY) {
        Some(AnalyticsError::RateLimited)
    } else if says(NO_ACCOUNT) {
        Some(AnalyticsError::NoAccount)
    } else if says(NO_RIGHT) {
        Some(AnalyticsError::Unauthorized)
    } else {
        None
    }
}

#[derive(Deserialize)]
struct GraphqlBody<A> {
    data: Data<A>,
}

#[derive(Deserialize)]
struct Data<A> {
    viewer: Viewer<A>,
}

#[derive(Deserialize)]
struct Viewer<A> {
    accounts: Vec<A>,
}

/// A selection that is absent or null counts as zero, with the exceptions of [`Account::count`].
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Account {
    calls_turn_usage_adaptive_groups: Option<Vec<Group>>,
    calls_usage_adaptive_groups: Option<Vec<Group>>,
    own_key: Option<Vec<Group>>,
}

#[derive(Deserialize)]
struct Group {
    sum: Sum,
    dimensions: Option<Dimensions>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Dimensions {
    key_id: Option<String>,
    app_id: Option<String>,
}

/// The bytes of one group.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Sum {
    egress_bytes: Number,
    ingress_bytes: Number,
}

impl Sum {
    pub(super) fn traffic(&self) -> Result<Traffic, CallError> {
        Ok(Traffic { received: bytes(&self.ingress_bytes)?, sent: bytes(&self.egress_bytes)? })
    }
}

fn only_account<A: DeserializeOwned>(body: &[u8]) -> Result<A, AnalyticsError> {
    let answer: GraphqlBody<A> = serde_json::from_slice(body).map_err(|_| other_form())?;
    let mut accounts = answer.data.viewer.accounts;
    // The last account, and whether there is no other one.
    match (accounts.pop(), accounts.is_empty()) {
        (None, _) => Err(AnalyticsError::NoAccount),
        (Some(account), true) => Ok(account),
        (Some(_), false) => Err(other_form().into()),
    }
}

impl Account {
    /// The count in this response. Each selection is sampled separately, so the count of our keys may exceed the count of all keys. Then
    /// the other keys count zero.
    ///
    /// A missing count of our keys is taken as zero only if no key of the account was used. Otherwise zero would release what our grants
    /// have reserved, so it is an error.
    fn count(&self, keys: &[OwnKey], counted: &Counted) -> Result<UsageCount, CallError> {
        let Counted { billed, sfu_app } = counted;
        if sfu_app.is_some() && self.calls_usage_adaptive_groups.is_none() {
            return Err(unusable("the count of the SFU is missing"));
        }
        let billed = *billed;
        let all = total(self.calls_turn_usage_adaptive_groups.iter().flatten(), billed)?;
        let all_apps = total(self.calls_usage_adaptive_groups.iter().flatten(), billed)?;
        // Without the dimension, every app counts as ours.
        let is_of_app = |group: &&Group| {
            let app = group.dimensions.as_ref().and_then(|of| of.app_id.as_deref());
            sfu_app.as_deref().is_some_and(|own| app.is_none_or(|app| app == own))
        };
        let sfu = total(self.calls_usage_adaptive_groups.iter().flatten().filter(is_of_app), billed)?;
        let own = match &self.own_key {
            Some(groups) => total(groups.iter(), billed)?,
            None if !keys.is_empty() && all > ByteCount::ZERO => {
                return Err(unusable("the count of our TURN key is missing"));
            }
            // Either our keys are not known, and all keys count as ours. Or no key was used, and this is zero.
            None => all,
        };
        let by_key = self.by_key(keys, billed)?;
        Ok(UsageCount { own, by_key, sfu, other: all.minus(own).plus(all_apps.minus(sfu)) })
    }

    /// The bytes of each own key. If there is only one key, its groups have no dimensions.
    fn by_key(
        &self,
        keys: &[OwnKey],
        billed: BilledDirections,
    ) -> Result<BTreeMap<IdDigest, ByteCount>, CallError> {
        let mut by_key = BTreeMap::<_, ByteCount>::new();
        for OwnKey { digest, id } in keys {
            let is_of_key = |group: &&Group| {
                let key_id = group.dimensions.as_ref().and_then(|of| of.key_id.as_deref());
                key_id.is_none_or(|key_id| key_id == &**id)
            };
            let bytes = total(self.own_key.iter().flatten().filter(is_of_key), billed)?;
            let sum = by_key.entry(*digest).or_default();
            *sum = sum.plus(bytes);
        }
        Ok(by_key)
    }
}

fn total<'a>(
    mut groups: impl Iterator<Item = &'a Group>,
    billed: BilledDirections,
) -> Result<ByteCount, CallError> {
    groups.try_fold(ByteCount::ZERO, |total, Group { sum, .. }| Ok(total.plus(sum.traffic()?.billed(billed))))
}

/// The bytes of a count: a whole number, possibly written as a float (`1.5e9`).
fn bytes(number: &Number) -> Result<ByteCount, CallError> {
    number
        .as_f64()
        .and_then(ByteCount::from_whole)
        .ok_or_else(|| unusable("a count is not a whole number of bytes, or absurdly large"))
}

#[cfg(test)]
#[path = "answer_tests.rs"]
mod tests;
