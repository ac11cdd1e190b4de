//! The short tail of a coturn holds while complete listings show that its sessions are cut, and what no listing shows stays promised.

use super::*;
use crate::books::commit::Written;
use crate::connection::Report;
use crate::reports::Caller;

impl Broker {
    /// Lists no session every so many seconds in a span.
    fn list_each(&mut self, step: usize, seconds: std::ops::RangeInclusive<u64>) {
        for at in seconds.step_by(step) {
            self.list(at, &[]);
        }
    }

    fn alive_until(&self, number: u8) -> Minute {
        self.books.grants().get(id(number)).and_then(GrantRow::alive_until).unwrap()
    }
}

/// Until when a grant is promised that expires at that time.
pub(super) fn promised(expiry: u64, tail: u64) -> Minute {
    Minute::from_end(at(expiry + tail).plus(MINT_SLACK))
}

/// No broker ran, so sessions of expired grants were not cut.
#[test]
fn a_restart_extends_short_tails_unless_the_last_listing_was_recent() {
    let mut broker = strict();
    broker.mint(1, 600);
    let setup = setup(BudgetMode::Strict);
    assert_eq!(broker.reopened(&setup, 15).alive_until(1), promised(600, 30));
    let mut late = broker.reopened(&setup, 16);
    assert_eq!(late.alive_until(1), promised(600, 7_200));
    late.list(18, &[]);
    assert_eq!(late.alive_until(1), promised(600, 30), "the next listing shows that nothing was missed");
}

/// The machine was paused: nobody ended sessions meanwhile, if the wall clock is right.
#[test]
fn the_long_tail_holds_while_the_wall_clock_says_that_the_last_listing_is_old() {
    let mut broker = strict();
    broker.mint(1, 600);
    for (wall, tail) in [(17, 30), (18, 7_200)] {
        broker.list(2, &[]);
        broker.books.advance(Moment { wall: at(wall), in_doubt: true, ..at(2).into() });
        assert_eq!(broker.alive_until(1), promised(600, tail), "{wall}");
    }
}

/// A report had extended the promise, until a listing showed that sessions are cut.
#[test]
fn a_restart_believes_the_listing_that_has_shortened_a_promise() {
    let mut setup = setup(BudgetMode::Estimate);
    setup.rules.heartbeat = Duration::from_secs(600);
    let mut broker = Broker::open(&setup);
    broker.list(0, &[]);
    broker.mint(1, 60);
    let caller = Caller::Grant(Grant { id: id(1), source: COTURN, issued_at: at(0), expires_at: at(60) });
    broker.books.open(caller, "c", Some(true)).unwrap();
    broker.list(10, &[]);
    broker.books.heartbeat(caller, "c", Report::default()).unwrap();
    assert_eq!(broker.alive_until(1), Minute::from_end(at(610)));
    broker.books.advance(at(26));
    assert_eq!(broker.alive_until(1), promised(60, 7_200));
    broker.list(28, &[]);
    assert_eq!(broker.alive_until(1), promised(60, 30));
    let again = broker.reopened(&setup, 30);
    assert_eq!(again.alive_until(1), promised(60, 30));
    assert!(!again.books.snapshot().measured.outlived, "its report was in time");
}

/// coturn accepts the command to end a session but keeps listing the session.
#[test]
fn a_session_that_survives_its_cut_ends_the_short_tail() {
    let mut broker = strict();
    broker.mint(1, 600);
    broker.mint(2, 1_800);
    for seconds in (2..=612).step_by(2) {
        let dead = broker.list(seconds, &[(1, 5_000)]);
        assert_eq!(dead.len(), usize::from(seconds >= 600), "{seconds}");
        broker.books.cut_sessions(&dead);
    }
    for seconds in (614..=628).step_by(2) {
        broker.list(seconds, &[(1, 5_000)]);
        let tail = if seconds <= 612 + 15 { 30 } else { 7_200 };
        assert_eq!(broker.alive_until(2), promised(1_800, tail), "{seconds}");
        assert_eq!(broker.alive_until(1), promised(600, tail), "{seconds}");
    }
    assert!(broker.books.snapshot().measured.uncut);
    broker.list(630, &[]);
    assert_eq!(broker.alive_until(2), promised(1_800, 30), "it is gone");
}

