//! What the tests of rooms share.

mod bounds;
mod messages;
mod presence;
mod walk;

use serde_json::{Value, json};
use turn_budget::ClientKey;

use super::Settings;
use super::room::Room;
use crate::prelude::*;
use crate::testing::client_of;

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

type World = crate::testing::World<Rooms>;

impl World {
    fn new(settings: Settings) -> Self {
        Self::of(Rooms::new(settings))
    }

    /// Opens a socket of the user `name` in the room `r`. Returns its number.
    fn arrive(&mut self, pk: &str, name: &str) -> u64 {
        self.arrive_in("r", pk, name)
    }

    fn arrive_in(&mut self, room: &str, pk: &str, name: &str) -> u64 {
        self.arrive_with(upgrade(room, pk, name))
    }

    /// Opens a socket of an address of its own.
    fn arrive_with(&mut self, upgrade: Upgrade) -> u64 {
        self.arrive_from(client_of(self.opened + 1), upgrade)
    }

    fn arrive_from(&mut self, client: ClientKey, upgrade: Upgrade) -> u64 {
        let socket = self.opened + 1;
        self.open_from(socket, client, Upgrade { random: u128::from(socket) << 96 | 0xabcd, ..upgrade });
        socket
    }

    /// Two users that have media, with nothing waiting: `ann` and `bob`.
    fn pair() -> (Self, u64, u64) {
        let mut world = Self::new(SETTINGS);
        let (ann, bob) = (world.arrive("a", "ann"), world.arrive("b", "bob"));
        world.tell(ann, &joined("s1/mic"));
        world.tell(bob, &joined("s2/mic"));
        world.advance(Duration::from_secs(1));
        world.received.clear();
        (world, ann, bob)
    }

    fn tell(&mut self, socket: u64, message: &Value) {
        self.send(socket, &message.to_string());
    }

    /// Lets time pass while these sockets send heartbeats every 5 s.
    fn pass_alive(&mut self, seconds: u64, alive: &[u64]) {
        for _ in 0..seconds / 5 {
            for socket in alive {
                self.tell(*socket, &json!({ "type": "heartbeat" }));
            }
            self.advance(Duration::from_secs(5));
        }
    }

    /// The frames that a socket has got since the last call.
    fn frames(&mut self, socket: u64) -> Vec<Value> {
        let received = self.take(socket);
        let frames = received.iter().filter(|what| !what.starts_with("close "));
        frames.map(|frame| serde_json::from_str(frame).unwrap()).collect()
    }

    /// What a socket has got since the last call, without states.
    fn take_messages(&mut self, socket: u64) -> Vec<Value> {
        let frames = self.frames(socket);
        frames.into_iter().filter(|frame| frame["type"] != "roomState").collect()
    }

    /// The latest state that a socket has got since the last call.
    fn state(&mut self, socket: u64) -> Value {
        let frames = self.frames(socket);
        frames.into_iter().rev().find(|frame| frame["type"] == "roomState").unwrap()["state"].take()
    }

    fn close_of(&self, socket: u64) -> Option<(u16, &'static str)> {
        self.closed.get(&socket).map(|close| (close.code, close.reason))
    }
}

fn ids(state: &Value) -> Vec<&str> {
    state["users"].as_array().unwrap().iter().map(|user| user["id"].as_str().unwrap()).collect()
}
