//! The effect of counts on the minutes: the bytes of a day's count replace the estimates of the minutes that it covers.
//! Tests: `src/timeline/tests/readings.rs`.

use std::collections::BTreeMap;

use super::{MinuteRow, Minutes, replace};
use crate::evidence::{Agreement, Answer, Carried, DayCount, Reading, at_most};
use crate::promise::GrantMinutes;
use crate::units::{BitRate, ByteCount, Day, Interval, Minute, Period, Timestamp};

/// What one minute adds to the figures. Also what all minutes of a day add to them, without `worst`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct MinuteFigures {
    /// The estimate of a minute that is not counted.
    pub(super) estimated: u128,
    /// What app servers vouched for in a minute that is not counted.
    pub(super) vouched: u128,
    /// What app servers vouched for in a minute that is counted, at least in part.
    pub(super) vouched_counted: u128,
    /// The part of it without a grant.
    pub(super) ungranted_counted: u128,
    /// What was promised for the part of a minute that one answer alone counts.
    pub(super) unreleased: u128,
    /// The worst case of the time that is not counted.
    pub(super) worst: u128,
}

impl MinuteFigures {
    /// The best figure of the time that is not counted.
    pub(super) fn used(&self) -> u128 {
        self.estimated.max(self.vouched)
    }

    pub(super) fn replace(&mut self, was: &Self, is: &Self) {
        self.estimated = replace(self.estimated, was.estimated, is.estimated);
        self.vouched = replace(self.vouched, was.vouched, is.vouched);
        self.vouched_counted = replace(self.vouched_counted, was.vouched_counted, is.vouched_counted);
        self.ungranted_counted = replace(self.ungranted_counted, was.ungranted_counted, is.ungranted_counted);
        self.unreleased = replace(self.unreleased, was.unreleased, is.unreleased);
    }
}

/// Until when a minute's day is counted.
#[derive(Clone, Copy)]
pub(super) struct CountedUntil {
    /// The end of the newest count. If a minute begins before this instant, what was claimed for it does not count.
    pub(super) newest: Timestamp,
    /// The end of what two answers agree on. What was promised before it is released.
    pub(super) agreed: Timestamp,
}

/// What the minutes say about one day of an earlier period.
#[derive(Default)]
struct PastDay {
    /// What app servers vouched for without a grant.
    vouched: ByteCount,
    /// Whether a credential was live in the time that is not counted.
    was_live: bool,
}

impl Minutes {
    /// The worst case of the time that is counted; in estimate mode without [`Self::margin`].
    pub(crate) fn worst_counted(&self) -> u128 {
        let (is_strict, counted) = (self.rates.promises_cap_claims, &self.counted);
        let used = if is_strict { counted.beside_promises_at_most() } else { counted.beside_promises() };
        used.saturating_add(counted.unseen)
    }

    /// What sampling may have missed and [`Self::worst_counted`] does not include. Zero in strict mode, where it is included.
    pub fn margin(&self) -> ByteCount {
        if self.rates.promises_cap_claims {
            return ByteCount::ZERO;
        }
        ByteCount::saturating(self.counted.used_at_most().saturating_sub(self.counted.used()))
    }

    /// What the period will have used if each live grant relays at this rate in the time that is not counted. The part of that
    /// time that has begun has used at least its estimate.
    pub fn used_at(&self, rate: BitRate) -> ByteCount {
        let at_rate = |minutes: GrantMinutes| u128::from(rate.per_minute()).saturating_mul(minutes.count);
        let begun = at_rate(self.sums.begun.minus(self.sums.measured)).max(self.sums.used);
        let later = at_rate(self.sums.until_reset.minus(self.current_cell().promised()));
        let counted = self.counted.beside_promises();
        ByteCount::saturating(counted.saturating_add(begun).saturating_add(later)).max(self.used())
    }

    /// What two answers agree on, and in the minutes that are not counted, what app servers vouched for.
    pub fn proven(&self) -> ByteCount {
        let vouched = self.by_day.values().map(|day| day.vouched);
        ByteCount::saturating(vouched.fold(self.counted.agreed, u128::saturating_add))
    }

