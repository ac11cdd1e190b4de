//! The time of the books. It never runs back, and never jumps on the word of one clock reading.

use std::time::{Duration, Instant};

use crate::units::Timestamp;

/// One reading of the clocks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Moment {
    /// The time of the books.
    pub now: Timestamp,
    /// The wall clock.
    pub wall: Timestamp,
}

impl From<Timestamp> for Moment {
    /// A wall clock that agrees with the books.
    fn from(now: Timestamp) -> Self {
        Self { now, wall: now }
    }
}

/// A wall clock that is further ahead than this has jumped: no clock drifts so fast.
const JUMP: Duration = Duration::from_secs(60);
/// A jump ahead is believed after so long: a clock that was set wrong for a moment is most likely set right again, and a
/// machine that slept has time.
const DOUBT: Duration = Duration::from_secs(300);

/// Wall time that neither runs back, nor stands still, nor follows a clock that was ahead for a moment. When the wall
/// clock steps back, time goes on from the latest instant seen at the pace of the monotonic clock, until the wall clock
/// has caught up; when it jumps ahead, likewise, until it has been ahead for [`DOUBT`]. Pure.
#[derive(Debug)]
pub struct SteadyTime {
    /// The last instant at which wall time was believed, and when that was.
    anchor: (Timestamp, Instant),
    /// Since when the wall clock is ahead by a jump.
    ahead_since: Option<Instant>,
    /// No wall clock was read yet: whatever it says is believed if it is later.
    is_new: bool,
}

impl SteadyTime {
    /// Time that goes on from `then`, which was at `instant`: the latest that is known from before, as from disk.
    #[must_use]
    pub fn from(then: Timestamp, instant: Instant) -> Self {
        Self { anchor: (then, instant), ahead_since: None, is_new: true }
    }

    /// The moment at a reading of both clocks.
    pub fn read(&mut self, wall: Timestamp, instant: Instant) -> Moment {
        Moment { now: self.steady(wall, instant), wall }
    }

    fn steady(&mut self, wall: Timestamp, instant: Instant) -> Timestamp {
        let (then, at) = self.anchor;
        let steady = then.plus(instant.saturating_duration_since(at));
        let has_jumped = !std::mem::take(&mut self.is_new) && wall > steady.plus(JUMP);
        let ahead_since = *self.ahead_since.get_or_insert(instant);
        let in_doubt = has_jumped && instant.saturating_duration_since(ahead_since) < DOUBT;
        if steady > wall || in_doubt {
            self.ahead_since = self.ahead_since.filter(|_| has_jumped);
            return steady;
        }
        self.ahead_since = None;
        self.anchor = (wall, instant);
        wall
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    #[expect(clippy::disallowed_methods, reason = "an instant cannot be made otherwise")]
    fn time_goes_on_at_its_pace_while_the_wall_clock_is_behind() {
        let start = Instant::now();
        let wall = Timestamp::from_millis;
        let mut steady = SteadyTime::from(wall(9_000), start);
        let mut read =
            |at, micros| steady.read(wall(at), start + Duration::from_micros(micros)).now.as_millis();
        assert_eq!(read(10_000, 0), 10_000);
        assert_eq!(read(4_000, 500_000), 10_500, "set back by six seconds and a half");
        for micros in 500_000..502_500 {
            let _ = read(4_000, micros);
        }
        assert_eq!(read(4_000, 2_000_000), 12_000, "many readings within a millisecond lose nothing");
        assert_eq!(read(12_500, 2_400_000), 12_500, "caught up");
        assert_eq!(read(72_000, 2_500_000), 72_000, "a step ahead is believed");
    }

    #[test]
    #[expect(clippy::disallowed_methods, reason = "an instant cannot be made otherwise")]
    fn a_jump_ahead_is_believed_when_it_lasts() {
        const MONTH: i64 = 2_678_400;
        let start = Instant::now();
        let wall = |seconds: i64| Timestamp::from_millis(seconds * 1_000);
        let mut steady = SteadyTime::from(wall(0), start);
        let mut read =
            |at: i64, seconds| steady.read(wall(at), start + Duration::from_secs(seconds)).now.as_secs();
        assert_eq!(read(1_000, 0), 1_000, "what the clock says at start is believed");
        assert_eq!(read(1_000 + MONTH, 10), 1_010);
        assert_eq!(read(1_200 + MONTH, 200), 1_200, "not yet");
        assert_eq!(read(1_250, 250), 1_250, "it was set right again");
        assert_eq!(read(1_260 + MONTH, 260), 1_260);
        assert_eq!(read(1_559 + MONTH, 559), 1_559, "the doubt began anew");
        assert_eq!(read(1_560 + MONTH, 560), 1_560 + MONTH, "it has lasted");
        assert_eq!(read(1_561, 561), 1_561 + MONTH, "and is never taken back");
    }
}
