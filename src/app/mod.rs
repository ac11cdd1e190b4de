//! What the handlers and the background tasks share, as one value: [`App`]. [`build`] makes it once, from the
//! configuration, a clock and the stored ledger.

use std::ops::Deref;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::Semaphore;

use crate::account::Account;
use crate::alert::dispatcher::AlertDispatcher;
use crate::auth::Auth;
use crate::auth::server_keys::ServerKeys;
use crate::config::AlertPercents;
use crate::config::{Off, PriceConfig, WireFormat};
use crate::forward::ForwardKey;
use crate::ice::server::IceServerList;
use crate::lead::Lead;
use crate::limit::RateLimit;
use crate::limit::proxies::UntrustedProxies;
use crate::live_calls::LiveCalls;
use crate::meter::cloudflare::CloudflareMeter;
use crate::meter::coturn::CoturnMeter;
use crate::meter::reference_clock::ReferenceClock;
use crate::mint::Mint;
use crate::mint::ending::Ending;
use crate::mint::token::GrantKey;
use turn_base::broker::Broker;
use turn_base::request::bearer::TokenDigest;
use turn_limits::Bounds;
use turn_relay::Relay;
use turn_sfu_proxy::SfuProxy;
use turn_signaling_server::Signaling;

mod bearer;
mod build;
mod build_error;
mod opening;
pub mod process;
mod relay;
mod signaling;

pub use bearer::BearerToken;
pub use build::{build, build_leading};
pub use build_error::BuildError;
pub use opening::{BoundTerms, settings_digest, setup};
use process::Process;

/// Requests in progress at most, counted once their body has been read. The slowest takes 4 s, so 256 a second are served
/// even while the provider does not answer.
const IN_FLIGHT_MAX: usize = 1_024;

/// The most bytes of bodies in memory that are read, or whose requests wait, beyond [`BODY_OWN`](turn_base::body::BODY_OWN) of each. The longest body has 1 MiB.
pub const LONG_BYTES_MAX: usize = 32 << 20;
/// The most of them that are of one client. An IPv6 /48 has four times as much.
pub const LONG_BYTES_PER_CLIENT_MAX: usize = LONG_BYTES_MAX / 16;
const LONG_BODIES: Bounds = Bounds { client_max: LONG_BYTES_PER_CLIENT_MAX, all_max: LONG_BYTES_MAX };

/// What the handlers and the background tasks share.
pub struct App {
    /// What it has had before it led.
    pub process: Arc<Process>,
    /// The lead over other replicas. `None` without `DATABASE_URL`.
    pub lead: Option<Arc<Lead>>,
    /// Checks what other replicas say of the requests that they forward. `None` without `DATABASE_URL`.
    pub forward_key: Option<ForwardKey>,
    /// Ledger and connections.
    pub account: Arc<Account>,
    /// The sources in the order of `ICE_SOURCES`.
    pub mint: Arc<Mint>,
    /// Reads Cloudflare's own count. `None` without `CLOUDFLARE_ANALYTICS_TOKEN`.
    pub cloudflare_meter: Option<CloudflareMeter>,
    /// Asks Cloudflare for its clock. `None` without an API of Cloudflare.
    pub reference_clock: Option<ReferenceClock>,
    /// Reads and ends coturn's sessions. `None` without `COTURN_CLI`.
    pub coturn_meter: Option<CoturnMeter>,
    /// The relay in this process. `None` unless `ICE_SOURCES` names it.
    pub relay: Option<Relay>,
    /// Sends alerts to the operator's webhook. `None` without `ALERT_WEBHOOK_URL`.
    pub dispatcher: Option<AlertDispatcher>,
    /// Verifies users' tokens. `None` without `AUTH_JWT_SECRET` and `AUTH_JWKS_URL`.
    pub auth: Option<Arc<Auth>>,
    /// Programs that mint for their users.
    pub server_keys: ServerKeys,
    /// The rate limit of each client address, each user and each server key.
    pub rate_limit: Arc<RateLimit>,
    /// Notices a proxy that is not among `trusted_proxies`.
    pub untrusted_proxies: UntrustedProxies,
    /// The other wire formats that are served. `DOORS`.
    pub wire_formats: Vec<WireFormat>,
    /// What signaling needs of the service.
    pub broker: Arc<dyn Broker>,
    /// Ends credentials by itself.
    pub ending: Ending,
    /// The running calls.
    pub calls: Arc<LiveCalls>,
    /// Signaling: sockets and requests.
    pub signaling: Arc<Signaling>,
    /// What `SIGNALING` could name, and does not.
    pub signaling_off: Vec<Off>,
    /// The life of a credential that is minted for a call.
    pub call_ttl: Duration,
    /// The proxy of the SFU. `None` unless `SIGNALING` names it.
    pub sfu: Option<Arc<SfuProxy>>,
    /// Whether the demo page is served.
    pub is_demo: bool,
    /// The longest life of a credential, and its life if the request names none.
    pub ttl_max: Duration,
    /// The ICE servers of a degraded response.
    pub stun: IceServerList,
    /// How often a client reports an open connection.
    pub heartbeat: Duration,
    /// Signs and verifies grant tokens.
    pub grant_key: Arc<GrantKey>,
    /// Authorizes an app server to report any connection.
    pub reporter_token: Option<TokenDigest>,
    /// What the bytes cost.
    pub prices: PriceConfig,
    /// The parts of the limit that alerts tell. `ALERT_PERCENTS`.
    pub alert_percents: AlertPercents,
    /// The assumption behind the published bound.
    pub bound_terms: BoundTerms,
    /// Whether Cloudflare bills usage whose count this process does not read.
    pub bills_unread: bool,
    /// Whether Cloudflare's count is read without a TURN key, so all TURN bytes of the account count as ours.
    pub reads_all_keys: bool,
    /// One permit: one backup at a time.
    pub backup_slot: Arc<Semaphore>,
    /// One permit for each request in progress.
    pub in_flight: Semaphore,
}

impl Deref for App {
    type Target = Process;

    fn deref(&self) -> &Process {
        &self.process
    }
}
