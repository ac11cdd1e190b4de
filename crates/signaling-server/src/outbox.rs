//! The frames that wait for one socket. Their number, their bytes and their time are bounded. The protocol puts frames in without waiting.
//! When the queue is full, a client that has sent much of it loses that part, so that nobody makes another client too slow. If there is no
//! such client, or the protocol may lose no frame, the reader is too slow: it loses what still waits, and gets a close frame instead. After
//! a close frame nothing is accepted.

use std::collections::VecDeque;

use tokio::sync::Notify;
use tokio::time::Instant;
use turn_limits::{MemoryUse, Share};
use turn_signaling::Limits;
use turn_signaling::flood::largest_sender;

use super::prelude::*;

/// The longest time for which a frame may wait, also if the client reads other frames meanwhile: a waiting frame counts for its sender.
const FRAME_WAIT_MAX: Duration = Duration::from_secs(10);
/// A sender has much of a full queue if its part is at least one in this many.
const FLOOD_PART: usize = 4;
/// What a frame occupies in a queue beside its text, in bytes.
pub(crate) const FRAME_BYTES: usize = 128;

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

/// Counts a waiting text for its sender, until it is dropped.
#[derive(Debug)]
pub(crate) struct Sent {
    /// Counts the text, and the place of its first copy in a queue. All copies share this.
    pub(crate) text: Arc<MemoryUse>,
    /// Counts the place of any other copy.
    pub(crate) _place: Option<MemoryUse>,
}

/// The queue of one socket.
#[derive(Debug)]
pub(crate) struct Outbox {
    /// Whose socket it is.
    owner: Holder,
    queue: Mutex<Queue>,
    changed: Notify,
    limits: Limits,
}

#[derive(Debug, Default)]
struct Queue {
    frames: VecDeque<Queued>,
    /// The bytes of their texts.
    bytes: usize,
    is_closed: bool,
}

#[derive(Debug)]
struct Queued {
    frame: Frame,
    sent: Option<Sent>,
    since: Instant,
}

/// The queue was full: the close frame for slow clients has taken the place of all frames.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct TooSlow;

impl Outbox {
    /// An empty queue.
    pub(crate) fn new(owner: Holder, limits: Limits) -> Self {
        Self { owner, queue: Mutex::default(), changed: Notify::new(), limits }
    }

    /// Adds a frame, or ignores it after a close frame. `sent`: what counts its text. Returns how many frames of others made room for it.
    pub(crate) fn push(&self, frame: Frame, sent: Option<Sent>, now: Instant) -> Result<usize, TooSlow> {
        let mut queue = self.queue.lock();
        if queue.is_closed {
            return Ok(0);
        }
        let is_close = matches!(frame, Frame::Close(_));
        let mut dropped = 0;
        while !is_close && queue.is_full(frame.bytes(), &self.limits, now) {
            match queue.drop_flood(&self.owner, &self.limits) {
                0 => {
                    *queue = Queue { is_closed: true, ..Queue::default() };
                    queue.add(Frame::Close(self.limits.too_slow), None, now);
                    drop(queue);
                    self.changed.notify_one();
                    return Err(TooSlow);
                }
                more => dropped += more,
            }
        }
        queue.add(frame, sent, now);
        queue.is_closed = is_close;
        drop(queue);
        self.changed.notify_one();
        Ok(dropped)
    }

    /// Drops the frames whose senders are in this share.
    pub(crate) fn drop_from(&self, share: &Share) {
        self.queue.lock().drop_where(|sender| sender.is_in(share));
    }

    /// Removes the next frame, as soon as there is one. Dropping this future loses no frame.
    pub(crate) async fn next(&self) -> Frame {
        loop {
            if let Some(frame) = self.pop() {
                return frame;
            }
            self.changed.notified().await;
        }
    }

    pub(crate) fn pop(&self) -> Option<Frame> {
        let mut queue = self.queue.lock();
        let Queued { frame, .. } = queue.frames.pop_front()?;
        queue.bytes -= frame.bytes();
        if queue.frames.is_empty() {
            // An idle socket keeps no buffer.
            queue.frames = VecDeque::new();
        }
        Some(frame)
    }
}

impl Queue {
    /// Whether a frame of so many bytes has no room, or another one has waited for too long.
    fn is_full(&self, bytes: usize, limits: &Limits, now: Instant) -> bool {
        let first = self.frames.front();
        self.frames.len() >= limits.queued_frames_max
            || self.bytes + bytes > limits.queued_bytes_max
            || first.is_some_and(|first| now.saturating_duration_since(first.since) >= FRAME_WAIT_MAX)
    }

    fn add(&mut self, frame: Frame, sent: Option<Sent>, since: Instant) {
        self.bytes += frame.bytes();
        self.frames.push_back(Queued { frame, sent, since });
    }

    /// Drops the frames of the largest sender, if these are much of the queue and the sender is not the owner of the queue. Returns how
    /// many frames these are. A frame weighs its bytes, and its part of the bound on frames.
    fn drop_flood(&mut self, owner: &Holder, limits: &Limits) -> usize {
        if !limits.drops_floods {
            return 0;
        }
        let weight_of = |frame: &Frame| frame.bytes() + limits.queued_bytes_max / limits.queued_frames_max;
        let parts = self.frames.iter().filter_map(|it| Some((it.sender()?, weight_of(&it.frame))));
        let Some((largest, weight)) = largest_sender(parts) else { return 0 };
        if largest == owner || weight < limits.queued_bytes_max / FLOOD_PART {
            return 0;
        }
        let largest = largest.clone();
        self.drop_where(|sender| *sender == largest)
    }

