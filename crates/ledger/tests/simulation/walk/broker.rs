//! A broker without sockets: books, disk and clocks.

use std::time::Duration;

use turn_ledger::books::{Books, Written};
use turn_ledger::changes::{Batch, Stored};
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

/// The configured limit, low enough to be reached.
pub(crate) const LIMIT: ByteCount = ByteCount::new(10_000_000_000);
const TAIL: Duration = Duration::from_secs(7_200);
const SLACK: Duration = Duration::from_secs(4);
/// How much of the true bytes the provider's count may miss, in percent.
const SAMPLING: u32 = 5;
const SOURCE: IceSource = IceSource::Cloudflare;

/// A credential that a client has.
#[derive(Clone, Copy)]
struct Held {
    grant: Grant,
    /// When it stops relaying, in the world's milliseconds: its own end or that of the one it renews, if later.
    end: u64,
}

pub(crate) struct Broker<D> {
    strict: bool,
    begin: Timestamp,
    pub(crate) books: Books,
    disk: D,
    /// Changes that could not be written yet.
    unwritten: Option<Batch>,
    time: SteadyTime,
    /// How far the wall clock is behind the world's time, in milliseconds.
    offset: i64,
    /// For how long the machine was paused, in milliseconds.
    paused: u64,
    grants: Vec<Held>,
    minted: u64,
    /// When the TURN key was replaced, in the world's milliseconds. Bytes relayed before belong to another key.
    key_since: u64,
    /// The limit that was set last.
    pub(crate) limit: ByteCount,
}

impl<D: Disk> Broker<D> {
    pub(crate) fn new(strict: bool, begin: Timestamp, disk: D) -> Self {
        let books = open(strict, disk.read(), begin);
        let time = SteadyTime::from(begin, Duration::ZERO);
        let (offset, paused, key_since, minted, limit) = (0, 0, 0, 0, LIMIT);
        Self {
            strict,
            begin,
            books,
            disk,
            unwritten: None,
            time,
            offset,
            paused,
            grants: vec![],
            minted,
            key_since,
            limit,
        }
    }

    /// True bytes of the books' current period.
    pub(crate) fn truth(&self, world: &World) -> u64 {
        let period = self.books.snapshot().figures.period;
        let end = period.end.millis_since(self.begin);
        world.bytes_between(period.start.millis_since(self.begin), world.now.min(end))
    }

    /// The world's time, which the books must have.
    pub(crate) fn present(&self, world: &World) -> Timestamp {
        self.begin.plus_millis(world.now)
    }

    fn wall(&self, world: &World) -> Timestamp {
        Timestamp::from_millis(self.begin.as_millis() - self.offset).plus_millis(world.now)
    }

    fn since_boot(&self, world: &World) -> Duration {
        Duration::from_millis(world.now - self.paused)
    }

    /// Passes the provider's clock to the broker. That clock is right and comes with each count.
    fn hear(&mut self, world: &World) {
        self.time.hear(self.present(world), self.since_boot(world));
        self.advance(world);
    }

    fn is_in_doubt(&self) -> bool {
        self.books.snapshot().clock_ahead > Duration::ZERO
    }

    /// Advances the books to now.
    pub(crate) fn advance(&mut self, world: &World) -> Timestamp {
        let moment = self.time.read(self.wall(world), self.since_boot(world));
        self.books.advance(moment)
    }

