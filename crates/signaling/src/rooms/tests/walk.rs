//! Any order of arrivals, messages, silence and disconnects keeps the invariants of rooms.

use proptest::prelude::*;

use super::*;
use crate::testing::walk::{ROOMS, Walk, Walked, ops};

/// Rooms that are small and impatient, so that short histories reach their bounds.
const SMALL: Settings = Settings { members_max: 3, sweep: Duration::from_secs(2) };

impl Walked for Rooms {
    fn upgrade(choice: u8) -> Upgrade {
        let (room, pk, name) = (choice % 2, choice / 2 % 5, choice / 10 % 2);
        upgrade(ROOMS[usize::from(room)], &pk.to_string(), &format!("n{name}"))
    }

    fn frame() -> BoxedStrategy<String> {
        let messages = [
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
        let messages: Vec<_> = messages.iter().map(Value::to_string).chain(["{".to_owned()]).collect();
        prop::sample::select(messages).boxed()
    }

    fn check(walk: &Walk<Self>) {
        let Self { by_name, seats, out, .. } = &walk.world.protocol;
        assert_eq!(walk.inside.len(), by_name.values().map(Room::len).sum::<usize>());
        assert_eq!(out.absent.all(), by_name.values().map(Room::absent).sum::<usize>());
        assert!(by_name.values().all(|room| (1..=SMALL.members_max).contains(&room.len())));
        let expected = walk.open.iter().filter(|socket| !walk.world.closed.contains_key(socket));
        let seated: BTreeSet<_> = seats.keys().map(|socket| &socket.0).collect();
        assert_eq!(seated, expected.collect());
        assert_eq!(by_name.is_empty(), walk.world.protocol.next_due().is_none());
    }

    fn is_empty(&self) -> bool {
        let Self { by_name, seats, out, .. } = self;
        by_name.is_empty() && seats.is_empty() && out.ids.is_empty() && out.absent.is_empty()
    }
}

proptest! {
    #[test]
    fn any_history_keeps_the_invariants_and_ends_with_empty_tables(ops in ops::<Rooms>(Duration::from_secs(3))) {
        Walk::run(Rooms::new(SMALL), ops);
    }
}
