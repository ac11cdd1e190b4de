use crate::testing::prelude::*;

use super::*;

const COTURN: IceSource = IceSource::Coturn;
const HOUR: u64 = 3_600;
/// 2 Mbps for a minute.
const MINUTE_BYTES: u64 = 15_000_000;

/// 2025-01-20T12:00Z plus so many seconds.
fn at(seconds: u64) -> Timestamp {
    Timestamp::from_millis(1_737_374_400_000).plus_millis(seconds * 1_000)
}

fn setup(mode: BudgetMode) -> Setup {
    let setup = testing::setup_of(COTURN, mode, ByteCount::new(100_000_000_000));
    let source = SourceTerms { cut_tail: Some(Duration::from_secs(30)), ..setup.sources[0] };
    Setup { sources: vec![source], ..setup }
}

/// A session of grant 1 that has sent so many bytes.
#[derive(Clone, Copy)]
struct Sent {
    number: u64,
    bytes: u64,
}

/// The first session.
const fn sent(bytes: u64) -> Sent {
    Sent { number: 1, bytes }
}

impl Broker {
    /// Takes a listing at that time. Returns the sessions that must end.
    fn list(&mut self, seconds: u64, sessions: &[Sent]) -> Vec<SessionId> {
        self.books.advance(at(seconds));
        self.books.take_sessions(IceSource::Coturn, listing(sessions), at(seconds))
    }

    /// The broker after a restart at that time, with these settings.
    fn reopened(&mut self, setup: Setup, seconds: u64) -> Self {
        self.flush();
        let mut again = Self::open(setup, at(seconds));
        again.disk = self.disk.clone();
        again.crash_until(at(seconds));
        again
    }

    fn alive_until(&self, number: u64) -> Minute {
        self.books.grants().get(grant_id(number)).and_then(GrantRow::alive_until).unwrap()
    }
}

/// A strict broker that has just read its coturn.
fn strict() -> Broker {
    let mut broker = Broker::open(setup(BudgetMode::Strict), at(0));
    assert_eq!(broker.list(0, &[]), []);
    broker
}

/// A complete listing.
fn listing(sessions: &[Sent]) -> Listing {
    let session = |sent: &Sent| Session {
        id: SessionId::new(sent.number).unwrap(),
        user: format!("{}:{}", at(HOUR).as_secs(), grant_id(1)),
        expires_at: Some(at(HOUR)),
        grant: grant_id(1),
        age: Some(Duration::from_secs(1)),
        packets: 1,
        traffic: Traffic::new(0, sent.bytes),
        reach: Reach::Permitted,
    };
    Listing { sessions: sessions.iter().map(session).collect(), is_complete: true, ..Listing::default() }
}

#[test]
fn coturn_counts_as_unreachable_after_a_grace_period() {
    let mut books = setup(BudgetMode::Estimate).open(None, at(0));
    for seconds in 0..=30 {
        books.advance(at(seconds));
        assert!(!books.snapshot().measured.uncut, "{seconds} s after the start");
    }
    books.advance(at(31));
    let snapshot = books.snapshot();
    assert!(snapshot.measured.uncut && !snapshot.bound_holds());
}

#[test]
fn the_counts_of_a_listing_are_stored() {
    let mut broker = strict();
    broker.list(2, &[sent(5_000)]);
    let batch = broker.books.take_batch();
    assert_eq!(batch.head.coturn_at[&COTURN.into()], at(2));
    assert_eq!(batch.sessions.keys().map(|(_, id)| id.get()).collect::<Vec<_>>(), [1]);
    broker.list(4, &[sent(5_000)]);
    assert!(broker.books.take_batch().sessions.is_empty(), "an unchanged session is not stored again");
    // A session may begin while the listing is on its way.
    broker.books.advance(at(9));
    broker.books.take_sessions(IceSource::Coturn, listing(&[sent(5_000)]), at(7));
    assert_eq!(broker.books.take_batch().head.coturn_at[&COTURN.into()], at(7));
}

/// Somebody has the secret, and makes the same name again.
#[test]
fn bytes_under_an_id_that_the_ledger_does_not_know_count_once_and_are_unknown() {
    let mut broker = strict();
    broker.list(2, &[sent(2_000_000_000)]);
    for _ in 0..2 {
        let snapshot = broker.books.snapshot();
        assert_eq!(snapshot.unknown_bytes, snapshot.figures.used);
        assert!(broker.used() >= 2_000_000_000 && snapshot.has_unknown_bytes() && !snapshot.bound_holds());
        broker.restart();
    }
}

#[test]
fn a_spent_budget_ends_every_session_of_ours() {
    let mut broker = strict();
    broker.mint_any(600);
    assert_eq!(broker.list(2, &[sent(5_000)]), []);
    broker.books.override_limit(Some(ByteCount::new(5_000)));
    assert_eq!(broker.list(4, &[sent(5_000)]), [SessionId::new(1).unwrap()]);
    let past_limit = |broker: &Broker| {
        let snapshot = broker.books.snapshot();
        (snapshot.figures.overshoot_bound().get() > 0, snapshot.uncut_overshoot.get() > 0)
    };
    assert_eq!(past_limit(&broker), (true, false), "its calls are ended");
    broker.books.advance(at(35));
    assert_eq!(past_limit(&broker), (true, true), "no listing shows that");
}

