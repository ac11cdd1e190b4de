//! One seeded walk: what is done, and what must hold after each step.

use std::fmt;
use std::time::{Duration, Instant};

use turn_broker::account::books::Books;
use turn_broker::budget::grant::{Grant, GrantId};
use turn_broker::budget::ledger::{LaneTerms, Ledger, Terms};
use turn_broker::budget::period::BillingDay;
use turn_broker::budget::timeline::Rates;
use turn_broker::budget::verdict::BudgetMode;
use turn_broker::clock::SteadyTime;
use turn_broker::ice::IceSource;
use turn_broker::units::{BitRate, ByteCount, Timestamp};
use turn_broker::usage::calls::Caller;
use turn_broker::usage::connection::{BilledDirections, Report, UsageRules};
use turn_broker::usage::estimator::{Bounds, Estimator};

use crate::store::Disk;
use crate::world::{RATE, World};

/// 2025-02-01T00:00Z: a reset.
const RESET: i64 = 1_738_368_000_000;
const LIMIT: ByteCount = ByteCount::new(10_000_000_000);
const TAIL: Duration = Duration::from_secs(7_200);
const SLACK: Duration = Duration::from_secs(4);

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

    /// Whether everybody wants credentials at once.
    fn is_a_rush(self) -> bool {
        self.seed.is_multiple_of(2)
    }
}

/// What can happen.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Op {
    /// Time passes while credential holders relay a share of the most, in 256ths.
    Wait { millis: u64, share: u64 },
    /// Somebody sets the wall clock back.
    ClockBack { millis: i64 },
    /// A client asks; the provider makes the credential so long after it was asked, and the answer arrives.
    Mint { life: u64, delay: u64 },
    /// The provider fails, or answers after our time-out: nobody holds that credential.
    MintFails { life: u64 },
    /// The process dies after the grant was written and before the answer left: for all we know it was read.
    CrashAfterCommit { life: u64 },
    /// A client opens a connection on one of its grants, truthfully or not.
    Open { nth: u64, relayed: Option<bool> },
    /// A client reports, truthfully or not.
    Beat { nth: u64, bytes: Option<u64>, relayed: Option<bool> },
    /// A client closes.
    Close { nth: u64 },
    /// What has changed goes to disk.
    Flush,
    /// The process is killed and started again.
    Crash,
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
        write!(f, "{:?} at step {}: {}\nthe last steps: {last:#?}", self.walk, self.step, self.what)
    }
}

/// splitmix64: small, and the same everywhere.
struct Dice {
    state: u64,
    is_a_rush: bool,
}

