//! The time of the books. It never decreases, and one reading of a clock never makes it jump.

use std::num::NonZeroU128;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::Timestamp;

/// Which start of the machine this is, by the number that the system gives each; `None`: not known, so it equals no other.
pub type Boot = Option<NonZeroU128>;

/// What is stored with the books' time, so that it continues exactly after a restart on the same boot of the machine.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ClockMark {
    boot: Boot,
    since_boot_millis: u64,
    /// Whether a reference clock has agreed with the books' time, and no time was lost since.
    is_confirmed: bool,
    /// Whether the books' time is in doubt since the machine has started.
    is_in_doubt: bool,
}

impl ClockMark {
    /// Whether it was stored on this boot of the machine.
    pub fn is_of(&self, boot: Boot) -> bool {
        boot.is_some() && boot == self.boot
    }
}

/// One reading of the clocks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Moment {
    /// The time of the books.
    pub now: Timestamp,
    /// The wall clock.
    pub wall: Timestamp,
    /// How far the books' time has jumped with this reading, because a jump of the wall clock was accepted.
    pub jumped: Duration,
    /// Whether a clock may have been wrong on either side of that jump, so that less time or none has passed.
    pub may_be_wrong: bool,
    /// Whether the wall clock is ahead by a jump that no reference clock has confirmed or contradicted since.
    pub in_doubt: bool,
    /// Stored with the books' time.
    pub mark: ClockMark,
}

impl Moment {
    /// Whether the books may lag behind the true time: the machine has started and nothing has settled for how long it was off,
    /// or a reference clock is later.
    pub const fn may_lag(&self) -> bool {
        self.mark.is_in_doubt
    }
}

