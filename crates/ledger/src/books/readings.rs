//! The counts of sources, and what the broker relays itself to test them. Tests: `src/books/tests/owners.rs`.
//! These methods change the ledger alone, not the grants. An owner that is not known changes nothing.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use turn_budget::{
    Basis, ByteCount, Carried, ChangeKind, CountOwner, GrantId, IceSource, LIFE_MAX, MINT_SLACK, Minute,
    ProofRule, REFERENCE_DIFFERENCE_TOLERATED, RELAY_RATE_MAX, Reading, ReadingOutcome, Spread, Timestamp,
    UsageChange, Walk,
};

use super::{Books, is_small_beside};
use crate::lacking::LackCause;

/// A change for all promises of a group, in steps. Until it is over, promises that are to become longer are shown as they were, so the worst
/// case can be shown too low: no bound holds then, and strict mode mints nothing ([`Books::raising`]).
#[derive(Debug)]
pub(super) enum Tails {
    /// Nobody counted `[from, until)` but these bytes: see [`crate::Grants::assume`].
    Assumed { from: Timestamp, until: Timestamp, counted: BTreeMap<GrantId, ByteCount> },
    /// Those that were not over at `since` get at least this tail, and the rate that is assumed now.
    Raised { after_expiry: Duration, since: Timestamp },
    /// Those without a session in the listing that was asked for at `asked_at` get this tail.
    Lowered { after_expiry: Duration, listed: BTreeSet<GrantId>, asked_at: Timestamp },
}

impl Books {
    /// Takes a reading of an owner.
    pub fn take_reading(&mut self, owner: impl Into<CountOwner>, reading: &Reading) -> ReadingOutcome {
        self.budget.take_reading(owner, reading)
    }

    /// Takes what an owner that the broker itself watches has carried since its last count. The caller makes sure that [`Self::may_count`]
    /// is true.
    pub fn carry(&mut self, owner: impl Into<CountOwner>, carried: &Carried) {
        let owner = owner.into();
        self.budget.with(owner, |timeline| timeline.carry(carried));
        self.budget.share_counts(owner);
    }

    /// Notes that the count of a settled time has grown: this source counts bytes later than the lag, so a reading can release room that
    /// was used.
    pub fn note_late_counts(&mut self, source: IceSource) {
        let now = self.now();
        self.budget.with(source.into(), |timeline| timeline.state.late = Some(now));
    }

    /// Sets whether the broker can make a probe for this owner. If it cannot, counts without bytes are believed.
    pub fn set_probed(&mut self, owner: impl Into<CountOwner>, is_probed: bool) {
        let proof = if is_probed { ProofRule::Probe } else { ProofRule::Missing };
        self.budget.with(owner.into(), |timeline| timeline.terms.proof = proof);
    }

    /// Counts what a probe is about to relay, until a count replaces it.
    pub fn charge_probe(&mut self, owner: impl Into<CountOwner>, bytes: ByteCount) {
        let now = self.now();
        let kind = ChangeKind::AddBytes(Spread::new(bytes, now, now));
        self.budget.charge(UsageChange { owner: owner.into(), basis: Basis::Ungranted, kind });
    }

    /// Notes that a probe has relayed in this minute.
    pub fn note_probe(&mut self, owner: impl Into<CountOwner>, minute: Minute) {
        self.budget.with(owner.into(), |timeline| timeline.state.proof.note(minute));
    }

    /// Notes that a count shows the probe of this minute.
    pub fn show_probe(&mut self, owner: impl Into<CountOwner>, minute: Minute) {
        self.budget.with(owner.into(), |timeline| timeline.state.proof.show(minute));
    }

    // What is promised when the assumed tail or rate changes. Tests: `src/books/tests/tails.rs`.

    /// Notes the relays whose sessions are not cut now. When that begins at a relay, raises every promise there to the long tail.
    /// [`Self::advance`] calls this before anything else follows the new time, also at a start and after the machine was suspended. A
    /// promise that was over when sessions were last seen cut stays over.
    pub(super) fn follow_cutting(&mut self) {
        for relay in self.budget.cut_groups() {
            if self.budget.is_cut(relay) {
                self.uncut.remove(&relay);
            } else if self.uncut.insert(relay) {
                self.raise_tails(relay, self.budget.long_tail(relay), self.budget.cut_until(relay));
            }
        }
    }

