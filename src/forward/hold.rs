//! The waiting room of a replica: requests that wait while nobody leads. It bounds their number, also of each client, and their wait. What
//! their bodies have in memory is bounded where they are read.

use std::time::Duration;

use parking_lot::Mutex;
use tokio::sync::watch;
use tokio::time::{Instant, timeout_at};
use turn_base::clock;
use turn_ledger::ClientKey;
use turn_limits::Held;

/// The longest wait of one request.
pub const HOLD_MAX: Duration = Duration::from_secs(8);
/// The most requests that wait.
pub const HELD_MAX: usize = 1_024;
/// The most of them that are of one client, once `HELD_BY_ANYBODY_MAX` wait in all.
pub const HELD_PER_CLIENT_MAX: usize = HELD_MAX / 16;
/// While fewer wait in all, one client may have all of these: it may be a proxy that is not in `TRUSTED_PROXIES`.
const HELD_BY_ANYBODY_MAX: usize = 2 * HELD_PER_CLIENT_MAX;
/// The most of them that are of one IPv6 /48: four of these leave places for clients elsewhere.
const HELD_PER_GROUP_MAX: usize = HELD_MAX / 5;
/// The pause before a leader that could not be reached is asked again.
const RETRY_PAUSE: Duration = Duration::from_millis(100);

/// The request may not wait, or not any longer.
#[derive(Debug)]
pub(super) struct NotHeld;

/// The places.
#[derive(Debug, Default)]
pub(super) struct Hold(Mutex<Taken>);

#[derive(Debug, Default)]
struct Taken {
    all: usize,
    by_client: Held<usize>,
}

/// One place. Dropping it frees it.
#[derive(Debug)]
struct Place<'a> {
    hold: &'a Hold,
    client: ClientKey,
}

/// The wait of one request. It begins with the first pause, and has a place from then on.
#[derive(Debug)]
pub(super) struct Wait<'a> {
    hold: &'a Hold,
    client: ClientKey,
    place: Option<Place<'a>>,
    end: Option<Instant>,
}

impl Hold {
    /// For a request of this client.
    pub(super) fn wait(&self, client: ClientKey) -> Wait<'_> {
        Wait { hold: self, client, place: None, end: None }
    }

    fn place(&self, client: ClientKey) -> Option<Place<'_>> {
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
        Some(Place { hold: self, client })
    }
}

impl Drop for Place<'_> {
    fn drop(&mut self) {
        let mut taken = self.hold.0.lock();
        taken.all -= 1;
        taken.by_client.remove(self.client);
    }
}

impl Wait<'_> {
    /// Whether it has begun.
    pub(super) fn has_begun(&self) -> bool {
        self.end.is_some()
    }

    /// Waits until `changed`. `is_known`: somebody leads and has not refused the request, so the next attempt may succeed.
    pub(super) async fn pause(
        &mut self,
        is_known: bool,
        changed: impl Future<Output = ()>,
    ) -> Result<(), NotHeld> {
        self.take_place()?;
        let until = self.until(is_known, clock::deadline(Duration::ZERO)).ok_or(NotHeld)?;
        let has_changed = timeout_at(until, changed).await.is_ok();
        if has_changed || is_known { Ok(()) } else { Err(NotHeld) }
    }

    /// Waits with a request that a leader has. While the leader is silent, the request has one of the places, for as long as any other one.
    /// Returns if there is none, or if that time is over. `begins` is called when the request is first held.
    pub(super) async fn sit_out(
        &mut self,
        is_silent: &mut watch::Receiver<bool>,
        begins: impl Fn(),
    ) -> NotHeld {
        loop {
            until(is_silent, true).await;
            if self.take_place().is_err() {
                return NotHeld;
            }
            let has_begun = self.has_begun();
            if !has_begun {
                begins();
            }
            if self.until_end(until(is_silent, false)).await.is_err() {
                return NotHeld;
            }
            // It was not a wait for a leader.
            if !has_begun {
                (self.place, self.end) = (None, None);
            }
        }
    }

    /// The result of `ready`, unless the time is over before.
    pub(super) async fn until_end<T>(&mut self, ready: impl Future<Output = T>) -> Result<T, NotHeld> {
        let end = *self.end.get_or_insert(clock::deadline(HOLD_MAX));
        timeout_at(end, ready).await.map_err(|_| NotHeld)
    }

    fn take_place(&mut self) -> Result<(), NotHeld> {
        if self.place.is_none() {
            self.place = Some(self.hold.place(self.client).ok_or(NotHeld)?);
        }
        Ok(())
    }

    /// Until when to wait at `now`. `None`: the time is over.
    fn until(&mut self, is_known: bool, now: Instant) -> Option<Instant> {
        let end = *self.end.get_or_insert(now + HOLD_MAX);
        (now < end).then(|| if is_known { end.min(now + RETRY_PAUSE) } else { end })
    }
}

/// Resolves when the leader is silent, or is so no longer.
pub(super) async fn until(is_silent: &mut watch::Receiver<bool>, value: bool) {
    if is_silent.wait_for(|is_silent| *is_silent == value).await.is_err() {
        // Nobody looks any more: the process ends, or leads.
        std::future::pending::<()>().await;
    }
}

#[cfg(test)]
mod tests {
    use std::future::{pending, ready};
    use std::pin::pin;
    use std::task::{Context, Poll, Waker};

    use super::*;