    /// What two answers agree on, and the estimate of the minutes that are not counted.
    pub(crate) fn proven_or_estimated(&self) -> ByteCount {
        ByteCount::saturating(self.counted.agreed.saturating_add(self.sums.used))
    }

    /// The first instant of this period from which on something was counted, reported or promised.
    pub fn used_since(&self) -> Option<Timestamp> {
        let counted = self.days.of(self.period).find(|(_, count)| count.total() > ByteCount::ZERO);
        let starts = [counted.map(|(day, _)| day.start()), self.sums.first_used.map(Minute::start)];
        starts.into_iter().flatten().min()
    }

    /// Takes note of what a minute has become. A search looks at later minutes only if what was the first use is taken back.
    pub(super) fn note_used(&mut self, minute: Minute, cell: MinuteRow) {
        let first = self.sums.first_used;
        if first == Some(minute) || first.is_none_or(|first| minute < first) && self.is_used(cell) {
            self.sums.first_used = self.find_used(minute);
        }
    }

    /// The first used minute from this one on.
    pub(super) fn find_used(&self, from: Minute) -> Option<Minute> {
        let mut minutes = (from.number()..=self.current().number()).map(Minute::new);
        minutes.find(|minute| self.get(*minute).is_some_and(|cell| self.is_used(cell)))
    }

    fn is_used(&self, cell: MinuteRow) -> bool {
        cell.live > 0 || self.estimate_of(cell) > 0
    }

    /// The margin of error of the counts of this period, in percent. A count keeps the margin that it was taken with.
    pub fn sampling(&self) -> u32 {
        self.days.of(self.period).map(|(_, count)| count.sampling).fold(self.sampling, u32::max)
    }

    /// Until when the day of a minute is counted. For a minute after every count: its start.
    pub(super) fn counted_until(&self, minute: Minute) -> CountedUntil {
        let start = minute.start();
        // Nearly all minutes that are asked for are later than every count. Their own start says that nothing of them is counted.
        if start >= self.counted.as_of {
            return CountedUntil { newest: start, agreed: start };
        }
        CountedUntil::of(&self.days.get(Day::of(start)))
    }

    /// What is known of one minute: the share of a count that covers it, or else its estimate.
    pub(crate) fn best_of(&self, minute: Minute, cell: MinuteRow) -> u128 {
        if minute.start() < self.counted_until(minute).newest {
            cell.counted.into()
        } else {
            self.estimate_of(cell)
        }
    }

    /// Spreads bytes of a count evenly over the minutes of a span. A count says nothing about single minutes.
    fn spread_counted(&mut self, bytes: u128, span: Interval) {
        let minutes = self.touched(span);
        let count = u128::try_from(minutes.size_hint().0).unwrap_or(u128::MAX);
        let in_first = |nth: u128| bytes.saturating_mul(nth).checked_div(count).unwrap_or(0);
        for (nth, minute) in (0_u128..).zip(minutes) {
            let share = in_first(nth.saturating_add(1)).saturating_sub(in_first(nth));
            self.amend(minute, |cell| {
                cell.counted = cell.counted.saturating_add(ByteCount::saturating(share).get());
            });
        }
    }

    /// Takes a provider's count of a day that is not older than the one before: [`Reading::until`] makes sure of that. `as_granted`: bytes
    /// that the provider counts as other, and that stay under grants because a small decrease is noise. No promise covers these bytes.
    /// `unproven_until`: what lies before stays promised.
    pub fn measure(&mut self, reading: &Reading, as_granted: ByteCount, unproven_until: Timestamp) {
        let before = self.days.get(reading.day);
        let sampling = self.sampling.max(before.sampling);
        let at_most = ByteCount::saturating(self.at_most_of(reading, as_granted, &before));
        let Reading { at, as_of, granted, .. } = *reading;
        let answer = Answer { at, as_of, total: reading.total(), granted, at_most };
        let agreed =
            before.agreed.with(answer, sampling, |from| self.promised_between(Interval::new(from, as_of)));
        // If all of the time that is released now is unproven, the bytes that were counted in it are a part of what was promised for it, so
        // they are not unseen.
        let is_all_unproven = before.agreed.until < agreed.until && agreed.until <= unproven_until;
        let shown = if is_all_unproven { agreed.bytes.minus(before.agreed.bytes) } else { ByteCount::ZERO };
        let released = Interval::new(before.agreed.until, agreed.until.min(unproven_until));
        let unseen = ByteCount::saturating(self.promised_between(released)).minus(shown);
        // A day that is counted again to the same end may have grown in any minute.
        let from = if before.as_of < reading.as_of { before.as_of } else { reading.day.start() };
        let grown = reading.total().minus(before.total());
        self.spread_counted(grown.get().into(), Interval::new(from, reading.as_of));
        self.take_counted_back(before.total().minus(reading.total()), before.as_of);
        let after = DayCount {
            agreed,
            granted,
            at_most,
            sampling,
            other: reading.other,
            unseen: before.unseen.plus(unseen),
            ..before.extended_to(reading.day, reading.as_of)
        };
        self.count(reading.day, after);
    }

