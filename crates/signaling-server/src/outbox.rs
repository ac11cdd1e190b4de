//! The frames that wait for one socket. Their number and their bytes are bounded, and so are the bytes of all sockets of a client and of
//! all clients. The protocol puts frames in without waiting. A client that reads too slowly loses what still waits, and gets a close
//! frame instead. After a close frame nothing is accepted.

use std::collections::VecDeque;

use parking_lot::Mutex;
use tokio::sync::Notify;
use turn_limits::{Held, Holder, MemoryUse};
use turn_signaling::protocol::{Closing, Limits, Text};

/// A frame to send.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Frame {
    /// A text frame.
    Text(Text),
    /// A control ping.
    Ping,
    /// The last frame.
    Close(Closing),
}

/// The queue of one socket.
#[derive(Debug)]
pub(crate) struct Outbox {
    queue: Mutex<Queue>,
    changed: Notify,
    limits: Limits,
}

#[derive(Debug)]
struct Queue {
    frames: VecDeque<(Frame, Option<Holder>)>,
    /// Their bytes.
    kept: MemoryUse,
    /// Those that each other holder has sent.
    by_sender: Held<Sent>,
    is_closed: bool,
}

/// How much of a queue one holder has sent.
#[derive(Debug, Default)]
struct Sent {
    frames: usize,
    bytes: usize,
}

/// What became of a frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Pushed {
    /// It waits, or the queue has its last frame already.
    Accepted,
    /// It is dropped, because too much of its sender waits.
    SenderFull,
    /// The queue was full: the close frame for slow clients has taken the place of all frames.
    TooSlow,
}

impl Outbox {
    /// An empty queue. `kept` counts its bytes.
    pub(crate) fn new(limits: Limits, kept: MemoryUse) -> Self {
        let queue = Queue { frames: VecDeque::new(), kept, by_sender: Held::default(), is_closed: false };
        Self { queue: Mutex::new(queue), changed: Notify::new(), limits }
    }

    /// Adds a frame. `sender`: who has caused it, if not the owner of the queue.
    pub(crate) fn push(&self, frame: Frame, sender: Option<&Holder>) -> Pushed {
        let mut queue = self.queue.lock();
        if queue.is_closed {
            return Pushed::Accepted;
        }
        let is_close = matches!(frame, Frame::Close(_));
        if sender.is_some_and(|sender| queue.is_full_of(sender, &frame, &self.limits)) {
            return Pushed::SenderFull;
        }
        let is_added = queue.try_reserve(&frame, &self.limits) || is_close;
        if is_added {
            queue.add(frame, sender.cloned());
        } else {
            queue.frames = [(Frame::Close(self.limits.too_slow), None)].into();
            queue.by_sender = Held::default();
            queue.kept.shrink_to(0);
        }
        queue.is_closed = is_close || !is_added;
        drop(queue);
        self.changed.notify_one();
        if is_added { Pushed::Accepted } else { Pushed::TooSlow }
    }

    /// The next frame, as soon as there is one. Dropping this future loses no frame.
    pub(crate) async fn next(&self) -> Frame {
        loop {
            if let Some(frame) = self.pop() {
                return frame;
            }
            self.changed.notified().await;
        }
    }

    fn pop(&self) -> Option<Frame> {
        let mut queue = self.queue.lock();
        let (frame, sender) = queue.frames.pop_front()?;
        queue.remove(&frame, sender.as_ref());
        if queue.frames.is_empty() {
            // An idle socket keeps no buffer.
            queue.frames = VecDeque::new();
        }
        Some(frame)
    }
}

impl Queue {
    /// Whether so much of a sender waits that this frame is too much. Its first one never is.
    fn is_full_of(&self, sender: &Holder, frame: &Frame, limits: &Limits) -> bool {
        let frames_max = limits.queued_frames_max / limits.sender_share;
        let bytes_max = limits.queued_bytes_max / limits.sender_share;
        let is_full = |sent: &Sent, factor: usize| {
            sent.frames > 0
                && (sent.frames >= frames_max * factor || sent.bytes + frame.bytes() > bytes_max * factor)
        };
        self.by_sender.full(sender, is_full).is_some()
    }

    /// Reserves the bytes of one more frame. Returns `false` if there is no room.
    fn try_reserve(&mut self, frame: &Frame, limits: &Limits) -> bool {
        let bytes = self.kept.bytes() + frame.bytes();
        self.frames.len() < limits.queued_frames_max
            && bytes <= limits.queued_bytes_max
            && self.kept.try_resize(bytes)
    }

    fn add(&mut self, frame: Frame, sender: Option<Holder>) {
        if let Some(sender) = &sender {
            self.by_sender.change(sender, |sent| {
                (sent.frames, sent.bytes) = (sent.frames + 1, sent.bytes + frame.bytes());
                true
            });
        }
        self.frames.push_back((frame, sender));
    }

