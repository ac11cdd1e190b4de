//! The boundary between the shell and a protocol. The shell owns sockets, timers, queues and HTTP calls. A protocol owns every
//! decision. A socket's events are `Opened`, then frames, then `Closed` exactly once. After a protocol has closed a socket, `Closed`
//! is the only event that still comes.

use std::fmt;
use std::ops::Deref;

use crate::prelude::*;

/// A socket, numbered by the shell. A number is never used again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SocketId(pub u64);

/// The text of a frame. Cloning it copies no bytes, so a message to many sockets is stored once.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Text(Arc<str>);

impl Text {
    /// Whether both are clones of one text. Texts with equal bytes that were stored separately are not.
    pub fn is_clone_of(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }
}

impl<T: Into<Arc<str>>> From<T> for Text {
    fn from(text: T) -> Self {
        Self(text.into())
    }
}

impl Deref for Text {
    type Target = str;

    fn deref(&self) -> &str {
        &self.0
    }
}

/// The bytes that the shell sends.
impl AsRef<[u8]> for Text {
    fn as_ref(&self) -> &[u8] {
        self.0.as_bytes()
    }
}

/// Session descriptions contain addresses and keys, so only the length is shown.
impl fmt::Debug for Text {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Text({} bytes)", self.len())
    }
}

/// What is known about a socket when it opens.
#[derive(Clone, Debug, Default)]
pub struct Upgrade {
    /// The room that the request names outside its query: the last part of the path, or a header of Ayame.
    pub room: Option<Arc<str>>,
    /// The parameters of the query, decoded, in their order.
    pub query: Vec<(String, String)>,
    /// The request's headers that this protocol's settings name, in lower case, in their order.
    pub headers: Vec<(String, String)>,
    /// The user, if a token, a trusted proxy or the visitor names one.
    pub user: Option<User>,
    /// How `user` is known. 0: by a token, or there is no user. In a room also 1: a trusted proxy names the user. Any other number: the
    /// random number of the visitor who chose the name.
    pub visitor: u128,
    /// The time of the wall clock, in milliseconds since 1970. Only for ids.
    pub wall_millis: u64,
    /// Random bits, for ids.
    pub random: u128,
}

impl Upgrade {
    /// The first value of a query parameter.
    pub fn parameter(&self, name: &str) -> Option<&str> {
        self.query.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_str())
    }
}

/// What the shell tells a protocol. A frame arrives as [`Text`], and the protocol takes it as its [`Protocol::Frame`].
#[derive(Debug)]
pub enum Event<F> {
    /// A socket has opened.
    Opened {
        /// The new socket.
        socket: SocketId,
        /// Whose share of each table it uses.
        holder: Holder,
        /// What is known of it.
        upgrade: Upgrade,
    },
    /// A text frame has arrived.
    Text {
        /// From this socket.
        socket: SocketId,
        /// Its content.
        frame: F,
    },
    /// A binary frame has arrived. No protocol here uses them, so its content is dropped.
    Binary {
        /// From this socket.
        socket: SocketId,
    },
    /// A control pong has arrived.
    Pong {
        /// From this socket.
        socket: SocketId,
    },
    /// The reply to a question has come.
    Replied {
        /// The socket for which the question was asked. It may have closed since.
        socket: SocketId,
        /// The reply.
        reply: Reply,
    },
    /// The socket has ended: the peer closed it, it failed, it was too slow, or this protocol closed it.
    Closed {
        /// The socket that has ended.
        socket: SocketId,
    },
    /// The time of [`Protocol::next_due`] has come.
    Due,
    /// The operator ends a room: its sockets are closed. A socket that still waits for its sign-in or a webhook has no place in the room,
    /// and stays open.
    EndRoom {
        /// The room's name.
        room: Arc<str>,
    },
    /// The process stops. The shell closes every socket after this event.
    Drain,
}

