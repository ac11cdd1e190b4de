//! The limit of each user, and blocked spenders.

use super::*;

/// What the user has used, if the limit of the user is the reason for a refusal.
fn refused_to_user(broker: &mut Broker, name: &str) -> Option<u64> {
    match broker.reserve(600, &requester(name)) {
        Err(NotAdmitted::Refused(refusal)) => refusal.limited.map(|user| user.used.get()),
        Ok(hold) => {
            broker.books.release(&hold);
            None
        }
        Err(other) => panic!("{other:?}"),
    }
}

#[test]
fn in_estimate_mode_a_user_who_has_used_the_limit_gets_no_more() {
    let mut broker = Broker::with_limit(BudgetMode::Estimate, 5 * MB);
    let ann = broker.mint(requester("ann"), 3_600).unwrap();
    assert!(broker.count(at(60), false, &[(ann.id, 5 * MB - 1)], 0));
    assert_eq!(refused_to_user(&mut broker, "ann"), None);
    assert!(broker.count(at(60), false, &[(ann.id, 5 * MB)], 0));
    assert_eq!(refused_to_user(&mut broker, "ann"), Some(5 * MB));
    broker.restart();
    assert_eq!(refused_to_user(&mut broker, "ann"), Some(5 * MB));
    assert!(broker.mint(requester("bob"), 3_600).is_ok());
    broker.books.advance(at(7_200));
    assert_eq!(refused_to_user(&mut broker, "ann"), None, "another period");
}

#[test]
fn what_a_credential_that_costs_nothing_relays_counts_for_no_limit() {
    let mut broker = Broker::with_limit(BudgetMode::Estimate, 5 * MB);
    let (source, life) = (IceSource::Manual, Duration::from_secs(3_600));
    let hold = broker.books.reserve(source, life, Duration::from_secs(4), &requester("ann")).unwrap();
    let (issued_at, expires_at) = (broker.books.now(), broker.books.now().plus(hold.life));
    let free = Grant { id: GrantId::new([9; 16]), source, issued_at, expires_at };
    let commit = broker.books.commit(hold, &free, None, requester("ann")).unwrap();
    broker.books.note_written(&commit, Written::Yes).unwrap();
    broker.books.open(Caller::Grant(free), "c", Some(true)).unwrap();
    broker.books.advance(at(60));
    broker.beat(free, 15 * MB);
    for _ in 0..2 {
        let row = broker.books.grants().get(free.id).unwrap();
        assert_eq!((row.user(), row.promised), (Some(&user("ann")), None));
        assert_eq!(refused_to_user(&mut broker, "ann"), None);
        broker.restart();
    }
}

/// The app server reports on a connection of its own, for ann.
fn report(broker: &mut Broker, bytes: Option<u64>) {
    let _ = broker.books.open(Caller::Reporter, "r", Some(true)).unwrap();
    let ann = Spender { user: User::new("ann"), ..Spender::default() };
    broker.books.report_spender(Caller::Reporter, "r", ann);
    let report = Report { bytes_received: bytes, relayed: Some(true), ..Report::default() };
    broker.books.heartbeat(Caller::Reporter, "r", report).unwrap();
}

#[test]
fn all_grants_of_a_user_are_revoked_and_no_others() {
    let mut broker = Broker::new(BudgetMode::Estimate, SpenderTerms::default());
    let [first, second, other] = ["ann", "ann", "bob"].map(|name| broker.mint(requester(name), 600).unwrap());
    for grant in [first, other] {
        broker.books.open(Caller::Grant(grant), "c", Some(true)).unwrap();
    }
    let AllRevoked { mut grants, closed } = broker.books.revoke_all_of(&SpenderKey::User(user("ann")));
    grants.sort_by_key(|(id, _)| *id);
    assert_eq!(grants.iter().map(|(id, _)| *id).collect::<Vec<_>>(), [first.id, second.id]);
    assert!(grants.iter().all(|(_, row)| row.extra().revoked_at == Some(at(0))));
    assert_eq!((closed.len(), broker.books.connections().iter().count()), (1, 1));
    assert!(!broker.books.grants().is_revoked(other.id));
}

