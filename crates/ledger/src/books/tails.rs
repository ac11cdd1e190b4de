//! What is promised when the assumed tail or rate changes. Tests: `src/books/tests/tails.rs`.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use turn_budget::{
    ByteCount, CountOwner, CredentialEnd, GrantId, IceSource, MINT_SLACK, Minute, RELAY_RATE_MAX,
    TailEvidence, Timestamp,
};

use super::Books;
use super::snapshot::is_small_beside;
use crate::grants::row::GrantRow;
use crate::lacking::LackCause;

/// One part in this many of the limit: the fastest chains of a source set no rate while their excesses together are at most that part. With
/// four sources, that leaves out a hundredth of the limit.
const SPARED_PART: u64 = 400;

impl Books {
    /// Notes the relays whose sessions are not cut now. When that begins at a relay, raises every promise there to the long tail.
    /// [`Self::advance`] calls this before anything else follows the new time, also at a start and after the machine was suspended. A
    /// promise that was over when sessions were last seen cut stays over.
    pub(super) fn follow_cutting(&mut self) {
        for relay in self.ledger.cut_groups() {
            if self.ledger.is_cut(relay) {
                self.uncut.remove(&relay);
            } else if self.uncut.insert(relay) {
                self.raise_tails(relay, self.ledger.long_tail(relay), self.ledger.cut_until(relay));
            }
        }
    }

    /// Assumes the rate that chains of renewals have shown, once counts and app servers show more than a hundredth of the limit above the
    /// promises. Bytes under unknown identifiers share this tolerance ([`is_small_beside`]). The rate holds for live and new grants, until
    /// the configured rate changes. What all grants of a source relayed together shows no rate: a stranger may have the source's key, or
    /// the ledger may lack grants.
    pub(super) fn raise_rates(&mut self) {
        let (excess, unknown) = (self.ledger.excess(), self.grants.unknown_bytes());
        let limit = self.ledger.limit();
        // Nothing has changed since the last call.
        let judged = Some([limit, excess, unknown]);
        if std::mem::replace(&mut self.judged_excess, judged) == judged {
            return;
        }
        if is_small_beside(excess, unknown, limit) {
            return;
        }
        let spared = ByteCount::new(limit.get() / SPARED_PART);
        let sources: Vec<_> = self.ledger.sources().collect();
        let mut is_raised = false;
        for source in sources {
            let rate = self.grants.rate_shown(source, spared).min(RELAY_RATE_MAX);
            if rate > self.ledger.rate_at(source) {
                self.grants.raised.insert(source, rate.per_minute());
                self.ledger.raise_rate(source, rate, self.grants.excess_of_chains(source));
                is_raised = true;
            }
        }
        if is_raised {
            self.extend_tails();
        }
    }

    /// Raises every promise whose tail or rate is lower than what promises rely on now, also a promise that is over: the settings may have
    /// changed. coturn's sessions were cut until a known time, so what was over at that time stays over.
    pub(super) fn extend_tails(&mut self) {
        let mut shortest = BTreeMap::new();
        for (owner, tail) in self.ledger.tails_relied_on() {
            self.raise_promises(owner, tail, self.ledger.cut_until(owner));
            let of_group = shortest.entry(owner.group()).or_insert(tail);
            *of_group = tail.min(*of_group);
        }
        // Of a grant that has left the table, only its group is known. With a tail that is not the shortest, grants of an owner whose
        // shorter tail is proven would count as missing.
        for (group, tail) in shortest {
            self.lack_dropped(group, tail, self.ledger.cut_until(group));
        }
    }

    /// Raises every promise of an owner with a shorter tail than this one, or with a lower rate than is assumed now. A promise that was
    /// over at `since` stays over. Grants that have left the table count as missing while they may relay with this tail.
    pub(super) fn raise_tails(&mut self, owner: CountOwner, tail: Duration, since: Timestamp) {
        self.raise_promises(owner, tail, since);
        self.lack_dropped(owner.group(), tail, since);
    }

    fn raise_promises(&mut self, owner: CountOwner, tail: Duration, since: Timestamp) {
        let (after_expiry, per_minute) =
            (tail.saturating_add(MINT_SLACK), self.ledger.bytes_per_minute(owner.source));
        let trusts_revocations = self.ledger.trusts_revocations(owner);
        self.grants.raise_tails(owner, after_expiry, per_minute, since, trusts_revocations);
        self.apply_effects();
    }

