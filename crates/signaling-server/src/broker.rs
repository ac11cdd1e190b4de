//! What signaling needs of the broker.

use axum::http::{HeaderMap, HeaderValue};
use turn_base::broker::Broker;
use turn_signaling::call::ProtocolName;
use turn_signaling::dropped::Dropped;

/// The broker, for the protocols.
pub trait ServerBroker: Broker {
    /// The first origin of a request that is not allowed.
    fn foreign_origin<'a>(&self, headers: &'a HeaderMap) -> Option<&'a HeaderValue>;

    /// Counts something in the metrics.
    fn count(&self, what: Counted);
}

/// What is counted in the metrics.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Counted {
    /// A socket was refused or closed, or a question was not asked, for this reason.
    Limited(&'static str),
    /// A bound of a protocol has cost a client something.
    Dropped(ProtocolName, Dropped),
    /// A card of a report is finished, with this outcome.
    Card(&'static str),
    /// A page of a foreign origin was refused.
    ForeignOrigin,
    /// A client polls too often.
    TooManyPolls,
}
