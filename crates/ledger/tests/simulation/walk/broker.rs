//! The broker's side without sockets: books, disk and clocks, and every way in which somebody makes it act.

use std::time::{Duration, Instant};

use turn_ledger::books::Books;
use turn_ledger::changes::Recovered;
use turn_ledger::connection::{BilledDirections, Report, UsageRules};
use turn_ledger::connections::Bounds;
use turn_ledger::ledger::{SourceTerms, Terms};
use turn_ledger::open::Setup;
use turn_ledger::period::{BillingDay, Period};
use turn_ledger::reading::Reading;
use turn_ledger::reports::Caller;
use turn_ledger::source::IceSource;
use turn_ledger::time::SteadyTime;
use turn_ledger::timeline::Rates;
use turn_ledger::token::{Grant, GrantId};
use turn_ledger::units::{BitRate, ByteCount, Timestamp};
use turn_ledger::verdict::BudgetMode;

use super::disk::Disk;
use super::ops::Op;
use super::world::{RATE, World};

/// The configured limit: little enough to be reached.
pub(crate) const LIMIT: ByteCount = ByteCount::new(10_000_000_000);
const TAIL: Duration = Duration::from_secs(7_200);
const SLACK: Duration = Duration::from_secs(4);
/// How far the provider's count may lie below the truth, in percent.
const SAMPLING: u32 = 5;
const SOURCE: IceSource = IceSource::Cloudflare;

pub(crate) struct Broker<D> {
    strict: bool,
    begin: Timestamp,
    pub(crate) books: Books,
    disk: D,
    time: SteadyTime,
    /// By how much the wall clock was set back, in milliseconds.
    offset: i64,
    start: Instant,
    grants: Vec<Grant>,
    minted: u64,
    /// When the TURN key was replaced, in the world's milliseconds: what was relayed before is another key's.
    key_since: u64,
    /// The limit that somebody spoke of last.
    pub(crate) ordered: ByteCount,
}

impl<D: Disk> Broker<D> {
    pub(crate) fn new(strict: bool, begin: Timestamp, disk: D) -> Self {
        #[expect(clippy::disallowed_methods, reason = "an instant cannot be made otherwise")]
        let start = Instant::now();
        let books = open(strict, disk.read(), begin);
        let time = SteadyTime::from(begin, start);
        let (offset, key_since, minted, ordered) = (0, 0, 0, LIMIT);
        Self { strict, begin, books, disk, time, offset, start, grants: vec![], minted, key_since, ordered }
    }

    /// True bytes of the period that the books are in.
    pub(crate) fn truth(&self, world: &World) -> u64 {
        let period = self.books.statement().figures.period;
        world.bytes_between(period.start.millis_since(self.begin), world.now)
    }

    /// The world's present, as the books should know it.
    pub(crate) fn present(&self, world: &World) -> Timestamp {
        self.begin.plus_millis(world.now)
    }

    fn wall(&self, world: &World) -> Timestamp {
        Timestamp::from_millis(self.begin.as_millis() - self.offset).plus_millis(world.now)
    }

    /// Brings the books to the present.
    pub(crate) fn advance(&mut self, world: &World) -> Timestamp {
        let now = self.time.read(self.wall(world), self.start + Duration::from_millis(world.now));
        self.books.advance(now)
    }

