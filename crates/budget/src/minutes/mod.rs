//! The minutes of one period, with running sums over them. Tests: `src/timeline/tests`.
//! A minute that has begun is a row with its number of live grants. Later minutes are differences of that number, and not stored: the rows
//! of the grants say what is promised. So a grant changes few values however long it lives, and reading a figure takes constant time.
//!
//! Rows change only in [`Minutes::amend`], which keeps each sum equal to the sum over all minutes.
//! `used <= committed` holds because it holds in each minute.

mod counted;
mod stored;

use std::collections::BTreeMap;
use std::ops::Range;

use crate::collections::Dirty;
use crate::evidence::{CountOwner, DayCount, DayCounts, at_most};
use crate::promise::{GrantMinutes, LiveDelta, Rates};
use crate::units::{BitRate, ByteCount, Day, Interval, Minute, Period, Spread, Timestamp};
use counted::MinuteFigures;

pub use stored::*;

/// Sums over the period's minutes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Sums {
    /// Best figure of the minutes that no reading covers.
    used: u128,
    /// Grant-minutes of the minutes that have begun.
    begun: GrantMinutes,
    /// Grant-minutes of the minutes that two answers cover in full.
    measured: GrantMinutes,
    /// Worst case of the minutes before the current one that two answers do not cover in full.
    worst_behind: u128,
    /// Grant-minutes from the current minute to the period's end.
    until_reset: GrantMinutes,
    /// Grant-minutes after the period's end.
    after_reset: GrantMinutes,
    /// The first minute that has begun in which something was reported or a grant was live.
    first_used: Option<Minute>,
}

/// The sums over the counted days of a period.
#[derive(Clone, Copy, Debug, Default)]
pub struct CountedPart {
    pub granted: u128,
    /// The most that `granted` can really be. Sampling may have missed some bytes, but no more than the live grants
    /// could relay since the count before, as long as the counts fit the assumed rate.
    at_most: u128,
    pub other: u128,
    /// The most that `other` can really be.
    other_at_most: u128,
    /// What was promised in spans that were not observed. Bytes that flowed there may be missing in `granted`.
    unseen: u128,
    /// What app servers vouched for without a grant beyond what is counted, day by day.
    vouched: u128,
    /// What they vouched for without a grant beyond the most that the counts can really be, day by day.
    vouched_at_most: u128,
    /// The most that they vouched for on one day, with grants or without, beyond the most that its count can really be.
    pub(crate) vouched_above_day: ByteCount,
    /// The end of the latest count. Later minutes are not counted.
    pub as_of: Timestamp,
    /// `granted` without what is also promised, because one answer alone counts it; but no less than what two answers agree on.
    released: u128,
    /// The same of `at_most`.
    released_at_most: u128,
    /// The bytes on which two answers agree; of each day no less than was vouched for without a grant.
    pub agreed: u128,
    /// The end of the latest count on which two answers agree.
    pub agreed_until: Timestamp,
}

impl CountedPart {
    fn of(minutes: &Minutes) -> Self {
        let start = minutes.period.start;
        let mut sums = Self { as_of: start, agreed_until: start, ..Self::default() };
        for (day, count) in minutes.days.of(minutes.period) {
            let other_at_most = at_most(count.other.get().into(), count.sampling);
            let (vouched, ungranted) = (minutes.vouched_on(day), minutes.ungranted_on(day));
            let most = ByteCount::saturating(other_at_most).plus(count.at_most);
            add(&mut sums.granted, count.granted.get());
            add(&mut sums.at_most, count.at_most.get());
            add(&mut sums.other, count.other.get());
            sums.other_at_most = sums.other_at_most.saturating_add(other_at_most);
            add(&mut sums.unseen, count.unseen.get());
            add(&mut sums.vouched, ungranted.minus(count.total()).get());
            add(&mut sums.vouched_at_most, ungranted.minus(most).get());
            sums.vouched_above_day = sums.vouched_above_day.max(vouched.minus(most));
            add(&mut sums.agreed, count.agreed.bytes.max(ungranted).get());
            let unreleased = minutes.by_day.get(&day).map_or(0, |minutes| minutes.unreleased);
            let released = |newest: ByteCount, agreed: ByteCount| {
                u128::from(newest.get()).saturating_sub(unreleased).max(agreed.get().into())
            };
            sums.released = sums.released.saturating_add(released(count.granted, count.agreed.granted));
            let at_most = released(count.at_most, count.agreed.at_most);
            sums.released_at_most = sums.released_at_most.saturating_add(at_most);
            // A day of which nothing is counted has its start here.
            if count.as_of > day.start() {
                sums.as_of = count.as_of;
            }
            if count.agreed.until > day.start() {
                sums.agreed_until = count.agreed.until;
            }
        }
        sums
    }

