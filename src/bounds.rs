//! Times that somebody waits for, each with a second value for the tests with a browser. The feature `short-lives` selects those
//! values. They suit no operator, so an optimized build refuses the feature, and the program says that it has it.

use std::time::Duration;

#[cfg(all(feature = "short-lives", not(debug_assertions)))]
compile_error!(
    "the feature `short-lives` is for the tests with a browser: an optimized build must not have it"
);

/// Whether this build has the short times.
pub const IS_SHORT: bool = cfg!(feature = "short-lives");
/// The version, as `--version` and the log say it.
pub const VERSION: &str =
    if IS_SHORT { concat!(env!("CARGO_PKG_VERSION"), " (short-lives)") } else { env!("CARGO_PKG_VERSION") };

/// The shortest life of a credential: the least value of `?ttl=`, `TURN_TTL_SECONDS` and `SIGNALING_TTL_SECONDS`.
pub const TTL_MIN: Duration = millis(60_000, 5_000);
/// How often the grants of members are checked for renewals that are due. The last quarter of a life is for the renewal.
pub const RENEW_INTERVAL: Duration = millis(5_000, 250);
/// The interval between listings of coturn's sessions. It bounds the bytes that are relayed after the budget is spent, except for
/// those that coturn does not show yet.
pub const COTURN_LOOK_INTERVAL: Duration = millis(2_000, 500);
/// The longest time between two looks at a session of the SFU. The shortest is a third of it.
pub const SFU_LOOK_AFTER_MAX: Duration = millis(45_000, 3_000);

/// A time of every build, and the one with the feature `short-lives`.
const fn millis(usual: u64, short: u64) -> Duration {
    Duration::from_millis(if IS_SHORT { short } else { usual })
}
