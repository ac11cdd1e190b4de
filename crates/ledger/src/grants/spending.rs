//! Who has spent what grants relay. Tests: `src/books/spending/tests`.
//! Every change of a row's bytes changes the sums of its user, label, origin, address and call by the same difference.
#![cfg_attr(not(test), warn(clippy::arithmetic_side_effects))]

use super::Grants;
use super::row::GrantRow;
use super::spent::{ConnectionCharge, Spent};
use super::terms::keys_of;
use crate::clients::Holder;
use crate::source::IceSource;
use crate::spender::{Spender, User};
use crate::spenders::Spenders;
use crate::spenders::sums::Sums;
use crate::spenders::terms::KeptAddresses;
use crate::spenders::user::{Uncounted, UserPromises};
use crate::token::GrantId;
use crate::units::slot::{Day, Minute};
use crate::units::{ByteCount, Timestamp};
use crate::usage_change::UsageChange;

impl Grants {
    /// Bytes that one user may use in a period.
    pub(crate) fn user_limit(&self) -> Option<ByteCount> {
        self.terms.bounds.spenders.user_limit
    }

    /// Whether whole addresses are kept.
    pub(crate) fn keeps_whole_addresses(&self) -> bool {
        self.terms.bounds.spenders.addresses == KeptAddresses::Full
    }

    /// The sums by who spends.
    pub fn spenders(&self) -> &Spenders {
        &self.spenders
    }

    /// Notes what a connection of a grant was charged.
    pub(crate) fn charge(&mut self, id: GrantId, charge: &ConnectionCharge) {
        if let Some(source) = self.any(id).map(|row| row.source) {
            self.recent.claim(id, charge, self.seen_until(source));
            self.charge_row(id, charge);
        }
    }

    /// The same without the last minutes: what a stored connection was charged all in all is not known by minute.
    pub(crate) fn charge_row(&mut self, id: GrantId, charge: &ConnectionCharge) {
        let Some(source) = self.any(id).map(|row| row.source) else { return };
        let counted_until = self.seen_until(source);
        let (mut claims, start) = (false, self.period.start);
        self.change_spent(id, |spent| {
            spent.charge(charge, start, counted_until);
            claims = spent.claimed() > ByteCount::ZERO;
        });
        if claims {
            self.claiming.insert((source, id));
        }
        // What an open connection was charged is added again at a start, so the row says what of it was relayed before the period.
        if charge.is_last || charge.from < self.period.start {
            self.dirty.note(id);
        }
    }

    /// Until when a source has counted its grants, perhaps not for good.
    pub(super) fn seen_until(&self, source: IceSource) -> Timestamp {
        self.counted.get(&source).map_or(Timestamp::default(), |counted| counted.seen_until)
    }

    /// What a user has used and may still use.
    pub(crate) fn promises_of(&mut self, user: &User, now: Timestamp) -> UserPromises {
        let uncounted = self.uncounted(now);
        self.spenders.of_user(user, self.period.end, &uncounted)
    }

    /// Whether a user has a row in the sums, or can get one.
    pub(crate) fn has_room_for(&mut self, user: &User, now: Timestamp) -> bool {
        let uncounted = self.uncounted(now);
        self.spenders.has_room_for(user, now, self.period.end, &uncounted)
    }

    /// The first minute of each source that still counts as promised: in strict mode, the first that it has not counted for good.
    fn uncounted(&self, now: Timestamp) -> Uncounted {
        let until = |source| if self.terms.is_strict { self.counted_until(source) } else { now };
        IceSource::ALL.map(|source| (source, Minute::of(until(source))))
    }

    /// A connection without a grant was charged.
    pub(crate) fn charge_ungranted(&mut self, spender: &Spender, charge: &ConnectionCharge) {
        let keys = keys_of(spender.clone(), None);
        self.recent.claim_ungranted(spender, charge);
        let [more, less] = charge.since(self.period.start);
        let share = Sums::of_charge(less, more, charge.at);
        // Bytes count for the last day in which they may have been relayed, and what is taken back for the first one.
        let at = if charge.after < charge.before { charge.from.max(self.period.start) } else { charge.at };
        self.spenders.add(&keys, Holder::default(), &share, 0);
        self.spenders.keep(&keys, Day::of(at), &share);
    }

    /// Changes what a grant has spent, and the sums with it. `false` if it is not in the table.
    pub(super) fn change_spent(&mut self, id: GrantId, change: impl FnOnce(&mut Spent)) -> bool {
        self.begin_row(id);
        let Some(row) = self.rows.get_mut(&id) else { return false };
        let before = self.terms.share(row);
        let mut spent = row.spent();
        change(&mut spent);
        match &mut row.spent {
            Some(known) => **known = spent,
            None if spent.is_empty() => {}
            none => *none = Some(Box::new(spent)),
        }
        let after = self.terms.share(row);
        if before != after {
            self.terms.tally(&mut self.spenders, row, |sums| {
                sums.remove(&before, 0);
                sums.add(&after, 0);
            });
        }
        true
    }

    /// Changes who spends what a grant relays.
    #[must_use]
    pub(super) fn change_spender(
        &mut self,
        id: GrantId,
        change: impl FnOnce(&mut GrantRow),
    ) -> Option<UsageChange> {
        self.begin_row(id);
        let row = self.rows.get(&id).filter(|row| !row.has_ended())?;
        let share = self.terms.share(row);
        self.terms.tally(&mut self.spenders, row, |sums| sums.remove(&share, 1));
        let changed = self.change_promise(id, change);
        let row = self.rows.get_mut(&id)?;
        self.terms.count(&mut self.spenders, row);
        changed
    }
}
