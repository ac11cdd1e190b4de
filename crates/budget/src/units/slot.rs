//! Spans of one length, numbered since 1970: UTC minutes and days. Tests: below.
//! The ledger counts bytes and grants by the minute, and keeps what was counted by the day. Every instant lies in exactly one span of
//! each length.

use serde::{Deserialize, Serialize};

use super::{Interval, Timestamp};

/// A span of `LENGTH` milliseconds: its number since 1970.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Slot<const LENGTH: i64>(i32);

/// Minutes since 1970.
pub type Minute = Slot<60_000>;

/// UTC days since 1970.
pub type Day = Slot<86_400_000>;

impl Minute {
    /// Milliseconds in a minute.
    pub(crate) const MILLIS: u64 = 60_000;
}

impl<const LENGTH: i64> Slot<LENGTH> {
    /// From its number since 1970. The last and the first slot stand for all beyond them: for minutes, beyond about 4,000 years.
    pub fn new(number: i64) -> Self {
        Self(i32::try_from(number).unwrap_or(if number < 0 { i32::MIN } else { i32::MAX }))
    }

    /// The slot that contains `at`.
    pub fn of(at: Timestamp) -> Self {
        Self::new(at.as_millis().div_euclid(LENGTH))
    }

    /// The first slot that begins at `at` or later.
    pub fn from_end(at: Timestamp) -> Self {
        Self::of(Timestamp::from_millis(at.as_millis().saturating_add(LENGTH.saturating_sub(1))))
    }

    /// The slot that contains `at` or ends at it. If two do, the one that ends.
    pub fn until(at: Timestamp) -> Self {
        Self::of(Timestamp::from_millis(at.as_millis().saturating_sub(1)))
    }

    /// Its number since 1970.
    pub fn number(self) -> i64 {
        self.0.into()
    }

    /// Its first instant.
    pub fn start(self) -> Timestamp {
        Timestamp::from_millis(self.number().saturating_mul(LENGTH))
    }

    /// The first instant after it.
    pub fn end(self) -> Timestamp {
        self.next().start()
    }

    /// The next slot.
    #[must_use]
    pub const fn next(self) -> Self {
        Self(self.0.saturating_add(1))
    }

    /// How many slots there are from `earlier` to this one; zero if `earlier` is later.
    pub fn since(self, earlier: Self) -> u64 {
        u64::try_from(self.number().saturating_sub(earlier.number())).unwrap_or(0)
    }

    /// The slots that begin in `[from, until)`.
    pub fn between(from: Timestamp, until: Timestamp) -> impl DoubleEndedIterator<Item = Self> {
        (Self::from_end(from).0..Self::from_end(until).0).map(Self)
    }

    /// The instants in it.
    pub fn interval(self) -> Interval {
        Interval::new(self.start(), self.end())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const DAY_MILLIS: i64 = 86_400_000;

    #[test]
    fn every_instant_lies_in_one_minute() {
        let at = Timestamp::from_millis;
        assert_eq!(Minute::of(at(59_999)), Minute::new(0));
        assert_eq!(Minute::of(at(60_000)), Minute::new(1));
        assert_eq!(Minute::of(at(-1)), Minute::new(-1));
        assert_eq!(
            (Minute::from_end(at(60_000)), Minute::from_end(at(60_001))),
            (Minute::new(1), Minute::new(2))
        );
        assert_eq!((Minute::new(2).start(), Minute::new(2).end()), (at(120_000), at(180_000)));
    }

    #[test]
    fn every_instant_lies_in_one_day() {
        let at = Timestamp::from_millis;
        assert_eq!(
            (Day::of(at(DAY_MILLIS - 1)), Day::of(at(DAY_MILLIS)), Day::of(at(-1))),
            (Day::new(0), Day::new(1), Day::new(-1))
        );
        assert_eq!((Day::new(1).start(), Day::new(1).end()), (at(DAY_MILLIS), at(2 * DAY_MILLIS)));
        assert_eq!(
            Day::between(at(1), at(2 * DAY_MILLIS + 1)).collect::<Vec<_>>(),
            [Day::new(1), Day::new(2)]
        );
    }

    #[test]
    fn the_overlap_is_the_common_time() {
        let at = Timestamp::from_millis;
        assert_eq!(Minute::new(1).interval().within(Interval::new(at(30_000), at(90_000))).millis(), 30_000);
        assert_eq!(Minute::new(1).interval().within(Interval::new(at(130_000), at(190_000))).millis(), 0);
        assert_eq!(Minute::new(5).since(Minute::new(2)), 3);
        assert_eq!(Minute::new(2).since(Minute::new(5)), 0);
    }
}
