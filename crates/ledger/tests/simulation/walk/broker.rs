//! A broker without sockets: books, disk and clocks.

use std::cell::RefCell;
use std::collections::VecDeque;

use super::prelude::*;

use super::coturn::{CUT_FOR, Seen};
use super::foreign::Foreign;
use super::minting::InFlight;
use super::settled::Disturbed;
use super::sfu::Page;
use super::world::RELAYS;
use turn_ledger::polls::days::CountedDays;

/// The provider is asked for its time this often while the books' time is uncertain, in milliseconds.
const ASK_PAUSE: u64 = 10_000;
/// Each machine has been running for longer than the one before, by so many milliseconds.
const UPTIME: u64 = 400 * DAY;

#[expect(clippy::struct_excessive_bools, reason = "each is a fact of its own")]
pub(crate) struct Broker<D> {
    pub(super) settings: Settings,
    pub(super) begin: Timestamp,
    pub(crate) books: Books,
    pub(super) disk: D,
    /// The last copy of the ledger.
    pub(super) copy: Option<D>,
    /// Credentials that are being made.
    pub(super) in_flight: VecDeque<InFlight>,
    /// How often something was written.
    pub(super) writes: u64,
    /// Until when the relay's bytes are counted, in the world's milliseconds.
    pub(super) relayed_until: u64,
    /// The days that the provider was asked for.
    pub(super) asked: CountedDays<()>,
    /// Counted days whose bytes arrive later in part.
    pub(super) lacking: BTreeSet<Day>,
    /// The pages that have used the SFU.
    pub(super) pages: Vec<Page>,
    /// Until when the SFU does not answer the broker, in the world's milliseconds.
    pub(super) sfu_down_until: u64,
    /// Changes that could not be written yet.
    pub(super) unwritten: Option<Batch>,
    pub(super) time: SteadyTime,
    /// How far the wall clock is behind the world's time, in milliseconds.
    pub(super) offset: i64,
    /// How far the wall clock was set ahead, in milliseconds. Zero once the books have accepted it.
    pub(crate) step: u64,
    /// Which start of the machine this is.
    pub(crate) boot: u128,
    /// How many machines have led before this one.
    pub(super) machine: u64,
    /// The part of the world's time that the time since boot lacks, in milliseconds.
    pub(super) paused: u64,
    /// When the books last came to the present, when what waits to be written was taken, and what is written, in the world's milliseconds.
    pub(super) advanced_at: u64,
    taken_at: u64,
    pub(super) written_at: u64,
    /// When the provider was asked for its time, in the world's milliseconds.
    pub(super) asked_for_time: Option<u64>,
    /// When the machine started again, in the world's milliseconds, if no clock has said since how long it was off.
    pub(crate) off_until: Option<u64>,
    /// The end of the period in which bytes were lost: a process died while the time was in doubt, and what its relay carried counts in
    /// the books' period; or the machine was off for longer than its clock says, and coturn's sessions ended meanwhile.
    pub(crate) lost_until: Timestamp,
    /// Until when pages pulled while nobody watched them.
    pub(super) unwatched_until: Timestamp,
    /// Whether a copy was restored, or the ledger was lost.
    pub(crate) was_restored: bool,
    /// Since when the books know that they lack credentials, in the world's milliseconds, and the tail then.
    pub(super) lacks_since: Option<(u64, u64)>,
    /// When the ledger was lost, in the world's milliseconds.
    pub(super) lost_at: u64,
    /// Whether the books are behind the world: the wall clock was behind when the machine started.
    pub(super) lags: bool,
    pub(super) grants: Vec<Held>,
    pub(super) minted: u64,
    /// The grants of the members of calls.
    pub(super) members: BTreeSet<GrantId>,
    /// When the source last gave no answer to a revocation, in the books' time.
    pub(super) asked_in_vain: Timestamp,
    /// Credentials whose relaying the relay has ended.
    pub(super) cut_off: Vec<Held>,
    /// The user of each grant, if there is a limit for each user.
    pub(crate) users: BTreeMap<GrantId, u64>,
    /// The server key that asked for each grant, if these have a limit.
    pub(crate) servers: BTreeMap<GrantId, u64>,
    /// The first grant of each chain of renewals at one source.
    pub(super) chains: BTreeMap<GrantId, GrantId>,
    /// Until when grants were counted, in the world's milliseconds.
    pub(super) by_grant_until: u64,
    /// Whether an app server has said what a client's connection has relayed.
    pub(super) has_vouched: bool,
    /// The place of the next credential's source in `ICE_SOURCES`.
    pub(super) from: u64,
    /// The sessions of other programs at coturn, and how many there have been.
    pub(super) foreign: Vec<Foreign>,
    pub(super) foreign_begun: u64,
    /// Each coturn.
    pub(super) seen: [Seen; RELAYS],
    /// The one that the next operations are about.
    pub(super) at: usize,
    /// When the TURN key was replaced, in the world's milliseconds. Bytes relayed before belong to another key.
    pub(super) key_since: u64,
    /// The limit that was set last.
    pub(crate) limit: ByteCount,
    /// Whether the latest count lacks bytes that arrive later.
    pub(crate) lacks: bool,
    /// Whether a count of this period lacked such bytes.
    pub(crate) lacked: bool,
    /// Whether the app server has reported a connection. What it reports can exceed the limit.
    pub(super) has_reporter: bool,
    /// What the broker's probes have relayed.
    pub(super) probed: ByteCount,
    /// Whether the provider has answered a count that no byte explains, a wrong or a future one, or counts late.
    pub(super) was_misled: bool,
    /// The day of which the last answer was wrong.
    pub(super) answered_wrong: Option<Day>,
    /// The same as it is on disk.
    pub(super) wrong_on_disk: Option<Day>,
    /// The inaccuracies that a check needed.
    pub(super) accepted: RefCell<BTreeSet<Inaccuracy>>,
    /// Whether something has happened that may contradict the assumed rate.
    pub(crate) may_break: bool,
    /// The ended period whose whole count was read last.
    pub(crate) last_read: Option<Period>,
    /// Whether coturn's sessions were not cut for a while.
    pub(crate) was_uncut: bool,
    /// Whether some time was never counted by grant.
    pub(super) was_skipped: bool,
    pub(super) signs: Signs,
    /// What disturbs, and until when.
    pub(super) disturbed: Disturbed,
    /// Chains that the provider was asked about, until it answers.
    pub(super) questions: Vec<Suspect>,
    /// Those of the operations before the present one.
    pub(super) due_answers: Vec<Suspect>,
    /// The first thing that an operation found wrong.
    pub(super) wrong: Option<String>,
}