/// While coturn does not answer, sessions can begin and end uncounted.
#[test]
fn a_gap_between_listings_releases_no_budget_that_was_reserved_in_it() {
    let mut broker = strict();
    for _ in 0..10 {
        broker.mint_any(HOUR);
    }
    let promised = broker.committed();
    broker.list(2, &[]);
    // Four hours later all grants have ended, and none has a session.
    broker.list(4 * HOUR, &[]);
    let kept = broker.committed();
    assert!(kept + 10 * 3 * MINUTE_BYTES >= promised, "{kept} of {promised}");
    assert_eq!(broker.books.snapshot().figures.used, ByteCount::ZERO);
    broker.list(4 * HOUR + 2, &[]);
    assert_eq!(broker.committed(), kept, "listings without a gap release the budget reserved between them");
    let again = broker.reopened(setup(BudgetMode::Strict), 4 * HOUR + 4);
    assert_eq!(again.committed(), kept);
}

/// Nobody counted the session in the gap, so its user is charged what was promised, and its bytes are a part of that.
#[test]
fn what_is_shown_after_a_gap_is_charged_to_the_user_within_the_promise() {
    let mut setup = setup(BudgetMode::Strict);
    setup.bounds.spenders.user_limit = Some(ByteCount::new(50_000_000_000));
    let mut broker = Broker::open(setup, at(0));
    let ann = User::new("ann").unwrap();
    let spender = Spender { user: Some(ann.clone()), ..Spender::default() }.known();
    broker.list(0, &[]);
    broker.mint(Requester { spender, ..Requester::default() }, HOUR).unwrap();
    broker.list(50, &[]);
    let committed = |broker: &mut Broker| broker.books.user_share(&ann).unwrap().committed.get();
    let before = committed(&mut broker);
    broker.list(60, &[sent(5_000_000)]);
    assert_eq!(committed(&mut broker), before);
}

#[test]
fn listings_without_a_gap_release_reserved_budget() {
    let mut broker = strict();
    broker.mint_any(600);
    for seconds in (2..700).step_by(2) {
        broker.list(seconds, &[]);
    }
    assert_eq!(broker.committed(), 0);
}

/// Without coturn's command line its sessions are not cut, so the short tails do not hold.
#[test]
fn a_removed_command_line_extends_the_tail_of_every_grant() {
    let mut broker = strict();
    broker.mint_any(600);
    let short = broker.committed();
    let mut without = setup(BudgetMode::Strict);
    without.sources[0].cut_tail = None;
    without.sources[0].is_read = false;
    let difference = broker.reopened(without, 4).committed() - short;
    let minutes = (7_200 - 30) / 60;
    assert!((minutes - 1..=minutes + 1).contains(&(difference / MINUTE_BYTES)), "{difference}");
}

/// Strict settings of a source whose sessions are not cut.
fn with_tail(seconds: u64) -> Setup {
    let mut setup = setup(BudgetMode::Strict);
    setup.sources[0].cut_tail = None;
    setup.sources[0].tail = Duration::from_secs(seconds);
    setup
}

#[test]
fn a_longer_tail_in_the_settings_extends_every_grant_once() {
    let mut broker = Broker::open(with_tail(0), at(0));
    broker.mint_any(600);
    let short = broker.committed();
    let mut longer = broker.reopened(with_tail(7_200), 4);
    let long = longer.committed();
    assert_eq!((long - short) / MINUTE_BYTES, 120);
    assert_eq!(longer.reopened(with_tail(7_200), 8).committed(), long);
    assert_eq!(longer.reopened(with_tail(0), 8).committed(), long, "a shorter tail releases nothing");
}

/// A credential that was minted while the wall clock was ahead expires by the wall clock, if that clock is right.
#[test]
fn a_longer_tail_counts_from_the_later_clock_of_a_mint_in_doubt() {
    let mut broker = Broker::open(with_tail(0), at(0));
    let wall = at(4 * HOUR);
    broker.books.advance(Moment { wall, in_doubt: true, ..at(0).into() });
    broker.mint_any(300);
    let short = broker.alive_until(1);
    assert_eq!(short, Minute::from_end(wall.plus(Duration::from_secs(300) + MINT_SLACK)));
    let mut longer = broker.reopened(with_tail(7_200), 4);
    assert_eq!(longer.alive_until(1).since(short), 120);
    assert_eq!(longer.reopened(with_tail(7_260), 8).alive_until(1).since(short), 121, "it is stored");
}

#[path = "cutting_tests.rs"]
mod cutting;

#[path = "relays_tests.rs"]
mod relays;

#[path = "foreign_tests.rs"]
mod foreign;
