//! Ayame: rooms of two over a WebSocket, with JSON messages. A socket registers once, with a room. Then the two members of the
//! room exchange offers, answers and candidates, whose bytes pass unchanged. The room ends with either of its members.
//!
//! A full room costs no webhook call and no mint, and no order of replies admits a third member. Each way out of a registration frees
//! its place.
//!
//! | where | what |
//! |---|---|
//! | [`socket`] | one socket: who it is, and how far it has come |
//! | [`room`] | who has a place in which room |
//! | [`registration`] | from `register` to `accept` or `reject` |
//! | [`relay`] | frames between the members of a room |
//! | [`ending`] | every way in which a socket or a room ends |
//! | [`message`], [`ice`] | the formats |
//! | [`closing`] | what the close frames say |

mod closing;
mod ending;
mod ice;
mod message;
mod registration;
mod relay;
mod room;
mod socket;

use turn_limits::PerHolder;

use message::{Frame, Message};
use room::AyameRooms;
use socket::{Socket, Timer};

use crate::prelude::*;

/// How long a socket may be open without a `register`.
pub const REGISTER_MAX: Duration = Duration::from_secs(10);
/// The most frames of one socket that wait for its `accept`, as in the reference server.
pub const WAITING_FRAMES_MAX: usize = 100;
/// The most bytes of the frames that wait for the `accept` of their socket. One frame of the longest kind always fits.
pub const WAITING_BYTES_MAX: usize = 1024 * 1024;
/// The most frames that wait to be sent to a client. A browser sends its candidates in a burst, of tens at most.
pub const QUEUED_FRAMES_MAX: usize = 512;
/// How many bytes may wait to be sent to a client, in addition to one frame of the longest kind.
pub const QUEUED_BYTES_MORE: usize = 256 * 1024;
/// The frames of one socket: at once, where a call needs less than a hundred, and in a second, in the long run. An application that sends
/// `message` for each movement of the mouse sends 60 a second.
pub const FRAME_RATE: Rate = Rate::per_second(1_000, 200);
/// The sockets of one client address or user whose webhooks are called: twice as many at once as an office has. An IPv6 /48 has four times
/// as many.
const WEBHOOK_RATE: Rate = Rate::per_second(128, 4);
/// Client addresses with such a rate of their own, half for each address family.
pub const WEBHOOK_CLIENTS_MAX: usize = 8_192;

/// The settings of the reference server.
#[derive(Clone, Debug)]
pub struct AyameSettings {
    /// Whether the application decides who may join. `AUTHN_WEBHOOK_URL` is set.
    pub has_authn_webhook: bool,
    /// Whether the application gets a request for each socket that has ended: `DISCONNECT_WEBHOOK_URL` is set.
    pub has_disconnect_webhook: bool,
    /// Whether `message` is passed on. `TYPE_MESSAGE`; false when unset.
    pub type_message: bool,
    /// Between two `ping`s. `WS_PING_INTERVAL_SEC`, 1 to 3,600; 5 when unset.
    pub ping_interval: Duration,
    /// The longest time between two `pong`s of a client. `WS_PONG_TIMEOUT_SEC`, 1 to 3,600; 60 when unset.
    pub pong_timeout: Duration,
    /// The longest time between two frames of a client. `WS_READ_TIMEOUT_SEC`, 1 to 3,600; 90 when unset.
    pub read_timeout: Duration,
    /// The longest frame from a client, in bytes. `READ_LIMIT_BYTES`, 1,024 to 1,048,576; 1,048,576 when unset.
    pub read_limit: usize,
}

/// Whether clients sign in, with their request or with the key of their `register`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SignIn {
    /// Nobody can: the key is only for the application.
    Off,
    /// A client may.
    Optional,
    /// A client that is no user is rejected.
    Required,
}

