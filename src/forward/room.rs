//! The places of all requests that wait for the leader, whatever it does: for one that is not there yet, or for its response. Their number
//! is bounded, also that of each client. What their bodies have in memory is bounded where they are read.

use parking_lot::Mutex;
use turn_ledger::ClientKey;
use turn_limits::Held;

/// The most requests that wait.
const HELD_MAX: usize = 1_024;
/// The most of them that are of one client, once `HELD_BY_ANYBODY_MAX` wait in all.
pub const HELD_PER_CLIENT_MAX: usize = HELD_MAX / 16;
/// While fewer wait in all, one client may have all of these: it may be a proxy that is not in `TRUSTED_PROXIES`.
const HELD_BY_ANYBODY_MAX: usize = 2 * HELD_PER_CLIENT_MAX;
/// The most of them that are of one IPv6 /48: four of these leave places for clients elsewhere.
const HELD_PER_GROUP_MAX: usize = HELD_MAX / 5;

/// The places.
#[derive(Debug, Default)]
pub(super) struct Room(Mutex<Taken>);

#[derive(Debug, Default)]
struct Taken {
    all: usize,
    by_client: Held<usize>,
}

/// One place. Dropping it frees it.
#[derive(Debug)]
pub(super) struct Place<'a> {
    room: &'a Room,
    client: ClientKey,
}

impl Room {
    /// A place for a request of this client; `None` if there is none.
    pub(super) fn enter(&self, client: ClientKey) -> Option<Place<'_>> {
        let is_full = |count: &usize, times_one_client: usize| {
            *count >= if times_one_client == 1 { HELD_PER_CLIENT_MAX } else { HELD_PER_GROUP_MAX }
        };
        let mut taken = self.0.lock();
        let is_over = || taken.by_client.full(client, is_full).is_some();
        if taken.all >= HELD_MAX || (taken.all >= HELD_BY_ANYBODY_MAX && is_over()) {
            return None;
        }
        taken.all += 1;
        taken.by_client.add(client);
        Some(Place { room: self, client })
    }
}

impl Drop for Place<'_> {
    fn drop(&mut self) {
        let mut taken = self.room.0.lock();
        taken.all -= 1;
        taken.by_client.remove(self.client);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// One of many clients, of which no two share a network.
    fn client(n: usize) -> ClientKey {
        ClientKey::of(std::net::Ipv4Addr::from(u32::try_from(n).unwrap()).into())
    }

    /// Takes all places that are free, each for another client.
    fn take_all(room: &Room) -> Vec<Place<'_>> {
        (1..).map_while(|n| room.enter(client(n))).collect()
    }

    /// Takes all places that a client may have.
    fn fill(room: &Room, client: ClientKey) -> Vec<Place<'_>> {
        std::iter::from_fn(|| room.enter(client)).collect()
    }

    #[test]
    fn at_the_bound_no_further_request_waits() {
        let room = Room::default();
        let places = take_all(&room);
        assert_eq!(places.len(), HELD_MAX);
        assert!(room.enter(client(0)).is_none());
        drop(places);
        assert_eq!(take_all(&room).len(), HELD_MAX);
    }

    #[test]
    fn a_client_has_an_eighth_of_the_places_or_a_sixteenth_if_others_wait_and_a_48_a_fifth() {
        let of = |text: &str| ClientKey::of(text.parse().unwrap());
        let room = Room::default();
        let one = fill(&room, of("192.0.2.1"));
        let in_48: Vec<_> = (1..=5).map(|n| fill(&room, of(&format!("2001:db8:0:{n}::1")))).collect();
        let counts: Vec<_> = in_48.iter().map(Vec::len).collect();
        assert_eq!((one.len(), &counts[..]), (128, &[64, 64, 64, 12, 0][..]));
        assert_eq!(take_all(&room).len(), HELD_MAX - 128 - 204);
        drop(one);
        assert_eq!(fill(&room, of("192.0.2.1")).len(), 64);
    }

    #[test]
    fn four_48s_leave_places_for_others() {
        let room = Room::default();
        let in_48s = (0..64).map(|n| ClientKey::of(format!("2001:db8:{}:{n}::1", n / 16).parse().unwrap()));
        let places: Vec<_> = in_48s.chain((1..=3).map(client)).map(|client| fill(&room, client)).collect();
        let counts: Vec<_> = places.iter().map(Vec::len).collect();
        assert_eq!(counts[..64].iter().sum::<usize>(), 4 * HELD_PER_GROUP_MAX);
        assert_eq!(counts[64..], [HELD_PER_CLIENT_MAX; 3]);
    }
}
