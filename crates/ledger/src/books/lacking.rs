//! How the ledger learns that it lacks grants, and until when they may relay. Tests: `src/books/lacking_tests.rs`.

use std::time::Duration;

use turn_budget::{ByteCount, LIFE_MAX, MINT_SLACK, Minute, REFERENCE_DIFFERENCE_TOLERATED, Timestamp};

use super::Books;
use crate::lacking::LackCause;

impl Books {
    /// Notes that the ledger lacks grants that were handed out until now. While the books' time is uncertain, the true time may be later,
    /// so [`Self::date_lack`] notes this again until the time is certain.
    pub(super) fn lack_grants(&mut self) {
        self.lack_grants_of(self.now(), LackCause::Restored);
        self.lacking.is_undated = self.moment.is_uncertain();
    }

    /// If the time was uncertain when grants were found missing, notes again that those handed out until now are missing.
    pub(super) fn date_lack(&mut self) {
        if self.lacking.is_undated {
            self.lack_grants();
        }
    }

    /// Notes that the ledger lacks grants that were handed out until `last`. The bound does not hold until the longest of them has ended.
    /// The provider's next counts contain the bytes of these grants. If no counts of a provider are read for some source, the bytes are
    /// missing until the end of the period in which the longest of these grants has ended.
    fn lack_grants_of(&mut self, last: Timestamp, cause: LackCause) {
        let ended = last.plus(self.relays_for_max());
        self.lack_until(ended, cause);
        let mut sources = self.budget.tails().into_iter().map(|(group, _)| group.source);
        if !sources.all(|source| source.is_counted_by_provider() && self.budget.is_read(source)) {
            self.lack_until(self.budget.terms.billing_day.period_at(ended).end, cause);
        }
    }

    /// Notes that grants that the ledger lacks may relay until `until`, or until the end that was noted before, if that is later.
    pub(super) fn lack_until(&mut self, until: Timestamp, cause: LackCause) {
        self.lacking.extend(until, cause, self.now());
        self.budget.set_lacks_until(self.lacking.until);
    }

    /// The longest time from a mint to the last byte of its credential.
    fn relays_for_max(&self) -> Duration {
        let tails = self.budget.tails().into_iter().map(|(group, _)| self.budget.long_tail(group));
        LIFE_MAX.saturating_add(MINT_SLACK).saturating_add(tails.max().unwrap_or_default())
    }

    /// The start and the end of the time before a new ledger began in which somebody may have relayed with a credential that still works.
    /// `None` for a ledger that did not begin as a new one, if it is known whether the provider counted bytes in this time, or if every
    /// such credential has ended since.
    pub fn time_before(&self) -> Option<(Timestamp, Timestamp)> {
        let (began, longest) = (self.lacking.began?, self.relays_for_max());
        if began.plus(longest) <= self.now() {
            return None;
        }
        let from = began.minus(longest);
        // By the clock of the provider, the first bytes of this ledger may lie before the ledger began.
        let until = began.minus(REFERENCE_DIFFERENCE_TOLERATED);
        Some((Minute::of(from).start(), Minute::of(until).start()))
    }

    /// Takes what the provider has counted in [`Self::time_before`] under our keys: the ledger lacks the grants of these bytes. `is_final`:
    /// whether the provider will count no more of that time.
    pub fn take_count_before(&mut self, bytes: ByteCount, is_final: bool) {
        let is_known = is_final || bytes > ByteCount::ZERO;
        let Some(began) = self.lacking.began.take_if(|_| is_known) else { return };
        if bytes > ByteCount::ZERO {
            self.lack_grants_of(began, LackCause::New);
        }
    }
}

#[cfg(test)]
#[path = "lacking_tests.rs"]
mod tests;
