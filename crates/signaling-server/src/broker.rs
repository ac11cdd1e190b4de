//! What signaling needs of the broker.

use std::sync::Arc;

use axum::http::{HeaderMap, HeaderValue};
use serde_json::value::RawValue;
use turn_base::{Bodies, Broker, Clock, HttpClient, TrustedProxies};
use turn_signaling::{CallEvent, Dropped, ProtocolName};

/// What the service gives to signaling.
pub struct Service {
    /// The broker.
    pub broker: Arc<dyn ServerBroker>,
    /// The clock.
    pub clock: Arc<dyn Clock>,
    /// For webhooks and reports. The service passes one that follows no redirects.
    pub client: HttpClient,
    /// The bodies of all requests.
    pub bodies: Bodies,
    /// The ICE servers of a reply without a credential, as JSON.
    pub stun: Box<RawValue>,
    /// Peers whose headers about the client are read.
    pub trusted_proxies: TrustedProxies,
    /// Whether users can sign in.
    pub has_sign_in: bool,
}

/// The broker, for the protocols.
pub trait ServerBroker: Broker {
    /// The first `Origin` header that is not allowed.
    fn foreign_origin<'a>(&self, headers: &'a HeaderMap) -> Option<&'a HeaderValue>;

    /// Passes on an event of a call.
    fn call(&self, event: CallEvent);

    /// Counts a case in the metrics.
    fn count(&self, what: Counted);
}

/// What is counted in the metrics.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Counted {
    /// A socket was refused or closed, or a question was not asked, for this reason.
    Limited(&'static str),
    /// A bound of a protocol has cost a client something.
    Dropped(ProtocolName, Dropped),
    /// A report was written, posted or lost.
    Report(&'static str),
    /// A page of a foreign origin was refused.
    ForeignOrigin,
    /// A client polls too often.
    TooManyPolls,
}
