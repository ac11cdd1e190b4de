//! The messages for one id without a socket. They have a bound, and each holder a share of it: who has more makes room for others.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use turn_limits::{Holder, Share};

use crate::protocol::Text;

/// One `EXPIRE` covers all messages from one sender to one id that came within this time. The reference server checks once a
/// second.
pub const EXPIRE_COVERS: Duration = Duration::from_secs(1);
/// The most messages for one id.
pub const MESSAGES_PER_ID_MAX: usize = 128;
/// The most bytes of messages for one id.
pub const BYTES_PER_ID_MAX: usize = 256 * 1024;
/// Each client address or user may keep one part in so many of both, and always one message. What it has beyond that is dropped, the latest
/// first, when others need the room.
pub const ID_SHARE: usize = 4;

#[derive(Clone, Debug)]
pub(super) struct Message {
    pub(super) src: Arc<str>,
    pub(super) holder: Holder,
    pub(super) text: Text,
    pub(super) is_offer: bool,
    pub(super) arrived: Duration,
    /// Whether the sender already got an `EXPIRE` that covers it.
    pub(super) is_told: bool,
}

/// See the module.
#[derive(Debug, Default)]
pub(super) struct Queue {
    /// In their order.
    messages: VecDeque<Message>,
    all: Amount,
    /// By the own share of a holder. None is empty.
    by_share: HashMap<Share, Amount>,
}

/// A number of messages, and their bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Amount {
    messages: usize,
    bytes: usize,
}

impl Amount {
    fn with(self, bytes: usize) -> Self {
        Self { messages: self.messages + 1, bytes: self.bytes + bytes }
    }

    fn without(self, bytes: usize) -> Self {
        Self { messages: self.messages - 1, bytes: self.bytes - bytes }
    }

    /// Whether it is at most 1/`part` of what may wait for an id.
    fn is_within(self, part: usize) -> bool {
        self.messages <= MESSAGES_PER_ID_MAX / part && self.bytes <= BYTES_PER_ID_MAX / part
    }

    fn is_share(self) -> bool {
        self.messages <= 1 || self.is_within(ID_SHARE)
    }
}

impl Queue {
    pub(super) fn push(&mut self, message: Message) {
        let bytes = message.text.len();
        self.all = self.all.with(bytes);
        let own = self.by_share.entry(message.holder.own_share()).or_default();
        *own = own.with(bytes);
        self.messages.push_back(message);
    }

    pub(super) fn remove(&mut self, place: usize) -> Option<Message> {
        let message = self.messages.remove(place)?;
        let bytes = message.text.len();
        self.all = self.all.without(bytes);
        let share = message.holder.own_share();
        if let Some(own) = self.by_share.get_mut(&share) {
            *own = own.without(bytes);
            if own.messages == 0 {
                self.by_share.remove(&share);
            }
        }
        Some(message)
    }

    /// Which messages to drop so that one more of this holder fits, as places from the last to the first. Empty if it fits as it is. They are
    /// the latest ones of holders above their share. `None` if the new message would put its holder above its share, or if they are too few.
    pub(super) fn surplus(&self, holder: &Holder, bytes: usize) -> Option<Vec<usize>> {
        let (mut all, mut surplus) = (self.all.with(bytes), Vec::new());
        if all.is_within(1) {
            return Some(surplus);
        }
        let own = self.by_share.get(&holder.own_share()).copied().unwrap_or_default();
        let over = self.by_share.iter().filter(|(_, amount)| !amount.is_share());
        let mut over: Vec<_> = over.map(|(share, amount)| (share, *amount)).collect();
        if over.is_empty() || !own.with(bytes).is_share() {
            return None;
        }
        for (place, message) in self.messages.iter().enumerate().rev() {
            let (share, bytes) = (message.holder.own_share(), message.text.len());
            if let Some((_, amount)) =
                over.iter_mut().find(|(of, amount)| **of == share && !amount.is_share())
            {
                (*amount, all) = (amount.without(bytes), all.without(bytes));
                surplus.push(place);
                if all.is_within(1) {
                    return Some(surplus);
                }
            }
        }
        None
    }

    /// Candidates are useless without their offer, so they count as told, however late they came. A later offer is another attempt.
    pub(super) fn mark_told(&mut self, told: &Message) {
        for message in self.messages.iter_mut().filter(|message| message.src == told.src) {
            message.is_told |= !message.is_offer || message.arrived <= told.arrived + EXPIRE_COVERS;
        }
    }

    pub(super) fn first(&self) -> Option<&Message> {
        self.messages.front()
    }

    pub(super) fn into_messages(self) -> impl Iterator<Item = Message> {
        self.messages.into_iter()
    }

    #[cfg(test)]
    pub(super) fn iter(&self) -> impl Iterator<Item = &Message> {
        self.messages.iter()
    }

    /// The counts agree with the messages, and no bound is exceeded. Returns the bytes.
    #[cfg(test)]
    pub(super) fn check(&self) -> usize {
        let mut counted = Self::default();
        self.iter().for_each(|message| counted.push(message.clone()));
        assert_eq!((self.all, &self.by_share), (counted.all, &counted.by_share));
        assert!(self.all.is_within(1));
        self.all.bytes
    }
}
