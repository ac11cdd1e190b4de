//! Tests of the table of clients: the floods that it must survive, and a comparison with a simple model.

use std::net::{IpAddr, Ipv6Addr};
use std::time::{Duration, Instant};

use proptest::prelude::*;

use super::client::{ClientKey, ClientKeys};
use super::table::{ClientTable, Row, SHARED_ROWS, SHARED_ROWS_OF_PREFIX};

const REFILL: Duration = Duration::from_secs(300);

#[expect(clippy::disallowed_methods, reason = "an instant cannot be made otherwise")]
fn start() -> Instant {
    Instant::now()
}

fn key(address: impl Into<IpAddr>) -> ClientKey {
    ClientKeys::of(address.into(), 64).client
}

fn v4(network: u32, host: u32) -> ClientKey {
    key(std::net::Ipv4Addr::from_bits((network << 16) | host))
}

/// The `host`th /64 in the `site`th /48 of `2001:db8::/32`, or of a further /32 if there are too many.
fn v6(site: u128, host: u128) -> ClientKey {
    key(Ipv6Addr::from_bits((0x2001_0db8_u128 << 96) + (site << 80) + (host << 64)))
}

fn has_own_row(row: Row) -> bool {
    matches!(row, Row::Own(_))
}

/// Takes rows for all these clients. Returns the shared rows that were used.
fn flood(table: &mut ClientTable, clients: impl Iterator<Item = ClientKey>, now: Instant) -> usize {
    let rows = clients.map(|client| table.row(client, now)).filter(|row| !has_own_row(*row));
    rows.collect::<std::collections::HashSet<_>>().len()
}

#[test]
fn after_200_000_addresses_from_four_48s_newcomers_elsewhere_have_their_own_rows() {
    let now = start();
    let mut table = ClientTable::new(50_000, REFILL);
    let early = v6(9, 1);
    assert!(has_own_row(table.row(early, now)));
    let shared = flood(&mut table, (0..200_000).map(|n| v6(n % 4, n / 4)), now);
    assert!(shared <= usize::try_from(4 * SHARED_ROWS_OF_PREFIX).unwrap(), "{shared} shared rows");
    for n in 0..1_000 {
        let (site, elsewhere) = (v6(100 + n, 7), key(Ipv6Addr::from_bits(0x2a00_u128 << 112 | n << 80)));
        assert!(has_own_row(table.row(site, now)) && has_own_row(table.row(elsewhere, now)), "{n}");
    }
    assert_eq!(table.row(early, now), Row::Own(early));
    assert!(table.len() <= 50_000);
}

#[test]
fn after_1_000_000_addresses_from_ten_16s_newcomers_elsewhere_have_their_own_rows() {
    let now = start();
    let mut table = ClientTable::new(50_000, REFILL);
    flood(&mut table, (0..1_000_000).map(|n| v4(0x0a00 + n % 10, n / 10 % 0x1_0000)), now);
    for n in 0..1_000 {
        let (near, elsewhere) = (v4(0x0a50 + n % 50, n), v4(0xc000 + n, 7));
        assert!(has_own_row(table.row(near, now)) && has_own_row(table.row(elsewhere, now)), "{n}");
    }
    assert!(table.len() <= 50_000);
}

#[test]
fn a_flood_from_every_48_of_a_32_leaves_rows_for_clients_elsewhere() {
    let now = start();
    let mut table = ClientTable::new(50_000, REFILL);
    flood(&mut table, (0..200_000).map(|n| v6(n % 0x1_0000, n / 0x1_0000)), now);
    assert!(table.len() <= 50_000 * 64 / 65 + 1, "{} rows", table.len());
    for n in 0..500 {
        assert!(has_own_row(table.row(v6(0x2_0000 + n, 7), now)), "{n}");
    }
}

#[test]
fn a_full_table_keeps_its_clients_and_lets_others_share_rows() {
    let now = start();
    let mut table = ClientTable::new(100, REFILL);
    flood(&mut table, (0..10_000).map(|n| v4(0, n)), now);
    assert_eq!(table.len(), 50, "one /16 takes as many rows as it leaves free");
    for n in 0..10_000 {
        match table.row(v4(0, n), now) {
            Row::Own(_) => assert!(n < 50),
            Row::Shared { ipv4, number } => assert!(n >= 50 && ipv4 && number < SHARED_ROWS),
            Row::User(_) | Row::SharedByUsers(_) => panic!("no user"),
        }
    }
}

