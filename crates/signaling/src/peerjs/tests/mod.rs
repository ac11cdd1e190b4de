//! What the tests of `PeerJS` share.

mod messages;
mod sockets;
mod waiting;
mod walk;

use super::{KEPT_PER_CLIENT_MAX, Peerjs, is_id};
use crate::prelude::*;
use crate::testing::client;

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
            world.open_as(peer, &format!("p{peer}"), &format!("t{peer}"));
            assert_eq!(world.take(peer), [OPEN]);
        }
        world
    }

    fn open_as(&mut self, socket: u64, id: &str, token: &str) {
        let query = [("key", "peerjs"), ("id", id), ("token", token), ("version", "1.5.5")];
        self.open_with(socket, upgrade(&query));
    }

    fn advance_secs(&mut self, secs: u64) {
        self.advance(Duration::from_secs(secs));
    }
}

fn upgrade(query: &[(&str, &str)]) -> Upgrade {
    let query = query.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
    Upgrade { query, ..Upgrade::default() }
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

#[test]
fn an_id_has_1_to_128_bytes_without_control_characters() {
    for good in ["a", "a b", "ä😀", &"x".repeat(128)] {
        assert!(is_id(good), "{good}");
    }
    for bad in ["", "a\nb", "\u{7f}", "\u{85}", &"x".repeat(129), &"ä".repeat(65)] {
        assert!(!is_id(bad), "{bad:?}");
    }
}
