//! A circuit breaker. After several failures in a row, or two that are a minute apart, it opens: no call is made for a while. Then it is half-open: one caller
//! tries. Any success closes it. A try that fails opens it again, for twice as long, at most 10 s. Pure: `now` is an argument.

use std::time::{Duration, Instant};

use parking_lot::Mutex;
use turn_base::backoff;

/// Consecutive failures that open the breaker.
pub const FAILURES_TO_OPEN: u32 = 5;
/// Where callers are rare, a second failure so long after the first opens it, too.
const SPARSE: Duration = Duration::from_secs(60);
/// The first open period. It doubles with each failed try.
const OPEN_FIRST: Duration = Duration::from_secs(2);
/// The longest open period.
pub const OPEN_MAX: Duration = Duration::from_secs(10);
/// After this time another caller may try. It is longer than a call lasts, so a try that has not reported by then was canceled.
const TRY_MAX: Duration = Duration::from_secs(4);

/// The state, as shown to operators.
#[derive(Clone, Copy, Debug, PartialEq, Eq, strum::IntoStaticStr)]
#[strum(serialize_all = "kebab-case")]
pub enum BreakerState {
    /// Calls are made.
    Closed,
    /// One caller tries.
    HalfOpen,
    /// No calls are made.
    Open,
}

impl BreakerState {
    /// The value in metrics: 0 closed, 1 half-open, 2 open.
    pub const fn gauge(self) -> u64 {
        match self {
            Self::Closed => 0,
            Self::HalfOpen => 1,
            Self::Open => 2,
        }
    }
}

/// A circuit breaker that tasks share. It begins closed.
#[derive(Debug, Default)]
pub struct Breaker(Mutex<Inner>);

#[derive(Debug, Default)]
struct Inner {
    /// The failures in a row since it was closed.
    failures: u32,
    /// The first of them.
    failed_at: Option<Instant>,
    /// `None` while it is closed.
    open: Option<Open>,
}

#[derive(Clone, Copy, Debug)]
struct Open {
    /// When the next caller may try.
    until: Instant,
    /// The last open period.
    lasted: Duration,
    /// Whether a caller has tried after that period.
    is_tried: bool,
}

impl Breaker {
    /// Whether a call may be made now. The first caller after an open period is the one that tries. [`Self::report`] takes the call's
    /// result.
    pub fn admit(&self, now: Instant) -> bool {
        let mut inner = self.0.lock();
        let Some(open) = &mut inner.open else { return true };
        if now < open.until {
            return false;
        }
        (open.until, open.is_tried) = (now + TRY_MAX, true);
        true
    }

    /// Takes the result of an admitted call. A failure while the breaker is open and nobody tries changes nothing: its call began before
    /// the breaker opened.
    pub fn report(&self, succeeded: bool, now: Instant) {
        let mut inner = self.0.lock();
        if succeeded {
            *inner = Inner::default();
            return;
        }
        inner.failures = inner.failures.saturating_add(1);
        let lasts = now.saturating_duration_since(*inner.failed_at.get_or_insert(now)) >= SPARSE;
        let lasted = match inner.open {
            None if lasts || inner.failures >= FAILURES_TO_OPEN => OPEN_FIRST,
            Some(Open { lasted, is_tried: true, .. }) => backoff::step(lasted, 1, OPEN_MAX),
            None | Some(_) => return,
        };
        inner.open = Some(Open { until: now + lasted, lasted, is_tried: false });
    }

    /// The state, for display.
    pub fn state(&self) -> BreakerState {
        match self.0.lock().open {
            None => BreakerState::Closed,
            Some(Open { is_tried: true, .. }) => BreakerState::HalfOpen,
            Some(_) => BreakerState::Open,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ice::call::DEADLINE;

    #[expect(clippy::disallowed_methods, reason = "an instant cannot be made otherwise")]
    fn start() -> Instant {
        Instant::now()
    }

    fn just_before(instant: Instant) -> Instant {
        instant.checked_sub(Duration::from_millis(1)).unwrap()
    }

    fn opened(now: Instant) -> Breaker {
        let breaker = Breaker::default();
        for _ in 0..FAILURES_TO_OPEN {
            assert!(breaker.admit(now));
            breaker.report(false, now);
        }
        breaker
    }

    #[test]
    fn two_failures_that_are_a_minute_apart_open_it() {
        let (now, breaker) = (start(), Breaker::default());
        breaker.report(false, now);
        breaker.report(false, just_before(now + SPARSE));
        assert_eq!(breaker.state(), BreakerState::Closed);
        breaker.report(false, now + SPARSE);
        assert_eq!(breaker.state(), BreakerState::Open);
    }

    #[test]
    fn it_opens_after_consecutive_failures_and_a_success_resets_the_count() {
        let now = start();
        let breaker = Breaker::default();
        for _ in 0..20 {
            for _ in 1..FAILURES_TO_OPEN {
                breaker.report(false, now);
            }
            breaker.report(true, now);
        }
        assert_eq!(breaker.state(), BreakerState::Closed);
        assert_eq!(opened(now).state(), BreakerState::Open);
        assert!(!opened(now).admit(now));
    }

    #[test]
    fn after_the_open_period_one_caller_tries_and_its_success_closes_it() {
        let now = start();
        let breaker = opened(now);
        let later = now + OPEN_FIRST;
        assert!(!breaker.admit(just_before(later)));
        assert!(breaker.admit(later));
        assert!(!breaker.admit(later), "one try at a time");
        assert_eq!(breaker.state(), BreakerState::HalfOpen);
        breaker.report(true, later);
        assert!(breaker.admit(later));
        assert_eq!(breaker.state(), BreakerState::Closed);
    }

    #[test]
    fn each_failed_try_doubles_the_open_period_up_to_ten_seconds() {
        let mut now = start();
        let breaker = opened(now);
        for wait in [2, 4, 8, 10, 10] {
            let wait = Duration::from_secs(wait);
            assert!(!breaker.admit(just_before(now + wait)), "{wait:?}");
            now += wait;
            assert!(breaker.admit(now));
            breaker.report(false, now);
        }
    }

    #[test]
    fn after_an_abandoned_try_another_caller_tries() {
        let now = start();
        let breaker = opened(now);
        let later = now + OPEN_FIRST;
        assert!(breaker.admit(later));
        assert!(!breaker.admit(just_before(later + TRY_MAX)));
        assert!(breaker.admit(later + TRY_MAX));
        assert!(TRY_MAX > DEADLINE);
    }

    #[test]
    fn of_the_results_of_calls_from_before_it_opened_only_a_success_counts() {
        let now = start();
        let breaker = opened(now);
        breaker.report(false, now + OPEN_FIRST);
        assert!(breaker.admit(now + OPEN_FIRST), "it is open for as long as before");
        let breaker = opened(now);
        breaker.report(true, now);
        assert_eq!(breaker.state(), BreakerState::Closed);
    }
}
