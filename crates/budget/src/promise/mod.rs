//! A promise: what one credential can still relay, with the rate and the tail that were assumed for it. Tests: below.
//! A later change of a setting can make a promise larger, never smaller.
//!
//! The owner's minutes, the sums of its user and its server key, and the share of its client change in one function,
//! `Grants::replace_promise`.

mod effects;
mod rates;
mod usage_rules;

pub use {effects::*, rates::*, usage_rules::*};

use std::ops::Range;

use serde::{Deserialize, Serialize};

use crate::evidence::CountOwner;
use crate::names::{ClientKey, Label, User};
use crate::units::Minute;

/// See the module's description.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Promise {
    /// The owner whose count releases it.
    pub owner: CountOwner,
    /// When, and at which rate.
    pub time: PromisedTime,
    /// The user whose limit it counts against.
    pub user: Option<User>,
    /// The server key whose limit it counts against.
    pub server: Option<Label>,
    /// The client whose share of a strict budget it counts against.
    pub client: Option<ClientKey>,
}

/// The minutes of a promise, and the rate that was assumed for it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(from = "StoredTime", into = "StoredTime")]
pub struct PromisedTime {
    /// The first minute in which a count may have bytes of its grant.
    pub from: Minute,
    /// The first minute that the grants before this one in the chain of renewals do not cover. The budget assumes that one grant of a chain
    /// relays at a time, so the minutes before `reserved_from` are reserved already. The limit of a user assumes that the user relays with
    /// all grants of the chain at once.
    pub reserved_from: Minute,
    /// How many earlier grants of its chain this grant prolongs. Where the broker ends the sessions of a source, it ends those of the
    /// earlier grants only when this grant ends. Only the limit of a user counts the earlier grants.
    pub chain_before: u16,
    /// The first minute in which no count can have bytes of its grant any more: after the expiry, the tail and the difference of the
    /// clocks.
    pub until: Minute,
    /// The most bytes that the grant is assumed to relay in a minute.
    pub per_minute: u64,
}

/// The stored form: `from`, the minutes from it to `reserved_from`, `chain_before`, the minutes from `from` to `until`, `per_minute`.
type StoredTime = (Minute, i64, u16, i64, u64);

impl From<StoredTime> for PromisedTime {
    fn from((from, to_reserved_from, chain_before, to_until, per_minute): StoredTime) -> Self {
        let minute_after = |minutes: i64| Minute::new(from.number().saturating_add(minutes));
        let (reserved_from, until) = (minute_after(to_reserved_from), minute_after(to_until));
        Self { from, reserved_from, chain_before, until, per_minute }
    }
}

impl From<PromisedTime> for StoredTime {
    fn from(time: PromisedTime) -> Self {
        let minutes_to = |minute: Minute| minute.number().saturating_sub(time.from.number());
        (
            time.from,
            minutes_to(time.reserved_from),
            time.chain_before,
            minutes_to(time.until),
            time.per_minute,
        )
    }
}

impl PromisedTime {
    /// The time of a grant that renews no other grant.
    pub const fn new(from: Minute, until: Minute, per_minute: u64) -> Self {
        Self { from, reserved_from: from, chain_before: 0, until, per_minute }
    }

    /// The minutes in which a count may have bytes of its grant. Empty if a revocation has moved `until` to before `from`.
    pub(crate) fn counted_minutes(&self) -> Range<Minute> {
        self.from.min(self.until)..self.until
    }

    /// What counts against the limit of a user: the minutes of this grant, and for each of the `chain_before` grants the minutes by which
    /// this grant prolongs it.
    pub fn of_user(&self) -> [(Range<Minute>, LiveDelta); 2] {
        let before = self.level().times(self.chain_before.into());
        [(self.counted_minutes(), self.level()), (self.reserved(), before)]
    }

    /// The minutes that it adds to its chain of renewals. They count against the budget and the share of a client.
    pub fn reserved(&self) -> Range<Minute> {
        self.reserved_from.min(self.until)..self.until
    }

    /// The first minute that neither this grant nor the grants before it in its chain cover.
    pub fn chain_until(&self) -> Minute {
        self.until.max(self.reserved_from)
    }

