use crate::testing::prelude::*;

use super::*;

const HUGE: ByteCount = ByteCount::new(u64::MAX);

fn at(seconds: u64) -> Timestamp {
    Timestamp::from_millis(0).plus_millis(seconds * 1_000)
}

fn key(text: &str) -> ClientKey {
    ClientKey::of(text.parse().unwrap())
}

fn of(client: ClientKey) -> Holder<'static> {
    Holder { client: Some(client), user: None, ..Holder::default() }
}

fn rules() -> UsageRules {
    testing::rules(2_000_000)
}

fn clients() -> Clients {
    Clients::new(ClientTerms::default())
}

fn allowances_at(clients: &mut Clients, client: ClientKey, now: Timestamp) -> Allowances<'_> {
    let [own, group, ..] = clients.scopes(of(client), &rules());
    Allowances::new([None, None, own, group, None, None], now)
}

#[test]
fn a_client_claims_50_mbps_and_its_48_four_times_as_much() {
    let mut clients = clients();
    let prefixes: Vec<_> = (0..8).map(|n| key(&format!("2001:db8:1:{n}::1"))).collect();
    for client in &prefixes {
        allowances_at(&mut clients, *client, at(0)).open();
    }
    let mut claim = |client| allowances_at(&mut clients, client, at(8)).take(HUGE, HUGE).get();
    let claimed: Vec<_> = prefixes.iter().map(|client| claim(*client)).collect();
    assert_eq!(claimed[..4], [50_000_000; 4]);
    assert_eq!(claimed[4..], [0; 4], "the group has used up its own");
}

#[test]
fn a_client_opens_256_connections_and_its_48_four_times_as_many() {
    let mut clients = clients();
    let mut fill = |client| {
        let mut opened = 0;
        while opened < 2_000 && clients.may_open(of(client)) {
            allowances_at(&mut clients, client, at(0)).open();
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
fn reserved_bytes_count_until_the_end_of_their_promise() {
    let mut clients = clients();
    let client = key("2001:db8:1:1::1");
    clients.reserve(of(client), Minute::new(10), 7);
    clients.reserve(of(client), Minute::new(5), 2);
    clients.reserve(of(client), Minute::new(10), 1);
    let [own, group, _] = clients.shares(of(client), at(0));
    let (own, group) = (own.unwrap(), group.unwrap());
    assert_eq!((own.reserved, own.percent, own.frees_at), (10, 5, Some(Minute::new(5).start())));
    assert_eq!((group.reserved, group.percent), (10, 20));
    clients.release(of(client), Minute::new(10), 7);
    assert_eq!(clients.shares(of(client), at(300))[0].unwrap().reserved, 1, "the first has ended");
    clients.release(of(client), Minute::new(5), 2);
    // A release after the end changes nothing.
    assert_eq!(clients.shares(of(client), at(300))[1].unwrap().reserved, 1);
    let others = clients.shares(of(key("203.0.113.9")), at(0));
    assert_eq!(others.map(|share| share.map(|share| share.reserved)), [Some(0), None, None]);
}

#[test]
fn a_row_that_holds_nothing_is_removed() {
    let mut clients = clients();
    let (open, promised) = (key("203.0.113.9"), key("2001:db8::1"));
    allowances_at(&mut clients, open, at(0)).open();
    clients.reserve(of(promised), Minute::new(10), 7);
    clients.forget_idle(of(open), at(0));
    clients.forget_idle(of(promised), at(0));
    assert_eq!(clients.count(), 3);
    allowances_at(&mut clients, open, at(1)).close(at(1));
    clients.forget_idle(of(open), at(1));
    assert_eq!(clients.count(), 2);
    clients.reserve(of(promised), Minute::new(20), 7);
    clients.release(of(promised), Minute::new(20), 7);
    clients.forget_idle(of(promised), at(600));
    assert_eq!(clients.count(), 0);
    clients.reserve(of(promised), Minute::new(20), 7);
    clients.release(of(promised), Minute::new(20), 7);
    assert_eq!(clients.count(), 0);
}

#[test]
fn a_user_has_the_allowances_of_a_client_and_its_address_has_ten_times_as_much() {
    let mut clients = clients();
    let (ann, client) = (User::new("ann").unwrap(), key("203.0.113.9"));
    let at_home = Holder { client: Some(client), user: Some(&ann), ..Holder::default() };
    let elsewhere = Holder { client: Some(key("198.51.100.7")), user: Some(&ann), ..Holder::default() };
    clients.reserve(at_home, Minute::new(10), 7);
    let [own, group, user] = clients.shares(elsewhere, at(0));
    let of_share = |share: Option<ClientShare>| share.map(|share| (share.percent, share.reserved));
    assert_eq!([own, group, user].map(of_share), [Some((50, 0)), None, Some((5, 7))]);
    assert_eq!(clients.shares(at_home, at(0)).map(of_share)[0], Some((50, 7)));
    // Without a user it has its own.
    assert_eq!(clients.shares(of(client), at(0)).map(of_share)[0], Some((5, 0)));
    clients.release(at_home, Minute::new(10), 7);
    assert_eq!(clients.count(), 0);

    let mut claim = |holder, seconds| {
        let [own, _, user, _] = clients.scopes(holder, &rules());
        let mut allowances = Allowances::new([None, None, own, None, user, None], at(seconds));
        if seconds == 0 {
            allowances.open();
        }
        allowances.take(ByteCount::new(u64::MAX), ByteCount::new(u64::MAX)).get()
    };
    let users: Vec<_> = (0..12).map(|n| User::new(&format!("user {n}")).unwrap()).collect();
    let of_user = |n: usize| Holder { client: Some(client), user: Some(&users[n]), ..Holder::default() };
    for n in 0..12 {
        claim(of_user(n), 0);
    }
    claim(of(client), 0);
    let claimed: Vec<_> = (0..12).map(|n| claim(of_user(n), 8)).collect();
    assert_eq!(claimed[..10], [50_000_000; 10]);
    assert_eq!(claimed[10..], [0; 2], "their address has used up its own");
    assert_eq!(claim(of(client), 8), 50_000_000, "but not that of grants without a user");
    let open = |clients: &mut Clients, holder| {
        let [own, _, user, _] = clients.scopes(holder, &rules());
        Allowances::new([None, None, own, None, user, None], at(9)).open();
    };
    for _ in 0..255 {
        assert!(clients.may_open(of_user(0)));
        open(&mut clients, of_user(0));
    }
    assert!(!clients.may_open(of_user(0)) && clients.may_open(of_user(1)));
    // At another address neither.
    assert!(!clients.may_open(Holder { client: None, user: Some(&users[0]), ..Holder::default() }));
}