impl<F> Event<F> {
    /// The socket that causes it. `None` if no socket does.
    pub fn socket(&self) -> Option<SocketId> {
        match self {
            Self::Opened { socket, .. }
            | Self::Text { socket, .. }
            | Self::Binary { socket }
            | Self::Pong { socket }
            | Self::Replied { socket, .. }
            | Self::Closed { socket } => Some(*socket),
            Self::Due | Self::EndRoom { .. } | Self::Drain => None,
        }
    }
}

impl Event<Text> {
    /// The same event, with its frame parsed.
    pub fn parse<F>(self, parse: impl FnOnce(Text) -> F) -> Event<F> {
        match self {
            Self::Opened { socket, holder, upgrade } => Event::Opened { socket, holder, upgrade },
            Self::Text { socket, frame } => Event::Text { socket, frame: parse(frame) },
            Self::Binary { socket } => Event::Binary { socket },
            Self::Pong { socket } => Event::Pong { socket },
            Self::Replied { socket, reply } => Event::Replied { socket, reply },
            Self::Closed { socket } => Event::Closed { socket },
            Self::Due => Event::Due,
            Self::EndRoom { room } => Event::EndRoom { room },
            Self::Drain => Event::Drain,
        }
    }
}

/// What the shell does for a protocol. It carries out actions in their order.
#[derive(Clone, Debug)]
pub enum Action {
    /// Send a text frame. If the queue of the socket is full, the socket is closed. With [`Limits::drops_floods`], a client that has sent
    /// much of the queue loses its frames there instead, if there is such a client.
    Send {
        /// To this socket.
        to: SocketId,
        /// The content.
        text: Text,
    },
    /// Send a control ping.
    Ping {
        /// To this socket.
        to: SocketId,
    },
    /// Close the socket after the frames that were sent to it before are written.
    Close {
        /// The socket.
        socket: SocketId,
        /// What the close frame says.
        close: Closing,
    },
    /// Answer a question with [`Event::Replied`]. Only [`Question::TellDisconnected`] has no reply.
    Ask {
        /// For this socket.
        socket: SocketId,
        /// The question.
        question: Question,
    },
    /// Something happened in a call.
    Call(CallEvent),
    /// Count something that a bound dropped.
    Dropped(Dropped),
}

/// A close frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Closing {
    /// The code of RFC 6455, section 7.4.
    pub code: u16,
    /// At most 123 bytes.
    pub reason: &'static str,
}

impl Closing {
    /// The process stops.
    pub const DRAIN: Self = Self { code: 1001, reason: "shutting down" };
    /// Another replica has the calls from now on.
    pub const RESTART: Self = Self { code: 1012, reason: "restarting" };
    /// The client sends what this protocol does not allow.
    pub const POLICY: Self = Self { code: 1008, reason: "policy violation" };

    /// A normal end, with code 1000.
    pub const fn normal(reason: &'static str) -> Self {
        Self { code: 1000, reason }
    }
}

/// A POST to the application.
#[derive(Clone, PartialEq, Eq)]
pub struct Webhook {
    /// JSON.
    pub body: String,
    /// Headers copied from the client's request.
    pub headers: Vec<(String, String)>,
}

/// The body holds keys of the application, so only its length is shown.
impl fmt::Debug for Webhook {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Webhook({} bytes, {} headers)", self.body.len(), self.headers.len())
    }
}

/// A question of a protocol. The shell needs time for it, so the reply comes as a later event.
#[derive(Clone, Debug)]
pub enum Question {
    /// Find out whose token this is.
    SignIn(Text),
    /// Ask the application whether this member may join.
    Authorize(Webhook),
    /// Tell the application that the socket has ended. The only question without a reply.
    TellDisconnected(Webhook),
    /// Mint a credential for a member of a call.
    Mint {
        /// The room, which becomes the grant's call.
        room: Arc<str>,
        /// Who the grant is for, if known.
        user: Option<User>,
    },
}

