//! The limit of each user, and blocked users.

use super::*;
use crate::books::commit::NotAdmitted;
use crate::coturn::listing::Listing;

/// What the user has used, if the limit of the user is the reason for a refusal.
fn refused_to_user(broker: &mut Broker, name: &str) -> Option<u64> {
    let life = Duration::from_secs(600);
    match broker.books.reserve(SOURCE, life, MINT_SLACK, &requester(name)) {
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
    assert!(broker.mint(requester("bob"), 3_600).is_some());
    broker.books.advance(at(7_200));
    assert_eq!(refused_to_user(&mut broker, "ann"), None, "another period");
}

/// An app server that counts at the end of a call only.
#[test]
fn a_count_over_a_reset_counts_for_the_user_in_the_part_of_its_time_that_is_in_the_new_period() {
    for seconds in [7_200, 7_230] {
        let mut broker = Broker::with_limit(BudgetMode::Estimate, 100 * MB);
        let ann = broker.mint(requester("ann"), 20_000).unwrap();
        broker.books.advance(at(6_930));
        broker.books.open(Caller::Grant(ann), "c", Some(true)).unwrap();
        report(&mut broker, None);
        for seconds in (6_960..=seconds).step_by(30) {
            broker.books.advance(at(seconds));
            broker.books.heartbeat(Caller::Grant(ann), "c", Report::default()).unwrap();
            report(&mut broker, None);
        }
        let all = Report { bytes_received: Some(300 * MB), ..Report::default() };
        broker.books.close(Caller::Grant(ann), "c", all).unwrap();
        report(&mut broker, Some(300 * MB));
        let used = broker.books.user_share(&user("ann")).unwrap().usage.used.get();
        // What was charged by time before the reset stays there, so a part of it counts twice.
        assert!(used <= (seconds - 7_200) * 5 / 2 * MB, "{used} bytes in {} s", seconds - 7_200);
        assert_eq!(refused_to_user(&mut broker, "ann"), None);
    }
}

#[test]
fn in_strict_mode_a_user_gets_what_the_live_grants_leave() {
    let mut broker = Broker::with_limit(BudgetMode::Strict, 21 * MINUTE_BYTES);
    let long = broker.mint(requester("eve"), 600).unwrap();
    assert_eq!(long.expires_at.since(at(0)), Duration::from_secs(416), "a third of the room: 7 minutes");
    let [first, second] = [1, 2].map(|_| broker.mint(requester("ann"), SHORT).unwrap());
    for _ in 0..2 {
        assert!(broker.mint(requester("ann"), SHORT).is_some());
    }
    assert_eq!(refused_to_user(&mut broker, "ann"), Some(0));
    assert!(broker.mint(requester("bob"), SHORT).is_some());
    // A count gives back what was not relayed.
    broker.books.advance(at(120));
    assert!(broker.count(at(120), true, &[(first.id, MINUTE_BYTES), (second.id, 7)], 0));
    assert_eq!(refused_to_user(&mut broker, "ann"), None);
    let share = broker.books.user_share(&user("ann")).unwrap();
    assert_eq!((share.usage.used.get(), share.committed.get()), (MINUTE_BYTES + 7, 13 * MINUTE_BYTES + 7));
    broker.restart();
    assert_eq!(broker.books.user_share(&user("ann")), Some(share));
    // An ended grant is not given back by time alone.
    broker.books.advance(at(900));
    broker.books.tidy();
    broker.restart();
    assert_eq!(broker.books.user_share(&user("ann")), Some(share));
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
fn bytes_that_a_reporter_names_for_a_user_count_beside_what_the_users_grants_reserve() {
    let mut broker = Broker::with_limit(BudgetMode::Strict, 10 * MINUTE_BYTES);
    let committed = |broker: &mut Broker| {
        let share = broker.books.user_share(&user("ann")).unwrap();
        (share.usage.used.get(), share.committed.get())
    };
    report(&mut broker, None);
    broker.books.advance(at(20));
    report(&mut broker, None);
    assert_eq!(committed(&mut broker), (MINUTE_BYTES / 3, MINUTE_BYTES / 3), "20 s at the estimated rate");
    report(&mut broker, Some(7));
    assert_eq!(committed(&mut broker), (7, 7), "a count replaces the estimate");
    broker.mint(requester("ann"), SHORT).unwrap();
    assert_eq!(committed(&mut broker), (7, 7 + 6 * MINUTE_BYTES));
    report(&mut broker, Some(5 * MINUTE_BYTES));
    for _ in 0..2 {
        assert_eq!(committed(&mut broker), (5 * MINUTE_BYTES, 11 * MINUTE_BYTES));
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
        let share = broker.books.user_share(&user("ann")).unwrap();
        assert_eq!(share.usage.used.get(), MINUTE_BYTES + 9);
        assert_eq!(share.committed.get(), 9 + 6 * MINUTE_BYTES);
        broker.restart();
    }
}

#[test]
fn a_hold_that_is_released_leaves_no_trace() {
    let mut broker = Broker::with_limit(BudgetMode::Strict, 100 * MINUTE_BYTES);
    let life = Duration::from_secs(SHORT);
    let hold = broker.books.reserve(SOURCE, life, MINT_SLACK, &requester("ann")).unwrap();
    assert_eq!(broker.books.user_share(&user("ann")).unwrap().committed.get(), 5 * MINUTE_BYTES);
    broker.books.release(&hold);
    assert_eq!(broker.books.user_share(&user("ann")).unwrap().committed.get(), 0);
    assert_eq!(broker.of("ann"), None);
}

#[test]
fn a_renewal_reserves_all_its_minutes_under_the_limit_of_a_user() {
    let mut broker = Broker::with_limit(BudgetMode::Strict, 10 * MINUTE_BYTES);
    let first = broker.mint(requester("ann"), SHORT).unwrap();
    let renewal = Requester { renews: Some(first.id), ..requester("ann") };
    broker.mint(renewal.clone(), SHORT).unwrap();
    for _ in 0..2 {
        let share = broker.books.user_share(&user("ann")).unwrap();
        assert_eq!(share.committed.get(), 10 * MINUTE_BYTES, "ann may relay with both credentials");
        assert!(broker.mint(renewal.clone(), SHORT).is_none());
        broker.restart();
    }
    // The budget assumes that a call relays with one of them.
    assert_eq!(broker.books.snapshot().figures.committed.get(), 5 * MINUTE_BYTES);
}

/// Where sessions are cut here, a renewal prolongs those of the grants before it: the user could relay with all of them.
#[test]
fn a_renewal_reserves_what_its_chain_relays_under_the_limit_of_a_user() {
    let limit = Some(ByteCount::new(100 * MINUTE_BYTES));
    let mut setup = setup(BudgetMode::Strict, SpenderTerms { user_limit: limit, ..SpenderTerms::default() });
    setup.sources[0].source = IceSource::Relay;
    let mut stored = Stored::default();
    let mut books = setup.open(Some(stored.clone()), at(0));
    let mut renews = None;
    for (n, seconds) in [0, 240, 480].into_iter().enumerate() {
        books.advance(at(seconds));
        let life = Duration::from_secs(SHORT);
        let requester = Requester { renews, ..requester("ann") };
        let hold = books.reserve(IceSource::Relay, life, MINT_SLACK, &requester).unwrap();
        let (issued_at, expires_at) = (at(seconds), at(seconds + SHORT));
        let id = GrantId::new([u8::try_from(n).unwrap(); 16]);
        let grant = Grant { id, source: IceSource::Relay, issued_at, expires_at };
        let commit = books.commit(hold, &grant, None, requester).unwrap();
        books.note_written(&commit, crate::books::commit::Written::Yes).unwrap();
        stored.apply(books.take_batch());
        renews = Some(id);
    }
    for id in [0, 1, 2].map(|n| GrantId::new([n; 16])) {
        assert_eq!(books.grant_end(id, None), None, "all of the chain relays until the last one expires");
    }
    for _ in 0..2 {
        let committed = books.user_share(&user("ann")).unwrap().committed.get();
        assert_eq!(committed, 3 * 5 * MINUTE_BYTES + 4 * MINUTE_BYTES + 2 * 4 * MINUTE_BYTES);
        let now = books.now();
        stored.apply(books.take_batch());
        books = setup.open(Some(stored.clone()), now);
    }
}

/// The machine may sleep while the commit is written, so that its grant is over when it fails.
#[test]
fn a_commit_that_is_undone_gives_the_promise_back() {
    for written_at in [0, 10 * SHORT] {
        let mut broker = Broker::with_limit(BudgetMode::Strict, 100 * MINUTE_BYTES);
        let life = Duration::from_secs(SHORT);
        let hold = broker.books.reserve(SOURCE, life, MINT_SLACK, &requester("ann")).unwrap();
        let (id, issued_at) = (GrantId::new([3; 16]), at(0));
        let grant = Grant { id, source: SOURCE, issued_at, expires_at: at(SHORT) };
        let commit = broker.books.commit(hold, &grant, None, requester("ann")).unwrap();
        broker.books.advance(at(written_at));
        assert!(broker.books.tidy());
        assert_eq!(broker.books.grants().count(), usize::from(written_at == 0));
        assert!(broker.books.note_written(&commit, crate::books::commit::Written::No).is_err());
        assert_eq!(broker.books.user_share(&user("ann")).unwrap().committed.get(), 0);
        assert_eq!(broker.of("ann"), None);
        assert_eq!(broker.books.grants().count(), 0);
        assert_eq!(broker.books.snapshot().figures.committed.get(), 0);
    }
}

#[test]
fn without_room_for_its_row_no_grant_is_issued() {
    let mut broker = Broker::with_limit(BudgetMode::Strict, 100 * MINUTE_BYTES);
    broker.setup.bounds.grants = 1;
    broker.restart();
    let life = Duration::from_secs(SHORT);
    let hold = broker.books.reserve(SOURCE, life, MINT_SLACK, &requester("ann")).unwrap();
    broker.mint(requester("bob"), SHORT).unwrap();
    let refusal = broker.books.reserve(SOURCE, life, MINT_SLACK, &requester("ann"));
    assert_eq!(refusal.err(), Some(NotAdmitted::TooManyGrants));
    let before = broker.books.snapshot().figures;
    let grant = Grant { id: GrantId::new([9; 16]), source: SOURCE, issued_at: at(0), expires_at: at(SHORT) };
    assert!(broker.books.commit(hold, &grant, None, requester("ann")).is_err(), "the other one was faster");
    assert!(broker.books.snapshot().figures.committed < before.committed, "what it held is released");
    broker.books.advance(at(600));
    broker.books.tidy();
    assert!(broker.mint(requester("ann"), SHORT).is_some(), "a grant that has ended makes room");
}

#[test]
fn what_nobody_counted_of_a_grant_that_left_the_history_stays_reserved() {
    let limit = Some(ByteCount::new(100 * MINUTE_BYTES));
    let spenders = SpenderTerms { user_limit: limit, ended_max: 0, ..SpenderTerms::default() };
    let mut broker = Broker::new(BudgetMode::Strict, spenders);
    let grant = broker.mint(requester("ann"), SHORT).unwrap();
    broker.books.advance(at(120));
    assert!(broker.count(at(120), true, &[(grant.id, 9)], 0));
    broker.setup.bounds.grants = 0;
    broker.restart();
    broker.books.advance(at(600));
    broker.books.tidy();
    assert_eq!(broker.books.grants().ended_count(), 0, "there is no room for it until it is counted");
    for _ in 0..2 {
        let share = broker.books.user_share(&user("ann")).unwrap();
        assert_eq!((share.usage.used.get(), share.committed.get()), (9, 9 + 3 * MINUTE_BYTES));
        broker.restart();
    }
}

#[test]
fn a_count_that_is_not_complete_gives_nothing_back_for_the_grants_that_it_lacks() {
    let mut broker = Broker::with_limit(BudgetMode::Strict, 100 * MINUTE_BYTES);
    let [first, _] = ["ann", "bob"].map(|name| broker.mint(requester(name), SHORT).unwrap());
    broker.books.advance(at(120));
    let by_grant = [(first.id, Traffic::new(0, 9))].into();
    let counts =
        GrantCounts { from: at(0), until: at(120), by_grant, is_final: true, ..GrantCounts::default() };
    assert!(broker.take(&counts));
    for _ in 0..2 {
        let committed =
            ["ann", "bob"].map(|name| broker.books.user_share(&user(name)).unwrap().committed.get());
        assert_eq!(committed, [9 + 3 * MINUTE_BYTES, 5 * MINUTE_BYTES]);
        broker.restart();
    }
}

#[test]
fn a_blocked_user_gets_nothing_until_unblocked() {
    let mut broker = Broker::new(BudgetMode::Estimate, SpenderTerms::default());
    let life = Duration::from_secs(SHORT);
    let hold = broker.books.reserve(SOURCE, life, MINT_SLACK, &requester("ann")).unwrap();
    broker.books.block_user(&user("ann")).unwrap();
    let grant = Grant { id: GrantId::new([3; 16]), source: SOURCE, issued_at: at(0), expires_at: at(SHORT) };
    assert!(broker.books.commit(hold, &grant, None, requester("ann")).is_err(), "blocked meanwhile");
    broker.restart();
    assert!(broker.books.is_blocked(&user("ann")));
    let refusal = broker.books.reserve(SOURCE, life, MINT_SLACK, &requester("ann"));
    assert_eq!(refusal.err(), Some(NotAdmitted::UserBlocked));
    assert!(broker.mint(requester("bob"), SHORT).is_some());
    assert!(broker.books.unblock_user(&user("ann")) && !broker.books.unblock_user(&user("ann")));
    broker.restart();
    assert!(broker.mint(requester("ann"), SHORT).is_some());
}

#[test]
fn a_number_of_users_is_blocked_at_most() {
    let mut broker = Broker::new(BudgetMode::Estimate, SpenderTerms::default());
    for n in 0..BLOCKED_USERS_MAX {
        broker.books.block_user(&user(&format!("user-{n}"))).unwrap();
    }
    assert_eq!(broker.books.block_user(&user("another")), Err(TooManyBlocked));
    assert_eq!(broker.books.block_user(&user("user-7")), Ok(()), "twice is harmless");
}

#[test]
fn all_grants_of_a_user_are_revoked_and_no_others() {
    let mut broker = Broker::new(BudgetMode::Estimate, SpenderTerms::default());
    let [first, second, other] = ["ann", "ann", "bob"].map(|name| broker.mint(requester(name), 600).unwrap());
    for grant in [first, other] {
        broker.books.open(Caller::Grant(grant), "c", Some(true)).unwrap();
    }
    let UserRevoked { mut grants, closed } = broker.books.revoke_user(&user("ann"));
    grants.sort_by_key(|(id, _)| *id);
    assert_eq!(grants.iter().map(|(id, _)| *id).collect::<Vec<_>>(), [first.id, second.id]);
    assert!(grants.iter().all(|(_, row)| row.extra().revoked_at == Some(at(0))));
    assert_eq!((closed.len(), broker.books.connections().iter().count()), (1, 1));
    assert!(!broker.books.grants().is_revoked(other.id));
}

#[test]
fn what_nobody_saw_between_two_listings_stays_reserved() {
    let limit = Some(ByteCount::new(100 * MINUTE_BYTES));
    let mut setup = setup(BudgetMode::Strict, SpenderTerms { user_limit: limit, ..SpenderTerms::default() });
    setup.sources[0].source = IceSource::Coturn;
    let mut books = setup.open(None, at(0));
    let listing = Listing { sessions: vec![], is_complete: true, forger: None };
    let _ = books.take_sessions(listing.clone(), at(0));
    let life = Duration::from_secs(596);
    let hold = books.reserve(IceSource::Coturn, life, MINT_SLACK, &requester("ann")).unwrap();
    let grant =
        Grant { id: GrantId::new([3; 16]), source: IceSource::Coturn, issued_at: at(0), expires_at: at(596) };
    let commit = books.commit(hold, &grant, None, requester("ann")).unwrap();
    books.note_written(&commit, crate::books::commit::Written::Yes).unwrap();
    let committed = |books: &mut Books| books.user_share(&user("ann")).unwrap().committed.get();
    for seconds in (5..=120).step_by(5) {
        books.advance(at(seconds));
        let _ = books.take_sessions(listing.clone(), at(seconds));
    }
    assert_eq!(committed(&mut books), 8 * MINUTE_BYTES, "the first two minutes were seen");
    books.advance(at(480));
    let _ = books.take_sessions(listing, at(480));
    assert_eq!(committed(&mut books), 8 * MINUTE_BYTES, "six minutes were not seen, and two are left");
}

#[test]
fn a_longer_tail_is_reserved_for_the_user_too() {
    let mut broker = Broker::with_limit(BudgetMode::Strict, 100 * MINUTE_BYTES);
    broker.mint(requester("ann"), SHORT).unwrap();
    broker.setup.sources[0].tail = Duration::from_secs(600);
    broker.restart();
    for _ in 0..2 {
        let share = broker.books.user_share(&user("ann")).unwrap();
        assert_eq!(share.committed.get(), 15 * MINUTE_BYTES);
        broker.restart();
    }
}

#[test]
fn minutes_after_the_reset_are_reserved_in_the_next_period() {
    let mut broker = Broker::with_limit(BudgetMode::Strict, 8 * MINUTE_BYTES);
    broker.books.advance(at(6_900));
    broker.mint(requester("ann"), 596).unwrap();
    let share = broker.books.user_share(&user("ann")).unwrap();
    assert_eq!((share.committed.get(), share.committed_next.get()), (5 * MINUTE_BYTES, MINUTE_BYTES));
    broker.books.advance(at(7_200));
    let share = broker.books.user_share(&user("ann")).unwrap();
    assert_eq!((share.committed.get(), share.committed_next.get()), (MINUTE_BYTES, 0));
}
