//! Any order of sockets, frames, timers and ends.

use proptest::prelude::*;

use super::*;

#[derive(Clone, Debug)]
enum Op {
    Open { id: u8, token: u8 },
    Frame { which: usize, frame: String },
    End { which: usize },
    Wait { millis: u64 },
    Drain,
}

fn an_op() -> impl Strategy<Value = Op> {
    let kind = prop::sample::select(vec!["OFFER", "ANSWER", "CANDIDATE", "LEAVE", "HEARTBEAT", "EXPIRE"]);
    let frame = (kind, proptest::option::of(0..8u8)).prop_map(|(kind, dst)| match dst {
        Some(dst) => format!(r#"{{"type":"{kind}","dst":"{dst}","payload":{{}}}}"#),
        None => format!(r#"{{"type":"{kind}","payload":{{}}}}"#),
    });
    prop_oneof![
        4 => (0..8u8, 0..2u8).prop_map(|(id, token)| Op::Open { id, token }),
        20 => (any::<usize>(), frame).prop_map(|(which, frame)| Op::Frame { which, frame }),
        3 => any::<usize>().prop_map(|which| Op::End { which }),
        3 => (0..3_000u64).prop_map(|millis| Op::Wait { millis }),
        1 => (0..100_000u64).prop_map(|millis| Op::Wait { millis }),
        1 => Just(Op::Drain),
    ]
}

struct Run {
    world: World,
    /// The sockets of the shell, including those that the protocol has closed.
    sockets: Vec<u64>,
    opened: u64,
    /// Messages that wait, are delivered or are dropped.
    messages: usize,
}

impl Run {
    fn take(&mut self, op: Op) {
        match op {
            Op::Open { id, token } => {
                self.opened += 1;
                self.sockets.push(self.opened);
                self.world.open(self.opened, &id.to_string(), &token.to_string());
            }
            Op::Frame { which, frame } => {
                if let Some(socket) = self.pick(which) {
                    let has_id = self.world.protocol.peers.contains_key(&SocketId(socket));
                    let waits = ["OFFER", "ANSWER", "CANDIDATE"].iter().any(|kind| frame.contains(kind));
                    self.messages += usize::from(has_id && waits && frame.contains("dst"));
                    self.world.send(socket, &frame);
                }
            }
            Op::End { which } => {
                if let Some(socket) = self.pick(which) {
                    self.sockets.retain(|open| *open != socket);
                    self.world.end(socket);
                }
            }
            Op::Wait { millis } => self.world.advance(Duration::from_millis(millis)),
            Op::Drain => {
                // What waits goes with the process.
                self.messages -= self.world.protocol.waiting.messages();
                self.world.step(Event::Drain);
            }
        }
        self.check();
    }

    fn pick(&self, which: usize) -> Option<u64> {
        self.sockets.get(which.checked_rem(self.sockets.len())?).copied()
    }

    fn check(&self) {
        let peerjs = &self.world.protocol;
        assert_eq!(peerjs.ids.len(), peerjs.peers.len());
        for (socket, peer) in &peerjs.peers {
            assert_eq!(peerjs.ids.get(&peer.id), Some(socket), "an id belongs to one socket");
            assert!(!self.world.closed.contains_key(&socket.0));
        }
        peerjs.waiting.check(|id| peerjs.ids.contains_key(id));
        let is_delivered =
            |frame: &&String| ["OFFER", "ANSWER", "CANDIDATE"].iter().any(|kind| frame.contains(kind));
        let delivered = self.world.received.values().flatten().filter(is_delivered).count();
        let accounted = delivered + peerjs.waiting.messages() + self.world.dropped.len();
        assert_eq!(accounted, self.messages, "no message disappears silently");
    }
}

proptest! {
    #[test]
    fn ids_and_waiting_messages_stay_consistent(ops in proptest::collection::vec(an_op(), 1..300)) {
        let mut run = Run { world: World::new(), sockets: Vec::new(), opened: 0, messages: 0 };
        for op in ops {
            run.take(op);
        }
        for socket in std::mem::take(&mut run.sockets) {
            run.world.end(socket);
        }
        run.world.advance_secs(5);
        let peerjs = &run.world.protocol;
        prop_assert!(peerjs.peers.is_empty() && peerjs.ids.is_empty());
        prop_assert_eq!(peerjs.waiting.ids(), 0);
        prop_assert_eq!(peerjs.next_due(), None);
        prop_assert!(run.world.asked_nothing() && run.world.calls.is_empty());
    }

    #[test]
    fn any_text_leaves_others_alone(frames in proptest::collection::vec(any::<String>(), 1..50)) {
        let mut world = World::with(2);
        for frame in frames {
            world.send(1, &frame);
        }
        prop_assert_eq!(world.take(2), NOTHING);
        world.send(1, &offer("p2", 1));
        prop_assert_eq!(world.take(2).len(), 1);
    }
}
