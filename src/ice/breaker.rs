//! A circuit breaker. After several failures in a row it opens: no call is made for a while. Then it is half-open: one caller
//! tries, and its result decides. One success closes it. It stays open for at most 30 s. A result from before the last
//! change of state has no effect. [`Breaker`] is pure: `now` is an argument.

use std::sync::Arc;
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use turn_base::backoff;
use turn_base::clock::Clock;

/// Consecutive failures that open the breaker.
pub const FAILURES_TO_OPEN: u32 = 5;
/// The first open period. It doubles with each failed try.
const OPEN_FIRST: Duration = Duration::from_secs(2);
/// The longest open period.
pub const OPEN_MAX: Duration = Duration::from_secs(30);

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
    /// The name, for humans.
    pub fn name(self) -> &'static str {
        self.into()
    }

    /// The value in metrics: 0 closed, 1 half-open, 2 open.
    pub const fn gauge(self) -> u64 {
        match self {
            Self::Closed => 0,
            Self::HalfOpen => 1,
            Self::Open => 2,
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Inner {
    Closed { failures: u32 },
    Open { until: Instant, lasted: Duration },
    HalfOpen { lasted: Duration },
}

/// A circuit breaker without a clock or lock.
#[derive(Debug)]
pub struct Breaker {
    inner: Inner,
    /// The number of changes of state. A ticket from an earlier epoch has no effect.
    epoch: u64,
}

/// Permission for one call, and for the report of its result.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use]
pub struct Ticket {
    epoch: u64,
}

impl Breaker {
    /// A ticket, if a call may be made. A half-open breaker allows one call at a time.
    pub fn admit(&mut self, now: Instant) -> Option<Ticket> {
        match self.inner {
            Inner::Closed { .. } => {}
            Inner::Open { until, lasted } if now >= until => self.change(Inner::HalfOpen { lasted }),
            Inner::Open { .. } | Inner::HalfOpen { .. } => return None,
        }
        Some(Ticket { epoch: self.epoch })
    }

    /// The call has ended. `succeeded`: `None` if the caller was cancelled without a result. Then the next caller may try at once.
    pub fn end(&mut self, ticket: Ticket, succeeded: Option<bool>, now: Instant) {
        if ticket.epoch != self.epoch {
            return;
        }
        match (&mut self.inner, succeeded) {
            (Inner::Closed { failures }, Some(true)) => *failures = 0,
            (Inner::Closed { failures }, Some(false)) => {
                *failures += 1;
                if *failures >= FAILURES_TO_OPEN {
                    self.open(now, OPEN_FIRST);
                }
            }
            (Inner::HalfOpen { .. }, Some(true)) => self.change(Inner::Closed { failures: 0 }),
            (Inner::HalfOpen { lasted }, Some(false)) => {
                let longer = backoff::step(*lasted, 1, OPEN_MAX);
                self.open(now, longer);
            }
            (&mut Inner::HalfOpen { lasted }, None) => self.change(Inner::Open { until: now, lasted }),
            // An open breaker gives no ticket.
            (Inner::Closed { .. }, None) | (Inner::Open { .. }, _) => {}
        }
    }

    /// The state, for display.
    pub fn state(&self) -> BreakerState {
        match self.inner {
            Inner::Closed { .. } => BreakerState::Closed,
            Inner::HalfOpen { .. } => BreakerState::HalfOpen,
            Inner::Open { .. } => BreakerState::Open,
        }
    }

    fn open(&mut self, now: Instant, lasts: Duration) {
        self.change(Inner::Open { until: now + lasts, lasted: lasts });
    }

    fn change(&mut self, inner: Inner) {
        self.inner = inner;
        self.epoch += 1;
    }
}

/// A closed breaker.
impl Default for Breaker {
    fn default() -> Self {
        Self { inner: Inner::Closed { failures: 0 }, epoch: 0 }
    }
}

/// A breaker that tasks share.
#[derive(Debug)]
pub struct SharedBreaker {
    breaker: Mutex<Breaker>,
    clock: Arc<dyn Clock>,
}

/// A ticket that reports the end of its call when it is dropped.
#[derive(Debug)]
#[must_use]
pub struct Attempt<'a> {
    breaker: &'a SharedBreaker,
    ticket: Ticket,
    succeeded: Option<bool>,
}

impl SharedBreaker {
    /// A closed breaker.
    pub fn new(clock: Arc<dyn Clock>) -> Self {
        Self { breaker: Mutex::default(), clock }
    }

    /// Permission for one call, if the breaker allows it.
    pub fn admit(&self) -> Option<Attempt<'_>> {
        let ticket = self.with(Breaker::admit)?;
        Some(Attempt { breaker: self, ticket, succeeded: None })
    }

    /// The state, for display.
    pub fn state(&self) -> BreakerState {
        self.with(|breaker, _| breaker.state())
    }

    fn with<T>(&self, call: impl FnOnce(&mut Breaker, Instant) -> T) -> T {
        let now = self.clock.instant();
        call(&mut self.breaker.lock(), now)
    }
}

