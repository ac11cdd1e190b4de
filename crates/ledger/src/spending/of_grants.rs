//! What grants have spent. Tests: `src/books/spending/tests`.
//! Every change of a row's bytes changes the sums of its server key and, if users have a limit, of its user by the same difference.

use turn_budget::{CountOwner, Day, GrantId, IceSource, Minute, Spender, SpenderKind, Timestamp, User};

use super::{ConnectionCharge, Limited, LimitedPromises, Named, Spent, Sums, Uncounted};
use crate::grants::{GrantRow, Grants, key_of};

impl Grants {
    /// The user and the server key of a spender, as far as they have a limit.
    pub(crate) fn with_limit<'a>(
        &'a self,
        spender: Option<&'a Spender>,
    ) -> impl Iterator<Item = Limited> + 'a {
        Limited::of(spender).filter(|of| self.terms.limit_of(of).is_some())
    }

    /// Notes what a connection of a grant was charged.
    pub(crate) fn charge(&mut self, id: GrantId, charge: &ConnectionCharge) {
        let Some(owner) = self.any(id).map(GrantRow::owner) else { return };
        let (counted_until, start) = (self.seen_until(owner.group()), self.period.start);
        self.recent.claim(id, charge, counted_until);
        self.change_spent(id, |spent| spent.charge(charge, start, counted_until));
    }

    /// Until when the grants of a group are counted. The last of these counts need not be final. 1970 without a count.
    pub(crate) fn seen_until(&self, group: CountOwner) -> Timestamp {
        self.counted.get(&group).map_or(Timestamp::default(), |counted| counted.seen_until)
    }

    /// What a user or a server key has used, and what is promised for its grants.
    pub(crate) fn promises_of(&mut self, of: &Limited, now: Timestamp) -> LimitedPromises {
        let uncounted = self.first_uncounted(now);
        self.limited.of(of, now, self.period.end, &uncounted)
    }

    /// Whether a user or a server key has a sum, or there is room for one. Also `true` without a limit, which needs no sum.
    pub(crate) fn has_room_for(&mut self, of: &Limited, named: Named<'_>, now: Timestamp) -> bool {
        let uncounted = self.first_uncounted(now);
        self.terms.limit_of(of).is_none()
            || self.limited.has_room_for(of, named, now, self.period.end, &uncounted)
    }

    /// How many users and server keys have a sum, and the most.
    pub fn user_rows(&self) -> (usize, usize) {
        self.limited.rows()
    }

    /// Whether a user has used as much as each user may.
    pub(crate) fn is_over_limit_of(&self, user: &User) -> bool {
        let user = Limited::User(user.clone());
        self.terms.limit_of(&user).is_some_and(|limit| self.limited.used(&user) >= limit)
    }

    /// The first minute of each source in which promises count: in strict mode the first that is not counted for good, otherwise this
    /// minute. Of several groups of a source whose counts are read, the one with the earliest such minute decides. If there is no such
    /// group, the whole source decides.
    fn first_uncounted(&self, now: Timestamp) -> Uncounted {
        let counts_from = |source| {
            let groups = self.terms.counted.iter().filter(|group| group.source == source);
            let first = groups.map(|group| self.counted_until(*group)).min();
            if self.terms.is_strict { first.unwrap_or_else(|| self.counted_until(source)) } else { now }
        };
        IceSource::ALL.map(|source| (source, Minute::of(counts_from(source))))
    }

    /// Notes what a connection without a grant was charged.
    pub(crate) fn charge_ungranted(&mut self, spender: &Spender, charge: &ConnectionCharge) {
        self.recent.claim_ungranted(spender, charge);
        let [more, less] = charge.since(self.period.start);
        // One of the two is zero: the share adds `more`, or takes `less` back.
        let share = Sums::of_charge(less, more, charge.at);
        let keys = SpenderKind::ALL.map(|kind| key_of(spender, kind));
        self.left.add(Day::of(self.period.start), keys, &share);
        self.change_limited(Some(spender), &Sums::default(), &share);
    }

    /// Changes what a grant has spent in this period. The row is not written if `change` changes nothing.
    pub(crate) fn change_spent(&mut self, id: GrantId, change: impl FnOnce(&mut Spent)) {
        let Some(before) = self.rows.get(&id).map(|row| self.spent_of(row)) else { return };
        let (mut after, period) = (before, self.period);
        change(&mut after);
        if after != before {
            self.edit(id, |row| row.set_spent(after, period));
        }
    }

    /// Replaces one share by another in the sum of a spender's server key and, if users have a limit, in that of its user.
    pub(crate) fn change_limited(&mut self, spender: Option<&Spender>, before: &Sums, after: &Sums) {
        if before == after {
            return;
        }
        for of in Limited::of(spender) {
            if self.terms.has_sum(&of) {
                let server = spender.and_then(|spender| spender.server.as_ref());
                self.limited.change(of, server, before, after);
            }
        }
    }

    /// The share of a grant in the sums of this period.
    pub(crate) fn share_of(&self, row: &GrantRow) -> Sums {
        self.terms.share(row, &self.spent_of(row))
    }
}
