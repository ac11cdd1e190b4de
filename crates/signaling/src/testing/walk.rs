//! Any order of sockets, frames, replies, timers and ends, for each protocol with sockets. Whatever happens: each member joins once and
//! leaves once, each grant that was minted is known to a call, and nothing is left in the end.

use proptest::prelude::*;

use super::World;
use crate::prelude::*;

/// The rooms in which sockets meet, for protocols that have rooms.
pub(crate) const ROOMS: [&str; 2] = ["a", "b"];
/// The most open sockets.
const SOCKETS_MAX: usize = 6;

/// What the walk must know of a protocol.
pub(crate) trait Walked: Protocol + Sized {
    /// What one of a few clients says when its socket opens.
    fn upgrade(choice: u8) -> Upgrade;

    /// A frame that a client may send.
    fn frame() -> BoxedStrategy<String>;

    /// Checks what is true of this protocol after each event.
    fn check(walk: &Walk<Self>);

    /// Whether nothing is stored.
    fn is_empty(&self) -> bool;

    /// How many messages this frame is, if the protocol must deliver each or count it as dropped.
    fn messages(&self, _socket: SocketId, _frame: &str) -> usize {
        0
    }
}

#[derive(Clone, Debug)]
pub(crate) enum Op {
    Open { choice: u8 },
    Frame { socket: usize, frame: String },
    End { socket: usize },
    Reply { question: usize, is_good: bool },
    Wait { millis: u64 },
    EndRoom { room: usize },
}

/// Operations on `P`. A wait has at most `wait_max`.
pub(crate) fn ops<P: Walked>(wait_max: Duration) -> impl Strategy<Value = Vec<Op>> {
    let millis = u64::try_from(wait_max.as_millis()).unwrap();
    let op = prop_oneof![
        6 => any::<u8>().prop_map(|choice| Op::Open { choice }),
        20 => (any::<usize>(), P::frame()).prop_map(|(socket, frame)| Op::Frame { socket, frame }),
        2 => any::<usize>().prop_map(|socket| Op::End { socket }),
        8 => (0..SOCKETS_MAX, prop::bool::weighted(0.8))
            .prop_map(|(question, is_good)| Op::Reply { question, is_good }),
        3 => (0..millis).prop_map(|millis| Op::Wait { millis }),
        1 => (0..ROOMS.len()).prop_map(|room| Op::EndRoom { room }),
    ];
    prop::collection::vec(op, 1..150)
}

pub(crate) fn grant(socket: u64) -> GrantId {
    GrantId::new(u128::from(socket).to_be_bytes())
}

pub(crate) struct Walk<P> {
    pub(crate) world: World<P>,
    /// The sockets of the shell, including those that the protocol has closed.
    pub(crate) open: Vec<u64>,
    /// The members of calls.
    pub(crate) inside: BTreeMap<MemberId, CallName>,
    joined: BTreeSet<MemberId>,
    /// Grants that were minted and have not joined.
    minted: BTreeSet<GrantId>,
    pub(crate) messages: usize,
}

impl<P: Walked> Walk<P> {
    /// Carries out these operations, and then ends all sockets and waits.
    pub(crate) fn run(protocol: P, ops: Vec<Op>) -> Self {
        let (open, messages) = (vec![], 0);
        let (inside, joined, minted) = Default::default();
        let mut walk = Self { world: World::of(protocol), open, inside, joined, minted, messages };
        for op in ops {
            walk.take(op);
        }
        while !walk.open.is_empty() {
            walk.take(Op::End { socket: 0 });
        }
        while !walk.world.questions.is_empty() {
            walk.take(Op::Reply { question: 0, is_good: true });
        }
        walk.take(Op::Wait { millis: 60_000 });
        walk.world.assert_empty();
        assert!(walk.inside.is_empty(), "each who joined has left");
        assert!(walk.minted.is_empty(), "each grant is known to a call, so it has ended");
        walk
    }

    fn take(&mut self, op: Op) {
        match op {
            Op::Open { choice } => {
                if self.open.len() < SOCKETS_MAX {
                    let socket = self.world.opened + 1;
                    self.open.push(socket);
                    self.world.open_with(socket, P::upgrade(choice));
                }
            }
            Op::Frame { socket, frame } => {
                if let Some(socket) = self.pick(socket) {
                    self.messages += self.world.protocol.messages(SocketId(socket), &frame);
                    self.world.send(socket, &frame);
                }
            }
            Op::End { socket } => {
                if let Some(socket) = self.pick(socket) {
                    self.open.retain(|open| *open != socket);
                    self.world.end(socket);
                }
            }
            Op::Reply { question, is_good } => self.reply(question, is_good),
            Op::Wait { millis } => self.world.advance(Duration::from_millis(millis)),
            Op::EndRoom { room } => self.world.step(Event::EndRoom { room: ROOMS[room].into() }),
        }
        self.check_calls();
        P::check(self);
    }

    fn pick(&self, socket: usize) -> Option<u64> {
        self.open.get(socket.checked_rem(self.open.len())?).copied()
    }

    fn reply(&mut self, question: usize, is_good: bool) {
        let Some((socket, question)) = self.world.questions.remove(question) else { return };
        let reply = match question {
            Question::SignIn(_) if is_good => Reply::SignedIn(Ok(User::new("ann"))),
            Question::SignIn(_) => Reply::SignedIn(Err(Closing::POLICY)),
            Question::Authorize(_) => Reply::Authorized(is_good.then_some(r#"{"allowed":true}"#.into())),
            Question::TellDisconnected(_) => return,
            Question::Mint { .. } => {
                let grant = is_good.then_some(grant(socket));
                self.minted.extend(grant);
                Reply::Minted { ice_servers: None, grant }
            }
        };
        self.world.step(Event::Replied { socket: SocketId(socket), reply });
    }

    fn check_calls(&mut self) {
        for event in std::mem::take(&mut self.world.calls) {
            match event {
                CallEvent::Joined { call, member, grant, .. } => {
                    assert!(grant.is_none_or(|grant| self.minted.remove(&grant)), "a grant joins once");
                    assert!(self.joined.insert(member.clone()), "{member:?} joined twice");
                    self.inside.insert(member, call);
                }
                CallEvent::Connected { call } => assert!(self.members(&call) >= 2, "{call:?}"),
                CallEvent::Left { call, member, .. } => {
                    assert_eq!(self.inside.remove(&member), Some(call), "{member:?} has joined");
                }
                CallEvent::Unused { grant } => assert!(self.minted.remove(&grant), "and joins no call"),
            }
        }
        let asked: BTreeSet<_> = self.world.questions.iter().map(|(socket, _)| socket).collect();
        assert_eq!(asked.len(), self.world.questions.len(), "one question for each socket");
    }

    pub(crate) fn members(&self, call: &CallName) -> usize {
        self.inside.values().filter(|other| *other == call).count()
    }
}
