//! The composition root: the only place where parts are built and joined. What the handlers share is one [`App`]; it is
//! built once, from the configuration and a clock, and holds no I/O but the provider's client.

use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::{Duration, Instant};

use ipnet::IpNet;
use tokio::sync::Semaphore;

use crate::account::Account;
use crate::alert::dispatcher::{AlertDispatcher, RetryPolicy};
use crate::alert::webhook::Webhook;
use crate::clock::Clock;
use crate::config::{AllowedOrigins, CloudflareConfig, Config, Door, IceConfig};
use crate::http::bearer::TokenDigest;
use crate::http::request_id::RequestIds;
use crate::ice::cloudflare::{ClientError, Cloudflare, http_client};
use crate::ice::coturn::Coturn;
use crate::ice::server::IceServerList;
use crate::journal::Journal;
use crate::limit::{QuotaError, RateLimit};
use crate::meter::cloudflare::CloudflareMeter;
use crate::meter::cloudflare::analytics::CloudflareAnalytics;
use crate::meter::coturn::CoturnMeter;
use crate::meter::coturn::cli::CoturnCli;
use crate::mint::maker::Maker;
use crate::mint::provider::Provider;
use crate::mint::{Mint, Source};
use crate::random::{self, NoRandomness};
use crate::relay::{Relay, RelayError, RelayParts};
use crate::telemetry::log::LostLines;
use crate::telemetry::metrics::Metrics;
use turn_ledger::changes::Stored;
use turn_ledger::source::IceSource;
use turn_ledger::token::GrantKey;

mod opening;

pub use opening::{BoundTerms, setup};

/// Requests under way at once, their bodies read: at 4 s for the slowest, 256 a second even when the provider hangs.
const IN_FLIGHT_MAX: usize = 1_024;

/// What the handlers share.
pub struct App {
    /// Time.
    pub clock: Arc<dyn Clock>,
    /// When the process started.
    pub started: Instant,
    /// Counters.
    pub metrics: Arc<Metrics>,
    /// Ledger and connections.
    pub account: Arc<Account>,
    /// The sources in order.
    pub mint: Mint,
    /// Reads Cloudflare's own count.
    pub cloudflare_meter: Option<CloudflareMeter>,
    /// Reads a coturn's sessions, and ends them.
    pub coturn_meter: Option<CoturnMeter>,
    /// The relay in this process.
    pub relay: Option<Relay>,
    /// Brings alerts to the operator's webhook.
    pub dispatcher: Option<AlertDispatcher>,
    /// The per-client rate.
    pub rate_limit: RateLimit,
    /// Pages that may ask.
    pub origins: AllowedOrigins,
    /// Whose `X-Forwarded-For` is believed.
    pub trusted_proxies: Arc<[IpNet]>,
    /// Further wire forms of the mint that are open.
    pub doors: Vec<Door>,
    /// Whether the demo's page is served.
    pub is_demo: bool,
    /// Longest life of a credential, and the one that is given unless asked otherwise.
    pub ttl_max: Duration,
    /// The degraded answer.
    pub stun: IceServerList,
    /// How often a connection is to be heard from.
    pub heartbeat: Duration,
    /// Signs and checks grant tokens.
    pub grant_key: Arc<GrantKey>,
    /// Opens the operator's routes.
    pub operator_token: Option<TokenDigest>,
    /// Speaks for any connection.
    pub reporter_token: Option<TokenDigest>,
    /// What the published bound rests on.
    pub bound_terms: BoundTerms,
    /// Whether there is a bill that this process does not read.
    pub bills_unread: bool,
    /// Log lines that were dropped.
    pub lost_lines: LostLines,
    /// A bound on what is under way.
    pub in_flight: Semaphore,
    /// Ids for requests that come without one.
    pub request_ids: RequestIds,
    /// The process is about to end.
    pub draining: AtomicBool,
}

