//! The limit of an address without a user, for each UTC day.

use super::*;

const GB: u64 = 1_000 * MB;

fn broker(limit: Option<u64>) -> Broker {
    let address_limit = limit.map(|gb| ByteCount::new(gb * GB));
    Broker::new(BudgetMode::Estimate, SpenderTerms { address_limit, ..SpenderTerms::default() })
}

/// A caller without a user at this address.
fn nobody(address: &str) -> Requester {
    let client = Some(ClientKey::of(address.parse().unwrap()));
    Requester { client, ..Requester::default() }
}

/// The refusal of a caller at this address, if there is one.
fn refused(broker: &mut Broker, requester: Requester) -> Option<NotAdmitted> {
    broker.mint(requester, 600).err()
}

/// A credential of a caller, which then relays so much.
fn spend(broker: &mut Broker, requester: Requester, bytes: u64) -> Grant {
    let grant = broker.mint(requester, 3_600).unwrap();
    let until = broker.wait(60);
    assert!(broker.count(until, true, &[(grant.id, bytes)], 0));
    grant
}

#[test]
fn an_address_over_its_limit_gets_nothing_more_until_the_next_day() {
    let mut broker = broker(Some(7));
    let ann = spend(&mut broker, nobody("203.0.113.9"), 7 * GB - 1);
    assert_eq!(refused(&mut broker, nobody("203.0.113.9")), None, "a byte is left");
    let until = broker.wait(60);
    assert!(broker.count(until, true, &[(ann.id, 1)], 0));
    let retry_in = Duration::from_secs(2 * 3_600 - 120);
    assert_eq!(refused(&mut broker, nobody("203.0.113.9")), Some(NotAdmitted::AddressLimit { retry_in }));
    assert_eq!(broker.books.snapshot().refused_addresses.map(|(_, count)| count), Some(1));
    assert_eq!(refused(&mut broker, nobody("203.0.113.10")), None, "another address");
    assert_eq!(refused(&mut broker, requester("ann")), None, "a user at the same address");
    assert!(broker.books.grants().valid(ann.id).is_some(), "its calls go on");
    broker.restart();
    assert!(refused(&mut broker, nobody("203.0.113.9")).is_some(), "after a start, too");
    broker.books.advance(at(7_200));
    assert_eq!(refused(&mut broker, nobody("203.0.113.9")), None, "the next day");
    assert_eq!(broker.books.snapshot().refused_addresses, None);
}

#[test]
fn what_is_claimed_counts_until_a_count_replaces_it() {
    let mut broker = broker(Some(1));
    let grant = broker.mint(nobody("203.0.113.9"), 3_600).unwrap();
    broker.books.open(Caller::Grant(grant), "c", Some(true)).unwrap();
    for seconds in (10..=300).step_by(10) {
        broker.books.advance(at(seconds));
        broker.beat(grant, seconds * 5 * MB);
    }
    assert!(refused(&mut broker, nobody("203.0.113.9")).is_some());
    assert!(broker.count(at(300), false, &[(grant.id, MB)], 0));
    assert_eq!(refused(&mut broker, nobody("203.0.113.9")), None);
}

#[test]
fn a_network_of_many_addresses_has_four_times_the_limit() {
    let mut broker = broker(Some(1));
    for host in 0..4 {
        let _ = spend(&mut broker, nobody(&format!("2001:db8:1:{host}::1")), GB - 1);
    }
    assert_eq!(refused(&mut broker, nobody("2001:db8:1:9::1")), None);
    let _ = spend(&mut broker, nobody("2001:db8:1:8::1"), 4);
    assert!(refused(&mut broker, nobody("2001:db8:1:9::1")).is_some());
    assert_eq!(refused(&mut broker, nobody("2001:db8:2::1")), None, "another network");
}

#[test]
fn one_address_that_goes_on_past_its_limit_does_not_use_up_that_of_its_network() {
    let mut broker = broker(Some(1));
    let greedy = spend(&mut broker, nobody("2001:db8:1:1::1"), 2 * GB);
    assert!(refused(&mut broker, nobody("2001:db8:1:1::1")).is_some());
    let until = broker.wait(60);
    assert!(broker.count(until, true, &[(greedy.id, 6 * GB)], 0));
    assert_eq!(refused(&mut broker, nobody("2001:db8:1:2::1")), None);
    let _ = spend(&mut broker, nobody("2001:db8:1:2::1"), GB);
    let _ = spend(&mut broker, nobody("2001:db8:1:3::1"), GB);
    assert_eq!(refused(&mut broker, nobody("2001:db8:1:4::1")), None, "three have used their limit");
    let _ = spend(&mut broker, nobody("2001:db8:1:4::1"), GB);
    assert!(refused(&mut broker, nobody("2001:db8:1:5::1")).is_some(), "four have");
}

#[test]
fn the_default_is_a_tenth_of_the_limit_and_at_least_5_gb_and_zero_is_none() {
    for (setting, limit, most) in [(None, 80, Some(8)), (None, 20, Some(5)), (Some(0), 80, None)] {
        let mut broker = broker(setting);
        broker.books.override_limit(Some(ByteCount::new(limit * GB)));
        let _ = spend(&mut broker, nobody("203.0.113.9"), most.unwrap_or(60) * GB - 1);
        assert_eq!(refused(&mut broker, nobody("203.0.113.9")), None, "{setting:?} of {limit}");
        let _ = spend(&mut broker, nobody("203.0.113.9"), 1);
        assert_eq!(
            refused(&mut broker, nobody("203.0.113.9")).is_some(),
            most.is_some(),
            "{setting:?} of {limit}"
        );
    }
}
