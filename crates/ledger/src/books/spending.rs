//! Who spends: counts by grant, the limits of users and server keys. Tests: `src/books/spending/tests`.

use super::Books;
use crate::grants::{ASK_PAUSE, EndedPlace, GrantRow, Grants, OverLimit, RevocationAnswer, Suspect};
use crate::person::{NamesPerson, Person};
use crate::prelude::*;
use crate::reports::Closed;
use crate::spending::{Limited, SpenderKey};

/// What [`Books::revoke_all_of`] has done.
#[derive(Debug, Default)]
pub struct AllRevoked {
    /// The spender's live metered grants, without those that have expired and have no open connection. All of them are revoked now; some
    /// may have been revoked before.
    pub grants: Vec<(GrantId, GrantRow)>,
    /// The connections that were closed.
    pub closed: Vec<Closed>,
}

impl Books {
    /// Takes what a source counted for its grants since [`Grants::counted_until`]. The counts of a span that is not final hold until those
    /// of the next span replace them. If a span begins later than `counted_until`, nobody counted the time before the span. A span that
    /// begins earlier is refused, because the counts of its first part were taken before. A final count is refused until a second answer
    /// agrees.
    pub fn take_grant_counts(&mut self, source: IceSource, counts: &GrantCounts) -> CountsTaken {
        let uncounted = self.budget.uncounted(source, counts);
        let billed = self.connections.rules.billed.of(source);
        self.grants.take_counts(source, counts, billed, &uncounted)
    }

    /// Takes the bytes of each grant of a chain of renewals, after the provider was asked for this chain alone and answered at `at`. If two
    /// such answers exceed the assumed rate, the promises of the chain rise. If they exceed `GRANT_LIMIT_GB`, [`Self::revoke_over_limit`]
    /// revokes the chain.
    pub fn judge(
        &mut self,
        source: IceSource,
        suspect: &Suspect,
        by_grant: &BTreeMap<GrantId, Traffic>,
        at: Timestamp,
    ) {
        let billed = self.connections.rules.billed.of(source);
        let by_grant = by_grant.iter().map(|(id, traffic)| (*id, traffic.billed(billed))).collect();
        self.grants.judge(source, suspect, &by_grant, at);
        self.apply_effects();
    }

    /// Records that the provider was asked about the tails of all ended grants up to the place `last`. `counted`: what was counted after
    /// these tails in this period. `tail`: the longest time from an expiry to such a byte. From the next [`Self::advance`] on, promises with a shorter
    /// tail than the source's default have the default.
    pub fn note_tails(&mut self, source: IceSource, last: EndedPlace, counted: Traffic, tail: Duration) {
        self.grants.note_looked_at(source, last);
        let bytes = counted.billed(self.connections.rules.billed.of(source));
        if tail > Duration::ZERO {
            self.budget.note_after_tail(source, tail);
            let after_tails = Excess { bytes, tail, ..Excess::default() };
            self.grants.effects.note(Effect::Excess(source, Excesses { after_tails, ..Excesses::default() }));
            self.apply_effects();
        }
    }

    /// Adds what a relay of this process has carried for each grant since the last call, and raises the promises of chains that relayed
    /// faster than is assumed. After a reset, only the part of this period counts.
    pub fn add_grant_traffic(&mut self, source: IceSource, added: &BTreeMap<GrantId, Traffic>) {
        let (now, directions) = (self.now(), self.connections.rules.billed.of(source));
        let from = self.grants.seen_until(source.into());
        let of_period = |(id, traffic): (&GrantId, &Traffic)| {
            (*id, self.grants.of_this_period(*id, traffic.billed(directions), from, now))
        };
        let bytes = added.iter().map(of_period).collect();
        self.grants.add_counts(source, &bytes, now);
        self.judge_all(source);
    }

    /// Judges the suspects of a source that the broker itself watches. Its counts are not sampled, so no further question is needed.
    pub(super) fn judge_all(&mut self, source: IceSource) {
        for suspect in self.grants.suspects(source, usize::MAX) {
            let by_grant = suspect.grants.iter().map(|id| (*id, self.grants.counted_of(&[*id]))).collect();
            self.grants.judge(source, &suspect, &by_grant, self.now());
        }
        self.apply_effects();
    }

    /// Revokes the chains that were found, since the last call, to have relayed more than a chain may.
    pub fn revoke_over_limit(&mut self) -> Vec<OverLimit> {
        let over = self.grants.take_over_limit();
        over.into_iter().filter_map(|(grants, counted)| self.revoke_chain(grants, counted)).collect()
    }

    /// Revokes those grants of a chain that are still valid; `None` if there is none.
    fn revoke_chain(&mut self, grants: Vec<GrantId>, counted: ByteCount) -> Option<OverLimit> {
        let (mut revoked, mut closed) = (vec![], vec![]);
        for id in grants {
            if self.grants.valid(id).is_some()
                && let Some((row, ended)) = self.revoke_and_ask(id)
            {
                revoked.push((id, row));
                closed.extend(ended);
            }
        }
        let (grant, row) = revoked.last().cloned()?;
        let address = self.grants.terms.address(&row);
        Some(OverLimit { grant, row, address, counted, revoked, closed })
    }

