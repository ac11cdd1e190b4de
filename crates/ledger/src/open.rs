//! The construction of the books from the settings and the stored rows. The service and the simulation use the same
//! function.

use std::time::Duration;

use crate::books::Books;
use crate::changes::Stored;
use crate::connections::{Bounds, Connections};
use crate::grants::{Coverage, Grants, SpendingTerms};
use crate::ledger::{Ledger, SourceTerms, Terms};
use crate::minute::Minute;
use crate::source::{IceSource, MINT_SLACK};
use crate::time::Moment;
use crate::usage_rules::UsageRules;
use crate::verdict::BudgetMode;

/// The configuration of the books. Fixed for the life of the process.
#[derive(Clone, Debug)]
pub struct Setup {
    /// The budget.
    pub terms: Terms,
    /// Every source that issues grants or whose own count is read.
    pub sources: Vec<SourceTerms>,
    /// How connections are charged.
    pub rules: UsageRules,
    /// How large the tables may grow.
    pub bounds: Bounds,
    /// The source that is charged for a connection without a grant.
    pub default_source: IceSource,
}

impl Setup {
    /// Opens the books at a moment with the `stored` rows. `None`: the books are not stored, so changes are not recorded.
    #[must_use]
    pub fn open(&self, stored: Option<Stored>, moment: impl Into<Moment>) -> Books {
        let moment = moment.into();
        let connections = Connections::new(self.rules, self.bounds.connections, self.default_source);
        let grants = Grants::new(self.bounds.grants, self.coverage(), self.bounds.client);
        let grants = grants.with_spending(self.spending());
        let Some(stored) = stored else {
            return Books::new(Ledger::new(self.terms, &self.sources, moment.now), connections, grants);
        };
        // If the clock is behind the stored time, the books continue from the stored time.
        let then = stored.now.unwrap_or(moment.now);
        let period = self.terms.billing_day.period_at(then);
        let counts = stored.counts.filter(|(of, _)| *of == period).map(|(_, counts)| counts);
        let ledger =
            Ledger::restore(self.terms, &self.sources, then, counts.unwrap_or_default(), &stored.sources);
        Books::restore(ledger, connections, grants, stored, moment)
    }

    fn spending(&self) -> SpendingTerms {
        SpendingTerms {
            spenders: self.bounds.spenders,
            is_strict: self.terms.mode == BudgetMode::Strict,
            sampling: self.sources.iter().map(|source| (source.source, source.sampling)).collect(),
            per_minute: self.terms.rates.liability.over_millis(Minute::MILLIS.into()),
        }
    }

    /// How long a grant counts as alive after its expiry. In estimate mode, a later report extends that. Strict mode
    /// promises nothing that was not admitted.
    fn coverage(&self) -> Coverage {
        let tail = |source: &SourceTerms| -> Duration { source.cut_tail.unwrap_or(source.tail) + MINT_SLACK };
        let after_expiry = self.sources.iter().map(|source| (source.source, tail(source)));
        Coverage { after_expiry: after_expiry.collect(), extends: self.terms.mode == BudgetMode::Estimate }
    }
}

#[cfg(test)]
#[path = "open_tests.rs"]
mod tests;