#[test]
fn all_grants_of_one_value_of_any_kind_are_revoked_and_no_others() {
    for kept in [KeptAddresses::Full, KeptAddresses::Prefix, KeptAddresses::None] {
        let spender = |name: &str| Spender {
            user: User::new(name),
            label: Label::new(name),
            origin: Some(name.into()),
            call: Some(Call::of("ayame", name)),
            server: Label::new(name),
            signed_in_until: None,
        };
        let requester = |name: &str, host: u16| {
            let address = std::net::Ipv6Addr::new(0x2001, 0xdb8, 0, host, 0, 0, 0, 1);
            let client = Some(ClientKey::of(address.into()));
            Requester {
                client,
                address: Some(address),
                spender: spender(name).known(),
                ..Requester::default()
            }
        };
        let keys = [
            (SpenderKind::User, "ann", 1),
            (SpenderKind::Label, "ann", 1),
            (SpenderKind::Origin, "ann", 1),
            (SpenderKind::Call, "ayame/ann", 1),
            (SpenderKind::Key, "ann", 1),
            (SpenderKind::Address, "2001:db8:0:1::/64", usize::from(kept != KeptAddresses::None)),
            (SpenderKind::Address, "2001:db8:0:1::1", usize::from(kept != KeptAddresses::None)),
            (SpenderKind::Address, "2001:db8:0:1::2", usize::from(kept == KeptAddresses::Prefix)),
        ];
        for (kind, text, revoked) in keys {
            let terms = SpenderTerms { addresses: kept, ..SpenderTerms::default() };
            let mut broker = Broker::new(BudgetMode::Estimate, terms);
            let [ann, bob] =
                [("ann", 1), ("bob", 2)].map(|(name, host)| broker.mint(requester(name, host), 600).unwrap());
            let found = broker.books.revoke_all_of(&SpenderKey::parse(kind, text).unwrap()).grants;
            assert_eq!(found.len(), revoked, "{kept:?} {kind:?} {text}");
            let grants = broker.books.grants();
            assert_eq!([ann, bob].map(|grant| grants.is_revoked(grant.id)), [revoked == 1, false], "{text}");
        }
    }
}

#[test]
fn in_strict_mode_a_user_gets_what_the_live_grants_leave() {
    let mut broker = Broker::with_limit(BudgetMode::Strict, 39 * MINUTE_BYTES);
    let long = broker.mint(requester("eve"), 600).unwrap();
    // A third of the room is 13 minutes, of which the clocks take four and the slack 4 s.
    assert_eq!(long.expires_at.since(at(0)), Duration::from_secs((13 - 2 * CLOCKS) * 60 - 4));
    let [first, second] = [1, 2].map(|_| broker.mint(requester("ann"), SHORT).unwrap());
    for _ in 0..2 {
        assert!(broker.mint(requester("ann"), SHORT).is_ok());
    }
    assert_eq!(refused_to_user(&mut broker, "ann"), Some(0));
    assert!(broker.mint(requester("bob"), SHORT).is_ok());
    // A count gives back what was not relayed in its time: four of the nine minutes of each grant.
    broker.books.advance(at(120));
    assert!(broker.count(at(120), true, &[(first.id, MINUTE_BYTES), (second.id, 7)], 0));
    assert_eq!(refused_to_user(&mut broker, "ann"), None);
    let share = broker.share("ann");
    assert_eq!((share.used, share.committed), (MINUTE_BYTES + 7, 21 * MINUTE_BYTES + 7));
    broker.restart();
    assert_eq!(broker.share("ann"), share);
    // An ended grant is not given back by time alone.
    broker.books.advance(at(900));
    broker.books.tidy();
    broker.restart();
    assert_eq!(broker.share("ann"), share);
}

#[test]
fn bytes_that_a_reporter_names_for_a_user_count_beside_what_the_users_grants_reserve() {
    let mut broker = Broker::with_limit(BudgetMode::Strict, (PROMISED + 5) * MINUTE_BYTES);
    let expect = |broker: &mut Broker, used, committed| {
        assert_eq!(broker.share("ann"), Share { used, committed });
    };
    report(&mut broker, None);
    broker.books.advance(at(20));
    report(&mut broker, None);
    // 20 s at the estimated rate, which a count replaces.
    expect(&mut broker, MINUTE_BYTES / 3, MINUTE_BYTES / 3);
    report(&mut broker, Some(7));
    expect(&mut broker, 7, 7);
    broker.mint(requester("ann"), SHORT).unwrap();
    // It begins and ends in the middle of a minute.
    expect(&mut broker, 7, 7 + (PROMISED + 1) * MINUTE_BYTES);
    report(&mut broker, Some(5 * MINUTE_BYTES));
    for _ in 0..2 {
        expect(&mut broker, 5 * MINUTE_BYTES, (PROMISED + 6) * MINUTE_BYTES);
        assert_eq!(broker.of("ann"), Some((0, 5 * MINUTE_BYTES, 5 * MINUTE_BYTES)), "the row of who spends");
        assert_eq!(refused_to_user(&mut broker, "ann"), Some(5 * MINUTE_BYTES));
        broker.restart();
    }
}

