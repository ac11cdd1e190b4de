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

use message::{Incoming, Publish};
use topics::{OverBound, Recipients, Subscriber, Subscriptions, Topics};

use crate::prelude::*;

/// Between two control pings.
pub const PING_INTERVAL: Duration = Duration::from_secs(30);
/// The longest silence of a client: two pings.
pub const SILENCE_MAX: Duration = Duration::from_secs(60);
const LIMITS: Limits = Limits {
    // Bytes. An encrypted session description has about 10,000.
    frame_max: 64 * 1024,
    // When all pages of a full topic return at once, each gets an announcement from each.
    queued_frames_max: 2_048,
    queued_bytes_max: 2 * 1024 * 1024,
    drops_floods: true,
    too_slow: Closing { code: 1008, reason: "too slow" },
};
/// For how long a socket stays open, with its other topics, after a topic was refused: after a close, y-webrtc connects again at once, with
/// the same list.
const REFUSED_FOR: Duration = Duration::from_secs(1);
/// How many messages one socket may publish, at once and in a second. A page that enters a topic with 34 others sends each of them an
/// answer and candidates. Frames of other types have an allowance of the same size.
pub const FRAME_RATE: Rate = Rate::per_second(500, 50);

/// The sockets and their topics.
pub struct Yjs {
    sockets: Sockets<Socket>,
    topics: Topics,
    /// The sockets of which a topic was refused, and when each is closed.
    refused: Deadlines<SocketId>,
    actions: Actions,
}

struct Socket {
    holder: Holder,
    subscriptions: Subscriptions,
    publishes: Bucket,
    other_frames: Bucket,
}

impl Default for Yjs {
    fn default() -> Self {
        let sockets = Sockets::new(PING_INTERVAL, SILENCE_MAX);
        let (topics, refused, actions) = Default::default();
        Self { sockets, topics, refused, actions }
    }
}

impl Yjs {
    fn opened(&mut self, socket: SocketId, holder: Holder, now: Duration) {
        let (subscriptions, publishes, other_frames) = Default::default();
        self.sockets.insert(socket, Socket { holder, subscriptions, publishes, other_frames }, now);
    }

    /// `incoming` is `None` for a binary frame, and for a text that is not a message. Such a frame keeps the socket
    /// alive and counts against the rate, and does nothing else.
    fn arrived(&mut self, socket: SocketId, incoming: Option<Incoming>, now: Duration) {
        let Some(own) = self.sockets.heard(socket, now) else { return };
        let allowance = match &incoming {
            Some(Incoming::Publish(_)) => &mut own.publishes,
            _ => &mut own.other_frames,
        };
        if !allowance.take(FRAME_RATE, now) {
            self.actions.dropped(Dropped::Flood);
            return self.close(socket, Closing::POLICY);
        }
        match incoming {
            Some(Incoming::Subscribe(topics)) => {
                let subscriber = Subscriber { socket, holder: own.holder.clone() };
                for topic in topics {
                    if self.topics.subscribe(&subscriber, &mut own.subscriptions, &topic, now).is_err() {
                        self.actions.dropped(Dropped::Subscription);
                        if self.refused.of(&socket).is_none() {
                            self.refused.set(socket, now + REFUSED_FOR);
                        }
                    }
                }
            }
            Some(Incoming::Unsubscribe(topics)) => {
                for topic in topics {
                    self.topics.unsubscribe(&mut own.subscriptions, &topic);
                }
            }
            Some(Incoming::Publish(message)) => {
                let recipients = own.subscriptions.recipients(&message.topic, message.may_announce, now);
                self.publish(&message, recipients, now);
            }
            Some(Incoming::Ping) => self.actions.send(socket, message::PONG),
            None => {}
        }
    }

    fn publish(&mut self, message: &Publish, recipients: Recipients, now: Duration) {
        let text = message::published(message, self.topics.subscribers(&message.topic));
        match self.topics.fan_out(&message.topic, text.len(), recipients, now) {
            Ok(to) => to.into_iter().for_each(|to| self.actions.send(to, text.clone())),
            Err(OverBound) => self.actions.dropped(Dropped::FanOut),
        }
    }

    fn due(&mut self, now: Duration) {
        while let Some(refused) = self.refused.pop(now) {
            self.close(refused, TOO_MANY_TOPICS);
        }
        for dead in self.sockets.due(now, &mut self.actions) {
            self.close(dead, NO_PONG);
        }
    }

    fn close(&mut self, socket: SocketId, close: Closing) {
        if self.forget(socket) {
            self.actions.close(socket, close);
        }
    }

    /// Removes a socket with its subscriptions. `false` if it is not open.
    fn forget(&mut self, socket: SocketId) -> bool {
        let Some(gone) = self.sockets.remove(socket) else { return false };
        self.topics.unsubscribe_all(gone.subscriptions);
        self.refused.clear(&socket);
        true
    }
}

const TOO_MANY_TOPICS: Closing = Closing { code: 1008, reason: "too many topics, or one is too long" };
const NO_PONG: Closing = Closing { code: 1008, reason: "no pong" };

impl Protocol for Yjs {
    /// `None` for a message that no client sends.
    type Frame = Option<Incoming>;

    fn parse(text: Text) -> Option<Incoming> {
        message::parse(&text)
    }

    fn step(&mut self, event: Event<Option<Incoming>>, now: Duration) -> Vec<Action> {
        match event {
            Event::Opened { socket, holder, .. } => self.opened(socket, holder, now),
            Event::Text { socket, frame } => self.arrived(socket, frame, now),
            Event::Binary { socket } => self.arrived(socket, None, now),
            Event::Pong { socket } => {
                self.sockets.heard(socket, now);
            }
            Event::Closed { socket } => {
                self.forget(socket);
            }
            Event::Due => self.due(now),
            // This protocol asks no questions. A topic cannot be ended: its clients would return at once.
            Event::Replied { .. } | Event::EndRoom { .. } | Event::Drain => {}
        }
        self.actions.take()
    }

    fn next_due(&self) -> Option<Duration> {
        self.sockets.next_due().into_iter().chain(self.refused.next()).min()
    }

    fn limits(&self) -> Limits {
        LIMITS
    }
}

#[cfg(test)]
mod tests;
