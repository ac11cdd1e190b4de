//! The part of Cloudflare's analytics that queries of relayed bytes need: `POST /client/v4/graphql`.
//!
//! Invariants: a response is computed from the recorded usage and the query. It contains only what the query selects. The
//! status of each refusal is the documented one.
//!
//! `query.rs` parses the query, `usage.rs` evaluates a dataset, `fault.rs` corrupts responses.

mod fault;
mod query;
mod usage;

use std::sync::Arc;

use hyper::StatusCode;
use serde_json::{Map, Value, json};
use turn_base::Clock;

pub(crate) use fault::AnalyticsFault;

use super::Core;
use super::faults::{Delivery, Outcome};
use super::history::Recorded;
use super::provider::Answer;
use fault::refusal;
use query::Field;
use usage::{Dataset, Distortion, Relayed, Usage};

pub(super) const PATH: &str = "/client/v4/graphql";

/// The usage, the access checks and the fault.
#[derive(Default)]
pub(super) struct Analytics {
    usage: Usage,
    /// The only valid account; with `None` every account is valid.
    account: Option<String>,
    token: Option<String>,
    fault: Option<AnalyticsFault>,
    /// The fault of queries with dimensions. It takes precedence.
    grouped_fault: Option<AnalyticsFault>,
    /// The present. Without it, usage is shown at once.
    clock: Option<Arc<dyn Clock>>,
}

/// The control side: `fake.analytics()`.
pub(crate) struct Control<'a>(pub(super) &'a Core);

impl Control<'_> {
    /// Adds TURN usage of a key in the minute of `at` (RFC 3339), without an identifier.
    pub(crate) fn relay(&self, key_id: &str, at: &str, egress: u64, ingress: u64) {
        self.relay_as(key_id, "", at, egress, ingress);
    }

    /// Adds TURN usage of a credential that was minted with this `customIdentifier`.
    pub(crate) fn relay_as(&self, key_id: &str, identifier: &str, at: &str, egress: u64, ingress: u64) {
        let relayed = Relayed { owner: key_id, identifier, at, egress, ingress };
        self.0.settings().analytics.usage.add(Dataset::Turn, &relayed);
    }

    /// Adds SFU usage of an app in the minute of `at`.
    pub(crate) fn sfu(&self, app_id: &str, at: &str, egress: u64, ingress: u64) {
        let relayed = Relayed { owner: app_id, identifier: "", at, egress, ingress };
        self.0.settings().analytics.usage.add(Dataset::Sfu, &relayed);
    }

    /// Accepts only this account. Any other gets 403.
    pub(crate) fn require_account(&self, account: &str) {
        self.0.settings().analytics.account = Some(account.to_owned());
    }

    /// Accepts only this bearer token. Any other gets 401. A missing token always gets 401.
    pub(crate) fn require_token(&self, token: &str) {
        self.0.settings().analytics.token = Some(token.to_owned());
    }

    /// Applies a fault to every query until another one or [`Self::heal`]. Mints are not affected.
    pub(crate) fn set_fault(&self, fault: AnalyticsFault) {
        self.0.settings().analytics.fault = Some(fault);
    }

    /// Applies a fault to every query with dimensions until [`Self::heal`].
    pub(crate) fn set_grouped_fault(&self, fault: AnalyticsFault) {
        self.0.settings().analytics.grouped_fault = Some(fault);
    }

    /// Shows the bytes of each credential only when they are [`usage::BY_IDENTIFIER_LATE`] old by this clock, as the live service does.
    pub(crate) fn follow(&self, clock: Arc<dyn Clock>) {
        self.0.settings().analytics.clock = Some(clock);
    }

    /// Ends the faults.
    pub(crate) fn heal(&self) {
        let analytics = &mut self.0.settings().analytics;
        (analytics.fault, analytics.grouped_fault) = (None, None);
    }

    /// The number of queries, failed ones included.
    pub(crate) fn asked(&self) -> usize {
        self.0.history.asked()
    }

    /// The latest queries, oldest first, including refused ones. `body` has `query` and `variables`.
    pub(crate) fn queries(&self) -> Vec<Recorded> {
        self.0.history.queries()
    }
}

impl Analytics {
    pub(super) fn outcome(&self, request: &Recorded) -> Outcome {
        let is_grouped = request.body["query"].as_str().is_some_and(|query| query.contains("dimensions"));
        let fault = self.grouped_fault.filter(|_| is_grouped).or(self.fault);
        let distortion = fault.map_or(Distortion::NONE, AnalyticsFault::distortion);
        let now = self.clock.as_ref().map(|clock| clock.now().to_utc());
        let distortion = Distortion { now, ..distortion };
        let good = self.answer(request, distortion).unwrap_or_else(|refused| refused);
        match fault {
            Some(fault) => fault.apply(good),
            None => Outcome::Answer { answer: good, delivery: Delivery::Whole },
        }
    }

    fn answer(&self, request: &Recorded, distortion: Distortion) -> Result<Answer, Answer> {
        let sent = request.authorization.as_deref().and_then(|value| value.strip_prefix("Bearer "));
        if sent.is_none() || self.token.as_deref().is_some_and(|right| sent != Some(right)) {
            return Err(refusal(StatusCode::UNAUTHORIZED, "Unauthorized"));
        }
        let malformed = |message: String| refusal(StatusCode::BAD_REQUEST, &message);
        let text = request.body["query"].as_str().ok_or_else(|| malformed("no query".to_owned()))?;
        let fields = query::parse(text, &request.body["variables"]).map_err(malformed)?;
        let viewer = |field: &Field| match &*field.name {
            "viewer" => each(&field.selections, |field| self.accounts(field, distortion)),
            _ => Err(unknown(field)),
        };
        let data = each(&fields, viewer)?;
        Ok(Answer::json(StatusCode::OK, json!({ "data": data, "errors": null }).to_string()))
    }

    fn accounts(&self, field: &Field, distortion: Distortion) -> Result<Value, Answer> {
        if field.name != "accounts" {
            return Err(unknown(field));
        }
        let asked = field.arguments.get("filter").and_then(|filter| filter["accountTag"].as_str());
        if asked.is_none() || self.account.as_deref().is_some_and(|right| asked != Some(right)) {
            return Err(refusal(StatusCode::FORBIDDEN, "not authorized for that account"));
        }
        let dataset = |field: &Field| {
            let dataset = Dataset::named(&field.name).ok_or_else(|| unknown(field))?;
            let groups = self.usage.groups(dataset, field, distortion);
            groups.map(Value::Array).map_err(|message| refusal(StatusCode::BAD_REQUEST, &message))
        };
        Ok(json!([each(&field.selections, dataset)?]))
    }
}

/// An object with one member for each field, under its alias.
fn each(fields: &[Field], value: impl Fn(&Field) -> Result<Value, Answer>) -> Result<Value, Answer> {
    let member = |field| value(field).map(|value| (field.alias.clone(), value));
    fields.iter().map(member).collect::<Result<Map<_, _>, _>>().map(Value::Object)
}

fn unknown(field: &Field) -> Answer {
    refusal(StatusCode::BAD_REQUEST, &format!("unknown field {:?}", field.name))
}