    /// A wrong answer is taken back: removes its bytes from the latest minutes before `until`.
    fn take_counted_back(&mut self, bytes: ByteCount, until: Timestamp) {
        let (mut left, mut minute) = (bytes.get(), Minute::from_end(until));
        while left > 0 && minute > self.first() {
            minute = Minute::until(minute.start());
            let counted = self.get(minute).map_or(0, |cell| cell.counted);
            self.amend(minute, |cell| cell.counted = cell.counted.saturating_sub(left));
            left = left.saturating_sub(counted);
        }
    }

    /// The most that a count's bytes under grants can be. `as_granted`: see [`Self::measure`].
    fn at_most_of(&self, reading: &Reading, as_granted: ByteCount, before: &DayCount) -> u128 {
        let margin = self.sampling.max(before.sampling);
        let sampled = |bytes: ByteCount| at_most(bytes.get().into(), margin);
        // A lower count takes back what one answer said, and the bound of that answer.
        if reading.total() < before.total() {
            return sampled(reading.granted);
        }
        // If a key has become one of ours, no promise covers its earlier bytes, so they are added with their margin.
        let moved = sampled(before.other.minus(reading.other)).saturating_add(sampled(as_granted));
        let known = u128::from(before.at_most.get()).saturating_add(moved);
        if reading.as_of == before.as_of {
            // The same time is counted again. Growth up to `known` is what sampling had missed: it has no further margin. What is beyond
            // `known` arrived late, with a margin of its own. The result is never above the present count with its margin, because bytes
            // may have moved to another key.
            let counted = before.granted.plus(reading.growth_since(before));
            let late = counted.minus(ByteCount::saturating(known));
            return known.saturating_add(sampled(late)).min(sampled(reading.granted));
        }
        let granted = u128::from(reading.granted.get());
        let promised =
            known.saturating_add(self.promised_between(Interval::new(before.as_of, reading.as_of)));
        let with_margin = sampled(reading.granted);
        // If more is counted than was promised, the promise does not limit what sampling has missed.
        if granted > promised { with_margin } else { with_margin.min(promised) }
    }