    /// The totals of this period, to which the rows of its spenders add up.
    pub fn period_bytes(&self) -> PeriodBytes {
        let figures = self.budget.figures();
        let seen = [figures.period.start, figures.now];
        PeriodBytes { used: figures.used, measured: self.budget.measured().bytes, seen }
    }

    /// What a user or a server key has used and reserved under its limit; `None` without a limit.
    pub fn limit_share(&mut self, of: &Limited) -> Option<LimitShare> {
        let limit = self.grants.terms.limit_of(of)?;
        Some(self.share_with(of, limit))
    }

    /// In strict mode, the share of a server key without a limit: what its credentials reserve is at most half of what the others leave.
    pub(super) fn share_of_unlimited(&mut self, name: &Label) -> Option<LimitShare> {
        let of = Limited::Server(name.clone());
        if self.grants.terms.limit_of(&of).is_some() {
            return None;
        }
        let share = self.share_with(&of, ByteCount::ZERO);
        let (figures, used) = (self.budget.figures(), share.usage.used);
        let left = figures.limit.minus(figures.committed).plus(share.committed.minus(used));
        let limit = used.plus(ByteCount::new(left.get() / 2));
        Some(LimitShare { usage: LimitUsage { limit, ..share.usage }, ..share })
    }

    fn share_with(&mut self, of: &Limited, limit: ByteCount) -> LimitShare {
        let mut promises = self.grants.promises_of(of, self.now());
        // Only strict mode reserves.
        if self.budget.terms.mode != BudgetMode::Strict {
            promises.promised.clear();
        }
        let bytes_of = |source, minutes| self.budget.promised(source, minutes);
        let committed = promises.committed(bytes_of);
        let in_next_period = promises.promised.iter().map(|part| bytes_of(part.source, part.next));
        let committed_next = ByteCount::saturating(in_next_period.fold(0, u128::saturating_add));
        let kind = match of {
            Limited::User(_) => LimitKind::User,
            Limited::Server(_) => LimitKind::Server,
        };
        let usage = LimitUsage { kind, limit, used: promises.used };
        LimitShare { usage, committed, committed_next }
    }

    /// What a server key has used in this period, and its limit.
    pub fn server_use(&mut self, name: &Label) -> (ByteCount, Option<ByteCount>) {
        let of = Limited::Server(name.clone());
        (self.grants.promises_of(&of, self.now()).used, self.grants.terms.limit_of(&of))
    }

    /// Revokes all live metered grants of a spender, and closes their connections. The caller asks the sources to end the credentials.
    /// A credential of the spender that is reserved and not committed yet is not handed out. Reads every row.
    pub fn revoke_all_of(&mut self, spender: &SpenderKey) -> AllRevoked {
        let now = self.now();
        self.blocks.revoked.add(spender.of_client());
        let mut grants = vec![];
        for id in self.grants.live_of(spender) {
            if let Some(row) = self.grants.revoke(id, now, now.plus(ASK_PAUSE)).cloned() {
                grants.push((id, row));
            }
        }
        let ids: BTreeSet<_> = grants.iter().map(|(id, _)| *id).collect();
        let is_theirs = |_: &Grants, id| ids.contains(&id);
        let closed = self.connections.close_all_of(&mut self.grants, is_theirs, now);
        self.apply_effects();
        AllRevoked { grants, closed }
    }

    /// Removes a person: revokes the user's credentials, and removes the name, the labels and the addresses from everything that is stored.
    /// The bytes stay. A block of one of these names ends. Reads every row.
    pub fn forget_user(&mut self, user: &User) -> (AllRevoked, Person) {
        let revoked = self.revoke_all_of(&SpenderKey::User(user.clone()));
        let mut who = Person::new(user, self.now());
        self.connections.forget(&mut who);
        self.grants.forget(&mut who);
        // A label or an address of somebody else stays.
        let labels = self.connections.iter().filter_map(|one| one.spender.as_ref()?.label.clone());
        for name in self.grants.names().chain(labels.map(SpenderKey::Label)) {
            who.names.remove(&name);
        }
        self.grants.left.forget(&mut who);
        self.grants.limited.forget(&mut who);
        self.blocks.forget(&mut who);
        (revoked, who)
    }

    /// Notes what the source of a grant answered when the broker asked it to revoke the grant.
    pub fn note_revocation_answer(&mut self, grant: GrantId, answer: RevocationAnswer) {
        self.grants.note_revocation_answer(grant, answer);
    }

    /// Revoked credentials whose source must be asked to end them now, at most `most`. They are returned again after [`ASK_PAUSE`] if the
    /// source has not answered by then.
    pub fn take_unanswered(&mut self, most: usize) -> Vec<GrantId> {
        self.grants.take_unanswered(self.now(), most)
    }
}

#[cfg(test)]
mod tests;
