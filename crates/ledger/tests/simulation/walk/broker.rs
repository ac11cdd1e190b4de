//! A broker without sockets: books, disk and clocks.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::Duration;

use turn_ledger::books::{Books, Written};
use turn_ledger::changes::{Batch, Stored};
use turn_ledger::connection::{Connection, Report};
use turn_ledger::period::Period;
use turn_ledger::reports::Caller;
use turn_ledger::source::{IceSource, MINT_SLACK};
use turn_ledger::time::{Boot, Moment, SteadyTime};
use turn_ledger::token::GrantId;
use turn_ledger::units::{ByteCount, Timestamp};

use super::checks::Excuse;
use super::coturn::{CUT_FOR, Cli};
use super::disk::Disk;
use super::lateness::Lateness;
use super::minting::{Held, InFlight, user_named};
use super::ops::Op;
use super::settings::{Change, DAY, Settings, millis};
use super::world::World;

#[expect(clippy::struct_excessive_bools, reason = "each is a fact of its own")]
pub(crate) struct Broker<D> {
    pub(super) settings: Settings,
    pub(super) begin: Timestamp,
    pub(crate) books: Books,
    pub(super) disk: D,
    /// The last copy of the ledger.
    copy: Option<D>,
    /// Credentials that are being made.
    pub(super) in_flight: VecDeque<InFlight>,
    /// How often something was written.
    pub(super) writes: u64,
    /// Since when the relay has counted, in the world's milliseconds, and what was counted before.
    pub(super) relay: (u64, ByteCount),
    /// Changes that could not be written yet.
    pub(super) unwritten: Option<Batch>,
    pub(super) time: SteadyTime,
    /// How far the wall clock is behind the world's time, in milliseconds.
    offset: i64,
    /// How far the wall clock was set ahead, in milliseconds. Zero once the books have accepted it.
    pub(crate) step: u64,
    /// Which start of the machine this is.
    boot: u128,
    /// The part of the world's time that the time since boot lacks, in milliseconds.
    paused: u64,
    /// Whether the books are behind the world: the wall clock was behind when the machine started.
    pub(super) lags: bool,
    pub(super) grants: Vec<Held>,
    pub(super) minted: u64,
    /// The grants of the members of calls.
    pub(super) members: BTreeSet<GrantId>,
    /// Credentials whose relaying the relay has ended.
    pub(super) cut_off: Vec<Held>,
    /// The user of each grant, if there is a limit for each user.
    pub(crate) users: BTreeMap<GrantId, u64>,
    /// The place of the next credential's source in `ICE_SOURCES`.
    pub(super) from: u64,
    pub(super) cli: Cli,
    /// When coturn's sessions were last listed, in the world's milliseconds and in the books' time.
    pub(super) listed_at: Option<(u64, Timestamp)>,
    /// When the TURN key was replaced, in the world's milliseconds. Bytes relayed before belong to another key.
    pub(super) key_since: u64,
    /// The limit that was set last.
    pub(crate) limit: ByteCount,
    pub(super) lateness: Lateness,
    /// Whether the latest count lacks bytes that arrive later.
    pub(crate) lacks: bool,
    /// Whether a count of this period lacked such bytes.
    pub(crate) lacked: bool,
    /// Whether the app server has reported a connection. What it reports can exceed the limit.
    has_reporter: bool,
    /// Whether something has happened that may contradict the assumed rate.
    pub(crate) may_break: bool,
    /// The ended period whose whole count was read last.
    pub(crate) last_read: Option<Period>,
    pub(super) signs: Signs,
}

/// What happened in a step.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Signs {
    /// Something else than a credential may have raised the bound.
    pub(crate) excuse: Option<Excuse>,
}

impl<D: Disk> Broker<D> {
    pub(crate) fn new(settings: Settings, begin: Timestamp, disk: D) -> Self {
        let books = settings.open(disk.read(), begin.into());
        Self {
            settings,
            begin,
            lateness: settings.lateness(&books),
            books,
            disk,
            copy: None,
            in_flight: VecDeque::new(),
            writes: 0,
            relay: (0, ByteCount::ZERO),
            unwritten: None,
            time: SteadyTime::new(begin, Boot::new(1), Duration::ZERO),
            boot: 1,
            offset: 0,
            step: 0,
            paused: 0,
            lags: false,
            grants: vec![],
            minted: 0,
            members: BTreeSet::new(),
            cut_off: vec![],
            users: BTreeMap::new(),
            from: 0,
            cli: Cli::default(),
            listed_at: None,
            key_since: 0,
            limit: ByteCount::new(settings.limit),
            lacks: false,
            lacked: false,
            has_reporter: false,
            may_break: false,
            last_read: None,
            signs: Signs::default(),
        }
    }

