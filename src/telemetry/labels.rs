//! The labels of the time series, each from a closed set: nobody outside can add a series.

use prometheus_client::encoding::EncodeLabelSet;

/// One HTTP answer.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct RequestLabels {
    /// The route's pattern, or `unmatched`.
    pub route: String,
    /// The method, or `other`.
    pub method: &'static str,
    /// The status code.
    pub status: u16,
}

/// One answer with ICE servers.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct CredentialLabels {
    /// Who made it.
    pub source: &'static str,
    /// Why it did not come from the first source; `none` when it did.
    pub reason: &'static str,
}

/// One thing with a name.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct OutcomeLabels {
    /// Which of a closed set.
    pub outcome: &'static str,
}

/// Which provider's count, and what came of asking for it.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct ReadingLabels {
    pub(super) source: &'static str,
    pub(super) outcome: &'static str,
}

/// What became of an alert.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct AlertLabels {
    /// Its kind.
    pub event: &'static str,
    /// Which of a closed set.
    pub outcome: &'static str,
}