    /// Adds what a source that the broker itself watches has carried since its last count. The bytes belong to the last day, unless the
    /// estimate of an earlier day of this period that nobody has counted explains them. For time that nobody observed, the greater of
    /// count and estimate is used, and the rest of the promise stays.
    pub fn carry(&mut self, carried: &Carried) {
        let latest = self.days.latest();
        self.carry_before(carried.before);
        self.hidden = carried.hidden;
        let mut left = u128::from(carried.granted.get());
        for day in Day::between(self.period.start, carried.as_of.plus_millis(1)) {
            let before = self.days.get(day);
            let (until, is_last) = (day.end().min(carried.as_of), carried.as_of < day.end());
            if before.as_of >= until && !is_last {
                continue;
            }
            // `is_after_gap`: nobody has observed the time since the latest count of any day. In any case, nobody has observed the time
            // from the end of this day's count to that latest count.
            let is_unseen = carried.is_after_gap || before.as_of < latest;
            let (mut bytes, mut unseen) = (0, 0);
            if is_unseen && before.as_of < until {
                let minutes = self.touched(Interval::new(before.as_of, until));
                let figures = minutes.map(|minute| {
                    self.figures_of(CountedUntil::of(&before), minute, self.get(minute).unwrap_or_default())
                        .estimated
                });
                bytes = figures.fold(0, u128::saturating_add);
                unseen = self.promised_between(Interval::new(before.as_of, until));
            }
            if is_last {
                bytes = bytes.max(left);
            }
            // Only what the source has shown is proven, not what was estimated.
            let shown = if is_last { left } else { bytes.min(left) };
            let shown = ByteCount::saturating(if carried.is_shown { shown } else { 0 });
            left = left.saturating_sub(bytes);
            self.spread_counted(bytes, Interval::new(before.as_of, until));
            let plus = |sum: ByteCount, bytes: u128| sum.plus(ByteCount::saturating(bytes));
            let (other, lost) = if is_last { (carried.other, carried.lost) } else { Default::default() };
            let as_of = before.as_of.max(until);
            let (granted, at_most) =
                (plus(before.granted, bytes), plus(before.at_most, at_most(bytes, self.sampling)));
            let total = before.agreed.bytes.plus(shown).plus(other);
            let agreed = Agreement::watched(Answer { at: as_of, as_of, total, granted, at_most });
            let after = DayCount {
                as_of,
                agreed,
                granted,
                at_most,
                sampling: self.sampling.max(before.sampling),
                other: before.other.plus(other),
                unseen: plus(before.unseen, unseen.saturating_sub(bytes)).plus(lost),
                ..before
            };
            self.count(day, after);
        }
    }

    /// Adds bytes that were carried between the latest count and the end of the period before this one to the last day of that period, as
    /// far as the estimates of that time do not explain them.
    fn carry_before(&mut self, bytes: ByteCount) {
        let (latest, end) = (self.days.latest(), self.period.start);
        let uncounted = Period { start: latest.min(end), end };
        let estimates = self.days.of(uncounted).filter_map(|(_, count)| count.estimated);
        let unexplained = bytes.minus(estimates.fold(ByteCount::ZERO, ByteCount::plus));
        if unexplained > ByteCount::ZERO {
            let day = Day::until(self.period.start);
            let before = self.days.get(day);
            self.days.set(day, DayCount { other: before.other.plus(unexplained), ..before });
        }
    }

    /// Replaces the count of a day, and what its minutes add to the figures. Counted bytes change elsewhere only in [`Self::carry_before`]
    /// and [`Self::forget_counts`].
    fn count(&mut self, day: Day, after: DayCount) {
        let before = self.days.get(day);
        for minute in self.touched(Interval::new(before.agreed.until.min(before.as_of), after.as_of)) {
            let cell = self.get(minute).unwrap_or_default();
            let was = self.figures_of(CountedUntil::of(&before), minute, cell);
            let is = self.figures_of(CountedUntil::of(&after), minute, cell);
            self.replace_figures(minute, &was, &is);
            if before.agreed.until < minute.end() && minute.end() <= after.agreed.until {
                self.sums.measured = self.sums.measured.plus(cell.promised());
            }
        }
        self.days.set(day, after);
        self.sum_days();
    }

    /// Forgets what was counted of this period. What was promised and reported for it counts again.
    pub(crate) fn forget_counts(&mut self) {
        self.days.forget(self.period);
        self.recount();
    }

    /// Stores in their days what the minutes before `start` say. The period of these days is over. The caller removes the minutes.
    pub(super) fn fold(&mut self, start: Timestamp) {
        let mut days = BTreeMap::<Day, PastDay>::new();
        for (number, cell) in (self.first().number()..Minute::of(start).number()).zip(&self.begun) {
            let minute = Minute::new(number);
            let day = days.entry(Day::of(minute.start())).or_default();
            day.vouched = day.vouched.plus(ByteCount::new(cell.ungranted.claimed));
            day.was_live |= minute.end() > self.counted_until(minute).newest && cell.live > 0;
        }
        for (day, PastDay { vouched, was_live }) in days {
            // `vouched` without what the TURN keys may have counted of it.
            let (count, vouched) = (self.days.get(day), vouched.minus(self.elsewhere_on(day)));
            let estimated = ByteCount::saturating(self.used_of(day)).minus(count.total());
            // A day of which nothing is known gets no row. The ledger may have begun later.
            if estimated > ByteCount::ZERO || was_live || count != DayCount::none(day) {
                self.days.set(day, DayCount { estimated: Some(estimated), vouched, was_live, ..count });
            }
        }
    }

