//! The only reader of time. All other code takes `now` as an argument, so a test controls time. There are three kinds:
//! [`Timestamp`] (UTC) for the wire and the ledger, [`Instant`] for durations in this process, and the time since boot,
//! which also passes while the machine sleeps.

use std::fmt::Debug;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use rustix::time::{ClockId, clock_gettime};
use turn_budget::{Boot, Timestamp};

/// A clock that nobody can set and that also runs while the machine sleeps.
#[cfg(target_os = "linux")]
const SINCE_BOOT: ClockId = ClockId::Boottime;
/// On other systems the monotonic clock is the closest one.
#[cfg(not(target_os = "linux"))]
const SINCE_BOOT: ClockId = ClockId::Monotonic;

/// The file in which Linux identifies the present boot by a random UUID.
const BOOT_ID: &str = "/proc/sys/kernel/random/boot_id";

/// A source of all kinds of time.
pub trait Clock: Debug + Send + Sync + 'static {
    /// Wall time. It can step backwards; code that keeps state uses the later of this and the last value.
    fn now(&self) -> Timestamp;
    /// Wall time since 1970.
    fn since_1970(&self) -> Duration {
        Duration::from_millis(u64::try_from(self.now().as_millis()).unwrap_or(0))
    }
    /// Monotonic time, for durations and pauses. It can stop while the machine sleeps.
    fn instant(&self) -> Instant;
    /// Monotonic time that includes sleep. It starts with the boot.
    fn since_boot(&self) -> Duration;
    /// Which start of the machine this is.
    fn boot(&self) -> Boot;
}

/// Now, for the runtime's timers. They limit waiting on sockets; no figure depends on them.
#[expect(clippy::disallowed_methods, reason = "this module reads the time")]
pub fn timer_now() -> tokio::time::Instant {
    tokio::time::Instant::now()
}

/// The instant `span` from [`timer_now`].
pub fn deadline(span: Duration) -> tokio::time::Instant {
    timer_now() + span
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

    /// Unknown on other systems than Linux.
    fn boot(&self) -> Boot {
        std::fs::read_to_string(BOOT_ID).map_or_else(|_| Boot::default(), |id| boot_of(&id))
    }
}

/// The boot that a UUID identifies; unknown if the text is no UUID.
fn boot_of(id: &str) -> Boot {
    let hex: String = id.trim().chars().filter(|letter| *letter != '-').collect();
    std::num::NonZeroU128::new(u128::from_str_radix(&hex, 16).unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_boot_is_the_number_of_its_uuid() {
        let expected = std::num::NonZeroU128::new(0x6a8f_0c1e_0000_4000_8000_0000_0000_0001);
        assert_eq!(boot_of("6a8f0c1e-0000-4000-8000-000000000001\n"), expected);
        assert_eq!(boot_of("not a UUID"), Boot::default());
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn the_boot_of_this_machine_is_known_and_does_not_change() {
        assert_ne!(SystemClock.boot(), Boot::default());
        assert_eq!(SystemClock.boot(), SystemClock.boot());
    }
}
