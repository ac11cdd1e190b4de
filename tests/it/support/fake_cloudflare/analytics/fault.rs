//! The faults of analytics responses. Pure: a fault decides the outcome, and the server executes it.

use std::time::Duration;

use hyper::StatusCode;
use serde_json::{Value, json};

use super::super::faults::{Delivery, Fault, Outcome, html_page, redirect};
use super::super::provider::Answer;
use super::usage::Distortion;

/// A fault, or an incomplete response.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum AnalyticsFault {
    /// 200 with one unspecific error, and `data` null.
    ErrorsAt200,
    /// 200 with the good answer, and an error beside it.
    PartialWithErrors,
    /// The rate limit as observed live: with 200.
    BudgetDepletedAt200,
    /// The rate limit as documented: with 429.
    TooManyRequests,
    /// 403: the token may not read this account.
    Forbidden,
    /// 400: the span of the query is too long.
    RangeTooWide,
    /// The same, but only for a span of more than this many days.
    WiderThan(u16),
    /// 400 for a span of less than this many hours.
    NarrowerThan(u16),
    /// This status with an HTML page.
    ServerErrorHtml(u16),
    /// The good answer with no account in it.
    NoAccounts,
    /// The good answer with the rows of each dataset in the opposite order.
    Reversed,
    /// The good answer with null in place of the rows of the grants.
    NullRows,
    /// The good answer without these rows.
    NoRows,
    /// 200, `data` null, and no error.
    NullData,
    /// 200 with an HTML page.
    NotJson,
    /// The good answer behind 8 MiB of padding.
    Huge,
    /// The good answer, this much later.
    Latency(Duration),
    /// Half of the body, then the connection is reset.
    ResetMidBody,
    /// The connection is reset instead of an answer.
    ResetBeforeAnswer,
    /// 302 to a path of ours that would answer; see `History::redirect_hits`.
    Redirect,
    /// The newest minutes are missing: this many, counted from the newest entry.
    Late(u16),
    /// The good answer with this `Date` header.
    Dated(&'static str),
    /// The good answer with so many percent of the bytes.
    Wrong(u64),
}

impl AnalyticsFault {
    /// The share of the usage that this fault returns.
    pub(super) fn distortion(self) -> Distortion {
        match self {
            Self::Late(minutes) => Distortion { late: minutes, ..Distortion::NONE },
            Self::WiderThan(days) => Distortion { days_max: days, ..Distortion::NONE },
            Self::NarrowerThan(hours) => Distortion { hours_min: hours, ..Distortion::NONE },
            _ => Distortion::NONE,
        }
    }

    /// The outcome.
    pub(super) fn apply(self, good: Answer) -> Outcome {
        let (answer, delivery) = match self {
            Self::ResetBeforeAnswer => return Outcome::Reset,
            Self::Latency(delay) => (good, Delivery::After(delay)),
            Self::ResetMidBody => (good, Delivery::CutInHalf),
            Self::Huge => (good, Delivery::Padded),
            other => (other.replace(good), Delivery::Whole),
        };
        Outcome::Answer { answer, delivery }
    }

    fn replace(self, good: Answer) -> Answer {
        const BUDGET: &str = "rate limiter budget depleted, try again after 5 minutes";
        const LATER: &str = "unable to execute query, please try again later";
        match self {
            Self::ErrorsAt200 => refusal(StatusCode::OK, LATER),
            Self::BudgetDepletedAt200 => refusal(StatusCode::OK, BUDGET),
            Self::TooManyRequests => refusal(StatusCode::TOO_MANY_REQUESTS, BUDGET),
            Self::Forbidden => refusal(StatusCode::FORBIDDEN, "not authorized for that account"),
            Self::RangeTooWide => {
                refusal(StatusCode::BAD_REQUEST, "query time range is too large, at most 4w2d")
            }
            Self::ServerErrorHtml(status) => html_page(status),
            Self::NotJson => html_page(200),
            Self::Redirect => redirect(),
            Self::PartialWithErrors => edited(good, |body| body["errors"] = json!([error(LATER)])),
            Self::NullData => edited(good, |body| body["data"] = Value::Null),
            Self::NoAccounts => edited(good, |body| each_account_list(body, |_| json!([]))),
            Self::Reversed => edited(good, |body| {
                each_dataset(body, |rows| rows.as_array().into_iter().flatten().rev().cloned().collect());
            }),
            Self::NullRows => edited(good, |body| *by_grant(body) = Value::Null),
            Self::NoRows => edited(good, |body| *by_grant(body) = json!([])),
            Self::Wrong(percent) => edited(good, |body| each_dataset(body, |rows| scaled(rows, percent))),
            Self::Dated(date) => Answer { header: Some(("date", date)), ..good },
            Self::Late(_)
            | Self::WiderThan(_)
            | Self::NarrowerThan(_)
            | Self::Latency(_)
            | Self::ResetMidBody
            | Self::ResetBeforeAnswer
            | Self::Huge => good,
        }
    }
}

/// Rows with so many percent of their sums.
fn scaled(rows: &Value, percent: u64) -> Value {
    let mut rows = rows.clone();
    for row in rows.as_array_mut().into_iter().flatten() {
        for sum in row["sum"].as_object_mut().into_iter().flat_map(|sums| sums.values_mut()) {
            *sum = json!(sum.as_u64().unwrap_or_default() * percent / 100);
        }
    }
    rows
}

/// An answer in the API's error form.
pub(super) fn refusal(status: StatusCode, message: &str) -> Answer {
    Answer::json(status, json!({ "data": null, "errors": [error(message)] }).to_string())
}

/// An error with the mark that leak checks look for.
fn error(message: &str) -> Value {
    let extensions = json!({ "timestamp": "2025-01-15T12:00:00Z", "mark": Fault::BODY_MARK });
    json!({ "message": message, "path": null, "extensions": extensions })
}

fn edited(mut answer: Answer, edit: impl FnOnce(&mut Value)) -> Answer {
    let mut body = serde_json::from_str(&answer.body).expect("a good answer is JSON");
    edit(&mut body);
    answer.body = body.to_string();
    answer
}

/// Replaces every list of accounts, under any alias.
fn each_account_list(body: &mut Value, replace: impl Fn(&Value) -> Value) {
    let viewers = body["data"].as_object_mut().into_iter().flat_map(|data| data.values_mut());
    for accounts in viewers.filter_map(Value::as_object_mut).flat_map(|viewer| viewer.values_mut()) {
        *accounts = replace(accounts);
    }
}

fn by_grant(body: &mut Value) -> &mut Value {
    &mut body["data"]["viewer"]["accounts"][0]["byGrant"]
}

fn each_dataset(body: &mut Value, replace: impl Fn(&Value) -> Value) {
    each_account_list(body, |accounts| {
        let replaced = |account: &Value| {
            let datasets = account.as_object().into_iter().flatten();
            datasets.map(|(name, rows)| (name.clone(), replace(rows))).collect::<Value>()
        };
        accounts.as_array().into_iter().flatten().map(replaced).collect()
    });
}
