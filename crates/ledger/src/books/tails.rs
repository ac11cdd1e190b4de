//! What is promised when the assumed tail or rate changes. Tests: `src/books/tests/tails.rs`.

use std::time::Duration;

use turn_budget::{CountOwner, MINT_SLACK, RELAY_RATE_MAX, Timestamp};

use super::{Books, is_small_beside};
use crate::lacking::LackCause;

impl Books {
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

    /// Raises every promise of a group with a shorter tail than this one, or with a lower rate than is assumed now. A promise that was
    /// over at `since` stays over. Grants that have left the table count as missing while they may relay with this tail.
    pub(super) fn raise_tails(&mut self, group: CountOwner, tail: Duration, since: Timestamp) {
        let after_expiry = tail.saturating_add(MINT_SLACK);
        self.grants.raise_tails(group, after_expiry, self.budget.bytes_per_minute(group.source), since);
        self.apply_effects();
        let may_relay = self.grants.may_relay_until(group, after_expiry, since);
        if let Some(until) = may_relay.filter(|until| *until > self.now()) {
            self.lack_until(until, LackCause::Restored);
        }
    }
}
