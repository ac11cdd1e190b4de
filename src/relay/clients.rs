//! The clients that have an allocation, by address: whose each is, its leg, and how many requests it may still make. A row
//! is there for as long as the TURN library has the allocation, give or take a second; data of a client without a row
//! goes nowhere. Bounded by the allocations.

use std::collections::{HashMap, HashSet};
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use super::auth::Username;
use super::legs::ClientLeg;
use crate::budget::grant::GrantId;

/// Requests at once; data is none.
const REQUESTS_BURST: u32 = 64;
/// Then one in this time. Each permission and channel of a client is a timer for minutes: this is what bounds them.
const REQUEST_INTERVAL: Duration = Duration::from_secs(1);

/// One client address.
pub(super) struct Client {
    /// Its user name as it was sent.
    pub(super) name: String,
    /// What that says.
    pub(super) user: Username,
    pub(super) leg: Arc<ClientLeg>,
    pub(super) pace: Pace,
}

/// See the module's invariant.
#[derive(Default)]
pub(super) struct Clients(Mutex<HashMap<SocketAddr, Client>>);

impl Clients {
    fn lock(&self) -> MutexGuard<'_, HashMap<SocketAddr, Client>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn insert(&self, address: SocketAddr, client: Client) {
        self.lock().insert(address, client);
    }

    pub(super) fn remove(&self, address: SocketAddr) -> Option<Client> {
        self.lock().remove(&address)
    }

    pub(super) fn leg(&self, address: SocketAddr) -> Option<Arc<ClientLeg>> {
        self.lock().get(&address).map(|client| Arc::clone(&client.leg))
    }

    /// Whether one more request of this client may be handled.
    pub(super) fn admits_request(&self, address: SocketAddr, now: Instant) -> bool {
        self.lock().get_mut(&address).is_none_or(|client| client.pace.take(now))
    }

    /// Whether this address has its allocation under this user name.
    pub(super) fn has(&self, address: SocketAddr, name: &str) -> bool {
        self.lock().get(&address).is_some_and(|client| client.name == name)
    }

    /// Allocations of one grant.
    pub(super) fn of_grant(&self, grant: GrantId) -> usize {
        self.lock().values().filter(|client| client.user.grant == grant).count()
    }

    /// Allocations in all.
    pub(super) fn len(&self) -> usize {
        self.lock().len()
    }

    /// The user names that have allocations.
    pub(super) fn users(&self) -> HashMap<String, Username> {
        self.lock().values().map(|client| (client.name.clone(), client.user)).collect()
    }

    /// Takes out the rows of a user name.
    pub(super) fn take_of(&self, name: &str) -> Vec<Client> {
        self.lock().extract_if(|_, client| client.name == name).map(|(_, client)| client).collect()
    }

    /// Takes out the rows of addresses that are not among these.
    pub(super) fn take_without(&self, there: &HashSet<SocketAddr>) -> Vec<Client> {
        self.lock().extract_if(|address, _| !there.contains(address)).map(|(_, client)| client).collect()
    }
}

/// A bucket of requests: when it would be full again is all that it holds. Pure.
#[derive(Clone, Copy, Debug)]
pub(super) struct Pace {
    full_at: Instant,
}

impl Pace {
    /// A full one.
    pub(super) fn new(now: Instant) -> Self {
        Self { full_at: now }
    }

    /// Takes one out, if there is one.
    pub(super) fn take(&mut self, now: Instant) -> bool {
        let full_at = self.full_at.max(now) + REQUEST_INTERVAL;
        let is_there = full_at.saturating_duration_since(now) <= REQUEST_INTERVAL * REQUESTS_BURST;
        if is_there {
            self.full_at = full_at;
        }
        is_there
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    #[expect(clippy::disallowed_methods, reason = "an instant cannot be made otherwise")]
    fn a_client_makes_so_many_requests_at_once_and_then_one_a_second() {
        let start = Instant::now();
        let mut pace = Pace::new(start);
        for _ in 0..REQUESTS_BURST {
            assert!(pace.take(start));
        }
        assert!(!pace.take(start));
        assert!(!pace.take(start + Duration::from_millis(999)));
        assert!(pace.take(start + REQUEST_INTERVAL) && !pace.take(start + REQUEST_INTERVAL));
        let later = start + Duration::from_secs(3_600);
        assert_eq!((0..200).filter(|_| pace.take(later)).count(), 64, "no more than a full one");
    }
}
