//! The present rate: what was used in the last minutes, and when the limit is reached if use goes on like this.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use turn_ledger::{
    BitRate, Books, ByteCount, Figures, Interval, Minute, RECENT_MAX, RecentTime, Snapshot, Timestamp,
};

/// The length of the time that "now" covers, where nothing else is asked for.
pub const WINDOW: Duration = Duration::from_secs(300);
/// The shortest time that a rate is the average of.
const MINUTE: Duration = Duration::from_secs(60);

/// A limit that is reached within this time at the present rate is near.
pub const NEAR: Duration = Duration::from_secs(86_400);
/// And within this time, very near.
pub const VERY_NEAR: Duration = Duration::from_secs(3_600);

/// A count that ended longer ago says nothing about now: the longest lag, and ten minutes.
const COUNT_AGE_MAX: Duration = Duration::from_secs(4_200);

/// What was used in the last minutes before now, as reported. If the provider's count shows a higher rate, the last minutes before the end
/// of the count: only a count has the bytes of a client that does not report. This is the one meaning of "now" for the operator.
#[derive(Clone, Copy, Debug)]
pub struct Lately {
    bytes: ByteCount,
    /// The time in which these bytes were used, at least a minute. [`Lately::before`] begins it with a whole minute, so it can be up to a
    /// minute longer than the window.
    span: Duration,
    /// The end of this time: now, or the end of the provider's count.
    until: Timestamp,
    /// The time in which spenders have used these bytes, and those that are in no sum yet.
    pub time: RecentTime,
}

impl Lately {
    /// What was used in the `window` before the books' time, or before the end of the count if that rate is higher.
    pub fn of(books: &Books, window: Duration) -> Self {
        let Snapshot { figures, measured, .. } = books.snapshot();
        let reported = Self::before(books, figures.now, figures.now, window);
        // If the count is younger than a minute, the last minutes before now are as good. If it is too old, it says nothing about now.
        let is_usable = |as_of: &Timestamp| {
            !measured.is_stale() && (MINUTE..COUNT_AGE_MAX).contains(&figures.now.since(*as_of))
        };
        let Some(as_of) = measured.as_of.filter(is_usable) else { return reported };
        let counted = Self::before(books, as_of, figures.now, window);
        // The spenders' bytes are of the same time, which is shorter than the window where its first minutes are not known any more.
        let span = Interval::new(as_of.minus(counted.averaged()), as_of);
        let time = RecentTime { counted: Some(span), ..reported.time };
        let higher = if counted.rate() > reported.rate() { counted } else { reported };
        Self { time, ..higher }
    }

    /// So many bytes were reported in the last five minutes.
    #[cfg(test)]
    pub(crate) fn reported(bytes: ByteCount) -> Self {
        let now = Timestamp::default().plus(WINDOW);
        let time = RecentTime { reported: Interval::new(Timestamp::default(), now), counted: None };
        Self { bytes, span: WINDOW, until: now, time }
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
        let time = RecentTime { reported: Interval::new(now.minus(window), now), counted: None };
        Self { bytes: used(from, until), span: until.since(from).max(MINUTE), until, time }
    }

    /// The time that a rate is the average of: it begins with the first minute that has bytes, and is at most as long as the window.
    pub fn averaged(&self) -> Duration {
        self.span.min(Duration::from_millis(self.time.reported.millis()))
    }

    /// What was used, scaled to the window if `span` is longer.
    pub fn bytes(&self) -> ByteCount {
        let part = self.averaged().as_millis();
        ByteCount::saturating(u128::from(self.bytes.get()) * part / self.span.as_millis().max(1))
    }

    /// Billed bits per second.
    fn rate(&self) -> u128 {
        u128::from(self.bytes.get()) * 8_000 / self.span.as_millis().max(1)
    }
}

/// The rate at which the budget is used.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
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
        Self::from(&books.budget().figures(), &Lately::of(books, WINDOW))
    }

    /// The time until the limit is reached at this rate, if it is near at `now`.
    pub fn left(&self, now: Timestamp) -> Option<Duration> {
        self.limit_at.map(|at| at.since(now)).filter(|left| *left < NEAR)
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
