//! The provider's counts by day: whether a reading is taken, and what the day says afterwards.

use std::collections::BTreeMap;

use turn_ledger::{Books, ByteCount, Day, DayCount, IceSource, Period, Reading, ReadingOutcome, Timestamp};

use super::figures::{Range, Span, at_most, promised};
use super::trial::counted_days;
use super::{Facts, Known, MINUTE, Model, minute_from, minute_of};

/// A count that grows by more than ten times what was promised, and by more than a tenth of the limit, is absurd.
const ABSURD: u128 = 10;

/// What a reading should do.
pub(in super::super) struct Expected {
    /// `None`: what was promised is not known exactly enough.
    outcome: Option<ReadingOutcome>,
    /// What the day said before, and until when any day of the period was counted.
    before: DayCount,
    latest: i64,
    after: DayCount,
    at_most: Range,
}

/// The most that the grants of these spans can relay in a time that is not counted.
fn promised_between(spans: &[Span], from: i64, until: i64, rate: u64) -> Range {
    let mut sum = Range::default();
    let mut from = from;
    while from < until {
        let minute = minute_of(from);
        let is_whole = from == minute * MINUTE && until >= (minute + 1) * MINUTE;
        let end = if is_whole { until.div_euclid(MINUTE) * MINUTE } else { until.min((minute + 1) * MINUTE) };
        let Range { least, most } = promised(spans, minute, minute_from(end), rate);
        let (part, whole) = if is_whole { (1, 1) } else { (u128::try_from(end - from).unwrap_or(0), 60_000) };
        sum.add(least * part / whole, most * part / whole);
        from = end;
    }
    sum
}

/// What the provider has counted of the days of this period and those before it: two resets can pass in one step.
fn counts_of(books: &Books) -> BTreeMap<Day, DayCount> {
    let Period { start, end } = books.ledger().period();
    let start = Timestamp::from_millis(start.as_millis() - 100 * 24 * 60 * MINUTE);
    let count = |day| Some((day, books.ledger().day(IceSource::Cloudflare, day)?));
    Day::between(start, end).filter_map(count).collect()
}

impl Facts {
    /// What was counted since the last time is stored with its margin. A margin that was raised at a start is not, for its own sake.
    pub(super) fn note_counts(&mut self, books: &Books) {
        let count = |count: &DayCount| DayCount { at_most: ByteCount::ZERO, sampling: 0, ..*count };
        for (day, found) in counts_of(books) {
            let is_stored = |known: &DayCount| {
                count(known) == count(&found)
                    && (known.at_most == found.at_most || known.sampling != found.sampling)
            };
            if count(&found) == DayCount::none(day) {
                self.counts.remove(&day);
            } else if !self.counts.get(&day).is_some_and(is_stored) {
                self.counts.insert(day, found);
            }
        }
    }
}

impl Model {
    /// A process has started with counts that may be so many percent from the truth. What was counted with a smaller margin gets this one.
    pub(in super::super) fn check_counts(&self, books: &Books, sampling: u32) -> Option<String> {
        let raised = |(day, count): (&Day, &DayCount)| {
            let most = ByteCount::saturating(at_most(count.granted.get(), sampling)).max(count.at_most);
            let raised = DayCount { sampling, at_most: most, ..*count };
            (*day, if sampling > count.sampling { raised } else { *count })
        };
        let found = counts_of(books);
        let mut known = self.now.counts.iter().map(raised).filter(|(day, _)| found.contains_key(day));
        // What is estimated of a day that is over depends on the billing day.
        let is_wrong = |(day, expected): &(Day, DayCount)| {
            found.get(day).is_none_or(|found| *found != DayCount { estimated: found.estimated, ..*expected })
        };
        let wrong = known.find(is_wrong);
        wrong.map(|(day, expected)| format!("{:?} after a start, not {expected:?}", found.get(&day)))
    }