/// The reply to a [`Question`].
#[derive(Clone, Debug)]
pub enum Reply {
    /// The user whose token it is; `None` if it is no token of a user. An error closes the socket.
    SignedIn(Result<Option<User>, Closing>),
    /// The application's answer: the body of a 200, or `None` for anything else.
    Authorized(Option<Text>),
    /// The result of a mint.
    Minted {
        /// The ICE servers, a JSON array. With a refused mint: the STUN servers, or `None`.
        ice_servers: Option<Box<RawValue>>,
        /// The grant. `None` if nothing was minted.
        grant: Option<GrantId>,
    },
}

/// A protocol: all its sockets and rooms as one value. It ignores every event of a socket that it does not know.
pub trait Protocol: Send {
    /// A text frame, as far as this protocol reads it.
    type Frame;

    /// Parses a frame. It needs nothing that a protocol knows, so the shell parses each frame before it takes the protocol's lock, and a
    /// frame that is slow to parse delays nobody else.
    fn parse(text: Text) -> Self::Frame;

    /// Takes one event. `now` is the time since the process started; it never decreases.
    fn step(&mut self, event: Event<Self::Frame>, now: Duration) -> Vec<Action>;

    /// When [`Event::Due`] must come next. `None` while no timer runs.
    fn next_due(&self) -> Option<Duration>;

    /// The limits that the shell enforces.
    fn limits(&self) -> Limits;
}

/// What the shell enforces for each socket of a protocol.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// The longest frame from a client, in bytes. A longer one closes the socket with 1009.
    pub frame_max: usize,
    /// The most frames that wait for a client.
    pub queued_frames_max: usize,
    /// The most bytes that wait for a client.
    pub queued_bytes_max: usize,
    /// Whether a client that fills the queue of another client loses its frames there. Otherwise the other client's socket is closed.
    pub drops_floods: bool,
    /// The close frame for a client that reads too slowly.
    pub too_slow: Closing,
}

// The actions that follow from the current event of a protocol, in their order. Empty between two events.

#[derive(Debug, Default)]
pub(crate) struct Actions(Vec<Action>);

impl Actions {
    pub(crate) fn push(&mut self, action: Action) {
        self.0.push(action);
    }

    pub(crate) fn send(&mut self, to: SocketId, text: impl Into<Text>) {
        self.push(Action::Send { to, text: text.into() });
    }

    pub(crate) fn close(&mut self, socket: SocketId, close: Closing) {
        self.push(Action::Close { socket, close });
    }

    pub(crate) fn ask(&mut self, socket: SocketId, question: Question) {
        self.push(Action::Ask { socket, question });
    }

    pub(crate) fn call(&mut self, event: CallEvent) {
        self.push(Action::Call(event));
    }

    /// Counts something that a bound has dropped.
    pub(crate) fn dropped(&mut self, why: Dropped) {
        self.push(Action::Dropped(why));
    }

    /// Returns the actions at the end of the event.
    pub(crate) fn take(&mut self) -> Vec<Action> {
        std::mem::take(&mut self.0)
    }
}

// Why a bound dropped something of a client. Each case is counted by protocol and reason, so none goes unnoticed.

/// Why a frame, a message, a socket or a row of a client was dropped. Its text is that of the metrics.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, strum::IntoStaticStr)]
#[strum(serialize_all = "snake_case")]
pub enum Dropped {
    /// A client sends more than its rate, or causes more calls of webhooks than its rate: its socket is closed.
    Flood,
    /// A frame is too long: its socket is closed.
    TooLong,
    /// Too many messages wait already.
    NotKept,
    /// A message waited too long for a client that did not come.
    Expired,
    /// A message to many clients, or to one client from many, would exceed what may be sent.
    FanOut,
    /// A subscription exceeds a bound: its socket is closed a second later.
    Subscription,
    /// The table is full, so a user or an entry is refused.
    NoPlace,
    /// The oldest socket of a user gives way to a new one.
    OldSocket,
    /// The pages of its origin have used up their requests of this month.
    Quota,
    /// A full table has removed rows.
    Forgotten,
}