impl Dice {
    fn roll(&mut self) -> u64 {
        self.state = self.state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.state;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    fn below(&mut self, end: u64) -> u64 {
        self.roll() % end
    }

    fn says(&mut self) -> Option<bool> {
        [None, Some(true), Some(false)][usize::try_from(self.below(3)).unwrap_or(0)]
    }

    fn op(&mut self) -> Op {
        let life = [60, 300, 3_600, 86_400, 172_800][usize::try_from(self.below(5)).unwrap_or(0)];
        if self.is_a_rush && self.below(3) > 0 {
            return Op::Mint { life, delay: self.below(4_000) };
        }
        match self.below(24) {
            0..=5 => Op::Wait { millis: self.below(120_000), share: self.below(257) },
            6 | 7 => Op::Wait { millis: self.below(14_400_000), share: 256 },
            8 => Op::Wait { millis: self.below(40 * 86_400_000), share: 256 },
            9 => Op::ClockBack { millis: i64::try_from(self.below(86_400_000)).unwrap_or(0) },
            10..=13 => Op::Mint { life, delay: self.below(4_000) },
            14 => Op::MintFails { life },
            15 => Op::CrashAfterCommit { life },
            16 | 17 => Op::Open { nth: self.roll(), relayed: self.says() },
            18..=20 => {
                let bytes = (self.below(3) > 0).then(|| self.roll() >> self.below(64));
                Op::Beat { nth: self.roll(), bytes, relayed: self.says() }
            }
            21 => Op::Close { nth: self.roll() },
            22 => Op::Flush,
            _ => Op::Crash,
        }
    }
}

/// The broker's side, without sockets: books, disk, clocks.
pub(crate) struct Broker {
    strict: bool,
    begin: Timestamp,
    pub(crate) books: Books,
    disk: Disk,
    time: SteadyTime,
    grants: Vec<Grant>,
    minted: u64,
}

/// Runs a walk to its end, or to the first broken promise.
pub(crate) fn run(walk: Walk) -> Result<(), Failure> {
    go(walk).map(drop)
}

/// The broker at the end of a walk that breaks nothing.
pub(crate) fn end_of(walk: Walk) -> Broker {
    go(walk).unwrap_or_else(|failure| panic!("{failure}"))
}

fn go(walk: Walk) -> Result<Broker, Failure> {
    #[expect(clippy::disallowed_methods, reason = "an instant cannot be made otherwise")]
    let start = Instant::now();
    let mut dice = Dice { state: walk.seed, is_a_rush: walk.is_a_rush() };
    let mut world = World::default();
    let mut offset = 0;
    let mut done = vec![];
    let mut broker = Broker::new(walk, start);
    broker.advance(&world, offset, start);
    for step in 0..walk.steps {
        let op = dice.op();
        done.push(op);
        let published = broker.books.statement().figures.overshoot_bound();
        broker.apply(op, &mut world, &mut offset, start);
        let figures = broker.books.statement().figures;
        let what = broken(walk.strict, &world, published.max(figures.overshoot_bound()), &broker);
        if let Some(what) = what {
            return Err(Failure { walk, step, what: format!("{what}; {figures:?}"), done });
        }
    }
    Ok(broker)
}

fn broken(strict: bool, world: &World, bound: ByteCount, broker: &Broker) -> Option<String> {
    let figures = broker.books.statement().figures;
    let most = LIMIT.plus(bound).get();
    if world.bytes > most {
        return Some(format!("true bytes {} exceed limit and bound {most}", world.bytes));
    }
    if strict && (figures.overshoot_bound() > ByteCount::ZERO || world.bytes > LIMIT.get()) {
        return Some(format!("strict mode owes {:?}, true bytes {}", figures.overshoot_bound(), world.bytes));
    }
    (figures.used > figures.committed).then(|| "used exceeds committed".into())
}

impl Broker {
    fn new(walk: Walk, start: Instant) -> Self {
        let disk = Disk::default();
        let begin = walk.begin();
        let books = open(walk.strict, &disk, begin);
        let time = SteadyTime::from(begin, start);
        Self { strict: walk.strict, begin, books, disk, time, grants: vec![], minted: 0 }
    }

    /// The books' present.
    fn advance(&mut self, world: &World, offset: i64, start: Instant) -> Timestamp {
        let wall = Timestamp::from_millis(self.begin.as_millis() - offset).plus_millis(world.now);
        let now = self.time.read(wall, start + Duration::from_millis(world.now));
        self.books.advance(now)
    }