    /// What a reading of Cloudflare's count should do. `held`: what is reserved for credentials that are being made.
    pub(in super::super) fn expect_reading(
        &mut self,
        books: &Books,
        reading: &Reading,
        held: &[Span],
        limit: u64,
        setting: u32,
    ) -> Expected {
        let source = IceSource::Cloudflare;
        let period: Period = books.ledger().period();
        let count = |day| books.ledger().day(source, day).unwrap_or_else(|| DayCount::none(day));
        let before = count(reading.day);
        let as_of = reading.as_of.min(books.now()).min(reading.day.end());
        let days = Day::between(period.start, period.end).map(|day| count(day).sampling);
        let noise = days.chain([setting]).max().unwrap_or(0);
        let total = |count: &DayCount| count.granted.get() + count.other.get();
        let (was, read) = (total(&before), reading.granted.get() + reading.other.get());
        let share = |bytes: u64, percent: u32| {
            u64::try_from((u128::from(bytes) * u128::from(percent)).div_ceil(100)).unwrap_or(0)
        };
        // What is lower by no more than the noise lowers nothing.
        let (granted, other) = if read < was {
            let granted = reading.granted.get().max(before.granted.get()).min(was);
            (granted, was - granted)
        } else {
            (reading.granted.get(), reading.other.get())
        };
        let spans = self.now.grants.iter().filter(|known| known.source == source).map(Known::span);
        let spans: Vec<_> = spans.chain(held.iter().copied()).collect();
        let rate = books.ledger().bytes_per_minute(source);
        let from = before.as_of.max(period.start).as_millis();
        let promised = promised_between(&spans, from, as_of.as_millis(), rate);
        let growth = (granted + other).saturating_sub(was);
        let is_large = growth > limit / 10;
        let is_absurd = |promised: u128| is_large && u128::from(growth) > ABSURD * promised;
        let confirms = self
            .now
            .doubts
            .get(&reading.day)
            .is_some_and(|first| granted + other >= first - share(*first, setting));
        let outcome = if as_of < before.as_of {
            Some(ReadingOutcome::Older)
        } else if read < was - share(was, noise) {
            Some(ReadingOutcome::Fell)
        } else if is_absurd(promised.least) != is_absurd(promised.most) {
            None
        } else if is_absurd(promised.most) && !confirms {
            Some(ReadingOutcome::Doubted)
        } else {
            Some(ReadingOutcome::Taken)
        };
        let sampling = setting.max(before.sampling);
        let sampled = at_most(granted, sampling);
        // Bytes of another key or of the SFU that are under grants now, or that the provider has not, were promised by nobody.
        let joined = [before.other.get(), reading.other.get()].map(|had| had.saturating_sub(other));
        let known = joined
            .iter()
            .fold(u128::from(before.at_most.get()), |sum, bytes| sum + at_most(*bytes, sampling));
        let most = |promised: u128| {
            if as_of == before.as_of {
                // What the margin covered is counted now. Only more than that arrived late.
                let grown = granted.saturating_sub(before.granted.get()).min(growth);
                let late = u128::from(before.granted.get() + grown).saturating_sub(known);
                sampled.min(known + at_most(u64::try_from(late).unwrap_or(u64::MAX), sampling))
            } else if u128::from(granted) > known + promised {
                sampled
            } else {
                sampled.min(known + promised)
            }
        };
        let (least, most) = (most(promised.least), most(promised.most));
        let at_most = Range { least: least.min(most), most: least.max(most) };
        let [granted, other] = [granted, other].map(ByteCount::new);
        // What is counted of a day of an earlier period is not estimated any more.
        let [rest, whole] = [as_of, before.as_of].map(|at| u128::from(reading.day.end().millis_since(at)));
        let left = |bytes: u64| {
            u64::try_from((u128::from(bytes) * rest).checked_div(whole).unwrap_or(0)).unwrap_or(0)
        };
        let left = before.estimated.map(|bytes| ByteCount::new(left(bytes.get())));
        let latest = counted_days(books).map(|(_, count)| count.as_of).max().unwrap_or(period.start);
        Expected {
            outcome,
            before,
            latest: latest.as_millis(),
            after: DayCount { as_of, granted, other, sampling, estimated: left, ..before },
            at_most,
        }
    }

    /// The most that was promised for the time that a reading counts newly.
    pub(in super::super) fn promised_since(&self, books: &Books, reading: &Reading, held: &[Span]) -> u64 {
        let source = IceSource::Cloudflare;
        let spans = self.now.grants.iter().filter(|known| known.source == source).map(Known::span);
        let spans: Vec<_> = spans.chain(held.iter().copied()).collect();
        let start = books.ledger().period().start;
        let from = books.ledger().day(source, reading.day).map_or(start, |count| count.as_of.max(start));
        let until = reading.as_of.min(books.now()).min(reading.day.end());
        let rate = books.ledger().bytes_per_minute(source);
        let Range { most, .. } = promised_between(&spans, from.as_millis(), until.as_millis(), rate);
        u64::try_from(most).unwrap_or(u64::MAX / 100)
    }

    /// A reading had this outcome.
    pub(in super::super) fn note_reading(
        &mut self,
        books: &Books,
        reading: &Reading,
        expected: &Expected,
        outcome: ReadingOutcome,
        held: &[Span],
    ) {
        let day = reading.day;
        let is_expected = expected.outcome.is_none_or(|expected| expected == outcome);
        self.expect(is_expected, || format!("{outcome:?} instead of {:?}: {reading:?}", expected.outcome));
        match outcome {
            ReadingOutcome::Doubted => {
                self.now.doubts.insert(day, reading.granted.get() + reading.other.get());
            }
            ReadingOutcome::Taken => {
                self.now.doubts.remove(&day);
            }
            ReadingOutcome::Older | ReadingOutcome::Fell => {}
        }
        let Some(found) =
            books.ledger().day(IceSource::Cloudflare, day).filter(|_| outcome == ReadingOutcome::Taken)
        else {
            return;
        };
        let Range { least, most } = expected.at_most;
        let is_right = (least..=most).contains(&found.at_most.get().into())
            && DayCount { at_most: found.at_most, ..expected.after } == found;
        self.expect(is_right, || {
            format!("{found:?}, not {:?} with {least} to {most} at most", expected.after)
        });
        self.try_count(books, (day, expected.before), &found, expected.latest, held, books.may_count());
    }

    /// Whether a count of the period is in doubt.
    pub(super) fn is_doubted(&self, start: Timestamp, end: Timestamp) -> bool {
        self.now.doubts.keys().any(|day| (start..end).contains(&day.start()))
    }

    /// The operator drops the counts, and the doubts with them.
    pub(in super::super) fn drop_doubts(&mut self) {
        self.now.doubts.clear();
    }
}
