//! One scenario: its operations, and the checks after each step.

mod apply;
pub(crate) mod broker;
mod calls;
pub(crate) mod checks;
pub(crate) mod coturn;
pub(crate) mod dice;
pub(crate) mod disk;
pub(crate) mod faults;
mod flow;
mod foreign;
pub(crate) mod inaccuracies;
pub(crate) mod limits;
mod minting;
pub(crate) mod ops;
mod promised;
mod readings;
mod refusals;
mod reports;
mod restarts;
pub(crate) mod settings;
mod settled;
mod sfu;
mod stories;
mod sums;
pub(crate) mod tally;
mod truth;
pub(crate) mod world;
pub(crate) mod worlds;

use turn_ledger::IceSource::{Cloudflare, Relay};

use checks::Checks;
use prelude::*;
use settings::COTURN;
use tally::Tally;

/// What most modules here use.
mod prelude {
    pub(super) use std::collections::{BTreeMap, BTreeSet};
    pub(super) use std::sync::Arc;
    pub(super) use std::time::Duration;

    pub(super) use turn_ledger::*;

    pub(super) use super::broker::Broker;
    pub(super) use super::checks::Excuse;
    pub(super) use super::coturn::Cli;
    pub(super) use super::dice::Dice;
    pub(super) use super::disk::Disk;
    pub(super) use super::faults::Fault;
    pub(super) use super::flow::Relaying;
    pub(super) use super::inaccuracies::Inaccuracy;
    pub(super) use super::limits::server_named;
    pub(super) use super::minting::{Held, user_named};
    pub(super) use super::ops::Op;
    pub(super) use super::settings::{Change, DAY, Keys, ONE, SOURCE, Settings, millis, owner_of};
    pub(super) use super::world::{METERED, TurnKey, World};
}

/// 2025-02-01T00:00Z: a reset.
const RESET: i64 = 1_738_368_000_000;

/// One in so many draws is a story.
const STORIES: u64 = 40;

/// The operations of one run.
#[derive(Clone, Debug)]
pub(crate) struct Scenario {
    pub(crate) settings: Settings,
    /// Milliseconds from the start to the first reset.
    pub(crate) before_reset: u64,
    pub(crate) ops: Vec<Op>,
}

