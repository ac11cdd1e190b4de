//! The shipped books in a simulated world. A seeded scenario mints, fails, reports, lies, revokes, overrides, reads counts
//! that lag, miss or fall, crashes, restarts, steps clocks, and pauses the machine. Beside it a model relays true bytes: every credential that
//! somebody may hold relays at up to the assumed rate, for its life and its tail. After every step:
//!
//! - the true bytes of the period do not exceed the limit plus the overshoot bound that was published before;
//! - in strict mode they do not exceed the limit, and the bound is zero, unless an override has lowered the limit;
//! - `used <= committed`;
//! - what counts as measured was relayed;
//! - the limit is the one that was set last;
//! - the books' time is the world's, or the wall clock is in doubt and the status says by how much;
//! - nothing contradicts the assumed rate.
//!
//! Not simulated, because the bound does not cover it: a relay that exceeds the assumed rate or tail, bytes of others on the
//! same bill, a wall clock that is wrong and accepted, and a count that misses more than the sampling margin (in estimate mode: anything).
//!
//! `SEEDS=10000 cargo test --release -p turn-ledger --test simulation` is the long run. `SEED=7` runs one seed. A failure
//! prints the shortest scenario that still fails, in the form in which `reproductions.rs` keeps it.

mod reproductions;
mod restart;
mod walk;

use walk::disk::MemoryDisk;
use walk::{Scenario, end_of};

/// A number from the environment, or the default.
#[expect(clippy::disallowed_methods, reason = "settings of a test")]
fn setting(name: &str, default: u64) -> u64 {
    std::env::var(name).ok().and_then(|text| text.parse().ok()).unwrap_or(default)
}

/// Runs one scenario.
fn check(scenario: &Scenario) {
    drop(end_of(scenario, MemoryDisk::new()));
}

#[test]
fn no_scenario_breaks_the_promise() {
    let steps = setting("STEPS", 200);
    let only = setting("SEED", u64::MAX);
    let seeds = if only == u64::MAX { 0..setting("SEEDS", 200) } else { only..only + 1 };
    for seed in seeds {
        for strict in [false, true] {
            check(&Scenario::random(seed, steps, strict));
        }
    }
}

#[test]
fn no_long_scenario_breaks_the_promise() {
    for (seed, strict) in [(0, false), (0, true), (1, true)] {
        check(&Scenario::random(seed, 2_000, strict));
    }
}
