//! Credentials that the broker ends by itself.

use super::*;

fn with_grant_limit(limit: u64) -> Broker {
    let grant_limit = Some(ByteCount::new(limit));
    Broker::new(BudgetMode::Estimate, SpenderTerms { grant_limit, ..SpenderTerms::default() })
}

/// The grants of the chains that are asked for alone.
fn asked(broker: &Broker, most: usize) -> Vec<GrantId> {
    broker.books.grants().suspects(SOURCE, most).into_iter().flat_map(|suspect| suspect.grants).collect()
}

/// Counts bytes of grants, and answers what is asked alone with the same.
fn count_and_judge(broker: &mut Broker, until: Timestamp, bytes: &[(GrantId, u64)]) -> Vec<OverLimit> {
    assert!(broker.count(until, true, bytes, 0));
    for suspect in broker.books.grants().suspects(SOURCE, 9) {
        let is_of_it = |(id, _): &&(GrantId, u64)| suspect.grants.contains(id);
        let counted = bytes.iter().filter(is_of_it).map(|(_, bytes)| bytes).sum();
        judge(broker, &suspect, counted);
    }
    broker.books.revoke_over_limit()
}

#[test]
fn a_chain_of_which_more_was_counted_than_one_may_relay_is_revoked_with_its_connections() {
    let mut broker = with_grant_limit(50 * MB);
    let (ann, bob) = (broker.caller("ann", 3_600), broker.mint(requester("bob"), 3_600).unwrap());
    broker.books.advance(at(20));
    broker.beat(ann, 900 * MB);
    assert!(broker.books.revoke_over_limit().is_empty(), "a claim ends nothing");
    let over = count_and_judge(&mut broker, at(20), &[(ann.id, 51 * MB), (bob.id, 50 * MB)]);
    let [over] = &over[..] else { panic!("{over:?}") };
    assert_eq!((over.grant, over.counted, over.closed.len()), (ann.id, ByteCount::new(51 * MB), 1));
    assert_eq!(over.row.user(), Some(&user("ann")));
    assert_eq!(over.address, SpenderKey::parse(SpenderKind::Address, "203.0.113.9"));
    let grants = broker.books.grants();
    assert!(grants.is_revoked(ann.id) && grants.was_over_limit(ann.id));
    assert!(!grants.is_revoked(bob.id) && !grants.was_over_limit(bob.id));
    broker.books.advance(at(40));
    assert!(count_and_judge(&mut broker, at(40), &[(ann.id, 9 * MB)]).is_empty(), "it was revoked before");
    broker.restart();
    assert!(broker.books.grants().was_over_limit(ann.id), "a restart renews nothing either");
    broker.books.revoke(bob.id).unwrap();
    assert!(!broker.books.grants().was_over_limit(bob.id), "the operator revoked it");
}

#[test]
fn a_chain_counts_as_one_and_is_asked_for_alone() {
    let mut broker = with_grant_limit(50 * MB);
    let first = broker.mint(requester("ann"), 1_200).unwrap();
    broker.books.advance(first.refresh_after());
    let second = broker.renew(&first, 1_200);
    let until = broker.wait(60);
    assert!(broker.count(until, true, &[(first.id, 30 * MB), (second.id, 30 * MB)], 0));
    let [suspect] = &broker.books.grants().suspects(SOURCE, 9)[..] else { panic!("one chain") };
    assert_eq!(suspect.grants, [first.id, second.id]);
    let suspect = suspect.clone();
    judge(&mut broker, &suspect, 40 * MB);
    assert!(broker.books.revoke_over_limit().is_empty(), "alone it has less");
    let over = count_and_judge(&mut broker, until, &[]);
    assert!(over.is_empty());
    let later = broker.wait(60);
    let over = count_and_judge(&mut broker, later, &[(first.id, 30 * MB), (second.id, 31 * MB)]);
    let revoked: Vec<_> = over[0].revoked.iter().map(|(id, _)| *id).collect();
    assert_eq!((over[0].grant, revoked), (second.id, vec![first.id, second.id]));
}

