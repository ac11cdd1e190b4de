//! The rows of all clients. IPv4, IPv6 and the wide IPv6 prefixes have separate tables, so none of them takes rows from
//! another.

use std::net::IpAddr;
use std::time::{Duration, Instant};

use super::client::{ClientKeys, WIDE_FACTOR};
use super::table::{ClientTable, Row};

/// The tables of clients.
#[derive(Debug)]
pub struct Clients {
    ipv4: ClientTable,
    ipv6: ClientTable,
    wide: ClientTable,
    ipv6_prefix: u8,
}

/// The rows that one request counts in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rows {
    /// The row of the client.
    pub client: Row,
    /// The row of the wide prefix around it.
    pub wide: Option<Row>,
}

impl Rows {
    /// Each row, and how many times a client's allowance it has.
    pub fn each(self) -> impl Iterator<Item = (Row, u32)> {
        std::iter::once((self.client, 1)).chain(self.wide.map(|wide| (wide, WIDE_FACTOR)))
    }

    /// Whether the client shares a row with others.
    #[must_use]
    pub fn is_shared(self) -> bool {
        self.each().any(|(row, _)| row.is_shared())
    }
}

impl Clients {
    /// Empty tables. Each of the three has half of `rows_max` rows.
    #[must_use]
    pub fn new(rows_max: usize, refill: Duration, ipv6_prefix: u8) -> Self {
        let table = || ClientTable::new(rows_max.div_ceil(2), refill);
        Self { ipv4: table(), ipv6: table(), wide: table(), ipv6_prefix }
    }

    /// The rows of the client at `address`, seen now.
    pub fn rows(&mut self, address: IpAddr, now: Instant) -> Rows {
        let keys = ClientKeys::of(address, self.ipv6_prefix);
        let own = if keys.client.is_ipv4() { &mut self.ipv4 } else { &mut self.ipv6 };
        Rows { client: own.row(keys.client, now), wide: keys.wide.map(|wide| self.wide.row(wide, now)) }
    }

    /// Removes clients whose buckets have refilled.
    pub fn sweep(&mut self, now: Instant) {
        for table in [&mut self.ipv4, &mut self.ipv6, &mut self.wide] {
            table.sweep(now);
        }
    }

    /// Number of clients with a row of their own.
    #[must_use]
    pub fn len(&self) -> usize {
        self.ipv4.len() + self.ipv6.len()
    }

    /// Whether no client has a row of its own.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}
