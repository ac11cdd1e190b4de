//! What the tests of Ayame share.

mod endings;
mod registering;
mod relaying;
mod signing_in;
mod standalone;
mod timers;
mod walk;
mod webhooks;

use super::socket::ulid;
use crate::prelude::*;
use crate::testing::walk::{Walked, grant};
use crate::testing::{ayame_settings as settings, client, register};

const NOTHING: [&str; 0] = [];
const NOBODY: [u64; 0] = [];
/// What a mint returns here.
const MINTED: &str = r#"[{"urls":["turn:t"],"username":"u","credential":"c"}]"#;

fn register_standalone(room: &str) -> String {
    format!(r#"{{"type":"register","roomId":"{room}","standalone":true}}"#)
}

/// The connection id of a socket: its number is its random bits.
fn connection(socket: u64) -> String {
    ulid(0, socket.into()).to_string()
}

/// An `accept` with the servers of a mint.
fn accept(socket: u64, is_second: bool) -> String {
    format!(
        r#"{{"type":"accept","connectionId":"{}","isExistClient":{is_second},"isExistUser":{is_second},"iceServers":{MINTED}}}"#,
        connection(socket)
    )
}

type World = crate::testing::World<Ayame>;

impl World {
    fn new(settings: AyameSettings) -> Self {
        Self::of(Ayame::new(settings, SignIn::Off))
    }

    /// Sockets 1 and 2 are the members of the room `r`. What has happened in calls is over.
    fn pair(settings: AyameSettings) -> Self {
        Self::pair_of(settings, [&register("r"), &register("r")])
    }

    fn pair_of(settings: AyameSettings, registers: [&str; 2]) -> Self {
        let mut world = Self::new(settings);
        for (socket, register) in (1..).zip(registers) {
            world.join_as(socket, register);
        }
        world.calls();
        world
    }

    fn mint(&mut self, socket: u64) {
        self.mint_with(socket, Some(MINTED), Some(grant(socket)));
    }

    fn mint_with(&mut self, socket: u64, servers: Option<&str>, grant: Option<GrantId>) {
        let question = self.question(socket);
        assert!(matches!(question, Question::Mint { .. }), "{question:?}");
        let ice_servers = servers.map(|servers| RawValue::from_string(servers.to_owned()).unwrap());
        self.reply(socket, Reply::Minted { ice_servers, grant });
    }

    /// Replies for the application's webhook. Returns what it was sent.
    fn authorize(&mut self, socket: u64, answer: Option<&str>) -> Webhook {
        let question = self.question(socket);
        let Question::Authorize(webhook) = question else { panic!("{question:?}") };
        self.reply(socket, Reply::Authorized(answer.map(|answer| answer.to_owned().into())));
        webhook
    }

    fn question(&mut self, socket: u64) -> Question {
        let position = self.asked().iter().position(|asker| *asker == socket);
        let question = position.and_then(|position| self.questions.remove(position));
        question.expect("there is a question for this socket").1
    }

    fn reply(&mut self, socket: u64, reply: Reply) {
        self.step(Event::Replied { socket: SocketId(socket), reply });
    }

    /// Opens a socket that becomes a member of a room.
    fn join(&mut self, socket: u64, room: &str) {
        self.join_as(socket, &register(room));
    }

    fn join_as(&mut self, socket: u64, register: &str) {
        self.enter(socket, register);
        self.mint(socket);
        let received = self.received(socket);
        assert!(received[0].starts_with(r#"{"type":"accept""#), "{received:?}");
    }

    /// What a socket has received since the last look.
    fn received(&mut self, socket: u64) -> Vec<String> {
        self.received.remove(&socket).unwrap_or_default()
    }

    /// What happened in calls since the last look: `joined`, `connected` and `left`, with the socket's number.
    fn calls(&mut self) -> Vec<String> {
        std::mem::take(&mut self.calls).iter().map(described).collect()
    }

    /// The numbers of the sockets for which there is a question.
    fn asked(&self) -> Vec<u64> {
        self.questions.iter().map(|(socket, _)| *socket).collect()
    }
}

fn described(event: &CallEvent) -> String {
    match event {
        CallEvent::Joined { call, member, user, grant } => {
            let user = user.as_ref().map_or("nobody", User::as_str);
            let grant = if grant.is_some() { "a grant" } else { "no grant" };
            format!("{} joined {} as {user} with {grant}", number(member), call.room)
        }
        CallEvent::Connected { call } => format!("{} connected", call.room),
        CallEvent::Left { call, member, media } => {
            let media = if *media == MediaAfter::Ends { "ends" } else { "may continue" };
            format!("{} left {}, {media}", number(member), call.room)
        }
        CallEvent::Unused { .. } => "a grant is unused".to_owned(),
    }
}

/// The number of a member's socket.
fn number(member: &MemberId) -> u64 {
    (0..10_000).find(|socket| connection(*socket) == *member.0).expect("the id of a socket")
}
