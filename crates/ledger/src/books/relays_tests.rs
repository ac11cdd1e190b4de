//! Several relays: each has its own listing, and a promise names the relay that may carry it.

use super::*;

fn relay(host: &str) -> CountOwner {
    CountOwner { source: COTURN, issuer: Some(IdDigest::of(host)) }
}

/// A strict broker with the relays `a` and `b`, which has read both.
fn fleet() -> Broker {
    fleet_in(BudgetMode::Strict)
}

fn fleet_in(mode: BudgetMode) -> Broker {
    let one = setup(mode);
    let of = |owner| SourceTerms { owner, ..one.sources[0] };
    let rest = SourceTerms { cut_tail: None, is_read: false, ..one.sources[0] };
    let sources = vec![of(relay("a")), of(relay("b")), rest];
    let mut broker = Broker::open(Setup { sources, ..one }, at(0));
    for host in ["a", "b"] {
        assert_eq!(broker.list_at(host, 0, &[]), []);
    }
    broker
}

impl Broker {
    fn list_at(&mut self, host: &str, seconds: u64, sessions: &[Sent]) -> Vec<SessionId> {
        self.books.advance(at(seconds));
        self.books.take_sessions(relay(host), listing(sessions), at(seconds))
    }

    fn mint_at(&mut self, host: &str, life: u64) -> Result<(), NotAdmitted> {
        self.mint(Requester { issuer: relay(host).issuer, ..Requester::default() }, life).map(drop)
    }

    fn tail_of(&self, number: u64) -> u64 {
        let row = self.books.grants().get(grant_id(number)).unwrap();
        row.alive_until().unwrap().since(Minute::of(row.expires_at)) / 60
    }
}

#[test]
fn only_the_listing_of_its_relay_releases_a_promise() {
    let mut broker = fleet();
    broker.mint_at("a", 600).unwrap();
    broker.mint_at("b", 600).unwrap();
    let both = broker.committed();
    for seconds in (2..=300).step_by(2) {
        broker.list_at("a", seconds, &[]);
    }
    // Five minutes of one, and the longer tail of the other.
    let expected = both - 5 * MINUTE_BYTES + (7_200 - 30) / 60 * MINUTE_BYTES;
    assert!(broker.committed().abs_diff(expected) <= 2 * MINUTE_BYTES, "{both} {}", broker.committed());
}

#[test]
fn a_relay_whose_listings_have_stopped_gets_no_credentials_in_strict_mode_and_the_other_one_does() {
    let mut broker = fleet();
    broker.mint_at("a", 600).unwrap();
    broker.mint_at("b", 600).unwrap();
    for seconds in (2..=40).step_by(2) {
        broker.list_at("a", seconds, &[]);
    }
    assert_eq!([1, 2].map(|number| broker.tail_of(number)), [0, 2], "hours");
    assert_eq!([broker.books.is_uncut(relay("a")), broker.books.is_uncut(relay("b"))], [false, true]);
    assert_eq!(broker.mint_at("b", 600), Err(NotAdmitted::Uncut));
    assert_eq!(broker.mint_at("a", 600), Ok(()));
    assert!(!broker.books.snapshot().bound_holds());
    broker.list_at("b", 42, &[]);
    assert_eq!(broker.tail_of(2), 0);
    assert!(broker.books.snapshot().bound_holds());
}

/// Strict mode would mint nothing at the other one.
#[test]
fn a_promise_has_the_tail_of_its_own_relay() {
    for (listed, other) in [("a", "b"), ("b", "a")] {
        let mut broker = fleet_in(BudgetMode::Estimate);
        for seconds in (2..=40).step_by(2) {
            broker.list_at(listed, seconds, &[]);
        }
        broker.mint_at(listed, 600).unwrap();
        broker.mint_at(other, 600).unwrap();
        assert_eq!([1, 2].map(|number| broker.tail_of(number)), [0, 2], "hours, {listed} is listed");
    }
}

/// Both relays number their sessions from 1.
#[test]
fn sessions_of_two_relays_with_one_number_are_two_also_after_a_restart() {
    let mut broker = fleet();
    broker.mint_at("a", HOUR).unwrap();
    for (seconds, bytes) in [(2, 1_000), (4, 3_000)] {
        broker.list_at("a", seconds, &[sent(bytes)]);
        broker.list_at("b", seconds, &[sent(2 * bytes)]);
    }
    assert_eq!(broker.used(), 9_000);
    broker.flush();
    assert_eq!(broker.disk.sessions.len(), 2);
    broker.restart();
    broker.list_at("b", 6, &[sent(7_000)]);
    assert_eq!(broker.used(), 10_000);
    let row = broker.books.grants().get(grant_id(1)).unwrap();
    assert_eq!(broker.books.grants().spent_of(row).measured.get(), 10_000);
}

/// What its page claims counts until its own relay is listed.
#[test]
fn a_listing_replaces_the_claims_of_grants_of_its_relay_alone() {
    let mut broker = fleet();
    broker.mint_at("b", HOUR).unwrap();
    broker.list_at("a", 2, &[]);
    let until = |host: &str| broker.books.grants().counted_until(relay(host)).millis_since(at(0));
    assert_eq!([until("a"), until("b")], [2_000, 0]);
}
