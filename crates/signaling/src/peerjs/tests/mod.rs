//! What the tests of `PeerJS` share.

mod messages;
mod random;
mod sockets;
mod timers;
mod waiting;

use std::time::Duration;

use super::Peerjs;
use crate::dropped::Dropped;
use crate::protocol::{Event, Protocol, SocketId, Upgrade};
use crate::testing::{client, client_of};
use turn_limits::Holder;

const NOTHING: [&str; 0] = [];
const OPEN: &str = r#"{"type":"OPEN"}"#;

type World = crate::testing::World<Peerjs>;

impl World {
    fn new() -> Self {
        Self::of(Peerjs::new("peerjs".into()))
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

    fn open(&mut self, socket: u64, id: &str, token: &str) {
        self.open_with(socket, &[("key", "peerjs"), ("id", id), ("token", token), ("version", "1.5.5")]);
    }

    fn open_from(&mut self, socket: u64, holder: impl Into<Holder>) {
        let query = ["key", "id", "token"].map(|name| (name.to_owned(), format!("{name}{socket}")));
        let mut query = query.to_vec();
        query[0].1 = "peerjs".to_owned();
        let upgrade = Upgrade { query, ..Upgrade::default() };
        self.step(Event::Opened { socket: SocketId(socket), holder: holder.into(), upgrade });
    }

    fn open_with(&mut self, socket: u64, query: &[(&str, &str)]) {
        let query = query.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        let upgrade = Upgrade { query, ..Upgrade::default() };
        self.step(Event::Opened { socket: SocketId(socket), holder: client_of(socket).into(), upgrade });
    }

    fn advance_secs(&mut self, secs: u64) {
        self.advance(Duration::from_secs(secs));
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
