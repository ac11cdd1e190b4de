//! Simulation of the shipped books. A seeded scenario is a list of operations: mints that succeed or fail, true and false reports,
//! revocations, overrides, crashes, takeovers by a standby, clock steps, pauses of the machine, restarts with other settings, starts of
//! coturn, deaths of one of three, sessions of other programs there, and readings that lag, miss bytes or fall. The disk is the service's own tables. A model of the world counts the true bytes: who
//! holds a credential relays at a rate of his own, for as long as he stays and the server lets him. After every step:
//!
//! - the true bytes of the period do not exceed what is committed with its margin, as published before or after the step, and those of a
//!   user in strict mode not what is committed of the user;
//! - in strict mode nothing but a credential that fits raises what is committed above the limit;
//! - `used <= committed`;
//! - the measured bytes do not exceed the true bytes;
//! - the limit is the one that was set last;
//! - the books' time is the world's time, or the status shows how far the wall clock is ahead of it;
//! - the assumed rate holds (estimate mode only);
//! - in strict mode with a limit for each user, no user's true bytes exceed it, nor those of a server key its limit;
//! - a credential that is ended by a limit has relayed so much, whatever pages claim, and one that has is ended when that is counted;
//! - at the limit, once that is counted, every credential is revoked until its source has answered, and that releases nothing;
//! - the days of a source add up to what it measured, the sources to what is used, and so do the rows of each kind of spender;
//! - no more is measured of a user than the user relayed;
//! - what relays at a source is promised for its minute, also in past minutes that nobody has counted;
//! - where no assumption is broken and nobody whose word counts has said anything wrong, the bound is said to hold, whatever pages claim;
//! - once all that disturbed is over, by the rules of docs/BUDGET.md, the bound is said to hold again; it is said not to hold while a restored
//!   copy lacks what nobody counts again, and while the clock is in an earlier period;
//! - a period begins without evidence, and what exceeds the assumed rate was relayed in this period by those who relay faster;
//! - a chain of renewals whose promise is raised is raised as a whole;
//! - of a report over a reset, the part since the reset is of this period;
//! - a credential that relays has a live grant, and a promise until it stops working;
//! - no more may flow to a page of the SFU than is promised for its session;
//! - a credential gets the life that was asked for or less, a promise for all of the time in which it can be used, and fits into the limit;
//! - a refusal has a reason and changes nothing, and nobody is refused if the shortest credential has room;
//! - each relay counts as cut by its own listings alone, and a credential has the tail of its relay;
//! - a session of another program ends exactly if the budget is spent, its credential is revoked, or its user is blocked or over the limit;
//! - a hold that is released leaves nothing, and a grant that is revoked has no connection;
//! - a period that has ended keeps what was used of it, and no more than was committed.
//!
//! No check computes what the books say in their way. What a single operation must answer, unit tests say.
//!
//! At the end all sessions end and all counts are read: then nothing is committed but what is used and its margin, and no less is used than
//! was relayed. Two periods later no row is left, and the bound holds. Books that are opened again say the same as before ([`restart`]).
//!
//! A check is left out only while the world itself breaks an assumption, and for a reason of [`Excuse`]. A run fails if that is so
//! in more than 5 % of the steps. The status of the books is no excuse. What the books get wrong, and a check accepts, is in one table
//! ([`walk::inaccuracies`]).
//!
//! [`walk::worlds`] has worlds that random operations rarely make. [`replicas`] simulates two brokers on one database: who leads, and which
//! writes count. What a standby makes of the rows is simulated here.
//!
//! Each fault of [`walk::faults::Fault`] happens in a part of the scenarios. For a long run, which draws from the same distribution
//! as the default one: `SEEDS=10000 cargo test --release -p turn-ledger --test simulation`. `FROM=5000` leaves out those before, and
//! `SEED=7` runs one. A failure prints the shortest failing scenario that was found, in the syntax of `reproductions`.

mod replicas;
mod reproductions;
mod restart;
mod store;
mod walk;

use store::MemoryFile;
use walk::faults::Fault;
use walk::tally::Tally;
use walk::{Scenario, whole};

/// A number from the environment, or the default.
#[expect(clippy::disallowed_methods, reason = "settings of a test")]
fn setting(name: &str, default: u64) -> u64 {
    std::env::var(name).ok().and_then(|text| text.parse().ok()).unwrap_or(default)
}

/// Runs one scenario. Returns how much was checked.
fn check(scenario: &Scenario) -> Tally {
    whole::<MemoryFile>(scenario)
}

#[expect(clippy::print_stdout, clippy::disallowed_macros, reason = "the report of a run")]
fn check_seeds(strict: bool) {
    let (steps, only) = (setting("STEPS", 200), setting("SEED", u64::MAX));
    let seeds = if only == u64::MAX { setting("FROM", 0)..setting("SEEDS", 120) } else { only..only + 1 };
    let mut tally = Tally::default();
    for seed in seeds {
        let scenario = Scenario::random(seed, steps, strict, &Fault::all());
        tally.add(check(&scenario));
    }
    println!("{tally:?}");
    if only == u64::MAX {
        let is_frequent = |part, one_in, whole| tally.of(part) * one_in > tally.of(whole);
        assert!(!is_frequent("unchecked", 20, "steps"), "too little is checked: {tally:?}");
        assert!(is_frequent("undisturbed", 25, "steps"), "the bound rarely has to hold: {tally:?}");
        if strict {
            assert!(!is_frequent("excused", 20, "steps"), "too little is checked: {tally:?}");
            assert!(is_frequent("users", 12, "steps"), "too little is checked: {tally:?}");
            assert!(is_frequent("users near", 20, "users"), "the limit of a user is rarely near: {tally:?}");
            assert!(is_frequent("servers", 20, "steps"), "too little is checked: {tally:?}");
            assert!(is_frequent("servers near", 20, "servers"), "that of a key is rarely near: {tally:?}");
        }
    }
}

/// Worlds that random operations rarely make, a few of each.
#[test]
fn no_rare_world_exceeds_the_bound() {
    for strict in [false, true] {
        for scenario in Scenario::of_worlds(setting("SEEDS", 120).div_ceil(20), strict) {
            check(&scenario);
        }
    }
}

#[test]
fn no_scenario_exceeds_the_bound_in_estimate_mode() {
    check_seeds(false);
}

#[test]
fn no_scenario_exceeds_the_bound_in_strict_mode() {
    check_seeds(true);
}
