//! The test of the assumed rate: at each count of Cloudflare, what has flowed is compared with what the grants could relay, from each of
//! the earlier counts on.

use turn_ledger::{Books, Day, DayCount, IceSource};

use super::figures::Span;
use super::{Known, MINUTE, Model, minute_of};

/// So many points are kept that are at least an hour apart.
const HOURS_KEPT: usize = 31 * 24;

/// Minutes of grants, and the bytes that were promised in them.
type GrantMinutes = [u128; 2];

/// A count, and the grants' minutes until it.
#[derive(Clone, Copy, Debug)]
struct Point {
    as_of: i64,
    flowed: u64,
    minutes: GrantMinutes,
}

/// See the module's description.
#[derive(Clone, Debug, Default)]
pub(super) struct Trial {
    flowed: u64,
    /// The most that was counted.
    most: u64,
    sampling: u32,
    /// Those of the last hour of this process, each with the rate that contradicts the assumption until the next one, in bits per second;
    /// and those of the period.
    minutes: Vec<(Point, Option<u128>)>,
    hours: Vec<Point>,
    /// The rate that replaces the assumed one, in bits per second; zero if none is known. `None`: the counts fit.
    observed: Option<u128>,
    /// Whether points were lost that the books have, or the other way round.
    is_rough: bool,
}

impl Trial {
    /// A period begins. The verdict stays.
    pub(super) fn begin_period(&mut self, is_next: bool) {
        let is_rough = self.is_rough || !is_next;
        *self = Self { sampling: self.sampling, observed: self.observed, is_rough, ..Self::default() };
    }

    fn add(&mut self, point: Point, counted: u64, live: GrantMinutes, assumed: u128) {
        self.most = self.most.max(counted).max(point.flowed);
        let margin = (u128::from(self.most) * u128::from(self.sampling)).div_ceil(100);
        let could = |from: &Point| {
            let minutes = |nth: usize| point.minutes[nth].saturating_sub(from.minutes[nth]) + 2 * live[nth];
            (minutes(0), minutes(1).max((minutes(0) * assumed * 60).div_ceil(8)))
        };
        let has_flowed = |from: &Point| u128::from(point.flowed.saturating_sub(from.flowed));
        let contradicts = match self.minutes.first() {
            None => self.observed,
            Some((first, _)) => {
                let goes_on = has_flowed(first) > could(first).1;
                let hours = self.hours.iter().filter(|_| goes_on);
                let points = hours.chain(self.minutes.iter().map(|(from, _)| from));
                let exceeded = points.filter(|from| has_flowed(from) > could(from).1 + margin);
                let rates = exceeded.map(|from| {
                    (has_flowed(from) * 8).div_ceil((could(from).0 * 60).max(1)) * could(from).0.min(1)
                });
                rates.max()
            }
        };
        let is_first = self.minutes.is_empty();
        match self.minutes.last_mut() {
            Some((last, rate)) if point.as_of - last.as_of < MINUTE => *rate = contradicts.max(*rate),
            _ => self.minutes.push((point, contradicts)),
        }
        while self.minutes.get(1).is_some_and(|(second, _)| point.as_of - second.as_of >= 60 * MINUTE) {
            self.minutes.remove(0);
        }
        if self.hours.last().is_none_or(|last| point.as_of - last.as_of >= 60 * MINUTE) {
            self.hours.push(point);
        }
        self.hours.truncate(HOURS_KEPT);
        if !is_first {
            self.observed = self.minutes.iter().filter_map(|(_, rate)| *rate).max();
        }
    }
}

impl Model {
    /// What the process assumes of a grant, in bits per second.
    fn assumed_bits(&self) -> u128 {
        u128::from(self.rules.assumed) * 8_000
    }

