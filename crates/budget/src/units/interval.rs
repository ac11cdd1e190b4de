//! A span of time, and bytes that flowed evenly in one. Tests: below.

use serde::{Deserialize, Serialize};

use crate::units::{BitRate, ByteCount, Timestamp};

/// The instants in `[from, to)`. Empty if `to` is not after `from`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Interval {
    /// Its start.
    pub from: Timestamp,
    /// Its end.
    pub to: Timestamp,
}

impl Interval {
    /// The instants in `[from, to)`.
    pub const fn new(from: Timestamp, to: Timestamp) -> Self {
        Self { from, to }
    }

    /// Its length in milliseconds.
    pub fn millis(self) -> u64 {
        self.to.millis_since(self.from)
    }

    /// Whether no instant lies in it.
    pub fn is_empty(self) -> bool {
        self.to <= self.from
    }

    /// The instants that lie in both.
    #[must_use]
    pub fn within(self, other: Self) -> Self {
        Self { from: self.from.max(other.from), to: self.to.min(other.to) }
    }

    /// Its part from `at` on.
    #[must_use]
    pub fn after(self, at: Timestamp) -> Self {
        Self { from: self.from.max(at), ..self }
    }

    /// Its part before `at`.
    #[must_use]
    pub fn before(self, at: Timestamp) -> Self {
        Self { to: self.to.min(at), ..self }
    }

    /// The bytes of this rate in it.
    pub fn at_rate(self, rate: BitRate) -> ByteCount {
        ByteCount::saturating(rate.over_millis(self.millis().into()))
    }
}

/// Bytes that flowed evenly in a span of time. If the span is empty, they flowed at its start.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Spread {
    /// All of them.
    pub bytes: ByteCount,
    /// When they flowed.
    pub over: Interval,
}

impl Spread {
    /// Bytes that flowed evenly in `[from, to)`.
    pub const fn new(bytes: ByteCount, from: Timestamp, to: Timestamp) -> Self {
        Self { bytes, over: Interval::new(from, to) }
    }

    /// The bytes that flowed before `at`, rounded down; none of an empty span.
    pub fn before(self, at: Timestamp) -> ByteCount {
        self.part(self.over.before(at))
    }

    /// The bytes that flowed from `at` on, rounded down.
    pub fn after(self, at: Timestamp) -> ByteCount {
        if at <= self.over.from { self.bytes } else { self.part(self.over.after(at)) }
    }

    /// The bytes that flowed in a part of its span. The parts that follow each other add up to the whole.
    pub fn within(self, part: Interval) -> ByteCount {
        self.before(part.to).minus(self.before(part.from))
    }

    fn part(self, part: Interval) -> ByteCount {
        let product = u128::from(self.bytes.get()).saturating_mul(part.millis().into());
        ByteCount::saturating(product.checked_div(self.over.millis().into()).unwrap_or(0))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(millis: i64) -> Timestamp {
        Timestamp::from_millis(millis)
    }

    #[test]
    fn an_interval_has_the_instants_from_its_start_to_before_its_end() {
        let interval = Interval::new(at(10), at(30));
        assert_eq!(
            (interval.millis(), interval.after(at(20)), interval.before(at(20))),
            (20, Interval::new(at(20), at(30)), Interval::new(at(10), at(20)))
        );
        assert_eq!(interval.within(Interval::new(at(0), at(15))), Interval::new(at(10), at(15)));
        for empty in
            [interval.after(at(30)), interval.before(at(10)), interval.within(Interval::new(at(30), at(40)))]
        {
            assert!(empty.is_empty() && empty.millis() == 0, "{empty:?}");
        }
        assert_eq!(interval.at_rate(BitRate::new(8_000)), ByteCount::new(20));
    }

    #[test]
    fn the_parts_of_a_spread_add_up_to_its_bytes_and_an_empty_one_flows_at_its_start() {
        let spread = Spread::new(ByteCount::new(10), at(10), at(13));
        let part = |from, to| spread.within(Interval::new(at(from), at(to))).get();
        assert_eq!([part(10, 11), part(11, 12), part(12, 13)], [3, 3, 4]);
        assert_eq!((spread.before(at(12)), spread.after(at(12))), (ByteCount::new(6), ByteCount::new(3)));
        assert_eq!((spread.before(at(10)), spread.after(at(10))), (ByteCount::ZERO, spread.bytes));
        let empty = Spread::new(ByteCount::new(10), at(10), at(10));
        assert_eq!((empty.after(at(10)), empty.after(at(11))), (empty.bytes, ByteCount::ZERO));
        assert_eq!(empty.before(at(11)), ByteCount::ZERO);
    }
}