/// A revoked credential is valid until it expires, so its holder can begin a session after each cut. It has no effect on other grants:
/// what is promised for it covers what it relays until then.
#[test]
fn a_revoked_client_that_begins_again_after_each_cut_relays_within_its_promise() {
    let mut broker = strict();
    broker.mint(1, 600);
    broker.mint(2, 600);
    broker.books.revoke(id(1)).unwrap();
    for (number, seconds) in (1..).zip((2..=60).step_by(2)) {
        assert_eq!(broker.list(seconds, &[(number, 500_000)]).len(), 1);
    }
    assert_eq!(broker.alive_until(2), promised(600, 30), "the others keep the short tail");
    assert_eq!(broker.alive_until(1), promised(600, 30), "nothing is released");
    let used = broker.books.snapshot().figures.used.get();
    assert!(used >= 29 * 500_000, "{used}: each of them is charged");
}

/// Each session that begins is charged up to 2,047 packets that coturn does not show yet. So a client that relays 2 Mbps, the assumed
/// rate, and begins again after each cut is charged 5 Mbps.
#[test]
fn what_coturn_has_not_shown_is_charged_and_says_nothing_about_the_rate() {
    let mut broker = strict();
    broker.mint(1, HOUR);
    broker.books.revoke(id(1)).unwrap();
    for (number, seconds) in (1..).zip((2..=1_200).step_by(2)) {
        broker.books.advance(at(seconds));
        let mut listed = listing(&[(number, 500_000)]);
        (listed.sessions[0].reach, listed.sessions[0].age) = (Reach::Bound, Some(Duration::from_secs(2)));
        let dead = broker.books.take_sessions(listed, at(seconds));
        broker.books.cut_sessions(&dead);
    }
    let snapshot = broker.books.snapshot();
    assert!(snapshot.figures.used.get() >= 600 * 1_250_000, "{:?}", snapshot.figures.used);
    assert!(snapshot.measured.assumption_holds(), "{:?}", snapshot.measured);
}

/// What coturn shows is evidence: 16 Mbps under one grant are more than is assumed.
#[test]
fn what_coturn_has_shown_tests_the_assumed_rate() {
    let mut broker = strict();
    broker.mint(1, HOUR);
    for seconds in (2..=1_200).step_by(2) {
        broker.list(seconds, &[(1, seconds * 2_000_000)]);
    }
    assert!(!broker.books.snapshot().measured.assumption_holds());
}

/// The machine was paused over the reset while a client relayed. The first listing comes while the jump of the wall clock is in doubt.
#[test]
fn what_was_relayed_in_a_pause_over_a_reset_counts_in_the_new_period() {
    let reset = 11 * 24 * HOUR + 12 * HOUR;
    let mut broker = strict();
    broker.list(reset - 300, &[(1, 1_000)]);
    let wall = at(reset + 6 * HOUR);
    broker.books.advance(Moment { wall, in_doubt: true, ..at(reset - 298).into() });
    let _ = broker.books.take_sessions(listing(&[(1, 5_000_000_000)]), at(reset - 298));
    assert_eq!(broker.books.snapshot().figures.used.get(), 1_000);
    let mut broker = broker.reopened(&setup(BudgetMode::Strict), reset + 6 * HOUR + 300);
    broker.list(reset + 6 * HOUR + 300, &[(1, 5_000_000_000)]);
    assert_eq!(broker.books.snapshot().figures.used.get(), 4_999_999_000);
    assert_eq!(broker.books.ledger().past()[0].1.get(), 1_000);
}

/// Nobody lists a session any more once coturn's command line is removed.
#[test]
fn the_row_of_a_session_that_nobody_lists_goes_in_the_end() {
    let mut broker = strict();
    broker.list(2, &[(1, 5_000)]);
    for (days, rows) in [(8, 1), (11, 0)] {
        broker.books.advance(at(2 + days * 24 * HOUR));
        broker.stored.apply(broker.books.take_batch());
        assert_eq!(broker.stored.sessions.len(), rows, "{days} days later");
    }
}