/// The sockets and rooms of Ayame.
pub struct Ayame {
    settings: AyameSettings,
    sign_in: SignIn,
    sockets: BTreeMap<SocketId, Socket>,
    rooms: AyameRooms,
    /// The rate of each holder, in sockets whose webhooks may be called.
    webhooks: PerHolder,
    deadlines: Deadlines<(SocketId, Timer)>,
    actions: Actions,
}

impl Ayame {
    /// No sockets and no rooms.
    pub fn new(settings: AyameSettings, sign_in: SignIn) -> Self {
        Self {
            settings,
            sign_in,
            sockets: BTreeMap::new(),
            rooms: AyameRooms::default(),
            webhooks: PerHolder::new(WEBHOOK_RATE, WEBHOOK_CLIENTS_MAX),
            deadlines: Deadlines::default(),
            actions: Actions::default(),
        }
    }

    fn opened(&mut self, id: SocketId, holder: Holder, upgrade: Upgrade, now: Duration) {
        self.sockets.insert(id, Socket::new(holder, upgrade));
        self.deadlines.set((id, Timer::Register), now + REGISTER_MAX);
        self.deadlines.set((id, Timer::Read), now + self.settings.read_timeout);
        self.deadlines.set((id, Timer::Ping), now + self.settings.ping_interval);
        self.deadlines.set((id, Timer::Pong), now + self.settings.pong_timeout);
    }

    fn due(&mut self, now: Duration) {
        while let Some((id, timer)) = self.deadlines.pop(now) {
            match timer {
                Timer::Register => self.close(id, closing::REGISTER_TIMEOUT),
                Timer::Read => self.close(id, closing::READ_TIMEOUT),
                Timer::Pong => self.close(id, closing::PONG_TIMEOUT),
                Timer::Ping => {
                    self.actions.send(id, message::PING);
                    self.deadlines.set((id, Timer::Ping), now + self.settings.ping_interval);
                }
            }
        }
    }

    /// Whether the webhooks of a socket may be called. The socket counts once against the rate, for both webhooks.
    fn may_call_webhooks(&mut self, id: SocketId, now: Duration) -> bool {
        let Some(socket) = self.sockets.get_mut(&id) else { return false };
        let may_call = socket.may_call_webhooks || self.webhooks.take(socket.holder.clone(), 1, now).is_ok();
        socket.may_call_webhooks = may_call;
        if !may_call {
            self.actions.dropped(Dropped::Flood);
        }
        may_call
    }
}

impl Protocol for Ayame {
    type Frame = Frame;

    fn parse(text: Text) -> Frame {
        let message = Message::parse(&text);
        Frame { text, message }
    }

    fn step(&mut self, event: Event<Frame>, now: Duration) -> Vec<Action> {
        match event {
            Event::Opened { socket, holder, upgrade } => self.opened(socket, holder, upgrade, now),
            Event::Text { socket, frame } => self.arrived(socket, frame, now),
            Event::Binary { socket } => self.close(socket, closing::BINARY),
            // The network answers control pings, even for a page that hangs. So only the message `pong` counts.
            Event::Pong { .. } => {}
            Event::Replied { socket, reply } => self.replied(socket, reply, now),
            Event::Closed { socket } => self.closed(socket, now),
            Event::Due => self.due(now),
            Event::EndRoom { room } => self.end_room(&room),
            Event::Drain => self.drain(),
        }
        self.actions.take()
    }

    fn next_due(&self) -> Option<Duration> {
        self.deadlines.next()
    }

    fn limits(&self) -> Limits {
        Limits {
            frame_max: self.settings.read_limit,
            queued_frames_max: QUEUED_FRAMES_MAX,
            queued_bytes_max: self.settings.read_limit + QUEUED_BYTES_MORE,
            // Only the partner of the call fills this queue. When it is full, the call ends for both,
            // because one socket is closed. A lost frame would be worse.
            drops_floods: false,
            too_slow: closing::TOO_SLOW,
        }
    }
}

#[cfg(test)]
mod tests;
