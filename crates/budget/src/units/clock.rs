//! The time of the books. Tests: `src/units/clock_tests.rs`.
//! It never decreases, and one reading of a clock never makes it jump.

use std::num::NonZeroU128;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::units::Timestamp;

/// How far the provider's clock may differ from the books' time. If it differs by more, the overshoot bound may not
/// hold.
pub const REFERENCE_DIFFERENCE_TOLERATED: Duration = Duration::from_secs(120);
const _: () =
    assert!(REFERENCE_DIFFERENCE_TOLERATED.as_secs().is_multiple_of(60), "promises are whole minutes");

/// Which start of the machine this is: the number that the system gives each start. `None`: unknown, so it equals no other.
pub type Boot = Option<NonZeroU128>;

/// What is stored with the books' time, so that it continues exactly after a restart on the same boot of the machine.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ClockMark {
    /// The boot on which it was stored.
    boot: Boot,
    /// The time since that boot when it was stored.
    since_boot_millis: u64,
    /// Whether a reference clock has agreed with the books' time, and nothing has put it in question since: no reference clock, no jump
    /// that the books have followed, and no unknown time in which the machine was off.
    is_confirmed: bool,
    /// Whether the books' time may lag since a start of the machine: see [`Moment::may_lag`].
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
    /// How far the books' time has jumped with this reading, because a jump of a clock was accepted.
    pub jumped: Duration,
    /// Whether a clock may have been wrong before or after the jump that `jumped` measures. Then less time has passed than `jumped`, or
    /// none.
    pub may_be_wrong: bool,
    /// Whether the wall clock is ahead by a jump that no reference clock has confirmed or contradicted since the jump.
    pub in_doubt: bool,
    /// For how long the wall clock has been ahead by a jump that is not accepted. Zero without such a jump.
    pub ahead_for: Duration,
    /// How far the reference clock is from the books' time. Zero if no reference clock was read in the last hour.
    pub differs_by: Duration,
    /// Stored with the books' time.
    pub mark: ClockMark,
}

/// Why the books' time may not be the true one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ClockDoubt {
    /// The machine has started again, and it is unknown for how long it was off. Or its time since boot has jumped ahead.
    Start,
    /// The wall clock has jumped ahead, and it is unknown whether it is right.
    Jump,
}

impl Moment {
    /// Whether the books may lag behind the true time after a start of the machine or a jump of its time since boot: nothing has shown yet
    /// how much time has passed, or a reference clock is later.
    pub const fn may_lag(&self) -> bool {
        self.mark.is_in_doubt
    }

    /// Why the books' time may not be the true one; `None` without a doubt.
    pub fn doubt(&self) -> Option<ClockDoubt> {
        if self.may_lag() { Some(ClockDoubt::Start) } else { self.in_doubt.then_some(ClockDoubt::Jump) }
    }

    /// Whether the books' time may not be the true one, so a reference clock must be asked: the wall clock is ahead by a jump that is not
    /// accepted, or [`Self::may_lag`]. The question must be possible while the time is uncertain: it must not need what the broker refuses
    /// then.
    pub fn is_uncertain(&self) -> bool {
        self.wall.since(self.now) > JUMP || self.may_lag()
    }
}

impl From<Timestamp> for Moment {
    /// A wall clock that agrees with the books.
    fn from(now: Timestamp) -> Self {
        let mark = ClockMark::default();
        let [jumped, ahead_for, differs_by] = [Duration::ZERO; 3];
        Self { now, wall: now, jumped, may_be_wrong: false, in_doubt: false, ahead_for, differs_by, mark }
    }
}

/// A wall clock that is further ahead than this has jumped. Drift is slower.
const JUMP: Duration = Duration::from_secs(60);
/// A jump ahead is accepted after this time. A clock that was set wrong by mistake is usually corrected before. The doubt after a start of
/// the machine has the same length, if no clock ends or prolongs it.
const DOUBT: Duration = Duration::from_secs(300);
/// A time of the reference clock counts for this long after it arrived. The time since boot drifts by less than a second meanwhile.
const REFERENCE_AGE_MAX: Duration = Duration::from_secs(3_600);

/// Wall time that never steps back, never stands still, and does not follow a short jump of a clock. When the wall clock steps back, time continues from the latest instant at the pace of the time since boot, which includes sleep,
/// until the wall clock has caught up. When the wall clock jumps ahead, time continues in the same way until a reference
/// clock confirms the jump, or until the same jump has lasted 300 s and no reference clock contradicts it. A wall clock that is
/// ahead after a start of the machine has jumped too. When the time since boot jumps ahead of the wall clock, as when a virtual machine is
/// moved, time continues with the wall clock, unless a reference clock confirms the jump. Pure.
#[derive(Debug)]
pub struct SteadyTime {
    boot: Boot,
    /// The last accepted wall time, and the time since boot at its reading.
    anchor: (Timestamp, Duration),
    /// The latest reading: the wall clock and the time since boot. `None` before the first one.
    latest: Option<(Timestamp, Duration)>,
    /// By how much the time since boot has jumped ahead of the wall clock. The anchor leaves it out. Zero without such a jump.
    left_out: Duration,
    /// The time since boot when the wall clock was first seen ahead by the present jump, and how far it was ahead then.
    ahead_since: Option<(Duration, Duration)>,
    /// The latest time of the reference clock, which another machine has, and the time since boot when it arrived.
    reference: Option<(Timestamp, Duration)>,
    /// See [`ClockMark`].
    is_confirmed: bool,
    /// The time since boot from which this process continues the stored time, while it is not known for how long the machine was off
    /// before; otherwise `None`.
    doubt_since: Option<Duration>,
}