#[test]
fn a_chain_of_which_an_app_server_says_that_it_relayed_more_is_revoked() {
    let mut broker = with_grant_limit(50 * MB);
    let ann = broker.caller("ann", 3_600);
    let vouch = |broker: &mut Broker, seconds: u64, bytes: u64| {
        broker.books.advance(at(seconds));
        broker.vouch("c", bytes);
        broker.books.revoke_over_limit()
    };
    assert!(vouch(&mut broker, 10, 50 * MB).is_empty());
    broker.restart();
    let over = vouch(&mut broker, 20, 50 * MB + 1);
    assert_eq!((over.len(), over[0].grant, over[0].counted.get()), (1, ann.id, 50 * MB + 1));
    assert!(broker.books.grants().was_over_limit(ann.id));

    let bob = broker.caller("bob", 3_600);
    assert!(vouch(&mut broker, 30, 20 * MB).is_empty());
    broker.setup.bounds.spenders.grant_limit = Some(ByteCount::new(20 * MB - 1));
    broker.restart();
    let over = broker.books.revoke_over_limit();
    assert_eq!(over.iter().map(|over| over.grant).collect::<Vec<_>>(), [bob.id], "the limit is lower now");
}

#[test]
fn a_chain_over_its_limit_takes_one_place_however_often_it_is_reported() {
    let mut broker = with_grant_limit(50 * MB);
    let chains = [("ann", "a", 2_000), ("bob", "b", 1)].map(|(user, name, reports)| {
        let grant = broker.mint(requester(user), 3_600).unwrap();
        broker.books.open(Caller::Grant(grant), name, Some(true)).unwrap();
        (grant.id, name, reports)
    });
    broker.books.advance(at(20));
    for (_, name, reports) in chains {
        (0..reports).for_each(|_| broker.vouch(name, 51 * MB));
    }
    let over: BTreeSet<_> = broker.books.revoke_over_limit().iter().map(|over| over.grant).collect();
    assert_eq!(over, chains.map(|(id, ..)| id).into());
}

#[test]
fn the_limit_is_proven_by_counts_and_by_app_servers_but_not_by_pages() {
    let mut broker = Broker::new(BudgetMode::Estimate, SpenderTerms::default());
    broker.books.override_limit(Some(ByteCount::new(100 * MB)));
    let ann = broker.caller("ann", 3_600);
    broker.books.advance(at(60));
    broker.beat(ann, 200 * MB);
    // A page says so.
    assert!(broker.books.budget().figures().is_spent() && !broker.books.budget().is_limit_proven());
    broker.books.open(Caller::Reporter, "r", Some(true)).unwrap();
    broker.books.advance(at(120));
    broker.vouch("r", 101 * MB);
    assert!(broker.books.budget().is_limit_proven(), "an app server says so");
    broker.books.override_limit(Some(ByteCount::new(150 * MB)));
    assert!(broker.books.budget().figures().is_spent() && !broker.books.budget().is_limit_proven());
    let reading = Reading { day: Day::of(at(0)), ..crate::testing::reading(at(120), 150 * MB) };
    broker.books.take_reading(SOURCE, &Reading { at: Timestamp::default(), ..reading });
    assert!(!broker.books.budget().is_limit_proven(), "one answer does not prove it");
    crate::testing::take(&mut broker.books, SOURCE, reading);
    assert!(broker.books.budget().is_limit_proven(), "a count says so");
    broker.books.override_limit(None);
    assert!(!broker.books.budget().is_limit_proven(), "the limit was raised");
    broker.books.advance(at(180));
    broker.vouch("r", 301 * MB);
    crate::testing::take(&mut broker.books, SOURCE, Reading { as_of: at(180), ..reading });
    broker.books.override_limit(Some(ByteCount::new(300 * MB)));
    assert!(broker.books.budget().is_limit_proven(), "an app server says so where less is counted");
}