    /// A count of Cloudflare was taken: of `day`, which was counted like `before`. `tests_rate`: it is known how much time has passed.
    pub(super) fn try_count(
        &mut self,
        books: &Books,
        (day, before): (Day, DayCount),
        after: &DayCount,
        latest: i64,
        held: &[Span],
        tests_rate: bool,
    ) {
        let period = books.ledger().period();
        if !period.contains(day.start()) {
            return;
        }
        let total = |count: &DayCount| count.granted.get() + count.other.get();
        let grown =
            after.granted.minus(before.granted).get().min(total(after).saturating_sub(total(&before)));
        let is_compared = before.as_of > day.start() || after.as_of.as_millis() > latest;
        self.now.trial.flowed += if is_compared { grown } else { 0 };
        if tests_rate && after.as_of < day.end() {
            self.add_point(books, held);
        }
    }

    fn add_point(&mut self, books: &Books, held: &[Span]) {
        let spans =
            self.now.grants.iter().filter(|known| known.source == IceSource::Cloudflare).map(Known::span);
        let spans: Vec<_> = spans.chain(held.iter().copied()).collect();
        let within = |from: i64, until: i64| {
            let minutes =
                |span: &Span| u128::try_from(span.until.min(until) - span.from.max(from)).unwrap_or(0);
            spans.iter().fold([0, 0], |[count, bytes]: GrantMinutes, span| {
                [count + minutes(span), bytes + minutes(span) * u128::from(span.per_minute)]
            })
        };
        let (mut minutes, mut counted, mut latest) = ([0, 0], 0, books.ledger().period().start.as_millis());
        for (day, count) in counted_days(books) {
            let [more, bytes] =
                within(minute_of(day.start().as_millis()), minute_of(count.as_of.as_millis()));
            minutes = [minutes[0] + more, minutes[1] + bytes];
            counted += count.granted.get();
            latest = latest.max(count.as_of.as_millis());
        }
        let live = within(minute_of(latest), minute_of(latest) + 1);
        let point = Point { as_of: latest, flowed: self.now.trial.flowed, minutes };
        let assumed = self.assumed_bits();
        self.now.trial.add(point, counted, live, assumed);
    }

    /// A process has started with stored counts. It takes over the verdict, and the points of hours of the same period.
    pub(in super::super) fn restart_trial(&mut self, books: &Books, sampling: u32) {
        let counts: Vec<_> = counted_days(books).collect();
        let sampling = counts.iter().map(|(_, count)| count.sampling).fold(sampling, u32::max);
        let trial = &mut self.now.trial;
        (trial.sampling, trial.most) = (sampling, 0);
        trial.minutes.clear();
        trial.is_rough |= self.lacks;
        if !counts.is_empty() {
            self.add_point(books, &[]);
        }
    }

    /// The operator has dropped the counts.
    pub(in super::super) fn drop_trial(&mut self, sampling: u32) {
        let is_rough = self.now.trial.is_rough;
        self.now.trial = Trial { sampling, is_rough, ..Trial::default() };
    }

    /// Compares the rate that is in force.
    pub(in super::super) fn check_trial(&mut self, books: &Books) -> Option<String> {
        let found = books.ledger().bytes_per_minute(IceSource::Cloudflare);
        let rate = self.now.trial.observed.unwrap_or(0).min(100_000_000).max(self.assumed_bits());
        let expected = (rate * 60).div_ceil(8);
        if self.now.is_reopened || self.now.is_copy {
            self.now.trial.is_rough = true;
        }
        // A verdict that stays from a time that is not known is over once the counts fit.
        if self.now.trial.is_rough
            && self.now.trial.minutes.is_empty()
            && u128::from(found) == self.assumed_bits() * 60 / 8
        {
            (self.now.trial.is_rough, self.now.trial.observed) = (false, None);
        }
        (u128::from(found) != expected && !self.now.trial.is_rough)
            .then(|| format!("{found} bytes a minute are assumed, not {expected}: {:?}", self.now.trial))
    }
}

/// The days of the period that are counted.
pub(super) fn counted_days(books: &Books) -> impl Iterator<Item = (Day, DayCount)> {
    let period = books.ledger().period();
    let days = Day::between(period.start, period.end);
    let count = |day| Some((day, books.ledger().day(IceSource::Cloudflare, day)?));
    days.filter_map(count).filter(|(day, count)| count.as_of > day.start())
}
