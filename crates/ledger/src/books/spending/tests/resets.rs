//! A reset, and another billing day.

use super::*;

const GRANTS: u64 = 600;

/// 600 grants that have relayed a byte each, and as many that have ended, just after the reset. Returns one of each.
fn at_reset(mode: BudgetMode) -> (Broker, [Grant; 2]) {
    let limit = ByteCount::new(u64::MAX / 4);
    let terms = SpenderTerms { user_limit: Some(limit), ..SpenderTerms::default() };
    let mut broker = Broker::new(mode, terms);
    broker.setup.terms.limit = limit;
    broker.restart();
    let grants: Vec<_> = (0..GRANTS).map(|_| broker.mint(requester("ann"), 86_400).unwrap()).collect();
    broker.books.advance(at(60));
    let bytes: Vec<_> = grants.iter().map(|grant| (grant.id, 1)).collect();
    assert!(broker.count(at(60), true, &bytes, 0));
    let ended: Vec<_> = (0..GRANTS).map(|_| broker.mint(requester("bob"), 60).unwrap()).collect();
    broker.books.advance(at(1_800));
    while !broker.books.tidy() {}
    assert_eq!(broker.books.grants().ended_count(), 600);
    broker.books.advance(at(7_200));
    (broker, [grants[0], ended[0]])
}

/// Bytes, grants, live grants.
fn figures(broker: &Broker) -> (u64, u64, u64) {
    let SpenderSums { sums, live, .. } = broker.row("ann");
    (sums.bytes().get(), sums.grants(), live)
}

#[test]
fn all_figures_begin_at_zero_at_once_and_what_has_ended_is_forgotten_in_steps() {
    for mode in [BudgetMode::Estimate, BudgetMode::Strict] {
        let (mut broker, [first, ended]) = at_reset(mode);
        assert!(broker.books.grants().any(ended.id).is_none(), "its row waits to be forgotten");
        assert_eq!((figures(&broker), broker.of("bob")), ((0, 600, 600), None));
        let listed = |broker: &Broker| {
            let mut page = GrantPage::new(GrantFilter::default(), 1_000, None, None);
            while !page.look(broker.books.grants(), at(7_200)) {}
            let rows = page.rows(broker.books.grants(), at(7_200));
            (rows.len(), rows.iter().map(|grant| grant.spent.bytes().get()).sum::<u64>())
        };
        assert_eq!(listed(&broker), (600, 0));
        broker.books.advance(at(7_260));
        let counts = GrantCounts { from: at(7_200), until: at(7_260), ..GrantCounts::default() };
        let by_grant = [(first.id, Traffic::new(0, 5))].into();
        assert!(broker.take(&GrantCounts { by_grant, is_complete: true, is_final: true, ..counts }));
        let left = [(); 3].map(|()| (broker.books.tidy(), broker.books.grants().ended_count()));
        assert_eq!(left, [(false, 350), (false, 100), (true, 0)], "250 rows at a time");
        for _ in 0..2 {
            assert_eq!((figures(&broker), listed(&broker)), ((5, 600, 600), (600, 5)));
            assert_eq!(broker.books.user_share(&user("ann")).unwrap().usage.used.get(), 5);
            broker.restart();
        }
    }
}

#[test]
fn another_billing_day_begins_the_sums_anew() {
    let terms = SpenderTerms { ended_max: 0, user_limit: Some(ByteCount::new(9)), ..SpenderTerms::default() };
    let mut broker = Broker::new(BudgetMode::Estimate, terms);
    let [ann, bob] =
        [("ann", 86_400), ("bob", 60)].map(|(name, life)| broker.mint(requester(name), life).unwrap());
    broker.books.advance(at(300));
    assert!(broker.count(at(300), true, &[(ann.id, 9), (bob.id, 9)], 0));
    broker.books.tidy();
    assert!(["ann", "bob"].iter().all(|name| broker.mint(requester(name), 60).is_err()), "both have used it");
    broker.setup.terms.billing_day = BillingDay::new(15).unwrap();
    broker.restart();
    assert_eq!((broker.of("ann"), broker.of("bob")), (Some((0, 0, 0)), None));
    assert!(["ann", "bob"].iter().all(|name| broker.mint(requester(name), 60).is_ok()));
    broker.books.advance(at(1_000));
    while !broker.books.tidy() {}
    broker.restart();
    assert_eq!(broker.of("ann"), Some((0, 0, 0)));
    assert!(broker.count(at(1_000), true, &[(ann.id, 4)], 0));
    assert_eq!(broker.of("ann"), Some((4, 0, 4)));
}

#[test]
fn what_an_open_connection_claimed_before_a_reset_stays_there_over_a_restart() {
    let mut broker = Broker::new(BudgetMode::Estimate, SpenderTerms::default());
    let ann = broker.mint(requester("ann"), 86_400).unwrap();
    broker.books.advance(at(7_140));
    broker.books.open(Caller::Grant(ann), "c", Some(true)).unwrap();
    broker.books.advance(at(7_170));
    broker.beat(ann, 40 * MB);
    broker.restart();
    assert_eq!(broker.of("ann"), Some((0, 40 * MB, 40 * MB)));
    broker.books.advance(at(7_200));
    broker.restart();
    assert_eq!(broker.of("ann"), Some((0, 0, 0)));
    broker.books.advance(at(7_230));
    broker.beat(ann, 50 * MB);
    for _ in 0..2 {
        assert_eq!(broker.of("ann"), Some((0, 5 * MB, 5 * MB)), "half a minute of this month");
        broker.restart();
    }
}

#[test]
fn another_billing_day_forgets_bytes_under_unknown_identifiers() {
    let mut broker = Broker::new(BudgetMode::Estimate, SpenderTerms::default());
    broker.books.advance(at(300));
    assert!(broker.count(at(300), true, &[(GrantId::new([9; 16]), 7)], 0));
    for (billing_day, unknown) in [(1, 7), (15, 0)] {
        broker.setup.terms.billing_day = BillingDay::new(billing_day).unwrap();
        broker.restart();
        assert_eq!(broker.books.grants().unknown_bytes().get(), unknown, "day {billing_day}");
    }
}

/// An app server reports once before the reset and once after it. Of the second report, half is of this period.
#[test]
fn of_a_report_over_a_reset_the_part_since_the_reset_counts() {
    for is_granted in [true, false] {
        let mut broker = Broker::new(BudgetMode::Estimate, SpenderTerms::default());
        let ann = broker.mint(requester("ann"), 86_400).unwrap();
        broker.books.advance(at(7_110));
        let opener = if is_granted { Caller::Grant(ann) } else { Caller::Reporter };
        broker.books.open(opener, "c", Some(true)).unwrap();
        let by_reporter = Spender { user: User::new("bob"), ..Spender::default() };
        broker.books.report_spender(Caller::Reporter, "c", by_reporter);
        // 44 Mbps, from half a minute before the reset to half a minute after it.
        for (seconds, minutes) in [(7_170, 0), (7_230, 22)] {
            broker.books.advance(at(seconds));
            broker.vouch("c", minutes * MINUTE_BYTES);
        }
        let half = 11 * MINUTE_BYTES;
        let spender = if is_granted { "ann" } else { "bob" };
        assert_eq!((broker.of(spender), broker.used()), (Some((0, half, half)), half), "{spender}");
        // A minute and the two edges were promised.
        let exceeded = if is_granted { half - 3 * MINUTE_BYTES } else { 0 };
        assert_eq!(broker.books.snapshot().measured.excess.bytes.get(), exceeded, "{spender}");
    }
}
