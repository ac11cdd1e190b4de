//! Any order of arrivals, messages, silence and disconnects keeps the invariants of rooms.

use std::time::Duration;

use proptest::prelude::*;

use super::*;

/// Rooms that are small and impatient, so that short histories reach their bounds.
const SMALL: Settings = Settings { members_max: 3, sweep: Duration::from_secs(2) };

#[derive(Clone, Debug)]
enum Op {
    Open { room: u8, pk: u8, name: u8 },
    Send { socket: usize, message: usize },
    Disconnect { socket: usize },
    Pass { millis: u64 },
    EndRoom { room: u8 },
    Drain,
}

fn ops() -> impl Strategy<Value = Vec<Op>> {
    let op = prop_oneof![
        8 => (0..3_u8, 0..5_u8, 0..2_u8).prop_map(|(room, pk, name)| Op::Open { room, pk, name }),
        16 => (any::<usize>(), any::<usize>()).prop_map(|(socket, message)| Op::Send { socket, message }),
        4 => any::<usize>().prop_map(|socket| Op::Disconnect { socket }),
        8 => (0..3_000_u64).prop_map(|millis| Op::Pass { millis }),
        1 => (0..3_u8).prop_map(|room| Op::EndRoom { room }),
        1 => Just(Op::Drain),
    ];
    prop::collection::vec(op, 0..120)
}

fn messages() -> Vec<String> {
    let values = [
        joined("s/t"),
        json!({ "type": "userUpdate", "user": { "joined": false } }),
        json!({ "type": "heartbeat" }),
        json!({ "type": "userLeft" }),
        json!({ "type": "directMessage", "to": "1", "message": "m" }),
        json!({ "type": "muteUser", "id": "2" }),
        json!({ "type": "e2eeMlsMessage", "payload": "p" }),
        json!({ "type": "partyserver-ping" }),
        json!({ "type": "enableAi" }),
        json!({ "type": "nonsense" }),
    ];
    values.iter().map(Value::to_string).chain(["{".to_owned()]).collect()
}

impl Bench {
    fn pick(&self, index: usize) -> Option<SocketId> {
        self.open.iter().nth(index.checked_rem(self.open.len())?).copied()
    }

    fn run(&mut self, op: &Op, messages: &[String]) {
        match op {
            Op::Open { room, pk, name } => {
                self.open_in(&format!("r{room}"), &pk.to_string(), &format!("n{name}"));
            }
            Op::Send { socket, message } => {
                let Some(socket) = self.pick(*socket) else { return };
                self.send_text(socket, &messages[message % messages.len()]);
            }
            Op::Disconnect { socket } => {
                let Some(socket) = self.pick(*socket) else { return };
                self.disconnect(socket);
            }
            Op::Pass { millis } => self.pass(Duration::from_millis(*millis)),
            Op::EndRoom { room } => self.step(Event::EndRoom { room: format!("r{room}").into() }),
            Op::Drain => self.step(Event::Drain),
        }
    }

    /// The users who have joined and not left, by the events of calls. Each joins once and leaves at most once.
    fn members(&self) -> usize {
        let mut members = BTreeSet::new();
        let mut seen = BTreeSet::new();
        for event in &self.world.calls {
            match event {
                CallEvent::Joined { member, .. } => {
                    assert!(seen.insert(member), "{member:?} joins once");
                    members.insert(member);
                }
                CallEvent::Left { member, .. } => assert!(members.remove(member), "{member:?} has joined"),
                CallEvent::Connected { .. } => {}
            }
        }
        members.len()
    }

    fn check(&self) {
        let Rooms { by_name, seats, .. } = &self.world.protocol;
        let users: usize = by_name.values().map(Room::len).sum();
        assert_eq!(self.members(), users);
        assert!(by_name.values().all(|room| (1..=SMALL.members_max).contains(&room.len())));
        let open: BTreeSet<_> = seats.keys().copied().collect();
        let expected = self.open.iter().filter(|socket| !self.world.closed.contains_key(&socket.0));
        assert_eq!(open, expected.copied().collect());
        assert_eq!(by_name.is_empty(), self.world.protocol.next_due().is_none());
    }
}

proptest! {
    #[test]
    fn any_history_keeps_the_invariants_and_ends_with_empty_tables(ops in ops()) {
        let mut bench = Bench::new(SMALL);
        let messages = messages();
        for op in &ops {
            bench.run(op, &messages);
            bench.check();
        }
        while let Some(socket) = bench.pick(0) {
            bench.disconnect(socket);
        }
        bench.pass(SMALL.sweep * 2 + Duration::from_secs(1));
        bench.assert_empty();
        prop_assert_eq!(bench.members(), 0);
    }

    #[test]
    fn no_text_of_a_client_makes_the_room_panic(texts in prop::collection::vec(".{0,200}", 1..20)) {
        let (mut bench, ann, _) = Bench::pair();
        for text in texts {
            bench.send_text(ann, &text);
        }
        prop_assert_eq!(bench.close_of(ann), None);
    }
}
