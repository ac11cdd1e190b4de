//! The bytes of one grant in a period: what its source counted, and what its connections claimed for the time after the count.
//! Tests: below.
//! A claim is spread evenly over the time that it covers. A count replaces the part of the claim that is in the count's time. A count that
//! is not final replaces the one before it. It may be lower, because one answer of a source can be wrong.

use std::ops::Range;

use crate::prelude::*;

/// See the module's description.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Spent {
    /// What its connections claimed for the time after the count.
    pub claimed: ByteCount,
    /// What its source has counted so far.
    pub measured: ByteCount,
    /// What its source has counted for good. A count that is not final is of the time after that; the next count, final or not, replaces
    /// it.
    pub(crate) closed: ByteCount,
    /// What was promised for time that nobody counted. The limits of users and server keys count it as relayed.
    pub(crate) assumed: ByteCount,
    /// What app servers have reported of it. These bytes are also in `claimed` until they are counted.
    pub(crate) vouched: ByteCount,
    /// What its chain of renewals showed above the assumed rate, if it is the first grant of the chain.
    pub(crate) excess: Excess,
    /// The end of the latest count or claim.
    pub seen_at: Timestamp,
}

/// A change of what one connection was charged.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct ConnectionCharge {
    /// What the connection was charged until the last change.
    pub(crate) before: ByteCount,
    /// What it is charged now.
    pub(crate) after: ByteCount,
    /// The first instant of the time in which the difference was relayed.
    pub(crate) from: Timestamp,
    /// The end of that time.
    pub(crate) at: Timestamp,
}

impl ConnectionCharge {
    /// What the change adds in a period that began at `start`, and what it takes back; one of the two is zero. Bytes that were relayed
    /// before `start` are not added, because they belong to the period before. All that is taken back is taken from this period.
    pub(crate) fn since(&self, start: Timestamp) -> [ByteCount; 2] {
        let more = Spread::new(self.after.minus(self.before), self.from, self.at).after(start);
        [more, self.before.minus(self.after)]
    }
}

impl Spent {
    /// The bytes that were counted, and those that were claimed for the time after the count.
    pub fn bytes(&self) -> ByteCount {
        self.measured.plus(self.claimed)
    }

    /// The most that was relayed in the time that is counted or assumed for good. `sampling`: the count's margin of error in percent.
    pub(crate) fn settled(&self, sampling: u32) -> ByteCount {
        ByteCount::saturating(at_most(self.closed.get().into(), sampling)).plus(self.assumed)
    }

    /// One of its connections was charged, in a period that began at `start`. Its source has counted everything before `counted_until`, so
    /// only the part after that is claimed.
    pub(crate) fn charge(&mut self, charge: &ConnectionCharge, start: Timestamp, counted_until: Timestamp) {
        let [more, less] = charge.since(start);
        let later = |bytes| Spread::new(bytes, charge.from.max(start), charge.at).after(counted_until);
        self.claimed = self.claimed.plus(later(more)).minus(later(less));
        self.seen_at = self.seen_at.max(charge.at);
    }

    /// Its source has counted everything before `until`, so the claims for that time are dropped. `from`: the end of the count before this
    /// one, or the issue of the grant if that is later. So the claims are for the time from `from` to `seen_at`.
    pub(crate) fn drop_claims(&mut self, from: Timestamp, until: Timestamp) {
        self.claimed = Spread::new(self.claimed, from, self.seen_at).after(until);
    }

    /// Its source counted `bytes` from its last final count until `at`. `is_final`: this count is final too, so the next one begins after
    /// it. `sampling`: the count's margin of error in percent.
    pub(crate) fn count(&mut self, bytes: ByteCount, is_final: bool, sampling: u32, at: Timestamp) {
        let total = self.closed.plus(bytes);
        if is_final {
            self.closed = total;
        } else if at_most(total.get().into(), sampling) < self.measured.get().into() {
            self.measured = total;
        }
        self.count_total(total, at);
    }

    /// Its source counted `total` bytes in this period until `at`. If an earlier count was higher, within the margin or with later bytes,
    /// it stays.
    pub(crate) fn count_total(&mut self, total: ByteCount, at: Timestamp) {
        if total > self.measured {
            self.measured = total;
            self.seen_at = self.seen_at.max(at);
        }
    }