/// What happened in a step.
#[derive(Clone, Debug, Default)]
pub(crate) struct Signs {
    /// Something else than a credential may have raised the bound.
    pub(crate) excuse: Option<Excuse>,
    /// What the books said last of a period that ended.
    pub(crate) ended: Option<Figures>,
    /// Sessions of the SFU and of coturn may have gone on for longer than was promised before the step: nobody watched, or those of the
    /// SFU were promised anew without an admission, in estimate mode.
    pub(crate) went_on: bool,
    /// A listing has shown sessions of other programs.
    pub(crate) saw_foreign: bool,
    /// The books have forgotten a rate that they had seen.
    pub(crate) forgot_rate: bool,
}

impl<D: Disk> Broker<D> {
    pub(crate) fn new(settings: Settings, begin: Timestamp, disk: D) -> Self {
        let books = settings.open(disk.read(), begin.into());
        Self {
            settings,
            begin,
            books,
            disk,
            copy: None,
            in_flight: VecDeque::new(),
            writes: 0,
            relayed_until: 0,
            asked: CountedDays::default(),
            lacking: BTreeSet::new(),
            pages: vec![],
            sfu_down_until: 0,
            unwritten: None,
            time: SteadyTime::new(begin, std::num::NonZeroU128::new(1 << 64), Duration::ZERO),
            boot: 1,
            offset: 0,
            step: 0,
            machine: 0,
            paused: 0,
            advanced_at: 0,
            taken_at: 0,
            written_at: 0,
            asked_for_time: None,
            off_until: None,
            was_restored: false,
            lacks_since: None,
            lost_at: 0,
            lost_until: Timestamp::default(),
            unwatched_until: Timestamp::default(),
            lags: false,
            grants: vec![],
            minted: 0,
            members: BTreeSet::new(),
            asked_in_vain: Timestamp::default(),
            cut_off: vec![],
            users: BTreeMap::new(),
            servers: BTreeMap::new(),
            chains: BTreeMap::new(),
            by_grant_until: 0,
            has_vouched: false,
            from: 0,
            foreign: vec![],
            foreign_begun: 0,
            seen: [Seen::default(); RELAYS],
            at: 0,
            key_since: 0,
            limit: ByteCount::new(settings.limit),
            lacks: false,
            lacked: false,
            has_reporter: false,
            was_misled: false,
            answered_wrong: None,
            wrong_on_disk: None,
            accepted: RefCell::default(),
            probed: ByteCount::ZERO,
            may_break: settings.is_fast,
            last_read: None,
            was_uncut: false,
            was_skipped: false,
            signs: Signs::default(),
            disturbed: Disturbed::default(),
            questions: vec![],
            due_answers: vec![],
            wrong: None,
        }
    }