#[test]
fn the_grants_that_relayed_or_may_relay_most_come_first_and_a_source_is_asked_until_it_answers() {
    let mut broker = Broker::new(BudgetMode::Estimate, SpenderTerms::default());
    let grants = [600, 3_600, 1_200].map(|life| broker.mint(requester("ann"), life).unwrap());
    let found = |broker: &Broker| {
        let mut walk = RevocableWalk::default();
        while !walk.look(broker.books.grants(), broker.books.now()) {}
        walk.in_order().collect::<Vec<_>>()
    };
    assert_eq!(found(&broker), [grants[1].id, grants[2].id, grants[0].id]);
    assert!(broker.count(at(0), true, &[], 0));
    assert!(broker.count(at(120), true, &[(grants[0].id, MB)], 0));
    assert_eq!(found(&broker), [grants[0].id, grants[1].id, grants[2].id], "of one, bytes are counted");
    assert!(broker.books.take_unanswered(9).is_empty(), "nobody has revoked one");
    broker.books.revoke(grants[2].id).unwrap();
    assert_eq!(found(&broker), [grants[0].id, grants[1].id], "one is revoked");
    broker.restart();
    assert_eq!(broker.books.take_unanswered(9), [grants[2].id]);
    broker.books.note_revocation_answer(grants[2].id, RevocationAnswer::Revoked);
    assert_eq!(broker.books.grants().unanswered_count(), 0);
    broker.restart();
    assert!(broker.books.take_unanswered(9).is_empty());
    broker.books.advance(at(601));
    assert_eq!(found(&broker), [grants[1].id], "one has expired");
}

#[test]
fn a_source_is_asked_for_new_revocations_before_those_for_which_it_does_not_answer() {
    let mut broker = Broker::new(BudgetMode::Estimate, SpenderTerms::default());
    let [failing, by_request, left] = [(); 3].map(|()| broker.mint(requester("ann"), 3_600).unwrap().id);
    let ask = |broker: &mut Broker, seconds| {
        broker.books.advance(at(seconds));
        broker.books.take_unanswered(1)
    };
    broker.books.revoke_and_ask(failing).unwrap();
    broker.books.revoke(by_request).unwrap();
    assert_eq!(ask(&mut broker, 1), [failing]);
    assert!(ask(&mut broker, 9).is_empty(), "a request asks by itself, and the other one must wait");
    broker.books.revoke_and_ask(left).unwrap();
    let asked = [11, 11, 11, 11].map(|seconds| ask(&mut broker, seconds));
    assert_eq!(asked, [vec![left], vec![by_request], vec![failing], vec![]]);
    assert_eq!(broker.books.grants().unanswered_count(), 3);
    broker.books.advance(at(3_600));
    assert!(broker.books.take_unanswered(9).is_empty(), "nobody asks for what has expired");
    assert_eq!(broker.books.grants().unanswered_count(), 0);
}

#[test]
fn chains_near_a_limit_are_asked_for_alone_and_the_limit_holds_for_what_they_have_alone() {
    let spenders = SpenderTerms {
        grant_limit: Some(ByteCount::new(50 * MB)),
        user_limit: Some(ByteCount::new(100 * MB)),
        ..SpenderTerms::default()
    };
    let mut broker = Broker::new(BudgetMode::Estimate, spenders);
    let mut mint = |name| broker.mint(requester(name), 3_600).unwrap().id;
    let [ann, bob, dan, one, two] = ["ann", "bob", "dan", "eve", "eve"].map(&mut mint);
    let count = |broker: &mut Broker, counted: &[(GrantId, u64)]| {
        let until = broker.wait(60);
        let bytes: Vec<_> = counted.iter().map(|(id, megabytes)| (*id, megabytes * MB)).collect();
        assert!(broker.count(until, false, &bytes, 0));
    };
    count(&mut broker, &[(ann, 40), (bob, 40), (dan, 20), (one, 39), (two, 41)]);
    assert_eq!(asked(&broker, 9), [two], "80 MB of eve are not above 80 %");
    count(&mut broker, &[(ann, 43), (bob, 45), (dan, 20), (one, 40), (two, 41)]);
    assert_eq!(asked(&broker, 9), [bob, ann, two, one], "most bytes first");
    assert_eq!(asked(&broker, 2), [bob, ann], "some in each poll");
    broker.restart();
    assert_eq!(asked(&broker, 9), [bob, ann, two, one]);
    broker.judge_suspects(51 * MB);
    let over: Vec<_> = broker.books.revoke_over_limit().into_iter().map(|over| over.grant).collect();
    assert_eq!(over, [bob, ann, two, one]);
    assert!(broker.books.grants().was_over_limit(ann));
    let used = broker.books.user_share(&user("eve")).unwrap().usage.used;
    assert_eq!(used.get(), 102 * MB, "a user's limit, too");
    assert_eq!(asked(&broker, 9), []);
    count(&mut broker, &[(ann, 51), (bob, 51), (dan, 20), (one, 51), (two, 51)]);
    assert_eq!(asked(&broker, 9), [], "nothing more was counted than alone");
}