    /// Whether the next count can replace a part of it: a claim, or a count that is not final.
    pub(crate) fn is_unsettled(&self) -> bool {
        self.claimed > ByteCount::ZERO || self.measured > self.closed
    }

    /// Whether all its numbers of bytes are zero.
    pub(crate) fn is_empty(&self) -> bool {
        *self == Self { seen_at: self.seen_at, ..Self::default() }
    }
}

/// The minutes in which the grants of one user or server key may relay, stored as differences.
/// At a minute, a difference says by how much the number of such grants changes. So a sum takes one pass over the minutes at which a grant
/// begins or ends, however many grants there are.
#[derive(Clone, Debug, Default)]
pub(crate) struct PromisedMinutes {
    /// Grants that begin less those that end, by source and minute, in order. No value is zero.
    deltas: Vec<((IceSource, Minute), LiveDelta)>,
}

impl PromisedMinutes {
    /// Changes the number of grants that may relay in these minutes, and what they may relay.
    pub(crate) fn change(&mut self, source: IceSource, minutes: &Range<Minute>, by: LiveDelta) {
        if minutes.start < minutes.end {
            self.put((source, minutes.start), by);
            self.put((source, minutes.end), by.negated());
        }
    }

    /// Grant-minutes of a source in `[from, to)`.
    pub(crate) fn between(&self, source: IceSource, from: Minute, to: Minute) -> GrantMinutes {
        let to = to.max(from);
        let of_source = self.deltas.iter().filter(|((of, _), _)| *of == source);
        // A change counts in all minutes from its own minute, or from `from` if the change is earlier, to `to`.
        let (count, bytes) = of_source.fold((0_i128, 0_i128), |(count, bytes), ((_, minute), delta)| {
            let left = i128::from(to.since(*minute.clamp(&from, &to)));
            let add = |sum: i128, level: i64| sum.saturating_add(i128::from(level).saturating_mul(left));
            (add(count, delta.live), add(bytes, delta.per_minute))
        });
        let size = |sum: i128| u128::try_from(sum).unwrap_or(0);
        GrantMinutes { count: size(count), bytes: size(bytes) }
    }

    /// Merges the changes up to `from` into one at `from`. The sums of later minutes stay the same.
    pub(crate) fn forget_before(&mut self, source: IceSource, from: Minute) {
        let mut sum = LiveDelta::default();
        self.deltas.retain(|((of, minute), delta)| {
            let is_past = *of == source && *minute <= from;
            if is_past {
                sum = sum.plus(*delta);
            }
            !is_past
        });
        self.put((source, from), sum);
    }

    /// Whether there is nothing.
    pub(crate) fn is_empty(&self) -> bool {
        self.deltas.is_empty()
    }

    fn put(&mut self, key: (IceSource, Minute), by: LiveDelta) {
        sorted::change(&mut self.deltas, key, |delta| *delta = delta.plus(by));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: i64) -> Timestamp {
        Timestamp::from_millis(seconds * 1_000)
    }

    fn spent(counts: &[(u64, bool)]) -> Spent {
        let mut spent = Spent::default();
        for (bytes, is_final) in counts {
            spent.count(ByteCount::new(*bytes), *is_final, 5, at(1));
        }
        spent
    }

    #[test]
    fn a_final_count_is_added_and_one_that_is_not_final_is_replaced_by_the_next() {
        let of = |counts| spent(counts).measured.get();
        assert_eq!(of(&[(10, false), (15, false)]), 15);
        assert_eq!(of(&[(10, false), (12, true)]), 12);
        assert_eq!(of(&[(12, true), (3, false), (5, true), (1, false)]), 18);
    }

    #[test]
    fn what_was_measured_decreases_only_if_the_next_count_of_the_same_time_is_below_the_margin() {
        let of = |counts| spent(counts).measured.get();
        assert_eq!(of(&[(100, false), (80, true)]), 100, "the rest was relayed later");
        assert_eq!(of(&[(100, false), (80, true), (15, false)]), 100, "within the margin");
        assert_eq!(of(&[(100, false), (80, true), (14, false)]), 94);
        assert_eq!(of(&[(100, false), (94, false)]), 94);
    }

