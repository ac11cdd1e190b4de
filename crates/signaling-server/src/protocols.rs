//! The protocols that are on.

use std::sync::Arc;

use turn_signaling::ayame::{Ayame, SignIn};
use turn_signaling::call::ProtocolName;
use turn_signaling::peerjs::Peerjs;
use turn_signaling::protocol::Protocol;
use turn_signaling::rooms::Rooms;
use turn_signaling::yjs::Yjs;

use crate::hub::{AnyHub, Hub, Shared};
use crate::settings::Protocols;

/// A hub for each protocol that is on and uses sockets. `has_sign_in`: whether users can sign in.
pub(crate) fn hubs(config: &Protocols, has_sign_in: bool, shared: &Shared) -> Vec<Arc<dyn AnyHub>> {
    let sign_in = match (has_sign_in, shared.broker.needs_sign_in()) {
        (false, _) => SignIn::Off,
        (true, true) => SignIn::Required,
        (true, false) => SignIn::Optional,
    };
    let ayame = config.ayame.as_ref().map(|ayame| Ayame::new(ayame.settings.clone(), sign_in));
    let rooms = config.rooms.as_ref().map(|rooms| Rooms::new(rooms.settings));
    let peerjs = config.peerjs.clone().map(Peerjs::new);
    let yjs = config.is_yjs_on.then(Yjs::default);
    let hubs = [
        hub(ProtocolName::Ayame, ayame, shared),
        hub(ProtocolName::Rooms, rooms, shared),
        hub(ProtocolName::Peerjs, peerjs, shared),
        hub(ProtocolName::Yjs, yjs, shared),
    ];
    hubs.into_iter().flatten().collect()
}

fn hub<P: Protocol + 'static>(
    name: ProtocolName,
    protocol: Option<P>,
    shared: &Shared,
) -> Option<Arc<dyn AnyHub>> {
    Some(Arc::new(Hub::new(name, protocol?, shared.clone())))
}
