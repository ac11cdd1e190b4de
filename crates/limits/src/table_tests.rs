//! Tests of the table of clients: the floods that it must survive, and a comparison with a simple model.

use std::net::{IpAddr, Ipv6Addr};
use std::time::Duration;

use proptest::prelude::*;

use super::*;
use crate::prefix::Prefix;

const REFILL: Duration = Duration::from_secs(300);
const NOW: Duration = Duration::from_secs(1_000);

/// A row is used until [`REFILL`] after its client was last seen.
#[derive(Debug, Default)]
struct Seen {
    until: Duration,
}

impl Row for Seen {
    fn is_idle(&self, now: Duration) -> bool {
        self.until <= now
    }
}

type TestTable = Table<Prefix, Seen>;

/// Sees a client. Returns whether it has a row of its own.
fn see(table: &mut TestTable, client: Prefix, now: Duration) -> bool {
    let visit = table.visit(client, 1, now);
    visit.row.until = now + REFILL;
    !visit.is_shared
}

fn key(address: impl Into<IpAddr>) -> Prefix {
    Prefix::of(address.into(), 64)
}

fn v4(network: u32, host: u32) -> Prefix {
    key(std::net::Ipv4Addr::from_bits((network << 16) | host))
}

/// The `host`th /64 in the `site`th /48 of `2001:db8::/32`, or of a further /32 if there are too many.
fn v6(site: u128, host: u128) -> Prefix {
    key(Ipv6Addr::from_bits((0x2001_0db8_u128 << 96) + (site << 80) + (host << 64)))
}

fn flood(table: &mut TestTable, clients: impl Iterator<Item = Prefix>) {
    for client in clients {
        see(table, client, NOW);
    }
}

#[test]
fn after_200_000_addresses_from_four_48s_newcomers_elsewhere_have_their_own_rows() {
    let mut table = TestTable::new(50_000);
    let early = v6(9, 1);
    assert!(see(&mut table, early, NOW));
    flood(&mut table, (0..200_000).map(|n| v6(n % 4, n / 4)));
    let shared = table.shared.len();
    assert!(shared <= usize::try_from(4 * SHARED_ROWS_OF_NETWORK).unwrap(), "{shared} shared rows");
    for n in 0..1_000 {
        let (site, elsewhere) = (v6(100 + n, 7), key(Ipv6Addr::from_bits(0x2a00_u128 << 112 | n << 80)));
        assert!(see(&mut table, site, NOW) && see(&mut table, elsewhere, NOW), "{n}");
    }
    assert!(see(&mut table, early, NOW));
    assert!(table.len() <= 50_000);
}

#[test]
fn after_1_000_000_addresses_from_ten_16s_newcomers_elsewhere_have_their_own_rows() {
    let mut table = TestTable::new(50_000);
    flood(&mut table, (0..1_000_000).map(|n| v4(0x0a00 + n % 10, n / 10 % 0x1_0000)));
    for n in 0..1_000 {
        let (near, elsewhere) = (v4(0x0a50 + n % 50, n), v4(0xc000 + n, 7));
        assert!(see(&mut table, near, NOW) && see(&mut table, elsewhere, NOW), "{n}");
    }
    assert!(table.len() <= 50_000);
}

#[test]
fn a_flood_from_every_48_of_a_32_leaves_rows_for_clients_elsewhere() {
    let mut table = TestTable::new(50_000);
    flood(&mut table, (0..200_000).map(|n| v6(n % 0x1_0000, n / 0x1_0000)));
    assert!(table.len() <= 50_000 * 64 / 65 + 1, "{} rows", table.len());
    for n in 0..500 {
        assert!(see(&mut table, v6(0x2_0000 + n, 7), NOW), "{n}");
    }
}

#[test]
fn a_full_table_keeps_its_clients_and_lets_others_share_rows() {
    let mut table = TestTable::new(100);
    flood(&mut table, (0..10_000).map(|n| v4(0, n)));
    assert_eq!(table.len(), 50, "one /16 takes as many rows as it leaves free");
    for n in 0..10_000 {
        assert_eq!(see(&mut table, v4(0, n), NOW), n < 50);
    }
    assert!(table.shared.keys().all(|number| *number < SHARED_ROWS));
}

#[test]
fn a_client_without_its_own_row_always_shares_the_same_row() {
    let mut table = TestTable::new(100);
    flood(&mut table, (0..100).map(|n| v4(0, n)));
    table.shared.clear();
    for _ in 0..2 {
        assert!(!see(&mut table, v4(0, 500), NOW));
    }
    assert_eq!(table.shared.len(), 1);
}

/// The same rule over a plain list of rows.
struct Model {
    rows: Vec<(IpAddr, Duration)>,
    rows_max: usize,
    last_sweep: Option<Duration>,
}

impl Model {
    fn has_room(&self, client: IpAddr) -> bool {
        let free = self.rows_max - self.rows.len();
        let in_prefix = |bytes: usize| {
            let is_near = |(other, _): &&(IpAddr, Duration)| match (client, other) {
                (IpAddr::V4(a), IpAddr::V4(b)) => a.octets()[..bytes] == b.octets()[..bytes],
                (IpAddr::V6(a), IpAddr::V6(b)) => a.octets()[..bytes] == b.octets()[..bytes],
                _ => false,
            };
            self.rows.iter().filter(is_near).count()
        };
        let (near, far) = if client.is_ipv4() { (2, 1) } else { (6, 4) };
        in_prefix(near) < free && in_prefix(far) < 64 * free
    }

    fn sweep(&mut self, now: Duration) {
        self.rows.retain(|(_, seen)| now.saturating_sub(*seen) < REFILL);
        self.last_sweep = Some(now);
    }

    fn has_own_row(&mut self, client: IpAddr, now: Duration) -> bool {
        if let Some((_, seen)) = self.rows.iter_mut().find(|(known, _)| *known == client) {
            *seen = now;
            return true;
        }
        let may_sweep = self.last_sweep.is_none_or(|last| now.saturating_sub(last) >= Duration::from_secs(1));
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
        let mut now = NOW;
        let mut table = TestTable::new(rows_max);
        let mut model = Model { rows: Vec::new(), rows_max, last_sweep: None };
        for (client, pause) in steps {
            now += Duration::from_millis(pause);
            let has_own_row = see(&mut table, key(client), now);
            prop_assert_eq!(has_own_row, model.has_own_row(client, now), "{}", client);
            prop_assert_eq!(table.len(), model.rows.len());
            prop_assert!(table.len() <= rows_max);
        }
    }
}