#[test]
fn a_count_takes_nothing_from_a_user_that_was_charged_in_the_period_before() {
    let mut broker = Broker::with_limit(BudgetMode::Strict, 100 * MINUTE_BYTES);
    let reset = 7_200;
    for seconds in (reset - 120..=reset + 20).step_by(20) {
        broker.books.advance(at(seconds));
        report(&mut broker, None);
    }
    let ann = broker.mint(requester("ann"), SHORT).unwrap();
    broker.books.advance(at(reset + 60));
    assert!(broker.count(at(reset + 60), true, &[(ann.id, MINUTE_BYTES)], 0));
    report(&mut broker, Some(9));
    for _ in 0..2 {
        // Six minutes of the credential, and those of the clocks after it. The ones before it lie before the reset.
        let (used, committed) = (MINUTE_BYTES + 9, 9 + (6 + CLOCKS) * MINUTE_BYTES);
        assert_eq!(broker.share("ann"), Share { used, committed });
        broker.restart();
    }
}

#[test]
fn a_renewal_reserves_all_its_minutes_under_the_limit_of_a_user() {
    let mut broker = Broker::with_limit(BudgetMode::Strict, 2 * PROMISED * MINUTE_BYTES);
    let first = broker.mint(requester("ann"), SHORT).unwrap();
    let renewal = Requester { renews: Some(first.id), ..requester("ann") };
    broker.mint(renewal.clone(), SHORT).unwrap();
    for _ in 0..2 {
        let committed = broker.share("ann").committed;
        assert_eq!(committed, 2 * PROMISED * MINUTE_BYTES, "ann may relay with both credentials");
        assert!(broker.mint(renewal.clone(), SHORT).is_err());
        broker.restart();
    }
    // The budget assumes that a call relays with one of them.
    assert_eq!(broker.committed(), PROMISED * MINUTE_BYTES);
}

/// Where sessions are cut here, a renewal prolongs those of the grants before it: the user could relay with all of them.
#[test]
fn a_renewal_reserves_what_its_chain_relays_under_the_limit_of_a_user() {
    let mut broker = Broker::at_source(IceSource::Relay, BudgetMode::Strict, 100 * MINUTE_BYTES);
    let (mut chain, mut renews) = (vec![], None);
    for seconds in [0, 240, 480] {
        broker.books.advance(at(seconds));
        let grant = broker.mint(Requester { renews, ..requester("ann") }, SHORT).unwrap();
        renews = Some(grant.id);
        chain.push(grant.id);
    }
    for id in chain {
        // All of the chain relays until the last one expires.
        assert_eq!(broker.books.grant_end(id, None), None);
    }
    for _ in 0..2 {
        assert_eq!(broker.share("ann").committed, (3 * 5 + 4 + 2 * 4) * MINUTE_BYTES);
        broker.restart();
    }
}

#[test]
fn without_room_for_its_row_no_grant_is_issued() {
    let mut broker = Broker::with_limit(BudgetMode::Strict, 100 * MINUTE_BYTES);
    broker.setup.bounds.grants = 1;
    broker.restart();
    let hold = broker.hold(&requester("ann")).unwrap();
    broker.mint(requester("bob"), SHORT).unwrap();
    assert_eq!(broker.hold(&requester("ann")).err(), Some(NotAdmitted::TooManyGrants));
    let before = broker.committed();
    assert!(broker.commit(hold, requester("ann")).is_err(), "the other one was faster");
    assert!(broker.committed() < before, "what it held is released");
    broker.books.advance(at(600));
    broker.books.tidy();
    assert!(broker.mint(requester("ann"), SHORT).is_ok(), "a grant that has ended makes room");
}

