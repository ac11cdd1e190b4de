//! A stand-in for the shell, for tests of a protocol. It feeds events into the protocol and collects what each socket receives.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::net::Ipv4Addr;
use std::time::Duration;

use turn_ledger::{ClientKey, User};
use turn_limits::Holder;

use crate::call::CallEvent;
use crate::dropped::Dropped;
use crate::protocol::{Action, Closing, Event, Protocol, Question, SocketId, Webhook};

/// The client of a socket whose test names none: each has an address of its own.
pub(crate) fn client_of(socket: u64) -> ClientKey {
    ClientKey::V4(Ipv4Addr::from(u32::try_from(socket).unwrap()))
}

/// A client by its address.
pub(crate) fn client(address: &str) -> ClientKey {
    ClientKey::of(address.parse().unwrap())
}

/// A user who has signed in, at an address.
pub(crate) fn user_at(address: &str, name: &str) -> Holder {
    Holder::new(client(address), User::new(name))
}

#[derive(Debug, Default)]
pub(crate) struct World<P> {
    pub(crate) protocol: P,
    pub(crate) now: Duration,
    /// What each socket has received and no test has looked at: frames, `ping`, and `close 1000 reason`.
    pub(crate) received: BTreeMap<u64, Vec<String>>,
    /// The close frame of each socket that has got one.
    pub(crate) closed: BTreeMap<u64, Closing>,
    /// The sockets that have ended.
    pub(crate) gone: BTreeSet<u64>,
    /// The questions that no test has replied to, each with its socket.
    pub(crate) questions: VecDeque<(u64, Question)>,
    pub(crate) told: Vec<Webhook>,
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
            questions: VecDeque::new(),
            told: Vec::new(),
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
            Action::Send { to, text } => self.receive(to, text.as_str().to_owned()),
            Action::Ping { to } => self.receive(to, "ping".to_owned()),
            Action::Close { socket, close } => {
                self.receive(socket, format!("close {} {}", close.code, close.reason).trim_end().to_owned());
                self.closed.insert(socket.0, close);
            }
            Action::Ask { socket, question } => self.questions.push_back((socket.0, question)),
            Action::TellDisconnected(webhook) => self.told.push(webhook),
            Action::Call(event) => self.calls.push(event),
            Action::Dropped(why) => self.dropped.push(why),
        }
    }

    fn receive(&mut self, socket: SocketId, what: String) {
        assert!(!self.closed.contains_key(&socket.0), "{what} after the close frame of {socket:?}");
        assert!(!self.gone.contains(&socket.0), "{what} after the end of {socket:?}");
        self.received.entry(socket.0).or_default().push(what);
    }

    pub(crate) fn send(&mut self, socket: u64, text: &str) {
        let frame = P::parse(text.to_owned().into());
        self.step(Event::Text { socket: SocketId(socket), frame });
    }

    pub(crate) fn end(&mut self, socket: u64) {
        self.gone.insert(socket);
        self.step(Event::Closed { socket: SocketId(socket) });
    }

    /// Whether the protocol has asked for nothing but frames and calls.
    pub(crate) fn asked_nothing(&self) -> bool {
        self.questions.is_empty() && self.told.is_empty()
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
