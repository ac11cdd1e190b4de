//! Operator alerts as values. An [`Alert`] is complete when it is made. Its id is the same on every delivery attempt
//! and after a restart, so a receiver can drop repeats. The only texts from outside are the names of the largest spenders; the
//! message shows them in a form that no chat interprets.

use serde::{Deserialize, Serialize};

use super::spending::Spending;
use turn_ledger::units::{ByteCount, Timestamp};

/// One message to the operator.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Alert {
    /// `<first day of the period>/<event>/<which>`, for example `2025-01-01/budget-used-80/1000000000000`. ASCII
    /// without a full stop, because full stops separate the parts of the signed text.
    pub id: String,
    /// The kind of event.
    pub kind: AlertKind,
    /// When the event was noticed, in the books' time.
    pub at: Timestamp,
    /// What happened, in one sentence.
    pub what: String,
    /// What it means for callers, in one sentence.
    pub callers: String,
    /// The budget at that instant.
    pub budget: BudgetFigures,
    /// The largest spenders and the cost at that instant. Nothing in a recovery.
    pub spending: Spending,
}

/// The budget as an alert shows it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct BudgetFigures {
    /// Best figure of this period.
    pub used: ByteCount,
    /// The limit.
    pub limit: ByteCount,
    /// The most by which the live credentials can still take usage past the limit.
    pub overshoot_bound: ByteCount,
    /// When the period ends.
    pub reset: Timestamp,
}

/// How urgent an alert is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Severity {
    /// Nothing to do.
    Info,
    /// Look at it today.
    Warning,
    /// Calls fail or the bill grows until the operator acts.
    Critical,
}

impl Severity {
    /// The name on the wire.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Info => "info",
            Self::Warning => "warning",
            Self::Critical => "critical",
        }
    }
}

/// Every kind of alert. Names are stored and sent, so the meaning of a name never changes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum AlertKind {
    /// Half of the limit is used.
    #[serde(rename = "budget.used_50")]
    Used50,
    /// 80 % of the limit is used.
    #[serde(rename = "budget.used_80")]
    Used80,
    /// 95 % of the limit is used.
    #[serde(rename = "budget.used_95")]
    Used95,
    /// The limit is reached.
    #[serde(rename = "budget.used_100")]
    Used100,
    /// The provider does not mint.
    #[serde(rename = "provider.down")]
    ProviderDown,
    /// The provider mints again.
    #[serde(rename = "provider.up")]
    ProviderUp,
    /// Grants relay faster than the assumed rate: the overshoot bound does not hold.
    #[serde(rename = "assumption.broken")]
    AssumptionBroken,
    /// The readings fit the assumed rate again.
    #[serde(rename = "assumption.holds")]
    AssumptionHolds,
    /// The provider's count is too old.
    #[serde(rename = "analytics.stale")]
    AnalyticsStale,
    /// The provider's count is read again.
    #[serde(rename = "analytics.fresh")]
    AnalyticsFresh,
    /// coturn's command line does not answer: its sessions are neither counted nor cut.
    #[serde(rename = "coturn.unreachable")]
    CoturnUnreachable,
    /// coturn's command line answers again.
    #[serde(rename = "coturn.reachable")]
    CoturnReachable,
    /// The provider's counts settle later than the lag: the overshoot bound does not hold.
    #[serde(rename = "counts.late")]
    CountsLate,
    /// The provider's counts have settled within the longer lag for an hour.
    #[serde(rename = "counts.settled")]
    CountsSettled,
    /// The provider counted many bytes under identifiers that this ledger does not know.
    #[serde(rename = "counts.unknown")]
    CountsUnknown,
    /// Few bytes are under unknown identifiers again.
    #[serde(rename = "counts.known")]
    CountsKnown,
    /// The TURN key cannot be replaced.
    #[serde(rename = "rotation.failing")]
    RotationFailing,
    /// The rotation of the TURN key works again.
    #[serde(rename = "rotation.works")]
    RotationWorks,
    /// A test message. Never stored.
    #[serde(rename = "test")]
    Test,
}

impl AlertKind {
    /// All of them.
    pub const ALL: [Self; 19] = [
        Self::Used50,
        Self::Used80,
        Self::Used95,
        Self::Used100,
        Self::ProviderDown,
        Self::ProviderUp,
        Self::AssumptionBroken,
        Self::AssumptionHolds,
        Self::AnalyticsStale,
        Self::AnalyticsFresh,
        Self::CoturnUnreachable,
        Self::CoturnReachable,
        Self::CountsLate,
        Self::CountsSettled,
        Self::CountsUnknown,
        Self::CountsKnown,
        Self::RotationFailing,
        Self::RotationWorks,
        Self::Test,
    ];

    /// The name on the wire, in metrics and in logs.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Used50 => "budget.used_50",
            Self::Used80 => "budget.used_80",
            Self::Used95 => "budget.used_95",
            Self::Used100 => "budget.used_100",
            Self::ProviderDown => "provider.down",
            Self::ProviderUp => "provider.up",
            Self::AssumptionBroken => "assumption.broken",
            Self::AssumptionHolds => "assumption.holds",
            Self::AnalyticsStale => "analytics.stale",
            Self::AnalyticsFresh => "analytics.fresh",
            Self::CoturnUnreachable => "coturn.unreachable",
            Self::CoturnReachable => "coturn.reachable",
            Self::CountsLate => "counts.late",
            Self::CountsSettled => "counts.settled",
            Self::CountsUnknown => "counts.unknown",
            Self::CountsKnown => "counts.known",
            Self::RotationFailing => "rotation.failing",
            Self::RotationWorks => "rotation.works",
            Self::Test => "test",
        }
    }

    /// How urgent this kind is.
    #[must_use]
    pub const fn severity(self) -> Severity {
        match self {
            Self::Used50
            | Self::ProviderUp
            | Self::AssumptionHolds
            | Self::AnalyticsFresh
            | Self::CoturnReachable
            | Self::CountsSettled
            | Self::CountsKnown
            | Self::RotationWorks
            | Self::Test => Severity::Info,
            Self::Used80
            | Self::AnalyticsStale
            | Self::CountsLate
            | Self::CountsUnknown
            | Self::RotationFailing => Severity::Warning,
            Self::Used95
            | Self::Used100
            | Self::ProviderDown
            | Self::AssumptionBroken
            | Self::CoturnUnreachable => Severity::Critical,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_kind_is_stored_under_its_name_on_the_wire() {
        for kind in AlertKind::ALL {
            assert_eq!(serde_json::to_value(kind).unwrap(), kind.name());
            let is_plain = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || matches!(b, b'.' | b'_');
            assert!(kind.name().bytes().all(is_plain), "{}", kind.name());
        }
    }
}
