//! A rate that counts show above the promises is assumed, once it has made more than a hundredth of the limit.

use super::*;

/// Minutes of a call.
const CALL: u64 = 30;

fn mbps(tenths: u64) -> BitRate {
    BitRate::new(tenths * 100_000)
}

/// So many clients call at once beside idle ones, counted as they end. The count shows each at this rate.
fn calls(broker: &mut Broker, count: u64, rate: BitRate) -> Vec<Grant> {
    let of = |nth: u64| Requester {
        client: Some(format!("198.51.100.{nth}").parse().unwrap()),
        ..requester("call")
    };
    let grants: Vec<_> = (0..count).map(|nth| broker.mint(of(nth), 86_400).unwrap()).collect();
    let until = broker.wait(CALL * 60);
    let bytes = rate.per_minute() * CALL;
    let counted: Vec<_> = grants.iter().map(|grant| (grant.id, bytes)).collect();
    assert!(broker.count(until, true, &counted, 0));
    broker.judge_suspects(bytes);
    grants
}

fn among_idle() -> Broker {
    let mut broker = Broker::new(BudgetMode::Estimate, SpenderTerms::default());
    for _ in 0..20 {
        broker.mint(requester("idle"), 86_400).unwrap();
    }
    broker
}

/// What a new credential is promised, and the least of the live ones.
fn promised(broker: &mut Broker) -> (u64, u64) {
    let new = broker.mint(requester("new"), 600).unwrap();
    let rate = |row: &GrantRow| row.promised.unwrap().per_minute;
    let least = broker.books.grants().iter().map(|(_, row)| rate(row)).min().unwrap();
    (rate(broker.books.grants().get(new.id).unwrap()), least)
}

#[test]
fn twelve_honest_calls_raise_the_rate_of_all_and_the_bound_holds_again() {
    let mut broker = among_idle();
    calls(&mut broker, 12, mbps(75));
    assert!(!broker.books.snapshot().rate_holds());
    let before = broker.books.snapshot().figures.committed.get();
    broker.books.advance(broker.books.now().plus_millis(1));
    let snapshot = broker.books.snapshot();
    assert!(snapshot.bound_holds(), "{:?}", snapshot.measured);
    assert_eq!(snapshot.measured.raised.unwrap().rate, mbps(75));
    assert!(snapshot.figures.committed.get() > 2 * before, "{before}, {:?}", snapshot.figures.committed);
    for _ in 0..2 {
        assert_eq!(promised(&mut broker), (mbps(75).per_minute(), mbps(75).per_minute()));
        broker.restart();
    }
    calls(&mut broker, 12, mbps(75));
    assert!(broker.books.snapshot().bound_holds(), "the same again is nothing new");
}

#[test]
fn less_than_a_hundredth_of_the_limit_raises_no_rate_of_other_grants() {
    let mut broker = among_idle();
    calls(&mut broker, 6, mbps(75));
    broker.books.advance(broker.books.now().plus_millis(1));
    assert_eq!(broker.books.snapshot().measured.raised, None);
    assert_eq!(promised(&mut broker), (MINUTE_BYTES, MINUTE_BYTES));
    let limit = broker.books.snapshot().figures.limit;
    broker.books.override_limit(Some(ByteCount::new(limit.get() / 2)));
    broker.books.advance(broker.books.now().plus_millis(1));
    assert_eq!(broker.books.snapshot().measured.raised.unwrap().rate, mbps(75), "a lower limit");
}

/// One short burst beside many calls: its own promise is raised, the others are not promised its rate.
#[test]
fn a_few_faster_bytes_do_not_set_the_rate_of_all() {
    let mut broker = among_idle();
    calls(&mut broker, 1, mbps(120));
    calls(&mut broker, 12, mbps(60));
    broker.books.advance(broker.books.now().plus_millis(1));
    let snapshot = broker.books.snapshot();
    assert_eq!((snapshot.measured.raised.unwrap().rate, snapshot.rate_holds()), (mbps(60), true));
    assert!(snapshot.measured.excess.bytes > ByteCount::ZERO, "what the burst exceeds is not forgotten");
}

#[test]
fn above_what_a_relay_carries_the_bound_does_not_hold() {
    let mut broker = among_idle();
    calls(&mut broker, 3, mbps(1_500));
    broker.books.advance(broker.books.now().plus_millis(1));
    let snapshot = broker.books.snapshot();
    assert_eq!((snapshot.measured.raised.unwrap().rate, snapshot.rate_holds()), (mbps(1_000), false));
}

