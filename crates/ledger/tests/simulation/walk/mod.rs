//! One scenario: its operations, and the checks after each step.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

pub(crate) mod broker;
mod calls;
pub(crate) mod checks;
pub(crate) mod coturn;
pub(crate) mod disk;
#[expect(unreachable_pub, reason = "the service uses more of it")]
#[path = "../../../../../src/meter/cloudflare/lateness.rs"]
mod lateness;
mod minting;
pub(crate) mod ops;
mod readings;
pub(crate) mod settings;
mod world;

use turn_ledger::books::{Books, Snapshot};
use turn_ledger::source::IceSource;
use turn_ledger::units::Timestamp;

use broker::Broker;
use checks::{Checks, Tally};
use disk::Disk;
use ops::{Dice, Faults, Op};
use settings::{COTURN, ONE, Settings};
use world::World;

/// 2025-02-01T00:00Z: a reset.
const RESET: i64 = 1_738_368_000_000;

/// The operations of one run.
#[derive(Clone, Debug)]
pub(crate) struct Scenario {
    pub(crate) settings: Settings,
    /// Milliseconds from the start to the first reset.
    pub(crate) before_reset: u64,
    pub(crate) ops: Vec<Op>,
}

impl Scenario {
    /// Random operations. The same arguments give the same scenario.
    pub(crate) fn random(seed: u64, steps: u64, strict: bool) -> Self {
        let (is_a_rush, has_overrides) = (seed.is_multiple_of(2), seed.is_multiple_of(5));
        let faults = Faults {
            late: seed % 8 == 1,
            steps: seed % 8 == 2,
            changes: seed % 8 == 3,
            sources: matches!(seed % 8, 3..=5),
            reporter: seed % 8 == 5,
            coturn: seed % 8 == 6,
            reboots: seed % 8 == 7,
        };
        let mut dice = Dice { state: seed, is_a_rush, has_overrides, faults };
        let before_reset = [4 * 3_600_000, 20 * 86_400_000, 5 * 60_000];
        let before_reset = before_reset[usize::try_from(seed % 3).unwrap_or(0)];
        let mut settings = Settings { strict, ..Settings::default() };
        if faults.sources {
            settings.sources = dice.sources();
        }
        if faults.coturn {
            (settings.sources, settings.cli) = (COTURN, true);
        }
        if seed % 3 == 1 {
            (settings.limit, settings.billing_day) = (dice.limit(), dice.billing_day());
        }
        Self { settings, before_reset, ops: (0..steps).map(|_| dice.op()).collect() }
    }

    /// Random operations of three users with a limit for each, in strict mode.
    pub(crate) fn of_users(seed: u64, steps: u64) -> Self {
        let scenario =
            Self::random(seed / 4 * 8 + [0, 2, 4, 6][usize::try_from(seed % 4).unwrap_or(0)], steps, true);
        let settings = Settings {
            user_limit: Some(6_000_000_000),
            limit: 100_000_000_000,
            sources: if scenario.settings.cli { COTURN } else { ONE },
            relays_with_both: seed / 4 % 2 == 1,
            ..scenario.settings
        };
        Self { settings, ..scenario }
    }

    /// Random operations of calls: members join and leave, and the relay or coturn ends what they relay.
    pub(crate) fn of_calls(seed: u64, steps: u64, strict: bool) -> Self {
        use turn_ledger::source::IceSource::{Cloudflare, Relay};
        const SOURCES: [&[IceSource]; 3] = [&[Relay], &[Relay, Cloudflare], &[Cloudflare, Relay]];
        let is_at_coturn = seed % 12 == 7;
        let faults = if is_at_coturn { 6 } else { seed % 5 };
        let scenario = Self::random(seed / 5 * 8 + faults, steps, strict);
        let of_relay = SOURCES[usize::try_from(seed % 3).unwrap_or(0)];
        let sources = if is_at_coturn { COTURN } else { of_relay };
        let user_limit = (strict && seed % 4 == 1).then_some(6_000_000_000);
        let mut dice =
            Dice { state: seed, is_a_rush: false, has_overrides: false, faults: Faults::default() };
        // The calls' credentials come from the relay, or from coturn.
        let mut ops = vec![Op::From { nth: u64::from(sources[0] == Cloudflare) }];
        ops.extend(scenario.ops.into_iter().map(|op| dice.in_calls(op)));
        let settings = Settings { sources, cli: is_at_coturn, user_limit, ..scenario.settings };
        Self { settings, ops, ..scenario }
    }