#[test]
fn chains_near_a_limit_and_fast_chains_are_asked_for_alone_in_turn() {
    let limit = Some(ByteCount::new(100 * MB));
    let mut broker =
        Broker::new(BudgetMode::Estimate, SpenderTerms { user_limit: limit, ..SpenderTerms::default() });
    let mut mint = |requester| broker.mint(requester, 3_600).unwrap().id;
    let near = ["ann", "bob", "dan"].map(|name| mint(requester(name)));
    let [one, two] = [(); 2].map(|()| mint(Requester::default()));
    let fast = [one, two, mint(requester("fast and near"))];
    broker.books.advance(at(600));
    let near_bytes = near.into_iter().zip([99, 98, 97]).map(|(id, megabytes)| (id, megabytes * MB));
    let fast_bytes = fast.into_iter().map(|id| (id, 1_000 * MINUTE_BYTES));
    assert!(broker.count(at(600), false, &near_bytes.chain(fast_bytes).collect::<Vec<_>>(), 0));
    let all = asked(&broker, 9);
    assert_eq!([all[0], all[2], all[4]], near, "{all:?}");
    assert!(all.len() == 6 && fast.iter().all(|id| all.contains(id)), "{all:?}");
    assert_eq!(asked(&broker, 3), all[..3]);
}

#[test]
fn one_answer_about_a_chain_revokes_nothing_and_raises_no_promise() {
    let spenders = SpenderTerms { grant_limit: Some(ByteCount::new(50 * MB)), ..SpenderTerms::default() };
    let mut broker = Broker::new(BudgetMode::Estimate, spenders);
    let ann = broker.mint(requester("ann"), 3_600).unwrap();
    broker.books.advance(at(600));
    assert!(broker.count(at(600), false, &[(ann.id, 70_000 * MB)], 0));
    let suspect = broker.books.grants().suspects(SOURCE, 9)[0].clone();
    let answer = |broker: &mut Broker, seconds, bytes| {
        let by_grant = [(ann.id, Traffic::new(0, bytes))].into();
        broker.books.judge(SOURCE, &suspect, &by_grant, at(seconds));
        let is_suspect = !broker.books.grants().suspects(SOURCE, 9).is_empty();
        let excess = broker.books.snapshot().measured.excess.bytes;
        (is_suspect, excess.get() > 0, broker.books.revoke_over_limit().len())
    };
    assert_eq!(answer(&mut broker, 600, 70_000 * MB), (true, false, 0));
    assert_eq!(answer(&mut broker, 659, 70_000 * MB), (true, false, 0), "too soon");
    assert_eq!(answer(&mut broker, 660, 40 * MB), (false, false, 0), "the second one is right");
    assert!(broker.count(at(601), false, &[(ann.id, 70_001 * MB)], 0));
    assert_eq!(answer(&mut broker, 700, 70_001 * MB), (true, false, 0));
    assert_eq!(answer(&mut broker, 760, 70_000 * MB), (false, true, 1), "two agree");
}
