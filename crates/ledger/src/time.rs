//! The time of the books. It never decreases, and one reading of a clock never makes it jump.

use std::time::Duration;

use crate::units::Timestamp;

/// One reading of the clocks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Moment {
    /// The time of the books.
    pub now: Timestamp,
    /// The wall clock.
    pub wall: Timestamp,
    /// How far the books' time has jumped with this reading, because a jump of the wall clock was accepted.
    pub jumped: Duration,
    /// Whether the wall clock is ahead by a jump that is neither confirmed nor contradicted.
    pub in_doubt: bool,
}

impl From<Timestamp> for Moment {
    /// A wall clock that agrees with the books.
    fn from(now: Timestamp) -> Self {
        Self { now, wall: now, jumped: Duration::ZERO, in_doubt: false }
    }
}

/// A wall clock that is further ahead than this has jumped. Drift is slower.
const JUMP: Duration = Duration::from_secs(60);
/// A jump ahead is accepted after this time. A clock that was set wrong by mistake is usually corrected before.
const DOUBT: Duration = Duration::from_secs(300);
/// A reference clock counts for this time. The time since boot drifts by less than a second meanwhile.
const REFERENCE_AGE_MAX: Duration = Duration::from_secs(3_600);

/// Wall time that never steps back, never stands still, and does not follow a short jump of the wall clock. When the
/// wall clock steps back, time continues from the latest instant at the pace of the time since boot, which includes sleep,
/// until the wall clock has caught up. When the wall clock jumps ahead, time continues in the same way until a reference
/// clock confirms the jump, or until the same jump has lasted 300 s and no reference clock contradicts it. Pure.
#[derive(Debug)]
pub struct SteadyTime {
    /// The last accepted wall time, and the time since boot at its reading.
    anchor: (Timestamp, Duration),
    /// The time since boot when the wall clock was first seen ahead by this jump, and how far.
    ahead_since: Option<(Duration, Duration)>,
    /// The latest time of the reference clock, which another machine has, and the time since boot when it arrived.
    reference: Option<(Timestamp, Duration)>,
    /// Whether no wall clock was read yet. The first reading is accepted if it is later than the anchor.
    is_new: bool,
}

impl SteadyTime {
    /// Time that continues from `then`, the latest stored instant, at this time since boot.
    #[must_use]
    pub fn from(then: Timestamp, since_boot: Duration) -> Self {
        Self { anchor: (then, since_boot), ahead_since: None, reference: None, is_new: true }
    }

    /// The moment at a reading of both clocks.
    pub fn read(&mut self, wall: Timestamp, since_boot: Duration) -> Moment {
        let (then, at) = self.anchor;
        let steady = then.plus(since_boot.saturating_sub(at));
        let ahead = wall.since(steady);
        let has_jumped = !std::mem::take(&mut self.is_new) && ahead > JUMP;
        let has_lasted = self.lasts(has_jumped.then_some(ahead), since_boot);
        let verdict = self.confirms(wall, since_boot);
        if steady > wall || has_jumped && !verdict.unwrap_or(has_lasted) {
            let in_doubt = has_jumped && verdict.is_none();
            return Moment { now: steady, wall, jumped: Duration::ZERO, in_doubt };
        }
        self.ahead_since = None;
        self.anchor = (wall, since_boot);
        let jumped = if has_jumped { ahead } else { Duration::ZERO };
        Moment { now: wall, wall, jumped, in_doubt: false }
    }

    /// Takes the time of the reference clock, which has just arrived from another machine. It decides only whether a jump of the wall clock
    /// is accepted.
    pub fn set_reference(&mut self, date: Timestamp, since_boot: Duration) {
        self.reference = Some((date, since_boot));
    }

    /// Whether the wall clock is ahead by the same jump for [`DOUBT`]. If the jump changes by more than [`JUMP`], the doubt
    /// begins again, so a jump that happens at its end is not accepted with it. `None`: it is not ahead.
    fn lasts(&mut self, ahead: Option<Duration>, since_boot: Duration) -> bool {
        let same = |first: Duration, ahead: Duration| first.abs_diff(ahead) <= JUMP;
        self.ahead_since = ahead.map(|ahead| match self.ahead_since {
            Some((since, first)) if same(first, ahead) => (since, first),
            _ => (since_boot, ahead),
        });
        self.ahead_since.is_some_and(|(since, _)| since_boot.saturating_sub(since) >= DOUBT)
    }