    /// True bytes of a period.
    pub(crate) fn truth(&self, world: &World, period: Period) -> u64 {
        let (start, end) = (period.start.millis_since(self.begin), period.end.millis_since(self.begin));
        world.bytes_between(start, world.now.min(end))
    }

    /// True bytes of a user in a period.
    pub(crate) fn truth_of_user(&self, world: &World, user: u64, period: Period) -> u64 {
        let (start, end) = (period.start.millis_since(self.begin), period.end.millis_since(self.begin));
        let grants = self.users.iter().filter(|(_, of)| **of == user);
        grants.map(|(grant, _)| world.bytes_of_grant(*grant, start, end)).sum()
    }

    /// The world's time, which the books must have. While the wall clock is ahead, it is the later of the two.
    pub(crate) fn present(&self, world: &World) -> Timestamp {
        self.begin.plus_millis(world.now)
    }

    pub(super) fn wall(&self, world: &World) -> Timestamp {
        Timestamp::from_millis(self.begin.as_millis() - self.offset).plus_millis(world.now + self.step)
    }

    pub(super) fn since_boot(&self, world: &World) -> Duration {
        Duration::from_millis(world.now - self.paused)
    }

    fn is_in_doubt(&self) -> bool {
        self.books.snapshot().clock_ahead > Duration::ZERO
    }

    /// Advances the books to now.
    pub(crate) fn advance(&mut self, world: &mut World) -> Timestamp {
        let moment = self.time.read(self.wall(world), self.since_boot(world));
        if self.step > 0 && moment.now == moment.wall {
            self.accept_step(world);
        }
        let period = self.books.snapshot().figures.period;
        let now = self.books.advance(moment);
        // The long tails of all grants are promised while their sessions are not cut.
        let is_listed =
            self.listed_at.is_some_and(|(_, at)| now.max(moment.wall).millis_since(at) <= CUT_FOR);
        if self.settings.cli && !is_listed {
            self.excuse_uncut();
        }
        self.lags &= now < self.present(world);
        // What a count of another period lacked does not matter any more.
        let is_same = self.books.snapshot().figures.period == period;
        (self.lacks, self.lacked) = (self.lacks && is_same, self.lacked && is_same);
        let is_reporter = |connection: &Connection| connection.grant.is_none();
        if self.books.connections().any(is_reporter) {
            self.excuse(Excuse::Reporter);
        }
        now
    }

    /// Strict mode's bound may exceed zero after this step.
    pub(super) fn excuse(&mut self, excuse: Excuse) {
        self.signs.excuse.get_or_insert(excuse);
    }

    /// The wall clock is so far ahead from now on.
    fn set_ahead(&mut self, millis: u64, world: &mut World) {
        self.step = millis;
        world.doubt(millis > 0);
        self.advance(world);
    }

    /// The books accept that the wall clock was set ahead. From here on it is right, and the time before was wrong. What
    /// credentials relay that were minted before the step is not covered by the bound, so they stop.
    fn accept_step(&mut self, world: &mut World) {
        world.skip(self.step);
        self.cut_off.clear();
        for held in &mut self.grants {
            (held.expires, held.end) = (held.expires + self.step, held.end + self.step);
        }
        (self.paused, self.step) = (self.paused + self.step, 0);
    }

    /// Nobody ended coturn's sessions for a while.
    pub(super) fn excuse_uncut(&mut self) {
        if self.settings.cli {
            self.excuse(Excuse::Uncut);
        }
    }

    /// What happened since the last call.
    pub(crate) fn take_signs(&mut self) -> Signs {
        std::mem::take(&mut self.signs)
    }

    /// Whether the test of the lag found that counts grow.
    pub(crate) fn counts_grow(&self) -> bool {
        self.lateness.late().is_some_and(|late| late.grows)
    }