    pub(crate) fn apply(&mut self, op: Op, world: &mut World) {
        let now = self.advance(world);
        match op {
            Op::Wait { millis, share } => {
                world.pass(millis, share);
                self.advance(world);
                // The flush of every second.
                self.flush();
            }
            // A second fault of the clock in doubt loses what the first one promised: ADR 10 names it.
            Op::ClockBack { .. } | Op::ClockGlitch { .. } if self.is_in_doubt() => {}
            Op::Pause { millis, share } => {
                self.offset = 0;
                self.advance(world);
                self.paused += millis;
                world.pass(millis, share);
            }
            Op::ClockBack { millis } => {
                // The flush of every second: a crash on a clock that is behind loses what came after it.
                self.flush();
                self.offset += millis;
            }
            Op::ClockGlitch { millis } => {
                self.offset -= millis;
                self.advance(world);
                self.offset += millis;
            }
            Op::Mint { life, delay } => {
                if let Some(grant) = self.mint(life, Written::Yes, None) {
                    let end = hand_out(world, delay, &grant);
                    self.grants.push(Held { grant, end });
                }
            }
            Op::Renew { nth, life, delay } => self.renew(nth, life, delay, world),
            Op::MintFails { life } => {
                let held = self.books.reserve(SOURCE, Duration::from_secs(life), SLACK, None);
                if let Ok(hold) = held {
                    self.books.release(&hold);
                }
            }
            Op::MintUnwritten { life, written } => {
                let handed_out = self.mint(life, written, None);
                debug_assert!(handed_out.is_none(), "a grant that was not recorded was handed out");
            }
            Op::CrashAfterCommit { life } => {
                if let Some(grant) = self.mint(life, Written::Yes, None) {
                    world.hand_out(SLACK, grant.expires_at.since(grant.issued_at), TAIL);
                }
                self.restart(world);
            }
            Op::Open { nth, relayed } => {
                if let Some(caller) = self.caller(nth) {
                    let _ = self.books.open(caller, "c", relayed);
                }
            }
            Op::Beat { nth, bytes, relayed } => {
                let report = Report { bytes_received: bytes, relayed, ..Report::default() };
                if let Some(caller) = self.caller(nth) {
                    let _ = self.books.heartbeat(caller, "c", report);
                }
            }
            Op::Close { nth } => {
                if let Some(caller) = self.caller(nth) {
                    let _ = self.books.close(caller, "c", Report::default());
                }
            }
            Op::Revoke { nth } => {
                if let Some(Caller::Grant(grant)) = self.caller(nth) {
                    let _ = self.books.revoke(grant.id);
                }
            }
            Op::Limit { percent } => {
                self.limit = ByteCount::new(LIMIT.get() / 100 * percent);
                self.books.override_limit(Some(self.limit));
                self.flush();
            }
            // Strict mode reserves nothing for other keys.
            Op::ReplaceKey => self.key_since = if self.strict { 0 } else { world.now },
            Op::Read { back, missed } => self.read(world, back, missed),
            Op::ReadFallen => self.read_fallen(now),
            Op::ReadAhead { millis } => self.read_ahead(world, millis),
            Op::Flush => self.flush(),
            Op::Crash => self.restart(world),
        }
    }

    /// Reads the provider's count up to `back` milliseconds before the wall clock. It misses `missed` thousandths.
    fn read(&mut self, world: &World, back: u64, missed: u64) {
        self.hear(world);
        let as_of = Timestamp::from_millis(self.wall(world).as_millis()).as_millis();
        let as_of = Timestamp::from_millis(as_of - i64::try_from(back).unwrap_or(0));
        let period = billing_day().period_at(Timestamp::from_millis(as_of.as_millis() - 1));
        let reading = self.reading(world, period, as_of, missed);
        let _ = self.books.take_reading(SOURCE, &reading);
    }

    /// The provider's count, which misses `missed` thousandths.
    fn reading(&self, world: &World, period: Period, as_of: Timestamp, missed: u64) -> Reading {
        let (begin, end) = (period.start.millis_since(self.begin), as_of.millis_since(self.begin));
        let told = 1_000 - missed;
        let seen = |from, to| ByteCount::new((world.bytes_between(from, to) * told).div_ceil(1_000));
        let other = seen(begin, end.min(self.key_since));
        Reading { period, as_of, granted: seen(begin.max(self.key_since), end), other }
    }

    /// Reads a count that is half of the previous one.
    fn read_fallen(&mut self, now: Timestamp) {
        let snapshot = self.books.snapshot();
        let granted = ByteCount::new(snapshot.measured.bytes.get() / 2);
        if granted > ByteCount::ZERO {
            let period = snapshot.figures.period;
            let reading = Reading { period, as_of: now, granted, other: ByteCount::ZERO };
            let _ = self.books.take_reading(SOURCE, &reading);
        }
    }

