//! How many signaling sockets are open: in all, and in each share of a [`Holder`]. A place is taken before the upgrade and freed when the
//! socket's task ends. In between its user may sign in.

use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use tokio_util::task::TaskTracker;
use tokio_util::task::task_tracker::TaskTrackerToken;
use turn_base::error::ApiError;
use turn_ledger::User;
use turn_limits::{Bounds, Holder, MemoryQuota, MemoryUse};

/// The most open signaling sockets.
pub(crate) const SIGNALING_SOCKETS_MAX: usize = 4_096;

/// The open sockets.
#[derive(Debug)]
pub(crate) struct Occupancy {
    /// Each place as one.
    taken: MemoryQuota,
    /// The places that are taken. A shutdown waits until there are none.
    pub(crate) places: TaskTracker,
}

/// The place of one socket. Dropping it frees the place.
#[derive(Debug)]
pub(crate) struct Place {
    counted: Mutex<MemoryUse>,
    _taken: TaskTrackerToken,
}

impl Occupancy {
    /// No sockets. `client_max`: the most of one user, and of one IPv4 address or one IPv6 /64 without users.
    pub(crate) fn new(client_max: usize) -> Self {
        let bounds = Bounds { client_max, all_max: SIGNALING_SOCKETS_MAX };
        Self { taken: MemoryQuota::new(0, bounds), places: TaskTracker::new() }
    }

    /// Takes a place for a holder.
    pub(crate) fn take(&self, holder: &Holder) -> Result<Arc<Place>, ApiError> {
        let counted = Mutex::new(self.count(holder)?);
        Ok(Arc::new(Place { counted, _taken: self.places.token() }))
    }

    /// A user has signed in: from now on the place counts for the user. Without room there, it stays as it is.
    pub(crate) fn sign_in(&self, place: &Place, user: User) -> Result<(), ApiError> {
        let mut counted = place.counted.lock();
        counted.resize(0);
        let signed_in = Holder::new(counted.holder().client(), Some(user));
        *counted = self.count(&signed_in).inspect_err(|_| counted.resize(1))?;
        Ok(())
    }

    /// The number of open sockets.
    pub(crate) fn open(&self) -> usize {
        self.places.len()
    }

    fn count(&self, holder: &Holder) -> Result<MemoryUse, ApiError> {
        let mut counted = self.taken.open(holder);
        if counted.try_resize(1) {
            return Ok(counted);
        }
        if self.taken.largest_above(SIGNALING_SOCKETS_MAX - 1).is_some() {
            return Err(ApiError::overloaded());
        }
        Err(ApiError::too_many(
            "Too many open connections",
            "Close sockets that have ended, or raise SIGNALING_SOCKETS_PER_CLIENT if many people without sign-in share this address.",
            Duration::from_secs(10),
        ))
    }
}

impl Place {
    /// For whom it counts.
    pub(crate) fn holder(&self) -> Holder {
        self.counted.lock().holder().clone()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use turn_ledger::ClientKey;

    #[test]
    fn a_client_has_so_many_places_and_all_together_4096() {
        let occupancy = Occupancy::new(64);
        let of = |n: u32| Holder::from(ClientKey::V4(n.into()));
        let mut places: Vec<_> = (0..64).map(|_| occupancy.take(&of(1)).unwrap()).collect();
        let code = |client| occupancy.take(&of(client)).unwrap_err().body.code;
        assert_eq!(code(1), "RATE_LIMITED");
        places.pop();
        places.push(occupancy.take(&of(1)).unwrap());
        places.extend((64..4_096).map(|n| occupancy.take(&of(n)).unwrap()));
        assert_eq!(code(9_999), "OVERLOADED");
        drop(places);
        assert!(occupancy.open() == 0 && occupancy.take(&of(9_999)).is_ok());
    }

    #[test]
    fn a_place_counts_for_the_user_who_signs_in_if_the_user_has_room() {
        let occupancy = Occupancy::new(2);
        let address = Holder::from(ClientKey::V4(1.into()));
        let [ann, bob] = ["ann", "bob"].map(|name| User::new(name).unwrap());
        let mut places = vec![];
        for user in [&ann, &ann, &bob] {
            let place = occupancy.take(&address).unwrap();
            occupancy.sign_in(&place, user.clone()).unwrap();
            assert_eq!(place.holder().user(), Some(user));
            places.push(place);
        }
        let third = occupancy.take(&address).unwrap();
        assert_eq!(occupancy.sign_in(&third, ann.clone()).unwrap_err().body.code, "RATE_LIMITED");
        assert_eq!(third.holder(), address, "it stays as it was");
        assert_eq!(occupancy.sign_in(&places[0], ann), Ok(()), "once more");
        drop((places, third));
        assert_eq!((occupancy.open(), occupancy.taken.largest_above(0)), (0, None));
    }
}
