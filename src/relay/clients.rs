//! The clients that have an allocation, by address: whose each is, its leg, and how many requests it may still make. A row
//! is there for as long as the TURN library has the allocation, give or take a second; data of a client without a row
//! goes nowhere. Bounded by the allocations.

use std::collections::{HashMap, HashSet};
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use super::auth::Username;
use super::legs::ClientLeg;
use turn_ledger::token::GrantId;

/// Requests of one client; data is none. Each permission and channel is a timer for minutes: this is what bounds them.
pub(super) const REQUESTS: Rate = Rate { burst: 64, interval: Duration::from_secs(1) };
/// New allocations of all clients. Each can leave a timer behind for half a minute: this is what bounds those.
pub(super) const ALLOCATIONS: Rate = Rate { burst: 256, interval: Duration::from_millis(100) };

/// Requests of all addresses without an allocation. A sender's address may be forged, and an answer has four times the bytes
/// of a bare request: this is what bounds how much of that goes to somebody who never asked.
pub(super) const STRANGERS: Rate = Rate { burst: 512, interval: Duration::from_millis(10) };

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

/// So many at once, then one in each interval.
#[derive(Clone, Copy, Debug)]
pub(super) struct Rate {
    burst: u32,
    interval: Duration,
}

/// A bucket: when it would be full again is all that it holds. Pure.
#[derive(Clone, Copy, Debug)]
pub(super) struct Pace {
    rate: Rate,
    full_at: Instant,
}

impl Pace {
    /// A full one.
    pub(super) fn new(rate: Rate, now: Instant) -> Self {
        Self { rate, full_at: now }
    }

    /// Whether there is one to take.
    pub(super) fn has_one(&self, now: Instant) -> bool {
        let full_at = self.full_at.max(now) + self.rate.interval;
        full_at.saturating_duration_since(now) <= self.rate.interval * self.rate.burst
    }

    /// Takes one out, if there is one.
    pub(super) fn take(&mut self, now: Instant) -> bool {
        let has_one = self.has_one(now);
        if has_one {
            self.full_at = self.full_at.max(now) + self.rate.interval;
        }
        has_one
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    #[expect(clippy::disallowed_methods, reason = "an instant cannot be made otherwise")]
    fn a_client_makes_so_many_requests_at_once_and_then_one_a_second() {
        let start = Instant::now();
        let mut pace = Pace::new(REQUESTS, start);
        for _ in 0..REQUESTS.burst {
            assert!(pace.take(start));
        }
        assert!(!pace.take(start));
        assert!(!pace.take(start + Duration::from_millis(999)));
        let second = start + REQUESTS.interval;
        assert!(pace.has_one(second) && pace.has_one(second), "to look takes none");
        assert!(pace.take(second) && !pace.take(second));
        let later = start + Duration::from_secs(3_600);
        assert_eq!((0..200).filter(|_| pace.take(later)).count(), 64, "no more than a full one");
    }
}
