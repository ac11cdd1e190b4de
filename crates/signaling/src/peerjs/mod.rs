//! `PeerJS`: peers with ids that send each other offers, answers and candidates over a WebSocket. A token proves that
//! a second socket belongs to the same client as the first. A message for an id without a socket waits.
//!
//! Each id belongs to at most one socket, and no messages wait for an id that has one. Nobody is told when a socket ends,
//! because the connections between peers outlive it.
//!
//! | where | what |
//! |---|---|
//! | [`id`] | ids and tokens |
//! | [`message`] | the formats |
//! | [`waiting`] | messages for ids without a socket |

mod id;
mod message;
pub mod waiting;

pub use id::ID_MAX;

use std::collections::{BTreeMap, HashMap};
use std::fmt;
use std::iter;
use std::sync::Arc;
use std::time::Duration;

use serde_json::value::RawValue;
use turn_limits::{Bucket, Holder, Rate};

use crate::dropped::Dropped;
use crate::liveness::{Liveness, Overdue};
use crate::protocol::{Action, Closing, Event, Limits, Protocol, SocketId, Text, Upgrade};
use message::{Incoming, MessageKind};
use waiting::{Message, Waiting};

/// Between two control pings. Proxies close a connection on which nothing moves for a minute.
pub const PING_INTERVAL: Duration = Duration::from_secs(25);
/// The longest silence of a peer. Browsers run the timers of a background page only once a minute.
pub const SILENCE_MAX: Duration = Duration::from_secs(90);
/// The longest frame from a client, in bytes. An offer has a few thousand, and the application's metadata.
pub const FRAME_MAX: usize = 256 * 1024;
/// The most frames that wait for a client: room for all that waited for its id, and for a burst of one sender.
pub const QUEUED_FRAMES_MAX: usize = 1_024;
/// The most bytes that wait for a client.
pub const QUEUED_BYTES_MAX: usize = 1024 * 1024;
/// What one socket may send at once. A connection needs tens of frames.
pub const FRAMES_AT_ONCE_MAX: u32 = 500;
/// What one socket may send in the long run.
pub const FRAMES_PER_SECOND_MAX: u32 = 100;
const FRAME_RATE: Rate = Rate::per_second(FRAMES_AT_ONCE_MAX, FRAMES_PER_SECOND_MAX);

/// The peers and the messages that wait.
pub struct Peerjs {
    key: String,
    /// The open sockets that have an id.
    peers: BTreeMap<SocketId, Peer>,
    ids: HashMap<Arc<str>, SocketId>,
    waiting: Waiting,
    liveness: Liveness,
    /// The actions for the current event. Empty between two events.
    actions: Vec<Action>,
}

struct Peer {
    id: Arc<str>,
    token: String,
    holder: Holder,
    allowance: Bucket,
}

/// Peers have secret tokens, so only numbers are shown.
impl fmt::Debug for Peerjs {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Peerjs")
            .field("peers", &self.peers.len())
            .field("waited_ids", &self.waiting.ids())
            .finish_non_exhaustive()
    }
}

impl Peerjs {
    /// No peers. `key` is the key that every client names.
    pub fn new(key: String) -> Self {
        Self {
            key,
            peers: BTreeMap::new(),
            ids: HashMap::new(),
            waiting: Waiting::default(),
            liveness: Liveness::new(PING_INTERVAL, SILENCE_MAX),
            actions: Vec::new(),
        }
    }

    fn opened(&mut self, socket: SocketId, holder: Holder, upgrade: &Upgrade, now: Duration) {
        let (id, token) = match self.admit(upgrade) {
            Ok(admitted) => admitted,
            Err(refusal) => {
                self.send(socket, refusal);
                return self.actions.push(Action::Close { socket, close: REFUSED });
            }
        };
        if let Some(old) = self.ids.get(id).copied() {
            self.close(old, REPLACED);
        }
        let id: Arc<str> = id.into();
        self.ids.insert(Arc::clone(&id), socket);
        self.liveness.opened(socket, now);
        self.send(socket, message::OPEN);
        for text in self.waiting.take(&id) {
            self.send(socket, text);
        }
        let peer = Peer { id, token: token.to_owned(), holder, allowance: Bucket::default() };
        self.peers.insert(socket, peer);
    }

