//! Messages for ids without a socket. Each message waits for [`WAIT_MAX`] from its arrival. Then its sender is told, and the message
//! is dropped. Everything is bounded: for each id, for each sender, for each client or user, and in all. What exceeds a bound
//! is dropped.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::time::Duration;

use turn_limits::{Held, Holder, SHARES};

use super::queue::{Message, Queue};
use crate::deadlines::Deadlines;
use crate::protocol::Text;

/// How long a message waits.
pub const WAIT_MAX: Duration = Duration::from_secs(5);
/// The most ids for which messages wait.
pub const WAITED_IDS_MAX: usize = SHARES * IDS_PER_CLIENT_MAX;
/// The most waiting messages of one sender.
pub const MESSAGES_PER_SENDER_MAX: usize = 256;
/// The most bytes of waiting messages of one sender.
pub const BYTES_PER_SENDER_MAX: usize = 512 * 1024;
/// The most ids for which messages of one sender wait.
pub const IDS_PER_SENDER_MAX: usize = 32;
/// The most bytes of waiting messages.
pub const WAITING_BYTES_MAX: usize = SHARES * BYTES_PER_CLIENT_MAX;
/// The most ids for which messages of one client address or user wait. An IPv6 /48 has four times as many.
pub const IDS_PER_CLIENT_MAX: usize = 256;
/// The most bytes of waiting messages of one client address or user. An IPv6 /48 has four times as many.
pub const BYTES_PER_CLIENT_MAX: usize = 4 << 20;

/// The waiting messages.
#[derive(Debug, Default)]
pub(super) struct Waiting {
    /// By destination. None is empty.
    queues: HashMap<Arc<str>, Queue>,
    /// When the first message of each queue has waited long enough.
    deadlines: Deadlines<Arc<str>>,
    /// What each sender has sent. None is empty.
    senders: HashMap<Arc<str>, Sent>,
    holders: Held<Sent>,
    bytes: usize,
}

/// The waiting messages of a sender, or of a holder.
#[derive(Debug, Default)]
struct Sent {
    /// How many for each destination. None is 0.
    by_id: BTreeMap<Arc<str>, usize>,
    bytes: usize,
}

impl Sent {
    fn add(&mut self, dst: &Arc<str>, bytes: usize) {
        *self.by_id.entry(Arc::clone(dst)).or_default() += 1;
        self.bytes += bytes;
    }

    /// Returns whether anything is left.
    fn remove(&mut self, dst: &Arc<str>, bytes: usize) -> bool {
        self.bytes -= bytes;
        if let Some(messages) = self.by_id.get_mut(dst) {
            *messages -= 1;
            if *messages == 0 {
                self.by_id.remove(dst);
            }
        }
        !self.by_id.is_empty()
    }

    fn messages(&self) -> usize {
        self.by_id.values().sum()
    }

    /// Whether one more message fits.
    fn fits(&self, dst: &str, bytes: usize, ids_max: usize, bytes_max: usize) -> bool {
        (self.by_id.contains_key(dst) || self.by_id.len() < ids_max) && self.bytes + bytes <= bytes_max
    }
}

/// A sender who must be told that `absent` did not come for its messages.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Expired {
    pub(super) sender: Arc<str>,
    pub(super) absent: Arc<str>,
}

impl Waiting {
    /// Keeps a message. Returns how many are dropped: none, this one, or those that make room for it.
    pub(super) fn keep(
        &mut self,
        (src, holder): (&Arc<str>, &Holder),
        dst: &str,
        text: Text,
        is_offer: bool,
        now: Duration,
    ) -> usize {
        if !self.has_room(src, holder, dst, text.len()) {
            return 1;
        }
        let dst = self.queues.get_key_value(dst).map_or_else(|| dst.into(), |(dst, _)| Arc::clone(dst));
        let nothing = Queue::default();
        let queued = self.queues.get(&dst).unwrap_or(&nothing);
        let Some(surplus) = queued.surplus(holder, text.len()) else { return 1 };
        for place in &surplus {
            if let Some(dropped) = self.queues.get_mut(&dst).and_then(|queue| queue.remove(*place)) {
                self.release(&dst, &dropped);
            }
        }
        let queue = self.queues.entry(Arc::clone(&dst)).or_default();
        if queue.first().is_none() {
            self.deadlines.set(Arc::clone(&dst), now + WAIT_MAX);
        }
        self.bytes += text.len();
        self.senders.entry(Arc::clone(src)).or_default().add(&dst, text.len());
        self.holders.change(holder, |sent| {
            sent.add(&dst, text.len());
            true
        });
        queue.push(Message {
            src: Arc::clone(src),
            holder: holder.clone(),
            text,
            is_offer,
            arrived: now,
            is_told: false,
        });
        surplus.len()
    }

