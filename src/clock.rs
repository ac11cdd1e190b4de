//! The only reader of time. All other code takes `now` as an argument, so a test controls time. There are three kinds:
//! [`Timestamp`] (UTC) for the wire and the ledger, [`Instant`] for durations in this process, and the time since boot,
//! which also passes while the machine sleeps.

use std::fmt::Debug;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use rustix::time::{ClockId, clock_gettime};
use turn_ledger::units::Timestamp;

/// A clock that cannot be set and that runs while the machine sleeps.
#[cfg(target_os = "linux")]
const SINCE_BOOT: ClockId = ClockId::Boottime;
/// On other systems the monotonic clock is the closest one.
#[cfg(not(target_os = "linux"))]
const SINCE_BOOT: ClockId = ClockId::Monotonic;

/// A source of all kinds of time.
pub trait Clock: Debug + Send + Sync + 'static {
    /// Wall time. It can step backwards; code that keeps state uses the later of this and the last value.
    fn now(&self) -> Timestamp;
    /// Monotonic time, for durations and pauses. It can stop while the machine sleeps.
    fn instant(&self) -> Instant;
    /// Monotonic time that includes sleep. It starts at an arbitrary instant.
    fn since_boot(&self) -> Duration;
}

/// The instant `span` from now, for the runtime's timers. They limit waiting on sockets; no figure depends on them.
#[must_use]
#[expect(clippy::disallowed_methods, reason = "this module reads the time")]
pub fn deadline(span: Duration) -> tokio::time::Instant {
    tokio::time::Instant::now() + span
}

/// The machine's clock.
#[derive(Debug, Clone, Copy, Default)]
pub struct SystemClock;

impl Clock for SystemClock {
    #[expect(clippy::disallowed_methods, reason = "this module reads the time")]
    fn now(&self) -> Timestamp {
        // A machine without a clock returns 1970 or earlier. The ledger keeps its own, later time.
        let since_1970 = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        Timestamp::from_millis(0).plus(since_1970)
    }

    #[expect(clippy::disallowed_methods, reason = "this module reads the time")]
    fn instant(&self) -> Instant {
        Instant::now()
    }

    #[expect(clippy::disallowed_methods, reason = "this module reads the time")]
    fn since_boot(&self) -> Duration {
        // A negative time cannot occur. It would count as zero.
        clock_gettime(SINCE_BOOT).try_into().unwrap_or_default()
    }
}
