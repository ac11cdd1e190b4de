//! y-webrtc: sockets that subscribe to topics and publish messages to their subscribers. There are no users,
//! ids or addresses. What is published is not read, except for one rule about announcements ([`topics`]).
//!
//! Whatever a socket sends, other sockets notice nothing but messages on their own topics.
//!
//! | where | what |
//! |---|---|
//! | [`message`] | the formats |
//! | [`topics`] | who subscribes to which topic |

mod message;
pub mod topics;

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use turn_limits::{Bucket, Holder, Rate};

use crate::dropped::Dropped;
use crate::liveness::{Liveness, Overdue};
use crate::protocol::{Action, Closing, Event, Limits, Protocol, SocketId, Text};
use message::{Incoming, Publish};
use topics::{Subscriber, Subscriptions, Topics};

/// Between two control pings.
pub const PING_INTERVAL: Duration = Duration::from_secs(30);
/// The longest silence of a client: two pings.
pub const SILENCE_MAX: Duration = Duration::from_secs(60);
/// The longest frame from a client, in bytes. An encrypted session description has about 10,000.
pub const FRAME_MAX: usize = 64 * 1024;
/// The most frames that wait for a client. When all pages of a full topic return at once, each gets an announcement from each.
pub const QUEUED_FRAMES_MAX: usize = 2_048;
/// The most bytes that wait for a client.
pub const QUEUED_BYTES_MAX: usize = 2 * 1024 * 1024;
/// How many messages one socket may publish at once. A page that enters a topic with 34 others sends each of them an answer and
/// candidates. Frames of other types have an allowance of the same size.
pub const FRAMES_AT_ONCE_MAX: u32 = 500;
/// How many messages one socket may publish in a second, in the long run.
pub const FRAMES_PER_SECOND_MAX: u32 = 50;
const FRAME_RATE: Rate = Rate::per_second(FRAMES_AT_ONCE_MAX, FRAMES_PER_SECOND_MAX);

/// The sockets and their topics.
pub struct Yjs {
    sockets: BTreeMap<SocketId, Socket>,
    topics: Topics,
    liveness: Liveness,
    /// The actions for the current event. Empty between two events.
    actions: Vec<Action>,
}

struct Socket {
    holder: Holder,
    subscriptions: Subscriptions,
    publishes: Bucket,
    other_frames: Bucket,
}

impl Socket {
    fn new(holder: Holder) -> Self {
        let (subscriptions, publishes, other_frames) = Default::default();
        Self { holder, subscriptions, publishes, other_frames }
    }
}

/// The name of a topic may be its only protection, so only numbers are shown.
impl fmt::Debug for Yjs {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Yjs")
            .field("sockets", &self.sockets.len())
            .field("topics", &self.topics.len())
            .finish_non_exhaustive()
    }
}

impl Default for Yjs {
    fn default() -> Self {
        Self {
            sockets: BTreeMap::new(),
            topics: Topics::default(),
            liveness: Liveness::new(PING_INTERVAL, SILENCE_MAX),
            actions: Vec::new(),
        }
    }
}

impl Yjs {
    fn opened(&mut self, socket: SocketId, holder: Holder, now: Duration) {
        self.sockets.insert(socket, Socket::new(holder));
        self.liveness.opened(socket, now);
    }

    fn heard(&mut self, socket: SocketId, now: Duration) {
        if self.sockets.contains_key(&socket) {
            self.liveness.heard(socket, now);
        }
    }

    /// `incoming` is `None` for a binary frame, and for a text that is not a message. They are ignored, but count against the rate.
    fn arrived(&mut self, socket: SocketId, incoming: Option<Incoming>, now: Duration) {
        let Some(own) = self.sockets.get_mut(&socket) else { return };
        self.liveness.heard(socket, now);
        let frames = match &incoming {
            Some(Incoming::Publish(_)) => &mut own.publishes,
            _ => &mut own.other_frames,
        };
        if !frames.take(FRAME_RATE, now) {
            self.count_dropped(Dropped::Flood);
            return self.close(socket, Closing::POLICY);
        }
        match incoming {
            Some(Incoming::TooManyTopics) => self.refuse_topics(socket),
            Some(Incoming::Subscribe(topics)) => self.subscribe(socket, &topics, now),
            Some(Incoming::Unsubscribe(topics)) => {
                for topic in topics {
                    self.topics.unsubscribe(&mut own.subscriptions, &topic);
                }
            }
            Some(Incoming::Publish(message)) => self.publish(socket, &message, now),
            Some(Incoming::Ping) => self.send(socket, message::PONG.into()),
            None => {}
        }
    }