/// What sessions carry in a gap uses up what was promised for it.
#[test]
fn a_gap_keeps_only_what_its_bytes_leave_of_the_promise() {
    let mut broker = strict();
    broker.mint(1, 2 * HOUR);
    broker.list(2, &[(1, 1_000)]);
    let whole = broker.committed();
    broker.list(HOUR, &[(1, 400_000_000)]);
    let (used, after) = (broker.books.snapshot().figures.used.get(), broker.committed());
    assert!(used >= 400_000_000 && after.abs_diff(whole) <= MINUTE_BYTES, "{used}, {whole}, {after}");
}

/// A stranger can keep a listing from being complete: with more sessions than fit, or with a line in its origin.
#[test]
fn a_listing_that_is_not_complete_says_nothing() {
    let mut broker = strict();
    broker.mint(1, 600);
    let short = broker.committed();
    for seconds in (2..=16).step_by(2) {
        broker.books.advance(at(seconds));
        let _ = broker.books.take_sessions(Listing { is_complete: false, ..listing(&[]) }, at(seconds));
        let tail = if seconds <= 15 { 30 } else { 7_200 };
        assert_eq!(broker.alive_until(1), promised(600, tail), "{seconds}");
    }
    assert!(broker.committed() >= short + 100 * MINUTE_BYTES);
}

/// Sessions begin and end between two listings, and relay meanwhile.
#[test]
fn what_can_be_relayed_between_slow_listings_stays_promised() {
    for pause in [14, 59] {
        let mut broker = strict();
        broker.mint(1, HOUR);
        broker.list_each(pause, 14..=2 * HOUR);
        let kept = broker.committed();
        assert!(kept >= 60 * MINUTE_BYTES, "{kept} with {pause} s between listings");
        assert_eq!(broker.books.snapshot().figures.used, ByteCount::ZERO);
    }
}

/// One grant is over and still has a session, so it is cut from the listing on. When cutting stops again, all get the long tail again.
#[test]
fn each_time_that_cutting_stops_the_long_tail_is_promised() {
    let mut broker = strict();
    broker.mint(1, 600);
    broker.mint(2, 3_600);
    broker.books.advance(at(595));
    assert_eq!(broker.alive_until(2), promised(3_600, 7_200));
    broker.list(605, &[(1, 5_000)]);
    assert_eq!([1, 2].map(|n| broker.alive_until(n)), [promised(605, 30), promised(3_600, 30)]);
    broker.books.advance(at(625));
    assert_eq!([1, 2].map(|n| broker.alive_until(n)), [promised(600, 7_200), promised(3_600, 7_200)]);
}

/// coturn was away when the grant expired, and lists its session once more.
#[test]
fn the_long_tail_of_an_expired_grant_is_taken_back_when_its_session_can_be_cut() {
    let mut broker = strict();
    broker.mint(1, 600);
    broker.books.advance(at(595));
    let dead = broker.list(605, &[(1, 5_000)]);
    broker.books.cut_sessions(&dead);
    assert_eq!(broker.alive_until(1), promised(605, 30));
    broker.list(607, &[]);
    assert_eq!(broker.alive_until(1), promised(605, 30));
}

/// The machine was suspended for 2 h, so nobody cut sessions. What comes first afterwards does not matter.
#[test]
fn after_a_suspend_it_does_not_matter_whether_the_tidy_the_listing_or_a_request_is_first() {
    let ends = |first: fn(&mut Broker)| {
        let mut broker = strict();
        broker.mint(1, 600);
        broker.list(2, &[(1, 5_000)]);
        broker.books.advance(at(2 * HOUR));
        first(&mut broker);
        let until = broker.alive_until(1);
        broker.list(2 * HOUR, &[(1, 5_000)]);
        assert_eq!(broker.alive_until(1), promised(2 * HOUR, 30), "its session is cut now");
        until
    };
    assert_eq!(ends(|broker| assert!(broker.books.tidy())), promised(600, 7_200));
    assert_eq!(ends(|broker| broker.mint(2, 600)), promised(600, 7_200));
    assert_eq!(ends(|_| ()), promised(600, 7_200));
}