    /// The id and the token that a peer asks for, if it may have them. Otherwise the message that says why not.
    fn admit<'a>(&self, upgrade: &'a Upgrade) -> Result<(&'a str, &'a str), &'static str> {
        let given = |name: &str| upgrade.parameter(name).filter(|value| !value.is_empty());
        let (Some(id), Some(token), Some(key)) = (given("id"), given("token"), given("key")) else {
            return Err(message::INCOMPLETE);
        };
        if key != self.key {
            return Err(message::WRONG_KEY);
        }
        if !id::is_id(id) || !id::is_token(token) {
            return Err(message::BAD_ID);
        }
        match self.holder(id) {
            Some(holder) if holder.token != token => Err(message::ID_TAKEN),
            _ => Ok((id, token)),
        }
    }

    fn holder(&self, id: &str) -> Option<&Peer> {
        self.peers.get(self.ids.get(id)?)
    }

    /// Something came from a socket. `false` if it must be ignored.
    fn heard(&mut self, socket: SocketId, now: Duration) -> bool {
        let is_open = self.peers.contains_key(&socket);
        if is_open {
            self.liveness.heard(socket, now);
        }
        is_open
    }

    /// A frame came from a socket. `false` if it must be ignored.
    fn may_send(&mut self, socket: SocketId, now: Duration) -> bool {
        if !self.heard(socket, now) {
            return false;
        }
        let is_within = self.peers.get_mut(&socket).is_some_and(|peer| peer.allowance.take(FRAME_RATE, now));
        if !is_within {
            self.actions.push(Action::Dropped(Dropped::Flood));
            self.close(socket, Closing::POLICY);
        }
        is_within
    }

    fn arrived(&mut self, socket: SocketId, incoming: Option<Incoming>, now: Duration) {
        if !self.may_send(socket, now) {
            return;
        }
        match incoming {
            Some(Incoming::Forward { kind, dst, payload }) => {
                self.forward(socket, kind, &dst, payload.as_deref(), now);
            }
            Some(Incoming::Leave) => self.close(socket, LEFT),
            None => {}
        }
    }

    fn forward(
        &mut self,
        from: SocketId,
        kind: MessageKind,
        dst: &str,
        payload: Option<&RawValue>,
        now: Duration,
    ) {
        let Some(peer) = self.peers.get(&from) else { return };
        let Some(text) = message::forwarded(kind, &peer.id, dst, payload) else { return };
        if let Some(to) = self.ids.get(dst).copied() {
            self.send(to, text);
        } else if kind != MessageKind::Leave && id::is_id(dst) {
            let (src, is_offer) = (Arc::clone(&peer.id), kind == MessageKind::Offer);
            let message = Message::new(src, peer.holder.clone(), text, is_offer, now);
            let dropped = self.waiting.keep(dst, message);
            self.actions.extend(iter::repeat_n(Action::Dropped(Dropped::NotKept), dropped));
        }
    }

    fn due(&mut self, now: Duration) {
        let (messages, expired) = self.waiting.expire(now);
        self.actions.extend(iter::repeat_n(Action::Dropped(Dropped::Expired), messages));
        for expired in expired {
            let to = self.ids.get(&expired.sender).copied();
            if let Some((to, text)) = to.zip(message::expired(&expired.absent, &expired.sender)) {
                self.send(to, text);
            }
        }
        while let Some(overdue) = self.liveness.pop(now) {
            match overdue {
                Overdue::Ping(to) => self.actions.push(Action::Ping { to }),
                Overdue::Dead(socket) => self.close(socket, SILENT),
            }
        }
    }

    fn drain(&mut self) {
        let sockets: Vec<_> = self.peers.keys().copied().collect();
        for socket in sockets {
            self.close(socket, Closing::DRAIN);
        }
        self.waiting = Waiting::default();
    }

    fn close(&mut self, socket: SocketId, close: Closing) {
        if self.forget(socket) {
            self.actions.push(Action::Close { socket, close });
        }
    }

    /// Frees the id of a socket. `false` if it has none: it was refused, or has been closed and may have a successor.
    fn forget(&mut self, socket: SocketId) -> bool {
        let Some(peer) = self.peers.remove(&socket) else { return false };
        self.ids.remove(&peer.id);
        self.liveness.closed(socket);
        true
    }

    fn send(&mut self, to: SocketId, text: impl Into<Text>) {
        self.actions.push(Action::Send { to, text: text.into() });
    }
}

/// The message that is sent before it says why.
const REFUSED: Closing = Closing::normal("");
const REPLACED: Closing = Closing::normal("replaced by a new socket");
const LEFT: Closing = Closing::normal("left");
const SILENT: Closing = Closing { code: 1008, reason: "no heartbeat" };

impl Protocol for Peerjs {
    /// `None` for a heartbeat, and for a message that no client sends.
    type Frame = Option<Incoming>;

    fn parse(text: Text) -> Option<Incoming> {
        message::parse(text.as_str())
    }

    fn step(&mut self, event: Event<Option<Incoming>>, now: Duration) -> Vec<Action> {
        match event {
            Event::Opened { socket, holder, upgrade } => self.opened(socket, holder, &upgrade, now),
            Event::Text { socket, frame } => self.arrived(socket, frame, now),
            // No client sends one. It is ignored, as is JSON that is not a message.
            Event::Binary { socket } => {
                self.may_send(socket, now);
            }
            Event::Pong { socket } => {
                self.heard(socket, now);
            }
            Event::Closed { socket } => {
                self.forget(socket);
            }
            Event::Due => self.due(now),
            Event::Drain => self.drain(),
            // This protocol asks no questions and has no rooms.
            Event::Replied { .. } | Event::EndRoom { .. } => {}
        }
        std::mem::take(&mut self.actions)
    }

    fn next_due(&self) -> Option<Duration> {
        self.liveness.next().into_iter().chain(self.waiting.next_due()).min()
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

const TOO_SLOW: Closing = Closing { code: 1008, reason: "too slow" };

#[cfg(test)]
mod tests;