#[test]
fn a_raised_rate_ends_with_the_period_or_with_another_setting() {
    let mut broker = among_idle();
    calls(&mut broker, 12, mbps(75));
    broker.books.advance(broker.books.now().plus_millis(1));
    for set in [mbps(30), mbps(20)] {
        let raised = std::mem::replace(&mut broker.setup.terms.rates.liability, set);
        broker.restart();
        assert_eq!(broker.books.snapshot().measured.raised, None, "{raised:?}");
        assert_eq!(promised(&mut broker).0, set.per_minute());
    }
    calls(&mut broker, 12, mbps(75));
    broker.books.advance(broker.books.now().plus_millis(1));
    broker.books.advance(at(7_200));
    assert!(broker.books.budget().period.start == at(7_200));
    assert_eq!(broker.books.snapshot().measured.raised, None);
    assert_eq!(promised(&mut broker), (MINUTE_BYTES, MINUTE_BYTES), "also of those that were raised");
    assert_eq!(broker.books.grants().difference(), None);
    calls(&mut broker, 12, mbps(75));
    broker.books.advance(broker.books.now().plus_millis(1));
    assert_eq!(broker.books.snapshot().measured.raised.unwrap().rate, mbps(75), "and rises again");
}

/// However much it relays, and with however many credentials.
#[test]
fn one_fast_client_raises_its_own_promises_alone() {
    for chains in [1, 6] {
        let mut broker = among_idle();
        for _ in 0..chains {
            calls(&mut broker, 1, mbps(1_000));
        }
        calls(&mut broker, 2, mbps(300));
        broker.books.advance(broker.books.now().plus_millis(1));
        let snapshot = broker.books.snapshot();
        assert_eq!((snapshot.measured.raised, snapshot.rate_holds()), (None, false), "two clients");
        assert_eq!(promised(&mut broker), (MINUTE_BYTES, MINUTE_BYTES));
    }
}

/// A stranger has the TURN key: its bytes are of no grant.
#[test]
fn bytes_of_no_known_grant_raise_no_rate() {
    let mut broker = among_idle();
    let until = broker.wait(600);
    for (as_of, bytes) in [(at(60), 0), (until, 100_000 * MB)] {
        let reading = Reading { day: Day::of(as_of), ..crate::testing::reading(as_of, bytes) };
        let _ = crate::testing::take(&mut broker.books, SOURCE, reading);
    }
    broker.books.advance(until.plus_millis(1));
    assert_eq!(broker.books.snapshot().measured.raised, None);
}

/// Where the source is counted, its counts say at what rate it relays.
#[test]
fn what_an_app_server_vouches_for_raises_no_rate_of_others_beside_counts() {
    for (source, rate) in [(SOURCE, None), (IceSource::Http, Some(mbps(900)))] {
        let mut broker = Broker::at_source(source, BudgetMode::Estimate, 1_000_000 * MB);
        let client = |nth| Some(format!("198.51.100.{nth}").parse().unwrap());
        let of = |nth| Requester { client: client(nth), ..requester("call") };
        for nth in 0..12 {
            let grant = broker.mint(of(nth), 6_000).unwrap();
            broker.books.open(Caller::Grant(grant), &format!("c{nth}"), Some(true)).unwrap();
        }
        for seconds in (10..=1_800).step_by(10) {
            broker.books.advance(at(seconds));
            for nth in 0..12 {
                broker.vouch(&format!("c{nth}"), mbps(900).per_minute() / 60 * seconds);
            }
        }
        broker.books.advance(at(1_801));
        let raised = broker.books.snapshot().measured.raised.map(|raised| raised.rate);
        assert_eq!(raised, rate, "{source}");
        assert_eq!(broker.books.snapshot().rate_holds(), rate.is_some(), "{source}");
    }
}

#[test]
fn a_chain_keeps_its_own_rate_over_the_reset_also_if_all_had_it() {
    let mut broker = among_idle();
    broker.books.advance(at(3_000));
    let fast = calls(&mut broker, 12, mbps(150));
    broker.books.advance(broker.books.now().plus_millis(1));
    let rate = |broker: &Broker, id| broker.books.grants().get(id).unwrap().promised.unwrap().per_minute;
    assert_eq!(rate(&broker, fast[0].id), mbps(150).per_minute());
    broker.books.advance(at(7_200));
    let idle = broker.books.grants().iter().map(|(_, row)| row.promised.unwrap().per_minute).min();
    assert_eq!((rate(&broker, fast[0].id), idle), (mbps(150).per_minute(), Some(MINUTE_BYTES)));
}
