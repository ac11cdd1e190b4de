//! How often the pages of one client may poll. Tests: `tests/it/signaling/p2pcf.rs`, `tests/it/signaling/peerjs.rs`. A page polls seven
//! times in ten seconds while it looks for others, and once in five seconds later, so this is enough for a large office behind one address.
//! A page that asks for an id for `PeerJS` polls, too.

use std::net::IpAddr;

use axum::extract::Extension;
use axum::middleware::Next;
use turn_limits::{PerHolder, Rate};

use super::prelude::*;

/// How many requests one client may send. An IPv6 /48 has four times as many.
const POLLS: Rate = Rate::per_second(1_200, 20);
/// Clients with a row of their own, half for each address family.
const POLLING_CLIENTS_MAX: usize = 8_192;

/// How often each client polls, and may poll.
pub struct Polls {
    rate: Mutex<PerHolder>,
    service: Arc<Service>,
}

impl Polls {
    /// Nobody has polled.
    pub(crate) fn new(service: Arc<Service>) -> Self {
        Self { rate: Mutex::new(PerHolder::new(POLLS, POLLING_CLIENTS_MAX)), service }
    }

    /// Forgets clients that have not polled for a while.
    pub(crate) fn sweep(&self) {
        self.rate.lock().sweep(self.service.clock.since_boot());
    }

    /// Counts one poll, or refuses it. A refusal asks the client to wait until its whole allowance is back.
    pub fn count(&self, client: IpAddr) -> Result<(), ApiError> {
        let counted = self.rate.lock().take(ClientKey::of(client), 1, self.service.clock.since_boot());
        counted.map_err(|spent| {
            self.service.broker.count(Counted::TooManyPolls);
            let message = "Send fewer requests: an address has 1,200 a minute.";
            ApiError::too_many("Too many requests", message, spent.full)
        })
    }
}

/// The layer that rejects a client that polls too often.
pub async fn limit(
    State(polls): State<Arc<Polls>>,
    Extension(ClientAddr(client)): Extension<ClientAddr>,
    request: Request,
    next: Next,
) -> Result<Response, ApiError> {
    polls.count(client)?;
    Ok(next.run(request).await)
}