impl From<Timestamp> for Moment {
    /// A wall clock that agrees with the books.
    fn from(now: Timestamp) -> Self {
        let mark = ClockMark::default();
        Self { now, wall: now, jumped: Duration::ZERO, may_be_wrong: false, in_doubt: false, mark }
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
/// clock confirms the jump, or until the same jump has lasted 300 s and no reference clock contradicts it. A wall clock that is
/// ahead after a start of the machine has jumped too. Pure.
#[derive(Debug)]
pub struct SteadyTime {
    boot: Boot,
    /// The last accepted wall time, and the time since boot at its reading.
    anchor: (Timestamp, Duration),
    /// The time since boot when the wall clock was first seen ahead by this jump, and how far.
    ahead_since: Option<(Duration, Duration)>,
    /// The latest time of the reference clock, which another machine has, and the time since boot when it arrived.
    reference: Option<(Timestamp, Duration)>,
    /// See [`ClockMark`].
    is_confirmed: bool,
    /// The time since boot when this process began, if it is not known for how long the machine was off before.
    doubt_since: Option<Duration>,
}

impl SteadyTime {
    /// The time of a new ledger.
    pub fn new(now: Timestamp, boot: Boot, since_boot: Duration) -> Self {
        let anchor = (now, since_boot);
        Self { boot, anchor, ahead_since: None, reference: None, is_confirmed: false, doubt_since: None }
    }

    /// Time that continues from `then`, the latest stored instant. On the same boot the time since then is known; on another
    /// one it is in doubt.
    pub fn restore(then: Timestamp, mark: ClockMark, boot: Boot, since_boot: Duration) -> Self {
        let stored = Duration::from_millis(mark.since_boot_millis);
        let is_same = mark.is_of(boot) && stored <= since_boot;
        Self {
            anchor: (then, if is_same { stored } else { since_boot }),
            is_confirmed: mark.is_confirmed,
            doubt_since: (!is_same || mark.is_in_doubt).then_some(since_boot),
            ..Self::new(then, boot, since_boot)
        }
    }

    /// Time that continues from `then`, which another process stored and this one saw at this time since boot. So the time since then is
    /// known on any machine, and a wall clock that is ahead has jumped, as in a running process.
    pub fn following(then: Timestamp, mark: ClockMark, boot: Boot, seen_at: Duration) -> Self {
        Self {
            is_confirmed: mark.is_confirmed,
            doubt_since: mark.is_in_doubt.then_some(seen_at),
            ..Self::new(then, boot, seen_at)
        }
    }

    /// The moment at a reading of both clocks.
    pub fn read(&mut self, wall: Timestamp, since_boot: Duration) -> Moment {
        let (then, at) = self.anchor;
        let steady = then.plus(since_boot.saturating_sub(at));
        let ahead = wall.since(steady);
        let has_jumped = ahead > JUMP;
        let has_lasted = self.lasts(has_jumped.then_some(ahead), since_boot);
        let verdict = self.confirms(wall, since_boot);
        let is_refused = steady > wall || has_jumped && !verdict.unwrap_or(has_lasted);
        let now = if is_refused { steady } else { wall };
        let jumped = if has_jumped && !is_refused { ahead } else { Duration::ZERO };
        if !is_refused {
            self.ahead_since = None;
            self.anchor = (wall, since_boot);
        }
        // In a pause the time since boot stands still, so a reference clock from before the jump knows nothing about it.
        let told = self.reference.zip(self.ahead_since).filter(|((_, at), (since, _))| at > since);
        let in_doubt = has_jumped && is_refused && told.and(verdict).is_none();
        let was_confirmed =
            self.update_confirmed(now, since_boot, has_jumped && is_refused, !jumped.is_zero());
        let is_known = was_confirmed && self.is_confirmed;
        let may_be_wrong = !is_known && !jumped.is_zero();
        Moment { now, wall, jumped, may_be_wrong, in_doubt, mark: self.mark(now, since_boot) }
    }

    fn mark(&self, now: Timestamp, since_boot: Duration) -> ClockMark {
        ClockMark {
            boot: self.boot,
            since_boot_millis: u64::try_from(since_boot.as_millis()).unwrap_or(u64::MAX),
            is_confirmed: self.is_confirmed,
            is_in_doubt: self
                .doubt_since
                .is_some_and(|since| since_boot.saturating_sub(since) < DOUBT || self.lags(now, since_boot)),
        }
    }

    /// Takes what a reference clock and an accepted jump say about the time in which the machine was off. Returns whether the books'
    /// time was confirmed up to here.
    fn update_confirmed(
        &mut self,
        now: Timestamp,
        since_boot: Duration,
        is_ahead: bool,
        has_jumped: bool,
    ) -> bool {
        // The machine was off for a time that no clock shows.
        let is_unknown = self.doubt_since.is_some() && !is_ahead && !has_jumped;
        let was_confirmed = self.is_confirmed && !is_unknown;
        let verdict = self.confirms(now, since_boot);
        let is_kept = was_confirmed && !has_jumped && !self.lags(now, since_boot);
        self.is_confirmed = verdict.unwrap_or(is_kept);
        if verdict == Some(true) || has_jumped {
            self.doubt_since = None;
        }
        was_confirmed
    }

    /// Takes the time of the reference clock, which has just arrived from another machine. It decides only whether a jump of the wall clock
    /// is accepted, and whether the books' time is in doubt.
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

    /// Whether the reference clock agrees with a time to within [`JUMP`]. `None` without one, and if it is later.
    fn confirms(&self, time: Timestamp, since_boot: Duration) -> Option<bool> {
        let date = self.date(since_boot)?;
        if time > date.plus(JUMP) {
            return Some(false);
        }
        (time.plus(JUMP) >= date).then_some(true)
    }

    /// Whether the reference clock shows that the books are behind.
    fn lags(&self, now: Timestamp, since_boot: Duration) -> bool {
        self.date(since_boot).is_some_and(|date| date > now.plus(JUMP))
    }

    /// The reference clock's time now; `None` if it was read too long ago.
    fn date(&self, since_boot: Duration) -> Option<Timestamp> {
        let (date, at) = self.reference?;
        let age = since_boot.saturating_sub(at);
        (age <= REFERENCE_AGE_MAX).then(|| date.plus(age))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn secs(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    fn new(seconds: i64, since_boot: u64) -> SteadyTime {
        SteadyTime::new(Timestamp::from_millis(seconds * 1_000), NonZeroU128::new(1), secs(since_boot))
    }

    #[test]
    fn time_continues_at_its_pace_while_the_wall_clock_is_behind() {
        let wall = Timestamp::from_millis;
        let mut steady = new(9, 70);
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
        let mut steady = new(1_000, 0);
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
        let mut steady = new(1_000, 0);
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
        let mut steady = new(1_000, 0);
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
        let mut steady = new(1_000, 0);
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
    fn a_reference_clock_from_before_a_jump_leaves_it_in_doubt() {
        let mut steady = new(1_000, 0);
        let mut read = |reference: Option<(i64, u64)>, since_boot| {
            if let Some((date, at)) = reference {
                steady.set_reference(Timestamp::from_millis(date * 1_000), secs(at));
            }
            let moment = steady.read(Timestamp::from_millis((9_000 + MONTH) * 1_000), secs(since_boot));
            (moment.now.as_secs(), moment.in_doubt)
        };
        assert_eq!(read(Some((1_010, 10)), 10), (1_010, true));
        assert_eq!(read(None, 20), (1_020, true));
        assert_eq!(read(Some((1_030, 30)), 30), (1_030, false), "the wall clock is wrong");
    }

    #[test]
    fn a_jump_that_a_reference_clock_confirms_is_accepted_at_once() {
        for (date, now) in
            [(0, 1_010 + MONTH), (60, 1_010 + MONTH), (61, 1_010), (-60, 1_010 + MONTH), (-61, 1_010)]
        {
            let mut steady = new(1_000, 0);
            assert_eq!(read(&mut steady, 1_000, 0), 1_000);
            steady.set_reference(Timestamp::from_millis((1_010 + MONTH + date) * 1_000), secs(10));
            assert_eq!(read(&mut steady, 1_010 + MONTH, 10), now, "{date}");
        }
    }

    /// The time after a crash at `then`, 100 s since the first boot, with the clocks of the new process.
    fn after_crash(then: i64, last: &Moment, boot: u128, since_boot: u64) -> SteadyTime {
        let then = Timestamp::from_millis(then * 1_000);
        SteadyTime::restore(then, last.mark, NonZeroU128::new(boot), secs(since_boot))
    }

    fn at_crash(has_reference: bool) -> Moment {
        let mut steady = new(900, 0);
        let then = Timestamp::from_millis(1_000_000);
        if has_reference {
            steady.set_reference(then, secs(100));
        }
        steady.read(then, secs(100))
    }

    #[test]
    fn a_restart_on_the_same_boot_continues_exactly_whatever_the_wall_clock_says() {
        for wall in [0, 1_000, 1_030, 9_000, MONTH] {
            let mut steady = after_crash(1_000, &at_crash(false), 1, 130);
            let moment = steady.read(Timestamp::from_millis(wall * 1_000), secs(130));
            assert_eq!((moment.now.as_secs(), moment.may_lag()), (1_030, false), "{wall}");
        }
    }

    #[test]
    fn a_jump_in_doubt_stays_in_doubt_over_a_crash() {
        let mut steady = new(900, 0);
        let last = steady.read(Timestamp::from_millis(9_000_000), secs(100));
        assert!(last.in_doubt);
        let mut steady = after_crash(last.now.as_secs(), &last, 1, 110);
        assert_eq!(read(&mut steady, 9_010, 110), 1_010);
        assert_eq!(read(&mut steady, 9_309, 409), 1_309);
        let moment = steady.read(Timestamp::from_millis(9_310_000), secs(410));
        assert_eq!(
            (moment.now.as_secs(), moment.jumped.as_secs(), moment.may_be_wrong),
            (9_310, 8_000, true)
        );
    }

    #[test]
    fn another_boot_is_in_doubt_until_a_reference_clock_or_time_settles_it() {
        // An unknown boot, and a time since boot that has decreased, are another boot too.
        for (boot, wall) in [(2, 1_000), (2, 1_050), (2, 400), (2, 4_600), (0, 1_000), (1, 1_000)] {
            let since = 10;
            let last = if boot == 0 {
                Moment { mark: ClockMark::default(), ..at_crash(true) }
            } else {
                at_crash(true)
            };
            let read = |steady: &mut SteadyTime, later: u64| {
                let wall = Timestamp::from_millis(wall * 1_000).plus(secs(later));
                steady.read(wall, secs(since + later))
            };
            let mut steady = after_crash(1_000, &last, boot, since);
            assert!(read(&mut steady, 0).may_lag() && read(&mut steady, 299).may_lag(), "{boot} {wall}");
            assert!(!read(&mut steady, 300).may_lag(), "{boot} {wall}: by time");
            let mut steady = after_crash(1_000, &last, boot, since);
            let now = read(&mut steady, 0).now;
            steady.set_reference(now.max(Timestamp::from_millis(wall * 1_000)), secs(since));
            assert!(!read(&mut steady, 1).may_lag(), "{boot} {wall}: by a reference clock");
        }
    }

    #[test]
    fn a_restart_of_the_process_does_not_settle_the_doubt_about_another_boot() {
        let mut steady = after_crash(1_000, &at_crash(true), 2, 10);
        let last = steady.read(Timestamp::from_millis(1_000_000), secs(10));
        let mut steady = after_crash(1_000, &last, 2, 20);
        assert!(steady.read(Timestamp::from_millis(1_010_000), secs(20)).may_lag());
    }

    #[test]
    fn a_follower_on_another_machine_continues_what_it_saw_and_does_not_follow_a_jump() {
        for (wall, now) in [(0, 1_005), (1_005, 1_005), (1_065, 1_065), (1_066, 1_005), (MONTH, 1_005)] {
            let last = at_crash(true);
            let mut steady = SteadyTime::following(last.now, last.mark, NonZeroU128::new(2), secs(7));
            let moment = steady.read(Timestamp::from_millis(wall * 1_000), secs(12));
            assert_eq!((moment.now.as_secs(), moment.may_lag()), (now, false), "{wall}");
            assert_eq!(moment.in_doubt, wall > 1_065, "{wall}");
        }
    }

    #[test]
    fn a_follower_keeps_the_doubt_of_the_process_before_it() {
        let mut doubtful = after_crash(1_000, &at_crash(true), 2, 10);
        let last = doubtful.read(Timestamp::from_millis(1_000_000), secs(10));
        let mut steady = SteadyTime::following(last.now, last.mark, NonZeroU128::new(3), secs(500));
        let mut lags =
            |since_boot| steady.read(Timestamp::from_millis(1_000_000), secs(since_boot)).may_lag();
        assert!(lags(500) && lags(799) && !lags(800));
    }

    #[test]
    fn the_time_that_the_machine_was_off_is_known_if_a_reference_clock_agreed_before_and_after() {
        for (before, after, may_be_wrong) in
            [(true, true, false), (true, false, true), (false, true, true), (false, false, true)]
        {
            let mut steady = after_crash(1_000, &at_crash(before), 2, 5);
            let wall = Timestamp::from_millis(9_000_000);
            assert_eq!(steady.read(wall, secs(5)).now.as_secs(), 1_000);
            if after {
                steady.set_reference(wall, secs(5));
            }
            let moment = steady.read(wall.plus(secs(300)), secs(305));
            assert_eq!(moment.jumped.as_secs(), 8_000);
            assert_eq!(moment.may_be_wrong, may_be_wrong, "{before} {after}");
        }
    }

    #[test]
    fn a_clock_that_is_behind_at_one_start_and_right_at_the_next_may_have_lost_time() {
        // The wall clock lags by an hour after the second start of the machine, and is corrected later.
        let mut steady = after_crash(1_000, &at_crash(true), 2, 5);
        assert_eq!(read(&mut steady, 900, 5), 1_000);
        let last = steady.read(Timestamp::from_millis(1_300_000), secs(405));
        assert_eq!((last.now.as_secs(), last.may_lag()), (1_400, false), "time has settled it");
        for (boot, since_boot) in [(2, 405), (3, 5)] {
            let mut steady = after_crash(1_400, &last, boot, since_boot);
            let wall = Timestamp::from_millis(4_900_000);
            steady.set_reference(wall, secs(since_boot));
            let moment = steady.read(wall, secs(since_boot));
            assert_eq!((moment.jumped.as_secs(), moment.may_be_wrong), (3_500, true), "{boot}");
        }
    }

    #[test]
    fn a_reference_clock_that_is_later_keeps_another_boot_in_doubt() {
        for (date, may_lag) in [(1_361, true), (1_360, false), (1_300, false), (100, false)] {
            let mut steady = after_crash(1_000, &at_crash(true), 2, 5);
            steady.set_reference(Timestamp::from_millis(date * 1_000), secs(305));
            let moment = steady.read(Timestamp::from_millis(1_000_000), secs(305));
            assert_eq!((moment.now.as_secs(), moment.may_lag()), (1_300, may_lag), "{date}");
        }
    }
}
