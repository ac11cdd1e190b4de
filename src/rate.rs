//! The present rate: what was used in the last minutes, and when the limit is reached if use goes on like this.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use turn_ledger::{BitRate, Books, ByteCount, Figures, Interval, Minute, RECENT_MAX, Snapshot, Timestamp};

/// The length of the time that [`Lately::of`] covers.
const WINDOW: Duration = Duration::from_secs(300);
/// The shortest time that a rate is the average of.
const MINUTE: Duration = Duration::from_secs(60);

/// A count that ended longer ago says nothing about now: the longest lag, and ten minutes.
const COUNT_AGE_MAX: Duration = Duration::from_secs(4_200);

/// What was used in the last five minutes before now, as reported. If the provider's count shows a higher rate, the last five minutes
/// before the end of the count: only a count has the bytes of a client that does not report.
#[derive(Clone, Copy, Debug, Default)]
pub struct Lately {
    bytes: ByteCount,
    /// The time in which these bytes were used, at least a minute. [`Lately::before`] begins it with a whole minute, so it can be up to a
    /// minute longer than the window.
    span: Duration,
    /// The end of this time: now, or the end of the provider's count.
    until: Timestamp,
    /// The books' time.
    now: Timestamp,
}

impl Lately {
    /// What was used in the five minutes before the books' time, or before the end of the count if that rate is higher.
    pub fn of(books: &Books) -> Self {
        let Snapshot { figures, measured, .. } = books.snapshot();
        let reported = Self::before(books, figures.now, figures.now, WINDOW);
        // If the count is younger than a minute, the last minutes before now are as good. If it is too old, it says nothing about now.
        let is_usable = |as_of: &Timestamp| {
            !measured.is_stale() && (MINUTE..COUNT_AGE_MAX).contains(&figures.now.since(*as_of))
        };
        let as_of = measured.as_of.filter(is_usable);
        match as_of.map(|as_of| Self::before(books, as_of, figures.now, WINDOW)) {
            Some(counted) if counted.rate() > reported.rate() => counted,
            _ => reported,
        }
    }

    /// So many bytes were reported in the last five minutes.
    #[cfg(test)]
    pub(crate) fn reported(bytes: ByteCount) -> Self {
        Self { bytes, span: WINDOW, ..Self::default() }
    }

    /// What was used in the `window` before `until`, beginning with the first minute that has bytes. Minutes whose spenders are not known
    /// any more are left out, unless no minute would be left.
    fn before(books: &Books, until: Timestamp, now: Timestamp, window: Duration) -> Self {
        let begin = Minute::of(until.minus(window));
        let first_known = Minute::from_end(now.minus(RECENT_MAX));
        let first = if first_known.end() <= until { begin.max(first_known) } else { begin };
        let mut minutes = (first.number()..Minute::from_end(until).number()).map(Minute::new);
        let used = |from, to| books.budget().slice(Interval::new(from, to)).used;
        let has_bytes = |minute: &Minute| used(minute.start(), minute.end()) > ByteCount::ZERO;
        let from = minutes.find(has_bytes).map_or(until, Minute::start);
        Self { bytes: used(from, until), span: until.since(from).max(MINUTE), until, now }
    }

    /// The time that the rate of the last `window` is the average of: it begins with the first minute that has bytes, and is at most
    /// `window`.
    pub fn averaged(books: &Books, window: Duration) -> Duration {
        Self::before(books, books.now(), books.now(), window).span.min(window)
    }

    /// Whether these are the minutes before the end of the provider's count.
    pub fn is_counted(&self) -> bool {
        self.until < self.now
    }

    /// How far back to look for the spenders of these bytes: to the start of the five minutes, at most as far as spenders are known.
    pub fn since(&self) -> Duration {
        self.now.since(self.until).saturating_add(WINDOW).min(RECENT_MAX)
    }

    /// What was used, scaled to five minutes if `span` is longer.
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
    /// The end of the time that the rate is the average of: now, or the end of the provider's count if that shows a higher rate.
    pub until: Timestamp,
    /// When the limit is reached at this rate. `None` if not before the period ends, or if it is already reached.
    pub limit_at: Option<Timestamp>,
}

impl PresentRate {
    /// The rate at the books' time.
    pub fn of(books: &Books) -> Self {
        Self::from(&books.budget().figures(), &Lately::of(books))
    }

    /// The average of the last 15 minutes. Without use in them it is zero, whatever was counted before.
    pub fn of_quarter_hour(snapshot: &Snapshot) -> Self {
        let (bytes, now) = (snapshot.used_lately, snapshot.figures.now);
        Self::from(&snapshot.figures, &Lately { bytes, span: RECENT_MAX, until: now, now })
    }

    fn from(figures: &Figures, lately: &Lately) -> Self {
        let (until, per_second) = (lately.until, lately.rate());
        let rate = BitRate::new(u64::try_from(per_second).unwrap_or(u64::MAX));
        // Bytes, times 8 bits and 1,000 ms. Divided by bits per second, that is milliseconds.
        let left = u128::from(figures.limit.minus(figures.used).get()) * 8_000;
        let millis = left.checked_div(per_second).and_then(|millis| u64::try_from(millis).ok());
        let limit_at =
            millis.filter(|millis| *millis > 0).map(|millis| until.plus_millis(millis).max(figures.now));
        Self { rate, until, limit_at: limit_at.filter(|at| *at < figures.period.end) }
    }
}
