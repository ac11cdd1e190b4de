//! `PeerJS`: peers with ids that send each other offers, answers and candidates over a WebSocket. A token proves that
//! a second socket belongs to the same client as the first. A message for an id without a socket waits.
//!
//! Each id belongs to at most one socket, and no messages wait for an id that has one. Nobody is told when a socket ends,
//! because the connections between peers outlive it. The id of a user stays the user's for a while, so that nobody else gets it while the
//! user's page connects again.
//!
//! | where | what |
//! |---|---|
//! | [`id`] | ids and tokens |
//! | [`message`] | the formats |
//! | [`waiting`] | messages for ids without a socket |

mod message;
pub mod waiting;

pub use message::refusal;

use turn_budget::SIGN_IN_MAX;

use message::{Incoming, MessageKind};
use waiting::{Expired, Message, Waiting};

use crate::prelude::*;

/// Between two control pings. Proxies close a connection on which nothing moves for a minute.
pub const PING_INTERVAL: Duration = Duration::from_secs(25);
/// The longest silence of a peer. Browsers run the timers of a background page only once a minute.
pub const SILENCE_MAX: Duration = Duration::from_secs(90);
const LIMITS: Limits = Limits {
    // Bytes. An offer has a few thousand, plus metadata.
    frame_max: 256 * 1024,
    // Room for all that waited for its id, and for a burst of one sender.
    queued_frames_max: 1_024,
    queued_bytes_max: 1024 * 1024,
    drops_floods: true,
    too_slow: Closing { code: 1008, reason: "too slow" },
};
/// How many frames one socket may send, at once and in a second. A connection needs tens of frames.
pub const FRAME_RATE: Rate = Rate::per_second(500, 100);
/// The longest id, in bytes. Pages choose ids such as user names; ids made by the broker have 36 bytes.
pub const ID_MAX: usize = 128;
/// How long an id stays that of its user after its socket has ended without leaving.
pub const KEPT_FOR: Duration = Duration::from_secs(60);
/// The most ids that are kept. An id beyond is free as soon as its socket has ended.
const KEPT: Bounds = Bounds { client_max: KEPT_PER_CLIENT_MAX, all_max: SHARES * KEPT_PER_CLIENT_MAX };
/// The most ids that are kept of one client address or user: as many as it may have sockets by default.
pub const KEPT_PER_CLIENT_MAX: usize = 64;

/// The peers and the messages that wait.
pub struct Peerjs {
    key: String,
    /// The open sockets that have an id.
    peers: Sockets<Peer>,
    ids: HashMap<Arc<str>, SocketId>,
    /// The peers of users whose socket has ended, and until when their id is kept, in that order. No socket has such an id.
    kept: Vec<(Duration, Peer)>,
    kept_of: Counts,
    waiting: Waiting,
    actions: Actions,
}

struct Peer {
    id: Arc<str>,
    token: String,
    holder: Holder,
    allowance: Bucket,
}

impl Peerjs {
    /// No peers. `key` is the key that every client names.
    pub fn new(key: String) -> Self {
        let peers = Sockets::new(PING_INTERVAL, SILENCE_MAX);
        let (ids, kept, kept_of, waiting, actions) = Default::default();
        Self { key, peers, ids, kept, kept_of, waiting, actions }
    }

    fn opened(&mut self, socket: SocketId, holder: Holder, upgrade: &Upgrade, now: Duration) {
        let (id, token) = match self.admit(upgrade, &holder) {
            Ok(admitted) => admitted,
            Err(refusal) => {
                self.actions.send(socket, refusal);
                return self.actions.close(socket, REFUSED);
            }
        };
        if let Some(old) = self.ids.get(id).copied() {
            self.close(old, REPLACED, now);
        }
        let id: Arc<str> = id.into();
        self.release(|_, peer| peer.id == id);
        self.ids.insert(Arc::clone(&id), socket);
        self.actions.send(socket, message::OPEN);
        for text in self.waiting.take(&id) {
            self.actions.send(socket, text);
        }
        let peer = Peer { id, token: token.to_owned(), holder, allowance: Bucket::default() };
        self.peers.insert(socket, peer, now);
    }

