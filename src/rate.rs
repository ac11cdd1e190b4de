//! The present rate: what was used in the last minutes, and when the limit is reached if it goes on like this.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use turn_ledger::{BitRate, Books, ByteCount, Figures, Minute, RECENT_MAX, Snapshot, Timestamp};

/// How much of the past a rate is the average of.
const WINDOW: Duration = Duration::from_secs(300);
/// A rate is the average of at least this time.
const MINUTE: Duration = Duration::from_secs(60);

/// A count that is older says nothing about now: the longest lag, and ten minutes.
const COUNT_AGE_MAX: Duration = Duration::from_secs(4_200);

/// What was used in the last five minutes: until now, as reported, or until the end of the provider's count if that shows a higher rate.
/// Who does not report is seen by the count alone, and not before it.
#[derive(Clone, Copy, Debug, Default)]
pub struct Lately {
    bytes: ByteCount,
    /// The time in which they were used.
    span: Duration,
    until: Timestamp,
    now: Timestamp,
}

impl Lately {
    /// At the books' time.
    pub fn of(books: &Books) -> Self {
        let Snapshot { figures, measured, .. } = books.snapshot();
        let reported = Self::before(books, figures.now, figures.now, WINDOW);
        // A younger one is as good as now.
        let tells_of_now = |as_of: &Timestamp| (MINUTE..COUNT_AGE_MAX).contains(&figures.now.since(*as_of));
        let as_of = measured.as_of.filter(tells_of_now).filter(|_| !measured.is_stale());
        let counted = as_of.map(|as_of| Self::before(books, as_of, figures.now, WINDOW));
        counted.filter(|counted| counted.rate() > reported.rate()).unwrap_or(reported)
    }

    /// So many bytes were reported in the last five minutes.
    #[cfg(test)]
    pub(crate) fn reported(bytes: ByteCount) -> Self {
        Self { bytes, span: WINDOW, ..Self::default() }
    }

    /// It begins with the first minute that has some, and of which is known who used it, if such a minute is counted.
    fn before(books: &Books, until: Timestamp, now: Timestamp, window: Duration) -> Self {
        let (begin, known) = (Minute::of(until.minus(window)), Minute::from_end(now.minus(RECENT_MAX)));
        let first = if known.end() <= until { begin.max(known) } else { begin };
        let mut minutes = (first.number()..Minute::from_end(until).number()).map(Minute::new);
        let used = |from| books.ledger().slice(from, until).used;
        let is_used =
            |minute: &Minute| books.ledger().slice(minute.start(), minute.end()).used > ByteCount::ZERO;
        let from = minutes.find(is_used).map_or(until, Minute::start);
        Self { bytes: used(from), span: until.since(from).max(MINUTE), until, now }
    }

    /// The time of which a rate of the last minutes is the average: it begins with the first one that has bytes.
    pub fn averaged(books: &Books, window: Duration) -> Duration {
        Self::before(books, books.now(), books.now(), window).span.min(window)
    }

    /// Whether it is the provider's count.
    pub fn is_counted(&self) -> bool {
        self.until < self.now
    }

    /// The last minutes in which those who used it are found, as far as they are known.
    pub fn since(&self) -> Duration {
        self.now.since(self.until).saturating_add(WINDOW).min(RECENT_MAX)
    }

    /// What was used, of five minutes at most.
    pub fn bytes(&self) -> ByteCount {
        let part = self.span.min(WINDOW).as_millis();
        ByteCount::saturating(u128::from(self.bytes.get()) * part / self.span.as_millis().max(1))
    }

    /// Billed bits per second.
    fn rate(&self) -> u128 {
        u128::from(self.bytes.get()) * 8_000 / self.span.as_millis().max(1)
    }
}

/// The rate at which the budget is used.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PresentRate {
    /// Billed bits per second.
    pub rate: BitRate,
    /// The end of the time that it is the average of: now, or the end of the provider's count if that shows more.
    pub until: Timestamp,
    /// When the limit is reached at this rate. `None` if not before the period ends, or if it is reached.
    pub limit_at: Option<Timestamp>,
}

impl PresentRate {
    /// The rate at the books' time.
    pub fn of(books: &Books) -> Self {
        Self::from(&books.ledger().figures(), &Lately::of(books))
    }

    /// The average of the last 15 minutes. Without use in them it is zero, whatever was counted before.
    pub fn of_quarter_hour(snapshot: &Snapshot) -> Self {
        let (bytes, now) = (snapshot.used_lately, snapshot.figures.now);
        Self::from(&snapshot.figures, &Lately { bytes, span: RECENT_MAX, until: now, now })
    }

    fn from(figures: &Figures, lately: &Lately) -> Self {
        let (until, per_second) = (lately.until, lately.rate());
        let rate = BitRate::new(u64::try_from(per_second).unwrap_or(u64::MAX));
        let left = u128::from(figures.limit.minus(figures.used).get()) * 8_000;
        let millis = left.checked_div(per_second).and_then(|millis| u64::try_from(millis).ok());
        let limit_at =
            millis.filter(|millis| *millis > 0).map(|millis| until.plus_millis(millis).max(figures.now));
        Self { rate, until, limit_at: limit_at.filter(|at| *at < figures.period.end) }
    }
}