    /// The best figure of the counted time: of each day, the larger of what was counted and what was vouched for without a grant.
    fn used(&self) -> u128 {
        self.granted.saturating_add(self.other).saturating_add(self.vouched)
    }

    /// The most that [`Self::used`] can really be.
    fn used_at_most(&self) -> u128 {
        self.at_most.saturating_add(self.other_at_most).saturating_add(self.vouched_at_most)
    }

    /// What [`Self::used`] adds to promises that are not released.
    fn beside_promises(&self) -> u128 {
        self.released.saturating_add(self.other).saturating_add(self.vouched)
    }

    /// What [`Self::used_at_most`] adds to them.
    fn beside_promises_at_most(&self) -> u128 {
        self.released_at_most.saturating_add(self.other_at_most).saturating_add(self.vouched_at_most)
    }
}

/// The minutes of one period.
#[derive(Clone, Debug)]
pub struct Minutes {
    pub rates: Rates,
    /// The margin of error of the provider's count, in percent.
    sampling: u32,
    pub period: Period,
    /// The days of this period and of those before it.
    pub days: DayCounts,
    /// The counts of the TURN keys, if these are the minutes of their source's owner without a key.
    elsewhere: BTreeMap<Day, ByteCount>,
    /// What the minutes of this period say, day by day.
    by_day: BTreeMap<Day, MinuteFigures>,
    /// The sums over the days of this period.
    pub counted: CountedPart,
    /// From the period's first minute to the current one. Never empty.
    begun: Vec<MinuteRow>,
    /// Differences after the current minute. No row is zero.
    pub(crate) differences: BTreeMap<Minute, LiveDelta>,
    sums: Sums,
    /// What running sessions may have relayed beyond their last figures: a claim, until the next listing. Not stored.
    pub hidden: ByteCount,
    /// Minutes that must be stored.
    dirty: Dirty<Minute, MinuteRow>,
}

impl Minutes {
    /// The best figure so far.
    pub fn used(&self) -> ByteCount {
        ByteCount::saturating(self.counted.used().saturating_add(self.sums.used)).plus(self.hidden)
    }

    /// The worst case for the whole period.
    pub fn committed(&self) -> ByteCount {
        let current = self.current_cell();
        let figures = self.figures_at(self.current(), current);
        let later_minutes = self.sums.until_reset.minus(current.promised());
        let later = self.rates.promised(later_minutes);
        let until_now = self.sums.worst_behind.saturating_add(figures.worst);
        let uncounted = until_now.saturating_add(later);
        ByteCount::saturating(self.worst_counted().saturating_add(uncounted)).plus(self.hidden)
    }

    /// The worst case in the next period, from the grants that are alive in it.
    pub fn committed_next(&self) -> ByteCount {
        ByteCount::saturating(self.rates.promised(self.sums.after_reset))
    }

    /// Sets what is counted under the TURN keys, day by day. What is vouched for without a grant may be a part of it.
    pub(crate) fn set_counted_elsewhere(&mut self, elsewhere: BTreeMap<Day, ByteCount>) {
        self.elsewhere = elsewhere;
        self.sum_days();
    }

    /// So much more is counted under the TURN keys on a day whose period is over: what is vouched for without a grant may be a part of it.
    pub(crate) fn count_past_elsewhere(&mut self, day: Day, more: ByteCount) {
        let count = self.days.get(day);
        if count.vouched > ByteCount::ZERO {
            self.days.set(day, DayCount { vouched: count.vouched.minus(more), ..count });
        }
    }

    /// Computes the sums over the counted days again. A period has at most 31 days.
    fn sum_days(&mut self) {
        self.counted = CountedPart::of(self);
    }

    /// Sets the highest rate that a grant is assumed to relay at.
    pub(crate) fn set_liability(&mut self, liability: BitRate) {
        if self.rates.liability != liability {
            self.rates.liability = liability;
            self.recount();
        }
    }

    /// The best figure of a minute that is not counted: the larger of its estimate and what app servers vouched for.
    pub(crate) fn estimate_of(&self, cell: MinuteRow) -> u128 {
        self.rates.estimate(&cell).max(self.rates.vouched(&cell))
    }

    /// The current minute.
    pub fn current(&self) -> Minute {
        self.minute(self.begun.len().saturating_sub(1))
    }

    pub(crate) fn current_cell(&self) -> MinuteRow {
        self.begun.last().copied().unwrap_or_default()
    }

