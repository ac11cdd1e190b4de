//! What the operator overrides, and is told without asking.

use super::{Books, Statement};
use crate::alert::Alert;
use crate::alert_rules::{AlertInput, AlertRules};
use crate::issued::Issued;
use crate::token::GrantId;
use crate::units::{ByteCount, Timestamp};

impl Books {
    /// Overrides another limit; `None` goes back to the configured one.
    pub fn override_limit(&mut self, limit: Option<ByteCount>) {
        self.overrides.change(|overrides| overrides.override_limit(limit, self.configured_limit));
        self.ledger.set_limit(self.overrides.get().limit(self.configured_limit));
    }

    /// Overrides that nothing is minted, or that it is again.
    pub fn override_freeze(&mut self, frozen: bool) {
        self.overrides.change(|overrides| overrides.frozen = frozen);
    }

    /// Whether the operator has ordered that nothing is minted.
    #[must_use]
    pub fn is_frozen(&self) -> bool {
        self.overrides.get().frozen
    }

    /// Whether an order forbids to hand out a credential that was made, perhaps for a grant that `renews`.
    #[must_use]
    pub fn has_stopped(&self, renews: Option<GrantId>) -> bool {
        self.is_frozen() || renews.is_some_and(|grant| self.issued.is_revoked(grant))
    }

    /// Looks whether there is something to tell the operator. `provider`: whether it mints, where there is one.
    pub fn evaluate_alerts(&mut self, provider: Option<bool>, now: Timestamp) -> Vec<Alert> {
        self.advance(now);
        let Statement { figures, measured, .. } = self.statement();
        let input = AlertInput {
            now: figures.now,
            period: figures.period,
            used: figures.used,
            limit: figures.limit,
            overshoot_bound: figures.overshoot_bound(),
            provider,
            assumption_holds: measured.assumption.holds,
            observed_rate: measured.assumption.observed,
            assumed_rate: self.ledger.assumed_rate(),
            analytics_stale: measured.is_stale(),
        };
        self.alerts.change(|rules| rules.evaluate(&input))
    }

    /// What was to be told.
    #[must_use]
    pub fn alerts(&self) -> &AlertRules {
        self.alerts.get()
    }

    /// Marks what was told, or counts what was not.
    pub fn change_alerts<T>(&mut self, change: impl FnOnce(&mut AlertRules) -> T) -> T {
        self.alerts.change(change)
    }

    /// Revokes a credential; `None` when none of that name is out. Nothing that was promised is given back.
    pub fn revoke(&mut self, grant: GrantId, now: Timestamp) -> Option<Issued> {
        let now = self.advance(now);
        self.issued.revoke(grant, now)
    }
}
