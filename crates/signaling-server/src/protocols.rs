//! The protocols that are on, with their settings.

use std::sync::Arc;

use turn_signaling::ayame::{Ayame, AyameSettings, SignIn};
use turn_signaling::call::ProtocolName;
use turn_signaling::peerjs::Peerjs;
use turn_signaling::protocol::Protocol;
use turn_signaling::rooms::{Rooms, Settings as RoomsSettings};
use turn_signaling::yjs::Yjs;

use crate::hub::{AnyHub, Hub, Shared};
use crate::settings::{AyameConfig, Protocols, RoomsConfig};

/// A hub for each protocol that is on and uses sockets. `has_sign_in`: whether users can sign in.
pub(crate) fn hubs(config: &Protocols, has_sign_in: bool, shared: &Shared) -> Vec<Arc<dyn AnyHub>> {
    let needs_sign_in = shared.broker.needs_sign_in();
    let ayame = config.ayame.as_ref().map(|ayame| {
        let ayame = of_ayame(ayame, has_sign_in, needs_sign_in);
        hub(ProtocolName::Ayame, ayame, shared)
    });
    let rooms = config.rooms.as_ref().map(|rooms| hub(ProtocolName::Rooms, of_rooms(rooms), shared));
    let peerjs = config.peerjs.clone().map(|key| hub(ProtocolName::Peerjs, Peerjs::new(key), shared));
    let yjs = config.is_yjs_on.then(|| hub(ProtocolName::Yjs, Yjs::default(), shared));
    [ayame, rooms, peerjs, yjs].into_iter().flatten().collect()
}

fn hub<P: Protocol + 'static>(name: ProtocolName, protocol: P, shared: &Shared) -> Arc<dyn AnyHub> {
    Arc::new(Hub::new(name, protocol, shared.clone()))
}

fn of_ayame(config: &AyameConfig, has_sign_in: bool, needs_sign_in: bool) -> Ayame {
    let sign_in = match (has_sign_in, needs_sign_in) {
        (false, _) => SignIn::Off,
        (true, true) => SignIn::Required,
        (true, false) => SignIn::Optional,
    };
    Ayame::new(AyameSettings {
        sign_in,
        has_authn_webhook: config.authn_webhook.is_some(),
        has_disconnect_webhook: config.disconnect_webhook.is_some(),
        type_message: config.type_message,
        ping_interval: config.ping_interval,
        pong_timeout: config.pong_timeout,
        read_timeout: config.read_timeout,
        read_limit: config.read_limit,
    })
}

fn of_rooms(config: &RoomsConfig) -> Rooms {
    Rooms::new(RoomsSettings { members_max: config.members_max, sweep: config.sweep })
}
