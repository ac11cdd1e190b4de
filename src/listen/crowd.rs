//! The places of open sockets. While half of them are taken, the sockets are crowded, and an idle connection ends sooner. Every
//! connection is woken when that begins, so one that is idle already ends sooner too.

use std::convert::Infallible;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use tokio::sync::{Notify, OwnedSemaphorePermit, Semaphore};

/// The places of all sockets.
pub(super) struct Crowd {
    /// Taken before a socket is accepted.
    places: Arc<Semaphore>,
    /// From how many open sockets on they are crowded.
    from: usize,
    open: AtomicUsize,
    begins: Notify,
}

/// The place of one open socket. Dropping it frees the place.
pub(super) struct Place {
    crowd: Arc<Crowd>,
    _permit: OwnedSemaphorePermit,
}

impl Crowd {
    /// Places for at most `max` sockets.
    pub(super) fn new(max: usize) -> Arc<Self> {
        let places = Arc::new(Semaphore::new(max));
        Arc::new(Self { places, from: max / 2, open: AtomicUsize::new(0), begins: Notify::new() })
    }

    /// Waits for a free place, for the next socket. `None`: no socket is accepted any more.
    pub(super) async fn reserve(&self) -> Option<OwnedSemaphorePermit> {
        Arc::clone(&self.places).acquire_owned().await.ok()
    }

    /// A socket is open.
    pub(super) fn take(self: &Arc<Self>, permit: OwnedSemaphorePermit) -> Place {
        // Exactly one socket makes the crowd begin, each time that it does.
        if self.open.fetch_add(1, Ordering::SeqCst) + 1 == self.from {
            self.begins.notify_waiters();
        }
        Place { crowd: Arc::clone(self), _permit: permit }
    }

    /// The open sockets.
    pub(super) fn open(&self) -> usize {
        self.open.load(Ordering::SeqCst)
    }

    /// Whether half of the places are taken.
    pub(super) fn is_crowded(&self) -> bool {
        self.open() >= self.from
    }

    /// Never ends, but runs its task whenever the crowd begins. The task then polls its socket, whose deadline is sooner.
    pub(super) async fn wake(&self) -> Infallible {
        loop {
            self.begins.notified().await;
        }
    }
}

impl Place {
    /// The places of all sockets.
    pub(super) fn crowd(&self) -> &Arc<Crowd> {
        &self.crowd
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.crowd.open.fetch_sub(1, Ordering::SeqCst);
    }
}

#[cfg(test)]
mod tests {
    use std::pin::pin;
    use std::sync::atomic::AtomicU32;
    use std::task::{Context, Wake, Waker};

    use super::*;

    #[derive(Default)]
    struct Woken(AtomicU32);

    impl Wake for Woken {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, Ordering::SeqCst);
        }
    }

    async fn open(crowd: &Arc<Crowd>) -> Place {
        let permit = crowd.reserve().await.unwrap();
        crowd.take(permit)
    }

    #[tokio::test]
    async fn every_connection_is_woken_each_time_that_the_crowd_begins() {
        let (crowd, woken) = (Crowd::new(4), Arc::new(Woken::default()));
        let waker = Waker::from(Arc::clone(&woken));
        let mut wake = pin!(crowd.wake());
        let mut poll = || {
            assert!(wake.as_mut().poll(&mut Context::from_waker(&waker)).is_pending());
            woken.0.load(Ordering::SeqCst)
        };
        let _first = open(&crowd).await;
        assert_eq!((poll(), crowd.is_crowded()), (0, false));
        for times in 1..=3 {
            let _second = open(&crowd).await;
            let _third = open(&crowd).await;
            assert_eq!((poll(), crowd.is_crowded(), crowd.open()), (times, true, 3));
        }
        assert_eq!((poll(), crowd.is_crowded(), crowd.open()), (3, false, 1));
    }
}