    /// One of many clients, of which no two share a network.
    fn client(n: usize) -> ClientKey {
        ClientKey::of(std::net::Ipv4Addr::from(u32::try_from(n).unwrap()).into())
    }

    /// Takes all places that are free, each for another client.
    fn take_all(hold: &Hold) -> Vec<Place<'_>> {
        (1..).map_while(|n| hold.place(client(n))).collect()
    }

    fn free(hold: &Hold) -> usize {
        take_all(hold).len()
    }

    #[test]
    fn a_request_waits_for_eight_seconds_from_its_first_pause() {
        let hold = Hold::default();
        let mut wait = hold.wait(client(0));
        let begun = clock::deadline(Duration::ZERO);
        let end = begun + HOLD_MAX;
        assert_eq!(wait.until(false, begun), Some(end));
        assert_eq!(wait.until(false, begun + HOLD_MAX / 2), Some(end));
        assert_eq!(wait.until(true, begun + HOLD_MAX / 2), Some(begun + HOLD_MAX / 2 + RETRY_PAUSE));
        assert_eq!(wait.until(true, end - RETRY_PAUSE / 2), Some(end), "asked again at the end");
        assert_eq!([false, true].map(|is_known| wait.until(is_known, end)), [None, None]);
    }

    #[tokio::test]
    async fn a_pause_ends_when_something_has_changed_or_a_leader_can_be_asked_again() {
        let hold = Hold::default();
        hold.wait(client(0)).pause(false, ready(())).await.unwrap();
        hold.wait(client(0)).pause(true, pending()).await.unwrap();
        assert_eq!(free(&hold), HELD_MAX);
    }

    #[tokio::test]
    async fn a_request_that_a_silent_leader_has_takes_a_place_until_the_leader_is_there_again() {
        let (hold, (set_silent, mut is_silent)) = (Hold::default(), watch::channel(false));
        let mut wait = hold.wait(client(0));
        {
            let mut waiting = pin!(wait.sit_out(&mut is_silent, || {}));
            let mut while_silent = |silent: bool| {
                set_silent.send_replace(silent);
                let polled = waiting.as_mut().poll(&mut Context::from_waker(Waker::noop()));
                (polled.is_pending(), HELD_MAX - free(&hold))
            };
            assert_eq!([false, true, false].map(&mut while_silent), [(true, 0), (true, 1), (true, 0)]);
        }
        assert!(!wait.has_begun(), "the next silence is another wait");
        set_silent.send_replace(true);
        let polled = pin!(wait.sit_out(&mut is_silent, || {})).poll(&mut Context::from_waker(Waker::noop()));
        assert!(polled.is_pending() && wait.has_begun());
        assert_eq!(free(&hold), HELD_MAX - 1, "it has its place until it is answered");
        wait.end = Some(clock::deadline(Duration::ZERO));
        let NotHeld = wait.sit_out(&mut is_silent, || {}).await;
        drop(wait);
        assert_eq!(free(&hold), HELD_MAX);
        let _places = take_all(&hold);
        let mut wait = hold.wait(client(0));
        let polled = pin!(wait.sit_out(&mut is_silent, || {})).poll(&mut Context::from_waker(Waker::noop()));
        assert!(matches!(polled, Poll::Ready(NotHeld)), "no place is left");
    }

    #[tokio::test]
    async fn at_the_bound_no_further_request_waits() {
        let hold = Hold::default();
        let places = take_all(&hold);
        assert!(hold.wait(client(0)).pause(false, ready(())).await.is_err());
        drop(places);
        hold.wait(client(0)).pause(false, ready(())).await.unwrap();
    }

    #[tokio::test]
    async fn a_client_has_an_eighth_of_the_places_or_a_sixteenth_if_others_wait_and_a_48_a_fifth() {
        let of = |text: &str| ClientKey::of(text.parse().unwrap());
        let hold = Hold::default();
        let fill = |client: &str| std::iter::from_fn(|| hold.place(of(client))).collect::<Vec<_>>();
        let one = fill("192.0.2.1");
        assert!(hold.wait(of("192.0.2.1")).pause(false, ready(())).await.is_err());
        let in_48: Vec<_> = (1..=5).map(|n| fill(&format!("2001:db8:0:{n}::1"))).collect();
        let counts: Vec<_> = in_48.iter().map(Vec::len).collect();
        assert_eq!((one.len(), &counts[..]), (128, &[64, 64, 64, 12, 0][..]));
        hold.wait(of("192.0.2.2")).pause(false, ready(())).await.unwrap();
        assert_eq!(free(&hold), HELD_MAX - 128 - 204);
        drop(one);
        assert_eq!(fill("192.0.2.1").len(), 64);
    }

    #[test]
    fn four_48s_leave_places_for_others() {
        let hold = Hold::default();
        let in_48s = (0..64).map(|n| ClientKey::of(format!("2001:db8:{}:{n}::1", n / 16).parse().unwrap()));
        let clients: Vec<_> = in_48s.chain((1..=3).map(client)).collect();
        let places = clients.iter().map(|client| {
            let places: Vec<_> = std::iter::from_fn(|| hold.place(*client)).collect();
            places
        });
        let counts: Vec<_> = places.collect::<Vec<_>>().iter().map(Vec::len).collect();
        assert_eq!(counts[..64].iter().sum::<usize>(), 4 * HELD_PER_GROUP_MAX);
        assert_eq!(counts[64..], [HELD_PER_CLIENT_MAX; 3]);
    }
}