    #[expect(clippy::too_many_lines, reason = "one arm for each operation")]
    pub(crate) fn apply(&mut self, op: Op, world: &mut World) {
        let now = self.advance(world);
        match op {
            Op::Wait { millis, share } => {
                self.pass(millis, share, world);
                self.advance(world);
                // The flush of every second.
                self.tidy();
            }
            // A second fault of the clock in doubt loses what the first one promised: ADR 10 names it.
            Op::ClockBack { .. } if self.step > 0 => self.set_ahead(0, world),
            Op::ClockBack { .. } | Op::ClockGlitch { .. } | Op::ClockStep { .. } if self.is_in_doubt() => {}
            Op::ClockStep { millis } => {
                if self.offset == 0 {
                    self.set_ahead(millis, world);
                }
            }
            Op::Pause { millis, share } => {
                self.offset = 0;
                self.set_ahead(0, world);
                self.paused += millis;
                world.pass_without_broker(millis, share);
            }
            Op::ClockBack { millis } => {
                // The flush of every second: an accepted jump is stored.
                self.flush();
                self.offset += millis;
            }
            Op::ClockRight => self.offset = 0,
            Op::ClockGlitch { millis } => {
                self.offset -= millis;
                self.advance(world);
                self.offset += millis;
            }
            Op::Mint { life, delay } => self.mint_for_client(life, delay, world),
            Op::MintFromPool { life, age } => self.mint_from_pool(life, age, world),
            Op::Renew { nth, life, delay } => self.renew(nth, life, delay, world),
            Op::Reserve { life } => self.begin_mint(life, world),
            Op::Commit => self.commit_oldest(world),
            Op::Settle { written } => self.settle_oldest(written, world),
            Op::HangUp { nth, after } => {
                if let Some(held) = self.held(nth) {
                    world.leave(held.grant.source, held.number, world.now + after);
                }
            }
            Op::Block { user, is_blocked } => {
                let user = user_named(user);
                if is_blocked {
                    let _ = self.books.block_user(&user);
                    let _ = self.books.revoke_user(&user);
                } else {
                    self.books.unblock_user(&user);
                }
                self.flush();
            }
            Op::Freeze(is_frozen) => {
                self.books.override_freeze(is_frozen);
                self.flush();
            }
            Op::DropReadings => {
                if self.books.drop_readings() {
                    self.excuse(Excuse::Dropped);
                }
            }
            Op::Copy => {
                self.flush();
                self.copy = self.disk.copy();
            }
            Op::Restore => self.restore_copy(world),
            Op::MintFails { life } => self.fail_to_mint(life),
            Op::MintUnwritten { life, written } => {
                let handed_out = self.mint(life, written, None);
                debug_assert!(handed_out.is_none(), "a grant that was not recorded was handed out");
            }
            Op::CrashAfterCommit { life } => {
                if let Some(grant) = self.mint(life, Written::Yes, None) {
                    let delay = millis(MINT_SLACK);
                    self.hand_out(world, delay, &grant);
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
                self.limit = ByteCount::new(self.settings.limit / 100 * percent);
                self.books.override_limit(Some(self.limit));
                self.flush();
            }
            // Strict mode reserves nothing for other keys.
            Op::ReplaceKey => self.key_since = if self.settings.strict { 0 } else { world.now },
            Op::Read { back, missed } => {
                self.read(world, back, missed);
                self.read_by_grant(world, back, missed);
            }
            Op::ReadLast { missed } => self.read_last(world, missed),
            Op::Late { millis } => {
                world.lateness = millis;
                self.may_break = true;
            }
            Op::ReadFallen => self.read_fallen(now),
            Op::ReadAhead { millis } => self.read_ahead(world, millis),
            Op::Coturn(cli) => self.cli = cli,
            Op::Down { millis, share } => {
                self.excuse_uncut();
                world.pass_without_broker(millis, share);
                self.restart(world);
                self.list_sessions(world);
            }
            Op::Reboot { millis, share, behind } => {
                self.set_ahead(0, world);
                self.excuse_uncut();
                world.pass_without_broker(millis, share);
                (self.boot, self.paused, self.offset) = (self.boot + 1, world.now, behind);
                self.lags |= behind > 0;
                self.restart(world);
                self.list_sessions(world);
            }
            Op::From { nth } => self.from = nth,
            Op::ReadRelay { is_slow } => self.look_at_relay(is_slow, world),
            Op::Join { life } => self.join_call(life, world),
            Op::Leave { nth } => self.leave_call(nth),
            Op::KeepCalls => self.keep_calls(),
            Op::Change(change) => self.change(change, world),
            Op::ReporterOpens { relayed } => {
                self.excuse(Excuse::Reporter);
                self.has_reporter = true;
                let _ = self.books.open(Caller::Reporter, "r", relayed);
            }
            Op::ReporterBeats { bytes } => {
                self.excuse(Excuse::Reporter);
                let report = Report { bytes_received: bytes, ..Report::default() };
                let _ = self.books.heartbeat(Caller::Reporter, "r", report);
            }
            Op::ReporterCloses => {
                self.excuse(Excuse::Reporter);
                let _ = self.books.close(Caller::Reporter, "r", Report::default());
            }
            Op::Flush => self.tidy(),
            Op::Crash => self.restart(world),
        }
    }

    /// The tidy and the flush of every second.
    fn tidy(&mut self) {
        self.books.forget_expired();
        self.flush();
    }

    /// Two periods pass in which nothing is relayed.
    pub(crate) fn wind_down(&mut self, world: &mut World) {
        self.set_ahead(0, world);
        (self.offset, self.cli) = (0, Cli::Works);
        for millis in [40 * DAY, 600_000, 40 * DAY, 600_000] {
            self.time.set_reference(self.present(world), self.since_boot(world));
            self.pass(millis, 0, world);
            self.list_sessions(world);
            while !self.books.forget_expired() {}
            self.flush();
        }
    }

    /// Restores the last copy. The credentials that were handed out since are unknown.
    fn restore_copy(&mut self, world: &mut World) {
        let Some(copy) = self.copy.take() else { return };
        self.disk = copy;
        // The copy does not know of pauses since.
        self.lags = true;
        self.restart(world);
        self.limit = self.books.snapshot().figures.limit;
        let grants = self.books.grants();
        world.forget(|grant| grants.get(grant).is_some());
        self.excuse(Excuse::Restored);
    }

    /// Writes all changes to disk.
    pub(super) fn flush(&mut self) {
        let batch = self.books.take_batch();
        match &mut self.unwritten {
            Some(unwritten) => unwritten.append(batch),
            None => self.unwritten = Some(batch),
        }
        self.write();
    }

    pub(super) fn write(&mut self) {
        if let Some(batch) = self.unwritten.take() {
            self.disk.write(batch);
            self.writes += 1;
        }
    }

    /// Restarts the process.
    fn restart(&mut self, world: &mut World) {
        self.unwritten = None;
        self.in_flight.clear();
        // The sockets of its calls are gone.
        self.members.clear();
        // A reading that brought the bound down may be lost.
        if self.has_reporter {
            self.excuse(Excuse::Reporter);
        }
        self.excuse_uncut();
        // What was read or listed and not written is lost.
        (self.last_read, self.listed_at, self.lacks) = (None, None, self.lacked);
        let (stored, wall, since_boot) = (self.disk.read(), self.wall(world), self.since_boot(world));
        self.time = stored.time(wall, Boot::new(self.boot), since_boot);
        self.books = self.settings.open(stored, self.time.read(wall, since_boot));
        self.lateness = self.settings.lateness(&self.books);
        if self.settings.relay_forgets {
            self.relay = (world.now, self.counted(IceSource::Relay).1);
        }
        self.admit_again(world);
    }

    /// Restarts the process with another setting.
    fn change(&mut self, change: Change, world: &mut World) {
        self.flush();
        let before = ByteCount::new(self.settings.limit);
        self.settings.change(change);
        self.excuse(Excuse::Setting);
        (self.may_break, self.last_read) = (true, None);
        if let Change::Limit(limit) = change
            && ByteCount::new(limit) != before
        {
            self.limit = ByteCount::new(limit);
        }
        for source in IceSource::ALL.into_iter().filter(|source| source.is_metered()) {
            world.assume(source, self.settings.assumed(source));
        }
        self.restart(world);
    }

    /// Everything that is stored.
    pub(crate) fn stored(&self) -> Stored {
        self.disk.read()
    }

    /// Writes all changes, and returns the books that another process would restore.
    pub(crate) fn reopened(&mut self) -> Books {
        self.books.finish();
        self.flush();
        let moment = Moment { jumped: Duration::ZERO, may_be_wrong: false, ..self.books.moment() };
        self.settings.open(self.disk.read(), moment)
    }
}