    fn remove(&mut self, frame: &Frame, sender: Option<&Holder>) {
        let kept = self.kept.bytes().saturating_sub(frame.bytes());
        self.kept.shrink_to(kept);
        if let Some(sender) = sender {
            self.by_sender.change(sender, |sent| {
                sent.frames = sent.frames.saturating_sub(1);
                sent.bytes = sent.bytes.saturating_sub(frame.bytes());
                sent.frames > 0
            });
        }
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
    use turn_ledger::ClientKey;
    use turn_limits::MemoryQuota;

    use crate::backlog::{OWN_BYTES, backlog, testing};

    const TOO_SLOW: Closing = Closing::normal("too slow");

    fn outbox() -> Outbox {
        outbox_in(&backlog())
    }

    fn outbox_in(backlog: &MemoryQuota) -> Outbox {
        let limits = Limits {
            frame_max: 100,
            queued_frames_max: 3,
            queued_bytes_max: 10,
            sender_share: 1,
            too_slow: TOO_SLOW,
        };
        Outbox::new(limits, backlog.open(testing::CLIENT))
    }

    /// An outbox with room for much more than its own bytes.
    fn wide(backlog: &MemoryQuota) -> Outbox {
        let limits = Limits {
            frame_max: OWN_BYTES,
            queued_frames_max: 10,
            queued_bytes_max: 4 * OWN_BYTES,
            sender_share: 2,
            too_slow: TOO_SLOW,
        };
        Outbox::new(limits, backlog.open(testing::CLIENT))
    }

    fn push(outbox: &Outbox, frame: Frame) -> bool {
        outbox.push(frame, None) == Pushed::Accepted
    }

    fn own() -> Frame {
        Frame::Text("x".repeat(OWN_BYTES).into())
    }

    #[test]
    fn all_sockets_together_have_a_bound_and_what_is_sent_or_dropped_no_longer_counts() {
        let backlog = backlog();
        let _others = testing::fill(&backlog, OWN_BYTES);
        let (a, b) = (wide(&backlog), wide(&backlog));
        assert!(push(&a, own()) && push(&a, text("x")) && push(&b, own()));
        let rest = Frame::Text("x".repeat(OWN_BYTES - 1).into());
        assert!(push(&a, rest), "to the last byte");
        assert!(!push(&b, text("x")), "the one that would get more gives way");
        let c = wide(&backlog);
        assert!(push(&c, own()) && !push(&c, text("x")));
        assert_eq!(drain(&a).len(), 3);
        assert!(push(&a, own()) && push(&a, own()), "what is sent no longer counts");
        drop(a);
        let d = wide(&backlog);
        assert!(push(&d, own()) && push(&d, own()), "what is dropped no longer counts");
    }

    #[test]
    fn clients_that_do_not_read_cost_nobody_else_a_socket() {
        let backlog = backlog();
        let _others = testing::fill(&backlog, 0);
        let other = wide(&backlog);
        for _ in 0..100 {
            assert!(push(&other, own()));
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
        assert!(push(&outbox, text("a")) && push(&outbox, Frame::Ping));
        assert!(push(&outbox, Frame::Close(Closing::DRAIN)));
        assert!(push(&outbox, text("b")), "ignored");
        assert_eq!(drain(&outbox), [text("a"), Frame::Ping, Frame::Close(Closing::DRAIN)]);
    }

    #[test]
    fn a_slow_client_gets_a_close_frame_in_place_of_what_waits() {
        for [first, second, third, fourth] in [["a", "b", "c", "d"], ["12345", "1234", "1", "2"]] {
            let outbox = outbox();
            for frame in [first, second, third] {
                assert!(push(&outbox, text(frame)));
            }
            assert!(!push(&outbox, text(fourth)));
            assert_eq!(drain(&outbox), [Frame::Close(TOO_SLOW)]);
        }
        let outbox = outbox();
        assert!(push(&outbox, text("0123456789")));
        assert_eq!(drain(&outbox).len(), 1);
        assert!(push(&outbox, text("0123456789")), "sent bytes no longer count");
    }

    #[test]
    fn a_close_fits_into_a_full_queue() {
        let outbox = outbox();
        for _ in 0..3 {
            assert!(push(&outbox, Frame::Ping));
        }
        assert!(push(&outbox, Frame::Close(Closing::DRAIN)));
        assert_eq!(drain(&outbox).len(), 4);
    }

    #[test]
    fn of_one_sender_only_a_share_waits_and_of_a_48_four_times_as_much() {
        let outbox = wide(&backlog());
        let sender = |text: &str| Holder::from(ClientKey::of(text.parse().unwrap()));
        let push =
            |text: &'static str, from: &str| outbox.push(Frame::Text(text.into()), Some(&sender(from)));
        assert!((0..5).all(|_| push("x", "192.0.2.9") == Pushed::Accepted));
        assert_eq!(push("x", "192.0.2.9"), Pushed::SenderFull, "half of ten frames");
        assert!((0..4).all(|_| push("x", "192.0.2.8") == Pushed::Accepted), "another sender");
        assert_eq!(outbox.pop(), Some(text("x")));
        assert_eq!(push("x", "192.0.2.9"), Pushed::Accepted, "what is sent no longer counts");
        assert_eq!(drain(&outbox).len(), 9, "the client is not too slow");
        let whole = Frame::Text("x".repeat(2 * OWN_BYTES + 1).into());
        assert_eq!(outbox.push(whole, Some(&sender("192.0.2.9"))), Pushed::Accepted, "one frame always");
        assert_eq!(push("x", "192.0.2.9"), Pushed::SenderFull, "half of the bytes");
        assert!((0..5).all(|_| push("x", "2001:db8:1:1::1") == Pushed::Accepted));
        assert_eq!(push("x", "2001:db8:1:1::1"), Pushed::SenderFull);
        assert_eq!(push("x", "2001:db8:1:2::1"), Pushed::Accepted);
    }
}