    /// Assumes the rate that chains of several clients have shown ([`crate::Grants::rate_shown`]), once counts and app servers show more than
    /// a hundredth of the limit above the promises. Bytes under unknown identifiers share this tolerance ([`is_small_beside`]). The rate holds
    /// for live and new grants, until the reset. Any byte after a tail that is shorter than the default of its source takes the default back.
    pub(super) fn raise_rates(&mut self) {
        let (excess, unknown) = (self.budget.excess(), self.grants.unknown_bytes());
        let limit = self.budget.terms.limit;
        // Nothing has changed since the last call.
        let judged = Some([limit, excess, unknown]);
        if std::mem::replace(&mut self.judged_excess, judged) == judged {
            return;
        }
        let mut is_raised = self.budget.restore_tails();
        let is_small = is_small_beside(excess, unknown, limit);
        let sources: Vec<_> = self.budget.sources().filter(|_| !is_small).collect();
        for source in sources {
            let rate = self.grants.rate_shown(source).min(RELAY_RATE_MAX);
            if rate > self.budget.rate_at(source) {
                self.grants.raised.insert(source, rate.per_minute());
                self.budget.raise_rate(source, rate, self.grants.excess_of_chains(source));
                is_raised = true;
            }
        }
        if is_raised {
            self.extend_tails();
        }
    }

    /// Raises every promise whose tail or rate is lower than what is assumed now, also a promise that is over: the settings may have
    /// changed. coturn's sessions were cut until a known time, so what was over at that time stays over.
    pub(super) fn extend_tails(&mut self) {
        for (group, tail) in self.budget.tails() {
            self.raise_tails(group, tail, self.budget.cut_until(group));
        }
    }

    /// Changes under way that raise promises.
    pub(super) fn raising(&self) -> usize {
        self.tails.iter().filter(|(_, _, change)| matches!(change, Tails::Raised { .. })).count()
    }

    /// Raises every promise of a group with a shorter tail than this one, or with a lower rate than is assumed now. A promise that was
    /// over at `since` stays over. Grants that have left the table count as missing while they may relay with this tail.
    pub(super) fn raise_tails(&mut self, group: CountOwner, tail: Duration, since: Timestamp) {
        let after_expiry = tail.saturating_add(MINT_SLACK);
        self.change_tails(group, Tails::Raised { after_expiry, since });
        let may_relay = self.grants.may_relay_until(group, after_expiry, since);
        if let Some(until) = may_relay.filter(|until| *until > self.now()) {
            self.lack_until(until, LackCause::Restored);
        }
    }

    /// Begins a change, which ends those under way in its group that it makes needless. Takes the first step.
    pub(super) fn change_tails(&mut self, group: CountOwner, change: Tails) {
        let is_needless = |earlier: &Tails| match (earlier, &change) {
            (Tails::Raised { after_expiry: before, .. }, Tails::Raised { after_expiry, .. }) => {
                before <= after_expiry
            }
            (Tails::Lowered { after_expiry: before, .. }, Tails::Raised { after_expiry, .. }) => {
                before < after_expiry
            }
            (Tails::Lowered { .. }, Tails::Lowered { .. }) => true,
            _ => false,
        };
        self.tails.retain(|(of, _, earlier)| *of != group || !is_needless(earlier));
        self.tails.push_back((group, Walk::default(), change));
        self.go_on_with_tails();
    }

    /// Takes the next step of the changes that are under way. `true` if none is left.
    pub(super) fn go_on_with_tails(&mut self) -> bool {
        if let Some((group, walk, change)) = self.tails.front_mut() {
            let (ids, is_last) = self.grants.next_promised(*group, walk);
            let rate = self.budget.bytes_per_minute(group.source);
            for id in ids {
                match change {
                    Tails::Assumed { from, until, counted } => {
                        let counted = counted.get(&id).map(|bytes| u128::from(bytes.get()));
                        self.grants.assume_of(id, *from, *until, |_| counted);
                    }
                    Tails::Raised { after_expiry, since } => {
                        self.grants.raise_tail(id, *after_expiry, rate, *since);
                    }
                    Tails::Lowered { listed, .. } if listed.contains(&id) => {}
                    Tails::Lowered { after_expiry, asked_at, .. } => {
                        self.grants.lower_tail(id, *after_expiry, *asked_at);
                    }
                }
            }
            if is_last {
                self.tails.pop_front();
            }
            self.apply_effects();
        }
        self.tails.is_empty()
    }

    // How the ledger learns that it lacks grants, and until when they may relay. Tests: `src/books/lacking_tests.rs`.

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
