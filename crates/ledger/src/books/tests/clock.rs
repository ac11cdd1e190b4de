//! Promises under a wall clock that is ahead and not accepted yet.

use super::*;
use crate::books::commit::{NotAdmitted, Written};
use crate::source::MINT_SLACK;
use crate::units::clock::SteadyTime;

const HOUR: u64 = 3_600;
const DAY: u64 = 24 * HOUR;
const TAIL: Duration = Duration::from_secs(7_200);
/// In the middle of a period.
const NOON: u64 = 10 * DAY + 14 * HOUR;

fn secs(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

fn after_start(seconds: u64) -> Timestamp {
    at(seconds * 1_000)
}

/// Books and clocks. The wall clock is right. The time since boot lacks the time for which the machine was paused.
struct Machine {
    books: Books,
    time: SteadyTime,
    since_boot: u64,
    wall: u64,
    minted: u8,
    /// From when to when the holders of credentials can relay, by the right clock.
    spans: Vec<(Timestamp, Timestamp)>,
}

impl Machine {
    fn new(mode: BudgetMode) -> Self {
        let mut books = books_in(mode);
        books.override_limit(Some(ByteCount::new(100_000_000_000)));
        let time = SteadyTime::new(after_start(NOON), std::num::NonZeroU128::new(1), secs(0));
        let mut machine = Self { books, time, since_boot: 0, wall: NOON, minted: 0, spans: vec![] };
        machine.pass(0);
        machine
    }

    fn pass(&mut self, seconds: u64) {
        self.since_boot += seconds;
        self.wall += seconds;
        let moment = self.time.read(after_start(self.wall), secs(self.since_boot));
        self.books.advance(moment);
    }

    fn pause(&mut self, seconds: u64) {
        self.wall += seconds;
        self.pass(0);
    }

    fn mint(&mut self) -> Result<(), NotAdmitted> {
        let hold = self.books.reserve(IceSource::Cloudflare, secs(DAY), MINT_SLACK, &Requester::default())?;
        let wall = after_start(self.wall);
        self.spans.push((wall, wall.plus(hold.life()).plus(TAIL)));
        self.minted += 1;
        let id = GrantId::new([self.minted; 16]);
        let grant = Grant { id, ..minted(self.books.now(), hold.life().as_secs()) };
        let commit = self.books.commit(hold, &grant, None, Requester::default()).unwrap();
        self.books.note_written(&commit, Written::Yes).unwrap();
        Ok(())
    }

    fn mint_all(&mut self, most: u64) -> u64 {
        (0..most).take_while(|_| self.mint().is_ok()).map(|_| 1).sum()
    }

    /// The provider has counted nothing up to now.
    fn read_nothing(&mut self) {
        let figures = self.books.snapshot().figures;
        let as_of = Minute::of(figures.now).start();
        let reading =
            Reading { day: Day::of(as_of), as_of, granted: ByteCount::ZERO, other: ByteCount::ZERO };
        assert_eq!(
            self.books.ledger_mut().take_reading(IceSource::Cloudflare, &reading),
            ReadingOutcome::Taken
        );
    }

    /// What the credentials can still relay from now on, at 2 Mbps.
    fn worst_case(&self) -> u64 {
        let now = after_start(self.wall);
        self.spans.iter().map(|(from, end)| end.millis_since(now.max(*from)) * 250).sum()
    }

    fn committed(&self) -> u64 {
        self.books.snapshot().figures.committed.get()
    }
}

#[test]
fn credentials_minted_while_the_clock_is_in_doubt_stay_committed_once_it_is_accepted() {
    for mode in [BudgetMode::Strict, BudgetMode::Estimate] {
        let mut machine = Machine::new(mode);
        machine.pause(8 * HOUR);
        machine.mint_all(52);
        assert!(machine.committed() >= machine.worst_case(), "{mode:?}: in doubt");
        machine.pass(301);
        assert_eq!(machine.books.snapshot().clock_ahead, Duration::ZERO);
        machine.read_nothing();
        assert!(machine.committed() >= machine.worst_case(), "{mode:?}: {} committed", machine.committed());
        machine.mint_all(52);
        assert!(machine.committed() >= machine.worst_case(), "{mode:?}");
        if mode == BudgetMode::Strict {
            assert!(machine.worst_case() <= 100_000_000_000);
        }
    }
}

/// It was minted while the wall clock was 8 hours ahead. If that clock was right, it expires 8 hours later.
#[test]
fn a_credential_from_a_time_in_doubt_can_be_revoked_until_it_expires_by_either_clock() {
    let mut machine = Machine::new(BudgetMode::Estimate);
    machine.pause(8 * HOUR);
    assert_eq!(machine.mint(), Ok(()));
    let (books, id) = (&mut machine.books, GrantId::new([1; 16]));
    let expires_at = books.grants().get(id).unwrap().expires_at;
    books.advance(expires_at.plus(secs(8 * HOUR - 1)));
    assert_eq!(books.grant_end(id, Some(expires_at)), None, "its sessions go on");
    assert!(books.revoke(id).is_some());
}

#[test]
fn no_bound_holds_while_the_clock_of_the_provider_differs_by_more_than_two_minutes() {
    let mut machine = Machine::new(BudgetMode::Estimate);
    for (ahead, holds) in [(120, true), (121, false), (0, true)] {
        machine.time.set_reference(after_start(machine.wall + ahead), secs(machine.since_boot));
        machine.pass(1);
        assert_eq!(machine.books.snapshot().bound_holds(), holds, "{ahead} s");
    }
}

#[test]
fn a_jump_that_is_not_accepted_yet_is_no_doubt_about_a_start_of_the_machine() {
    let mut machine = Machine::new(BudgetMode::Estimate);
    machine.pause(8 * HOUR);
    let snapshot = machine.books.snapshot();
    assert_eq!((snapshot.clock_ahead, snapshot.clock_in_doubt), (secs(8 * HOUR), false));
}

#[test]
fn nothing_metered_is_minted_while_the_clock_is_more_than_two_days_ahead() {
    let mut machine = Machine::new(BudgetMode::Estimate);
    machine.pause(2 * DAY);
    assert_eq!(machine.mint(), Ok(()));
    machine.pause(1);
    assert_eq!(machine.mint(), Err(NotAdmitted::ClockInDoubt));
    assert!(machine.books.reserve(IceSource::Manual, secs(DAY), MINT_SLACK, &Requester::default()).is_ok());
    assert!(machine.books.snapshot().waits_for_clock() && !machine.books.snapshot().is_stopped_by_clock());
    machine.pass(29);
    assert!(!machine.books.snapshot().is_stopped_by_clock(), "a provider that is asked has not answered yet");
    machine.pass(1);
    assert!(machine.books.snapshot().is_stopped_by_clock());
    machine.pass(270);
    assert_eq!(machine.mint(), Ok(()), "it is accepted");
    assert!(!machine.books.snapshot().is_stopped_by_clock());
}

#[test]
fn after_an_accepted_jump_the_bound_does_not_hold_until_older_credentials_have_ended() {
    for mode in [BudgetMode::Strict, BudgetMode::Estimate] {
        let mut machine = Machine::new(mode);
        machine.mint_all(20);
        // The clock was wrong before: the credentials work for as long as they did.
        machine.pause(8 * HOUR);
        machine.pass(301);
        assert_eq!(machine.books.snapshot().clock_ahead, Duration::ZERO);
        let ends = machine.spans.iter().map(|(_, end)| end.plus(secs(8 * HOUR))).max().unwrap();
        assert!(!machine.books.snapshot().bound_holds(), "{mode:?}");
        let left = ends.since(machine.books.now()).as_secs();
        machine.pass(left - 1);
        assert!(!machine.books.snapshot().bound_holds(), "{mode:?}");
        machine.pass(120);
        assert!(machine.books.snapshot().bound_holds(), "{mode:?}");
    }
}

#[test]
fn a_jump_without_live_credentials_leaves_the_bound_as_it_was() {
    let mut machine = Machine::new(BudgetMode::Strict);
    machine.pause(8 * HOUR);
    machine.pass(301);
    assert!(machine.books.snapshot().bound_holds());
}

#[test]
fn bytes_that_flowed_while_the_machine_was_paused_do_not_contradict_the_assumed_rate() {
    let mut machine = Machine::new(BudgetMode::Estimate);
    machine.mint_all(1);
    let take = |machine: &mut Machine, bytes| {
        let figures = machine.books.snapshot().figures;
        let (granted, other) = (ByteCount::new(bytes), ByteCount::ZERO);
        let reading = Reading { day: Day::of(figures.now), as_of: figures.now, granted, other };
        assert_eq!(
            machine.books.ledger_mut().take_reading(IceSource::Cloudflare, &reading),
            ReadingOutcome::Taken
        );
        machine.books.snapshot().measured.agrees()
    };
    assert!(take(&mut machine, 0));
    // Eight hours at 1 Mbps, of which the books do not know yet.
    machine.pause(8 * HOUR);
    let bytes = 8 * HOUR * 125_000;
    assert!(take(&mut machine, bytes), "in doubt");
    machine.pass(120);
    assert!(take(&mut machine, bytes), "still in doubt");
    machine.pass(181);
    assert!(take(&mut machine, bytes), "accepted");
    // No more time can have passed than the clocks say.
    machine.pass(60);
    assert!(!take(&mut machine, bytes + 2_000_000_000));
}
