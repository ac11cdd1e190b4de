//! The labels of the time series. Their values come from closed sets: no client can add a series.

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;

/// One HTTP response.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct RequestLabels {
    /// The route's pattern, or `unmatched`.
    pub route: String,
    /// The method, or `other`.
    pub method: &'static str,
    /// The status code.
    pub status: u16,
}

/// One response with ICE servers.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct CredentialLabels {
    /// The source of the ICE servers.
    pub source: &'static str,
    /// Why the first source was skipped; `none` if it was not.
    pub reason: &'static str,
}

/// One event with an outcome.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(super) struct OutcomeLabels {
    outcome: &'static str,
}

/// Counts of one kind of event by its outcome, from a closed set.
#[derive(Debug)]
pub struct Outcomes(pub(super) Family<OutcomeLabels, Counter>);

impl Outcomes {
    /// Counts one event.
    pub fn count(&self, outcome: &'static str) {
        self.add(outcome, 1);
    }

    pub(super) fn add(&self, outcome: &'static str, count: u64) {
        self.0.get_or_create(&OutcomeLabels { outcome }).inc_by(count);
    }

    /// How many events had this outcome.
    pub fn get(&self, outcome: &'static str) -> u64 {
        self.0.get(&OutcomeLabels { outcome }).map_or(0, |count| count.get())
    }
}

/// Something that a bound of signaling has cost a client.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct DroppedLabels {
    pub(super) protocol: &'static str,
    pub(super) reason: &'static str,
}

/// One request for a provider's own count.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct ReadingLabels {
    pub(super) source: &'static str,
    pub(super) outcome: &'static str,
}

/// One wrong token.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct TokenLabels {
    /// The token that was expected.
    pub role: &'static str,
}

/// One response with status 401.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct UnauthorizedLabels {
    /// The kind of route: `mint`, `connections` or `operator`.
    pub kind: &'static str,
}

/// The end of one alert.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct AlertLabels {
    /// The kind of alert.
    pub event: &'static str,
    /// The outcome, from a closed set.
    pub outcome: &'static str,
}

/// One TURN key.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct KeyLabels {
    /// The name of the key in the settings.
    pub key: String,
}