#[test]
fn a_client_without_its_own_row_always_shares_the_same_row() {
    let now = start();
    let mut table = ClientTable::new(100, REFILL);
    flood(&mut table, (0..100).map(|n| v4(0, n)), now);
    let row = table.row(v4(0, 500), now);
    assert!(!has_own_row(row));
    assert_eq!(table.row(v4(0, 500), now), row);
}

#[test]
fn rows_whose_buckets_have_refilled_are_reused() {
    let now = start();
    let mut table = ClientTable::new(100, REFILL);
    flood(&mut table, (0..50).map(|n| v4(0, n)), now);
    let later = (now + REFILL).checked_sub(Duration::from_secs(1)).unwrap();
    assert!(has_own_row(table.row(v4(0, 7), later)), "seen again");
    assert!(has_own_row(table.row(v4(0, 500), now + REFILL)));
    assert_eq!(table.len(), 2);
}

#[test]
fn a_table_of_one_row_gives_it_to_the_first_client() {
    let now = start();
    let mut table = ClientTable::new(1, REFILL);
    assert!(has_own_row(table.row(v4(1, 1), now)) && !has_own_row(table.row(v4(2, 1), now)));
}

/// The same rule over a plain list of rows.
struct Model {
    rows: Vec<(IpAddr, Instant)>,
    rows_max: usize,
    last_sweep: Option<Instant>,
}

impl Model {
    fn has_room(&self, client: IpAddr) -> bool {
        let free = self.rows_max - self.rows.len();
        let in_prefix = |bytes: usize| {
            let is_near = |(other, _): &&(IpAddr, Instant)| match (client, other) {
                (IpAddr::V4(a), IpAddr::V4(b)) => a.octets()[..bytes] == b.octets()[..bytes],
                (IpAddr::V6(a), IpAddr::V6(b)) => a.octets()[..bytes] == b.octets()[..bytes],
                _ => false,
            };
            self.rows.iter().filter(is_near).count()
        };
        let (near, far) = if client.is_ipv4() { (2, 1) } else { (6, 4) };
        in_prefix(near) < free && in_prefix(far) < 64 * free
    }

    fn sweep(&mut self, now: Instant) {
        self.rows.retain(|(_, seen)| now.duration_since(*seen) < REFILL);
        self.last_sweep = Some(now);
    }

    fn has_own_row(&mut self, client: IpAddr, now: Instant) -> bool {
        if let Some((_, seen)) = self.rows.iter_mut().find(|(known, _)| *known == client) {
            *seen = now;
            return true;
        }
        let may_sweep = self.last_sweep.is_none_or(|last| now.duration_since(last) >= Duration::from_secs(1));
        if !self.has_room(client) && may_sweep {
            self.sweep(now);
        }
        let has_room = self.has_room(client);
        if has_room {
            self.rows.push((client, now));
        }
        has_room
    }
}

fn any_client() -> impl Strategy<Value = IpAddr> {
    let v4 = (0..3_u8, 0..3_u8, 0..40_u8).prop_map(|(a, b, host)| IpAddr::from([10 + a, b, 0, host]));
    let v6 = (0..3_u16, 0..3_u16, 0..30_u16)
        .prop_map(|(a, site, host)| IpAddr::from([0x2001, a, site, host, 0, 0, 0, 0]));
    prop_oneof![v4, v6]
}

proptest! {
    #[test]
    fn the_table_decides_like_the_simple_model(
        rows_max in 1_usize..160,
        steps in prop::collection::vec((any_client(), prop_oneof![9 => 0..700_u64, 1 => 0..400_000_u64]), 0..400),
    ) {
        let mut now = start();
        let mut table = ClientTable::new(rows_max, REFILL);
        let mut model = Model { rows: Vec::new(), rows_max, last_sweep: None };
        for (client, pause) in steps {
            now += Duration::from_millis(pause);
            let row = table.row(key(client), now);
            prop_assert_eq!(has_own_row(row), model.has_own_row(client, now), "{}", client);
            prop_assert_eq!(table.len(), model.rows.len());
            prop_assert!(table.len() <= rows_max);
        }
    }
}