    pub(crate) fn apply(&mut self, op: Op, world: &mut World) {
        let now = self.advance(world);
        match op {
            Op::Wait { millis, share } => {
                world.pass(millis, share);
                self.advance(world);
                // The flush of every second.
                self.disk.write(self.books.take_changes());
            }
            Op::ClockBack { millis } => self.offset += millis,
            Op::ClockGlitch { millis } => {
                self.offset -= millis;
                self.advance(world);
                self.offset += millis;
            }
            Op::Mint { life, delay } => {
                if let Some(grant) = self.mint(life, now) {
                    let life = grant.expires_at.since(grant.issued_at);
                    world.hand_out(Duration::from_millis(delay), life, TAIL);
                    self.grants.push(grant);
                }
            }
            Op::MintFails { life } => {
                let held = self.books.reserve(SOURCE, Duration::from_secs(life), SLACK, now);
                if let Ok(hold) = held {
                    self.books.release(hold, now);
                }
            }
            Op::CrashAfterCommit { life } => {
                if let Some(grant) = self.mint(life, now) {
                    world.hand_out(SLACK, grant.expires_at.since(grant.issued_at), TAIL);
                }
                self.restart(world);
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
            Op::Revoke { nth } => {
                if let Some(Caller::Grant(grant)) = self.caller(nth) {
                    let _ = self.books.revoke(grant.id, now);
                }
            }
            Op::Limit { percent } => {
                self.ordered = ByteCount::new(LIMIT.get() / 100 * percent);
                self.books.override_limit(Some(self.ordered));
                self.disk.write(self.books.take_changes());
            }
            // Strict mode promises nothing of what other keys relay.
            Op::ReplaceKey => self.key_since = if self.strict { 0 } else { world.now },
            Op::Read { back, missed } => self.read(world, back, missed, now),
            Op::ReadFallen => self.read_fallen(now),
            Op::ReadAhead { millis } => self.read_ahead(world, millis, now),
            Op::Flush => self.disk.write(self.books.take_changes()),
            Op::Crash => self.restart(world),
        }
    }

    /// The provider is asked for what it saw up to `back` ago by the wall clock. It missed so many thousandths.
    fn read(&mut self, world: &World, back: u64, missed: u64, now: Timestamp) {
        let as_of = Timestamp::from_millis(self.wall(world).as_millis()).as_millis();
        let as_of = Timestamp::from_millis(as_of - i64::try_from(back).unwrap_or(0));
        let period = billing_day().period_at(Timestamp::from_millis(as_of.as_millis() - 1));
        let reading = self.reading(world, period, as_of, missed);
        let _ = self.books.take_reading(SOURCE, &reading, now);
    }

    /// What the provider says, having missed so many thousandths.
    fn reading(&self, world: &World, period: Period, as_of: Timestamp, missed: u64) -> Reading {
        let (begin, end) = (period.start.millis_since(self.begin), as_of.millis_since(self.begin));
        // Strict mode makes up for what sampling misses; the figures of estimate mode take a count as it is.
        let told = if self.strict { 1_000 - missed } else { 1_000 };
        let seen = |from, to| ByteCount::new((world.bytes_between(from, to) * told).div_ceil(1_000));
        let other = seen(begin, end.min(self.key_since));
        Reading { period, as_of, granted: seen(begin.max(self.key_since), end), other }
    }

    /// The provider says half of what it has said before.
    fn read_fallen(&mut self, now: Timestamp) {
        let statement = self.books.statement();
        let granted = ByteCount::new(statement.measured.bytes.get() / 2);
        if granted > ByteCount::ZERO {
            let period = statement.figures.period;
            let reading = Reading { period, as_of: now, granted, other: ByteCount::ZERO };
            let _ = self.books.take_reading(SOURCE, &reading, now);
        }
    }

    /// The provider is asked for a time that has not come yet. What it says then reaches up to the present.
    fn read_ahead(&mut self, world: &World, ahead: u64, now: Timestamp) {
        let period = self.books.statement().figures.period;
        let reading = self.reading(world, period, now.plus_millis(ahead), 0);
        let _ = self.books.take_reading(SOURCE, &reading, now);
    }

    /// Reserve, commit, write, as the account does it.
    fn mint(&mut self, life: u64, now: Timestamp) -> Option<Grant> {
        let hold = self.books.reserve(SOURCE, Duration::from_secs(life), SLACK, now).ok()?;
        self.minted += 1;
        let mut id = [0; 16];
        id[..8].copy_from_slice(&self.minted.to_be_bytes());
        let expires_at = now.plus(hold.life());
        let grant = Grant { id: GrantId::new(id), source: SOURCE, issued_at: now, expires_at };
        let commit = self.books.commit(hold, &grant, Some("user"), None, now);
        if self.books.is_strict() {
            self.disk.write(self.books.take_changes());
        }
        self.disk.write(self.books.grant_changes(&commit, grant.id, None));
        Some(grant)
    }

    /// All memory is gone, the clock's history too; the wall clock may be behind what is on disk.
    fn restart(&mut self, world: &World) {
        self.books = open(self.strict, self.disk.read(), self.begin);
        let instant = self.start + Duration::from_millis(world.now);
        self.time = SteadyTime::from(self.books.statement().figures.now, instant);
    }

    /// Everything that is stored.
    pub(crate) fn stored(&self) -> Recovered {
        self.disk.read()
    }

    /// Everything is written; the books as another process would find them.
    pub(crate) fn reopened(&mut self) -> Books {
        self.disk.write(self.books.take_changes());
        open(self.strict, self.disk.read(), self.begin)
    }

    fn caller(&self, nth: u64) -> Option<Caller> {
        let len = u64::try_from(self.grants.len()).ok().filter(|len| *len > 0)?;
        self.grants.iter().rev().nth(usize::try_from(nth % len.min(2)).ok()?).copied().map(Caller::Grant)
    }
}

fn billing_day() -> BillingDay {
    BillingDay::new(1).unwrap_or_else(|| unreachable!("the first is a day"))
}

fn open(strict: bool, recovered: Recovered, now: Timestamp) -> Books {
    let terms = Terms {
        limit: LIMIT,
        billing_day: billing_day(),
        rates: Rates {
            estimated: BitRate::new(2_000_000),
            liability: BitRate::new(RATE * 8_000),
            unreported_grant: ByteCount::ZERO,
            promises_cap_claims: strict,
        },
        mode: if strict { BudgetMode::Strict } else { BudgetMode::Estimate },
    };
    let rules = UsageRules {
        heartbeat: Duration::from_secs(600),
        billed: BilledDirections::Egress,
        estimated_rate: BitRate::new(2_000_000),
    };
    let source =
        SourceTerms { source: SOURCE, tail: TAIL, cut_tail: None, sampling: SAMPLING, is_read: true };
    let setup =
        Setup { terms, sources: vec![source], rules, bounds: Bounds::default(), default_source: SOURCE };
    let then = recovered.now.unwrap_or(now);
    setup.open(Some(recovered), then)
}
