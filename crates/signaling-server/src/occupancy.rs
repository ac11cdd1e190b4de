//! How many signaling sockets are open: in all, and in each share of a [`Holder`]. A place is taken before the upgrade and freed when the
//! socket's task ends. In between its user may sign in.

use tokio_util::task::TaskTracker;
use tokio_util::task::task_tracker::TaskTrackerToken;
use turn_limits::{Bounds, Counts};

use super::prelude::*;

/// The most open signaling sockets.
pub(crate) const SIGNALING_SOCKETS_MAX: usize = 4_096;

/// The open sockets.
#[derive(Debug)]
pub(crate) struct Occupancy {
    /// The most sockets of one user, and of one IPv4 address or one IPv6 /64 without users.
    per_client_max: usize,
    open: Mutex<Counts>,
    /// The places that are taken. A shutdown waits until there are none.
    pub(crate) places: TaskTracker,
}

/// The place of one socket. Dropping it frees the place.
#[derive(Debug)]
pub(crate) struct Place {
    occupancy: Arc<Occupancy>,
    _taken: TaskTrackerToken,
    holder: Mutex<Holder>,
}

impl Occupancy {
    /// No sockets. `per_client_max`: the most of one user, and of one IPv4 address or one IPv6 /64 without users.
    pub(crate) fn new(per_client_max: usize) -> Self {
        Self { per_client_max, open: Mutex::default(), places: TaskTracker::new() }
    }

    pub(crate) fn take(self: &Arc<Self>, holder: &Holder) -> Result<Arc<Place>, ApiError> {
        self.add(&mut self.open.lock(), holder)?;
        let (occupancy, holder) = (Arc::clone(self), Mutex::new(holder.clone()));
        Ok(Arc::new(Place { occupancy, _taken: self.places.token(), holder }))
    }

    fn add(&self, open: &mut Counts, holder: &Holder) -> Result<(), ApiError> {
        if open.all() >= SIGNALING_SOCKETS_MAX {
            return Err(ApiError::overloaded());
        }
        let bounds = Bounds { client_max: self.per_client_max, all_max: SIGNALING_SOCKETS_MAX };
        if open.full(holder, 1, bounds).is_some() {
            return Err(ApiError::too_many(
                "Too many open connections",
                "Close sockets that have ended, or raise SIGNALING_SOCKETS_PER_CLIENT if many people without sign-in share this address.",
                Duration::from_secs(10),
            ));
        }
        open.add(holder, 1);
        Ok(())
    }

    /// The number of open sockets.
    pub(crate) fn open(&self) -> usize {
        self.open.lock().all()
    }
}

impl Place {
    /// For whom it counts.
    pub(crate) fn holder(&self) -> Holder {
        self.holder.lock().clone()
    }

    /// A user has signed in: from now on the place counts for the user. If the user has as many as allowed, nothing changes.
    pub(crate) fn sign_in(&self, user: User) -> Result<(), ApiError> {
        let (mut holder, mut open) = (self.holder.lock(), self.occupancy.open.lock());
        let signed_in = Holder::new(holder.client(), Some(user));
        open.remove(&holder, 1);
        let added = self.occupancy.add(&mut open, &signed_in);
        match added {
            Ok(()) => *holder = signed_in,
            Err(_) => open.add(&holder, 1),
        }
        added
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.occupancy.open.lock().remove(self.holder.get_mut(), 1);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use turn_budget::ClientKey;

    #[test]
    fn a_client_has_a_number_of_places_and_all_clients_together_have_4096() {
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

    #[test]
    fn a_place_counts_for_the_user_who_signs_in_if_the_user_has_room() {
        let occupancy = Arc::new(Occupancy::new(2));
        let address = Holder::from(ClientKey::V4(1.into()));
        let [ann, bob] = ["ann", "bob"].map(|name| User::new(name).unwrap());
        let mut places = vec![];
        for user in [&ann, &ann, &bob] {
            let place = occupancy.take(&address).unwrap();
            place.sign_in(user.clone()).unwrap();
            assert_eq!(place.holder().user(), Some(user));
            places.push(place);
        }
        let third = occupancy.take(&address).unwrap();
        assert_eq!(third.sign_in(ann.clone()).unwrap_err().body.code, "RATE_LIMITED");
        assert_eq!(third.holder(), address, "it stays as it was");
        assert_eq!(places[0].sign_in(ann), Ok(()), "once more");
        drop((places, third));
        assert!(occupancy.open.lock().is_empty());
    }
}