    fn subscribe(&mut self, socket: SocketId, topics: &[String], now: Duration) {
        let Some(own) = self.sockets.get_mut(&socket) else { return };
        let mut topics = topics.iter();
        let subscriber = Subscriber { socket, holder: own.holder.clone() };
        let all = topics
            .try_for_each(|topic| self.topics.subscribe(&subscriber, &mut own.subscriptions, topic, now));
        if all.is_err() {
            self.refuse_topics(socket);
        }
    }

    fn refuse_topics(&mut self, socket: SocketId) {
        self.count_dropped(Dropped::Subscription);
        self.close(socket, TOO_MANY_TOPICS);
    }

    fn publish(&mut self, from: SocketId, message: &Publish, now: Duration) {
        let Publish { topic, data, may_announce } = message;
        let Some(own) = self.sockets.get_mut(&from) else { return };
        let recipients = own.subscriptions.recipients(topic, *may_announce, now);
        let subscribers = self.topics.subscribers(topic);
        let Some(text) = message::published(topic, data.as_deref(), subscribers) else { return };
        let Ok(to) = self.topics.fan_out(topic, text.len(), recipients, now) else {
            return self.count_dropped(Dropped::FanOut);
        };
        for to in to {
            self.send(to, text.clone());
        }
    }

    fn due(&mut self, now: Duration) {
        while let Some(overdue) = self.liveness.pop(now) {
            match overdue {
                Overdue::Ping(to) => self.actions.push(Action::Ping { to }),
                Overdue::Dead(socket) => self.close(socket, SILENT),
            }
        }
    }

    fn drain(&mut self) {
        let sockets: Vec<_> = self.sockets.keys().copied().collect();
        for socket in sockets {
            self.close(socket, Closing::DRAIN);
        }
    }

    fn send(&mut self, to: SocketId, text: Text) {
        self.actions.push(Action::Send { to, text });
    }

    fn count_dropped(&mut self, why: Dropped) {
        self.actions.push(Action::Dropped(why));
    }

    fn close(&mut self, socket: SocketId, close: Closing) {
        if self.forget(socket) {
            self.actions.push(Action::Close { socket, close });
        }
    }

    /// `false` if the socket is not open.
    fn forget(&mut self, socket: SocketId) -> bool {
        let Some(gone) = self.sockets.remove(&socket) else { return false };
        self.topics.unsubscribe_all(gone.subscriptions);
        self.liveness.closed(socket);
        true
    }
}

const TOO_MANY_TOPICS: Closing = Closing { code: 1008, reason: "too many topics, or one is too long" };
const SILENT: Closing = Closing { code: 1008, reason: "no pong" };
const TOO_SLOW: Closing = Closing { code: 1008, reason: "too slow" };

impl Protocol for Yjs {
    /// `None` for a message that no client sends.
    type Frame = Option<Incoming>;

    fn parse(text: Text) -> Option<Incoming> {
        message::parse(text.as_str())
    }

    fn step(&mut self, event: Event<Option<Incoming>>, now: Duration) -> Vec<Action> {
        match event {
            Event::Opened { socket, holder, .. } => self.opened(socket, holder, now),
            Event::Text { socket, frame } => self.arrived(socket, frame, now),
            Event::Binary { socket } => self.arrived(socket, None, now),
            Event::Pong { socket } => self.heard(socket, now),
            Event::Closed { socket } => {
                self.forget(socket);
            }
            Event::Due => self.due(now),
            Event::Drain => self.drain(),
            // This protocol asks no questions. A topic cannot be ended: its clients would return at once.
            Event::Replied { .. } | Event::EndRoom { .. } => {}
        }
        std::mem::take(&mut self.actions)
    }

    fn next_due(&self) -> Option<Duration> {
        self.liveness.next()
    }

    fn limits(&self) -> Limits {
        Limits {
            frame_max: FRAME_MAX,
            queued_frames_max: QUEUED_FRAMES_MAX,
            queued_bytes_max: QUEUED_BYTES_MAX,
            too_slow: TOO_SLOW,
        }
    }
}

#[cfg(test)]
mod tests;