    /// The world's time, which the books must have. While the wall clock is ahead, it is the later of the two.
    pub(crate) fn present(&self, world: &World) -> Timestamp {
        self.begin.plus_millis(world.now)
    }

    pub(super) fn wall(&self, world: &World) -> Timestamp {
        Timestamp::from_millis(self.begin.as_millis() - self.offset).plus_millis(world.now + self.step)
    }

    pub(super) fn since_boot(&self, world: &World) -> Duration {
        Duration::from_millis(world.now + UPTIME * self.machine - self.paused)
    }

    pub(super) fn is_in_doubt(&self) -> bool {
        self.books.snapshot().clock_ahead > Duration::ZERO
    }

    /// Advances the books to now.
    pub(crate) fn advance(&mut self, world: &mut World) -> Timestamp {
        let moment = self.time.read(self.wall(world), self.since_boot(world));
        if self.step > 0 && moment.now == moment.wall {
            self.accept_step(world);
        }
        let past = self.books.snapshot();
        let period = past.figures.period;
        if !moment.jumped.is_zero() {
            self.excuse_unwatched(world);
        }
        let now = self.books.advance(moment);
        self.advanced_at = world.now;
        self.off_until = self.off_until.filter(|_| moment.jumped.is_zero());
        self.check_past(&past);
        if self.books.budget().period != period {
            self.signs.ended = Some(past.figures);
        }
        self.follow_rate(world);
        // The long tails of all grants are promised while their sessions are not cut.
        let is_recent = |at: Timestamp| now.max(moment.wall).millis_since(at) <= CUT_FOR;
        let is_listed =
            self.relays().all(|relay| self.seen[relay].listed_at.is_some_and(|(_, at)| is_recent(at)));
        if self.settings.cli && !is_listed {
            self.excuse_uncut();
        }
        self.lags &= now < self.present(world);
        if self.waits_for_time(world) {
            self.excuse(Excuse::Clock);
        }
        // What a count of another period lacked does not matter any more.
        let is_same = self.books.snapshot().figures.period == period;
        (self.lacks, self.lacked) = (self.lacks && is_same, self.lacked && is_same);
        let is_reporter = |connection: &Connection| connection.name.grant().is_none();
        if self.books.connections().iter().any(is_reporter) {
            self.excuse(Excuse::Reporter);
        }
        let has_asked = self.asked_for_time.is_some_and(|at| world.now - at < ASK_PAUSE);
        if !self.settings.tells_time || !moment.is_uncertain() || has_asked {
            return now;
        }
        self.asked_for_time = Some(world.now);
        self.set_reference(world)
    }

