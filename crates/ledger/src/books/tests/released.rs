//! What is released of a revoked grant, and what is not: the relay's grants, in strict mode.

use super::*;

const RELAY: IceSource = IceSource::Relay;
/// An hour with the time that a mint may take.
const LIFE: u64 = 3_596;
/// Bytes of a minute at 2 Mbps.
const MINUTE: u64 = 15_000_000;

fn open(source: IceSource) -> Broker {
    Broker::open(setup_of(source, BudgetMode::Strict, ByteCount::new(1_000 * GB)), at(0))
}

/// An instant after so many minutes.
fn after(minutes: u64) -> Timestamp {
    at(minutes * 60_000)
}

/// The source has sessions of these grants. Returns how many minutes are released.
fn look(broker: &mut Broker, sessions: &[GrantId]) -> u64 {
    broker.books.release_gone(broker.setup.default_source, |id| sessions.contains(&id))
}

/// A renewal of an hour whose client has taken the right to it.
fn renew(broker: &mut Broker, renewed: &Grant) -> Grant {
    assert!(broker.books.take_renewal(renewed));
    broker.mint(renewing(renewed.id), LIFE).unwrap()
}

#[test]
fn a_revoked_grant_without_a_session_keeps_only_the_minutes_until_its_release() {
    let mut broker = open(RELAY);
    let [gone, stays] = [(); 2].map(|()| broker.mint_any(LIFE));
    assert_eq!(broker.promised(), 120 * MINUTE);
    broker.books.advance(at(5 * 60_000 + 30_000));
    assert_eq!(look(&mut broker, &[]), 0, "nothing is revoked");
    broker.crash_until(broker.books.now());
    assert_eq!(look(&mut broker, &[]), 0, "nor was it before the crash");
    broker.books.revoke(gone.id).unwrap();
    assert_eq!(look(&mut broker, &[gone.id, stays.id]), 0, "it has a session");
    assert_eq!(look(&mut broker, &[stays.id]), 54);
    assert_eq!(broker.promised(), (60 + 6) * MINUTE, "the minute that runs stays promised");
    assert_eq!(look(&mut broker, &[]), 0, "once");
    broker.books.advance(after(6));
    assert_eq!(broker.books.snapshot().live_grants, 1);
    assert!(broker.books.grant_end(gone.id, None).is_some(), "the relay refuses it until it expires");
}

#[test]
fn a_chain_of_renewals_is_one_revoked_grant_once_none_of_it_is_valid() {
    let mut broker = open(IceSource::Cloudflare);
    let first = broker.mint_any(LIFE);
    broker.books.advance(after(50));
    let second = renew(&mut broker, &first);
    broker.mint_any(LIFE);
    let counts = |broker: &Broker| {
        let books = &broker.books;
        (books.snapshot().live_grants, books.grants().revoked_live(books.now()))
    };
    for (grant, revoked) in [(first, 0), (second, 1)] {
        broker.books.revoke(grant.id).unwrap();
        assert_eq!(counts(&broker), (2, revoked));
    }
}

#[test]
fn at_a_source_that_accepts_the_credential_again_nothing_is_released() {
    for source in [IceSource::Cloudflare, IceSource::Coturn] {
        let mut broker = open(source);
        let grant = broker.mint_any(LIFE);
        let promised = broker.promised();
        broker.books.revoke(grant.id).unwrap();
        assert_eq!((look(&mut broker, &[]), broker.promised()), (0, promised), "{source}");
    }
}

#[test]
fn a_grant_that_was_renewed_keeps_its_minutes_for_the_renewal() {
    let mut broker = open(RELAY);
    let first = broker.mint_any(LIFE);
    broker.books.advance(after(50));
    let second = renew(&mut broker, &first);
    let promised = broker.promised();
    broker.books.revoke(first.id).unwrap();
    assert_eq!((look(&mut broker, &[]), broker.promised()), (0, promised), "the renewal may relay in them");
    broker.books.revoke(second.id).unwrap();
    assert_eq!(look(&mut broker, &[]), 50, "the renewal reserved no minute of the first grant");
}

#[test]
fn after_the_last_renewal_the_grants_that_it_renewed_are_released() {
    let mut broker = open(RELAY);
    let first = broker.mint_any(LIFE);
    broker.books.advance(after(50));
    let second = renew(&mut broker, &first);
    broker.books.advance(after(100));
    let third = renew(&mut broker, &second).id;
    let second = second.id;
    broker.books.tidy();
    broker.restart();
    assert_eq!(broker.books.grants().with_renewals(first.id).count(), 3, "also after the first has ended");
    assert_eq!(broker.books.grants().with_renewals(second).collect::<Vec<_>>(), [second, third]);
    broker.books.revoke(second).unwrap();
    broker.books.revoke(third).unwrap();
    assert_eq!(look(&mut broker, &[third]), 0, "the last one has a session");
    assert_eq!(look(&mut broker, &[second]), 50);
    assert_eq!(look(&mut broker, &[second]), 0, "the one before has a session");
    assert_eq!(look(&mut broker, &[]), 9);
    assert_eq!(broker.promised(), (100 + 1) * MINUTE, "the minutes until now, and the one that runs");
}

