//! Times that somebody waits for, each with a shorter value for the tests with a browser. Only a build with the feature `short-lives` can
//! select the short values, and only the program of these tests does. The short values suit no operator, so an optimized build refuses the
//! feature, and the version says that a program has them.

#[cfg(feature = "short-lives")]
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

#[cfg(all(feature = "short-lives", not(debug_assertions)))]
compile_error!("the feature `short-lives` is for the tests with a browser: no optimized build may have it");

/// The shortest life of a credential: the least value of `?ttl=`, `TURN_TTL_SECONDS` and `SIGNALING_TTL_SECONDS`.
pub const TTL_MIN: Bound = Bound::millis(60_000, 5_000);
/// How often the grants of members are checked for renewals that are due. A renewal is due in the last quarter of a life.
pub const RENEW_INTERVAL: Bound = Bound::millis(5_000, 250);
/// The interval between listings of coturn's sessions. It bounds the bytes that are relayed after the budget is spent, except for
/// those that coturn does not show yet.
pub const COTURN_LOOK_INTERVAL: Bound = Bound::millis(2_000, 500);
/// The time between two looks at a session of the SFU. A request to the SFU takes effect within this time, or never.
pub const SFU_LOOK_INTERVAL: Bound = Bound::millis(30_000, 2_000);

/// The usual value of a time, and the short one, which only [`shorten`] selects.
#[derive(Clone, Copy, Debug)]
pub struct Bound {
    usual: Duration,
    #[cfg_attr(not(feature = "short-lives"), expect(dead_code, reason = "nothing selects it"))]
    short: Duration,
}

impl Bound {
    const fn millis(usual: u64, short: u64) -> Self {
        Self { usual: Duration::from_millis(usual), short: Duration::from_millis(short) }
    }

    /// The value that this process uses.
    pub fn get(self) -> Duration {
        #[cfg(feature = "short-lives")]
        if is_short() {
            return self.short;
        }
        self.usual
    }
}

#[cfg(feature = "short-lives")]
static IS_SHORT: AtomicBool = AtomicBool::new(false);

/// Selects the short times for this process. The program of the tests calls this before anything else.
#[cfg(feature = "short-lives")]
pub fn shorten() {
    IS_SHORT.store(true, Ordering::Relaxed);
}

/// Whether this process has the short times.
pub fn is_short() -> bool {
    #[cfg(feature = "short-lives")]
    return IS_SHORT.load(Ordering::Relaxed);
    #[cfg(not(feature = "short-lives"))]
    false
}

/// The version, as `--version` and the log print it.
pub fn version() -> &'static str {
    if is_short() { concat!(env!("CARGO_PKG_VERSION"), " (short-lives)") } else { env!("CARGO_PKG_VERSION") }
}
