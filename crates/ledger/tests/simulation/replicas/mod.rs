//! Simulation of two replicas on one database, with the shipped decisions: when one stands for election, what a write has led to, for how
//! long a lead holds, and the shipped books and rows. Each replica has a clock of its own, with its own pace. It stands still, is cut off,
//! dies, or hands over. Writes arrive late, hold the row, lose their answer, or commit without the synchronous standby; the database
//! starts again, or fails over, with or without a loss. After every instant:
//!
//! - the true bytes do not exceed the limit and the bound that a replica publishes as holding, before or after the instant, whether it leads
//!   or only believes so: that is until its lease ends;
//! - each credential that a client has is stored, also on the synchronous standby, and is in the leader's books;
//! - no batch was applied twice, and in each minute as many grants count as have a row;
//! - a leader that is only silent, or whose session a restart of the database has ended, is not replaced while its lease holds, and nobody
//!   stands before it has seen nothing change for a lease, or for a minute while a new leader reads the ledger;
//! - a released ledger is not written by its former leader.
//!
//! At the end all faults end. Then one replica leads and mints, and the other one forwards to it. If answered grants are lost and a process
//! that had seen them has lived on, the ledger says so.
//!
//! The bound is not checked while the books say that it may not hold, before a replica can know of a loss, and after the books' time was
//! ahead. `SEEDS`, `STEPS` and `SEED` are those of the simulation of one broker.

mod checks;
mod clock;
mod cluster;
mod database;
mod leader;
mod node;
mod ops;
mod state;

use prelude::*;

use crate::setting;
use crate::walk::shortened;

/// What most modules here use.
mod prelude {
    pub(super) use std::collections::{BTreeMap, BTreeSet, VecDeque};
    pub(super) use std::rc::Rc;
    pub(super) use std::time::Duration;

    pub(super) use turn_ledger::*;

    pub(super) use super::checks::Checks;
    pub(super) use super::clock::{Clock, RIGHT};
    pub(super) use super::cluster::Cluster;
    pub(super) use super::database::{Database, Fate};
    pub(super) use super::leader::{At, Leader};
    pub(super) use super::node::{Node, Role};
    pub(super) use super::ops::{Op, Who};
    pub(super) use super::state::State;
    pub(super) use crate::store::database::{Change, Rows};
    pub(super) use crate::walk::dice::Dice;
    pub(super) use crate::walk::settings::Settings;
    pub(super) use crate::walk::tally::Tally;
    pub(super) use turn_store::lease::Lease;
    pub(super) use turn_store::observation::Observation;
    pub(super) use turn_store::outcome::{Lost, Term};
}

/// The operations of one run.
#[derive(Clone, Debug)]
struct Scenario {
    settings: Settings,
    ops: Vec<Op>,
}

impl Scenario {
    fn random(seed: u64, steps: u64) -> Self {
        let mut dice = Dice::new(seed.wrapping_mul(0x2545_f491).wrapping_add(1));
        let (is_wild, loses) = (dice.below(4) == 0, dice.below(3) == 0);
        let (strict, clients) = (dice.below(2) == 0, dice.below(3));
        let limit = dice.one_of(&[3_000_000_000, 20_000_000_000]);
        let settings = Settings { strict, limit, clients, percent: 100, ..Settings::DEFAULT };
        let mut ops = vec![];
        while u64::try_from(ops.len()).unwrap_or(u64::MAX) < steps {
            ops.extend(ops::draw(&mut dice, is_wild, loses));
        }
        Self { settings, ops }
    }
}

/// Runs some operations. `Err`: the check that failed, and after how many of them.
fn run(settings: Settings, ops: &[Op]) -> Result<Tally, (usize, String)> {
    let mut cluster = Cluster::new(settings);
    for (nth, op) in ops.iter().enumerate() {
        cluster.apply(*op);
        if let Some(wrong) = cluster.checks.wrong {
            return Err((nth + 1, wrong));
        }
    }
    cluster.settle();
    match cluster.checks.wrong {
        Some(wrong) => Err((ops.len(), wrong)),
        None => Ok(cluster.checks.tally),
    }
}

fn check(scenario: &Scenario) -> Tally {
    let Scenario { settings, ops } = scenario;
    run(*settings, ops).unwrap_or_else(|(count, what)| {
        let ops = shortened(ops[..count].to_vec(), |fewer| run(*settings, &fewer).is_err());
        let why = run(*settings, &ops).err();
        panic!("after {count} operations: {what}\n{settings:?}\n{ops:?}\nfails with: {why:?}")
    })
}

/// Each of these happens at least once for so many seeds.
const FAULTS: [(&str, u64); 19] = [
    ("elections by silence", 2),
    ("lost elections", 10),
    ("handovers", 5),
    ("fenced leaders", 1),
    ("leaders that found lost writes", 10),
    ("alarms of standbys", 10),
    ("unknown outcomes", 1),
    ("batches that were not sent", 5),
    ("waits that were given up", 1),
    ("writes that were sent again", 2),
    ("writes that were confirmed", 2),
    ("late commits", 3),
    ("late writes that were refused", 10),
    ("commits without the synchronous standby", 10),
    ("failovers of the database", 1),
    ("losses of answered grants", 10),
    ("instants with two believers", 1),
    ("instants with two leases", 1),
    ("instants with a bound of a former leader", 1),
];

