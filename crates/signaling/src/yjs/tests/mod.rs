//! A stand-in for the shell. It feeds events into the protocol and collects what each socket receives.

mod announcing;
mod limits;
mod publishing;
mod random;
mod timers;

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use super::Yjs;
use crate::dropped::Dropped;
use crate::protocol::{Action, Event, Protocol, SocketId, Upgrade};

const NOTHING: [&str; 0] = [];

#[derive(Default)]
struct World {
    yjs: Yjs,
    now: Duration,
    /// What each socket has received and no test has looked at: frames, `ping`, and `close 1000`.
    received: BTreeMap<u64, Vec<String>>,
    closed: BTreeSet<u64>,
    /// What bounds have cost.
    dropped: Vec<Dropped>,
}

impl World {
    /// Sockets 1 to `sockets`, all subscribed to `r`. Their announcements are over.
    fn with(sockets: u64) -> Self {
        let mut world = Self::default();
        for socket in 1..=sockets {
            world.open(socket);
            world.send(socket, &subscribe(&["r"]));
        }
        world.advance(Duration::from_secs(2));
        world
    }

    fn step(&mut self, event: Event) {
        for action in self.yjs.step(event, self.now) {
            match action {
                Action::Send { to, text } => self.receive(to, text.as_str().to_owned()),
                Action::Ping { to } => self.receive(to, "ping".to_owned()),
                Action::Close { socket, close } => {
                    self.receive(socket, format!("close {}", close.code));
                    self.closed.insert(socket.0);
                }
                Action::Dropped(why) => self.dropped.push(why),
                other => panic!("y-webrtc asks for nothing: {other:?}"),
            }
        }
    }

    fn receive(&mut self, socket: SocketId, what: String) {
        assert!(!self.closed.contains(&socket.0), "{what} after the close frame of {socket:?}");
        self.received.entry(socket.0).or_default().push(what);
    }

    fn open(&mut self, socket: u64) {
        self.step(Event::Opened { socket: SocketId(socket), upgrade: Upgrade::default() });
    }

    fn send(&mut self, socket: u64, text: &str) {
        self.step(Event::Text { socket: SocketId(socket), text: text.to_owned().into() });
    }

    fn end(&mut self, socket: u64) {
        self.step(Event::Closed { socket: SocketId(socket) });
    }

    fn advance(&mut self, span: Duration) {
        let end = self.now + span;
        while let Some(due) = self.yjs.next_due().filter(|due| *due <= end) {
            self.now = self.now.max(due);
            self.step(Event::Due);
        }
        self.now = end;
    }

    /// What a socket has received since the last look, without pings.
    fn take(&mut self, socket: u64) -> Vec<String> {
        let received = self.received.remove(&socket).unwrap_or_default();
        received.into_iter().filter(|what| what != "ping").collect()
    }

    /// Which of the sockets have received something since the last look.
    fn reached(&mut self, sockets: impl IntoIterator<Item = u64>) -> Vec<u64> {
        sockets.into_iter().filter(|socket| !self.take(*socket).is_empty()).collect()
    }
}

fn subscribe(topics: &[&str]) -> String {
    format!(r#"{{"type":"subscribe","topics":{}}}"#, serde_json::to_string(topics).unwrap())
}

fn unsubscribe(topics: &[&str]) -> String {
    subscribe(topics).replacen("subscribe", "unsubscribe", 1)
}

fn publish(topic: &str, data: &str) -> String {
    format!(r#"{{"type":"publish","topic":"{topic}","data":{data}}}"#)
}

fn published(topic: &str, data: &str, clients: usize) -> String {
    format!(r#"{{"type":"publish","topic":"{topic}","data":{data},"clients":{clients}}}"#)
}