#[test]
fn what_nobody_counted_of_a_grant_that_left_the_history_stays_reserved() {
    let mut broker = Broker::with_limit(BudgetMode::Strict, 100 * MINUTE_BYTES);
    broker.setup.bounds.spenders.ended_max = 0;
    broker.restart();
    let grant = broker.mint(requester("ann"), SHORT).unwrap();
    broker.books.advance(at(120));
    assert!(broker.count(at(120), true, &[(grant.id, 9)], 0));
    broker.setup.bounds.grants = 0;
    broker.restart();
    broker.books.advance(at(600));
    broker.books.tidy();
    assert_eq!(broker.books.grants().ended_count(), 0, "there is no room for it until it is counted");
    for _ in 0..2 {
        assert_eq!(broker.share("ann"), Share { used: 9, committed: 9 + (3 + CLOCKS) * MINUTE_BYTES });
        broker.restart();
    }
}

#[test]
fn a_blocked_spender_gets_nothing_until_allowed_and_the_number_of_blocked_spenders_is_bounded() {
    let mut broker = Broker::new(BudgetMode::Estimate, SpenderTerms::default());
    let of_user = |name: &str| SpenderKey::User(user(name));
    let app = Label::new("app");
    let spender = Spender {
        label: app.clone(),
        origin: Some("https://a.example".into()),
        call: Call::new("rooms/a"),
        server: app.clone(),
        ..Spender::default()
    };
    let ann = requester("ann");
    let others = Requester { spender: spender.known(), ..Requester::default() };
    let keys = [
        (of_user("ann"), &ann),
        (SpenderKey::Label(app.clone().unwrap()), &others),
        (SpenderKey::Origin("https://a.example".into()), &others),
        (SpenderKey::Call(Call::new("rooms/a").unwrap()), &others),
        (SpenderKey::Server(app.unwrap()), &others),
    ];
    for n in 1..BLOCKED_MAX {
        broker.books.block(&of_user(&format!("user-{n}")), None).unwrap();
    }
    for (key, requester) in keys {
        let why = Some(NotAdmitted::Blocked(key.kind()));
        let hold = broker.hold(requester).unwrap();
        for _ in 0..2 {
            assert!(broker.books.block(&key, None).is_ok(), "twice is harmless");
        }
        assert_eq!(broker.books.block(&of_user("another"), None), Err(TooManyBlocked));
        assert_eq!(broker.commit(hold, requester.clone()).err(), why, "during the mint");
        broker.restart();
        assert_eq!(broker.hold(requester).err(), why);
        assert!(broker.books.is_blocked(&key) && broker.mint(self::requester("bob"), SHORT).is_ok());
        broker.books.allow(&key);
        broker.restart();
        assert!(!broker.books.is_blocked(&key));
        assert!(broker.mint(requester.clone(), SHORT).is_ok());
    }
}

#[test]
fn a_blocked_address_gets_nothing_until_the_block_ends() {
    let mut broker = Broker::new(BudgetMode::Estimate, SpenderTerms::default());
    let of = |text: &str| Requester { client: text.parse().ok(), ..Requester::default() };
    let key = |text: &str| SpenderKey::parse(SpenderKind::Address, text).unwrap();
    let why = Some(NotAdmitted::Blocked(SpenderKind::Address));
    let hold = broker.hold(&of("192.0.2.1")).unwrap();
    for (text, until) in [("192.0.2.1", Some(at(60))), ("2001:db8:1::/48", None), ("192.0.2.3", Some(at(61)))]
    {
        assert!(broker.books.block(&key(text), until).is_ok());
    }
    assert_eq!(broker.commit(hold, of("192.0.2.1")).err(), why, "during the mint");
    broker.restart();
    let refused = |broker: &mut Broker, text: &str| broker.hold(&of(text)).err();
    for text in ["192.0.2.1", "2001:db8:1:7::/64"] {
        assert_eq!(refused(&mut broker, text), why, "{text}");
    }
    assert!(broker.books.is_blocked(&key("2001:db8:1:7::1")), "a whole address");
    assert_eq!((refused(&mut broker, "192.0.2.2"), refused(&mut broker, "2001:db8:2::/64")), (None, None));
    assert_eq!(broker.hold(&Requester::default()).err(), None, "a server with a key");
    broker.books.advance(at(60));
    assert_eq!(refused(&mut broker, "192.0.2.1"), None, "its time is over");
    assert_eq!(refused(&mut broker, "192.0.2.3"), why);
    let group = key("2001:db8:1::/48");
    broker.books.allow(&key("2001:db8:1:7::/64"));
    assert!(broker.books.is_blocked(&group), "the group around it");
    broker.books.allow(&group);
    broker.restart();
    assert_eq!(refused(&mut broker, "2001:db8:1:7::/64"), None);
    for n in 1..BLOCKED_MAX {
        let address = key(&format!("10.0.{}.{}", n / 256, n % 256));
        assert!(broker.books.block(&address, Some(at(120))).is_ok());
    }
    let again = broker.books.block(&key("192.0.2.3"), None);
    assert_eq!(again, Ok(Block { until: None, since: Some(at(0)) }), "it is blocked already");
    assert_eq!(broker.books.block(&key("192.0.2.9"), None), Err(TooManyBlocked));
    broker.books.advance(at(120));
    assert!(broker.books.block(&key("192.0.2.9"), None).is_ok(), "those whose time is over make room");
}