    fn has_room(&self, src: &str, holder: &Holder, dst: &str, bytes: usize) -> bool {
        let is_full = |sent: &Sent, factor| {
            !sent.fits(dst, bytes, IDS_PER_CLIENT_MAX * factor, BYTES_PER_CLIENT_MAX * factor)
        };
        let fits_sender = self.senders.get(src).is_none_or(|sent| {
            sent.fits(dst, bytes, IDS_PER_SENDER_MAX, BYTES_PER_SENDER_MAX)
                && sent.messages() < MESSAGES_PER_SENDER_MAX
        });
        (self.queues.contains_key(dst) || self.queues.len() < WAITED_IDS_MAX)
            && fits_sender
            && self.holders.full(holder, is_full).is_none()
            && self.bytes + bytes <= WAITING_BYTES_MAX
    }

    /// Removes the messages for an id, in their order.
    pub(super) fn take(&mut self, dst: &Arc<str>) -> Vec<Text> {
        self.deadlines.clear(dst);
        let queue = self.queues.remove(dst).unwrap_or_default();
        let remove = |message: Message| {
            self.release(dst, &message);
            message.text
        };
        queue.into_messages().map(remove).collect()
    }

    /// Drops the messages that have waited long enough. Returns how many, and who must be told.
    pub(super) fn expire(&mut self, now: Duration) -> (usize, Vec<Expired>) {
        let (mut messages, mut expired) = (0, Vec::new());
        while let Some(dst) = self.deadlines.pop(now) {
            let Some(mut queue) = self.queues.remove(&dst) else { continue };
            while queue.first().is_some_and(|first| first.arrived + WAIT_MAX <= now) {
                let Some(message) = queue.remove(0) else { break };
                self.release(&dst, &message);
                messages += 1;
                if !message.is_told {
                    queue.mark_told(&message);
                    expired.push(Expired { sender: message.src, absent: Arc::clone(&dst) });
                }
            }
            if let Some(first) = queue.first() {
                self.deadlines.set(Arc::clone(&dst), first.arrived + WAIT_MAX);
                self.queues.insert(dst, queue);
            }
        }
        (messages, expired)
    }

    /// The next time at which a message has waited long enough.
    pub(super) fn next_due(&self) -> Option<Duration> {
        self.deadlines.next()
    }

    /// The number of ids for which messages wait.
    pub(super) fn ids(&self) -> usize {
        self.queues.len()
    }

    fn release(&mut self, dst: &Arc<str>, message: &Message) {
        let bytes = message.text.len();
        self.bytes -= bytes;
        self.holders.change(&message.holder, |sent| sent.remove(dst, bytes));
        if self.senders.get_mut(&message.src).is_some_and(|sent| !sent.remove(dst, bytes)) {
            self.senders.remove(&message.src);
        }
    }
}

#[cfg(test)]
impl Waiting {
    pub(super) fn messages(&self) -> usize {
        self.queues.values().map(|queue| queue.iter().count()).sum()
    }

    /// The counts agree with the messages, no bound is exceeded, and nothing waits for an id that somebody holds.
    pub(super) fn check(&self, is_held: impl Fn(&str) -> bool) {
        let mut bytes = 0;
        for (dst, queue) in &self.queues {
            assert!(queue.first().is_some() && !is_held(dst));
            bytes += queue.check();
        }
        assert_eq!(bytes, self.bytes);
        for (src, sent) in &self.senders {
            assert!(!sent.by_id.is_empty() && sent.by_id.len() <= IDS_PER_SENDER_MAX);
            assert!(sent.messages() <= MESSAGES_PER_SENDER_MAX);
            for (dst, messages) in &sent.by_id {
                let queue = self.queues.get(dst).into_iter().flat_map(Queue::iter);
                let queued = queue.filter(|message| message.src == *src).count();
                assert!(*messages > 0 && *messages == queued);
            }
        }
        for Message { holder, text, .. } in self.queues.values().flat_map(Queue::iter) {
            let is_counted = |share| self.holders.get(&share).is_some_and(|sent| sent.bytes >= text.len());
            assert!(holder.shares().all(|(share, _)| is_counted(share)));
        }
        assert!(!self.queues.is_empty() || self.holders.is_empty());
    }
}
