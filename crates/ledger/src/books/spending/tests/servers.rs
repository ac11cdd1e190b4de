//! The sums and limits of server keys.

use super::*;

const LIMIT: u64 = (10 + 2 * CLOCKS) * MINUTE_BYTES;

/// A broker at which the key `app` may use as much as ten minutes of a grant relay, with those of the clocks.
fn broker(mode: BudgetMode, spenders: SpenderTerms) -> Broker {
    let mut broker = Broker::new(mode, spenders);
    broker.setup.server_limits.insert(Label::new("app").unwrap(), ByteCount::new(LIMIT));
    broker.restart();
    broker
}

fn of_key(name: &str) -> Requester {
    let spender = Spender { server: Label::new(name), ..Spender::default() };
    Requester { spender: spender.known(), ..Requester::default() }
}

fn used(broker: &mut Broker, name: &str) -> u64 {
    broker.books.server_use(&Label::new(name).unwrap()).0.get()
}

#[test]
fn what_a_key_has_used_outlives_its_grants_and_a_restart_even_in_a_full_map() {
    let spenders = SpenderTerms { ended_max: 0, left_max: 4, ..SpenderTerms::default() };
    let mut broker = broker(BudgetMode::Estimate, spenders);
    for (name, bytes) in [("app", LIMIT), ("other", 2 * LIMIT), ("app", 7), ("third", 5)] {
        let grant = broker.mint(of_key(name), 60);
        let until = broker.wait(240);
        let counted: Vec<_> = grant.iter().map(|grant| (grant.id, bytes)).collect();
        assert!(broker.count(until, true, &counted, 0));
        while !broker.books.tidy() {}
    }
    assert_eq!(broker.books.grants().iter().count(), 0);
    for _ in 0..2 {
        assert_eq!(["app", "other", "third"].map(|name| used(&mut broker, name)), [LIMIT, 2 * LIMIT, 5]);
        assert!(broker.mint(of_key("app"), 60).is_err(), "it has used its limit");
        assert!(broker.mint(of_key("other"), 60).is_ok(), "this one has none");
        broker.restart();
    }
    broker.books.advance(at(7_200));
    assert_eq!(used(&mut broker, "app"), 0, "another period");
    assert!(broker.mint(of_key("app"), 60).is_ok());
}

#[test]
fn in_strict_mode_a_key_reserves_what_its_grants_may_relay_and_a_chain_counts_once() {
    let mut broker = broker(BudgetMode::Strict, SpenderTerms::default());
    let committed = |books: &mut Books| {
        let of = Limited::Server(Label::new("app").unwrap());
        books.limit_share(&of).unwrap().committed.get()
    };
    let first = broker.mint(of_key("app"), SHORT).unwrap();
    assert_eq!(committed(&mut broker.books), PROMISED * MINUTE_BYTES);
    broker.restart();
    assert_eq!(committed(&mut broker.books), PROMISED * MINUTE_BYTES, "also after a restart");
    broker.books.advance(at(240));
    let renewal = Requester { renews: Some(first.id), ..of_key("app") };
    broker.mint(renewal, SHORT).unwrap();
    // Of the two, one relays at a time.
    assert_eq!(committed(&mut broker.books), (PROMISED + 4) * MINUTE_BYTES);
    let refused = broker.hold(&of_key("app"));
    let Err(NotAdmitted::Refused(refusal)) = refused else { panic!("{refused:?}") };
    assert_eq!(refusal.limited.unwrap().kind, turn_budget::LimitKind::Server);
    assert!(broker.mint(of_key("other"), SHORT).is_ok());
}

/// What its grants may relay stays promised, so the rest of its limit is all that it may vouch for beside them.
#[test]
fn in_strict_mode_a_key_vouches_without_a_grant_only_for_what_its_grants_leave() {
    let app = Label::new("app").unwrap();
    let report = Report { bytes_received: Some(u64::MAX), ..Report::default() };
    for (mode, left) in [(BudgetMode::Strict, LIMIT - PROMISED * MINUTE_BYTES), (BudgetMode::Estimate, LIMIT)]
    {
        let mut broker = broker(mode, SpenderTerms::default());
        broker.mint(of_key("app"), SHORT).unwrap();
        broker.books.open(Caller::Server(&app), "call", None).unwrap();
        let of_app = Spender { server: Some(app.clone()), ..Spender::default() };
        broker.books.report_spender(Caller::Server(&app), "call", of_app);
        broker.books.advance(at(30));
        broker.books.heartbeat(Caller::Server(&app), "call", report).unwrap();
        assert_eq!(used(&mut broker, "app"), left, "{mode:?}");
    }
}

#[test]
fn only_the_credential_of_a_key_is_found_by_its_user_name_and_only_while_it_lives() {
    let mut broker = Broker::new(BudgetMode::Estimate, SpenderTerms::default());
    broker.mint(requester("ann"), 60).unwrap();
    let found = |broker: &Broker| broker.books.grants().with_username("name");
    assert_eq!(found(&broker), None, "a page asked for it");
    let of_server = broker.mint(of_key("app"), 60).unwrap();
    for _ in 0..2 {
        assert_eq!(found(&broker), Some(of_server.id));
        assert_eq!(broker.books.grants().with_username("another"), None);
        broker.restart();
    }
    broker.books.advance(at(600));
    broker.books.tidy();
    assert_eq!(found(&broker), None);
}

#[test]
fn a_user_name_that_a_provider_gives_to_all_names_the_last_credential_until_that_is_over() {
    let mut broker = Broker::new(BudgetMode::Estimate, SpenderTerms::default());
    let found = |broker: &Broker| broker.books.grants().with_username("name");
    broker.mint(of_key("app"), 60).unwrap();
    broker.books.advance(at(120));
    let last = broker.mint(of_key("app"), 180).unwrap();
    broker.books.advance(at(300 - 1));
    broker.books.tidy();
    assert_eq!(found(&broker), Some(last.id), "the first is over");
    broker.books.advance(at(600));
    broker.books.tidy();
    assert_eq!(found(&broker), None);
}

/// A program names a new user for each credential.
#[test]
fn in_strict_mode_keys_without_a_limit_reserve_half_of_what_the_others_leave() {
    let mut setup = setup(BudgetMode::Strict, SpenderTerms::default());
    setup.terms.limit = ByteCount::new(40 * PROMISED * MINUTE_BYTES);
    let mut broker = Broker::open(setup, at(0));
    let mints = |broker: &mut Broker, server: &str| {
        let of = |nth: u32| {
            let user = User::new(&format!("invented-{nth}"));
            let spender = Spender { server: Label::new(server), user, ..Spender::default() };
            Requester { spender: spender.known(), ..Requester::default() }
        };
        (0..99).take_while(|nth| broker.mint(of(*nth), SHORT).is_ok()).count()
    };
    assert_eq!(mints(&mut broker, "app"), 20);
    assert_eq!(mints(&mut broker, "other"), 10);
    let refused = broker.hold(&of_key("app")).unwrap_err();
    let NotAdmitted::Refused(refusal) = refused else { panic!("{refused:?}") };
    assert_eq!(refusal.limited.unwrap().kind, turn_budget::LimitKind::Server);
    let page =
        Requester { client: Some(ClientKey::of("203.0.113.9".parse().unwrap())), ..Requester::default() };
    assert!(broker.mint(page, SHORT).is_ok());
}
