//! The construction of the books from the settings and the stored rows. Tests: `src/open_tests.rs`.
//! The service and the simulation use the same function.

use crate::books::Books;
use crate::changes::Stored;
use crate::connections::Connections;
use crate::cost::Tariff;
use crate::grants::{Bounds, GrantTerms, Grants};
use crate::prelude::*;

/// The configuration of the books. Fixed for the life of the process.
#[derive(Clone, Debug)]
pub struct Setup {
    /// The budget.
    pub terms: Terms,
    /// Every owner of counts: the sources that issue grants or are read, and each TURN key. The TURN keys of a source come before the
    /// source itself, in the order of the settings.
    pub sources: Vec<SourceTerms>,
    /// The ids of the TURN keys.
    pub turn_keys: Vec<Arc<str>>,
    /// The sources whose sessions may outlive every promise without anybody seeing it.
    pub unseen: Vec<IceSource>,
    /// Bytes that a server key may use in a period, for the keys with a limit.
    pub server_limits: BTreeMap<Label, ByteCount>,
    /// How connections are charged.
    pub rules: UsageRules,
    /// How large the tables may grow.
    pub bounds: Bounds,
    /// The source that is charged for a connection without a grant.
    pub default_source: IceSource,
    /// What relayed bytes cost.
    pub tariff: Tariff,
}

impl Setup {
    /// Opens the books at a moment with the `stored` rows. `None`: the ledger is new.
    pub fn open(&self, stored: Option<Stored>, moment: impl Into<Moment>) -> Books {
        let (moment, stored) = (moment.into(), stored.unwrap_or_default());
        // The books continue from the stored time, also if the clock is behind it.
        let then = stored.now().unwrap_or(moment.now);
        let period = self.terms.billing_day.period_at(then);
        // The event counts of another period are dropped.
        let counts = stored.head.as_ref().map(|head| head.counts).filter(|(of, _)| *of == period);
        let mut budget =
            Budget::open(self.terms, &self.sources, then, counts.unwrap_or_default().1, &stored.sources);
        budget.note_turn_keys(&self.turn_keys);
        let terms = GrantTerms {
            bounds: self.bounds,
            server_limits: self.server_limits.clone(),
            is_strict: self.terms.mode == BudgetMode::Strict,
            watches_sfu: self.sources.iter().any(|terms| terms.owner.source == IceSource::Sfu),
            counted: self.sources.iter().filter_map(counted_by_grant).collect(),
            sampling: budget.margins(),
            per_minute: self.terms.rates.liability.per_minute(),
        };
        let connections = Connections::new(self.rules.clone(), self.bounds.connections, self.default_source);
        let grants = Grants::new(terms, period);
        Books::restore(budget, connections, grants, stored, moment, &self.unseen, &self.tariff)
    }
}

/// The group of an owner, if its source counts by grant and these counts are read; otherwise `None`.
fn counted_by_grant(terms: &SourceTerms) -> Option<CountOwner> {
    let counts_grants = terms.owner.source.facts().counts_grants;
    (terms.is_read && counts_grants).then_some(terms.owner.group())
}

#[cfg(test)]
#[path = "open_tests.rs"]
mod tests;
