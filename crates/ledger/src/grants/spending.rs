//! Who has spent what grants relay. Every change of a row's bytes changes the sums of its user, label, origin, address and call by
//! the same difference.
#![cfg_attr(not(test), warn(clippy::arithmetic_side_effects))]

use std::net::IpAddr;

use super::spent::{ConnectionCharge, Spent};
use super::{GrantRow, Grants};
use crate::clients::Holder;
use crate::spenders::SpenderRow;
use crate::{
    Bounds, ByteCount, Day, GrantId, IceSource, KeptAddresses, Keys, Minute, Period, Spender, SpenderKey,
    Spenders, Sums, Timestamp, Uncounted, UsageChange, User, UserPromises,
};

/// How many grants there may be, and how their bytes are attributed to who spends them.
#[derive(Clone, Debug, Default)]
pub struct GrantTerms {
    /// Limits and bounds.
    pub bounds: Bounds,
    /// Whether the budget is strict. Then room is taken for what a user's grants may still relay.
    pub is_strict: bool,
    /// Whether sessions of the SFU are watched: it is in the settings.
    pub watches_sfu: bool,
    /// The margin of error of each source's count, in percent.
    pub sampling: Vec<(IceSource, u32)>,
    /// Bytes that one grant may relay in a minute.
    pub per_minute: u128,
}

impl GrantTerms {
    /// Whether room is taken for each user.
    pub(super) fn promises(&self) -> bool {
        self.is_strict && self.bounds.spenders.user_limit.is_some()
    }

    pub(super) fn keys(&self, row: &GrantRow) -> Keys {
        keys_of(row.spender.as_deref().cloned().unwrap_or_default(), self.address(row))
    }

    /// Adds a grant to the sums of those who spend what it relays.
    pub(super) fn count(&self, sums: &mut Spenders, row: &mut GrantRow) {
        if row.source.is_metered() {
            sums.add(&self.keys(row), row.holder(), &self.share(row), i64::from(!row.has_ended()));
            if let Some(spender) = &mut row.spender {
                sums.share(spender);
            }
        }
    }

    /// Changes the sums of those who spend what a grant relays.
    pub(super) fn tally(&self, sums: &mut Spenders, row: &GrantRow, change: impl Fn(&mut SpenderRow)) {
        if row.source.is_metered() {
            sums.change(&self.keys(row), change);
        }
    }

    /// What a grant may have relayed from `counted_until` to `end` that nobody has counted. Zero where no room is taken for users.
    pub(super) fn uncounted(&self, row: &GrantRow, counted_until: Timestamp, end: Timestamp) -> ByteCount {
        let until = row.ends_in().min(Minute::of(end));
        let bytes = self.promises().then(|| row.promised_between(Minute::of(counted_until), until));
        bytes.unwrap_or_default()
    }

    /// Keeps the share of a grant in a period that ends, or that the grant leaves.
    pub(super) fn keep(&self, sums: &mut Spenders, row: &GrantRow, period: Period) {
        let share = self.share(row);
        let share = if row.is_over(period.end) { share } else { share.of_part() };
        if !share.is_empty() {
            sums.keep(&self.keys(row), row.seen_on(period), &share);
        }
    }

    /// What is kept of a client's address.
    pub(super) fn address(&self, row: &GrantRow) -> Option<SpenderKey> {
        let client = || row.client.map(SpenderKey::Client);
        let whole = || row.extra().address.map(|address| SpenderKey::Address(IpAddr::V6(address)));
        match self.bounds.spenders.addresses {
            KeptAddresses::Full => whole().or_else(client),
            KeptAddresses::Prefix => client(),
            KeptAddresses::None => None,
        }
    }

    pub(super) fn share(&self, row: &GrantRow) -> Sums {
        let spent = row.spent();
        let sampling = self.sampling.iter().find(|(source, _)| *source == row.source);
        let settled = spent.settled(sampling.map_or(0, |(_, percent)| *percent));
        let seen = [row.issued_at, row.issued_at.max(spent.seen_at())];
        Sums::of_grant([spent.measured(), spent.claimed(), settled], seen)
    }
}

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
        let Some(source) = self.any(id).map(|row| row.source) else { return };
        let counted_until =
            self.counted.get(&source).map_or(Timestamp::default(), |counted| counted.seen_until);
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

fn keys_of(Spender { user, label, origin, call, .. }: Spender, address: Option<SpenderKey>) -> Keys {
    let (user, label) = (user.map(SpenderKey::User), label.map(SpenderKey::Label));
    [user, label, origin.map(SpenderKey::Origin), address, call.map(SpenderKey::Call)]
}
