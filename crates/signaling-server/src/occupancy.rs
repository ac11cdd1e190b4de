//! How many signaling sockets are open: in all, and in each share of a [`Holder`]. A place is taken before the upgrade and freed when the
//! socket's task ends.

use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use tokio_util::task::TaskTracker;
use tokio_util::task::task_tracker::TaskTrackerToken;
use turn_base::error::ApiError;
use turn_limits::{Counts, Holder};

/// The most open signaling sockets.
pub(crate) const SIGNALING_SOCKETS_MAX: usize = 4_096;

/// The open sockets.
#[derive(Debug)]
pub(crate) struct Occupancy {
    /// The most sockets of one user, and of one IPv4 address or one IPv6 /64 without users.
    per_client_max: usize,
    open: Mutex<Counts>,
    /// The places that are taken, for whoever waits until none is.
    pub(crate) places: TaskTracker,
}

/// The place of one socket. Dropping it frees the place.
#[derive(Debug)]
pub(crate) struct Place {
    occupancy: Arc<Occupancy>,
    _taken: TaskTrackerToken,
    /// Who has taken it.
    pub(crate) holder: Holder,
}

impl Occupancy {
    /// No sockets. `per_client_max`: the most of one user, and of one IPv4 address or one IPv6 /64 without users.
    pub(crate) fn new(per_client_max: usize) -> Self {
        Self { per_client_max, open: Mutex::default(), places: TaskTracker::new() }
    }

    /// Takes a place for a holder.
    pub(crate) fn take(self: &Arc<Self>, holder: &Holder) -> Result<Place, ApiError> {
        let mut open = self.open.lock();
        if open.all() >= SIGNALING_SOCKETS_MAX {
            return Err(ApiError::overloaded());
        }
        if open.full(holder, 1, self.per_client_max).is_some() {
            return Err(ApiError::too_many(
                "Too many open connections",
                "Close sockets that have ended, or raise SIGNALING_SOCKETS_PER_CLIENT if many people without sign-in share this address.",
                Duration::from_secs(10),
            ));
        }
        open.add(holder, 1);
        Ok(Place { occupancy: Arc::clone(self), _taken: self.places.token(), holder: holder.clone() })
    }

    /// The number of open sockets.
    pub(crate) fn open(&self) -> usize {
        self.open.lock().all()
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.occupancy.open.lock().remove(&self.holder, 1);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use turn_ledger::ClientKey;

    #[test]
    fn a_client_has_so_many_places_and_all_together_4096() {
        let occupancy = Arc::new(Occupancy::new(64));
        let of = |n: u32| Holder::from(ClientKey::V4(n.into()));
        let mut places: Vec<_> = (0..64).map(|_| occupancy.take(&of(1)).unwrap()).collect();
        let code = |client| occupancy.take(&of(client)).unwrap_err().body.code;
        assert_eq!(code(1), "RATE_LIMITED");
        places.pop();
        places.push(occupancy.take(&of(1)).unwrap());
        places.extend((64..4_096).map(|n| occupancy.take(&of(n)).unwrap()));
        assert_eq!(code(9_999), "OVERLOADED");
        drop(places);
        assert!(occupancy.open.lock().is_empty() && occupancy.take(&of(9_999)).is_ok());
    }
}