    /// The id and the token that a peer asks for, if it may have them. Otherwise the message that says why not.
    fn admit<'a>(&self, upgrade: &'a Upgrade, holder: &Holder) -> Result<(&'a str, &'a str), &'static str> {
        let given = |name: &str| upgrade.parameter(name).filter(|value| !value.is_empty());
        let (Some(id), Some(token), Some(key)) = (given("id"), given("token"), given("key")) else {
            return Err(message::INCOMPLETE);
        };
        if key != self.key {
            return Err(message::WRONG_KEY);
        }
        if !is_id(id) || !is_token(token) {
            return Err(message::BAD_ID);
        }
        let owner = self.ids.get(id).and_then(|socket| self.peers.get(*socket));
        let is_of_other_user =
            |(_, peer): &(Duration, Peer)| *peer.id == *id && peer.holder.user() != holder.user();
        if owner.is_some_and(|owner| owner.token != token) || self.kept.iter().any(is_of_other_user) {
            return Err(message::ID_TAKEN);
        }
        Ok((id, token))
    }

    /// `incoming` is `None` for a heartbeat, a binary frame, and a text that is not a message. Such a frame keeps the
    /// socket alive and counts against the rate, and does nothing else.
    fn arrived(&mut self, socket: SocketId, incoming: Option<Incoming>, now: Duration) {
        let Some(peer) = self.peers.heard(socket, now) else { return };
        if !peer.allowance.take(FRAME_RATE, now) {
            self.actions.dropped(Dropped::Flood);
            return self.close(socket, Closing::POLICY, now);
        }
        match incoming {
            Some(Incoming::Forward { kind, dst, payload }) => {
                let text = message::forwarded(kind, &peer.id, &dst, payload.as_deref());
                if let Some(to) = self.ids.get(&*dst) {
                    self.actions.send(*to, text);
                } else if kind != MessageKind::Leave && is_id(&dst) {
                    let (src, holder) = (Arc::clone(&peer.id), peer.holder.clone());
                    let is_offer = kind == MessageKind::Offer;
                    let message = Message { src, holder, text, is_offer, arrived: now, is_reported: false };
                    let dropped = self.waiting.keep(&dst, message);
                    self.count_dropped(Dropped::NotKept, dropped);
                }
            }
            Some(Incoming::Leave) => {
                let id = Arc::clone(&peer.id);
                self.close(socket, LEFT, now);
                self.release(|_, peer| peer.id == id);
            }
            None => {}
        }
    }

    fn due(&mut self, now: Duration) {
        let (dropped, expired) = self.waiting.expire(now);
        self.count_dropped(Dropped::Expired, dropped);
        for Expired { sender, absent } in expired {
            if let Some(to) = self.ids.get(&sender) {
                self.actions.send(*to, message::forwarded(MessageKind::Expire, &absent, &sender, None));
            }
        }
        for dead in self.peers.due(now, &mut self.actions) {
            self.close(dead, NO_HEARTBEAT, now);
        }
        self.release(|until, _| until <= now);
    }

    fn count_dropped(&mut self, why: Dropped, count: usize) {
        (0..count).for_each(|_| self.actions.dropped(why));
    }

    fn close(&mut self, socket: SocketId, close: Closing, now: Duration) {
        if self.forget(socket, now) {
            self.actions.close(socket, close);
        }
    }

    /// Takes its id from a socket, and keeps it for the user. `false` if the socket has no id: it was refused, or has been closed and may
    /// have a successor.
    fn forget(&mut self, socket: SocketId, now: Duration) -> bool {
        let Some(peer) = self.peers.remove(socket) else { return false };
        self.ids.remove(&peer.id);
        if peer.holder.user().is_some() && self.kept_of.fits(&peer.holder, 1, KEPT) {
            self.kept_of.add(&peer.holder, 1);
            self.kept.push((now + KEPT_FOR, peer));
        }
        true
    }

    /// Keeps the ids of these peers no more.
    fn release(&mut self, is_over: impl Fn(Duration, &Peer) -> bool) {
        for (_, peer) in self.kept.extract_if(.., |(until, peer)| is_over(*until, peer)) {
            self.kept_of.remove(&peer.holder, 1);
        }
    }
}

/// Whether a text can be an id. Control characters could garble logs and headers.
fn is_id(text: &str) -> bool {
    (1..=ID_MAX).contains(&text.len()) && !text.chars().any(char::is_control)
}

/// Whether a text can be a token. It may be the user's token of the sign-in, so it may be as long as such a token.
fn is_token(text: &str) -> bool {
    (1..=SIGN_IN_MAX).contains(&text.len())
}

/// The message before the close frame says why.
const REFUSED: Closing = Closing::normal("");
const REPLACED: Closing = Closing::normal("replaced by a new socket");
const LEFT: Closing = Closing::normal("left");
const NO_HEARTBEAT: Closing = Closing { code: 1008, reason: "no heartbeat" };

impl Protocol for Peerjs {
    /// `None` for a heartbeat, and for text that is no message.
    type Frame = Option<Incoming>;

    fn parse(text: Text) -> Option<Incoming> {
        message::parse(&text)
    }

    fn step(&mut self, event: Event<Option<Incoming>>, now: Duration) -> Vec<Action> {
        match event {
            Event::Opened { socket, holder, upgrade } => self.opened(socket, holder, &upgrade, now),
            Event::Text { socket, frame } => self.arrived(socket, frame, now),
            Event::Binary { socket } => self.arrived(socket, None, now),
            Event::Pong { socket } => {
                self.peers.heard(socket, now);
            }
            Event::Closed { socket } => {
                self.forget(socket, now);
            }
            Event::Due => self.due(now),
            // This protocol asks no questions and has no rooms.
            Event::Replied { .. } | Event::EndRoom { .. } | Event::Drain => {}
        }
        self.actions.take()
    }

    fn next_due(&self) -> Option<Duration> {
        [self.peers.next_due(), self.waiting.next_due(), self.kept.first().map(|(until, _)| *until)]
            .into_iter()
            .flatten()
            .min()
    }

    fn limits(&self) -> Limits {
        LIMITS
    }
}

#[cfg(test)]
mod tests;
