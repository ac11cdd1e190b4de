//! What sources count for each grant: when a count is taken, and what it replaces.

use super::*;

#[test]
fn a_grant_has_its_counted_bytes_until_the_count_and_its_claims_after_that() {
    let mut broker = Broker::new(BudgetMode::Estimate, SpenderTerms::default());
    let (ann, bob) = (broker.caller("ann", 3_600), broker.mint(requester("bob"), 3_600).unwrap());
    broker.books.advance(at(20));
    broker.beat(ann, 4 * MB);
    assert_eq!(broker.of("ann"), Some((0, 4 * MB, 4 * MB)));
    assert!(broker.count(at(15), false, &[(ann.id, 248), (bob.id, 3 * MB)], 0));
    assert_eq!(broker.of("ann"), Some((248, MB, MB + 248)), "a quarter came after the count");
    assert_eq!(broker.of("bob"), Some((3 * MB, 0, 3 * MB)));
    for (kind, key) in [(SpenderKind::Label, "room-1"), (SpenderKind::Address, "203.0.113.9")] {
        assert_eq!(broker.sums(kind, key), Some((3 * MB + 248, MB, 4 * MB + 248)));
    }
    broker.restart();
    assert_eq!(broker.sums(SpenderKind::Label, "room-1"), Some((3 * MB + 248, MB, 4 * MB + 248)));
    assert!(broker.count(at(20), true, &[(bob.id, 3 * MB)], 0));
    assert_eq!(broker.of("ann"), Some((248, 0, 248)), "a count that leaves a grant out counted nothing");
    broker.books.advance(at(40));
    broker.beat(ann, 6 * MB);
    broker.books.close(Caller::Grant(ann), "c", Report::default()).unwrap();
    for _ in 0..2 {
        assert_eq!(broker.of("ann"), Some((248, 2 * MB, 2 * MB + 248)));
        broker.restart();
    }
    let shown = broker.row("ann");
    assert_eq!((shown.live, shown.sums.grants()), (1, 1));
    assert_eq!((shown.sums.first_seen, shown.sums.last_seen), (at(0), at(40)));
}

#[test]
fn counts_continue_where_they_are_final_and_another_span_is_refused() {
    let mut broker = Broker::new(BudgetMode::Estimate, SpenderTerms::default());
    let ann = broker.mint(requester("ann"), 3_600).unwrap();
    assert_eq!(broker.books.grants().counted_until(SOURCE), before());
    assert!(broker.count(at(60), false, &[(ann.id, 5)], 0) && broker.count(at(60), true, &[(ann.id, 4)], 0));
    assert_eq!(broker.books.grants().counted_until(SOURCE), at(60));
    broker.restart();
    assert_eq!(broker.books.grants().counted_until(SOURCE), at(60), "it is stored");
    let again = GrantCounts { from: at(0), until: at(60), ..GrantCounts::default() };
    assert!(!broker.take(&again));
    assert!(broker.count(at(90), false, &[(ann.id, 3)], 0));
    assert_eq!(broker.of("ann"), Some((7, 0, 7)));
}

#[test]
fn bytes_of_identifiers_that_are_not_in_the_table_are_unknown() {
    let mut broker = Broker::new(BudgetMode::Estimate, SpenderTerms::default());
    let ann = broker.mint(requester("ann"), 3_600).unwrap();
    let stranger = GrantId::new([9; 16]);
    assert!(broker.count(at(60), false, &[(ann.id, 5), (stranger, 7)], 2));
    assert!(broker.count(at(60), false, &[(ann.id, 5), (stranger, 8)], 2));
    assert_eq!(broker.books.grants().unknown_bytes().get(), 10);
    assert!(broker.count(at(60), true, &[(stranger, 8)], 2) && broker.count(at(90), false, &[], 3));
    broker.restart();
    assert_eq!(broker.books.grants().unknown_bytes().get(), 13);
    broker.books.advance(at(7_200));
    assert_eq!(broker.books.grants().unknown_bytes().get(), 0, "another period");
}

