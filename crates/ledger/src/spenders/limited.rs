//! What each user has spent in this period and may still relay, for a limit of each user. Tests: `src/books/spending/tests/limits.rs`.
//! Who has spent something keeps the sum until the period ends, so nobody uses a limit twice. A new user is refused when the table is full.
//! What is promised for a credential that is being made keeps the sum of its user, so two users never get the same free place.
#![cfg_attr(not(test), warn(clippy::arithmetic_side_effects))]

use super::promised::PromisedMinutes;
use super::sums::Sums;
use crate::promise::{GrantMinutes, PromisedTime};
use crate::shards::Shards;
use crate::source::IceSource;
use crate::spender::User;
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

/// See the module's description.
#[derive(Debug, Default)]
pub(crate) struct LimitedSums {
    users: Shards<User, LimitedSum>,
    most: usize,
    /// When the promises of all users were last looked through.
    swept_at: Minute,
}

#[derive(Debug, Default)]
struct LimitedSum {
    total: Sums,
    /// Where this user's grants may relay.
    promised: PromisedMinutes,
}

impl LimitedSums {
    /// No sums, of at most so many users.
    pub(crate) fn new(most: usize) -> Self {
        Self { most, ..Self::default() }
    }

    /// Begins a period: nothing has been spent in it. What was promised stays.
    pub(crate) fn begin(&mut self) {
        self.users.iter_mut().for_each(|(_, of)| of.total = Sums::default());
        self.users.retain(|of| !of.is_idle());
    }

    /// Changes what a user has spent.
    pub(crate) fn change(&mut self, user: &User, before: &Sums, after: &Sums) {
        let of = self.users.get_or_default(user.clone());
        of.total.remove(before);
        of.total.add(after);
    }

    /// What a user has used and may still use in a period that ends at `end`. What was counted in the meantime is forgotten.
    pub(crate) fn of_user(&mut self, user: &User, end: Timestamp, uncounted: &Uncounted) -> UserPromises {
        self.users.get_mut(user).map(|of| of.promises(end, uncounted)).unwrap_or_default()
    }

    /// Whether a user has a sum, or can get one.
    pub(crate) fn has_room_for(
        &mut self,
        user: &User,
        now: Timestamp,
        end: Timestamp,
        uncounted: &Uncounted,
    ) -> bool {
        if self.users.contains_key(user) || self.users.len() < self.most {
            return true;
        }
        // Promises that were counted in the meantime hold no place. Looking at all of them is done once a minute.
        if self.swept_at < Minute::of(now) {
            self.swept_at = Minute::of(now);
            for (_, of) in self.users.iter_mut() {
                let _ = of.promises(end, uncounted);
            }
            self.users.retain(|of| !of.is_idle());
        }
        self.users.len() < self.most
    }

    /// Changes the number of grants of this user that may relay in the minutes of a promise: by 1 or -1.
    pub(crate) fn promise(&mut self, user: &User, source: IceSource, time: &PromisedTime, is_added: bool) {
        let of =
            if is_added { Some(self.users.get_or_default(user.clone())) } else { self.users.get_mut(user) };
        // What was counted in the meantime is not there any more.
        if let Some(LimitedSum { promised, .. }) = of.filter(|of| is_added || !of.promised.is_empty()) {
            for (minutes, level) in time.of_user() {
                promised.change(source, &minutes, if is_added { level } else { level.negated() });
            }
        }
    }
}

impl LimitedSum {
    fn is_idle(&self) -> bool {
        self.promised.is_empty() && self.total.bytes().max(self.total.settled()) == ByteCount::ZERO
    }

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