impl SteadyTime {
    /// The time of a new ledger.
    pub fn new(now: Timestamp, boot: Boot, since_boot: Duration) -> Self {
        let (latest, left_out, ahead_since, reference, doubt_since) = Default::default();
        let (anchor, is_confirmed) = ((now, since_boot), false);
        Self { boot, anchor, latest, left_out, ahead_since, reference, is_confirmed, doubt_since }
    }

    /// Time that continues from `then`, the latest stored instant. On the boot that stored it, the time since `then` is
    /// known. On another boot it is in doubt.
    pub fn restore(then: Timestamp, mark: ClockMark, boot: Boot, since_boot: Duration) -> Self {
        let stored_at = Duration::from_millis(mark.since_boot_millis);
        let is_same_boot = mark.is_of(boot) && stored_at <= since_boot;
        Self {
            anchor: (then, if is_same_boot { stored_at } else { since_boot }),
            is_confirmed: mark.is_confirmed,
            doubt_since: (!is_same_boot || mark.is_in_doubt).then_some(since_boot),
            ..Self::new(then, boot, since_boot)
        }
    }

    /// Time that continues from `then`, which another process stored. This process saw it at `seen_at`, a time since boot of its own
    /// machine. So the time since `then` is known on any boot, and a wall clock that is ahead has jumped, as in a running process.
    pub fn following(then: Timestamp, mark: ClockMark, boot: Boot, seen_at: Duration) -> Self {
        Self {
            is_confirmed: mark.is_confirmed,
            doubt_since: mark.is_in_doubt.then_some(seen_at),
            ..Self::new(then, boot, seen_at)
        }
    }

    /// Takes a reading of both clocks, the wall clock and the time since boot. Returns the moment.
    pub fn read(&mut self, wall: Timestamp, since_boot: Duration) -> Moment {
        self.leave_out(wall, since_boot);
        let taken_in = self.take_in(since_boot);
        let steady = self.steady(since_boot);
        let ahead = wall.since(steady);
        let has_jumped = ahead > JUMP;
        let has_lasted = self.lasts(has_jumped.then_some(ahead), since_boot);
        let verdict = self.confirms(wall, since_boot);
        // A wall clock is refused while it is behind, or ahead by a jump that neither the reference clock nor its duration has confirmed.
        let is_refused = steady > wall || has_jumped && !verdict.unwrap_or(has_lasted);
        let now = if is_refused { steady } else { wall };
        let jumped = if has_jumped && !is_refused { ahead } else { taken_in };
        let has_followed = !jumped.is_zero();
        if !is_refused {
            self.ahead_since = None;
            self.anchor = (wall, since_boot);
        }
        // While a virtual machine is paused, its time since boot stands still. So a reference clock that was read before the jump does not
        // show whether time has passed. Only the verdict of one that was read after the jump ends the doubt.
        let later_reference = self.reference.zip(self.ahead_since).filter(|((_, at), (since, _))| at > since);
        let in_doubt = has_jumped && is_refused && later_reference.and(verdict).is_none();
        let was_confirmed = self.update_confirmed(now, since_boot, has_jumped && is_refused, has_followed);
        // How much time has passed is certain only if a reference clock agreed both before and after the jump.
        let is_known = was_confirmed && self.is_confirmed;
        let may_be_wrong = has_followed && !is_known;
        let ahead_for =
            self.ahead_since.map_or(Duration::ZERO, |(since, _)| since_boot.saturating_sub(since));
        let differs_by =
            self.date(since_boot).map_or(Duration::ZERO, |date| date.since(now).max(now.since(date)));
        let mark = self.mark(now, since_boot);
        Moment { now, wall, jumped, may_be_wrong, in_doubt, ahead_for, differs_by, mark }
    }

    /// The time of the anchor, continued by the time since boot.
    fn steady(&self, since_boot: Duration) -> Timestamp {
        let (anchor, anchored_at) = self.anchor;
        anchor.plus(since_boot.saturating_sub(anchored_at))
    }

