//! A reset with more grants than one step takes.

use super::*;

const GRANTS: u64 = 600;

/// 600 grants that have relayed a byte each, and one that has ended, just after the reset. Returns the first of them.
fn at_reset(mode: BudgetMode) -> (Broker, Grant) {
    let limit = ByteCount::new(u64::MAX / 4);
    let terms = SpenderTerms { user_limit: Some(limit), ..SpenderTerms::default() };
    let mut broker = Broker::new(mode, terms);
    broker.setup.terms.limit = limit;
    broker.restart();
    let grants: Vec<_> = (0..GRANTS).map(|_| broker.mint(requester("ann"), 86_400).unwrap()).collect();
    broker.books.advance(at(60));
    let bytes: Vec<_> = grants.iter().map(|grant| (grant.id, 1)).collect();
    assert!(broker.count(at(60), true, &bytes, 0));
    broker.mint(requester("bob"), 60).unwrap();
    broker.books.advance(at(1_800));
    broker.books.tidy();
    assert_eq!(broker.books.grants().ended_count(), 1);
    broker.books.advance(at(7_200));
    (broker, grants[0])
}

fn steps(broker: &mut Broker) -> usize {
    1 + std::iter::repeat_with(|| broker.books.tidy()).take_while(|is_last| !is_last).count()
}

fn figures(broker: &Broker) -> (u64, u64, u64) {
    let SpenderSums { sums, live, .. } = broker.row("ann");
    (sums.bytes().get(), sums.grants(), live)
}

#[test]
fn the_sums_begin_at_zero_at_once_and_the_rows_in_steps() {
    for mode in [BudgetMode::Estimate, BudgetMode::Strict] {
        let (mut broker, first) = at_reset(mode);
        assert_eq!(broker.of("ann"), None, "no grant counts in this period yet");
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
        assert_eq!(figures(&broker), (5, 1, 1), "what is counted begins its row anew");
        assert_eq!(steps(&mut broker), 3, "250 rows at a time");
        assert_eq!((figures(&broker), listed(&broker)), ((5, 600, 600), (600, 5)));
    }
}

#[test]
fn a_crash_in_a_reset_keeps_each_share_once() {
    for mode in [BudgetMode::Estimate, BudgetMode::Strict] {
        let (mut broker, _) = at_reset(mode);
        let (mut whole, _) = at_reset(mode);
        let assumed = |broker: &mut Broker| broker.books.user_share(&user("ann")).unwrap();
        while !whole.books.tidy() {}
        assert!(!broker.books.tidy());
        broker.restart();
        assert_eq!(figures(&broker), (0, 600, 600), "a start completes it");
        for (month, bytes) in [(15, GRANTS), (1, 0)] {
            for broker in [&mut broker, &mut whole] {
                broker.setup.terms.billing_day = BillingDay::new(month).unwrap();
                broker.restart();
                assert_eq!(figures(broker), (bytes, 600, 600), "{month}");
            }
            assert_eq!(assumed(&mut broker), assumed(&mut whole), "{month}");
        }
    }
}

#[test]
fn what_an_open_connection_claimed_before_a_reset_stays_there_over_a_restart() {
    for billing_day in [1, 15] {
        let mut broker = Broker::new(BudgetMode::Estimate, SpenderTerms::default());
        let ann = broker.mint(requester("ann"), 86_400).unwrap();
        broker.books.advance(at(7_140));
        broker.books.open(Caller::Grant(ann), "c", Some(true)).unwrap();
        broker.books.advance(at(7_170));
        broker.beat(ann, 40 * MB);
        broker.books.advance(at(7_200));
        broker.setup.terms.billing_day = BillingDay::new(billing_day).unwrap();
        broker.restart();
        let of_period = if billing_day == 1 { 0 } else { 40 * MB };
        assert_eq!(broker.of("ann"), Some((0, of_period, of_period)), "{billing_day}");
        broker.setup.terms.billing_day = BillingDay::new(15).unwrap();
        broker.restart();
        assert_eq!(broker.of("ann"), Some((0, 40 * MB, 40 * MB)), "{billing_day}");
        broker.setup.terms.billing_day = BillingDay::new(1).unwrap();
        broker.restart();
        broker.books.advance(at(7_230));
        broker.beat(ann, 50 * MB);
        assert_eq!(broker.of("ann"), Some((0, 5 * MB, 5 * MB)), "{billing_day}: half a minute of this month");
    }
}
