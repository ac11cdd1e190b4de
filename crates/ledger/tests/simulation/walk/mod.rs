//! One scenario: its operations, and the checks after each step.

use std::sync::Arc;
use std::time::Duration;

pub(crate) mod broker;
pub(crate) mod disk;
mod minting;
pub(crate) mod ops;
mod readings;
pub(crate) mod settings;
mod world;

use turn_ledger::books::{Books, Snapshot};
use turn_ledger::units::{ByteCount, Timestamp};
use turn_ledger::verdict::Figures;

use broker::Broker;
use disk::{Disk, MemoryDisk};
use ops::{Dice, Op};
use settings::Settings;
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
        let mut dice = Dice { state: seed, is_a_rush, has_overrides };
        let before_reset = [4 * 3_600_000, 20 * 86_400_000, 5 * 60_000];
        let before_reset = before_reset[usize::try_from(seed % 3).unwrap_or(0)];
        let settings = Settings { strict, ..Settings::default() };
        Self { settings, before_reset, ops: (0..steps).map(|_| dice.op()).collect() }
    }

    fn start(&self) -> Timestamp {
        Timestamp::from_millis(RESET - i64::try_from(self.before_reset).unwrap_or(0))
    }

    /// A shorter scenario that still fails. Leaves out operations while the rest fails.
    fn shrunk(mut self) -> Self {
        let mut size = self.ops.len() / 2;
        while size > 0 {
            let mut from = 0;
            while from < self.ops.len() {
                let mut ops = self.ops.clone();
                ops.drain(from..(from + size).min(ops.len()));
                let shorter = Self { ops, ..self.clone() };
                if run(&shorter, MemoryDisk::new()).is_err() { self = shorter } else { from += size }
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

/// Runs a scenario and returns its broker. Panics if a check fails.
pub(crate) fn end_of<D: Disk>(scenario: &Scenario, disk: D) -> Broker<D> {
    run(scenario, disk).unwrap_or_else(|Failure { step, what }| {
        let failing = Scenario { ops: scenario.ops[..=step].to_vec(), ..scenario.clone() };
        panic!("step {step}: {what}\nAdd it to reproductions.rs:\n{:?}", failing.shrunk())
    })
}

fn run<D: Disk>(scenario: &Scenario, disk: D) -> Result<Broker<D>, Failure> {
    let mut world = World::default();
    let mut broker = Broker::new(scenario.settings, scenario.start(), disk);
    let mut highest_limit = broker.limit;
    for (step, op) in scenario.ops.iter().enumerate() {
        let before = broker.books.snapshot().figures;
        broker.apply(*op, &mut world);
        broker.advance(&world);
        highest_limit = highest_limit.max(broker.books.snapshot().figures.limit);
        if let Some(what) = broken(scenario.settings.strict, &world, &before, highest_limit, &broker) {
            let figures = broker.books.snapshot().figures;
            return Err(Failure { step, what: format!("{what}; {figures:?}") });
        }
    }
    Ok(broker)
}

/// The first check that fails, if any.
fn broken(
    strict: bool,
    world: &World,
    before: &Figures,
    highest_limit: ByteCount,
    broker: &Broker<impl Disk>,
) -> Option<String> {
    let snapshot = broker.books.snapshot();
    let figures = snapshot.figures;
    let truth = broker.truth(world);
    let bound = |figures: &Figures| figures.limit.plus(figures.overshoot_bound()).get();
    let most = bound(before).max(bound(&figures));
    if truth > most {
        return Some(format!("true bytes {truth} exceed limit and bound {most}"));
    }
    // Lowering the limit does not release promises, so the bound can then exceed zero.
    if strict && (figures.committed > highest_limit || truth > highest_limit.get()) {
        return Some(format!(
            "strict mode has a bound of {:?}, true bytes {truth}",
            figures.overshoot_bound()
        ));
    }
    if figures.used > figures.committed {
        return Some("used exceeds committed".into());
    }
    // Each of the two parts of a count is rounded up.
    if snapshot.measured.bytes.get() > truth + 1 {
        return Some(format!("{:?} were measured, but only {truth} were relayed", snapshot.measured.bytes));
    }
    if figures.limit != broker.limit {
        return Some(format!("the limit is {:?}, but {:?} was set", figures.limit, broker.limit));
    }
    if figures.now.plus(snapshot.clock_ahead) != broker.present(world) {
        return Some(format!("the books' time is {}, the world's is {}", figures.now, broker.present(world)));
    }
    // In strict mode, a report after the tail breaks the assumption, whether it is true or not.
    (!strict && !snapshot.measured.assumption.holds)
        .then(|| "the assumption is broken without a reason".into())
}

/// Everything that a caller can see of the books.
pub(crate) fn visible(books: &Books) -> (Snapshot, Vec<(Arc<str>, u64)>, u64) {
    let mut snapshot = books.snapshot();
    // This counts from the start of the process, so a restart resets it.
    snapshot.measured.unread_for = Duration::ZERO;
    let charged = books.connections().map(|connection| {
        let bytes = connection.charged(snapshot.figures.now, books.rules()).get();
        (Arc::clone(&connection.id), bytes)
    });
    (snapshot, charged.collect(), books.previous().map_or(0, |(_, used)| used.get()))
}