impl Scenario {
    /// Random operations with some of these faults. The same arguments give the same scenario. All runs, short and long, draw from
    /// the same distribution.
    pub(crate) fn random(seed: u64, steps: u64, strict: bool, faults: &[Fault]) -> Self {
        let mut dice =
            Dice::new(seed.wrapping_mul(2).wrapping_add(u64::from(strict)).wrapping_mul(0x2545_f491));
        let chance = dice.one_of(&[0, 1, 1, 2, 4, 8]);
        let chosen = faults.iter().copied().filter(|_| dice.below(8) < chance).collect();
        dice.faults = chosen;
        dice.is_a_rush = dice.below(3) == 0;
        dice.is_chatty = dice.below(4) == 0;
        let mut settings = Settings { strict, clients: dice.below(4), ..Settings::DEFAULT };
        if dice.below(3) == 0 {
            (settings.limit, settings.billing_day) = (dice.limit(), dice.billing_day());
        }
        if dice.has(Fault::Sources) {
            settings.sources = dice.sources();
        }
        if dice.has(Fault::Coturn) {
            (settings.sources, settings.cli, dice.wait_max) = (COTURN, true, 3_600_000);
        }
        let in_calls = dice.below(4) == 0;
        if in_calls && !settings.cli {
            let choices: [&[IceSource]; 3] = [&[Relay], &[Relay, Cloudflare], &[Cloudflare, Relay]];
            settings.sources = dice.one_of(&choices);
        }
        if dice.below(2) == 0 {
            (settings.user_limit, settings.relays_with_both) = (
                Some(dice.one_of(&[2_360_000_000, 2_660_000_000, 4_720_000_000])),
                dice.below(160) == 0 && strict,
            );
            settings.limit = settings.limit.max(100_000_000_000);
            // Often the user's own limit is reached first.
            settings.percent = dice.one_of(&[5, 100, 100]);
        }
        settings.has_addresses = dice.has(Fault::Addresses);
        if dice.has(Fault::SmallTables) {
            settings.rows_max = 12;
            // Whose row of a user comes first is another one after a restart, and a session without one is closed.
            settings.users_max = if dice.has(Fault::Sfu) { settings.users_max } else { 2 };
        }
        settings.sfu = dice.has(Fault::Sfu);
        if settings.sfu {
            dice.wait_max = dice.wait_max.min(4 * 3_600_000);
        }
        settings.unlisted = dice.has(Fault::Unlisted);
        settings.tells_time = seed.is_multiple_of(2);
        settings.provider_ahead = [118_000, -118_000, 0][usize::try_from(seed % 3).unwrap_or(0)];
        // A provider whose clock is behind cannot count the last minutes of ours.
        settings.lag = if dice.has(Fault::LateGrants) || settings.provider_ahead < 0 { 600_000 } else { 0 };
        settings.probes = dice.has(Fault::Probes);
        // The SFU's bytes are counted by the same provider, and no probe shows that.
        settings.counts_nothing = settings.probes && !settings.sfu && dice.below(4) == 0;
        settings.draw_keys(seed);
        settings.is_fast = dice.has(Fault::Fast) && dice.below(4) == 0;
        if settings.is_fast {
            // Of a key that nobody counts, nothing shows that somebody relays more than is assumed.
            settings.keys = Keys::One;
        }
        settings.clients += u64::from(settings.is_fast);
        settings.draw_limits(seed);
        settings.draw_relays(seed);
        let before_reset = dice.one_of(&[4 * 3_600_000, 20 * 86_400_000, 5 * 60_000]);
        let is_of_relay = u64::from(in_calls && settings.sources[0] == Cloudflare);
        let mut ops = vec![Op::From { nth: is_of_relay }];
        let steps = usize::try_from(steps).unwrap_or(usize::MAX);
        while ops.len() <= steps {
            let drawn = if dice.below(STORIES) == 0 { dice.story() } else { vec![dice.op()] };
            ops.extend(drawn.into_iter().map(|op| if in_calls { dice.in_calls(op) } else { op }));
        }
        ops.truncate(steps + 1);
        Self { settings, before_reset, ops }.with_starts(seed).with_relays(seed)
    }

    /// The same with operations about each of several coturns, of which some die and return, and with sessions of other programs.
    fn with_relays(mut self, seed: u64) -> Self {
        if !self.settings.cli {
            return self;
        }
        let relays = self.settings.relays;
        let has_foreign = Dice::new(seed ^ 0x7461_6c6b).below(2) == 0;
        let mut dice = Dice::new(seed ^ 0x6469_6573);
        let mut about = |op: Op| {
            let at = Op::At { relay: dice.one_of(&[0, 1, 2]) % relays };
            match op {
                Op::Coturn(_) | Op::RestartCoturn => vec![at, op],
                Op::Read { .. } if has_foreign && dice.below(2) == 0 => {
                    let most = 1 << dice.below(9);
                    let foreign = Op::Foreign { user: dice.below(3), steps: dice.below(most) };
                    vec![at, foreign, op]
                }
                Op::Flush | Op::ComeBack { .. } if relays > 1 => match dice.below(4) {
                    0 => vec![at, Op::Die],
                    1 => vec![at, Op::Return, op],
                    _ => vec![op],
                },
                _ => vec![op],
            }
        };
        self.ops = self.ops.into_iter().flat_map(&mut about).collect();
        self
    }

    /// The same with a standby that takes over where a process starts again, and with starts of coturn. They come from dice of their own,
    /// so that the other operations stay the same.
    fn with_starts(mut self, seed: u64) -> Self {
        let mut dice = Dice::new(seed ^ 0x7a4e_0bee);
        let has_standby = dice.below(3) == 0 && !self.uses_relay();
        let cli = self.settings.cli;
        if cli && dice.below(4) == 0 {
            self.ops.splice(0..0, dice.start_of_coturn());
        }
        for op in &mut self.ops {
            match op {
                Op::Crash | Op::Down { .. } if has_standby => *op = dice.takeover(),
                Op::Coturn(_) | Op::Flush if cli && dice.below(2) == 0 => *op = Op::RestartCoturn,
                _ => {}
            }
        }
        self
    }

