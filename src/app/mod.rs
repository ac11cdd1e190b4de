//! What the handlers and the background tasks share, as one value: [`App`]. [`build`] makes it once, from the
//! configuration, a clock and the stored ledger.

use std::error::Error;
use std::ops::Deref;
use std::sync::Arc;

use tokio::sync::Semaphore;

use crate::account::Account;
use crate::alert::dispatcher::AlertDispatcher;
use crate::alert::{FoundFault, MintStop, ServiceFacts, faults, minting};
use crate::auth::server_keys::ServerKeys;
use crate::forward::ForwardKey;
use crate::ice::server::IceServerList;
use crate::lead::Lead;
use crate::limit::proxies::{Unread, UntrustedProxies};
use crate::meter::cloudflare::CloudflareMeter;
use crate::meter::coturn::CoturnMeter;
use crate::meter::coturn::stats::CoturnStats;
use crate::meter::reference_clock::ReferenceClock;
use crate::mint::{Ending, Mint};
use crate::rate::PresentRate;
use crate::telemetry::log::hide;
use turn_base::TokenDigest;
use turn_ledger::{IceSource, Snapshot};
use turn_limits::{Bounds, MemoryQuota};
use turn_relay::Relay;
use turn_sfu_proxy::SfuProxy;
use turn_signaling_server::Signaling;

pub mod bearer;
mod broker_core;
mod build;
mod opening;
pub mod places;
pub mod process;
mod relay;

pub use bearer::{Action, BearerToken, CallerKind, may};
pub use broker_core::BrokerCore;
pub use build::{build, build_leading};
pub use opening::{bound_assumes, settings_digest, setup};
pub use process::{Process, Standby};
use relay::RelayAccount;

/// The most requests in progress. A request counts as soon as its body has been read. The slowest takes 4 s, so 1,024 / 4 = 256 a second
/// are served even while the provider does not answer.
const IN_FLIGHT: Bounds = Bounds { client_max: 256, all_max: 1_024 };

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
    /// Asks Cloudflare for its clock. `None` without an API of Cloudflare.
    pub reference_clock: Option<ReferenceClock>,
    /// One for each entry of `COTURN_CLI`: it reads and ends the sessions of a relay.
    pub coturn_meters: Vec<CoturnMeter>,
    /// Hears what coturns report of their sessions. `None` without `COTURN_STATS_LISTEN`.
    pub coturn_stats: Option<Arc<CoturnStats>>,
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
    /// One for each request in progress.
    pub in_flight: MemoryQuota,
}

impl App {
    /// Whether a metered credential would be issued at this instant, and why not.
    pub fn minting(&self, snapshot: &Snapshot, is_for_operator: bool) -> Result<(), MintStop> {
        let mut facts = self.mint.facts();
        if !is_for_operator {
            facts.failure.clear();
        }
        minting(snapshot, &facts)
    }

    /// Reads `SERVER_KEYS_FILE` again. A file that a start would refuse changes nothing. Logs what has changed, and each `failure` once.
    pub fn reread_server_keys(&self, failure: &mut Option<String>) {
        let read = self.config.server_keys_now();
        let failed = read.as_ref().err().map(ToString::to_string);
        if let Some(why) = &failed
            && failed != *failure
        {
            tracing::error!(remedy = "correct the file", "the server keys stay as they were: {why}");
        }
        hide(read.iter().flatten().map(|key| &key.key));
        if read.is_ok_and(|keys| self.server_keys.replace(&keys)) {
            tracing::warn!("the server keys of SERVER_KEYS_FILE have changed, and are in force");
        }
        *failure = failed;
    }

    /// Whether the ledger outlives a restart.
    pub fn is_durable(&self) -> bool {
        self.account.has_store() && self.volatile.is_none()
    }

    /// The faults that there are.
    pub fn faults(&self, snapshot: &Snapshot) -> Vec<FoundFault> {
        faults(snapshot, &self.facts(), &self.config)
    }

    /// What decides about faults and alerts besides the books and the settings.
    pub fn facts(&self) -> ServiceFacts {
        let (account, mint) = (&self.account, &self.mint);
        let failure =
            |meter: &CoturnMeter| Some(format!("{}: {}", meter.name, meter.failure.lock().clone()?));
        let failures: Vec<_> = self.coturn_meters.iter().filter_map(failure).collect();
        let analytics = self.cloudflare_meter.as_ref();
        let (used_since, rate, used_at_sfu) = account.read(|books| {
            let budget = books.budget();
            (budget.used_since(), PresentRate::of(books), budget.used_of(IceSource::Sfu))
        });
        let header = &self.config.access.trusted_proxies.client_header;
        let untrusted_proxy = |Unread { forwarded, of, peer }| {
            format!(
                "{forwarded} of the last {of} requests for credentials had the header {header}, which was not read because it came from {peer}."
            )
        };
        let file_system = self.volatile.map(|kind| format!("The file system of STATE_DIR is {kind}."));
        ServiceFacts {
            mint: mint.facts(),
            used: mint.ready().chain(self.sfu.as_ref().map(|_| IceSource::Sfu)).collect(),
            coturn: mint.cuts_coturn(),
            listing_failure: sentence(&failures)
                .map(|failures| format!("The last listing failed. {failures}")),
            at_limit: self.ending.state_at_limit(),
            not_revoked: self.ending.progress.lock().refused(),
            provider_down: (mint.provider_is_up() == Some(false)).then(|| mint.provider_cause()),
            relays_down: mint.fleet().and_then(|fleet| sentence(&fleet.down())),
            analytics_failure: analytics
                .and_then(|meter| Some(format!("{}.", meter.shown.lock().failure.as_ref()?))),
            counts_keys: analytics.is_some_and(|meter| meter.api.knows_keys()),
            used_since,
            rate,
            used_at_sfu,
            nearly_full: self.nearly_full(),
            mints: account.mints(),
            untrusted_proxy: self.untrusted_proxies.seen().map(untrusted_proxy),
            lost_leader: account.lost_leader(),
            replicas_differ: self.lead.as_ref().and_then(|lead| lead.fault()),
            ledger_failure: account.ledger_fails().then(|| account.ledger_failure()),
            volatile: (!self.is_durable()).then(|| file_system.unwrap_or_default()),
        }
    }
}

/// All of them in one sentence. `None` without any.
fn sentence(parts: &[String]) -> Option<String> {
    (!parts.is_empty()).then(|| format!("{}.", parts.join("; ")))
}

impl Deref for App {
    type Target = Process;

    fn deref(&self) -> &Process {
        &self.process
    }
}
