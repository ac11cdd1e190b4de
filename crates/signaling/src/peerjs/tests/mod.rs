//! A stand-in for the shell. It feeds events into the protocol and collects what each socket receives.

mod messages;
mod random;
mod sockets;
mod timers;
mod waiting;

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use super::Peerjs;
use crate::dropped::Dropped;
use crate::protocol::{Action, Event, Protocol, SocketId, Upgrade};

const NOTHING: [&str; 0] = [];
const OPEN: &str = r#"{"type":"OPEN"}"#;

struct World {
    peerjs: Peerjs,
    now: Duration,
    /// What each socket has received and no test has looked at: frames, `ping`, and `close 1000`.
    received: BTreeMap<u64, Vec<String>>,
    closed: BTreeSet<u64>,
    /// What bounds have cost since the last look.
    dropped: Vec<Dropped>,
}

impl World {
    fn new() -> Self {
        Self {
            peerjs: Peerjs::new("peerjs".into()),
            now: Duration::ZERO,
            received: BTreeMap::new(),
            closed: BTreeSet::new(),
            dropped: Vec::new(),
        }
    }

    /// Peers 1 to `peers`, whose ids are `p1`, `p2`, … and whose tokens are `t1`, `t2`, …
    fn with(peers: u64) -> Self {
        let mut world = Self::new();
        for peer in 1..=peers {
            world.open(peer, &format!("p{peer}"), &format!("t{peer}"));
            assert_eq!(world.take(peer), [OPEN]);
        }
        world
    }

    fn step(&mut self, event: Event) {
        for action in self.peerjs.step(event, self.now) {
            self.carry_out(action);
        }
    }

    fn carry_out(&mut self, action: Action) {
        match action {
            Action::Send { to, text } => self.receive(to, text.as_str().to_owned()),
            Action::Ping { to } => self.receive(to, "ping".to_owned()),
            Action::Close { socket, close } => {
                self.receive(socket, format!("close {}", close.code));
                self.closed.insert(socket.0);
            }
            Action::Dropped(why) => self.dropped.push(why),
            other => panic!("PeerJS asks for nothing: {other:?}"),
        }
    }

    fn receive(&mut self, socket: SocketId, what: String) {
        assert!(!self.closed.contains(&socket.0), "{what} after the close frame of {socket:?}");
        self.received.entry(socket.0).or_default().push(what);
    }

    fn open(&mut self, socket: u64, id: &str, token: &str) {
        self.open_with(socket, &[("key", "peerjs"), ("id", id), ("token", token), ("version", "1.5.5")]);
    }

    fn open_with(&mut self, socket: u64, query: &[(&str, &str)]) {
        let query = query.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        let upgrade = Upgrade { query, ..Upgrade::default() };
        self.step(Event::Opened { socket: SocketId(socket), upgrade });
    }

    fn send(&mut self, socket: u64, text: &str) {
        self.step(Event::Text { socket: SocketId(socket), text: text.to_owned().into() });
    }

    fn end(&mut self, socket: u64) {
        self.step(Event::Closed { socket: SocketId(socket) });
    }

    fn advance(&mut self, span: Duration) {
        let end = self.now + span;
        while let Some(due) = self.peerjs.next_due().filter(|due| *due <= end) {
            self.now = self.now.max(due);
            self.step(Event::Due);
        }
        self.now = end;
    }

    fn advance_secs(&mut self, secs: u64) {
        self.advance(Duration::from_secs(secs));
    }

    /// What a socket has received since the last look, without pings.
    fn take(&mut self, socket: u64) -> Vec<String> {
        let received = self.received.remove(&socket).unwrap_or_default();
        received.into_iter().filter(|what| what != "ping").collect()
    }
}

fn offer(dst: &str, number: usize) -> String {
    format!(r#"{{"type":"OFFER","payload":{{"n":{number}}},"dst":"{dst}"}}"#)
}

fn candidate(dst: &str, number: usize) -> String {
    format!(r#"{{"type":"CANDIDATE","payload":{{"n":{number}}},"dst":"{dst}"}}"#)
}

fn forwarded(kind: &str, src: &str, dst: &str, number: usize) -> String {
    format!(r#"{{"type":"{kind}","src":"{src}","dst":"{dst}","payload":{{"n":{number}}}}}"#)
}

fn expire(absent: &str, sender: &str) -> String {
    format!(r#"{{"type":"EXPIRE","src":"{absent}","dst":"{sender}"}}"#)
}
