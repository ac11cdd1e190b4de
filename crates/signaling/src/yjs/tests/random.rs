//! Any order of sockets, frames, timers and ends.

use proptest::prelude::*;

use super::*;

#[derive(Clone, Debug)]
enum Op {
    Open,
    Frame { which: usize, frame: String },
    End { which: usize },
    Wait { millis: u64 },
    Drain,
}

fn an_op() -> impl Strategy<Value = Op> {
    let topics = prop::collection::vec(prop::sample::select(vec!["a", "b", "c", ""]), 0..3);
    let frame = prop_oneof![
        4 => topics.clone().prop_map(|topics| subscribe(&topics)),
        2 => topics.prop_map(|topics| unsubscribe(&topics)),
        4 => prop::sample::select(vec!["a", "b", "c"]).prop_map(|topic| publish(topic, r#""x""#)),
        1 => Just(r#"{"type":"ping"}"#.to_owned()),
    ];
    prop_oneof![
        4 => Just(Op::Open),
        20 => (any::<usize>(), frame).prop_map(|(which, frame)| Op::Frame { which, frame }),
        2 => any::<usize>().prop_map(|which| Op::End { which }),
        3 => (0..40_000u64).prop_map(|millis| Op::Wait { millis }),
        1 => Just(Op::Drain),
    ]
}

#[derive(Default)]
struct Run {
    world: World,
    /// The sockets of the shell, including those that the protocol has closed.
    sockets: Vec<u64>,
    opened: u64,
}

impl Run {
    fn take(&mut self, op: Op) {
        match op {
            Op::Open => {
                self.opened += 1;
                self.sockets.push(self.opened);
                self.world.open(self.opened);
            }
            Op::Frame { which, frame } => {
                if let Some(socket) = self.pick(which) {
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
            Op::Drain => self.world.step(Event::Drain),
        }
        self.check();
    }

    fn pick(&self, which: usize) -> Option<u64> {
        self.sockets.get(which.checked_rem(self.sockets.len())?).copied()
    }

    fn check(&self) {
        let yjs = &self.world.protocol;
        assert!(yjs.sockets.keys().all(|socket| !self.world.closed.contains_key(&socket.0)));
        yjs.topics.check(yjs.sockets.iter().map(|(socket, own)| (*socket, &own.subscriptions)));
    }
}

proptest! {
    #[test]
    fn subscriptions_stay_consistent(ops in proptest::collection::vec(an_op(), 1..300)) {
        let mut run = Run::default();
        for op in ops {
            run.take(op);
        }
        for socket in std::mem::take(&mut run.sockets) {
            run.world.end(socket);
        }
        let yjs = &run.world.protocol;
        prop_assert!(yjs.sockets.is_empty());
        prop_assert_eq!((yjs.topics.len(), yjs.next_due()), (0, None));
        prop_assert!(run.world.asked_nothing() && run.world.calls.is_empty());
    }

    #[test]
    fn any_text_leaves_others_alone(frames in proptest::collection::vec(any::<String>(), 1..50)) {
        let mut world = World::with(2);
        for frame in frames {
            world.send(1, &frame);
        }
        prop_assert_eq!(world.take(2), NOTHING);
        world.send(1, &publish("r", "1"));
        prop_assert_eq!(world.take(2).len(), 1);
    }
}