    /// Changes the days of earlier periods that a span touches: `change` gets the part of the span that lies in a day.
    pub(crate) fn change_past(&mut self, span: Interval, change: impl Fn(&mut DayCount, Interval)) {
        if span.from >= self.period.start {
            return;
        }
        for day in Day::between(Day::of(span.from).start(), self.period.start) {
            let in_day = span.within(day.interval());
            if !in_day.is_empty() {
                let mut count = self.days.get(day);
                change(&mut count, in_day);
                self.days.set(day, count);
            }
        }
    }

    /// The most that the grants alive in a span may have relayed in that time.
    pub fn promised_between(&self, span: Interval) -> u128 {
        let parts = self.touched(span).map(|minute| {
            let cell = self.get(minute).unwrap_or_default();
            self.promised_in(cell, minute.interval().within(span).millis())
        });
        parts.fold(0, u128::saturating_add)
    }

    /// The most that the grants alive in a minute that has begun may relay in it.
    pub(crate) fn promised_in_whole(&self, minute: Minute) -> u128 {
        self.get(minute).map_or(0, |cell| self.rates.promised(cell.promised()))
    }

    /// The most that the grants alive in a minute may relay in `millis` of it. Rounded down, so the parts of a minute
    /// add up to no more than the minute.
    fn promised_in(&self, cell: MinuteRow, millis: u64) -> u128 {
        let minute = self.rates.promised(cell.promised());
        minute.saturating_mul(millis.into()).checked_div(Minute::MILLIS.into()).unwrap_or(minute)
    }

    /// Grant-minutes on whose counts two answers agree.
    pub fn measured(&self) -> GrantMinutes {
        self.sums.measured
    }

    /// What a minute adds to the figures.
    pub(super) fn figures_at(&self, minute: Minute, cell: MinuteRow) -> MinuteFigures {
        self.figures_of(self.counted_until(minute), minute, cell)
    }

    /// The same if the minute's day is counted until `until`. The time that is counted adds nothing but what was vouched for. Nobody knows
    /// in which part of a minute its claims flowed, so the claims of a minute that is counted in part do not count.
    pub(super) fn figures_of(&self, until: CountedUntil, minute: Minute, cell: MinuteRow) -> MinuteFigures {
        let rest = |until| minute.end().millis_since(until).min(Minute::MILLIS);
        let promised = self.promised_in(cell, rest(until.agreed));
        if rest(until.newest) < Minute::MILLIS {
            return MinuteFigures {
                vouched_counted: cell.vouched().get().into(),
                ungranted_counted: cell.ungranted.claimed.into(),
                unreleased: promised.saturating_sub(self.promised_in(cell, rest(until.newest))),
                worst: promised,
                ..MinuteFigures::default()
            };
        }
        let (estimated, vouched) = (self.rates.estimate(&cell), self.rates.vouched(&cell));
        MinuteFigures {
            estimated,
            vouched,
            worst: promised.max(estimated).max(vouched),
            ..MinuteFigures::default()
        }
    }
}

impl CountedUntil {
    fn of(count: &DayCount) -> Self {
        Self { newest: count.as_of, agreed: count.agreed.until }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::minutes::SourceRows;

    #[test]
    fn the_first_use_is_known_without_a_look_at_the_minutes() {
        let terms = crate::testing::terms();
        let Period { start, end } = terms.billing_day.period_at(Timestamp::from_millis(1_736_000_000_000));
        let last_day = Timestamp::from_millis(end.as_millis() - 1);
        let period = Period { start, end };
        let mut minutes = Minutes::open(period, terms.rates, 0, last_day, &SourceRows::default());
        let first = minutes.current();
        minutes.amend(first, |row| row.live = 1);
        minutes.begun.clear();
        assert_eq!(minutes.used_since(), Some(first.start()));
    }
}
