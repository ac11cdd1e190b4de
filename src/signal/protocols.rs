//! The protocols that are on, with their settings.

use std::sync::Arc;

use turn_signaling::call::ProtocolName;
use turn_signaling::peerjs::Peerjs;
use turn_signaling::session::Protocol;
use turn_signaling::yjs::Yjs;

use super::hub::{Hub, Shared};
use crate::config::SignalingConfig;

/// A hub for each protocol that is on and uses sockets.
#[must_use]
pub fn hubs(config: &SignalingConfig, shared: &Shared) -> Vec<Arc<Hub>> {
    let hub = |name, protocol: Box<dyn Protocol>| Arc::new(Hub::new(name, protocol, shared.clone()));
    let peerjs = config.peerjs.as_ref();
    let peerjs = peerjs.map(|key| hub(ProtocolName::Peerjs, Box::new(Peerjs::new(key.clone()))));
    let yjs = config.is_yjs_on.then(|| hub(ProtocolName::Yjs, Box::<Yjs>::default()));
    peerjs.into_iter().chain(yjs).collect()
}
