//! Who subscribes to which topic. A topic exists while it has subscribers, and counts against the share of the client or user that has
//! subscribed to it for longest.

use std::ops::RangeToInclusive;

use crate::prelude::*;

/// The most topics of one socket. A page has one for each document that is open.
pub const TOPICS_PER_SOCKET_MAX: usize = 128;
/// The most topics in all.
pub const TOPICS_MAX: usize = SHARES * TOPICS_PER_CLIENT_MAX;
/// The most topics of one client address or user. An IPv6 /48 has four times as many.
pub const TOPICS_PER_CLIENT_MAX: usize = 625;
/// The most subscribers of one topic. A page connects to 34 others at most.
pub const SUBSCRIBERS_MAX: usize = 256;
/// The longest name of a topic, in characters.
pub const TOPIC_CHARS_MAX: usize = 256;
/// For how long after its subscription the first message of a socket may be its announcement.
pub const ANNOUNCE_MAX: Duration = Duration::from_secs(1);
const TOPICS: Bounds = Bounds { client_max: TOPICS_PER_CLIENT_MAX, all_max: TOPICS_MAX };
/// How much may be sent to the subscribers of one topic, in KiB: at once, where thirty pages that enter at once need about 100 MiB, and in
/// a second, in the long run.
const FAN_OUT: Rate = Rate::per_second(128 * 1024, 16 * 1024);

/// The topics with their subscribers.
#[derive(Debug, Default)]
pub(super) struct Topics {
    by_name: HashMap<Arc<str>, Topic>,
    /// How many topics count against each holder.
    held: Counts,
    /// The order of the latest subscription.
    last_order: u64,
}

#[derive(Debug, Default)]
struct Topic {
    /// Each with the order of its subscription, the earliest first. Most topics have few, so a list takes less memory than a tree.
    subscribers: Vec<(u64, Subscriber)>,
    fan_out: Bucket,
}

/// A socket and its holder.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Subscriber {
    pub(super) socket: SocketId,
    pub(super) holder: Holder,
}

/// The topics of one socket.
#[derive(Debug, Default)]
pub(super) struct Subscriptions(BTreeMap<Arc<str>, Subscription>);

#[derive(Debug)]
struct Subscription {
    /// Its place in the order of the subscriptions of all sockets.
    order: u64,
    since: Duration,
    has_published: bool,
}

/// The request exceeds a bound.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct OverBound;

/// Who gets a message: the subscribers of the topic whose order is in this range.
pub(super) type Recipients = RangeToInclusive<u64>;

/// All subscribers.
const ALL: Recipients = ..=u64::MAX;

impl Subscriptions {
    /// Who gets the message that this socket publishes now. If two pages enter a topic at once, only the announcement of the page that
    /// subscribed later reaches the other page. So one of the two makes an offer, and not both.
    pub(super) fn recipients(&mut self, topic: &str, may_announce: bool, now: Duration) -> Recipients {
        let Some(subscription) = self.0.get_mut(topic) else { return ALL };
        let is_first = !std::mem::replace(&mut subscription.has_published, true);
        if is_first && now <= subscription.since + ANNOUNCE_MAX && may_announce {
            // The earlier subscribers, and the socket itself.
            ..=subscription.order
        } else {
            ALL
        }
    }
}

impl Topic {
    /// Whose share it counts against.
    fn holder(&self) -> Option<Holder> {
        Some(self.subscribers.first()?.1.holder.clone())
    }
}