#[test]
fn what_nobody_saw_between_two_listings_stays_reserved() {
    let mut broker = Broker::at_source(IceSource::Coturn, BudgetMode::Strict, 100 * MINUTE_BYTES);
    let list = |broker: &mut Broker, seconds| {
        broker.books.advance(at(seconds));
        let _ = broker.books.take_sessions(
            IceSource::Coturn,
            Listing { is_complete: true, ..Listing::default() },
            at(seconds),
        );
    };
    list(&mut broker, 0);
    broker.mint(requester("ann"), 596).unwrap();
    for seconds in (5..=120).step_by(5) {
        list(&mut broker, seconds);
    }
    assert_eq!(broker.share("ann").committed, 8 * MINUTE_BYTES, "the first two minutes were seen");
    list(&mut broker, 480);
    // Six minutes were not seen, and two are left.
    assert_eq!(broker.share("ann").committed, 8 * MINUTE_BYTES);
}

#[test]
fn a_count_that_is_not_complete_gives_nothing_back_for_the_grants_that_it_lacks() {
    let mut broker = Broker::with_limit(BudgetMode::Strict, 100 * MINUTE_BYTES);
    let [first, _] = ["ann", "bob"].map(|name| broker.mint(requester(name), SHORT).unwrap());
    broker.books.advance(at(120));
    let by_grant = [(first.id, Traffic::new(0, 9))].into();
    let counts =
        GrantCounts { from: before(), until: at(120), by_grant, is_final: true, ..GrantCounts::default() };
    assert!(broker.take(&counts));
    for _ in 0..2 {
        assert_eq!(broker.share("ann").committed, 9 + (3 + CLOCKS) * MINUTE_BYTES);
        assert_eq!(broker.share("bob").committed, PROMISED * MINUTE_BYTES);
        broker.restart();
    }
}

#[test]
fn a_longer_tail_is_reserved_for_the_user_too() {
    let mut broker = Broker::with_limit(BudgetMode::Strict, 100 * MINUTE_BYTES);
    broker.mint(requester("ann"), SHORT).unwrap();
    broker.setup.sources[0].tail = Duration::from_secs(600);
    for _ in 0..2 {
        broker.restart();
        assert_eq!(broker.share("ann").committed, (PROMISED + 10) * MINUTE_BYTES);
    }
}

#[test]
fn minutes_after_the_reset_are_reserved_in_the_next_period() {
    let mut broker = Broker::with_limit(BudgetMode::Strict, 8 * MINUTE_BYTES);
    broker.books.advance(at(6_900));
    broker.mint(requester("ann"), 596).unwrap();
    let next = broker.books.user_share(&user("ann")).unwrap().committed_next.get();
    // The shortest life is five minutes, and the slack ends in the next period.
    let [here, there] = [5 + CLOCKS, 1 + CLOCKS].map(|minutes| minutes * MINUTE_BYTES);
    assert_eq!((broker.share("ann").committed, next), (here, there));
    broker.books.advance(at(7_200));
    assert_eq!(broker.share("ann").committed, there);
}

#[test]
fn in_strict_mode_what_was_vouched_above_the_promise_is_beside_what_is_still_promised() {
    let mut broker = Broker::at_source(IceSource::Http, BudgetMode::Strict, 1_000 * MB);
    broker.caller("ann", 600);
    broker.books.advance(at(60));
    for (bytes, committed) in [(5 * MB, 11 * MINUTE_BYTES), (300 * MB, 300 * MB + 10 * MINUTE_BYTES)] {
        broker.vouch("c", bytes);
        for _ in 0..2 {
            assert_eq!(broker.share("ann"), Share { used: bytes, committed });
            broker.restart();
        }
    }
}
