//! Two replicas on a `PostgreSQL` of the tests: the cost of the database and of a standby, and the time of a takeover.

use std::time::{Duration, Instant};

use rustix::process::Signal;

use crate::postgres::TestDatabase;
use crate::response::body;
use crate::server::{Server, directory};
use crate::{CALLERS, MINT, MINTS, mint, print};

/// Measures nothing without `PostgreSQL`.
pub(crate) fn replicas(rounds: usize) {
    if TestDatabase::new().is_none() {
        return;
    }
    let rows = [
        ["durable mints/s on PostgreSQL ÷ with `STATE_DIR`", "≥ 0.8 ×", "×"],
        ["the same: through a standby ÷ at the leader", "≥ 0.6 ×", "×"],
        ["longest without a response: SIGTERM to the leader", "≤ 1000 ms", "ms"],
        ["the same: killed", "≤ 2000 ms", "ms"],
        ["the same: paused, lease 5 s", "≤ 7000 ms", "ms"],
    ];
    print(rounds, rows, round);
}

fn round() -> [f64; 5] {
    let database = TestDatabase::new().unwrap();
    let settings = [("DATABASE_URL", &*database.url()), ("DATABASE_SCHEMA", &*database.schema)];
    let state = directory();
    let [alone, mut leader, mut standby] =
        [Server::durable(state.path()), Server::broker(&settings), Server::broker(&settings)];
    let [alone, of_leader, of_standby] = [&alone, &leader, &standby].map(|server| {
        mint(server, CALLERS, MINTS / 40);
        mint(server, CALLERS, MINTS).rate
    });
    let [term, kill, pause] = [Signal::TERM, Signal::KILL, Signal::STOP].map(|signal| {
        let without = longest_without(&leader, &standby, signal);
        leader = std::mem::replace(&mut standby, Server::broker(&settings));
        without
    });
    [of_leader / alone, of_standby / of_leader, term, kill, pause]
}

/// The longest time in milliseconds without a mint through the standby, from the signal until the standby leads.
pub(crate) fn longest_without(leader: &Server, standby: &Server, signal: Signal) -> f64 {
    let (mut last, mut longest, mut leads) = (Instant::now(), Duration::ZERO, false);
    leader.signal(signal);
    while !leads {
        let is_leader = body(standby.address, "/leader").is_ok();
        if body(standby.address, MINT).is_ok() {
            longest = longest.max(last.elapsed());
            (last, leads) = (Instant::now(), is_leader);
        }
    }
    longest.as_secs_f64() * 1e3
}
