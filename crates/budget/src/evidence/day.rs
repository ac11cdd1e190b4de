//! Counts by UTC day. Tests: below.
//! A count is what is known of one owner of counts on one day, with the instant up to which it is known. The usage of a period is the
//! sum of its days. So another billing day, a reset and a restart need no rule of their own.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::collections::{Dirty, Rows};
use crate::evidence::Agreement;
use crate::units::{ByteCount, Day, Period, Spread, Timestamp};

/// Days are kept for twelve periods before the current one, whatever the billing day.
const DAYS_KEPT: i64 = 13 * 31;

/// What is known of one owner of counts on one day.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DayCount {
    /// Everything before this instant is in the newest count, so no estimate of it counts.
    pub as_of: Timestamp,
    /// What two answers agree on. Only that releases promises, and only that ends something.
    pub agreed: Agreement,
    /// Bytes under credentials that were issued here.
    pub granted: ByteCount,
    /// The most that `granted` can really be, given the sampling margin.
    pub at_most: ByteCount,
    /// The margin when it was counted, in percent.
    pub sampling: u32,
    /// Other bytes that count against the same limit.
    pub other: ByteCount,
    /// What was promised in spans that nobody observed, or whose counts nothing has proven. Bytes that flowed there may be missing in
    /// `granted`.
    pub unseen: ByteCount,
    /// The estimate of the time that is not counted, once the period of the day is over. Until then the minutes have it.
    pub estimated: Option<ByteCount>,
    /// What app servers vouched for without a grant on the whole day, once its period is over. Until then the minutes have it.
    pub vouched: ByteCount,
    /// Whether a credential was live in the time that is not counted. Until the period is over, the minutes say so.
    pub(crate) was_live: bool,
}

impl DayCount {
    /// Nothing of the day is counted.
    pub fn none(day: Day) -> Self {
        let (granted, at_most, other, unseen, vouched) = Default::default();
        Self {
            as_of: day.start(),
            agreed: Agreement::none(day.start()),
            granted,
            at_most,
            sampling: 0,
            other,
            unseen,
            estimated: None,
            vouched,
            was_live: false,
        }
    }

    /// What was counted.
    pub fn total(&self) -> ByteCount {
        self.granted.plus(self.other)
    }

    /// What was used on a day whose period is over: no less than app servers vouched for.
    pub fn used(&self) -> ByteCount {
        self.total().plus(self.estimated.unwrap_or_default()).max(self.vouched)
    }

    /// The same count with a margin of at least so many percent. What a raised margin adds is not limited by what was promised, which is
    /// not known any more.
    fn with_margin(self, sampling: u32) -> Self {
        if self.sampling >= sampling {
            return self;
        }
        let sampled = ByteCount::saturating(at_most(self.granted.get().into(), sampling));
        Self { at_most: self.at_most.max(sampled), sampling, ..self }
    }

    /// The same bytes as a count until `as_of`. If the period of the day is over, the estimate lies evenly in the time that `self` does not
    /// count, and its part before `as_of` is dropped.
    pub(crate) fn extended_to(self, day: Day, as_of: Timestamp) -> Self {
        let rest = |bytes| Spread::new(bytes, self.as_of, day.end()).after(as_of);
        let was_live = self.was_live && as_of < day.end();
        Self { as_of, estimated: self.estimated.map(rest), was_live, ..self }
    }
}

/// The most that the true count can be if sampling may have missed `percent` of the true count. Rounded up.
/// Then `counted` is at least true × (100 - percent) / 100, so the true count is at most `counted` × 100 / (100 - percent).
pub fn at_most(counted: u128, percent: u32) -> u128 {
    let rest = u128::from(100_u32.saturating_sub(percent).max(1));
    counted.saturating_mul(100).div_ceil(rest)
}

/// The days of one owner of counts, of this period and of those before it.
#[derive(Clone, Debug, Default)]
pub struct DayCounts {
    rows: BTreeMap<Day, DayCount>,
    dirty: Dirty<Day>,
}

impl DayCounts {
    /// As stored, with at least this margin of error in percent. From here on, changes are recorded.
    pub fn restore(stored: &Rows<Day, DayCount>, sampling: u32) -> Self {
        let rows = stored.iter().filter_map(|(day, count)| Some((*day, (*count)?.with_margin(sampling))));
        Self { rows: rows.collect(), dirty: Dirty::default() }
    }

