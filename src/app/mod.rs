//! What the handlers and the background tasks share, as one value: [`App`]. [`build`] makes it once, from the
//! configuration, a clock and the stored ledger.

use std::error::Error;
use std::ops::Deref;
use std::sync::Arc;

use tokio::sync::Semaphore;

use crate::account::Account;
use crate::alert::dispatcher::AlertDispatcher;
use crate::alert::{MintStop, minting};
use crate::auth::server_keys::ServerKeys;
use crate::forward::ForwardKey;
use crate::ice::server::IceServerList;
use crate::lead::Lead;
use crate::limit::proxies::UntrustedProxies;
use crate::meter::cloudflare::CloudflareMeter;
use crate::meter::coturn::CoturnMeter;
use crate::meter::reference_clock::ReferenceClock;
use crate::meter::trials::TrialMeter;
use crate::mint::Mint;
use crate::mint::ending::Ending;
use turn_base::request::bearer::TokenDigest;
use turn_ledger::Snapshot;
use turn_limits::Bounds;
use turn_relay::Relay;
use turn_sfu_proxy::SfuProxy;
use turn_signaling_server::Signaling;

mod bearer;
mod broker_core;
mod build;
mod opening;
pub mod process;
mod relay;
pub mod rights;

pub use bearer::BearerToken;
pub use broker_core::BrokerCore;
pub use build::{build, build_leading};
pub use opening::{bound_assumes, settings_digest, setup};
use process::Process;

/// The most requests in progress. A request counts as soon as its body has been read. The slowest takes 4 s, so 1,024 / 4 = 256 a second
/// are served even while the provider does not answer.
const IN_FLIGHT_MAX: usize = 1_024;

/// The most memory for all bodies that are being read or whose requests wait, in bytes. The first [`BODY_OWN`](turn_base::body::BODY_OWN)
/// bytes of each body do not count. The longest body has 1 MiB.
pub const LONG_BYTES_MAX: usize = 32 << 20;
/// The most bytes of [`LONG_BYTES_MAX`] for one client. An IPv6 /48 has four times as much.
pub const LONG_BYTES_PER_CLIENT_MAX: usize = LONG_BYTES_MAX / 16;
const LONG_BODIES: Bounds = Bounds { client_max: LONG_BYTES_PER_CLIENT_MAX, all_max: LONG_BYTES_MAX };

/// Why the service cannot be built from its settings.
pub type BuildError = Box<dyn Error + Send + Sync>;

/// What the handlers and the background tasks share.
pub struct App {
    /// What the process has whether it leads or not.
    pub process: Arc<Process>,
    /// The parts that signaling and the SFU proxy use as well.
    pub core: Arc<BrokerCore>,
    /// Ledger and connections.
    pub account: Arc<Account>,
    /// The sources in the order of `ICE_SOURCES`.
    pub mint: Arc<Mint>,
    /// The lead over other replicas. `None` without `DATABASE_URL`.
    pub lead: Option<Arc<Lead>>,
    /// Checks what other replicas say about the requests that they forward. `None` without `DATABASE_URL`.
    pub forward_key: Option<ForwardKey>,
    /// Reads Cloudflare's own count. `None` without `CLOUDFLARE_ANALYTICS_TOKEN`.
    pub cloudflare_meter: Option<CloudflareMeter>,
    /// The trials that measure how long credentials relay after their end, at each provider that counts nothing and whose credentials have
    /// a known life.
    pub uncounted_trials: Vec<TrialMeter>,
    /// Asks Cloudflare for its clock. `None` without an API of Cloudflare.
    pub reference_clock: Option<ReferenceClock>,
    /// One for each entry of `COTURN_CLI`: it reads and ends the sessions of a relay.
    pub coturn_meters: Vec<CoturnMeter>,
    /// The relay in this process. `None` unless `ICE_SOURCES` names it; `None` also with `TURN_ENABLED=false`.
    pub relay: Option<Relay>,
    /// Sends alerts to the operator's webhook. `None` without `ALERT_WEBHOOK_URL`.
    pub dispatcher: Option<AlertDispatcher>,
    /// The keys of programs that mint for their users.
    pub server_keys: ServerKeys,
    /// Notices a proxy that is not among `trusted_proxies`.
    pub untrusted_proxies: UntrustedProxies,
    /// Ends credentials that the service itself has decided to end.
    pub ending: Ending,
    /// Signaling: sockets and requests.
    pub signaling: Arc<Signaling>,
    /// The proxy of the SFU. `None` unless `SIGNALING` names it.
    pub sfu: Option<Arc<SfuProxy>>,
    /// The ICE servers of a degraded response.
    pub stun: IceServerList,
    /// Authorizes an app server to report any connection.
    pub reporter_token: Option<TokenDigest>,
    /// The kind of file system of `STATE_DIR`, if that does not outlive the machine or the container.
    pub volatile: Option<&'static str>,
    /// One permit: one backup at a time.
    pub backup_slot: Arc<Semaphore>,
    /// One permit for each request in progress.
    pub in_flight: Semaphore,
}

impl App {
    /// Whether a metered credential would be issued at this instant, and why not.
    pub fn minting(&self, snapshot: &Snapshot) -> Result<(), MintStop> {
        minting(snapshot, &self.mint.facts())
    }

    /// Whether the ledger outlives a restart.
    pub fn is_durable(&self) -> bool {
        self.account.has_store() && self.volatile.is_none()
    }
}

impl Deref for App {
    type Target = Process;

    fn deref(&self) -> &Process {
        &self.process
    }
}
