//! What the grants of each user may still relay, for the limit of a user. Tests: `src/books/spending/tests/limits.rs`.
#![cfg_attr(not(test), warn(clippy::arithmetic_side_effects))]

use super::Spenders;
use super::key::{SpenderKey, SpenderKind};
use crate::clients::Holder;
use crate::promise::{GrantMinutes, PromisedTime};
use crate::source::IceSource;
use crate::spender::User;
use crate::spenders::SpenderRow;
use crate::units::slot::Minute;
use crate::units::{ByteCount, Timestamp};

/// The first minute of each source that still counts as promised.
pub(crate) type Uncounted = [(IceSource, Minute); IceSource::ALL.len()];

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
    pub(crate) fn of_user(&mut self, user: &User, end: Timestamp, uncounted: &Uncounted) -> UserPromises {
        let table = self.table_mut(SpenderKind::User);
        let Some(row) = table.rows.get_mut(&SpenderKey::User(user.clone())) else {
            return UserPromises::default();
        };
        let promises = row.promises(end, uncounted);
        table.may_fold |= row.is_idle(table.keeps_bytes);
        promises
    }

    /// Whether a user has a row, or can get one.
    pub(crate) fn has_room_for(
        &mut self,
        user: &User,
        now: Timestamp,
        end: Timestamp,
        uncounted: &Uncounted,
    ) -> bool {
        let is_new_minute = self.swept_at < Minute::of(now);
        let table = self.table_mut(SpenderKind::User);
        if table.rows.contains_key(&SpenderKey::User(user.clone())) || table.has_room() {
            return true;
        }
        // Promises that were counted in the meantime hold no row. Looking at all of them is done once a minute.
        if is_new_minute {
            for (_, row) in table.rows.iter_mut() {
                let _ = row.promises(end, uncounted);
            }
            table.may_fold = true;
            self.swept_at = Minute::of(now);
        }
        self.table_mut(SpenderKind::User).has_room()
    }

    /// Changes the number of grants of this user that may relay in the minutes of a promise: by 1 or -1.
    pub(crate) fn promise(&mut self, user: &User, source: IceSource, time: &PromisedTime, is_added: bool) {
        self.table_mut(SpenderKind::User).add(
            Some(&SpenderKey::User(user.clone())),
            Holder::default(),
            |row| {
                // What was counted in the meantime is not there any more.
                if is_added || !row.promised.is_empty() {
                    for (minutes, level) in time.of_user() {
                        row.promised.change(source, &minutes, if is_added { level } else { level.negated() });
                    }
                }
            },
        );
    }
}

impl SpenderRow {
    /// What was used, and what may come until `end` and after it. What was counted in the meantime is forgotten.
    fn promises(&mut self, end: Timestamp, uncounted: &Uncounted) -> UserPromises {
        let (mut minutes, end) = (vec![], Minute::of(end));
        for (source, from) in *uncounted {
            self.promised.forget_before(source, from);
            let this = self.promised.between(source, from, end);
            let next = self.promised.between(source, end, Minute::new(i64::from(u32::MAX)));
            if this.plus(next).count > 0 {
                minutes.push((source, this, next));
            }
        }
        UserPromises { used: self.total.bytes(), settled: self.total.settled(), minutes }
    }
}
