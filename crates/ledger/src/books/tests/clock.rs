//! Promises under a wall clock that is ahead and not accepted yet.

use std::num::NonZeroU128;

use super::*;

const HOUR: u64 = 3_600;
const DAY: u64 = 24 * HOUR;
/// In the middle of a period, in seconds.
const NOON: u64 = 10 * DAY + 14 * HOUR;

fn secs(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

fn after_start(seconds: u64) -> Timestamp {
    at(seconds * 1_000)
}

/// Books and clocks. The wall clock is right. The time since boot lacks the time for which the machine was paused.
struct Machine {
    broker: Broker,
    time: SteadyTime,
    since_boot: u64,
    wall: u64,
}

impl Machine {
    fn new(mode: BudgetMode) -> Self {
        let mut setup = setup(mode);
        setup.terms.limit = ByteCount::new(100 * GB);
        let time = SteadyTime::new(after_start(NOON), NonZeroU128::new(1), secs(0));
        let broker = Broker::open(setup, after_start(NOON));
        let mut machine = Self { broker, time, since_boot: 0, wall: NOON };
        machine.pass(0);
        machine
    }

    fn pass(&mut self, seconds: u64) {
        self.since_boot += seconds;
        self.wall += seconds;
        let moment = self.time.read(after_start(self.wall), secs(self.since_boot));
        self.broker.books.advance(moment);
    }

    fn pause(&mut self, seconds: u64) {
        self.wall += seconds;
        self.pass(0);
    }

    fn mint(&mut self) -> Result<Grant, NotAdmitted> {
        self.broker.mint(Requester::default(), DAY)
    }

    fn bound_holds(&self) -> bool {
        self.broker.books.snapshot().bound_holds()
    }
}

/// It was minted while the wall clock was 8 hours ahead. If that clock was right, it expires 8 hours later.
#[test]
fn a_credential_from_a_time_in_doubt_can_be_revoked_until_it_expires_by_either_clock() {
    let mut machine = Machine::new(BudgetMode::Estimate);
    machine.pause(8 * HOUR);
    let Grant { id, expires_at, .. } = machine.mint().unwrap();
    let books = &mut machine.broker.books;
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
        assert_eq!(machine.bound_holds(), holds, "{ahead} s");
    }
}

#[test]
fn nothing_metered_is_minted_while_the_clock_is_more_than_two_days_ahead() {
    let mut machine = Machine::new(BudgetMode::Estimate);
    machine.pause(2 * DAY);
    assert!(machine.mint().is_ok());
    machine.pause(1);
    assert_eq!(machine.mint(), Err(NotAdmitted::ClockInDoubt));
    let of_manual =
        |books: &mut Books| books.reserve(IceSource::Manual, secs(DAY), MINT_SLACK, &Requester::default());
    assert!(of_manual(&mut machine.broker.books).is_ok());
    // From when on the status says that minting is stopped: a provider that is asked needs some time to answer.
    for (seconds, is_stopped) in [(0, false), (29, false), (1, true)] {
        machine.pass(seconds);
        let snapshot = machine.broker.books.snapshot();
        assert_eq!(
            (snapshot.refusal, snapshot.is_stopped_by_clock()),
            (Some(NotAdmitted::ClockInDoubt), is_stopped)
        );
    }
    machine.pass(270);
    assert!(machine.mint().is_ok(), "it is accepted");
    assert!(!machine.broker.books.snapshot().is_stopped_by_clock());
}

/// The clock was wrong before: the credentials work for as long as they did.
#[test]
fn after_an_accepted_jump_the_bound_does_not_hold_until_older_credentials_have_ended() {
    for mode in [BudgetMode::Strict, BudgetMode::Estimate] {
        let mut machine = Machine::new(mode);
        let Grant { expires_at, .. } = machine.mint().unwrap();
        machine.pause(8 * HOUR);
        machine.pass(1);
        assert!(!machine.bound_holds(), "{mode:?}: nobody knows yet whether the clock is right");
        machine.pass(300);
        assert_eq!(machine.broker.books.snapshot().clock_ahead, Duration::ZERO);
        // A credential has a tail of two hours, and the clock of the provider may differ.
        let tail = 2 * HOUR + CLOCKS * 60;
        let left = expires_at.plus(secs(tail + 8 * HOUR)).since(machine.broker.books.now());
        machine.pass(left.as_secs() - 1);
        assert!(!machine.bound_holds(), "{mode:?}");
        machine.pass(120);
        assert!(machine.bound_holds(), "{mode:?}");
        machine.pause(8 * HOUR);
        machine.pass(301);
        assert!(machine.bound_holds(), "{mode:?}: without live credentials it stays as it was");
    }
}

#[test]
fn no_bound_holds_while_the_clock_is_in_an_earlier_period() {
    let mut machine = Machine::new(BudgetMode::Estimate);
    let reset = machine.broker.books.budget().period.end;
    machine.pass(reset.since(machine.broker.books.now()).as_secs() + 60);
    assert!(machine.bound_holds());
    machine.wall -= HOUR;
    for (seconds, holds) in [(0, false), (HOUR - 61, false), (1, true)] {
        machine.pass(seconds);
        assert_eq!(machine.bound_holds(), holds, "the clock shows {}", after_start(machine.wall));
    }
}