impl Attempt<'_> {
    /// Reports the result of the call.
    pub fn finish(mut self, succeeded: bool) {
        self.succeeded = Some(succeeded);
    }
}

impl Drop for Attempt<'_> {
    fn drop(&mut self) {
        self.breaker.with(|breaker, now| breaker.end(self.ticket, self.succeeded, now));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[expect(clippy::disallowed_methods, reason = "an instant cannot be made otherwise")]
    fn start() -> Instant {
        Instant::now()
    }

    fn opened(now: Instant) -> Breaker {
        let mut breaker = Breaker::default();
        for _ in 0..FAILURES_TO_OPEN {
            let ticket = breaker.admit(now).unwrap();
            breaker.end(ticket, Some(false), now);
        }
        breaker
    }

    #[test]
    fn it_opens_after_consecutive_failures_and_a_success_resets_the_count() {
        let now = start();
        let mut breaker = Breaker::default();
        for _ in 0..20 {
            for _ in 1..FAILURES_TO_OPEN {
                let ticket = breaker.admit(now).unwrap();
                breaker.end(ticket, Some(false), now);
            }
            let ticket = breaker.admit(now).unwrap();
            breaker.end(ticket, Some(true), now);
        }
        assert_eq!(breaker.state(), BreakerState::Closed);
        assert_eq!(opened(now).state(), BreakerState::Open);
        assert_eq!(opened(now).admit(now), None);
    }

    #[test]
    fn after_the_open_period_one_caller_tries_and_its_success_closes_it() {
        let now = start();
        let mut breaker = opened(now);
        let later = now + OPEN_FIRST;
        assert_eq!(breaker.admit(later.checked_sub(Duration::from_millis(1)).unwrap()), None);
        let probe = breaker.admit(later).unwrap();
        assert_eq!(breaker.admit(later), None, "one try at a time");
        breaker.end(probe, Some(true), later);
        assert!(breaker.admit(later).is_some());
        assert_eq!(breaker.state(), BreakerState::Closed);
    }

    #[test]
    fn each_failed_try_doubles_the_open_period_up_to_thirty_seconds() {
        let mut now = start();
        let mut breaker = opened(now);
        for wait in [2, 4, 8, 16, 30, 30, 30] {
            let wait = Duration::from_secs(wait);
            assert_eq!(
                breaker.admit((now + wait).checked_sub(Duration::from_millis(1)).unwrap()),
                None,
                "{wait:?}"
            );
            now += wait;
            let probe = breaker.admit(now).unwrap();
            breaker.end(probe, Some(false), now);
        }
    }

    #[test]
    fn an_abandoned_try_lets_the_next_caller_try() {
        let now = start();
        let mut breaker = opened(now);
        let later = now + OPEN_FIRST;
        let probe = breaker.admit(later).unwrap();
        breaker.end(probe, None, later);
        assert!(breaker.admit(later).is_some());
    }

    #[test]
    fn a_late_result_from_before_a_change_has_no_effect() {
        let now = start();
        let mut breaker = Breaker::default();
        let late = breaker.admit(now).unwrap();
        for _ in 0..FAILURES_TO_OPEN {
            let ticket = breaker.admit(now).unwrap();
            breaker.end(ticket, Some(false), now);
        }
        breaker.end(late, Some(true), now);
        assert_eq!(breaker.state(), BreakerState::Open);
        let probe = breaker.admit(now + OPEN_FIRST).unwrap();
        breaker.end(late, Some(false), now);
        assert_eq!(breaker.state(), BreakerState::HalfOpen);
        breaker.end(probe, Some(true), now);
        assert_eq!(breaker.state(), BreakerState::Closed);
    }
}
