//! What left the table of grants.

use super::*;
use crate::timeline::terms::SourceTerms;

/// A grant of this user that has relayed these bytes and ended, with the two minutes of the clocks.
fn spend(broker: &mut Broker, name: &str, bytes: u64) {
    let grant = broker.mint(requester(name), 60).unwrap();
    let until = broker.books.now().plus_millis(240_000);
    broker.books.advance(until);
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
    assert!(broker.books.grants().left().counts().0 <= 8 + 1);
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
        let now = broker.books.now();
        broker.books.advance(now.plus_millis(240_000));
        broker.books.tidy();
    }
    assert_eq!(broker.books.grants().ended_count(), 3, "counts that do not come fill no memory");
}

#[test]
fn a_grant_that_is_not_counted_yet_holds_back_no_other() {
    let mut broker =
        Broker::new(BudgetMode::Estimate, SpenderTerms { ended_max: 0, ..SpenderTerms::default() });
    // Nobody reads its counts.
    let unread = SourceTerms { tail: Duration::ZERO, ..SourceTerms::of_a_removed(IceSource::Coturn) };
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

#[test]
fn sums_of_an_earlier_period_are_forgotten() {
    let mut broker =
        Broker::new(BudgetMode::Estimate, SpenderTerms { ended_max: 0, ..SpenderTerms::default() });
    spend(&mut broker, "ann", 5);
    broker.flush();
    assert_eq!(broker.disk.spenders.len(), SpenderKind::ALL.len());
    broker.books.advance(at(7_200));
    assert_eq!(broker.of("ann"), None, "at once");
    while !broker.books.tidy() {}
    broker.flush();
    assert!(broker.disk.spenders.is_empty());
}
