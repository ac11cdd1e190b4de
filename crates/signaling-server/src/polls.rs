//! How often the pages of one client may poll. A page polls seven times in ten seconds while it looks for others, and once in
//! five seconds later, so this is enough for a large office behind one address. A page that asks for an id
//! for `PeerJS` polls, too.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::extract::{Extension, Request, State};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use turn_base::clock::Clock;
use turn_base::error::ApiError;
use turn_base::request::client_addr::ClientAddr;
use turn_ledger::ClientKey;
use turn_limits::{ClientRate, Rate};

use crate::broker::{Counted, ServerBroker};
use crate::server::Server;

/// Requests of one client. An IPv6 /48 has four times as many.
const POLLS: Rate = Rate::per_second(1_200, 20);
/// Clients with a row of their own, half for each address family.
const CLIENTS_MAX: usize = 8_192;

/// Counts polls by client.
pub struct PollRate {
    rate: ClientRate,
    clock: Arc<dyn Clock>,
    broker: Arc<dyn ServerBroker>,
}

impl PollRate {
    /// No poll yet.
    pub fn new(clock: Arc<dyn Clock>, broker: Arc<dyn ServerBroker>) -> Self {
        Self { rate: ClientRate::new(POLLS, CLIENTS_MAX), clock, broker }
    }

    /// Counts one poll. If the client has sent too many: the time until its whole allowance is back.
    pub fn count(&self, client: IpAddr) -> Option<Duration> {
        let spent = self.rate.take(ClientKey::of(client), 1, self.clock.since_boot()).err()?;
        self.broker.count(Counted::TooManyPolls);
        Some(spent.full)
    }

    /// Forgets clients whose allowance is back.
    pub fn sweep(&self) {
        self.rate.sweep(self.clock.since_boot());
    }
}

/// The client asks P2PCF, or for ids of `PeerJS`, too often.
pub(crate) fn too_many_polls(retry_in: Duration) -> ApiError {
    let message = "Send fewer requests: an address has 1,200 a minute.";
    ApiError::too_many("Too many requests", message, retry_in)
}

/// The layer that rejects a client that polls too often.
pub async fn limit(
    State(server): Server,
    Extension(ClientAddr(client)): Extension<ClientAddr>,
    request: Request,
    next: Next,
) -> Response {
    match server.polls.count(client) {
        Some(retry_in) => too_many_polls(retry_in).into_response(),
        None => next.run(request).await,
    }
}