    /// What the books assume because counts have shown it, the world assumes, too, from now on. It is no more than somebody relays or an app
    /// server vouches for, and the bound holds with it.
    pub(super) fn follow_rate(&mut self, world: &mut World) {
        let (rate, set) = (self.books.budget().rate_at(SOURCE), self.books.budget().assumed_rate());
        let rate = if rate > set { rate.get() / 8_000 } else { 0 };
        if rate > self.settings.seen_rate {
            self.excuse(Excuse::Exceeded);
            let fastest = world.rates.values().max().copied().unwrap_or_default();
            // Counts are late by some minutes, and a short time shows more than its average.
            let is_right = self.accepts(Inaccuracy::VouchedRate, rate <= 2 * fastest, self.has_vouched);
            self.expect(is_right, || format!("{rate} is assumed, and the fastest relays {fastest}"));
        }
        if rate != self.settings.seen_rate {
            if rate < self.settings.seen_rate {
                self.signs.forgot_rate = true;
                world.forget_rate(SOURCE);
            }
            self.settings.seen_rate = rate;
            world.assume(SOURCE, self.settings.assumed(SOURCE), true);
        }
    }

    /// Notes what is wrong, if it is the first such thing.
    pub(super) fn expect(&mut self, is_right: bool, what: impl FnOnce() -> String) {
        if !is_right {
            self.wrong.get_or_insert_with(what);
        }
    }

    /// Strict mode's bound may exceed zero after this step. An excuse that also holds for the limit of a user replaces one that does not.
    pub(super) fn excuse(&mut self, excuse: Excuse) {
        let known = self.signs.excuse.filter(|known| known.is_of_users() || !excuse.is_of_users());
        self.signs.excuse = known.or(Some(excuse));
    }

    /// The wall clock is so far ahead from now on.
    pub(super) fn set_ahead(&mut self, millis: u64, world: &mut World) {
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
        self.written_at += self.step;
        (self.paused, self.step) = (self.paused + self.step, 0);
    }

    /// Nobody watched the sessions of the SFU for a while, and nobody ended those of coturn.
    pub(super) fn excuse_unwatched(&mut self, world: &World) {
        self.signs.went_on |= self.settings.cli;
        if self.has_pages(world) {
            self.signs.went_on = true;
            self.excuse(Excuse::Uncut);
        }
    }

    /// What pages took before a reset, while nobody watched, is in no figure. With another billing day its days can come back.
    pub(super) fn excuse_lost_days(&mut self, world: &World) {
        let period = self.settings.billing_day().period_at(self.present(world));
        if self.has_pages(world) {
            self.unwatched_until = self.present(world);
            if self.books.budget().period != period {
                self.lost_until = period.end;
            }
        }
    }

    /// Nobody ended coturn's sessions for a while.
    pub(super) fn excuse_uncut(&mut self) {
        self.was_uncut |= self.settings.cli;
        if self.settings.cli {
            self.excuse(Excuse::Uncut);
        }
    }

    /// What happened since the last call.
    pub(crate) fn take_signs(&mut self) -> Signs {
        std::mem::take(&mut self.signs)
    }

    /// The tidy and the flush of every second.
    pub(super) fn tidy(&mut self) {
        self.books.tidy();
        self.flush();
    }

    /// Writes all changes to disk.
    pub(super) fn flush(&mut self) {
        self.take_batch();
        self.write();
    }

    /// The writer takes all changes.
    pub(super) fn take_batch(&mut self) {
        self.taken_at = self.advanced_at;
        let batch = self.books.take_batch();
        match &mut self.unwritten {
            Some(unwritten) => unwritten.append(batch),
            None => self.unwritten = Some(batch),
        }
    }

    pub(super) fn write(&mut self) {
        if let Some(batch) = self.unwritten.take() {
            self.disk.write(batch);
            self.wrong_on_disk = self.answered_wrong;
            self.written_at = self.taken_at;
            self.writes += 1;
        }
    }

    /// Everything that is stored.
    pub(crate) fn stored(&self) -> Stored {
        self.disk.read()
    }
}