    #[test]
    fn a_count_takes_the_part_of_the_claims_that_it_covers() {
        let charge = |before, after, [from, to]: [i64; 2]| ConnectionCharge {
            before: ByteCount::new(before),
            after: ByteCount::new(after),
            from: at(from),
            at: at(to),
        };
        let mut spent = Spent::default();
        spent.charge(&charge(0, 100, [0, 10]), at(0), at(0));
        spent.drop_claims(at(0), at(4));
        assert_eq!(spent.claimed.get(), 60);
        spent.charge(&charge(100, 140, [10, 14]), at(0), at(4));
        spent.drop_claims(at(4), at(9));
        assert_eq!(spent.claimed.get(), 50);
        spent.charge(&charge(140, 20, [0, 20]), at(0), at(9));
        assert_eq!(spent.claimed.get(), 0, "a count of the client replaces what was charged by time");
        spent.charge(&charge(20, 40, [8, 12]), at(0), at(11));
        assert_eq!(spent.claimed.get(), 5, "a quarter of the time is not counted yet");
        spent.drop_claims(at(11), at(30));
        assert_eq!(spent.claimed.get(), 0);
    }

    /// The charge is for the time from ten seconds before the reset to ten seconds after it.
    #[test]
    fn a_charge_over_a_reset_loses_the_part_before_it_and_the_part_that_is_counted() {
        for (counted_until, claimed) in [(-9, 50), (-5, 50), (0, 50), (5, 25), (10, 0)] {
            let (before, after) = (ByteCount::new(7), ByteCount::new(107));
            let mut spent = Spent::default();
            let charge = ConnectionCharge { before, after, from: at(-10), at: at(10) };
            spent.charge(&charge, at(0), at(counted_until));
            assert_eq!(spent.claimed.get(), claimed, "{counted_until}");
        }
    }

    #[test]
    fn what_is_settled_contains_the_margin_of_the_count() {
        let mut spent = spent(&[(95, true), (1_000, false)]);
        assert_eq!(spent.settled(5).get(), 100);
        spent.assumed = ByteCount::new(7);
        assert_eq!(spent.settled(0).get(), 102);
    }
}

#[cfg(test)]
mod promised_tests {
    use super::*;
    use crate::testing::Dice;

    const ONE: LiveDelta = LiveDelta { live: 1, per_minute: 7 };

    fn range((from, len): (i64, i64)) -> Range<Minute> {
        Minute::new(from)..Minute::new(from + len)
    }

    #[test]
    fn the_minutes_are_those_of_each_grant() {
        for (seed, mut dice) in Dice::cases(256) {
            let mut minute = |end| i64::try_from(dice.below(end)).unwrap();
            let grants: Vec<_> = (0..minute(12)).map(|_| (minute(50), minute(20))).collect();
            let gone = usize::try_from(minute(12)).unwrap().min(grants.len());
            let (past, from, len) = (minute(40), minute(60), minute(30));
            let mut promised = PromisedMinutes::default();
            for grant in &grants {
                promised.change(IceSource::Coturn, &range(*grant), ONE);
                promised.change(IceSource::Relay, &range(*grant), ONE);
            }
            promised.forget_before(IceSource::Coturn, Minute::new(past));
            for grant in &grants[..gone] {
                promised.change(IceSource::Coturn, &range(*grant), ONE.negated());
            }
            let (from, to) = (from.max(past), from.max(past) + len);
            let minutes = |(start, life): &(i64, i64)| ((start + life).min(to) - (*start).max(from)).max(0);
            let expected: i64 = grants[gone..].iter().map(minutes).sum();
            let found = promised.between(IceSource::Coturn, Minute::new(from), Minute::new(to));
            let count = u128::try_from(expected).unwrap();
            assert_eq!(found, GrantMinutes { count, bytes: 7 * count }, "seed {seed}");
            for grant in &grants[gone..] {
                promised.change(IceSource::Coturn, &range(*grant), ONE.negated());
            }
            let has_of_relay = grants.iter().any(|(_, life)| *life > 0);
            assert_eq!(promised.is_empty(), !has_of_relay, "seed {seed}");
            for grant in &grants {
                promised.change(IceSource::Relay, &range(*grant), ONE.negated());
            }
            promised.forget_before(IceSource::Coturn, Minute::new(100));
            assert!(promised.is_empty(), "seed {seed}");
        }
    }
}