    /// Whether the relay in the process is a source, at first or after a change.
    pub(crate) fn uses_relay(&self) -> bool {
        let changed = self.ops.iter().filter_map(|op| match op {
            Op::Change(Change::Sources(sources)) => Some(*sources),
            _ => None,
        });
        changed.chain([self.settings.sources]).any(|sources| sources.contains(&Relay))
    }

    fn start(&self) -> Timestamp {
        Timestamp::from_millis(RESET - i64::try_from(self.before_reset).unwrap_or(0))
    }

    /// A shorter scenario that still fails.
    fn shrunk<D: Disk>(self, winds_down: bool) -> Self {
        let with = |ops| Self { ops, ..self.clone() };
        with(shortened(self.ops.clone(), |ops| run::<D>(&with(ops), winds_down).is_err()))
    }
}

/// Fewer operations that still fail. Leaves out some of them while the rest fails.
pub(crate) fn shortened<T: Clone>(mut ops: Vec<T>, fails: impl Fn(Vec<T>) -> bool) -> Vec<T> {
    let mut size = ops.len() / 2;
    while size > 0 {
        let mut from = 0;
        while from < ops.len() {
            let mut fewer = ops.clone();
            fewer.drain(from..(from + size).min(ops.len()));
            if fails(fewer.clone()) { ops = fewer } else { from += size }
        }
        size /= 2;
    }
    ops
}

/// A check that failed.
pub(crate) struct Failure {
    step: usize,
    what: String,
}

/// Runs a scenario until everything has ended. Returns how much was checked. Panics if a check fails.
pub(crate) fn whole<D: Disk>(scenario: &Scenario) -> Tally {
    checked::<D>(scenario, true).1
}

fn checked<D: Disk>(scenario: &Scenario, winds_down: bool) -> (Broker<D>, Tally) {
    run::<D>(scenario, winds_down).unwrap_or_else(|Failure { step, what }| {
        let failing = Scenario { ops: scenario.ops[..=step].to_vec(), ..scenario.clone() };
        let shrunk = failing.shrunk::<D>(winds_down);
        let why = run::<D>(&shrunk, winds_down).err().map_or_else(String::new, |failure| failure.what);
        panic!("step {step}: {what}\nAdd it to `reproductions`:\n{shrunk:?}\nIt fails with: {why}")
    })
}

fn run<D: Disk>(scenario: &Scenario, winds_down: bool) -> Result<(Broker<D>, Tally), Failure> {
    let mut world = World::default();
    let has_relay = scenario.settings.sources.contains(&Relay);
    world.by_grant_late = scenario.settings.lag / 2;
    world.by_grant = (scenario.settings.counts_by_grant() || has_relay).then(BTreeMap::new);
    let mut broker = Broker::new(scenario.settings, scenario.start(), D::new());
    let mut checks = Checks::new(&broker);
    for (step, op) in scenario.ops.iter().enumerate() {
        broker.apply_with_answers(*op, &mut world);
        broker.end_credentials(&mut world);
        broker.give_up_late(&world);
        if broker.settings.unlisted && op.begins() {
            broker.advance(&mut world);
        } else {
            broker.list_sessions_if_due(&mut world);
        }
        if let Some(what) = checks.step(&world, &mut broker) {
            let figures = broker.books.snapshot().figures;
            return Err(Failure { step, what: format!("{what}; {figures:?}") });
        }
    }
    if winds_down {
        broker.note_disturbance(&world, 0);
        let uncounted = broker.count_all(&mut world).or_else(|| checks.step(&world, &mut broker));
        broker.wind_down(&mut world);
        if let Some(what) =
            uncounted.or_else(|| sums::rest(&broker)).or_else(|| sums::old_minutes(&mut broker))
        {
            return Err(Failure { step: scenario.ops.len() - 1, what });
        }
    }
    for inaccuracy in broker.accepted.take() {
        checks.tally.note(inaccuracy.into());
    }
    Ok((broker, checks.tally))
}

