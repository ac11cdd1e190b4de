//! How many signaling sockets are open: in all, for each client address, and for each IPv6 /48. A place is taken before the
//! upgrade and freed when the socket's task ends. Only clients with open sockets have rows.

use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::Notify;
use turn_ledger::ClientKey;
use turn_limits::Held;

/// The most open signaling sockets.
pub(crate) const SIGNALING_SOCKETS_MAX: usize = 4_096;

/// The open sockets.
#[derive(Debug)]
pub(crate) struct Occupancy {
    /// The most sockets of one IPv4 address or one IPv6 /64.
    per_client_max: usize,
    table: Mutex<Table>,
    freed: Notify,
}

#[derive(Debug, Default)]
struct Table {
    open: usize,
    by_client: Held<usize>,
}

/// Why a table has no place for one more of a client: a socket, or a card for a chat.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum NoPlace {
    /// The table is full.
    Full,
    /// The address has as many as one may have.
    ClientFull,
}

/// The place of one socket. Dropping it frees the place.
#[derive(Debug)]
pub(crate) struct Place {
    occupancy: Arc<Occupancy>,
    client: ClientKey,
}

impl Occupancy {
    /// No sockets. `per_client_max`: the most of one IPv4 address or one IPv6 /64.
    pub(crate) fn new(per_client_max: usize) -> Self {
        Self { per_client_max, table: Mutex::default(), freed: Notify::new() }
    }

    /// Takes a place for a client.
    pub(crate) fn take(self: &Arc<Self>, address: IpAddr) -> Result<Place, NoPlace> {
        let client = ClientKey::of(address);
        let mut table = self.lock();
        if table.open >= SIGNALING_SOCKETS_MAX {
            return Err(NoPlace::Full);
        }
        if table.by_client.is_full(client, self.per_client_max) {
            return Err(NoPlace::ClientFull);
        }
        table.open += 1;
        table.by_client.add(client);
        Ok(Place { occupancy: Arc::clone(self), client })
    }

    /// The number of open sockets.
    pub(crate) fn open(&self) -> usize {
        self.lock().open
    }

    /// Returns once no socket is open.
    pub(crate) async fn emptied(&self) {
        loop {
            let freed = self.freed.notified();
            if self.open() == 0 {
                return;
            }
            freed.await;
        }
    }

    fn lock(&self) -> MutexGuard<'_, Table> {
        self.table.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut table = self.occupancy.lock();
        table.open -= 1;
        table.by_client.remove(self.client);
        drop(table);
        self.occupancy.freed.notify_waiters();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn address(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    #[test]
    fn an_address_has_so_many_places_and_a_48_four_times_as_many() {
        let occupancy = Arc::new(Occupancy::new(64));
        let mut places: Vec<_> = (0..64).map(|_| occupancy.take(address("192.0.2.1")).unwrap()).collect();
        assert_eq!(occupancy.take(address("192.0.2.1")).unwrap_err(), NoPlace::ClientFull);
        assert!(occupancy.take(address("192.0.2.2")).is_ok());
        places.pop();
        assert!(occupancy.take(address("192.0.2.1")).is_ok());
        let places: Vec<_> =
            (0..256).map(|n| occupancy.take(address(&format!("2001:db8:1:{n:x}::1"))).unwrap()).collect();
        assert_eq!(occupancy.take(address("2001:db8:1:ffff::1")).unwrap_err(), NoPlace::ClientFull);
        drop(places);
        assert!(occupancy.take(address("2001:db8:1:ffff::1")).is_ok());
    }

    #[test]
    fn there_are_4096_places_and_no_rows_without_sockets() {
        let occupancy = Arc::new(Occupancy::new(64));
        let of = |n: u32| IpAddr::from(std::net::Ipv4Addr::from(n));
        let places: Vec<_> = (0..4_096).map(|n| occupancy.take(of(n)).unwrap()).collect();
        assert_eq!(occupancy.take(of(9_999)).unwrap_err(), NoPlace::Full);
        drop(places);
        assert!(occupancy.open() == 0 && occupancy.lock().by_client.is_empty());
    }
}
