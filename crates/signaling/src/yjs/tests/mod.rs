//! What the tests of y-webrtc share.

mod announcing;
mod limits;
mod publishing;
mod walk;

use super::REFUSED_FOR;
use crate::prelude::*;
use crate::testing::client;

const NOTHING: [&str; 0] = [];

type World = crate::testing::World<Yjs>;

impl World {
    /// Sockets 1 to `sockets`, all subscribed to `r`. Their announcements are over.
    fn with(sockets: u64) -> Self {
        let mut world = Self::default();
        for socket in 1..=sockets {
            world.enter(socket, &subscribe(&["r"]));
        }
        world.advance(Duration::from_secs(2));
        world
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