    /// What is to be stored since the last call.
    pub fn take_changes(&mut self) -> Rows<Day, DayCount> {
        let changed = self.dirty.take().into_keys();
        changed.map(|day| (day, self.rows.get(&day).copied())).collect()
    }

    /// What is known of a day.
    pub fn get(&self, day: Day) -> DayCount {
        self.rows.get(&day).copied().unwrap_or_else(|| DayCount::none(day))
    }

    /// Replaces what is known of a day.
    pub fn set(&mut self, day: Day, count: DayCount) {
        if self.rows.insert(day, count) != Some(count) {
            self.dirty.note(day);
        }
    }

    /// A day whose period was over belongs to the current one again: the estimate of its minutes takes the place of the stored one.
    pub(crate) fn reopen(&mut self, day: Day) {
        let mut count = self.get(day);
        (count.estimated, count.vouched, count.was_live) = (None, ByteCount::ZERO, false);
        self.set(day, count);
    }

    /// Forgets what was counted of the days of a period, because it was of another account.
    pub fn forget(&mut self, period: Period) {
        let counted: Vec<_> = self.of(period).map(|(day, _)| day).collect();
        for day in counted {
            self.set(day, DayCount::none(day));
        }
    }

    /// The known days of a period.
    pub fn of(&self, period: Period) -> impl DoubleEndedIterator<Item = (Day, &DayCount)> {
        let range = Day::of(period.start)..Day::of(period.end);
        self.rows.range(range).map(|(day, count)| (*day, count))
    }

    /// The instant up to which the last known day is counted: its start if nothing of that day is counted; 1970 if no day is known.
    pub fn latest(&self) -> Timestamp {
        self.rows.last_key_value().map_or(Timestamp::default(), |(_, count)| count.as_of)
    }

    /// Bytes of a period that is over; `None` if nothing is known of it.
    pub fn used(&self, period: Period) -> Option<ByteCount> {
        self.of(period).map(|(_, count)| count.used()).reduce(ByteCount::plus)
    }

    /// Removes days that no period shows any more.
    pub fn forget_old(&mut self, now: Timestamp) {
        let kept = self.rows.split_off(&Day::new(Day::of(now).number().saturating_sub(DAYS_KEPT)));
        for day in std::mem::replace(&mut self.rows, kept).into_keys() {
            self.dirty.note_removed(day);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn day(count: DayCount, granted: u64) -> DayCount {
        DayCount { granted: ByteCount::new(granted), ..count }
    }

    #[test]
    fn a_sampled_count_may_be_too_low() {
        assert_eq!(at_most(950, 5), 1_000);
        assert_eq!(at_most(951, 5), 1_002, "rounded up");
        assert_eq!(at_most(7, 0), 7);
        assert_eq!(at_most(7, 100), 700, "the result is finite even at 100 %");
    }

    #[test]
    fn what_is_counted_of_a_past_day_is_not_estimated_any_more() {
        let estimated = Some(ByteCount::new(100));
        let past = DayCount { estimated, ..DayCount::none(Day::new(5)) };
        let noon = Day::new(5).start().plus_millis(43_200_000);
        assert_eq!(past.extended_to(Day::new(5), noon).estimated, Some(ByteCount::new(50)));
        assert_eq!(past.extended_to(Day::new(5), Day::new(5).end()).estimated, Some(ByteCount::ZERO));
    }

    #[test]
    fn a_period_is_the_sum_of_its_days_and_old_days_are_forgotten() {
        let mut days = DayCounts::restore(&Rows::default(), 0);
        for number in [9, 10, 11, 12] {
            days.set(Day::new(number), day(DayCount::none(Day::new(number)), 1 << number));
        }
        let period = Period { start: Day::new(10).start(), end: Day::new(12).start() };
        assert_eq!(days.used(period), Some(ByteCount::new((1 << 10) + (1 << 11))));
        assert_eq!(days.take_changes().len(), 4);
        days.forget_old(Day::new(11 + DAYS_KEPT).start());
        let changes: Vec<_> =
            days.take_changes().into_iter().map(|(day, count)| (day, count.is_none())).collect();
        assert_eq!(changes, [(Day::new(9), true), (Day::new(10), true)]);
        assert_eq!(days.used(Period { start: Day::new(9).start(), end: Day::new(11).start() }), None);
    }
}
