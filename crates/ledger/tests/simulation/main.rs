//! The books against a world that really relays. A seeded walk of mints, failures, reports, lies, revocations, overrides,
//! readings that lag, miss or fall, crashes, restarts and clocks that are set back; beside it a model in which every
//! credential that somebody may hold relays bytes at up to the assumed rate, for as long as it lives and its tail after
//! it. After every step:
//!
//! - true bytes of the period ≤ limit + the overshoot bound that was published before;
//! - in strict mode true bytes of the period ≤ limit, and the bound is zero, unless somebody has lowered the limit;
//! - `used <= committed`;
//! - what counts as measured was relayed;
//! - the limit is the one that was ordered last;
//! - the books' time is the world's;
//! - nothing contradicts the assumed rate.
//!
//! Out of scope, and so never done here: a relay that gives more than the assumed rate or outlives the assumed tail,
//! bytes of others on the same bill, a count that misses more than the sampling margin (in estimate mode: anything), and
//! a wall clock that runs ahead of the world. The limit is about periods as the books see them.
//!
//! `SEEDS=10000 STEPS=200 cargo test --release -p turn-ledger --test simulation` is the long run; `SEED=7` runs one seed and prints it.

mod reproductions;
mod restart;
mod walk;

use walk::disk::MemoryDisk;
use walk::{Walk, end_of};

/// A number from the environment, or the default.
#[expect(clippy::disallowed_methods, reason = "a test's own knobs")]
fn knob(name: &str, default: u64) -> u64 {
    std::env::var(name).ok().and_then(|text| text.parse().ok()).unwrap_or(default)
}

/// Runs one walk.
pub(crate) fn check(walk: Walk) {
    drop(end_of(walk, MemoryDisk::new()));
}

#[test]
fn no_walk_breaks_the_promise() {
    let steps = knob("STEPS", 200);
    let only = knob("SEED", u64::MAX);
    let seeds = if only == u64::MAX { 0..knob("SEEDS", 200) } else { only..only + 1 };
    for seed in seeds {
        for strict in [false, true] {
            check(Walk { seed, steps, strict });
        }
    }
}
