//! Any order of sockets, frames, timers and ends.

use proptest::prelude::*;
use turn_budget::User;

use super::*;
use crate::testing::walk::{Walk, Walked, ops};

/// Messages that wait for their destination.
const THAT_WAIT: [&str; 3] = ["OFFER", "ANSWER", "CANDIDATE"];

impl Walked for Peerjs {
    fn upgrade(choice: u8) -> Upgrade {
        let (id, token) = ((choice % 8).to_string(), (choice / 8 % 2).to_string());
        let user = User::new(["", "ann", "ben"][usize::from(choice / 16 % 3)]);
        Upgrade { user, ..upgrade(&[("key", "peerjs"), ("id", &id), ("token", &token)]) }
    }

    fn frame() -> BoxedStrategy<String> {
        let kind = prop::sample::select([&THAT_WAIT[..], &["LEAVE", "HEARTBEAT", "EXPIRE"]].concat());
        let frame = (kind, prop::option::of(0..8u8)).prop_map(|(kind, dst)| match dst {
            Some(dst) => format!(r#"{{"type":"{kind}","dst":"{dst}","payload":{{}}}}"#),
            None => format!(r#"{{"type":"{kind}","payload":{{}}}}"#),
        });
        frame.boxed()
    }

    fn check(walk: &Walk<Self>) {
        let peerjs = &walk.world.protocol;
        assert_eq!(peerjs.ids.len(), peerjs.peers.iter().count());
        for (socket, peer) in peerjs.peers.iter() {
            assert_eq!(peerjs.ids.get(&peer.id), Some(socket), "an id belongs to one socket");
            assert!(!walk.world.closed.contains_key(&socket.0));
        }
        peerjs.waiting.check(|id| peerjs.ids.contains_key(id));
        assert!(
            !peerjs.kept.iter().any(|(_, peer)| peerjs.ids.contains_key(&peer.id)),
            "a kept id has no socket"
        );
        assert_eq!(peerjs.kept.len(), peerjs.kept_of.all());
        let is_delivered = |frame: &&String| THAT_WAIT.iter().any(|kind| frame.contains(kind));
        let delivered = walk.world.received.values().flatten().filter(is_delivered).count();
        let accounted = delivered + peerjs.waiting.messages() + walk.world.dropped.len();
        assert_eq!(accounted, walk.messages, "no message disappears silently");
    }

    fn is_empty(&self) -> bool {
        self.peers.iter().count() == 0 && self.ids.is_empty() && self.waiting.ids() + self.kept.len() == 0
    }

    fn messages(&self, socket: SocketId, frame: &str) -> usize {
        let waits = frame.contains("dst") && THAT_WAIT.iter().any(|kind| frame.contains(kind));
        usize::from(waits && self.peers.get(socket).is_some())
    }
}

proptest! {
    #[test]
    fn ids_and_waiting_messages_stay_consistent(ops in ops::<Peerjs>(Duration::from_secs(4))) {
        Walk::run(Peerjs::new("peerjs".into()), ops);
    }
}
