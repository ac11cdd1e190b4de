//! The frames that wait for one socket. Their number and their bytes are bounded, and so are the bytes of all sockets of a client and of
//! all clients. The protocol puts frames in without waiting. A client that reads too slowly loses what still waits, and gets a close
//! frame instead. After a close frame nothing is accepted.

use std::collections::VecDeque;
use std::sync::{Mutex, MutexGuard, PoisonError};

use tokio::sync::Notify;
use turn_limits::MemoryUse;
use turn_signaling::protocol::{Closing, Limits, Text};

/// A frame to send.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Frame {
    /// A text frame.
    Text(Text),
    /// A control ping.
    Ping,
    /// The last frame.
    Close(Closing),
}

/// The queue of one socket.
#[derive(Debug)]
pub struct Outbox {
    queue: Mutex<Queue>,
    changed: Notify,
    limits: Limits,
}

#[derive(Debug)]
struct Queue {
    frames: VecDeque<Frame>,
    /// Their bytes.
    kept: MemoryUse,
    is_closed: bool,
}

impl Outbox {
    /// An empty queue. `kept` counts its bytes.
    pub fn new(limits: Limits, kept: MemoryUse) -> Self {
        let queue = Queue { frames: VecDeque::new(), kept, is_closed: false };
        Self { queue: Mutex::new(queue), changed: Notify::new(), limits }
    }

    /// Adds a frame. `false` if the queue was full: then the close frame for slow clients has taken the place of all frames.
    pub fn push(&self, frame: Frame) -> bool {
        let mut queue = self.lock();
        if queue.is_closed {
            return true;
        }
        let is_close = matches!(frame, Frame::Close(_));
        let is_added = queue.try_reserve(&frame, &self.limits) || is_close;
        if is_added {
            queue.frames.push_back(frame);
        } else {
            queue.frames = [Frame::Close(self.limits.too_slow)].into();
            queue.kept.shrink_to(0);
        }
        queue.is_closed = is_close || !is_added;
        drop(queue);
        self.changed.notify_one();
        is_added
    }

    /// The next frame, as soon as there is one. Dropping this future loses no frame.
    pub async fn next(&self) -> Frame {
        loop {
            if let Some(frame) = self.pop() {
                return frame;
            }
            self.changed.notified().await;
        }
    }

    fn pop(&self) -> Option<Frame> {
        let mut queue = self.lock();
        let frame = queue.frames.pop_front()?;
        let kept = queue.kept.bytes().saturating_sub(frame.bytes());
        queue.kept.shrink_to(kept);
        if queue.frames.is_empty() {
            // An idle socket keeps no buffer.
            queue.frames = VecDeque::new();
        }
        Some(frame)
    }

    fn lock(&self) -> MutexGuard<'_, Queue> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Queue {
    /// Reserves the bytes of one more frame. Returns `false` if there is no room.
    fn try_reserve(&mut self, frame: &Frame, limits: &Limits) -> bool {
        let bytes = self.kept.bytes() + frame.bytes();
        self.frames.len() < limits.queued_frames_max
            && bytes <= limits.queued_bytes_max
            && self.kept.try_resize(bytes)
    }
}

impl Frame {
    /// The bytes of its content that are kept until it is sent.
    fn bytes(&self) -> usize {
        match self {
            Self::Text(text) => text.len(),
            Self::Ping | Self::Close(_) => 0,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use turn_limits::MemoryQuota;

    use crate::signal::backlog::{OWN_BYTES, backlog, testing};

    const TOO_SLOW: Closing = Closing::normal("too slow");

    fn outbox() -> Outbox {
        outbox_in(&backlog())
    }

    fn outbox_in(backlog: &MemoryQuota) -> Outbox {
        let limits =
            Limits { frame_max: 100, queued_frames_max: 3, queued_bytes_max: 10, too_slow: TOO_SLOW };
        Outbox::new(limits, backlog.open(testing::CLIENT))
    }

    /// An outbox with room for much more than its own bytes.
    fn wide(backlog: &MemoryQuota) -> Outbox {
        let limits = Limits {
            frame_max: OWN_BYTES,
            queued_frames_max: 10,
            queued_bytes_max: 4 * OWN_BYTES,
            too_slow: TOO_SLOW,
        };
        Outbox::new(limits, backlog.open(testing::CLIENT))
    }

    fn own() -> Frame {
        Frame::Text("x".repeat(OWN_BYTES).into())
    }

    #[test]
    fn all_sockets_together_have_a_bound_and_what_is_sent_or_dropped_no_longer_counts() {
        let backlog = backlog();
        let _others = testing::fill(&backlog, OWN_BYTES);
        let (a, b) = (wide(&backlog), wide(&backlog));
        assert!(a.push(own()) && a.push(text("x")) && b.push(own()));
        let rest = Frame::Text("x".repeat(OWN_BYTES - 1).into());
        assert!(a.push(rest), "to the last byte");
        assert!(!b.push(text("x")), "the one that would get more gives way");
        let c = wide(&backlog);
        assert!(c.push(own()) && !c.push(text("x")));
        assert_eq!(drain(&a).len(), 3);
        assert!(a.push(own()) && a.push(own()), "what is sent no longer counts");
        drop(a);
        let d = wide(&backlog);
        assert!(d.push(own()) && d.push(own()), "what is dropped no longer counts");
    }

    #[test]
    fn clients_that_do_not_read_cost_nobody_else_a_socket() {
        let backlog = backlog();
        let _others = testing::fill(&backlog, 0);
        let other = wide(&backlog);
        for _ in 0..100 {
            assert!(other.push(own()));
            assert_eq!(drain(&other).len(), 1);
        }
    }

    fn text(text: &'static str) -> Frame {
        Frame::Text(text.into())
    }

    fn drain(outbox: &Outbox) -> Vec<Frame> {
        std::iter::from_fn(|| outbox.pop()).collect()
    }

    #[test]
    fn frames_keep_their_order_and_nothing_follows_a_close() {
        let outbox = outbox();
        assert!(outbox.push(text("a")) && outbox.push(Frame::Ping));
        assert!(outbox.push(Frame::Close(Closing::DRAIN)));
        assert!(outbox.push(text("b")), "ignored");
        assert_eq!(drain(&outbox), [text("a"), Frame::Ping, Frame::Close(Closing::DRAIN)]);
    }

    #[test]
    fn a_slow_client_gets_a_close_frame_in_place_of_what_waits() {
        for [first, second, third, fourth] in [["a", "b", "c", "d"], ["12345", "1234", "1", "2"]] {
            let outbox = outbox();
            for frame in [first, second, third] {
                assert!(outbox.push(text(frame)));
            }
            assert!(!outbox.push(text(fourth)));
            assert_eq!(drain(&outbox), [Frame::Close(TOO_SLOW)]);
        }
        let outbox = outbox();
        assert!(outbox.push(text("0123456789")));
        assert_eq!(drain(&outbox).len(), 1);
        assert!(outbox.push(text("0123456789")), "sent bytes no longer count");
    }

    #[test]
    fn a_close_fits_into_a_full_queue() {
        let outbox = outbox();
        for _ in 0..3 {
            assert!(outbox.push(Frame::Ping));
        }
        assert!(outbox.push(Frame::Close(Closing::DRAIN)));
        assert_eq!(drain(&outbox).len(), 4);
    }
}