    fn drop_where(&mut self, is_dropped: impl Fn(&Holder) -> bool) -> usize {
        let before = self.frames.len();
        self.frames.retain(|it| it.sender().is_none_or(|sender| !is_dropped(sender)));
        self.bytes = self.frames.iter().map(|it| it.frame.bytes()).sum();
        before - self.frames.len()
    }
}

impl Queued {
    fn sender(&self) -> Option<&Holder> {
        self.sent.as_ref().map(|sent| sent.text.holder())
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
    use turn_base::clock;
    use turn_budget::ClientKey;
    use turn_limits::{Bounds, MemoryQuota};

    const TOO_SLOW: Closing = Closing::normal("too slow");
    const OWNER: u8 = 1;

    struct World {
        outbox: Outbox,
        memory: MemoryQuota,
        now: Instant,
    }

    impl World {
        fn new(queued_frames_max: usize, queued_bytes_max: usize) -> Self {
            let limits = Limits {
                frame_max: 100,
                queued_frames_max,
                queued_bytes_max,
                drops_floods: true,
                too_slow: TOO_SLOW,
            };
            Self {
                outbox: Outbox::new(holder(OWNER), limits),
                memory: MemoryQuota::new(0, Bounds::NONE),
                now: clock::timer_now(),
            }
        }

        fn push(&self, frame: Frame) -> bool {
            self.outbox.push(frame, None, self.now) == ACCEPTED
        }

        fn send(&self, from: u8, text: &'static str) -> Result<usize, TooSlow> {
            let sent = Sent { text: Arc::new(self.memory.open(holder(from))), _place: None };
            self.outbox.push(Frame::Text(text.into()), Some(sent), self.now)
        }

        fn drain(&self) -> Vec<Frame> {
            std::iter::from_fn(|| self.outbox.pop()).collect()
        }
    }

    const ACCEPTED: Result<usize, TooSlow> = Ok(0);

    fn holder(n: u8) -> Holder {
        ClientKey::V4([192, 0, 2, n].into()).into()
    }

    fn text(text: &'static str) -> Frame {
        Frame::Text(text.into())
    }

    #[test]
    fn frames_keep_their_order_and_nothing_follows_a_close() {
        let world = World::new(3, 10);
        assert!(world.push(text("a")) && world.push(Frame::Ping));
        assert!(world.push(Frame::Close(Closing::DRAIN)));
        assert!(world.push(text("b")), "ignored");
        assert_eq!(world.drain(), [text("a"), Frame::Ping, Frame::Close(Closing::DRAIN)]);
    }

    #[test]
    fn a_slow_client_gets_a_close_frame_in_place_of_what_waits() {
        for [first, second, third, fourth] in [["a", "b", "c", "d"], ["12345", "1234", "1", "2"]] {
            let world = World::new(3, 10);
            for frame in [first, second, third] {
                assert_eq!(world.send(OWNER, frame), ACCEPTED);
            }
            assert!(!world.push(text(fourth)), "it has sent them itself");
            assert_eq!(world.drain(), [Frame::Close(TOO_SLOW)]);
        }
        let world = World::new(3, 10);
        for _ in 0..2 {
            assert!(world.push(text("0123456789")));
            assert_eq!(world.drain().len(), 1, "sent bytes no longer count");
        }
    }

    #[test]
    fn a_client_for_which_a_frame_has_waited_for_10_seconds_is_too_slow() {
        let mut world = World::new(10, 100);
        assert!(world.push(text("a")));
        world.now += FRAME_WAIT_MAX.saturating_sub(Duration::from_millis(1));
        assert!(world.push(text("b")));
        world.now += Duration::from_millis(1);
        assert!(!world.push(text("c")));
        assert_eq!(world.drain(), [Frame::Close(TOO_SLOW)]);
    }

    #[test]
    fn a_close_fits_into_a_full_queue() {
        let world = World::new(3, 10);
        assert!((0..3).all(|_| world.push(Frame::Ping)));
        assert!(world.push(Frame::Close(Closing::DRAIN)));
        assert_eq!(world.drain().len(), 4);
    }

    #[test]
    fn whoever_has_sent_a_quarter_of_a_full_queue_loses_that() {
        let world = World::new(8, 80);
        for (sender, count) in [(2, 3), (3, 2), (4, 1), (5, 1), (6, 1)] {
            assert!((0..count).all(|_| world.send(sender, "x") == ACCEPTED));
        }
        assert_eq!(world.send(7, "honest"), Ok(3));
        assert!(world.send(2, "y") == ACCEPTED && world.send(2, "y") == ACCEPTED);
        let kept = ["x", "x", "x", "x", "x", "honest", "y", "y"];
        assert_eq!(world.drain(), kept.map(text));
        for sender in 2..10 {
            assert_eq!(world.send(sender, "123456"), ACCEPTED);
        }
        assert_eq!(world.send(2, "x"), Err(TooSlow), "nobody has sent much of it");
    }

    #[test]
    fn the_bytes_of_a_flood_count_as_its_frames() {
        let world = World::new(100, 40);
        assert!(world.send(2, "0123456789") == ACCEPTED && world.send(3, "012345678") == ACCEPTED);
        assert_eq!(world.send(4, "0123456789012345678901"), Ok(1));
        assert_eq!(world.drain().len(), 2);
    }
}
