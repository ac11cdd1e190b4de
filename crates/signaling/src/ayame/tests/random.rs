//! Any order of frames, replies, timers and ends.

use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;

use super::*;
use crate::ayame::socket::{SocketStage, Stage};
use crate::call::CallName;
use crate::protocol::Closing;

/// A socket is opened by the first operation that uses its number after its last end.
#[derive(Clone, Debug)]
enum Op {
    Frame {
        slot: usize,
        frame: String,
    },
    End {
        slot: usize,
    },
    /// Replies to one of the questions.
    Reply {
        which: usize,
        is_good: bool,
    },
    Wait {
        secs: u64,
    },
    EndRoom {
        room: &'static str,
    },
    Drain,
}

const SLOTS: usize = 6;

fn an_op() -> impl Strategy<Value = Op> {
    let room = prop::sample::select(vec!["a", "b"]);
    let register = (room.clone(), 0..3).prop_map(|(room, kind)| match kind {
        0 => register(room),
        1 => register_standalone(room),
        _ => format!(r#"{{"type":"register","roomId":"{room}","key":"k"}}"#),
    });
    let other =
        prop::sample::select(vec!["offer", "answer", "candidate", "message", "pong", "connected", "?"]);
    let frame = prop_oneof![2 => register, 3 => other.prop_map(|kind| format!(r#"{{"type":"{kind}"}}"#))];
    prop_oneof![
        12 => (0..SLOTS, frame).prop_map(|(slot, frame)| Op::Frame { slot, frame }),
        2 => (0..SLOTS).prop_map(|slot| Op::End { slot }),
        8 => (0..SLOTS, prop::bool::weighted(0.8)).prop_map(|(which, is_good)| Op::Reply { which, is_good }),
        2 => (0u64..40).prop_map(|secs| Op::Wait { secs }),
        1 => room.prop_map(|room| Op::EndRoom { room }),
        1 => Just(Op::Drain),
    ]
}

struct Run {
    world: World,
    /// The socket in each slot.
    sockets: [Option<u64>; SLOTS],
    opened: u64,
    joined: BTreeSet<MemberId>,
    inside: BTreeMap<MemberId, CallName>,
    /// Grants that were minted and have not joined.
    minted: BTreeSet<GrantId>,
}

impl Run {
    fn take(&mut self, op: Op) {
        match op {
            Op::Frame { slot, frame } => {
                let socket = self.socket(slot);
                self.world.send(socket, &frame);
            }
            Op::End { slot } => self.end(slot),
            Op::Reply { which, is_good } => self.reply(which, is_good),
            Op::Wait { secs } => self.world.advance(Duration::from_secs(secs)),
            Op::EndRoom { room } => self.world.step(Event::EndRoom { room: room.into() }),
            Op::Drain => self.world.step(Event::Drain),
        }
        self.check();
    }

    fn socket(&mut self, slot: usize) -> u64 {
        if let Some(socket) = self.sockets[slot] {
            return socket;
        }
        self.opened += 1;
        self.sockets[slot] = Some(self.opened);
        self.world.open(self.opened);
        self.opened
    }

    fn end(&mut self, slot: usize) {
        if let Some(socket) = self.sockets[slot].take() {
            self.world.end(socket);
        }
    }

    fn reply(&mut self, which: usize, is_good: bool) {
        let Some((socket, question)) = self.world.questions.remove(which) else { return };
        let reply = match question {
            Question::SignIn(_) => {
                let user = User::new("ann").filter(|_| is_good);
                Reply::SignedIn(user.map(Some).ok_or(Closing::POLICY))
            }
            Question::Authorize(_) => Reply::Authorized(is_good.then_some(r#"{"allowed":true}"#.into())),
            Question::Mint { .. } => {
                let grant = is_good.then_some(grant(socket));
                self.minted.extend(grant);
                Reply::Minted { ice_servers: None, grant }
            }
        };
        self.world.reply(socket, reply);
    }

    fn check(&mut self) {
        for event in std::mem::take(&mut self.world.calls) {
            match event {
                CallEvent::Joined { call, member, grant, .. } => {
                    assert!(grant.is_none_or(|grant| self.minted.remove(&grant)), "a grant joins once");
                    assert!(self.joined.insert(member.clone()), "{member:?} joined twice");
                    self.inside.insert(member, call);
                }
                CallEvent::Connected { call } => assert_eq!(self.members(&call), 2, "{call:?}"),
                CallEvent::Left { call, member, .. } => {
                    assert_eq!(self.inside.remove(&member), Some(call), "{member:?} has joined");
                }
            }
        }
        for call in self.inside.values() {
            assert!(self.members(call) <= 2, "{call:?}");
        }
        let asked = self.world.asked();
        assert_eq!(asked.iter().collect::<BTreeSet<_>>().len(), asked.len(), "one question for each socket");
        for room in ["a", "b"] {
            self.check_places(room);
        }
    }

    fn members(&self, call: &CallName) -> usize {
        self.inside.values().filter(|other| *other == call).count()
    }

    /// The places of a room belong to the open sockets that may enter or are members, and to nobody else.
    fn check_places(&self, room: &str) {
        let places = self.world.protocol.rooms.places(room);
        assert!(places.len() <= 2);
        let has_place = |socket: &u64| {
            let member = MemberId(connection(*socket).into());
            let is_member = self.inside.get(&member).is_some_and(|call| &*call.room == room);
            let row = self.world.protocol.sockets.get(&SocketId(*socket));
            let is_entering = row.is_some_and(|row| match &row.state {
                SocketStage::Registering(registration) => {
                    registration.stage == Stage::Minting && &*row.room == room
                }
                _ => false,
            });
            is_member || is_entering
        };
        let expected: BTreeSet<_> = (1..=self.opened).filter(has_place).map(SocketId).collect();
        assert_eq!(BTreeSet::from_iter(places), expected, "{room}");
    }
}

proptest! {
    #[test]
    fn nothing_is_lost_or_counted_twice(
        has_authn_webhook in any::<bool>(),
        sign_in in prop::sample::select(vec![SignIn::Off, SignIn::Optional, SignIn::Required]),
        ops in prop::collection::vec(an_op(), 1..120),
    ) {
        let settings = AyameSettings {
            sign_in,
            has_authn_webhook,
            has_disconnect_webhook: true,
            ..settings()
        };
        let mut run = Run {
            world: World::new(settings),
            sockets: [None; SLOTS],
            opened: 0,
            joined: BTreeSet::new(),
            inside: BTreeMap::new(),
            minted: BTreeSet::new(),
        };
        for op in ops {
            run.take(op);
        }
        for slot in 0..SLOTS {
            run.take(Op::End { slot });
        }
        while !run.world.questions.is_empty() {
            run.take(Op::Reply { which: 0, is_good: true });
        }
        run.world.assert_empty();
        prop_assert!(run.inside.is_empty(), "each who joined has left");
        prop_assert!(run.minted.is_empty(), "each grant is known to a call, so it has ended");
        let told: BTreeSet<_> = run.world.told.iter().map(|webhook| webhook.body.clone()).collect();
        prop_assert_eq!(run.world.told.len(), usize::try_from(run.opened).unwrap());
        prop_assert_eq!(told.len(), run.world.told.len(), "one for each connection");
    }
}
