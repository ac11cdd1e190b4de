//! Any order of sockets, frames, timers and ends.

use proptest::prelude::*;

use super::*;
use crate::testing::walk::{Walk, Walked, ops};

impl Walked for Yjs {
    fn upgrade(_: u8) -> Upgrade {
        Upgrade::default()
    }

    fn frame() -> BoxedStrategy<String> {
        let topics = prop::collection::vec(prop::sample::select(vec!["a", "b", "c", ""]), 0..3);
        prop_oneof![
            4 => topics.clone().prop_map(|topics| subscribe(&topics)),
            2 => topics.prop_map(|topics| unsubscribe(&topics)),
            4 => prop::sample::select(vec!["a", "b", "c"]).prop_map(|topic| publish(topic, r#""x""#)),
            1 => Just(r#"{"type":"ping"}"#.to_owned()),
        ]
        .boxed()
    }

    fn check(walk: &Walk<Self>) {
        let yjs = &walk.world.protocol;
        assert!(yjs.sockets.iter().all(|(socket, _)| !walk.world.closed.contains_key(&socket.0)));
        yjs.topics.check(yjs.sockets.iter().map(|(socket, own)| (*socket, &own.subscriptions)));
    }

    fn is_empty(&self) -> bool {
        self.sockets.iter().count() == 0 && self.topics.len() == 0
    }
}

proptest! {
    #[test]
    fn subscriptions_stay_consistent(ops in ops::<Yjs>(Duration::from_secs(40))) {
        let walk = Walk::run(Yjs::default(), ops);
        prop_assert!(walk.world.disconnect_webhooks.is_empty() && walk.world.dropped.iter().all(|why| *why == Dropped::Subscription));
    }
}