#[test]
fn a_renewal_that_was_not_recorded_is_not_waited_for() {
    let mut broker = open(RELAY);
    let first = broker.mint_any(LIFE);
    broker.books.advance(after(50));
    assert!(broker.books.take_renewal(&first));
    let hold = broker.reserve(LIFE, &renewing(first.id)).unwrap();
    let (_, commit) = broker.commit(hold, renewing(first.id)).unwrap();
    assert_eq!(broker.books.note_written(&commit, Written::No), Err(NotRecorded));
    broker.books.revoke(first.id).unwrap();
    assert_eq!(look(&mut broker, &[]), 0, "its renewal is still taken");
    broker.books.give_renewal_back(first.id);
    assert_eq!(look(&mut broker, &[]), 9);
}

#[test]
fn while_the_wall_clock_is_ahead_the_minutes_until_its_time_stay_promised() {
    let mut broker = open(RELAY);
    let grant = broker.mint_any(LIFE);
    broker.books.advance(Moment { wall: after(20), ..at(60_000).into() });
    broker.books.revoke(grant.id).unwrap();
    assert_eq!(look(&mut broker, &[]), 39);
}

#[test]
fn a_released_grant_is_refused_until_its_credential_has_expired_by_either_clock() {
    let mut broker = open(RELAY);
    let hours = |hours: u64| at(hours * 3_600_000);
    broker.books.advance(Moment { wall: hours(2), ..at(0).into() });
    let grant = broker.mint_any(LIFE);
    broker.books.revoke(grant.id).unwrap();
    look(&mut broker, &[]);
    broker.books.advance(hours(2).plus(Duration::from_secs(1_800)));
    for _ in 0..2 {
        broker.books.tidy();
        assert!(broker.books.grants().is_revoked(grant.id), "its credential may expire at three hours");
        broker.restart();
    }
    broker.books.advance(hours(3));
    broker.books.tidy();
    assert_eq!(broker.books.grants().count(), 0);
}

#[test]
fn a_grant_is_not_released_before_the_outcome_of_its_write_is_known() {
    let mut broker = open(RELAY);
    let hold = broker.reserve(LIFE, &Requester::default()).unwrap();
    let (grant, commit) = broker.commit(hold, Requester::default()).unwrap();
    broker.books.revoke(grant.id).unwrap();
    assert_eq!(look(&mut broker, &[]), 0);
    assert_eq!(broker.books.note_written(&commit, Written::No), Err(NotRecorded));
    assert_eq!(broker.promised(), 0, "undone once");
    let _ = broker.mint_any(LIFE);
    assert_eq!(broker.promised(), 60 * MINUTE, "nothing of another grant was released");
}

#[test]
fn the_share_of_an_address_and_of_a_user_is_released_too() {
    let mut broker = open(RELAY);
    broker.setup.bounds.spenders.user_limit = Some(ByteCount::new(10 * GB));
    broker.restart();
    let ann = User::new("ann").unwrap();
    let client = ClientKey::of("203.0.113.9".parse().unwrap());
    let grant = broker.mint(Requester { client: Some(client), ..of_ann() }, LIFE).unwrap();
    let holder = Holder { client: Some(client), user: Some(&ann), ..Holder::default() };
    let expect = |broker: &mut Broker, bytes| {
        let share = broker.books.user_share(&ann).unwrap();
        assert_eq!(share.committed.plus(share.committed_next).get(), bytes);
        let [of_address, _, of_user] = broker.books.grants.clients.shares(holder, at(0));
        assert_eq!([of_address, of_user].map(|share| share.unwrap().reserved), [bytes; 2]);
    };
    expect(&mut broker, 60 * MINUTE);
    broker.books.revoke(grant.id).unwrap();
    look(&mut broker, &[]);
    expect(&mut broker, MINUTE);
    broker.restart();
    expect(&mut broker, MINUTE);
}

#[test]
fn a_longer_tail_does_not_bring_a_released_grant_back() {
    let mut broker = open(RELAY);
    let [grant, _] = [(); 2].map(|()| broker.mint_any(LIFE));
    broker.books.revoke(grant.id).unwrap();
    look(&mut broker, &[]);
    broker.setup.sources[0].tail = Duration::from_secs(600);
    broker.restart();
    assert!(broker.promised() < (1 + 60 + 12) * MINUTE, "{}", broker.promised() / MINUTE);
}

/// Its tail was over, so its row had ended.
#[test]
fn a_revoked_grant_that_a_longer_tail_brings_back_is_released() {
    let mut broker = open(RELAY);
    let grant = broker.mint_any(LIFE);
    broker.books.revoke(grant.id).unwrap();
    broker.books.advance(at(7_200_000));
    while !broker.books.tidy() {}
    assert!(broker.books.grants().get(grant.id).is_none());
    broker.setup.sources[0].tail = Duration::from_secs(14_400);
    broker.restart();
    assert!(broker.books.grants().get(grant.id).is_some());
    assert!(look(&mut broker, &[]) > 0);
}
