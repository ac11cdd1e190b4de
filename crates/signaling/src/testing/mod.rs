//! A stand-in for the shell, for tests of a protocol. It feeds events into the protocol and collects what each socket receives. [`walk`] has
//! the random walk of all protocols with sockets, [`shared`] what is true of all of them.

mod shared;
pub(crate) mod walk;

use std::collections::VecDeque;
use std::net::Ipv4Addr;

use turn_budget::ClientKey;

use crate::prelude::*;
use walk::Walked;

/// The client of a socket whose test names none: each has an address of its own.
pub(crate) fn client_of(socket: u64) -> ClientKey {
    ClientKey::V4(Ipv4Addr::from(u32::try_from(socket).unwrap()))
}

pub(crate) fn client(address: &str) -> ClientKey {
    ClientKey::of(address.parse().unwrap())
}

/// Ayame without webhooks.
pub(crate) fn ayame_settings() -> AyameSettings {
    AyameSettings {
        has_authn_webhook: false,
        has_disconnect_webhook: false,
        type_message: false,
        ping_interval: Duration::from_secs(5),
        pong_timeout: Duration::from_secs(60),
        read_timeout: Duration::from_secs(90),
        read_limit: 1_048_576,
    }
}

/// Ayame's first frame.
pub(crate) fn register(room: &str) -> String {
    format!(r#"{{"type":"register","roomId":"{room}","clientId":"c"}}"#)
}

#[derive(Default)]
pub(crate) struct World<P> {
    pub(crate) protocol: P,
    pub(crate) now: Duration,
    /// What each socket has received and no test has looked at: frames, `ping`, and `close 1000 reason`.
    pub(crate) received: BTreeMap<u64, Vec<String>>,
    /// The close frame of each socket that has got one.
    pub(crate) closed: BTreeMap<u64, Closing>,
    /// The sockets that have ended.
    pub(crate) gone: BTreeSet<u64>,
    /// Sockets so far.
    pub(crate) opened: u64,
    /// The questions that no test has replied to, each with its socket.
    pub(crate) questions: VecDeque<(u64, Question)>,
    /// What the application was told of sockets that have ended.
    pub(crate) disconnect_webhooks: Vec<Webhook>,
    pub(crate) calls: Vec<CallEvent>,
    /// What bounds have cost.
    pub(crate) dropped: Vec<Dropped>,
}

impl<P: Protocol> World<P> {
    pub(crate) fn of(protocol: P) -> Self {
        Self {
            protocol,
            now: Duration::ZERO,
            received: BTreeMap::new(),
            closed: BTreeMap::new(),
            gone: BTreeSet::new(),
            opened: 0,
            questions: VecDeque::new(),
            disconnect_webhooks: Vec::new(),
            calls: Vec::new(),
            dropped: Vec::new(),
        }
    }

    pub(crate) fn step(&mut self, event: Event<P::Frame>) {
        if let Event::Opened { socket, .. } = &event {
            self.closed.remove(&socket.0);
            self.gone.remove(&socket.0);
        }
        for action in self.protocol.step(event, self.now) {
            self.carry_out(action);
        }
    }

    fn carry_out(&mut self, action: Action) {
        match action {
            Action::Send { to, text } => self.receive(to, text.to_string()),
            Action::Ping { to } => self.receive(to, "ping".to_owned()),
            Action::Close { socket, close } => {
                self.receive(socket, format!("close {} {}", close.code, close.reason).trim_end().to_owned());
                self.closed.insert(socket.0, close);
            }
            Action::Ask { question: Question::TellDisconnected(webhook), .. } => {
                self.disconnect_webhooks.push(webhook);
            }
            Action::Ask { socket, question } => self.questions.push_back((socket.0, question)),
            Action::Call(event) => self.calls.push(event),
            Action::Dropped(why) => self.dropped.push(why),
        }
    }

    fn receive(&mut self, socket: SocketId, what: String) {
        assert!(!self.closed.contains_key(&socket.0), "{what} after the close frame of {socket:?}");
        assert!(!self.gone.contains(&socket.0), "{what} after the end of {socket:?}");
        self.received.entry(socket.0).or_default().push(what);
    }

    /// Opens a socket of a client, or of its user.
    pub(crate) fn open_from(&mut self, socket: u64, holder: impl Into<Holder>, upgrade: Upgrade) {
        let (socket, holder) = (SocketId(socket), holder.into());
        self.opened += 1;
        self.step(Event::Opened { socket, holder, upgrade });
    }

    /// Opens a socket of an address of its own. Its number is its random bits.
    pub(crate) fn open_with(&mut self, socket: u64, upgrade: Upgrade) {
        let upgrade = Upgrade { random: socket.into(), ..upgrade };
        self.open_from(socket, Holder::new(client_of(socket), upgrade.user.clone()), upgrade);
    }

    /// Opens a socket of which nothing else is known.
    pub(crate) fn open(&mut self, socket: u64) {
        self.open_with(socket, Upgrade::default());
    }

    /// Opens a socket that sends this.
    pub(crate) fn enter(&mut self, socket: u64, frame: &str) {
        self.open(socket);
        self.send(socket, frame);
    }

    pub(crate) fn send(&mut self, socket: u64, text: &str) {
        let frame = P::parse(text.to_owned().into());
        self.step(Event::Text { socket: SocketId(socket), frame });
    }

    pub(crate) fn end(&mut self, socket: u64) {
        self.gone.insert(socket);
        self.step(Event::Closed { socket: SocketId(socket) });
    }

    pub(crate) fn advance(&mut self, span: Duration) {
        let end = self.now + span;
        while let Some(due) = self.protocol.next_due().filter(|due| *due <= end) {
            self.now = self.now.max(due);
            self.step(Event::Due);
        }
        self.now = end;
    }

    /// What a socket has received since the last look, without pings.
    pub(crate) fn take(&mut self, socket: u64) -> Vec<String> {
        let received = self.received.remove(&socket).unwrap_or_default();
        received.into_iter().filter(|what| what != "ping").collect()
    }
}

impl<P: Walked> World<P> {
    /// Nothing is stored, and no timer runs.
    pub(crate) fn assert_empty(&self) {
        assert!(self.protocol.is_empty() && self.protocol.next_due().is_none());
    }
}