#[test]
#[expect(clippy::print_stdout, clippy::disallowed_macros, reason = "the report of a run")]
fn two_replicas_exceed_no_bound_and_forget_no_answered_grant() {
    let (steps, only) = (setting("STEPS", 100), setting("SEED", u64::MAX));
    let seeds = if only == u64::MAX { 0..setting("SEEDS", 100) } else { only..only + 1 };
    let (mut sum, count) = (Tally::default(), seeds.end - seeds.start);
    for seed in seeds {
        sum.add(check(&Scenario::random(seed, steps)));
    }
    println!("{sum:?}");
    if only == u64::MAX && steps >= 100 {
        for (what, each) in FAULTS {
            assert!(sum.of(what) * each >= count, "too rare: {what}: {sum:?}");
        }
        assert!(sum.of("answered") > 5 * count, "too few credentials: {sum:?}");
        assert!(sum.of("instants with a bound") * 2 > sum.of("instants"), "too little is checked: {sum:?}");
    }
}

#[test]
fn after_a_restart_or_a_failover_of_the_database_the_same_leader_goes_on() {
    for op in [Op::Restart(0), Op::Restart(600), Op::Restart(3_000), Op::FailOver(0)] {
        let ops =
            [Op::Wait(700), Op::Mint(Who::Leader, 300), Op::Wait(2_150), op, Op::Wait(9_000)].repeat(10);
        let tally = run(Settings::DEFAULT, &ops).unwrap_or_else(|wrong| panic!("{wrong:?}"));
        assert_eq!(tally.of("elections"), 1, "{op:?}");
    }
}

/// A large ledger is read for longer than the lease. Each of the two could end the other one's reading for ever.
#[test]
fn a_takeover_that_takes_longer_than_the_lease_happens_once() {
    let slow = |who| Op::Slow(who, 0, 9_000, false);
    let mut ops = vec![slow(Who::Leader), slow(Who::Other)];
    ops.extend([Op::Mint(Who::Leader, 3_600), Op::Wait(2_000), Op::Kill(Who::Leader, 900, false)]);
    ops.extend([Op::Wait(12_000), Op::Mint(Who::Leader, 3_600), Op::Wait(28_000)]);
    let tally = run(Settings::DEFAULT, &ops).unwrap_or_else(|wrong| panic!("{wrong:?}"));
    assert_eq!((tally.of("elections"), tally.of("answered")), (2, 3), "{tally:?}");
}

/// The leader whose writes are lost sees the row only after two takeovers.
#[test]
fn a_loss_is_noticed_although_the_lead_has_changed_twice_since() {
    let (leader, other) = (Who::Leader, Who::Other);
    let cut_off_meanwhile = [
        Op::Cut(leader, true),
        Op::Wait(6_500),
        Op::Mint(leader, 300),
        Op::Wait(3_600),
        Op::Cut(leader, true),
        Op::FailOver(8),
        Op::Cut(other, false),
        Op::Wait(14_200),
        Op::Kill(leader, 1_709, false),
        Op::Wait(9_000),
    ];
    let tally = run(Settings::DEFAULT, &cut_off_meanwhile).unwrap_or_else(|wrong| panic!("{wrong:?}"));
    assert_eq!((tally.of("losses of answered grants"), tally.of("leaders that found lost writes")), (1, 1));
}

/// A standby saw that writes were lost and stated it. In the same instant the leader read that, and left.
#[test]
fn a_leader_may_leave_a_loss_to_the_standby_that_has_stated_it() {
    let leader = Who::Leader;
    let ops = [
        Op::Wait(600),
        Op::Pause(leader, 7_445),
        Op::Wait(19_500),
        Op::Mint(leader, 300),
        Op::Wait(1_200),
        Op::FailOver(2),
        Op::Wait(400),
    ];
    let tally = run(Settings::DEFAULT, &ops).unwrap_or_else(|wrong| panic!("{wrong:?}"));
    assert_eq!((tally.of("alarms of standbys"), tally.of("fenced leaders")), (1, 2), "{tally:?}");
}

/// The connection of a leader broke, another one led, and minted. The former one has not noticed, and says what it knows itself.
#[test]
fn the_bound_of_a_former_leader_includes_what_its_successor_has_minted() {
    let leader = Who::Leader;
    let ops = [
        Op::Cut(leader, true),
        Op::Disconnect(leader),
        Op::Wait(1_200),
        Op::Mint(leader, 3_600),
        Op::Wait(3_000),
    ];
    let settings = Settings { strict: true, clients: 2, percent: 100, ..Settings::DEFAULT };
    let tally = run(settings, &ops).unwrap_or_else(|wrong| panic!("{wrong:?}"));
    assert!(tally.of("instants with a bound of a former leader") > 0, "{tally:?}");
}
