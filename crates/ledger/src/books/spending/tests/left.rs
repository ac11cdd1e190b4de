//! What left the table of grants.

use super::*;

/// A grant of this user that has relayed these bytes and ended, with the two minutes of the clocks.
fn spend(broker: &mut Broker, name: &str, bytes: u64) {
    let grant = broker.mint(requester(name), 60).unwrap();
    let until = broker.wait(240);
    assert!(broker.count(until, true, &[(grant.id, bytes)], 0));
    while !broker.books.tidy() {}
}

#[test]
fn the_smallest_sums_of_a_full_map_join_those_without_a_name() {
    let mut broker = Broker::new(
        BudgetMode::Estimate,
        SpenderTerms { ended_max: 0, left_max: 8, ..SpenderTerms::default() },
    );
    for (name, bytes) in [("ann", 5), ("bob", 3), ("eve", 7), ("joe", 4), ("zoe", 6)] {
        spend(&mut broker, name, bytes);
    }
    for _ in 0..2 {
        assert_eq!(broker.books.grants().iter().count(), 0);
        assert_eq!(
            ["ann", "bob", "eve"].map(|name| broker.of(name)),
            [Some((5, 0, 5)), None, Some((7, 0, 7))]
        );
        assert_eq!(broker.sums(SpenderKind::Label, "room-1"), Some((25, 0, 25)));
        for kind in SpenderKind::ALL {
            let rows = testing::spenders(&broker.books, kind);
            assert_eq!(rows.iter().map(|row| row.sums.bytes().get()).sum::<u64>(), 25, "{kind:?}");
            assert_eq!(rows.iter().map(|row| row.sums.grants()).sum::<u64>(), 5, "{kind:?}");
        }
        broker.restart();
    }
    assert!(broker.books.grants().left.counts().0 <= 8 + 1);
}

#[test]
fn with_a_limit_the_sum_of_each_user_stays() {
    let user_limit = Some(ByteCount::new(1_000));
    let terms = SpenderTerms { ended_max: 0, left_max: 6, user_limit, ..SpenderTerms::default() };
    let mut broker = Broker::new(BudgetMode::Estimate, terms);
    for n in 0..9 {
        spend(&mut broker, &format!("user-{n}"), 1_000);
    }
    broker.restart();
    for n in 0..9 {
        assert!(broker.mint(requester(&format!("user-{n}")), 600).is_err(), "{n} has used the limit");
    }
}

#[test]
fn a_grant_leaves_the_table_only_when_its_last_bytes_are_counted() {
    let terms = SpenderTerms { ended_max: 0, ..SpenderTerms::default() };
    let mut broker = Broker::new(BudgetMode::Estimate, terms);
    broker.setup.bounds.grants = 3;
    broker.restart();
    let ann = broker.mint(requester("ann"), 60).unwrap();
    assert!(broker.count(at(30), true, &[(ann.id, 5)], 0));
    broker.books.advance(at(300));
    broker.books.tidy();
    assert_eq!(broker.books.grants().ended_count(), 1, "its last minute is not counted");
    assert!(broker.count(at(300), true, &[(ann.id, 2)], 0));
    broker.books.tidy();
    assert_eq!((broker.books.grants().ended_count(), broker.of("ann")), (0, Some((7, 0, 7))));
    assert_eq!(broker.books.grants().unknown_bytes(), ByteCount::ZERO);
    for _ in 0..5 {
        broker.mint(requester("bob"), 60).unwrap();
        broker.wait(240);
        broker.books.tidy();
    }
    assert_eq!(broker.books.grants().ended_count(), 3, "counts that do not come fill no memory");
}

#[test]
fn a_grant_that_is_not_counted_yet_holds_back_no_other() {
    let mut broker =
        Broker::new(BudgetMode::Estimate, SpenderTerms { ended_max: 0, ..SpenderTerms::default() });
    // Nobody reads its counts.
    let unread = SourceTerms { tail: Duration::ZERO, ..SourceTerms::of_unconfigured(IceSource::Coturn) };
    broker.setup.sources.push(unread);
    broker.restart();
    broker.mint(requester("ann"), 60).unwrap();
    broker.setup.default_source = IceSource::Coturn;
    broker.mint(requester("bob"), 120).unwrap();
    broker.books.advance(at(7_000));
    broker.books.tidy();
    let left: Vec<_> = broker.books.grants().iter().map(|(_, row)| row.source).collect();
    assert_eq!(left, [SOURCE]);
}

#[test]
fn a_grant_waits_for_its_count_for_a_week_at_most() {
    const DAY: u64 = 86_400;
    for source in [SOURCE, IceSource::Coturn] {
        let mut broker = Broker::at_source(source, BudgetMode::Estimate, 1_000_000 * MB);
        broker.setup.bounds.spenders.ended_max = 0;
        broker.books = broker.setup.open(Some(Stored::default()), at(7_200));
        broker.mint(requester("ann"), 60).unwrap();
        for (days, waiting) in [(6, 1), (8, 0)] {
            broker.books.advance(at(7_200 + days * DAY));
            broker.books.tidy();
            assert_eq!(broker.books.grants().ended_count(), waiting, "{source}, after {days} days");
        }
    }
}