    /// The row of a minute of this period that has begun.
    pub fn get(&self, minute: Minute) -> Option<MinuteRow> {
        self.begun.get(self.index(minute)?).copied()
    }

    /// Minutes of this period that have begun and overlap a span; none if it is empty.
    pub(crate) fn touched(&self, span: Interval) -> impl Iterator<Item = Minute> + use<> {
        let end = if span.is_empty() { Minute::of(span.from) } else { Minute::from_end(span.to) };
        let (first, after) = (Minute::of(span.from).max(self.first()), end.min(self.current().next()));
        (first.number()..after.number()).map(Minute::new)
    }

    /// The only place where a minute that has begun changes.
    pub fn amend(&mut self, minute: Minute, change: impl FnOnce(&mut MinuteRow)) {
        let Some(cell) = self.index(minute).and_then(|index| self.begun.get_mut(index)) else { return };
        let before = *cell;
        change(cell);
        let after = *cell;
        let is_current = minute >= self.current();
        if before != after {
            self.dirty.change(minute, |row| *row = after);
        }
        self.sums.begun = self.sums.begun.plus(after.promised()).minus(before.promised());
        let until = self.counted_until(minute);
        if minute.end() <= until.agreed {
            let counted = &mut self.sums.measured;
            *counted = counted.plus(after.promised()).minus(before.promised());
        }
        if is_current {
            self.sums.until_reset = self.sums.until_reset.plus(after.promised()).minus(before.promised());
        }
        let (was, is) = (self.figures_of(until, minute, before), self.figures_of(until, minute, after));
        self.replace_figures(minute, &was, &is);
        self.note_used(minute, after);
        if (was.unreleased, was.vouched_counted) != (is.unreleased, is.vouched_counted) {
            self.sum_days();
        }
    }

    /// Replaces what a minute adds to the figures of the time that is not counted, and to what is vouched for.
    fn replace_figures(&mut self, minute: Minute, was: &MinuteFigures, is: &MinuteFigures) {
        let day = self.by_day.entry(Day::of(minute.start())).or_default();
        let before = day.used();
        day.replace(was, is);
        self.sums.used = replace(self.sums.used, before, day.used());
        if minute < self.current() {
            self.sums.worst_behind = replace(self.sums.worst_behind, was.worst, is.worst);
        }
    }

    /// The best figure of a day of this period: the larger of count and vouched bytes in its counted time, plus the larger of estimate and
    /// vouched bytes in the rest.
    fn used_of(&self, day: Day) -> u128 {
        let uncounted = self.by_day.get(&day).map_or(0, MinuteFigures::used);
        let counted = self.days.get(day).total().max(self.ungranted_on(day));
        u128::from(counted.get()).saturating_add(uncounted)
    }

    /// What app servers vouched for in the counted time of a day, without what the TURN keys may have counted of it.
    fn vouched_on(&self, day: Day) -> ByteCount {
        let vouched = self.by_day.get(&day).map_or(0, |minutes| minutes.vouched_counted);
        ByteCount::saturating(vouched).minus(self.elsewhere_on(day))
    }

    /// The part of [`Self::vouched_on`] without a grant.
    fn ungranted_on(&self, day: Day) -> ByteCount {
        let ungranted = self.by_day.get(&day).map_or(0, |minutes| minutes.ungranted_counted);
        ByteCount::saturating(ungranted).minus(self.elsewhere_on(day))
    }

    /// What is counted under the TURN keys on a day; zero unless these are the minutes of their source's owner without a key.
    fn elsewhere_on(&self, day: Day) -> ByteCount {
        self.elsewhere.get(&day).copied().unwrap_or_default()
    }

    /// Raises one figure of a minute that has begun by these bytes.
    pub fn raise(&mut self, figure: impl Fn(&mut MinuteRow) -> &mut u64, minute: Minute, bytes: u128) {
        if bytes > 0 {
            let bytes = ByteCount::saturating(bytes).get();
            self.amend(minute, |cell| {
                let figure = figure(cell);
                *figure = figure.saturating_add(bytes);
            });
        }
    }