    /// A day of the books' time with every fault.
    pub(crate) fn day(seed: u64, strict: bool) -> Self {
        let faults = Faults {
            late: true,
            steps: true,
            changes: true,
            sources: true,
            reporter: true,
            coturn: true,
            reboots: true,
        };
        let mut dice = Dice { state: seed, is_a_rush: false, has_overrides: true, faults };
        let settings = Settings { strict, sources: COTURN, cli: true, ..Settings::default() };
        let (mut ops, mut left) = (vec![], 86_400_000_u64);
        while left > 0 {
            let op = match dice.op() {
                Op::Wait { millis, share } => Op::Wait { millis: millis % 600_000, share },
                other => other,
            };
            if let Op::Wait { millis, .. } = op {
                left = left.saturating_sub(millis);
            }
            ops.push(op);
        }
        Self { settings, before_reset: 12 * 3_600_000, ops }
    }

    fn start(&self) -> Timestamp {
        Timestamp::from_millis(RESET - i64::try_from(self.before_reset).unwrap_or(0))
    }

    /// A shorter scenario that still fails. Leaves out operations while the rest fails.
    fn shrunk<D: Disk>(mut self) -> Self {
        let mut size = self.ops.len() / 2;
        while size > 0 {
            let mut from = 0;
            while from < self.ops.len() {
                let mut ops = self.ops.clone();
                ops.drain(from..(from + size).min(ops.len()));
                let shorter = Self { ops, ..self.clone() };
                if run::<D>(&shorter).is_err() { self = shorter } else { from += size }
            }
            size /= 2;
        }
        self
    }
}

/// A check that failed.
pub(crate) struct Failure {
    step: usize,
    what: String,
}

/// Runs a scenario. Returns its broker and how much was checked. Panics if a check fails.
pub(crate) fn end_of<D: Disk>(scenario: &Scenario) -> (Broker<D>, Tally) {
    run::<D>(scenario).unwrap_or_else(|Failure { step, what }| {
        let failing = Scenario { ops: scenario.ops[..=step].to_vec(), ..scenario.clone() };
        panic!("step {step}: {what}\nAdd it to reproductions.rs:\n{:?}", failing.shrunk::<D>())
    })
}

fn run<D: Disk>(scenario: &Scenario) -> Result<(Broker<D>, Tally), Failure> {
    let mut world = World::default();
    world.by_grant = scenario.settings.user_limit.map(|_| BTreeMap::new());
    let mut broker = Broker::new(scenario.settings, scenario.start(), D::new());
    let mut checks = Checks::new(&broker);
    for (step, op) in scenario.ops.iter().enumerate() {
        broker.apply(*op, &mut world);
        broker.list_sessions_if_due(&mut world);
        if let Some(what) = checks.step(&world, &mut broker) {
            let figures = broker.books.snapshot().figures;
            return Err(Failure { step, what: format!("{what}; {figures:?}") });
        }
    }
    Ok((broker, checks.tally))
}

/// Everything that a caller can see of the books.
pub(crate) fn visible(books: &Books) -> (Snapshot, Vec<(Arc<str>, u64)>, u64) {
    let mut snapshot = books.snapshot();
    // These count from the start of the process, so a restart resets them.
    snapshot.measured.unread_for = Duration::ZERO;
    snapshot.measured.late_counts = None;
    if std::mem::take(&mut snapshot.measured.uncut) {
        snapshot.measured.assumption.holds = true;
    }
    let charged = books.connections().map(|connection| {
        let bytes = connection.charged(snapshot.figures.now, books.rules()).get();
        (Arc::clone(&connection.id), bytes)
    });
    (snapshot, charged.collect(), books.previous().map_or(0, |(_, used)| used.get()))
}