/// The sums of an earlier period by kind, in the order in which they are listed.
fn of_past(broker: &Broker, kind: SpenderKind, start: Timestamp) -> Vec<(String, u64)> {
    let past = broker.books.budget().past();
    let (period, used) = *past.iter().find(|(period, _)| period.start == start).unwrap();
    let mut walk = SpenderWalk::of_past(kind, period.start);
    while !walk.look(broker.books.grants()) {}
    let mut rows = walk.rows(&broker.books.budget().past_bytes(start));
    rows.sort_by(|a, b| a.order().cmp(&b.order()));
    let bytes = rows.iter().map(|row| row.sums.bytes());
    assert_eq!(bytes.fold(ByteCount::ZERO, ByteCount::plus), used, "the rows of {kind:?} are what was used");
    let shown =
        |row: SpenderSums| (row.key.map_or("-".to_owned(), |key| key.to_string()), row.sums.bytes().get());
    rows.into_iter().map(shown).collect()
}

#[test]
fn the_sums_of_earlier_periods_by_user_label_and_key_stay_for_a_year_and_add_up_to_what_was_used() {
    let january = BillingDay::new(1).unwrap().period_at(at(0));
    let terms = SpenderTerms { ended_max: 1, left_max: 64, ..SpenderTerms::default() };
    let mut broker = Broker::new(BudgetMode::Estimate, terms);
    spend(&mut broker, "ann", 5);
    spend(&mut broker, "bob", 3);
    // These relay nothing more, and end in the next period.
    for user in ["dan", "fay"] {
        let grant = broker.caller(user, 86_400);
        broker.wait(10);
        broker.beat(grant, 4_000_000);
        broker.books.close(Caller::Grant(grant), "c", Report::default()).unwrap();
    }
    let eve = broker.caller("eve", 86_400);
    broker.wait(10);
    broker.beat(eve, 9_000_000);
    broker.books.advance(at(7_200));
    let expected = of_past(&broker, SpenderKind::User, january.start);
    let named: Vec<_> = expected.iter().map(|(name, _)| &**name).collect();
    assert!(named.contains(&"eve"), "{expected:?}");
    // Before and after the sums of the period are taken out, over restarts, and after the row of eve has begun anew.
    for step in 0..4 {
        for kind in [SpenderKind::User, SpenderKind::Label, SpenderKind::Key] {
            of_past(&broker, kind, january.start);
        }
        assert_eq!(of_past(&broker, SpenderKind::User, january.start), expected, "step {step}");
        match step {
            0 => while !broker.books.tidy() {},
            1 => broker.restart(),
            _ => {
                broker.books.open(Caller::Grant(eve), "c", Some(true)).unwrap();
                broker.wait(10);
                broker.beat(eve, 7_000 + step);
            }
        }
        assert_eq!(broker.of("ann"), None, "they are not of this period");
    }
    broker.restart();
    assert!(broker.disk.spenders.keys().all(|(_, kind, _)| kind.is_kept()), "{:?}", broker.disk.spenders);
    broker.books.advance(at(7_200 + 10 * 86_400));
    while !broker.books.tidy() {}
    assert!(broker.books.grants().ended_count() <= 1, "those of dan and fay have left");
    assert_eq!(of_past(&broker, SpenderKind::User, january.start), expected);
    let year = 366 * 86_400;
    broker.books.advance(at(7_200 + year));
    while !broker.books.tidy() {}
    broker.flush();
    let left = broker.disk.spenders.keys().filter(|(day, ..)| *day == Day::of(january.start));
    assert_eq!(left.count(), 0, "after a year they go");
}

#[test]
fn the_smallest_sums_of_an_earlier_period_join_the_rest() {
    let mut sums = LeftSums::new(3, false);
    let day = Day::of(at(0));
    for (name, bytes) in [("ann", 5), ("bob", 3), ("eve", 7), ("joe", 4), ("zoe", 6)] {
        let share = Sums::of_charge(ByteCount::ZERO, ByteCount::new(bytes), at(0));
        let user = Some(SpenderKey::User(user(name)));
        sums.add_past(day, [user, None, None, None, None, None], &share);
    }
    let named: Vec<_> = sums
        .of_past(day, SpenderKind::User)
        .map(|((_, _, key), sums)| (key.clone(), sums.bytes().get()))
        .collect();
    let of = |name: &str| Some(SpenderKey::User(user(name)));
    assert_eq!(named, [(None, 7), (of("ann"), 5), (of("eve"), 7), (of("zoe"), 6)]);
}

#[test]
fn what_joins_a_sum_that_was_not_taken_out_of_the_present_ones_yet_is_stored_with_it() {
    let (mut sums, day) = (LeftSums::new(9, false), Day::of(at(0)));
    let ann = || [Some(SpenderKey::User(user("ann"))), None, None, None, None, None];
    let share = Sums::of_charge(ByteCount::ZERO, ByteCount::new(5), at(0));
    sums.add(day, ann(), &share);
    sums.add_past(day, ann(), &share);
    let of_ann = (day, SpenderKind::User, Some(SpenderKey::User(user("ann"))));
    assert_eq!(sums.take_changes()[&of_ann].as_ref().unwrap().bytes().get(), 10);
}
