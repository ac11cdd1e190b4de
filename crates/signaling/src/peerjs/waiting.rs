//! Messages for ids without a socket. Each message waits for [`WAIT_MAX`] from its arrival. Then its sender is told, and the
//! message is dropped. Everything is bounded: for each id, for each sender, and in all. What exceeds a bound is dropped.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use crate::deadlines::Deadlines;
use crate::protocol::Text;

/// How long a message waits.
pub const WAIT_MAX: Duration = Duration::from_secs(5);
/// One `EXPIRE` covers all messages from one sender to one id that came within this time. The reference server checks once a
/// second.
pub const EXPIRE_COVERS: Duration = Duration::from_secs(1);
/// The most messages for one id.
pub const MESSAGES_PER_ID_MAX: usize = 128;
/// The most bytes of messages for one id.
pub const BYTES_PER_ID_MAX: usize = 256 * 1024;
/// The most ids for which messages wait.
pub const WAITED_IDS_MAX: usize = 4_096;
/// The most waiting messages of one sender.
pub const MESSAGES_PER_SENDER_MAX: usize = 256;
/// The most bytes of waiting messages of one sender.
pub const BYTES_PER_SENDER_MAX: usize = 512 * 1024;
/// The most ids for which messages of one sender wait. So the 64 sockets of one address can use half of the ids at most.
pub const IDS_PER_SENDER_MAX: usize = 32;
/// The most bytes of waiting messages. The 64 sockets of one address may fill half of it.
pub const WAITING_BYTES_MAX: usize = 64 * 1024 * 1024;

/// The waiting messages.
#[derive(Debug, Default)]
pub(super) struct Waiting {
    /// By destination. None is empty.
    queues: HashMap<Arc<str>, VecDeque<Message>>,
    /// When the first message of each queue has waited long enough.
    deadlines: Deadlines<Arc<str>>,
    /// By sender, then by destination. None is empty.
    senders: HashMap<Arc<str>, BTreeMap<Arc<str>, Amount>>,
    bytes: usize,
}

#[derive(Clone, Debug)]
struct Message {
    src: Arc<str>,
    text: Text,
    is_offer: bool,
    arrived: Duration,
    /// Whether the sender already got an `EXPIRE` that covers it.
    is_told: bool,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Amount {
    messages: usize,
    bytes: usize,
}

/// A sender who must be told that `absent` did not come for its messages.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Expired {
    pub(super) sender: Arc<str>,
    pub(super) absent: Arc<str>,
}

impl Waiting {
    /// Keeps a message. `false` if that would exceed a bound.
    pub(super) fn keep(
        &mut self,
        src: &Arc<str>,
        dst: &str,
        text: Text,
        is_offer: bool,
        now: Duration,
    ) -> bool {
        if !self.has_room(src, dst, text.len()) {
            return false;
        }
        let dst = self.queues.get_key_value(dst).map_or_else(|| dst.into(), |(dst, _)| Arc::clone(dst));
        let queue = self.queues.entry(Arc::clone(&dst)).or_default();
        if queue.is_empty() {
            self.deadlines.set(Arc::clone(&dst), now + WAIT_MAX);
        }
        self.bytes += text.len();
        let sent = self.senders.entry(Arc::clone(src)).or_default().entry(dst).or_default();
        sent.messages += 1;
        sent.bytes += text.len();
        queue.push_back(Message { src: Arc::clone(src), text, is_offer, arrived: now, is_told: false });
        true
    }

    fn has_room(&self, src: &str, dst: &str, bytes: usize) -> bool {
        let queued = self.queues.get(dst).map_or(Amount::default(), |queue| Amount {
            messages: queue.len(),
            bytes: queue.iter().map(|message| message.text.len()).sum(),
        });
        let of_sender = self.senders.get(src);
        let sent = of_sender.map_or(Amount::default(), |sent| Amount {
            messages: sent.values().map(|sent| sent.messages).sum(),
            bytes: sent.values().map(|sent| sent.bytes).sum(),
        });
        let is_new_to_sender = of_sender.is_none_or(|sent| !sent.contains_key(dst));
        let ids_of_sender = of_sender.map_or(0, BTreeMap::len);
        (queued.messages > 0 || self.queues.len() < WAITED_IDS_MAX)
            && (!is_new_to_sender || ids_of_sender < IDS_PER_SENDER_MAX)
            && queued.messages < MESSAGES_PER_ID_MAX
            && queued.bytes + bytes <= BYTES_PER_ID_MAX
            && sent.messages < MESSAGES_PER_SENDER_MAX
            && sent.bytes + bytes <= BYTES_PER_SENDER_MAX
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
        queue.into_iter().map(remove).collect()
    }

    /// Drops the messages that have waited long enough. Returns how many, and who must be told.
    pub(super) fn expire(&mut self, now: Duration) -> (usize, Vec<Expired>) {
        let (mut messages, mut expired) = (0, Vec::new());
        while let Some(dst) = self.deadlines.pop(now) {
            let Some(mut queue) = self.queues.remove(&dst) else { continue };
            while queue.front().is_some_and(|first| first.arrived + WAIT_MAX <= now) {
                let Some(message) = queue.pop_front() else { break };
                self.release(&dst, &message);
                messages += 1;
                if !message.is_told {
                    mark_told(&mut queue, &message);
                    expired.push(Expired { sender: message.src, absent: Arc::clone(&dst) });
                }
            }
            if let Some(first) = queue.front() {
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
        self.bytes -= message.text.len();
        let Some(sent) = self.senders.get_mut(&message.src) else { return };
        if let Some(amount) = sent.get_mut(dst) {
            amount.messages -= 1;
            amount.bytes -= message.text.len();
            if amount.messages == 0 {
                sent.remove(dst);
            }
        }
        if sent.is_empty() {
            self.senders.remove(&message.src);
        }
    }
}

/// Candidates are useless without their offer, so they count as told, however late they came. A later offer is another attempt.
fn mark_told(queue: &mut VecDeque<Message>, told: &Message) {
    for message in queue.iter_mut().filter(|message| message.src == told.src) {
        message.is_told |= !message.is_offer || message.arrived <= told.arrived + EXPIRE_COVERS;
    }
}

#[cfg(test)]
impl Waiting {
    pub(super) fn messages(&self) -> usize {
        self.queues.values().map(VecDeque::len).sum()
    }

    /// The counts agree with the messages, no bound is exceeded, and nothing waits for an id that somebody holds.
    pub(super) fn check(&self, is_held: impl Fn(&str) -> bool) {
        let mut bytes = 0;
        for (dst, queue) in &self.queues {
            assert!(!queue.is_empty() && !is_held(dst));
            let of_queue: usize = queue.iter().map(|message| message.text.len()).sum();
            assert!(queue.len() <= MESSAGES_PER_ID_MAX && of_queue <= BYTES_PER_ID_MAX);
            bytes += of_queue;
        }
        assert_eq!(bytes, self.bytes);
        for (src, sent) in &self.senders {
            assert!(!sent.is_empty() && sent.len() <= IDS_PER_SENDER_MAX);
            assert!(sent.values().map(|amount| amount.messages).sum::<usize>() <= MESSAGES_PER_SENDER_MAX);
            for (dst, amount) in sent {
                let queue = self.queues.get(dst).into_iter().flatten();
                let messages = queue.filter(|message| message.src == *src).count();
                assert!(messages > 0 && messages == amount.messages);
            }
        }
    }
}
