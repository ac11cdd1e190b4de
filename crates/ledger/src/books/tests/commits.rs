//! Commits: what is undone, what a crash leaves, and what a grant whose renewal is committed may do.

use super::*;

fn broker(mode: BudgetMode) -> Broker {
    let mut setup = setup(mode);
    setup.terms.limit = ByteCount::new(100_000 * GB);
    Broker::open(setup, at(0))
}

#[test]
fn a_renewal_extends_the_promise_for_the_grant_that_it_renews() {
    let mut broker = broker(BudgetMode::Strict);
    let first = broker.mint_any(600);
    let one_grant = broker.promised();
    broker.books.advance(at(540_000));
    let hold = broker.reserve(600, &renewing(first.id)).unwrap();
    let (_, renewal) = broker.commit(hold, renewing(first.id)).unwrap();
    let nine_minutes = 9 * 60 * 2_000_000 / 8;
    assert_eq!(broker.promised() - one_grant, nine_minutes);
    assert_eq!(broker.books.snapshot().live_grants, 1, "one of the two relays");

    assert_eq!(broker.books.note_written(&renewal, Written::No), Err(NotRecorded));
    assert_eq!(broker.promised(), one_grant);
    broker.mint(renewing(grant_id(9)), 600).unwrap();
    assert!(broker.promised() - one_grant > nine_minutes, "no grant is renewed");
}

#[test]
fn a_grant_whose_renewal_is_written_opens_no_connection_and_keeps_the_open_ones() {
    let mut broker = broker(BudgetMode::Estimate);
    let grant = broker.mint_any(600);
    let caller = Caller::Grant(grant);
    let open = |broker: &mut Broker, id| broker.books.open(caller, id, None).map(|opened| opened.value);

    broker.books.advance(at(500_000));
    assert!(broker.books.take_renewal(&grant));
    assert_eq!(open(&mut broker, "in flight"), Ok(Opened::New));
    let hold = broker.reserve(600, &renewing(grant.id)).unwrap();
    let (_, failed) = broker.commit(hold, renewing(grant.id)).unwrap();
    assert_eq!(open(&mut broker, "unwritten"), Ok(Opened::New));
    assert_eq!(broker.books.note_written(&failed, Written::No), Err(NotRecorded));
    broker.books.give_renewal_back(grant.id);
    assert_eq!(open(&mut broker, "given back"), Ok(Opened::New));
    assert!(broker.books.take_renewal(&grant));
    assert_eq!(open(&mut broker, "in flight again"), Ok(Opened::New));

    let renewal = broker.mint(renewing(grant.id), 600).unwrap();
    assert_eq!(open(&mut broker, "new"), Err(OpenError::GrantRenewed));
    assert_eq!(open(&mut broker, "in flight"), Ok(Opened::Already));
    assert!(broker.books.heartbeat(caller, "in flight", Report::default()).is_ok());
    assert!(broker.books.close(caller, "in flight", Report::default()).unwrap().value.is_some());
    assert_eq!(open(&mut broker, "in flight"), Err(OpenError::GrantRenewed));
    for other in [broker.books.member_with(grant.id).unwrap(), Caller::Grant(renewal), Caller::Reporter] {
        assert_eq!(broker.books.open(other, "other", None).unwrap().value, Opened::New, "{other:?}");
    }
}

/// The machine may sleep while the commit is written, so that its grant is over when it fails.
#[test]
fn a_commit_whose_write_fails_is_undone_and_one_that_may_be_written_is_kept() {
    for (written, written_at, is_kept) in
        [(Written::No, at(0), false), (Written::No, at(3_600_000), false), (Written::Unknown, at(0), true)]
    {
        let mut broker = broker(BudgetMode::Strict);
        broker.setup.sources[0].tail = Duration::ZERO;
        broker.setup.bounds.spenders.user_limit = Some(ByteCount::new(GB));
        broker.restart();
        let hold = broker.reserve(296, &of_ann()).unwrap();
        let (grant, commit) = broker.commit(hold, of_ann()).unwrap();
        broker.books.advance(written_at);
        assert!(broker.books.tidy());
        assert_eq!(broker.books.note_written(&commit, written), Err(NotRecorded));
        // The five minutes of its life, and those by which the clocks may differ.
        let promised = if is_kept { (CLOCKS + 5 + CLOCKS) * 15_000_000 } else { 0 };
        let of_user = broker.books.user_share(&User::new("ann").unwrap()).unwrap().committed.get();
        assert_eq!((broker.committed(), of_user), (promised, promised));
        assert_eq!(broker.books.grants().count(), usize::from(is_kept));
        broker.flush();
        assert_eq!(broker.disk.grants.contains_key(&grant.id), is_kept, "{written:?}");
    }
}