/// The machine was suspended for 3 h, and grants that have ended are looked for before the first listing.
#[test]
fn what_was_relayed_in_a_suspend_stays_promised_although_the_tidy_runs_first() {
    let mut broker = strict();
    broker.mint(1, 300);
    broker.list(2, &[]);
    broker.books.advance(at(3 * HOUR));
    assert!(broker.books.tidy());
    broker.list(3 * HOUR, &[]);
    assert!(broker.committed() >= 124 * MINUTE_BYTES, "{}", broker.committed());
}

#[test]
fn a_commit_promises_the_long_tail_if_cutting_stopped_since_the_reservation() {
    let mut broker = strict();
    let life = Duration::from_secs(600);
    broker.books.advance(at(13));
    let hold = broker.books.reserve(COTURN, life, MINT_SLACK, &Requester::default()).unwrap();
    broker.books.advance(at(16));
    let grant = Grant { id: id(1), source: COTURN, issued_at: at(13), expires_at: at(613) };
    let commit = broker.books.commit(hold, &grant, None, Requester::default()).unwrap();
    broker.books.note_written(&commit, Written::Yes).unwrap();
    assert_eq!(broker.alive_until(1), promised(613, 7_200));
    assert!(broker.committed() > 120 * MINUTE_BYTES);
}

/// coturn was away for an hour over a reset. Its clients hold 20 credentials, and no session is left.
#[test]
fn an_hour_without_coturn_over_a_reset_does_not_fill_the_new_month() {
    let reset = 11 * 24 * HOUR + 12 * HOUR;
    let mut broker = Broker::open(&setup(BudgetMode::Strict));
    broker.list(reset - 1_800, &[]);
    for number in 1..=20 {
        broker.mint(number, HOUR);
    }
    broker.books.advance(at(reset + 1_800));
    assert!(broker.committed() > 20 * 130 * MINUTE_BYTES, "the long tail is promised");
    broker.list(reset + 1_800, &[]);
    let kept = broker.committed();
    assert!(kept <= 20 * 33 * MINUTE_BYTES, "{kept}: more than the half hour that nobody saw");
}

/// A renewal relies on the minutes of the grant that it renews. Those of the long tail are taken back, before its commit or after it.
#[test]
fn a_renewal_from_the_time_without_coturn_keeps_its_minutes() {
    for is_late in [false, true] {
        let mut broker = strict();
        broker.mint(1, 600);
        broker.books.advance(at(500));
        assert_eq!(broker.alive_until(1), promised(600, 7_200));
        let hold = broker
            .books
            .reserve(
                COTURN,
                Duration::from_secs(600),
                MINT_SLACK,
                &Requester { renews: Some(id(1)), ..Requester::default() },
            )
            .unwrap();
        if is_late {
            broker.list(500, &[]);
        }
        let grant = Grant { id: id(2), source: COTURN, issued_at: at(500), expires_at: at(1_100) };
        let commit = broker
            .books
            .commit(hold, &grant, None, Requester { renews: Some(id(1)), ..Requester::default() })
            .unwrap();
        broker.books.note_written(&commit, Written::Yes).unwrap();
        broker.list(502, &[]);
        let chain = [1, 2].map(|number| broker.books.grants().get(id(number)).unwrap().promised.unwrap());
        assert_eq!(chain.map(|time| time.until), [promised(600, 30), promised(1_100, 30)]);
        assert_eq!(chain[1].reserved_from, chain[0].until, "no minute of the chain is free");
    }
}

/// The grant left the table with its short tail, just before coturn went away.
#[test]
fn no_bound_holds_while_a_grant_that_left_the_table_may_not_have_been_cut() {
    for is_seen_cut in [false, true] {
        let mut few = setup(BudgetMode::Strict);
        few.bounds.spenders.ended_max = 0;
        let mut broker = Broker::open(&few);
        broker.list(0, &[]);
        broker.mint(1, 300);
        let until = broker.alive_until(1).start().millis_since(at(0)) / 1_000;
        broker.list_each(2, 2..=until - 2);
        broker.books.advance(at(until));
        assert!(broker.books.tidy());
        assert_eq!(broker.books.grants().iter().count(), 0);
        if is_seen_cut {
            broker.list(until, &[]);
        }
        broker.books.advance(at(1_200));
        broker.list(1_200, &[]);
        assert_eq!(broker.books.snapshot().bound_holds(), is_seen_cut);
    }
}
