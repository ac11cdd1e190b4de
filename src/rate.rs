//! The present rate: what was used in the last five minutes, and when the limit is reached if it goes on like this.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use turn_ledger::{BitRate, Books, ByteCount, Minute, Snapshot, Timestamp};

/// How much of the past a rate is the average of.
const WINDOW: Duration = Duration::from_secs(300);
/// A rate is the average of at least this time.
const MINUTE: Duration = Duration::from_secs(60);

/// The rate at which the budget is used.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PresentRate {
    /// Billed bits per second.
    pub rate: BitRate,
    /// The end of the time that it is the average of: now, or the end of the provider's count while nothing later is known.
    pub until: Timestamp,
    /// When the limit is reached at this rate. `None` if not before the period ends, or if it is reached.
    pub limit_at: Option<Timestamp>,
}

impl PresentRate {
    /// The rate at the books' time.
    pub fn of(books: &Books) -> Self {
        let Snapshot { figures, measured, live_grants, .. } = books.snapshot();
        let now = figures.now;
        let (mut bytes, mut span) = used_before(books, now);
        let mut until = now;
        // Without reports, only the provider sees what live grants use, minutes later.
        if bytes == 0 && live_grants > 0 && !measured.is_stale() {
            until = measured.as_of.unwrap_or(now);
            (bytes, span) = used_before(books, until);
            if bytes == 0 {
                until = now;
            }
        }
        let per_second = u128::from(bytes) * 8_000 / span.as_millis().max(1);
        let rate = BitRate::new(u64::try_from(per_second).unwrap_or(u64::MAX));
        let left = u128::from(figures.limit.minus(figures.used).get()) * 8_000;
        let millis = left.checked_div(per_second).and_then(|millis| u64::try_from(millis).ok());
        let limit_at = millis.filter(|millis| *millis > 0).map(|millis| until.plus_millis(millis).max(now));
        Self { rate, until, limit_at: limit_at.filter(|at| *at < figures.period.end) }
    }
}

/// Bytes of the minutes before `until`, and the time in which they were used. It begins with the first minute that has some.
fn used_before(books: &Books, until: Timestamp) -> (u64, Duration) {
    let mut minutes =
        (Minute::of(until.minus(WINDOW)).number()..Minute::from_end(until).number()).map(Minute::new);
    let is_used = |minute: &Minute| books.ledger().slice(minute.start(), minute.end()).used > ByteCount::ZERO;
    let Some(first) = minutes.find(is_used) else { return (0, MINUTE) };
    let span = until.since(first.start());
    (books.ledger().slice(first.start(), until).used.get(), span.max(MINUTE))
}
