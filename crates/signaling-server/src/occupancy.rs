//! How many signaling sockets are open: in all, for each client address, each IPv6 /48 and each user. The sockets of users count for the
//! user, and for the address apart from its others, [`USERS_FACTOR`] times as many. A place is taken before the upgrade and freed when the
//! socket's task ends. Only clients with open sockets have rows.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::Notify;
use turn_ledger::{ClientKey, USERS_FACTOR, User};
use turn_limits::Held;

/// The most open signaling sockets.
pub(crate) const SIGNALING_SOCKETS_MAX: usize = 4_096;

/// The open sockets.
#[derive(Debug)]
pub(crate) struct Occupancy {
    /// The most sockets of one user, and of one IPv4 address or one IPv6 /64 without users.
    per_client_max: usize,
    table: Mutex<Table>,
    freed: Notify,
}

#[derive(Debug, Default)]
struct Table {
    open: usize,
    by_client: Held<usize>,
    /// Those of users.
    by_client_of_users: Held<usize>,
    by_user: BTreeMap<User, usize>,
}

/// Why a table has no place for one more of a client: a socket, or a card for a chat.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum NoPlace {
    /// The table is full.
    Full,
    /// The address or the user has as many as one may have.
    ClientFull,
}

/// The place of one socket. Dropping it frees the place.
#[derive(Debug)]
pub(crate) struct Place {
    occupancy: Arc<Occupancy>,
    client: ClientKey,
    user: Option<User>,
}

impl Occupancy {
    /// No sockets. `per_client_max`: the most of one user, and of one IPv4 address or one IPv6 /64 without users.
    pub(crate) fn new(per_client_max: usize) -> Self {
        Self { per_client_max, table: Mutex::default(), freed: Notify::new() }
    }

    /// Takes a place for a client.
    pub(crate) fn take(self: &Arc<Self>, address: IpAddr, user: Option<&User>) -> Result<Place, NoPlace> {
        let client = ClientKey::of(address);
        let mut table = self.lock();
        if table.open >= SIGNALING_SOCKETS_MAX {
            return Err(NoPlace::Full);
        }
        if table.is_full(client, user, self.per_client_max) {
            return Err(NoPlace::ClientFull);
        }
        table.open += 1;
        table.of_client(user).add(client);
        if let Some(user) = user {
            *table.by_user.entry(user.clone()).or_default() += 1;
        }
        Ok(Place { occupancy: Arc::clone(self), client, user: user.cloned() })
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

impl Table {
    fn is_full(&self, client: ClientKey, user: Option<&User>, max: usize) -> bool {
        let Some(user) = user else { return self.by_client.is_full(client, max) };
        let of_users = max.saturating_mul(usize::try_from(USERS_FACTOR).unwrap_or(usize::MAX));
        self.by_client_of_users.is_full(client, of_users)
            || self.by_user.get(user).is_some_and(|open| *open >= max)
    }

    fn of_client(&mut self, user: Option<&User>) -> &mut Held<usize> {
        if user.is_some() { &mut self.by_client_of_users } else { &mut self.by_client }
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut table = self.occupancy.lock();
        table.open -= 1;
        table.of_client(self.user.as_ref()).remove(self.client);
        if let Some(user) = self.user.take()
            && let Entry::Occupied(mut of_user) = table.by_user.entry(user)
        {
            *of_user.get_mut() -= 1;
            if *of_user.get() == 0 {
                of_user.remove();
            }
        }
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
        let mut places: Vec<_> =
            (0..64).map(|_| occupancy.take(address("192.0.2.1"), None).unwrap()).collect();
        assert_eq!(occupancy.take(address("192.0.2.1"), None).unwrap_err(), NoPlace::ClientFull);
        assert!(occupancy.take(address("192.0.2.2"), None).is_ok());
        places.pop();
        assert!(occupancy.take(address("192.0.2.1"), None).is_ok());
        let places: Vec<_> = (0..256)
            .map(|n| occupancy.take(address(&format!("2001:db8:1:{n:x}::1")), None).unwrap())
            .collect();
        assert_eq!(occupancy.take(address("2001:db8:1:ffff::1"), None).unwrap_err(), NoPlace::ClientFull);
        drop(places);
        assert!(occupancy.take(address("2001:db8:1:ffff::1"), None).is_ok());
    }

    #[test]
    fn a_user_has_as_many_as_an_address_and_the_users_of_an_address_ten_times_as_many() {
        let occupancy = Arc::new(Occupancy::new(64));
        let here = address("192.0.2.1");
        let take = |address, name: &str| occupancy.take(address, Some(&User::new(name).unwrap()));
        let alone: Vec<_> =
            (0..64).map(|n| take(address(&format!("198.51.100.{n}")), "maria").unwrap()).collect();
        assert_eq!(take(here, "maria").unwrap_err(), NoPlace::ClientFull, "at any address");
        let users: Vec<_> = (0..640).map(|n| take(here, &format!("user {n}")).unwrap()).collect();
        assert_eq!(take(here, "one more").unwrap_err(), NoPlace::ClientFull);
        let anonymous: Vec<_> = (0..64).map(|_| occupancy.take(here, None).unwrap()).collect();
        assert_eq!(
            occupancy.take(here, None).unwrap_err(),
            NoPlace::ClientFull,
            "users take no place of others"
        );
        drop((alone, users, anonymous));
        assert!(occupancy.open() == 0 && occupancy.lock().by_user.is_empty());
        assert!(occupancy.lock().by_client_of_users.is_empty());
    }

    #[test]
    fn there_are_4096_places_and_no_rows_without_sockets() {
        let occupancy = Arc::new(Occupancy::new(64));
        let of = |n: u32| IpAddr::from(std::net::Ipv4Addr::from(n));
        let places: Vec<_> = (0..4_096).map(|n| occupancy.take(of(n), None).unwrap()).collect();
        assert_eq!(occupancy.take(of(9_999), None).unwrap_err(), NoPlace::Full);
        drop(places);
        assert!(occupancy.open() == 0 && occupancy.lock().by_client.is_empty());
    }
}