impl Topics {
    /// Subscribes a socket. An existing subscription stays as it is.
    pub(super) fn subscribe(
        &mut self,
        subscriber: &Subscriber,
        own: &mut Subscriptions,
        name: &str,
        now: Duration,
    ) -> Result<(), OverBound> {
        if own.0.contains_key(name) {
            return Ok(());
        }
        let length = name.chars().count();
        if !(1..=TOPIC_CHARS_MAX).contains(&length) || own.0.len() >= TOPICS_PER_SOCKET_MAX {
            return Err(OverBound);
        }
        let name = match self.by_name.get_key_value(name) {
            Some((_, topic)) if topic.subscribers.len() >= SUBSCRIBERS_MAX => return Err(OverBound),
            Some((name, _)) => Arc::clone(name),
            None if !self.held.fits(&subscriber.holder, 1, TOPICS) => return Err(OverBound),
            None => {
                self.held.add(&subscriber.holder, 1);
                name.into()
            }
        };
        self.last_order += 1;
        let order = self.last_order;
        self.by_name.entry(Arc::clone(&name)).or_default().subscribers.push((order, subscriber.clone()));
        own.0.insert(name, Subscription { order, since: now, has_published: false });
        Ok(())
    }

    pub(super) fn unsubscribe(&mut self, own: &mut Subscriptions, name: &str) {
        if let Some((name, subscription)) = own.0.remove_entry(name) {
            self.remove(&name, &subscription);
        }
    }

    /// Removes all subscriptions of a socket.
    pub(super) fn unsubscribe_all(&mut self, own: Subscriptions) {
        for (name, subscription) in own.0 {
            self.remove(&name, &subscription);
        }
    }

    fn remove(&mut self, name: &Arc<str>, subscription: &Subscription) {
        let Some(topic) = self.by_name.get_mut(name) else { return };
        let before = topic.holder();
        topic.subscribers.retain(|(order, _)| *order != subscription.order);
        let after = topic.holder();
        if after.is_none() {
            self.by_name.remove(name);
        }
        if let Some(holder) = before {
            self.held.remove(&holder, 1);
        }
        if let Some(holder) = after {
            self.held.add(&holder, 1);
        }
    }

    pub(super) fn subscribers(&self, name: &str) -> usize {
        self.by_name.get(name).map_or(0, |topic| topic.subscribers.len())
    }

    /// The recipients of a message with this many bytes, the earliest subscriber first. An error if the bytes for all of them exceed the
    /// topic's rate.
    pub(super) fn fan_out(
        &mut self,
        name: &str,
        bytes: usize,
        recipients: Recipients,
        now: Duration,
    ) -> Result<Vec<SocketId>, OverBound> {
        let Some(topic) = self.by_name.get_mut(name) else { return Ok(vec![]) };
        let reached = topic.subscribers.iter().take_while(|(order, _)| recipients.contains(order));
        let to: Vec<_> = reached.map(|(_, subscriber)| subscriber.socket).collect();
        let kib = u32::try_from((bytes * to.len()).div_ceil(1024)).unwrap_or(u32::MAX);
        topic.fan_out.take_several(kib, FAN_OUT, now).map(|()| to).map_err(|_| OverBound)
    }

    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        self.by_name.len()
    }
}

#[cfg(test)]
impl Topics {
    /// Both sides of each subscription agree, no bound is exceeded, and no topic is empty.
    pub(super) fn check<'a>(&self, sockets: impl Iterator<Item = (SocketId, &'a Subscriptions)>) {
        let mut subscriptions = 0;
        for (socket, own) in sockets {
            assert!(own.0.len() <= TOPICS_PER_SOCKET_MAX);
            for (name, subscription) in &own.0 {
                let mut subscribers = self.by_name[name].subscribers.iter();
                assert!(subscribers.any(|(order, it)| (*order, it.socket) == (subscription.order, socket)));
                subscriptions += 1;
            }
        }
        let of_topic = |topic: &Topic| {
            assert!((1..=SUBSCRIBERS_MAX).contains(&topic.subscribers.len()));
            topic.subscribers.len()
        };
        assert_eq!(self.by_name.values().map(of_topic).sum::<usize>(), subscriptions);
        assert!(self.by_name.len() <= TOPICS_MAX);
        let mut held = Counts::default();
        self.by_name.values().filter_map(Topic::holder).for_each(|holder| held.add(&holder, 1));
        assert_eq!(held, self.held);
    }
}
