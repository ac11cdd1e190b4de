//! Messages for ids without a socket. Each message waits for [`WAIT_MAX`] from its arrival. Then its sender is told, and the message is
//! dropped. Everything is bounded: for each id, for each client or user, and in all. What exceeds a bound is dropped. If the queue of an id
//! is full, the largest sender in it loses its latest messages to make room for other senders.

use std::collections::VecDeque;

use crate::flood::largest_sender;
use crate::prelude::*;

/// How long a message waits.
pub const WAIT_MAX: Duration = Duration::from_secs(5);
/// One `EXPIRE` covers the offers from one sender to one id that came within this time, and everything else from that sender to that id.
/// The reference server checks once a second.
pub const EXPIRE_COVERS: Duration = Duration::from_secs(1);
/// The most messages for one id.
pub const MESSAGES_PER_ID_MAX: usize = 128;
/// The most bytes of messages for one id.
pub const BYTES_PER_ID_MAX: usize = 256 * 1024;
/// The most that may wait of one client address or user: 512 messages with 1 MiB, or more that are shorter, or longer and fewer ones. An
/// IPv6 /48 has four times as much.
const PER_CLIENT_MAX: usize = 1024 * 1024 + 512 * MESSAGE_WEIGHT;
const BOUNDS: Bounds = Bounds { client_max: PER_CLIENT_MAX, all_max: SHARES * PER_CLIENT_MAX };
/// What a message weighs beside its bytes: its part of what may wait for an id.
const MESSAGE_WEIGHT: usize = BYTES_PER_ID_MAX / MESSAGES_PER_ID_MAX;

#[derive(Debug, Default)]
pub(super) struct Waiting {
    /// By destination, in their order. None is empty.
    queues: HashMap<Arc<str>, VecDeque<Message>>,
    /// When the first message of each queue has waited for [`WAIT_MAX`].
    deadlines: Deadlines<Arc<str>>,
    /// What the messages of each holder weigh.
    held: Counts,
}

/// A message, without its destination.
#[derive(Debug)]
pub(super) struct Message {
    pub(super) src: Arc<str>,
    pub(super) holder: Holder,
    pub(super) text: Text,
    pub(super) is_offer: bool,
    pub(super) arrived: Duration,
    /// Whether the sender already got an `EXPIRE` that covers it.
    pub(super) is_reported: bool,
}

impl Message {
    fn weight(&self) -> usize {
        self.text.len() + MESSAGE_WEIGHT
    }
}

/// A peer to tell that its messages for `absent` have expired.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Expired {
    pub(super) sender: Arc<str>,
    pub(super) absent: Arc<str>,
}

impl Waiting {
    /// Keeps a message. Returns how many messages are dropped: those that make room, and the new one if it has no room.
    pub(super) fn keep(&mut self, dst: &str, message: Message) -> usize {
        if !self.held.fits(&message.holder, message.weight(), BOUNDS) {
            return 1;
        }
        let dst = self.queues.get_key_value(dst).map_or_else(|| dst.into(), |(dst, _)| Arc::clone(dst));
        let queue = self.queues.entry(Arc::clone(&dst)).or_default();
        let mut dropped = 0;
        while !fits(queue, &message) {
            let removed = gives_way(queue, &message).and_then(|place| queue.remove(place));
            dropped += 1;
            // If no message gives way, the new one is dropped.
            let Some(removed) = removed else { break };
            self.held.remove(&removed.holder, removed.weight());
        }
        if fits(queue, &message) {
            if queue.is_empty() {
                self.deadlines.set(dst, message.arrived + WAIT_MAX);
            }
            self.held.add(&message.holder, message.weight());
            queue.push_back(message);
        } else if queue.is_empty() {
            self.queues.remove(&dst);
        }
        dropped
    }

    /// Removes the messages for an id, in their order.
    pub(super) fn take(&mut self, dst: &Arc<str>) -> Vec<Text> {
        self.deadlines.clear(dst);
        let messages = self.queues.remove(dst).unwrap_or_default();
        let remove = |message: Message| {
            self.held.remove(&message.holder, message.weight());
            message.text
        };
        messages.into_iter().map(remove).collect()
    }

