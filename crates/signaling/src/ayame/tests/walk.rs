//! Any order of frames, replies, timers and ends.

use proptest::prelude::*;

use super::*;
use crate::ayame::socket::{SocketStage, Stage};
use crate::testing::walk::{ROOMS, Walk, ops};

impl Walked for Ayame {
    fn upgrade(_: u8) -> Upgrade {
        Upgrade::default()
    }

    fn frame() -> BoxedStrategy<String> {
        let register = (prop::sample::select(ROOMS.to_vec()), 0..3).prop_map(|(room, kind)| match kind {
            0 => register(room),
            1 => register_standalone(room),
            _ => format!(r#"{{"type":"register","roomId":"{room}","key":"k"}}"#),
        });
        let other =
            prop::sample::select(vec!["offer", "answer", "candidate", "message", "pong", "connected", "?"]);
        let other = other.prop_map(|kind| format!(r#"{{"type":"{kind}"}}"#));
        prop_oneof![2 => register, 3 => other].boxed()
    }

    /// The places of a room belong to the open sockets that may enter or are members, and to nobody else.
    fn check(walk: &Walk<Self>) {
        for call in walk.inside.values() {
            assert!(walk.members(call) <= 2, "{call:?}");
        }
        for room in ROOMS {
            let places = walk.world.protocol.rooms.places(room);
            assert!(places.len() <= 2);
            let has_place = |socket: &u64| {
                let member = MemberId(connection(*socket).into());
                let is_member = walk.inside.get(&member).is_some_and(|call| &*call.room == room);
                let row = walk.world.protocol.sockets.get(&SocketId(*socket));
                let is_entering = row.is_some_and(|row| match &row.state {
                    SocketStage::Registering(registration) => {
                        registration.stage == Stage::Minting && &*row.room == room
                    }
                    _ => false,
                });
                is_member || is_entering
            };
            let expected: BTreeSet<_> = (1..=walk.world.opened).filter(has_place).map(SocketId).collect();
            assert_eq!(BTreeSet::from_iter(places), expected, "{room}");
        }
    }

    fn is_empty(&self) -> bool {
        self.sockets.is_empty() && self.rooms.len() == 0
    }
}

proptest! {
    #[test]
    fn nothing_is_lost_or_counted_twice(
        has_authn_webhook in any::<bool>(),
        sign_in in prop::sample::select(vec![SignIn::Off, SignIn::Optional, SignIn::Required]),
        ops in ops::<Ayame>(Duration::from_secs(40)),
    ) {
        let settings = AyameSettings { has_authn_webhook, has_disconnect_webhook: true, ..settings() };
        let walk = Walk::run(Ayame::new(settings, sign_in), ops);
        let webhooks = &walk.world.disconnect_webhooks;
        let different: BTreeSet<_> = webhooks.iter().map(|webhook| &webhook.body).collect();
        prop_assert_eq!(webhooks.len(), usize::try_from(walk.world.opened).unwrap());
        prop_assert_eq!(different.len(), webhooks.len(), "one for each connection");
    }
}
