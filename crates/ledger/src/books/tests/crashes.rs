//! Crashes of the process that relays: what it carried since the last write of its count is in no reading.

use super::*;

/// Bytes in a second of one grant at the assumed rate.
const SECOND: u64 = 250_000;
const GRANTS: u64 = 20;

/// A relay with 20 grants of an hour.
fn relay() -> Broker {
    let setup = setup_of(IceSource::Relay, BudgetMode::Strict, ByteCount::new(400 * GB));
    let mut broker = Broker::open(setup, at(0));
    for _ in 0..GRANTS {
        broker.mint_any(3_600);
    }
    broker
}

/// The relay says that it has carried so many bytes in all.
fn read(broker: &mut Broker, granted: u64) {
    let figures = broker.books.snapshot().figures;
    let granted = ByteCount::new(granted).minus(figures.used);
    let carried = Carried { as_of: figures.now, granted, ..Carried::default() };
    broker.books.carry(IceSource::Relay, &carried);
}

#[test]
fn a_relay_that_crashes_in_a_loop_hides_nothing() {
    let mut broker = relay();
    let committed = broker.committed();
    let mut relayed = 0;
    for second in (0..600).step_by(3) {
        // Its count is written, it relays for two seconds more, and the next process begins after another second.
        broker.books.advance(at(second * 1_000));
        let counted = broker.used();
        assert!(counted >= relayed, "second {second}: {counted} of {relayed}");
        read(&mut broker, counted);
        broker.flush();
        relayed += 2 * SECOND * GRANTS;
        broker.crash_until(at((second + 3) * 1_000));
    }
    assert!(broker.used() >= relayed && broker.committed() <= committed);
    assert!(broker.books.snapshot().bound_holds());
}

#[test]
fn only_the_time_in_which_a_relay_can_have_run_is_counted_and_an_orderly_end_costs_nothing() {
    let mut broker = relay();
    broker.books.advance(at(60_000));
    read(&mut broker, 7);
    broker.flush();
    let again = broker.setup.open(Some(broker.disk.clone()), at(600_000));
    let lost = UNWRITTEN_MAX.as_secs() * SECOND * GRANTS;
    assert_eq!(used(&again), 7 + lost);
    broker.books.finish();
    broker.flush();
    broker.crash_until(at(600_000));
    assert_eq!(broker.used(), 7);
    broker.flush();
    broker.crash_until(at(660_000));
    assert!(broker.used() > 7, "the second process has not ended in order");
}

#[test]
fn while_a_jump_of_the_time_is_in_doubt_the_count_waits_and_an_orderly_end_does_not_lose_it() {
    let mut broker = relay();
    broker.books.advance(Moment { wall: at(7_200_000), in_doubt: true, ..at(60_000).into() });
    assert!(!broker.books.may_count());
    broker.books.finish();
    broker.flush();
    broker.crash_until(at(60_000));
    assert_eq!(broker.used(), 60 * SECOND * GRANTS);
    assert!(broker.books.may_count());
}

#[test]
fn a_process_without_a_relay_loses_no_count() {
    let mut broker = relay();
    broker.books.finish();
    broker.flush();
    let with_relay = broker.setup.clone();
    broker.setup = setup_of(IceSource::Cloudflare, BudgetMode::Strict, ByteCount::new(400 * GB));
    broker.crash_until(at(60_000));
    broker.flush();
    broker.setup = with_relay;
    broker.crash_until(at(120_000));
    assert_eq!(broker.used(), 0);
}