/// Runs a scenario and compares its books with the restored ones, at the time of the restart and later. Returns what was stored.
pub(crate) fn restored_equals_written<D: Disk>(scenario: &Scenario) -> Stored {
    let (mut broker, _) = checked::<D>(scenario, false);
    // A start forgets what a connection may still claim, which is little while minting is stopped.
    if broker.books.is_frozen() {
        // No request to a provider takes so long.
        broker.give_up(|_| true);
        let given_up = broker.books.now().plus_millis(3 * 1_000 * scenario.settings.heartbeat.max(600));
        broker.books.advance(given_up);
    }
    let mut again = broker.reopened();
    for later in [0, 60_000, 3_600_000, 30 * 86_400_000] {
        let then = again.now().plus_millis(later);
        again.advance(then);
        broker.books.advance(then);
        assert_eq!(visible(&mut again), visible(&mut broker.books), "{scenario:?}, {later} ms later");
    }
    broker.stored()
}

/// What a caller can see of the books.
#[derive(Debug, PartialEq)]
struct Visible {
    snapshot: Snapshot,
    /// What each open connection was charged.
    charged: BTreeMap<Arc<str>, u64>,
    past: Vec<(Period, ByteCount)>,
    /// The rows of grants as they are stored: the rest counts from the start of the process.
    grants: BTreeMap<GrantId, serde_json::Value>,
    /// Key, bytes that were measured, claimed and settled, grants, and live grants of each row.
    spenders: Vec<(Option<SpenderKey>, [ByteCount; 3], u64, u64)>,
    blocked: Vec<SpenderKey>,
    users: Vec<Option<LimitShare>>,
    servers: Vec<Option<LimitShare>>,
}

/// Reads everything that a caller can see of the books.
fn visible(books: &mut Books) -> Visible {
    let mut snapshot = books.snapshot();
    // These count from the start of the process, so a restart resets them.
    snapshot.measured.unread_for = Duration::ZERO;
    snapshot.measured.uncut = false;
    // When a spender was seen last may be that of a grant that was undone.
    let sums = |SpenderSums { key, sums, live, .. }: SpenderSums| {
        (key, [sums.measured(), sums.claimed(), sums.settled()], sums.grants(), live)
    };
    let users = [0, 1, 2].map(|user| books.limit_share(&Limited::User(minting::user_named(user))));
    let servers = [0, 1].map(|server| books.limit_share(&Limited::Server(limits::server_named(server))));
    let (connections, now) = (books.connections(), books.now());
    let charged =
        connections.iter().map(|it| (Arc::from(it.name.id()), it.charged(now, &connections.rules).get()));
    Visible {
        snapshot,
        charged: charged.collect(),
        past: books.budget().past(),
        grants: books.grants().iter().map(|(id, row)| (*id, stored(row))).collect(),
        spenders: SpenderKind::ALL.iter().flat_map(|kind| spenders(books, *kind)).map(sums).collect(),
        blocked: books.blocks().map(|(spender, _)| spender.clone()).collect(),
        users: users.into(),
        servers: servers.into(),
    }
}

/// The rows of who spends.
fn spenders(books: &Books, kind: SpenderKind) -> Vec<SpenderSums> {
    let mut walk = SpenderWalk::new(kind, None);
    while !walk.look(books.grants()) {}
    let mut rows = walk.rows(&books.period_bytes());
    rows.sort_by(|a, b| a.order().cmp(&b.order()));
    rows
}

fn stored(row: &GrantRow) -> serde_json::Value {
    let mut row = serde_json::to_value(row).unwrap_or_else(|error| unreachable!("{error}"));
    // The time in which a session took nothing is not stored.
    if let Some(pulls) = row.pointer_mut("/extra/pulls").and_then(serde_json::Value::as_object_mut)
        && pulls.get("active").is_none_or(|active| *active == 0)
    {
        pulls.remove("counted_until");
    }
    row
}