/// Why the parts cannot be joined.
#[derive(Debug, thiserror::Error)]
pub enum BuildError {
    /// No random numbers.
    #[error(transparent)]
    Random(#[from] NoRandomness),
    /// No HTTP client.
    #[error(transparent)]
    Client(#[from] ClientError),
    /// The rate limiter's settings do not fit together.
    #[error(transparent)]
    Quota(#[from] QuotaError),
    /// The provider's address and key give no URL.
    #[error("CLOUDFLARE_API_BASE, CLOUDFLARE_TURN_KEY_ID and CLOUDFLARE_TURN_API_TOKEN make no request")]
    Endpoint,
    /// The API's address and token give no request.
    #[error("CLOUDFLARE_ANALYTICS_BASE and CLOUDFLARE_ANALYTICS_TOKEN make no request")]
    AnalyticsEndpoint,
    /// The relay cannot have its port.
    #[error(transparent)]
    Relay(#[from] RelayError),
}

impl App {
    /// Builds everything.
    pub fn build(
        config: &Config,
        clock: Arc<dyn Clock>,
        journal: Option<(Journal, Stored)>,
        lost_lines: LostLines,
    ) -> Result<Arc<Self>, BuildError> {
        let metrics = Arc::new(Metrics::new());
        let (journal, recovered) = journal.unzip();
        let key = match recovered.as_ref().and_then(|recovered| recovered.key) {
            Some(key) => key,
            None => random::bytes()?,
        };
        let grant_key = Arc::new(GrantKey::new(&key));
        let books = setup(config).open(recovered, clock.now());
        let account = Account::new(books, journal, Arc::clone(&clock), Arc::clone(&metrics));
        let account = Arc::new(account);
        let relay = relay(config, &account, &clock, &metrics)?;
        let coturn_meter = config.meter.coturn_cli.as_ref().map(|cli| CoturnMeter {
            cli: CoturnCli::new(cli),
            account: Arc::clone(&account),
            metrics: Arc::clone(&metrics),
        });
        let mint = Mint {
            enabled: config.ice.enabled,
            sources: sources(&config.ice, relay.as_ref(), &clock, &metrics)?,
            cut_here: cut_here(coturn_meter.as_ref(), relay.as_ref()),
            limit_action: config.budget.limit_action,
            account: Arc::clone(&account),
            grant_key: Arc::clone(&grant_key),
            clock: Arc::clone(&clock),
        };
        let dispatcher = match &config.alert {
            Some(alert) => Some(AlertDispatcher {
                webhook: Webhook::new(http_client()?, alert),
                clock: Arc::clone(&clock),
                metrics: Arc::clone(&metrics),
                retry: RetryPolicy::default(),
            }),
            None => None,
        };
        let cloudflare_meter = cloudflare_meter(config, &account, &clock, &metrics)?;
        Ok(Arc::new(Self {
            coturn_meter,
            cloudflare_meter,
            relay,
            dispatcher,
            started: clock.instant(),
            account,
            mint,
            rate_limit: RateLimit::new(&config.access.rate, Arc::clone(&clock), Arc::clone(&metrics))?,
            origins: config.access.origins.clone(),
            trusted_proxies: Arc::clone(&config.access.trusted_proxies),
            doors: config.doors.clone(),
            is_demo: config.is_demo,
            ttl_max: config.ice.ttl_max,
            stun: IceServerList::of_stun(&config.ice.stun),
            heartbeat: config.usage.heartbeat,
            grant_key,
            operator_token: config.access.operator_token.as_ref().map(TokenDigest::of),
            reporter_token: config.access.reporter_token.as_ref().map(TokenDigest::of),
            bound_terms: BoundTerms::of(config),
            bills_unread: config.ice.cloudflare.is_some()
                && config.ice.sources.contains(&IceSource::Cloudflare)
                && config.meter.analytics.is_none(),
            lost_lines,
            in_flight: Semaphore::new(IN_FLIGHT_MAX),
            request_ids: RequestIds::new(random::bytes()?),
            draining: AtomicBool::new(false),
            clock,
            metrics,
        }))
    }
}

fn cloudflare_meter(
    config: &Config,
    account: &Arc<Account>,
    clock: &Arc<dyn Clock>,
    metrics: &Arc<Metrics>,
) -> Result<Option<CloudflareMeter>, BuildError> {
    let Some(analytics) = &config.meter.analytics else { return Ok(None) };
    let key_id = config.ice.cloudflare.as_ref().map(|key| key.key_id.as_str());
    let api = CloudflareAnalytics::new(http_client()?, analytics, key_id, config.usage.billed);
    Ok(Some(CloudflareMeter {
        api: api.ok_or(BuildError::AnalyticsEndpoint)?,
        interval: analytics.interval,
        lag: analytics.lag,
        billing_day: config.budget.billing_day,
        account: Arc::clone(account),
        clock: Arc::clone(clock),
        metrics: Arc::clone(metrics),
    }))
}

/// None with the kill switch: nothing is minted for it.
fn relay(
    config: &Config,
    account: &Arc<Account>,
    clock: &Arc<dyn Clock>,
    metrics: &Arc<Metrics>,
) -> Result<Option<Relay>, BuildError> {
    let Some(relay) = config.ice.relay.as_ref().filter(|_| config.ice.enabled) else { return Ok(None) };
    let parts = RelayParts {
        account: Arc::clone(account),
        clock: Arc::clone(clock),
        metrics: Arc::clone(metrics),
        billed: config.usage.billed,
    };
    Ok(Some(Relay::open(relay, parts)?))
}

/// A coturn's sessions are ended where its command line is connected, the relay's own always.
fn cut_here(coturn_meter: Option<&CoturnMeter>, relay: Option<&Relay>) -> Vec<IceSource> {
    let coturn = coturn_meter.map(|_| IceSource::Coturn);
    let relay = relay.map(|_| IceSource::Relay);
    coturn.into_iter().chain(relay).collect()
}

fn sources(
    ice: &IceConfig,
    relay: Option<&Relay>,
    clock: &Arc<dyn Clock>,
    metrics: &Arc<Metrics>,
) -> Result<Vec<Source>, BuildError> {
    ice.sources.iter().map(|source| build_source(*source, ice, relay, clock, metrics)).collect()
}

fn build_source(
    source: IceSource,
    ice: &IceConfig,
    relay: Option<&Relay>,
    clock: &Arc<dyn Clock>,
    metrics: &Arc<Metrics>,
) -> Result<Source, BuildError> {
    let maker = match source {
        IceSource::Cloudflare => match &ice.cloudflare {
            Some(key) => Some(Maker::Cloudflare(Arc::new(provider(key, ice, clock, metrics)?))),
            None => None,
        },
        IceSource::Coturn => {
            let coturn = ice.coturn.as_ref();
            coturn.map(|coturn| Maker::Coturn(Coturn::new(coturn.urls.clone(), coturn.secret.clone())))
        }
        IceSource::Manual => ice.manual.clone().map(Maker::Manual),
        IceSource::Relay => relay.map(|relay| Maker::Relay(relay.credentials().clone())),
        IceSource::Stun => return Ok(Source::Stun),
    };
    Ok(maker.map_or(Source::Absent, Source::Ready))
}

fn provider(
    key: &CloudflareConfig,
    ice: &IceConfig,
    clock: &Arc<dyn Clock>,
    metrics: &Arc<Metrics>,
) -> Result<Provider, BuildError> {
    let api = Cloudflare::new(http_client()?, &key.api_base, &key.key_id, &key.api_token);
    let api = api.ok_or(BuildError::Endpoint)?;
    Ok(Provider::new(api, ice.ttl_max, ice.pool_max, Arc::clone(clock), Arc::clone(metrics)))
}
