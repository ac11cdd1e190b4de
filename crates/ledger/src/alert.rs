//! Operator alerts as values. An [`Alert`] is complete when it is made. Its id is the same on every delivery attempt and
//! after a restart, so a receiver can drop repeats. No text in it comes from an outsider.

use serde::{Deserialize, Serialize};

use crate::units::{ByteCount, Timestamp};

/// One thing to tell.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Alert {
    /// `<first day of the period>/<event>/<which>`, such as `2025-01-01/budget-used-80/1000000000000`. ASCII without a
    /// full stop, which separates what is signed.
    pub id: String,
    /// What kind of thing.
    pub kind: AlertKind,
    /// When it was noticed.
    pub at: Timestamp,
    /// What happened: whole sentences.
    pub what: String,
    /// The budget at that instant.
    pub budget: BudgetFigures,
}

impl Alert {
    /// What happened and what to do, for people.
    #[must_use]
    pub fn text(&self) -> String {
        format!("turn-broker: {} {}", self.what, self.kind.advice())
    }
}

/// The budget as an alert shows it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct BudgetFigures {
    /// Best figure of this period.
    pub used: ByteCount,
    /// The limit.
    pub limit: ByteCount,
    /// How far past the limit the live credentials can take us.
    pub overshoot_bound: ByteCount,
    /// When the period ends.
    pub reset: Timestamp,
}

/// How much of a hurry there is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Severity {
    /// Good to know.
    Info,
    /// Look at it today.
    Warning,
    /// Somebody's calls fail, or a bill grows, until somebody acts.
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

/// Every kind of alert. The names are stored and sent: one never changes its meaning.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum AlertKind {
    /// Half of the limit is used.
    #[serde(rename = "budget.used_50")]
    Used50,
    /// 80 % of the limit.
    #[serde(rename = "budget.used_80")]
    Used80,
    /// 95 % of the limit.
    #[serde(rename = "budget.used_95")]
    Used95,
    /// The limit.
    #[serde(rename = "budget.used_100")]
    Used100,
    /// The provider does not mint.
    #[serde(rename = "provider.down")]
    ProviderDown,
    /// It does again.
    #[serde(rename = "provider.up")]
    ProviderUp,
    /// Grants relay more than is assumed of them: the overshoot bound is not true.
    #[serde(rename = "assumption.broken")]
    AssumptionBroken,
    /// They do not any more.
    #[serde(rename = "assumption.holds")]
    AssumptionHolds,
    /// The provider's own count is too old.
    #[serde(rename = "analytics.stale")]
    AnalyticsStale,
    /// It is read again.
    #[serde(rename = "analytics.fresh")]
    AnalyticsFresh,
    /// The command line of a coturn does not answer: its sessions are neither counted nor cut.
    #[serde(rename = "coturn.unreachable")]
    CoturnUnreachable,
    /// It answers again.
    #[serde(rename = "coturn.reachable")]
    CoturnReachable,
    /// A test whether alerts arrive. Never stored.
    #[serde(rename = "test")]
    Test,
}

impl AlertKind {
    /// All of them.
    pub const ALL: [Self; 13] = [
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
            Self::Test => "test",
        }
    }

    /// How much of a hurry there is.
    #[must_use]
    pub const fn severity(self) -> Severity {
        match self {
            Self::Used50
            | Self::ProviderUp
            | Self::AssumptionHolds
            | Self::AnalyticsFresh
            | Self::CoturnReachable
            | Self::Test => Severity::Info,
            Self::Used80 | Self::AnalyticsStale => Severity::Warning,
            Self::Used95
            | Self::Used100
            | Self::ProviderDown
            | Self::AssumptionBroken
            | Self::CoturnUnreachable => Severity::Critical,
        }
    }

    /// What to do.
    #[must_use]
    pub const fn advice(self) -> &'static str {
        match self {
            Self::Used50 => "Compare it with the days that are left. Nothing stops yet.",
            Self::Used80 => {
                "If it will not last, find what uses it (GET /api/usage), shorten TURN_TTL_SECONDS or raise the limit (POST /api/budget/limit)."
            }
            Self::Used95 => {
                "Decide now: raise the limit (POST /api/budget/limit), or let minting stop at the limit until the reset."
            }
            Self::Used100 => {
                "Metered sources mint nothing until the reset. Running calls continue and are billed, except where the broker cuts them: on its own relay, and on a coturn that it commands. Raise the limit (POST /api/budget/limit) to mint again."
            }
            Self::ProviderDown => {
                "Check the TURN key and the provider's status page; the log names the cause. Clients get the next of ICE_SOURCES, and STUN in the end. Calls across strict networks fail."
            }
            Self::AssumptionBroken => {
                "Set LIABILITY_MBPS_PER_GRANT above the observed rate and restart. Look for credentials that many connections share."
            }
            Self::AnalyticsStale => {
                "Check CLOUDFLARE_ANALYTICS_TOKEN and the way to the API; the log names the cause. The newest usage rests on what connections report."
            }
            Self::CoturnUnreachable => {
                "Check COTURN_CLI, COTURN_CLI_PASSWORD and whether coturn runs; the log names the cause."
            }
            Self::ProviderUp
            | Self::AssumptionHolds
            | Self::AnalyticsFresh
            | Self::CoturnReachable
            | Self::Test => "Nothing to do.",
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

    #[test]
    fn no_advice_holds_what_a_chat_takes_for_markup_or_a_mention() {
        for kind in AlertKind::ALL {
            assert!(!kind.advice().contains(['<', '>', '&', '@', '*', '`', '~', '|']), "{}", kind.name());
        }
    }
}