    fn apply(&mut self, op: Op, world: &mut World, offset: &mut i64, start: Instant) {
        let now = self.advance(world, *offset, start);
        match op {
            Op::Wait { millis, share } => {
                world.pass(millis, share, now, |at| billing_day().period_at(at));
                self.advance(world, *offset, start);
                // The flush of every second.
                self.disk.write(self.books.take_changes());
            }
            Op::ClockBack { millis } => *offset += millis,
            Op::Mint { life, delay } => {
                if let Some(grant) = self.mint(life, now) {
                    world.hand_out(
                        Duration::from_millis(delay),
                        grant.expires_at.since(grant.issued_at),
                        TAIL,
                    );
                    self.grants.push(grant);
                }
            }
            Op::MintFails { life } => {
                let held = self.books.reserve(IceSource::Cloudflare, Duration::from_secs(life), SLACK, now);
                if let Ok(hold) = held {
                    self.books.release(hold, now);
                }
            }
            Op::CrashAfterCommit { life } => {
                if let Some(grant) = self.mint(life, now) {
                    world.hand_out(SLACK, grant.expires_at.since(grant.issued_at), TAIL);
                }
                self.restart(start + Duration::from_millis(world.now));
            }
            Op::Open { nth, relayed } => {
                if let Some(caller) = self.caller(nth) {
                    let _ = self.books.open(caller, "c", relayed, now);
                }
            }
            Op::Beat { nth, bytes, relayed } => {
                let report = Report { bytes_received: bytes, relayed, ..Report::default() };
                if let Some(caller) = self.caller(nth) {
                    let _ = self.books.heartbeat(caller, "c", report, now);
                }
            }
            Op::Close { nth } => {
                if let Some(caller) = self.caller(nth) {
                    let _ = self.books.close(caller, "c", Report::default(), now);
                }
            }
            Op::Flush => self.disk.write(self.books.take_changes()),
            Op::Crash => self.restart(start + Duration::from_millis(world.now)),
        }
    }

    /// Reserve, commit, write, as the account does it.
    fn mint(&mut self, life: u64, now: Timestamp) -> Option<Grant> {
        let hold = self.books.reserve(IceSource::Cloudflare, Duration::from_secs(life), SLACK, now).ok()?;
        self.minted += 1;
        let mut id = [0; 16];
        id[..8].copy_from_slice(&self.minted.to_be_bytes());
        let expires_at = now.plus(hold.life());
        let grant = Grant { id: GrantId::new(id), source: IceSource::Cloudflare, issued_at: now, expires_at };
        let commit = self.books.commit(hold, &grant, None, now);
        self.disk.write(self.books.grant_changes(commit.changes(), None));
        Some(grant)
    }

    /// All memory is gone, the clock's history too; the wall clock may be behind what is on disk.
    fn restart(&mut self, instant: Instant) {
        self.books = open(self.strict, &self.disk, self.begin);
        self.time = SteadyTime::from(self.books.statement().figures.now, instant);
    }

    /// Everything is written; the books as another process would find them.
    pub(crate) fn reopened(&mut self) -> Books {
        self.disk.write(self.books.take_changes());
        open(self.strict, &self.disk, self.begin)
    }

    fn caller(&self, nth: u64) -> Option<Caller> {
        let len = u64::try_from(self.grants.len()).ok().filter(|len| *len > 0)?;
        self.grants.iter().rev().nth(usize::try_from(nth % len.min(2)).ok()?).copied().map(Caller::Grant)
    }
}

fn billing_day() -> BillingDay {
    BillingDay::new(1).unwrap_or_else(|| unreachable!("the first is a day"))
}

fn open(strict: bool, disk: &Disk, now: Timestamp) -> Books {
    let terms = Terms {
        limit: LIMIT,
        billing_day: billing_day(),
        rates: Rates {
            estimated: BitRate::new(2_000_000),
            liability: BitRate::new(RATE * 8_000),
            silent_grant: ByteCount::ZERO,
            promises_cap_claims: strict,
        },
        mode: if strict { BudgetMode::Strict } else { BudgetMode::Estimate },
    };
    let rules = UsageRules {
        heartbeat: Duration::from_secs(600),
        billed: BilledDirections::Egress,
        estimated_rate: BitRate::new(2_000_000),
    };
    let coverage = if strict { vec![] } else { vec![(IceSource::Cloudflare, TAIL + SLACK)] };
    let estimator = Estimator::new(rules, Bounds::default(), coverage, IceSource::Cloudflare);
    let recovered = disk.read();
    let then = recovered.now.unwrap_or(now);
    let counts = recovered.counts.filter(|(of, _)| *of == billing_day().period_at(then));
    let counts = counts.map(|(_, counts)| counts).unwrap_or_default();
    let lane = LaneTerms { source: IceSource::Cloudflare, tail: TAIL };
    let ledger = Ledger::restore(terms, &[lane], then, counts, &recovered.lanes);
    Books::restore(ledger, estimator, recovered)
}
