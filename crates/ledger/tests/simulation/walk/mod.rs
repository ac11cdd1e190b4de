//! One seeded walk: what is done, and what must hold after each step.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

pub(crate) mod broker;
pub(crate) mod disk;
mod ops;
mod world;

use turn_ledger::books::{Books, Snapshot};
use turn_ledger::units::{ByteCount, Timestamp};
use turn_ledger::verdict::Figures;

use broker::{Broker, LIMIT};
use disk::Disk;
use ops::{Dice, Op};
use world::World;

/// 2025-02-01T00:00Z: a reset.
const RESET: i64 = 1_738_368_000_000;

/// Which walk.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Walk {
    pub(crate) seed: u64,
    pub(crate) steps: u64,
    pub(crate) strict: bool,
}

impl Walk {
    /// Where it begins: hours before a reset, days, or minutes.
    fn begin(self) -> Timestamp {
        let before = [4 * 3_600_000, 20 * 86_400_000, 5 * 60_000];
        Timestamp::from_millis(RESET - before[usize::try_from(self.seed % 3).unwrap_or(0)])
    }

    fn dice(self) -> Dice {
        let (is_a_rush, has_orders) = (self.seed.is_multiple_of(2), self.seed.is_multiple_of(5));
        Dice { state: self.seed, is_a_rush, has_orders }
    }
}

/// A promise that was broken.
pub(crate) struct Failure {
    walk: Walk,
    step: u64,
    what: String,
    done: Vec<Op>,
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let last = &self.done[self.done.len().saturating_sub(20)..];
        write!(
            f,
            "{:?} at step {}: {}
the last steps: {last:#?}
Repeat it with SEED={} STEPS={}, and keep it in reproductions.rs.",
            self.walk, self.step, self.what, self.walk.seed, self.walk.steps
        )
    }
}

/// The broker at the end of a walk that breaks nothing.
pub(crate) fn end_of<D: Disk>(walk: Walk, disk: D) -> Broker<D> {
    go(walk, disk).unwrap_or_else(|failure| panic!("{failure}"))
}

fn go<D: Disk>(walk: Walk, disk: D) -> Result<Broker<D>, Failure> {
    let mut dice = walk.dice();
    let mut world = World::default();
    let mut done = vec![];
    let mut broker = Broker::new(walk.strict, walk.begin(), disk);
    let mut highest_limit = LIMIT;
    for step in 0..walk.steps {
        let op = dice.op();
        done.push(op);
        let before = broker.books.snapshot().figures;
        broker.apply(op, &mut world);
        broker.advance(&world);
        highest_limit = highest_limit.max(broker.books.snapshot().figures.limit);
        if let Some(what) = broken(walk.strict, &world, &before, highest_limit, &broker) {
            let figures = broker.books.snapshot().figures;
            return Err(Failure { walk, step, what: format!("{what}; {figures:?}"), done });
        }
    }
    Ok(broker)
}

/// What does not hold, if anything.
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
    let promise = |figures: &Figures| figures.limit.plus(figures.overshoot_bound()).get();
    let most = promise(before).max(promise(&figures));
    if truth > most {
        return Some(format!("true bytes {truth} exceed limit and bound {most}"));
    }
    // A limit that was lowered under what is promised leaves a bound, and no way to take it back.
    if strict && (figures.committed > highest_limit || truth > highest_limit.get()) {
        return Some(format!("strict mode owes {:?}, true bytes {truth}", figures.overshoot_bound()));
    }
    if figures.used > figures.committed {
        return Some("used exceeds committed".into());
    }
    // Each of the two parts of a count is rounded up.
    if snapshot.measured.bytes.get() > truth + 1 {
        return Some(format!("{:?} were counted, and {truth} relayed", snapshot.measured.bytes));
    }
    if figures.limit != broker.ordered {
        return Some(format!("the limit is {:?}, and {:?} was ordered", figures.limit, broker.ordered));
    }
    if figures.now != broker.present(world) {
        return Some(format!("the books are at {}, the world at {}", figures.now, broker.present(world)));
    }
    // In strict mode a client that talks on after its tail casts doubt, truthfully or not.
    (!strict && !snapshot.measured.assumption.holds).then(|| "doubts where nothing is wrong".into())
}

/// Everything about books that a caller can see.
pub(crate) fn visible(books: &Books) -> (Snapshot, Vec<(Arc<str>, u64)>, u64) {
    let mut snapshot = books.snapshot();
    // A process that has just begun has not waited for a reading yet.
    snapshot.measured.unread_for = Duration::ZERO;
    let charged = books.connections().map(|connection| {
        let bytes = connection.charged(snapshot.figures.now, books.rules()).get();
        (Arc::clone(&connection.id), bytes)
    });
    (snapshot, charged.collect(), books.previous().map_or(0, |(_, used)| used.get()))
}
