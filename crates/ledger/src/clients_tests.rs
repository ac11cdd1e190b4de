use super::*;
use crate::{Allowances, BilledDirections, ByteCount};
use std::time::Duration;

fn at(seconds: u64) -> Timestamp {
    Timestamp::from_millis(0).plus_millis(seconds * 1_000)
}

fn key(text: &str) -> ClientKey {
    ClientKey::of(text.parse().unwrap())
}

fn rules() -> UsageRules {
    UsageRules {
        heartbeat: Duration::from_secs(30),
        billed: BilledDirections::Egress,
        estimated_rate: BitRate::new(2_000_000),
    }
}

fn clients() -> Clients {
    Clients::new(ClientTerms::default())
}

fn at_once(clients: &mut Clients, client: ClientKey, now: Timestamp) -> Allowances<'_> {
    let [own, group] = clients.scopes(client, &rules());
    Allowances::new([None, own, group], now)
}

#[test]
fn a_client_claims_50_mbps_and_its_48_four_times_as_much() {
    let mut clients = clients();
    let prefixes: Vec<_> = (0..8).map(|n| key(&format!("2001:db8:1:{n}::1"))).collect();
    for client in &prefixes {
        at_once(&mut clients, *client, at(0)).open();
    }
    let huge = ByteCount::new(u64::MAX);
    let mut claim = |client| at_once(&mut clients, client, at(8)).take(huge).get();
    let claimed: Vec<_> = prefixes.iter().map(|client| claim(*client)).collect();
    assert_eq!(claimed[..4], [50_000_000; 4]);
    assert_eq!(claimed[4..], [0; 4], "the group has used up its own");
}

#[test]
fn a_client_opens_256_connections_and_its_48_four_times_as_many() {
    let mut clients = clients();
    let mut fill = |client| {
        let mut opened = 0;
        while opened < 2_000 && clients.may_open(client) {
            at_once(&mut clients, client, at(0)).open();
            opened += 1;
        }
        opened
    };
    assert_eq!(fill(key("203.0.113.9")), 256);
    assert_eq!(fill(key("203.0.113.10")), 256, "another address has its own");
    let of_a_group: Vec<_> = (0..6).map(|n| fill(key(&format!("2001:db8:1:{n}::1")))).collect();
    assert_eq!(of_a_group, [256, 256, 256, 256, 0, 0]);
}

#[test]
fn reserved_minutes_count_until_their_end() {
    let mut clients = clients();
    let client = key("2001:db8:1:1::1");
    clients.reserve(client, Minute::new(10), 7);
    clients.reserve(client, Minute::new(5), 2);
    clients.reserve(client, Minute::new(10), 1);
    let [own, group] = clients.shares(client, at(0)).map(Option::unwrap);
    assert_eq!((own.reserved, own.percent, own.frees_at), (10, 5, Some(Minute::new(5).start())));
    assert_eq!((group.reserved, group.percent), (10, 20));
    clients.release(client, Minute::new(10), 7);
    assert_eq!(clients.shares(client, at(300))[0].unwrap().reserved, 1, "the first has ended");
    clients.release(client, Minute::new(5), 2);
    assert_eq!(
        clients.shares(client, at(300))[1].unwrap().reserved,
        1,
        "a release after the end changes nothing"
    );
    assert_eq!(
        clients.shares(key("203.0.113.9"), at(0)).map(|share| share.map(|s| s.reserved)),
        [Some(0), None]
    );
}

#[test]
fn a_row_that_holds_nothing_is_removed() {
    let mut clients = clients();
    let (open, promised) = (key("203.0.113.9"), key("2001:db8::1"));
    at_once(&mut clients, open, at(0)).open();
    clients.reserve(promised, Minute::new(10), 7);
    clients.forget_idle(open, at(0));
    clients.forget_idle(promised, at(0));
    assert_eq!(clients.count(), 3);
    at_once(&mut clients, open, at(1)).close(at(1));
    clients.forget_idle(open, at(1));
    assert_eq!(clients.count(), 2);
    clients.reserve(promised, Minute::new(20), 7);
    clients.release(promised, Minute::new(20), 7);
    clients.forget_idle(promised, at(600));
    assert_eq!(clients.count(), 0);
    clients.reserve(promised, Minute::new(20), 7);
    clients.release(promised, Minute::new(20), 7);
    assert_eq!(clients.count(), 0);
}