    /// The bytes that are promised in the minutes of [`Self::reserved`].
    pub fn reserved_bytes(&self) -> u64 {
        self.per_minute.saturating_mul(self.until.since(self.reserved().start))
    }

    /// The change where a promise begins: one more grant, with its bytes per minute.
    pub fn level(&self) -> LiveDelta {
        let per_minute = i64::try_from(self.per_minute).unwrap_or(i64::MAX);
        LiveDelta { live: 1, per_minute }
    }
}

/// The change of the number of grants at one minute, and of what they may relay.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct LiveDelta {
    /// Change of the number of grants that are alive from this minute on.
    pub live: i64,
    /// Change of the bytes that they may relay in a minute.
    pub per_minute: i64,
}

impl LiveDelta {
    /// Sum.
    #[must_use]
    pub fn plus(self, other: Self) -> Self {
        Self {
            live: self.live.saturating_add(other.live),
            per_minute: self.per_minute.saturating_add(other.per_minute),
        }
    }

    /// The change of so many grants that each change by this.
    #[must_use]
    pub fn times(self, grants: i64) -> Self {
        let (live, per_minute) = (self.live.saturating_mul(grants), self.per_minute.saturating_mul(grants));
        Self { live, per_minute }
    }

    /// The change that undoes this one.
    #[must_use]
    pub fn negated(self) -> Self {
        Self { live: self.live.saturating_neg(), per_minute: self.per_minute.saturating_neg() }
    }
}

/// Minutes of grants, and the bytes that they may relay in them at the rates that were assumed for each.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct GrantMinutes {
    /// Grant-minutes.
    pub count: u128,
    /// Bytes.
    pub bytes: u128,
}

impl GrantMinutes {
    /// Sum.
    #[must_use]
    pub fn plus(self, other: Self) -> Self {
        let (count, bytes) = (self.count.saturating_add(other.count), self.bytes.saturating_add(other.bytes));
        Self { count, bytes }
    }

    /// Difference, at least zero.
    #[must_use]
    pub fn minus(self, other: Self) -> Self {
        let (count, bytes) = (self.count.saturating_sub(other.count), self.bytes.saturating_sub(other.bytes));
        Self { count, bytes }
    }

    /// The same over so many minutes.
    #[must_use]
    pub fn times(self, minutes: u64) -> Self {
        let minutes = u128::from(minutes);
        Self { count: self.count.saturating_mul(minutes), bytes: self.bytes.saturating_mul(minutes) }
    }

    /// This sum after the grants in each of `minutes` minutes have changed by `by`, at least zero.
    pub(crate) fn shifted(self, minutes: u64, by: LiveDelta) -> Self {
        let (count, bytes) = (by.live.unsigned_abs().into(), by.per_minute.unsigned_abs().into());
        let size = Self { count, bytes }.times(minutes);
        let add_signed = |sum: u128, size: u128, is_negative: bool| {
            if is_negative { sum.saturating_sub(size) } else { sum.saturating_add(size) }
        };
        Self {
            count: add_signed(self.count, size.count, by.live < 0),
            bytes: add_signed(self.bytes, size.bytes, by.per_minute < 0),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn time(reserved_from: i64, until: i64) -> PromisedTime {
        let minute = Minute::new;
        PromisedTime {
            from: minute(10),
            reserved_from: minute(reserved_from),
            chain_before: 2,
            until: minute(until),
            per_minute: 5,
        }
    }

    #[test]
    fn a_renewal_adds_only_what_its_chain_does_not_cover() {
        let renewal = time(30, 40);
        assert_eq!(renewal.counted_minutes(), Minute::new(10)..Minute::new(40));
        assert_eq!(renewal.reserved(), Minute::new(30)..Minute::new(40));
        assert_eq!(renewal.reserved_bytes(), 50);
        let short = time(30, 20);
        assert_eq!((short.reserved_bytes(), short.chain_until()), (0, Minute::new(30)));
    }

    #[test]
    fn a_promised_time_is_stored_as_five_numbers() {
        let stored = postcard::to_allocvec(&time(30, 40)).unwrap();
        assert_eq!(stored, [20, 40, 2, 60, 5], "10, 20, 2, 30 and 5; those with a sign are doubled");
        assert_eq!(postcard::from_bytes::<PromisedTime>(&stored).unwrap(), time(30, 40));
    }
}
