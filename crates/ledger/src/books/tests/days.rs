//! Another billing day: the days that are counted move to their periods, and nothing is lost or counted twice.

use super::*;

/// An instant of January 2025.
fn on(day: u64, hour: u64) -> Timestamp {
    Timestamp::from_millis(1_735_689_600_000).plus_millis(((day - 1) * 24 + hour) * 3_600_000)
}

fn open(source: IceSource, billing_day: u32, now: Timestamp) -> Broker {
    let mut setup = setup_of(source, BudgetMode::Estimate, ByteCount::new(1_000 * GB));
    setup.terms.billing_day = BillingDay::new(billing_day).unwrap();
    Broker::open(setup, now)
}

/// Another process begins in the same instant, after an orderly end.
fn change(broker: &mut Broker, billing_day: u32) {
    broker.books.finish();
    broker.setup.terms.billing_day = BillingDay::new(billing_day).unwrap();
    broker.restart();
    broker.flush();
}

/// A relay has carried these bytes `since` it was looked at last. coturn lists one session, which has sent so many `in_all`.
fn relay(broker: &mut Broker, now: Timestamp, since: u64, in_all: u64) {
    broker.books.advance(now);
    let source = broker.setup.default_source;
    if source == IceSource::Relay {
        let carried = Carried { as_of: now, granted: ByteCount::new(since), ..Carried::default() };
        broker.books.carry(source, &carried);
        return;
    }
    let session = Session {
        id: SessionId::new(1).unwrap(),
        user: "ours".into(),
        grant: grant_id(1),
        expires_at: None,
        age: None,
        packets: 1,
        traffic: Traffic::new(0, in_all),
        reach: Reach::Nobody,
    };
    let listing = Listing { sessions: vec![session], is_complete: true, ..Listing::default() };
    broker.books.take_sessions(IceSource::Coturn, listing, now);
}

/// The usage of this period, and of those before it that have any.
fn usage(broker: &Broker) -> (u64, Vec<u64>) {
    let past = broker.books.budget().past().into_iter().map(|(_, bytes)| bytes.get());
    (broker.used(), past.filter(|bytes| *bytes > 0).collect())
}

#[test]
fn the_first_half_of_a_month_belongs_to_the_period_when_the_billing_day_moves_before_it() {
    for source in [IceSource::Coturn, IceSource::Relay] {
        let mut broker = open(source, 15, on(3, 0));
        relay(&mut broker, on(8, 12), 700, 700);
        relay(&mut broker, on(14, 23), 30, 730);
        relay(&mut broker, on(15, 0), 0, 730);
        relay(&mut broker, on(20, 12), 5, 735);
        assert_eq!(usage(&broker), (5, vec![730]), "{source}");
        change(&mut broker, 1);
        assert_eq!(usage(&broker), (735, vec![]), "{source}");
        change(&mut broker, 1);
        relay(&mut broker, on(20, 13), 1, 736);
        assert_eq!(usage(&broker), (736, vec![]), "{source}: after a restart");
        change(&mut broker, 15);
        assert_eq!(usage(&broker), (6, vec![730]), "{source}: and back");
        broker.books.advance(on(46, 0));
        assert_eq!(usage(&broker), (0, vec![6, 730]), "{source}: after the reset");
        change(&mut broker, 1);
        assert_eq!(usage(&broker), (0, vec![736]), "{source}: the month");
    }
}

#[test]
fn a_late_claim_for_a_period_that_was_over_counts_when_its_day_is_in_the_period_again() {
    let reset = on(15, 0);
    let mut broker = open(IceSource::Cloudflare, 15, on(14, 23));
    broker.books.advance(Timestamp::from_millis(reset.as_millis() - 10_000));
    let caller = Caller::Grant(broker.mint_any(3_600));
    broker.books.open(caller, "c", None).unwrap();
    broker.books.advance(reset.plus_millis(30_000));
    // 3.2 Mbps, but 2 were assumed.
    let _ = broker.books.heartbeat(caller, "c", received(16_000_000)).ok();
    // A connection is charged to each period in part.
    assert_eq!(usage(&broker), (12_000_000, vec![4_000_000]));
    for billing_day in [1, 1, 15, 1] {
        change(&mut broker, billing_day);
        let expected = if billing_day == 1 { (16_000_000, vec![]) } else { (12_000_000, vec![4_000_000]) };
        assert_eq!(usage(&broker), expected, "{billing_day}");
    }
}

#[test]
fn a_day_that_is_in_the_period_again_is_counted_like_any_other() {
    let mut broker = open(IceSource::Cloudflare, 15, on(14, 1));
    let caller = Caller::Grant(broker.mint_any(3_600));
    broker.books.open(caller, "c", None).unwrap();
    broker.books.advance(on(14, 1).plus_millis(60_000));
    broker.books.close(caller, "c", received(10_000_000)).unwrap();
    broker.books.advance(on(15, 1));
    assert_eq!(usage(&broker), (0, vec![10_000_000]));
    change(&mut broker, 1);
    count(&mut broker.books, on(14, 12), 11_000_000);
    assert_eq!(usage(&broker), (11_000_000, vec![]));
    change(&mut broker, 1);
    assert_eq!(usage(&broker), (11_000_000, vec![]), "after a restart");
}

#[test]
fn counts_are_late_for_a_day_after_one_of_a_settled_day_has_grown_also_after_a_restart() {
    let mut broker = Broker::open(setup(BudgetMode::Strict), at(0));
    let holds = |broker: &Broker| broker.books.snapshot().bound_holds();
    assert!(holds(&broker));
    broker.books.note_late_counts(IceSource::Cloudflare);
    assert_eq!(
        broker.books.snapshot().broken().collect::<Vec<_>>(),
        [crate::books::snapshot::BoundBreak::LateCounts]
    );
    broker.restart();
    broker.books.advance(at(86_400_000 - 1));
    assert!(!holds(&broker));
    broker.books.advance(at(86_400_000));
    assert!(holds(&broker));
}