#[test]
fn unknown_bytes_are_reported_above_a_part_of_the_used_bytes_and_of_the_limit() {
    let broker = Broker::new(BudgetMode::Estimate, SpenderTerms::default());
    let mut snapshot = broker.books.snapshot();
    snapshot.figures.limit = ByteCount::new(1_000 * MB);
    let mut is_reported = |used, unknown| {
        snapshot.figures.used = ByteCount::new(used);
        snapshot.unknown_bytes = ByteCount::new(unknown);
        snapshot.has_unknown_bytes()
    };
    assert!(!is_reported(MB - 1, MB - 1), "a period that has just begun");
    assert!(is_reported(MB, MB));
    assert!(!is_reported(200 * MB, 10 * MB));
    assert!(is_reported(200 * MB, 10 * MB + 1));
}

#[test]
fn a_wrong_count_of_a_grant_holds_until_the_next_one() {
    let spenders = SpenderTerms { user_limit: Some(ByteCount::new(1_000 * MB)), ..SpenderTerms::default() };
    let mut broker = Broker::new(BudgetMode::Estimate, spenders);
    let ann = broker.mint(requester("ann"), 3_600).unwrap();
    broker.books.advance(at(60));
    for wrong in [1_001 * MB, 200_000 * MB] {
        assert!(broker.count(at(60), false, &[(ann.id, wrong)], wrong));
        assert!(broker.mint(requester("ann"), 600).is_err());
        broker.restart();
        assert!(broker.count(at(60), false, &[(ann.id, 900 * MB)], 0));
        assert!(broker.mint(requester("ann"), 600).is_ok());
        assert_eq!(broker.books.snapshot().unknown_bytes, ByteCount::ZERO);
    }
}

#[test]
fn a_final_count_needs_two_answers_that_agree() {
    let mut broker = Broker::new(BudgetMode::Estimate, SpenderTerms::default());
    broker.setup.sources[0].sampling = 5;
    broker.restart();
    let ann = broker.mint(requester("ann"), 3_600).unwrap();
    let mut answer = |seconds, bytes| {
        let by_grant = [(ann.id, Traffic::new(0, bytes))].into();
        let span = GrantCounts { from: before(), until: at(60), ..GrantCounts::default() };
        let counts = GrantCounts { by_grant, is_complete: true, is_final: true, at: at(seconds), ..span };
        broker.take_once(&counts)
    };
    for wrong in [500, 1_100, 2_000, 100_000] {
        assert!(!answer(0, 1_000) && !answer(60, wrong) && !answer(120, 1_000), "{wrong}");
    }
    assert!(!answer(179, 1_000), "too soon");
    assert!(answer(180, 1_010));
    assert_eq!(broker.of("ann"), Some((1_010, 0, 1_010)));
}

#[test]
fn what_a_relay_counts_replaces_what_was_claimed_for_that_time() {
    let mut broker = Broker::at_source(IceSource::Relay, BudgetMode::Estimate, 1_000 * MB);
    let ann = broker.caller("ann", 600);
    broker.books.advance(at(20));
    broker.beat(ann, 4 * MB);
    assert_eq!(broker.of("ann"), Some((0, 4 * MB, 4 * MB)));
    broker.books.add_grant_traffic(IceSource::Relay, &[(ann.id, Traffic::new(0, 3 * MB))].into());
    assert_eq!(broker.of("ann"), Some((3 * MB, 0, 3 * MB)));
}

/// The process ends after a part of a final count. The next one cannot ask for that hour at first, and counts the open span.
#[test]
fn a_final_count_that_was_cut_off_is_taken_once() {
    let mut broker = Broker::new(BudgetMode::Estimate, SpenderTerms::default());
    let grants: Vec<_> = (0..300).map(|_| broker.mint(requester("ann"), 3_000).unwrap()).collect();
    broker.books.advance(at(5_400));
    let counts = |until, is_final| GrantCounts {
        from: before(),
        until,
        by_grant: grants.iter().map(|grant| (grant.id, Traffic::new(0, 1_000))).collect(),
        is_complete: true,
        is_final,
        ..GrantCounts::default()
    };
    let (hour, open) = (counts(at(3_600), true), counts(at(5_400), false));
    assert!(!broker.take_once(&first_answer(&hour)));
    assert_eq!(broker.books.take_grant_counts(SOURCE, &hour), CountsTaken::InPart);
    broker.restart();
    assert!(!broker.take(&open));
    assert!(broker.take(&hour));
    assert_eq!(broker.of("ann").map(|(bytes, ..)| bytes), Some(300 * 1_000));
}