    /// Changes the number of grants that are alive over these minutes, and what they may relay.
    pub(crate) fn change_live(&mut self, Range { start, end }: Range<Minute>, by: LiveDelta) {
        let (start, next) = (start.max(self.first()), self.current().next());
        for number in start.number()..end.min(next).number() {
            self.amend(Minute::new(number), |cell| cell.change_live(by));
        }
        let from = start.max(next);
        if from >= end {
            // `step` carries the grants of the current minute over to the next one, so here they end.
            if start < end && end == next {
                self.change_difference(end, by.negated());
            }
            return;
        }
        // A span that has begun is carried over from the current minute.
        if start > self.current() {
            self.change_difference(start, by);
        }
        self.change_difference(end, by.negated());
        let reset = Minute::of(self.period.end);
        let Sums { until_reset, after_reset, .. } = &mut self.sums;
        *until_reset = until_reset.shifted(end.min(reset).since(from), by);
        *after_reset = after_reset.shifted(end.since(from.max(reset)), by);
    }

    fn change_difference(&mut self, minute: Minute, change: LiveDelta) {
        let delta = self.differences.entry(minute).or_default();
        *delta = delta.plus(change);
        if *delta == LiveDelta::default() {
            self.differences.remove(&minute);
        }
    }

    /// Ends the current minute and begins the next one. The worst case of the ended one joins the sum of past minutes. The live grants stay
    /// live, apart from those that end with it, and others begin. If the next minute lies in another period, the caller calls
    /// [`Self::begin`].
    pub fn step(&mut self) {
        let current = self.current();
        let ended = self.current_cell();
        let worst = self.figures_at(current, ended).worst;
        self.sums.worst_behind = self.sums.worst_behind.saturating_add(worst);
        self.sums.until_reset = self.sums.until_reset.minus(ended.promised());
        let delta = self.differences.remove(&current.next()).unwrap_or_default();
        let MinuteRow { live, per_minute, .. } = ended;
        let mut next = MinuteRow { live, per_minute, ..MinuteRow::default() };
        next.change_live(delta);
        if next != MinuteRow::default() {
            self.dirty.change(current.next(), |row| *row = next);
        }
        self.sums.begun = self.sums.begun.plus(next.promised());
        self.begun.push(next);
        self.note_used(current.next(), next);
    }

    /// Begins another period at `now`. The current minute and later ones stay, because grants continue across the
    /// reset.
    pub fn begin(&mut self, period: Period, now: Timestamp) {
        let current = self.current_cell();
        self.fold(period.start);
        self.days.forget_old(now);
        self.period = period;
        self.begun.clear();
        // After `Timeline::leap` the period has begun before `now`. Nothing was live or reported in its minutes before
        // the current one.
        self.begun.resize(self.index(Minute::of(now)).unwrap_or(0), MinuteRow::default());
        self.begun.push(current);
        self.recount();
    }

    fn first(&self) -> Minute {
        Minute::of(self.period.start)
    }

    /// The index of a minute in `begun`; `None` before the period.
    fn index(&self, minute: Minute) -> Option<usize> {
        usize::try_from(minute.number().checked_sub(self.first().number())?).ok()
    }

    fn minute(&self, index: usize) -> Minute {
        let index = i64::try_from(index).unwrap_or(i64::MAX);
        Minute::new(self.first().number().saturating_add(index))
    }
}

fn add(sum: &mut u128, bytes: u64) {
    *sum = sum.saturating_add(bytes.into());
}

fn replace(sum: u128, before: u128, after: u128) -> u128 {
    sum.saturating_add(after).saturating_sub(before)
}

// The changes that reported connections make to the ledger. Tests: `../ledger/src/connection_tests.rs`.
// A change names the owner of the count that replaces it. To apply one, the ledger needs nothing else but its time.

/// One change of what an owner of counts is charged.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct UsageChange {
    /// Whose count replaces it.
    pub owner: CountOwner,
    /// Whether the connection has a grant, and so its bytes were promised.
    pub basis: Basis,
    /// What changes.
    pub kind: ChangeKind,
}

/// What a [`UsageChange`] changes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ChangeKind {
    /// The number of running clocks of one connection or session changes. A connection has one clock, a session of the SFU one for each
    /// kbit/s.
    Clocks {
        /// How many of them ran.
        before: u64,
        /// How many of them run from now on.
        after: u64,
    },
    /// A past span of a connection is charged by time.
    AddTime(Interval),
    /// The charge for a past span is reversed, because its bytes are known now.
    RemoveTime(Interval),
    /// A connection reported billed bytes over a past span, at least one.
    AddBytes(Spread),
    /// An app server vouched for bytes under a grant. [`Self::AddBytes`] charges them.
    Vouch(Spread),
}

impl ChangeKind {
    /// One more connection is charged by time from now on.
    pub const START_CLOCK: Self = Self::Clocks { before: 0, after: 1 };
    /// One connection fewer is charged by time from now on.
    pub const STOP_CLOCK: Self = Self::Clocks { before: 1, after: 0 };
}