#[test]
fn after_a_crash_a_hold_counts_only_for_the_minutes_that_were_over() {
    let mut broker = broker(BudgetMode::Estimate);
    let hold = broker.reserve(300, &Requester::default()).unwrap();
    let after_a_crash = |broker: &mut Broker, now| {
        broker.flush();
        let books = broker.setup.open(Some(broker.disk.clone()), now);
        books.snapshot().figures.committed.get()
    };
    // By the clock of the provider, the first bytes may be of the minutes before.
    assert_eq!(after_a_crash(&mut broker, at(0)), CLOCKS * 15_000_000);
    broker.books.advance(at(90_000));
    assert_eq!(after_a_crash(&mut broker, at(90_000)), (CLOCKS + 1) * 15_000_000);
    broker.books.release(&hold);
    assert_eq!(after_a_crash(&mut broker, at(90_000)), 0);
}

/// The machine sleeps between the reservation and the answer. The provider may have made the credential after it.
#[test]
fn a_credential_that_may_live_longer_than_reserved_is_not_committed() {
    for (millis, is_late) in [(4_000, false), (4_001, true)] {
        let mut broker = broker(BudgetMode::Estimate);
        let hold = broker.reserve(300, &Requester::default()).unwrap();
        broker.books.advance(at(millis));
        let refused = broker.commit(hold, Requester::default()).err();
        assert_eq!(refused, is_late.then_some(NotAdmitted::NotRecorded), "{millis}");
        assert_eq!(broker.promised() == 0, is_late, "{millis}");
    }
}

#[test]
fn a_failed_write_of_an_ended_grant_does_not_lower_the_number_of_live_grants() {
    let mut broker = broker(BudgetMode::Estimate);
    let hold = broker.reserve(300, &of_ann()).unwrap();
    let (_, ended) = broker.commit(hold, of_ann()).unwrap();
    broker.mint(of_ann(), 7_200).unwrap();
    broker.books.advance(at(7_560_000));
    assert!(broker.books.tidy());
    assert_eq!(broker.books.note_written(&ended, Written::No), Err(NotRecorded));
    let rows = crate::testing::spenders(&broker.books, SpenderKind::User);
    assert_eq!(rows.iter().map(|row| row.live).collect::<Vec<_>>(), [1]);
}

#[test]
fn a_credential_whose_user_is_revoked_or_forgotten_meanwhile_is_not_committed() {
    let ann = User::new("ann").unwrap();
    let orders: [fn(&mut Broker, &User); 3] = [
        |broker, user| drop(broker.books.revoke_all_of(&SpenderKey::User(user.clone()))),
        |broker, user| drop(broker.books.forget_user(user)),
        |broker, _| drop(broker.books.revoke_all_of(&SpenderKey::User(User::new("bob").unwrap()))),
    ];
    for (order, is_refused) in orders.into_iter().zip([true, true, false]) {
        let mut broker = broker(BudgetMode::Estimate);
        let hold = broker.reserve(300, &of_ann()).unwrap();
        order(&mut broker, &ann);
        let refused = broker.commit(hold, of_ann()).err();
        assert_eq!(refused, is_refused.then_some(NotAdmitted::Stopped));
        assert_eq!(broker.promised() == 0, is_refused);
        assert!(broker.mint(of_ann(), 300).is_ok(), "a later one");
    }
}
