//! What the grants of each user may still relay, for the limit of a user.
#![cfg_attr(not(test), warn(clippy::arithmetic_side_effects))]

use super::{SpenderKey, SpenderKind, Spenders};
use crate::minute::Minute;
use crate::promise::{GrantMinutes, PromisedTime};
use crate::source::IceSource;
use crate::spender::User;
use crate::spenders::Row;
use crate::units::{ByteCount, Timestamp};

/// What one user has used in this period, and what may come.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct UserPromises {
    /// The bytes of the user's grants, and those of the user without a grant.
    pub used: ByteCount,
    /// Bytes that no promise covers: counted for good, assumed for time that nobody counted, or charged without a grant.
    pub settled: ByteCount,
    /// For each source, grant-minutes of this period that are not counted yet, and those after it.
    pub minutes: Vec<(IceSource, GrantMinutes, GrantMinutes)>,
}

impl Spenders {
    /// What a user has used and may still use in a period that ends at `end`. What was counted in the meantime is forgotten.
    pub(crate) fn of_user(
        &mut self,
        user: &User,
        end: Timestamp,
        counted_until: &impl Fn(IceSource) -> Minute,
    ) -> UserPromises {
        let key = SpenderKey::User(user.clone());
        let Some(row) = self.rows.get(&key) else { return UserPromises::default() };
        let total = row.total;
        let (mut minutes, end) = (vec![], Minute::of(end));
        self.change(&key, |row| {
            let Some(promised) = &mut row.promised else { return };
            for source in IceSource::ALL {
                let from = counted_until(source);
                promised.forget_before(source, from);
                let this = promised.between(source, from, end);
                let next = promised.between(source, end, Minute::new(i64::from(u32::MAX)));
                if this.plus(next).count > 0 {
                    minutes.push((source, this, next));
                }
            }
            row.drop_promises_if_empty();
        });
        UserPromises { used: total.bytes(), settled: total.settled(), minutes }
    }

    /// Whether a user has a row, or can get one.
    pub(crate) fn has_room_for(
        &mut self,
        user: &User,
        now: Timestamp,
        end: Timestamp,
        counted_until: &impl Fn(IceSource) -> Minute,
    ) -> bool {
        let (key, kind) = (SpenderKey::User(user.clone()), SpenderKind::User);
        if self.rows.contains_key(&key) || !self.is_full(kind) || self.first_idle(kind).is_some() {
            return true;
        }
        // Promises that were counted in the meantime hold no row. Looking at all of them is done once a minute.
        if self.swept_at < Minute::of(now) {
            self.swept_at = Minute::of(now);
            let users: Vec<_> = self.rows.keys().filter(|key| key.kind() == kind).cloned().collect();
            for key in users {
                if let SpenderKey::User(user) = key {
                    let _ = self.of_user(&user, end, counted_until);
                }
            }
        }
        self.first_idle(kind).is_some()
    }

    /// Keeps a row for a user whose credential is being minted. [`Self::has_room_for`] says whether there is room.
    pub(crate) fn hold_row(&mut self, user: &User) {
        let key = SpenderKey::User(user.clone());
        if self.ensure(&key) {
            self.change(&key, |row| row.minting = row.minting.saturating_add(1));
        }
    }

    /// Reverses [`Self::hold_row`]. A grant or a promise keeps the row from now on, or nothing does.
    pub(crate) fn give_row_back(&mut self, user: &User) {
        let key = SpenderKey::User(user.clone());
        self.change(&key, |row| row.minting = row.minting.saturating_sub(1));
        self.forget_if_empty(&key);
    }

    /// A grant of this user may relay in these minutes.
    pub(crate) fn promise(&mut self, user: &User, source: IceSource, time: &PromisedTime) {
        let (key, minutes) = (SpenderKey::User(user.clone()), time.relays());
        if minutes.start < minutes.end && self.ensure(&key) {
            self.change(&key, |row| {
                row.promised.get_or_insert_default().change(source, &minutes, time.level());
            });
        }
    }

    /// Reverses [`Self::promise`].
    pub(crate) fn withdraw(&mut self, user: &User, source: IceSource, time: &PromisedTime) {
        let key = SpenderKey::User(user.clone());
        self.change(&key, |row| {
            if let Some(promised) = &mut row.promised {
                promised.change(source, &time.relays(), time.level().negated());
            }
            row.drop_promises_if_empty();
        });
        self.forget_if_empty(&key);
    }
}

impl Row {
    fn drop_promises_if_empty(&mut self) {
        if self.promised.as_ref().is_some_and(|promised| promised.is_empty()) {
            self.promised = None;
        }
    }
}