    /// Compares a reading with the one before. If the time since boot has advanced by over [`JUMP`] more than the wall clock, one of them is
    /// wrong. Then time continues with the wall clock and may lag. What a reference clock said before does not show which one is right.
    fn leave_out(&mut self, wall: Timestamp, since_boot: Duration) {
        let Some((wall_before, before)) = self.latest.replace((wall, since_boot)) else { return };
        let jump = since_boot.saturating_sub(before).saturating_sub(wall.since(wall_before));
        if jump > JUMP {
            self.anchor.1 = self.anchor.1.saturating_add(jump);
            self.left_out = self.left_out.saturating_add(jump);
            self.ahead_since = None;
            self.reference = self.reference.filter(|(_, at)| *at > before);
            self.doubt_since = Some(since_boot);
        }
    }

    /// Takes in what [`Self::leave_out`] has left out, if a reference clock confirms it. Returns how much that is.
    fn take_in(&mut self, since_boot: Duration) -> Duration {
        let with_jump = self.steady(since_boot).plus(self.left_out);
        if self.left_out.is_zero() || self.confirms(with_jump, since_boot) != Some(true) {
            return Duration::ZERO;
        }
        self.anchor.0 = self.anchor.0.plus(self.left_out);
        std::mem::take(&mut self.left_out)
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

    /// Updates `is_confirmed` and `doubt_since` by what a reference clock or an accepted jump says about the time in which the machine was
    /// off. `is_ahead`: the wall clock is ahead by a jump that is refused. `has_followed`: the books have followed a jump with this
    /// reading. Returns whether the books' time was confirmed until this reading.
    fn update_confirmed(
        &mut self,
        now: Timestamp,
        since_boot: Duration,
        is_ahead: bool,
        has_followed: bool,
    ) -> bool {
        // The machine was off for a time that no clock shows. A wall clock that is ahead may show it.
        let is_unknown = self.doubt_since.is_some() && !is_ahead && !has_followed;
        let was_confirmed = self.is_confirmed && !is_unknown;
        let verdict = self.confirms(now, since_boot);
        let is_kept = was_confirmed && !has_followed && !self.lags(now, since_boot);
        self.is_confirmed = verdict.unwrap_or(is_kept);
        if verdict == Some(true) || has_followed {
            self.doubt_since = None;
        }
        was_confirmed
    }

    /// Takes the time of the reference clock, which has just arrived from another machine. The books never take this time over: it decides
    /// only whether a jump of the wall clock is accepted, and whether the books' time is in doubt.
    pub fn set_reference(&mut self, date: Timestamp, since_boot: Duration) {
        self.reference = Some((date, since_boot));
    }

    /// Notes since when the wall clock is ahead, and returns whether it has been ahead by the same jump for [`DOUBT`]. If the jump
    /// changes by more than [`JUMP`], the doubt begins again, so that a second jump is not accepted with the first one. `ahead`: `None` if
    /// the wall clock is not ahead.
    fn lasts(&mut self, ahead: Option<Duration>, since_boot: Duration) -> bool {
        let is_same = |first: Duration, ahead: Duration| first.abs_diff(ahead) <= JUMP;
        self.ahead_since = ahead.map(|ahead| match self.ahead_since {
            Some((since, first)) if is_same(first, ahead) => (since, first),
            _ => (since_boot, ahead),
        });
        self.ahead_since.is_some_and(|(since, _)| since_boot.saturating_sub(since) >= DOUBT)
    }

    /// Whether the reference clock agrees with a time to within [`JUMP`]. `None` without a reference clock. `None`,
    /// too, if the reference clock is later by more than that: it contradicts no jump ahead.
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
    pub fn date(&self, since_boot: Duration) -> Option<Timestamp> {
        let (date, at) = self.reference?;
        let age = since_boot.saturating_sub(at);
        (age <= REFERENCE_AGE_MAX).then(|| date.plus(age))
    }
}

// What is stored of the clocks, of a jump of the time, and of the relay in the process. Tests: `../ledger/src/books/tests/clock.rs`.
// This is stored with the books' time. The overshoot bound is not published as holding before `jumped_until`.

/// What is stored of the clocks, of a jump of the time, and of the relay in the process.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Standing {
    /// The clocks at the books' time.
    pub mark: ClockMark,
    /// Until when grants that were alive at a jump of the time may relay beyond what is promised.
    pub jumped_until: Timestamp,
    /// Whether the process that wrote this had a relay and had not noted an orderly end, so it may have relayed after this write.
    pub is_relaying: bool,
}

impl Standing {
    /// Applies a reading of the clocks, before the books advance to it. If a clock was wrong before or after a jump, less time has
    /// passed than the books' time jumped, perhaps none. Then grants relay longer than promised, by the jump at most. `before`: the time of
    /// the books. `alive_until`: the end of the last live grant.
    pub fn advance(&mut self, moment: &Moment, before: Timestamp, alive_until: impl FnOnce() -> Timestamp) {
        self.mark = moment.mark;
        if !moment.may_be_wrong {
            return;
        }
        let last = alive_until().max(self.jumped_until);
        if last > before {
            self.jumped_until = last.plus(moment.jumped);
        }
    }
}

#[cfg(test)]
#[path = "clock_tests.rs"]
mod tests;
