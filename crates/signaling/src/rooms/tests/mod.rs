//! What the tests of rooms share.

mod bounds;
mod messages;
mod presence;
mod walk;

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use serde_json::{Value, json};
use turn_ledger::User;
use turn_limits::Holder;

use super::room::Room;
use super::{Rooms, Settings};
use crate::call::CallEvent;
use crate::dropped::Dropped;
use crate::protocol::{Event, Protocol, SocketId, Upgrade};
use crate::testing::walk::Walked;
use crate::testing::{World, client_of};

const SETTINGS: Settings = Settings { members_max: 64, sweep: Duration::from_secs(15) };
/// No frames.
const NOTHING: [Value; 0] = [];

/// The user that Orange's page would describe: it has joined, and sends one track.
fn joined(track: &str) -> Value {
    json!({ "type": "userUpdate", "user": {
        "raisedHand": false, "speaking": true, "joined": true,
        "tracks": { "audio": track, "audioEnabled": true, "audioUnavailable": false, "videoEnabled": false },
    }})
}

fn upgrade(room: &str, pk: &str, name: &str) -> Upgrade {
    let query = vec![("_pk".to_owned(), pk.to_owned())];
    Upgrade { room: Some(room.into()), query, user: User::new(name), ..Upgrade::default() }
}

struct Bench {
    world: World<Rooms>,
    sockets: u64,
    /// The client of the sockets that are opened. `None`: each has its own.
    client: Option<Holder>,
}

impl Bench {
    fn new(settings: Settings) -> Self {
        Self { world: World::of(Rooms::new(settings)), sockets: 0, client: None }
    }

    /// Opens a socket of the user `name` in the room `r`.
    fn open(&mut self, pk: &str, name: &str) -> SocketId {
        self.open_in("r", pk, name)
    }

    fn open_in(&mut self, room: &str, pk: &str, name: &str) -> SocketId {
        self.upgrade(upgrade(room, pk, name))
    }

    fn upgrade(&mut self, upgrade: Upgrade) -> SocketId {
        self.sockets += 1;
        let random = u128::from(self.sockets) << 96 | 0xabcd;
        let holder = self.client.clone().unwrap_or_else(|| client_of(self.sockets).into());
        self.world.open_from(self.sockets, holder, Upgrade { random, ..upgrade });
        SocketId(self.sockets)
    }

    /// Two users that have media, with nothing waiting: `ann` and `bob`.
    fn pair() -> (Self, SocketId, SocketId) {
        let mut bench = Self::new(SETTINGS);
        let (ann, bob) = (bench.open("a", "ann"), bench.open("b", "bob"));
        bench.send(ann, &joined("s1/mic"));
        bench.send(bob, &joined("s2/mic"));
        bench.pass(Duration::from_secs(1));
        bench.take(ann);
        bench.take(bob);
        (bench, ann, bob)
    }

    fn send(&mut self, socket: SocketId, message: &Value) {
        self.send_text(socket, &message.to_string());
    }

    fn send_text(&mut self, socket: SocketId, text: &str) {
        self.world.send(socket.0, text);
    }

    fn disconnect(&mut self, socket: SocketId) {
        self.world.end(socket.0);
    }

    /// Lets time pass, with all timers that are due on the way.
    fn pass(&mut self, time: Duration) {
        self.world.advance(time);
    }

    /// Lets time pass while these sockets send heartbeats every 5 s.
    fn pass_alive(&mut self, seconds: u64, alive: &[SocketId]) {
        for _ in 0..seconds / 5 {
            for socket in alive {
                self.send(*socket, &json!({ "type": "heartbeat" }));
            }
            self.pass(Duration::from_secs(5));
        }
    }

    /// The frames that a socket has got since the last call.
    fn take(&mut self, socket: SocketId) -> Vec<Value> {
        let received = self.world.received.remove(&socket.0).unwrap_or_default();
        let frames = received.iter().filter(|what| !what.starts_with("close "));
        frames.map(|frame| serde_json::from_str(frame).unwrap()).collect()
    }

    /// What a socket has got since the last call, without states.
    fn take_messages(&mut self, socket: SocketId) -> Vec<Value> {
        let frames = self.take(socket);
        frames.into_iter().filter(|frame| frame["type"] != "roomState").collect()
    }

    /// The latest state that a socket has got since the last call.
    fn state(&mut self, socket: SocketId) -> Value {
        let frames = self.take(socket);
        frames.into_iter().rev().find(|frame| frame["type"] == "roomState").unwrap()["state"].take()
    }

    fn close_of(&self, socket: SocketId) -> Option<(u16, &'static str)> {
        self.world.closed.get(&socket.0).map(|close| (close.code, close.reason))
    }

    fn assert_empty(&self) {
        assert!(self.world.protocol.is_empty() && self.world.protocol.next_due().is_none());
    }
}

fn ids(state: &Value) -> Vec<&str> {
    state["users"].as_array().unwrap().iter().map(|user| user["id"].as_str().unwrap()).collect()
}