    /// Whether the reference clock agrees with the wall clock to within [`JUMP`]. `None` without one, and if it is later.
    fn confirms(&self, wall: Timestamp, since_boot: Duration) -> Option<bool> {
        let (date, at) = self.reference?;
        let age = since_boot.saturating_sub(at);
        let date = date.plus(age);
        match () {
            () if age > REFERENCE_AGE_MAX => None,
            () if wall > date.plus(JUMP) => Some(false),
            () => (wall.plus(JUMP) >= date).then_some(true),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn secs(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    #[test]
    fn time_continues_at_its_pace_while_the_wall_clock_is_behind() {
        let wall = Timestamp::from_millis;
        let mut steady = SteadyTime::from(wall(9_000), secs(70));
        let mut read =
            |at, micros| steady.read(wall(at), secs(70) + Duration::from_micros(micros)).now.as_millis();
        assert_eq!(read(10_000, 0), 10_000);
        assert_eq!(read(4_000, 500_000), 10_500, "set back by six seconds and a half");
        for micros in 500_000..502_500 {
            let _ = read(4_000, micros);
        }
        assert_eq!(read(4_000, 2_000_000), 12_000, "many readings within a millisecond lose no time");
        assert_eq!(read(12_500, 2_400_000), 12_500, "caught up");
        assert_eq!(read(72_000, 2_500_000), 72_000, "a step ahead of a minute is accepted");
    }

    const MONTH: i64 = 2_678_400;

    /// The books' time in seconds, read at these seconds of the wall clock and since boot.
    fn read(steady: &mut SteadyTime, wall: i64, since_boot: u64) -> i64 {
        steady.read(Timestamp::from_millis(wall * 1_000), secs(since_boot)).now.as_secs()
    }

    #[test]
    fn a_jump_ahead_is_accepted_once_it_has_lasted() {
        let mut steady = SteadyTime::from(Timestamp::from_millis(0), secs(0));
        let mut read = |wall, since_boot| read(&mut steady, wall, since_boot);
        assert_eq!(read(1_000, 0), 1_000, "the first reading is accepted");
        assert_eq!(read(1_000 + MONTH, 10), 1_010);
        assert_eq!(read(1_200 + MONTH, 200), 1_200, "not yet");
        assert_eq!(read(1_250, 250), 1_250, "the clock was corrected");
        assert_eq!(read(1_260 + MONTH, 260), 1_260);
        assert_eq!(read(1_559 + MONTH, 559), 1_559, "the delay starts again");
        assert_eq!(read(1_560 + MONTH, 560), 1_560 + MONTH, "the jump has lasted");
        assert_eq!(read(1_561, 561), 1_561 + MONTH, "time never decreases");
    }

    #[test]
    fn a_jump_at_the_end_of_the_doubt_is_not_accepted_with_the_first_one() {
        let mut steady = SteadyTime::from(Timestamp::from_millis(0), secs(0));
        assert_eq!(read(&mut steady, 1_000, 0), 1_000);
        assert_eq!(read(&mut steady, 9_010, 10), 1_010);
        assert_eq!(read(&mut steady, 9_309 + MONTH, 309), 1_309, "a further jump");
        assert_eq!(read(&mut steady, 9_310 + MONTH, 310), 1_310, "the doubt begins again");
        assert_eq!(read(&mut steady, 9_311, 311), 1_311, "and again");
        assert_eq!(read(&mut steady, 9_610, 610), 1_610);
        assert_eq!(read(&mut steady, 9_651, 611), 9_651, "a small step changes nothing");
    }

    #[test]
    fn an_accepted_jump_is_stated_once() {
        let mut steady = SteadyTime::from(Timestamp::from_millis(0), secs(0));
        let mut read = |wall: i64, since_boot| {
            let moment = steady.read(Timestamp::from_millis(wall * 1_000), secs(since_boot));
            (moment.jumped.as_secs(), moment.in_doubt)
        };
        assert_eq!(read(1_000, 0), (0, false), "the first reading is no jump");
        assert_eq!(read(1_060, 0), (0, false), "nor is a minute");
        assert_eq!(read(9_010, 10), (0, true));
        assert_eq!(read(9_310, 310), (7_940, false));
        assert_eq!(read(9_311, 311), (0, false));
    }

    #[test]
    fn a_jump_that_a_reference_clock_contradicts_is_not_accepted_however_long_it_lasts() {
        let mut steady = SteadyTime::from(Timestamp::from_millis(0), secs(0));
        let set_reference = |steady: &mut SteadyTime, date: i64, since_boot| {
            steady.set_reference(Timestamp::from_millis(date * 1_000), secs(since_boot));
        };
        assert_eq!(read(&mut steady, 1_000, 0), 1_000);
        set_reference(&mut steady, 1_000, 0);
        assert_eq!(read(&mut steady, 1_010 + MONTH, 10), 1_010);
        assert_eq!(read(&mut steady, 4_000 + MONTH, 3_000), 4_000);
        set_reference(&mut steady, 4_000, 3_000);
        assert_eq!(
            read(&mut steady, 7_600 + MONTH, 6_600),
            7_600,
            "the reference clock was read an hour ago"
        );
        assert_eq!(read(&mut steady, 7_601 + MONTH, 6_601), 7_601 + MONTH, "that is too long ago");
    }

    #[test]
    fn a_jump_that_a_reference_clock_confirms_is_accepted_at_once() {
        for (date, now) in
            [(0, 1_010 + MONTH), (60, 1_010 + MONTH), (61, 1_010), (-60, 1_010 + MONTH), (-61, 1_010)]
        {
            let mut steady = SteadyTime::from(Timestamp::from_millis(0), secs(0));
            assert_eq!(read(&mut steady, 1_000, 0), 1_000);
            steady.set_reference(Timestamp::from_millis((1_010 + MONTH + date) * 1_000), secs(10));
            assert_eq!(read(&mut steady, 1_010 + MONTH, 10), now, "{date}");
        }
    }
}