    /// Reads the provider's count up to a time in the future. It contains the bytes until now.
    fn read_ahead(&mut self, world: &World, ahead: u64) {
        self.hear(world);
        let now = self.books.now();
        let period = self.books.snapshot().figures.period;
        let reading = self.reading(world, period, now.plus_millis(ahead), 0);
        let _ = self.books.take_reading(SOURCE, &reading);
    }

    /// Issues one credential like the service: reserve, create at the provider, commit, write, settle.
    fn mint(&mut self, life: u64, written: Written, renews: Option<GrantId>) -> Option<Grant> {
        let hold = self.books.reserve(SOURCE, Duration::from_secs(life), SLACK, renews).ok()?;
        self.minted += 1;
        let mut id = [0; 16];
        id[..8].copy_from_slice(&self.minted.to_be_bytes());
        let issued_at = self.books.now();
        let grant = Grant {
            id: GrantId::new(id),
            source: SOURCE,
            issued_at,
            expires_at: issued_at.plus(hold.life()),
        };
        let (commit, batch) = self.books.commit(hold, &grant, Some("user"), renews).ok()?;
        match &mut self.unwritten {
            Some(unwritten) => unwritten.append(batch?),
            None => self.unwritten = batch,
        }
        if written == Written::Yes {
            self.write();
        }
        self.books.settle(&commit, written).ok().map(|()| grant)
    }

    /// A client renews one of its grants. Of the two it relays with one.
    fn renew(&mut self, nth: u64, life: u64, delay: u64, world: &mut World) {
        let Some(renewed) = self.held(nth).filter(|held| self.books.take_renewal(&held.grant)) else {
            return;
        };
        if let Some(grant) = self.mint(life, Written::Yes, Some(renewed.grant.id)) {
            let end = hand_out(world, delay, &grant);
            self.grants.push(Held { grant, end: world.join(renewed.end, end) });
        } else {
            self.books.give_renewal_back(renewed.grant.id);
        }
    }

    /// Writes all changes to disk.
    fn flush(&mut self) {
        let batch = self.books.take_batch();
        match &mut self.unwritten {
            Some(unwritten) => unwritten.append(batch),
            None => self.unwritten = Some(batch),
        }
        self.write();
    }

    fn write(&mut self) {
        if let Some(batch) = self.unwritten.take() {
            self.disk.write(batch);
        }
    }

    /// Restarts the process. The clock's history is lost too, and the wall clock may be behind the stored time.
    fn restart(&mut self, world: &World) {
        self.unwritten = None;
        self.books = open(self.strict, self.disk.read(), self.begin);
        self.time = SteadyTime::from(self.books.now(), self.since_boot(world));
    }

    /// Everything that is stored.
    pub(crate) fn stored(&self) -> Stored {
        self.disk.read()
    }

    /// Writes all changes, and returns the books that another process would restore.
    pub(crate) fn reopened(&mut self) -> Books {
        self.flush();
        open(self.strict, self.disk.read(), self.begin)
    }

    /// One of the two newest credentials.
    fn held(&self, nth: u64) -> Option<Held> {
        let len = u64::try_from(self.grants.len()).ok().filter(|len| *len > 0)?;
        self.grants.iter().rev().nth(usize::try_from(nth % len.min(2)).ok()?).copied()
    }

    fn caller(&self, nth: u64) -> Option<Caller> {
        self.held(nth).map(|held| Caller::Grant(held.grant))
    }
}

fn hand_out(world: &mut World, delay: u64, grant: &Grant) -> u64 {
    world.hand_out(Duration::from_millis(delay), grant.expires_at.since(grant.issued_at), TAIL)
}

fn billing_day() -> BillingDay {
    BillingDay::new(1).unwrap_or_else(|| unreachable!("the first is a day"))
}

fn open(strict: bool, stored: Stored, now: Timestamp) -> Books {
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
    let then = stored.now.unwrap_or(now);
    setup.open(Some(stored), then)
}