    /// Drops the messages that have waited for [`WAIT_MAX`]. Returns how many these are, and who must be told.
    pub(super) fn expire(&mut self, now: Duration) -> (usize, Vec<Expired>) {
        let (mut dropped, mut expired) = (0, Vec::new());
        while let Some(dst) = self.deadlines.pop(now) {
            let Some(mut queue) = self.queues.remove(&dst) else { continue };
            while queue.front().is_some_and(|first| first.arrived + WAIT_MAX <= now) {
                let Some(message) = queue.pop_front() else { break };
                self.held.remove(&message.holder, message.weight());
                dropped += 1;
                if !message.is_reported {
                    mark_reported(&mut queue, &message);
                    expired.push(Expired { sender: message.src, absent: Arc::clone(&dst) });
                }
            }
            if let Some(first) = queue.front() {
                self.deadlines.set(Arc::clone(&dst), first.arrived + WAIT_MAX);
                self.queues.insert(dst, queue);
            }
        }
        (dropped, expired)
    }

    /// When the next message expires.
    pub(super) fn next_due(&self) -> Option<Duration> {
        self.deadlines.next()
    }
}

/// Whether a message fits into the queue of an id.
fn fits(queue: &VecDeque<Message>, message: &Message) -> bool {
    let bytes: usize = queue.iter().map(|waiting| waiting.text.len()).sum();
    queue.len() < MESSAGES_PER_ID_MAX && bytes + message.text.len() <= BYTES_PER_ID_MAX
}

/// The place in the queue of the message that gives way to `message`: the latest one of the largest sender. `None` if it is the only one
/// of that sender, or if the sender of `message` would then have as much as the largest sender.
fn gives_way(queue: &VecDeque<Message>, message: &Message) -> Option<usize> {
    let parts = || queue.iter().map(|waiting| (&waiting.holder, waiting.weight()));
    let all: usize = parts().map(|(_, weight)| weight).sum();
    let waiting = parts().filter(|(holder, _)| **holder == message.holder).map(|(_, weight)| weight);
    let own = waiting.sum::<usize>() + message.weight();
    // `own`, and the total on the right side, include the new message. If `own` is half of the total, nobody has more. So a flood costs no
    // search.
    if 2 * own >= all + message.weight() {
        return None;
    }
    let (largest, weight) = largest_sender(parts())?;
    if own >= weight {
        return None;
    }
    let is_of_largest = |waiting: &Message| waiting.holder == *largest;
    let last = queue.iter().rposition(is_of_largest)?;
    (queue.iter().position(is_of_largest) != Some(last)).then_some(last)
}

/// Marks what one `EXPIRE` covers besides `reported`: candidates are useless without their offer, however late they came. An offer that
/// came more than [`EXPIRE_COVERS`] later is another attempt.
fn mark_reported(queue: &mut VecDeque<Message>, reported: &Message) {
    for message in queue.iter_mut().filter(|message| message.src == reported.src) {
        message.is_reported |= !message.is_offer || message.arrived <= reported.arrived + EXPIRE_COVERS;
    }
}

#[cfg(test)]
impl Waiting {
    /// The number of ids for which messages wait.
    pub(super) fn ids(&self) -> usize {
        self.queues.len()
    }

    pub(super) fn messages(&self) -> usize {
        self.queues.values().map(VecDeque::len).sum()
    }

    /// The bounds of each id hold, and nothing waits for an id that somebody holds.
    pub(super) fn check(&self, is_held: impl Fn(&str) -> bool) {
        for (dst, queue) in &self.queues {
            assert!((1..=MESSAGES_PER_ID_MAX).contains(&queue.len()) && !is_held(dst));
            assert!(queue.iter().map(|message| message.text.len()).sum::<usize>() <= BYTES_PER_ID_MAX);
        }
        assert_eq!(self.queues.is_empty(), self.held.is_empty());
    }
}