    /// Notes until when grants that have left the table may relay with this tail. Grants that were over at `since` are left out.
    fn lack_dropped(&mut self, group: CountOwner, tail: Duration, since: Timestamp) {
        let may_relay = self.grants.may_relay_until(group, tail.saturating_add(MINT_SLACK), since);
        if let Some(until) = may_relay.filter(|until| *until > self.now()) {
            self.lack_until(until, LackCause::Restored);
        }
    }

    /// Takes the count of a trial. `billed`: the minutes in which bytes of the trial's credential were billed; `None` where nobody counts.
    /// If the trial proves a longer tail, or a longer time after a revocation, the promises that rely on a shorter one are extended at
    /// once. Returns what the trial shows; `None` if no trial waits for its count.
    pub fn count_trial(
        &mut self,
        owner: CountOwner,
        end: CredentialEnd,
        billed: Option<&BTreeSet<Minute>>,
    ) -> Option<TailEvidence> {
        let (trial, max) = (self.ledger.uncounted_trial(owner, end)?, owner.source.expiry_tail());
        let (shown, relayed_for) = (trial.judge(billed, max), trial.relayed_for(max));
        if let Some(added) = self.ledger.take_trial(owner, end, shown) {
            match end {
                CredentialEnd::Expiry => {
                    self.raise_tails(owner, self.ledger.tail(owner), Timestamp::default());
                }
                CredentialEnd::Revocation => {
                    self.grants.extend_revoked(owner, added, self.ledger.now());
                    self.apply_effects();
                }
            }
        }
        // Where nobody counts, only trials show that the tail has become longer. A trial that proves nothing may still have relayed past
        // the proven tail.
        if billed.is_none() && end == CredentialEnd::Expiry && shown.tail.is_none() {
            self.note_after_expiry(owner.source, relayed_for);
        }
        Some(shown)
    }

    /// Ends the promise of a grant that its source has just revoked, at the end of the time for which revoked credentials are proven to
    /// relay. Nothing is released without a proof. While a jump of the time is in doubt, nobody knows until when the grant relays, so
    /// nothing is released then, either.
    pub(super) fn release_revoked(&mut self, id: GrantId) {
        if self.moment.in_doubt {
            return;
        }
        let Some(owner) = self.grants.get(id).map(GrantRow::owner) else { return };
        if let Some(tail) = self.ledger.revocation_tail(owner) {
            self.grants.end_by_revocation(id, Minute::from_end(self.now().plus(tail)));
            self.apply_effects();
        }
    }

    /// Ends the proofs for how long revoked credentials of a source relay, because bytes of a revoked grant were counted later than that.
    /// So revocations have released too much: what was promised before the revocations is promised again.
    pub(super) fn distrust_revocations(&mut self, source: IceSource) {
        for (owner, _) in self.ledger.shortened_tails(source, CredentialEnd::Revocation) {
            self.ledger.contradict_tail(owner, CredentialEnd::Revocation);
            let tail = self.ledger.tail(owner);
            self.raise_tails(owner, tail, Timestamp::default());
            // A revoked grant may leave the table when it has expired. Then it may relay for a whole tail from now on.
            if self.grants.has_dropped(owner.group()) {
                self.lack_until(self.now().plus(tail).plus(MINT_SLACK), LackCause::Restored);
            }
        }
        self.grants.end_lateness(source, CredentialEnd::Revocation);
    }

    /// Notes that bytes of this source's grants were relayed up to `after` later than the expiry of their credentials. If that exceeds a
    /// proven tail, the proof ends, also an old proof on which only live promises still rely. These promises and new ones get the assumed
    /// tail again.
    pub fn note_after_expiry(&mut self, source: IceSource, after: Duration) {
        let is_late = |tail: Duration| after > tail.saturating_add(source.clocks_differ_by());
        let shortened = self.ledger.shortened_tails(source, CredentialEnd::Expiry);
        for (owner, _) in shortened.into_iter().filter(|(_, tail)| is_late(*tail)) {
            self.ledger.contradict_tail(owner, CredentialEnd::Expiry);
            self.raise_tails(owner, self.ledger.tail(owner), Timestamp::default());
        }
        // `None`: no promise of the source relies on a proven tail any more.
        if self.ledger.shortest_tail(source).is_none() {
            self.grants.end_lateness(source, CredentialEnd::Expiry);
        }
    }
}
