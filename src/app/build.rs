//! The composition root: the only place where the parts of the service are built and connected. It does no I/O except to
//! bind the relay's port and to create the directory of reports.

use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use serde_json::json;
use serde_json::value::to_raw_value;
use tokio::sync::Semaphore;

use super::opening::{owner_of, setup};
use super::{App, BrokerCore, BuildError, IN_FLIGHT, Process, RelayAccount, relay};
use crate::account::Account;
use crate::alert::AlertKind;
use crate::alert::dispatcher::AlertDispatcher;
use crate::alert::webhook::Webhook;
use crate::auth::Auth;
use crate::auth::server_keys::ServerKeys;
use crate::config::{CloudflareConfig, Config, CoturnCliConfig, CoturnRelay, HttpIceConfig, TurnKeyConfig};
use crate::forward::ForwardKey;
use crate::ice::{
    Cloudflare, Fleet, HttpIce, IceServerList, KeyName, MintingApi, OwnKey, OwnRelay, RestSecret, RestServer,
    TurnKey,
};
use crate::lead::Lead;
use crate::limit::RateLimit;
use crate::limit::proxies::UntrustedProxies;
use crate::live_calls::LiveCalls;
use crate::meter::cloudflare::CloudflareMeter;
use crate::meter::cloudflare::analytics::{CloudflareAnalytics, Counted};
use crate::meter::coturn::CoturnMeter;
use crate::meter::coturn::cli::CoturnCli;
use crate::meter::coturn::stats::CoturnStats;
use crate::meter::reference_clock::ReferenceClock;
use crate::mint::pool::PAGE_LIFE;
use crate::mint::{CredentialSource, Ending, GrantKeys, HttpSource, Mint, Provider, Source};
use crate::store::{Contents, Store};
use crate::telemetry::log::LostLines;
use crate::telemetry::metrics::Metrics;
use turn_base::access::volatile_kind;
use turn_base::{Clock, HttpClient, RetryPolicy, TokenDigest, random};
use turn_ledger::{
    BudgetMode, CountOwner, EndedBy, IceSource, IdDigest, TokenKey, TokenKeys, strict_life_min,
};
use turn_limits::MemoryQuota;
use turn_relay::Relay;
use turn_sfu_proxy::{SfuProxy, VideoRates};
use turn_signaling_server::Signaling;

/// Builds everything that the handlers and the background tasks share.
pub fn build(
    config: &Config,
    clock: Arc<dyn Clock>,
    store: Option<(Store, Contents)>,
    lost_lines: LostLines,
) -> Result<Arc<App>, BuildError> {
    build_leading(&Process::new(config.clone(), clock, lost_lines)?, store, None)
}

/// Like [`build`], for a process that may be one of several replicas.
pub fn build_leading(
    process: &Arc<Process>,
    store: Option<(Store, Contents)>,
    lead: Option<Arc<Lead>>,
) -> Result<Arc<App>, BuildError> {
    let Process { config, clock, metrics, .. } = &**process;
    let (store, stored) = store.unzip();
    let stored = stored.unwrap_or_default();
    let keys = match &stored.books.keys {
        Some(keys) => keys.clone(),
        None => TokenKeys::new(TokenKey::new(random::bytes()?)),
    };
    let account =
        Account::new(&setup(config), stored, store, lead.clone(), Arc::clone(clock), Arc::clone(metrics));
    let account = Arc::new(account);
    let stun = IceServerList::of_stun(&config.ice.stun);
    let parts =
        Parts { config, process, account, client: HttpClient::new(&config.network)?, stun, keys: &keys };
    let (relay, relay_server) = parts.relay()?.unzip();
    let mint = Arc::new(parts.mint(relay_server.as_ref()));
    let core = Arc::new(BrokerCore {
        process: Arc::clone(process),
        auth: parts.auth(),
        calls: LiveCalls::new(Arc::clone(&parts.account), Arc::clone(clock)),
        mint: Arc::clone(&mint),
        rate_limit: RateLimit::new(config, parts.clock(), parts.metrics()),
        call_ttl: config.signaling.ttl.min(config.ice.ttl_max),
    });
    let relays = config.ice.coturn.len();
    let coturn_stats = config.meter.coturn_stats.clone().map(|stats| CoturnStats::new(stats, relays));
    let ending = Ending {
        mint: Arc::clone(&mint),
        clock: Arc::clone(clock),
        at_limit: config.budget.revokes_at_limit,
        progress: Mutex::default(),
    };
    Ok(Arc::new(App {
        ending,
        cloudflare_meter: parts.cloudflare_meter(),
        reference_clock: parts.reference_clock(),
        coturn_meters: parts.coturn_meters(coturn_stats.as_deref()),
        coturn_stats,
        relay,
        dispatcher: parts.dispatcher(),
        forward_key: lead.as_ref().map(|_| ForwardKey::derived_from(keys.signing.expose())),
        lead,
        untrusted_proxies: UntrustedProxies::default(),
        signaling: parts.signaling(Arc::clone(&core))?,
        sfu: parts.sfu(Arc::clone(&core)),
        core,
        process: Arc::clone(process),
        account: parts.account,
        mint,
        stun: parts.stun,
        server_keys: ServerKeys::new(&config.server_keys.keys),
        reporter_token: config.access.reporter_token.as_ref().map(TokenDigest::of),
        volatile: config.budget.state_dir.as_deref().and_then(volatile_kind),
        backup_slot: Arc::new(Semaphore::new(1)),
        in_flight: MemoryQuota::new(0, IN_FLIGHT),
    }))
}

/// The values that most parts are built from.
struct Parts<'a> {
    config: &'a Config,
    process: &'a Process,
    account: Arc<Account>,
    /// The client of all parts, which share its connections.
    client: HttpClient,
    stun: IceServerList,
    /// The keys of the ledger.
    keys: &'a TokenKeys,
}

impl Parts<'_> {
    fn dispatcher(&self) -> Option<AlertDispatcher> {
        let alert = self.config.alert.as_ref()?;
        for kind in AlertKind::all().chain(self.config.alert_percents.iter().copied().map(AlertKind::Used)) {
            for outcome in ["delivered", "failed", "given_up", "dropped"] {
                self.metrics().alerts.add([kind.name(), outcome], 0);
            }
        }
        Some(AlertDispatcher {
            webhook: Webhook::new(self.client.clone(), alert, self.config.dashboard_base()),
            clock: self.clock(),
            metrics: self.metrics(),
            retry: RetryPolicy::default(),
        })
    }

    /// The client of Cloudflare's APIs. It tells the account the time in each response.
    fn provider_client(&self) -> HttpClient {
        let account = Arc::clone(&self.account);
        self.client.telling_clock(move |date| account.observe_date(date))
    }

    /// Asks the first of the configured APIs of Cloudflare for its clock.
    fn reference_clock(&self) -> Option<ReferenceClock> {
        let Config { ice, meter, signaling, .. } = self.config;
        let mints = ice.cloudflare.as_ref().map(|cloudflare| &cloudflare.api_base);
        let counts = meter.analytics.as_ref().map(|analytics| &analytics.base);
        let url = mints.or(counts).or(signaling.sfu.as_ref().map(|sfu| &sfu.api))?.clone();
        Some(ReferenceClock { client: self.provider_client(), url, account: Arc::clone(&self.account) })
    }

    fn clock(&self) -> Arc<dyn Clock> {
        Arc::clone(&self.process.clock)
    }

    fn metrics(&self) -> Arc<Metrics> {
        Arc::clone(&self.process.metrics)
    }

    fn signaling(&self, broker: Arc<BrokerCore>) -> Result<Arc<Signaling>, BuildError> {
        let service = turn_signaling_server::Service {
            broker,
            clock: self.clock(),
            client: self.client.clone(),
            bodies: self.process.bodies.clone(),
            stun: to_raw_value(&self.stun).unwrap_or_default(),
            trusted_proxies: self.config.access.trusted_proxies.clone(),
            has_sign_in: self.config.auth.is_some(),
        };
        let protocols = &self.config.signaling.protocols;
        Ok(Arc::new(Signaling::new(protocols, self.keys.signing.expose(), service)?))
    }

    fn sfu(&self, broker: Arc<BrokerCore>) -> Option<Arc<SfuProxy>> {
        let config = self.config.signaling.sfu.as_ref()?;
        let service = turn_sfu_proxy::Service {
            ttl: broker.call_ttl,
            broker,
            clock: self.clock(),
            bodies: self.process.bodies.clone(),
            stun: json!(self.stun),
        };
        let video = VideoRates::new(self.config.budget.liability_rate, self.config.usage.estimated_rate);
        let open = self.account.read(|books| (books.now(), books.sfu_sessions().collect()));
        let key = self.keys.signing.expose();
        Some(Arc::new(SfuProxy::new(config.clone(), video, key, self.provider_client(), open, service)))
    }

    fn auth(&self) -> Option<Auth> {
        let auth = self.config.auth.as_ref()?;
        Some(Auth::new(auth, self.client.clone(), self.clock(), self.metrics()))
    }

    fn cloudflare_meter(&self) -> Option<CloudflareMeter> {
        let analytics = self.config.meter.analytics.as_ref()?;
        // The keys of the settings, and other keys that the ledger knows.
        let keys = self.account.read(|books| books.budget().counted_turn_keys());
        let keys = keys.into_iter().map(|(digest, id)| OwnKey { digest, id }).collect();
        let counted = Counted::of(self.config);
        Some(CloudflareMeter {
            api: CloudflareAnalytics::new(self.provider_client(), analytics, keys, counted),
            interval: analytics.interval,
            lag: analytics.lag,
            sampling: self.config.meter.sampling_percent,
            probed: self.turn_keys(),
            key_names: self.config.ice.turn_keys().map(|key| (IdDigest::of(&key.id), key.name)).collect(),
            billing_day: self.config.budget.billing_day,
            shown: Mutex::default(),
            account: Arc::clone(&self.account),
            metrics: self.metrics(),
        })
    }

    /// Each TURN key of the settings as the owner of a count, with the API that mints its probes. Empty without `RELAY_PROBE`.
    fn turn_keys(&self) -> Vec<(CountOwner, MintingApi)> {
        let cloudflare = self.config.ice.cloudflare.iter().filter(|_| self.config.meter.probes);
        let keys = cloudflare.flat_map(|config| config.keys.iter().map(move |key| (config, key)));
        keys.map(|(cloudflare, key)| (owner_of(key), self.minting_api(cloudflare, key))).collect()
    }

    fn minting_api(&self, cloudflare: &CloudflareConfig, key: &TurnKeyConfig) -> MintingApi {
        let client = self.provider_client();
        MintingApi::Cloudflare(Cloudflare::new(client, &cloudflare.api_base, &key.id, &key.token))
    }

    fn coturn_meters(&self, stats: Option<&CoturnStats>) -> Vec<CoturnMeter> {
        let reports = |config: &CoturnCliConfig| {
            stats?.relays.get(self.config.place_of_relay(config.host.as_deref())).cloned()
        };
        let meter = |config: &CoturnCliConfig| CoturnMeter {
            name: config.host.clone().unwrap_or_else(|| IceSource::Coturn.to_string()),
            relay: config.owner(),
            cli: CoturnCli(config.clone()),
            reports: reports(config),
            account: Arc::clone(&self.account),
            metrics: self.metrics(),
            failure: Mutex::default(),
        };
        self.config.meter.coturn_cli.iter().map(meter).collect()
    }

    /// The relay in this process. `None` if `ICE_SOURCES` does not name it, or with `TURN_ENABLED=false`, because then no credential for
    /// the relay is minted.
    fn relay(&self) -> Result<Option<(Relay, RestServer)>, BuildError> {
        let ice = &self.config.ice;
        let (Some(config), true) = (ice.relay, ice.enabled) else { return Ok(None) };
        let secret = RestSecret::generated(&random::bytes()?);
        let broker = RelayAccount { account: Arc::clone(&self.account), metrics: self.metrics(), secret };
        relay::open(config, self.config.usage.billed.of(IceSource::Relay), broker).map(Some)
    }

    fn mint(&self, relay: Option<&RestServer>) -> Mint {
        let ice = &self.config.ice;
        // Whether this process ends the sessions of all grants of a source.
        let is_cut_here = |source: &IceSource| match source.facts().ended_by {
            EndedBy::Nobody => false,
            EndedBy::CommandLine => {
                !self.config.meter.coturn_cli.is_empty() && self.config.unlisted().next().is_none()
            }
            EndedBy::ThisProcess => relay.is_some(),
            EndedBy::Api => true,
        };
        Mint {
            enabled: ice.enabled,
            sources: ice.sources.iter().map(|source| self.source(*source, relay)).collect(),
            urls: self.config.ice.urls,
            cut_here: IceSource::ALL.into_iter().filter(is_cut_here).collect(),
            falls_back: self.config.budget.falls_back,
            account: Arc::clone(&self.account),
            grant_keys: GrantKeys::new(self.keys),
        }
    }

    fn source(&self, source: IceSource, relay: Option<&RestServer>) -> Source {
        let ice = &self.config.ice;
        let credentials = match source {
            IceSource::Cloudflare => {
                let provider = ice.cloudflare.as_ref().map(|cloudflare| self.provider(cloudflare));
                provider.map(|provider| CredentialSource::Cloudflare(Arc::new(provider)))
            }
            IceSource::Http => ice.http.as_ref().map(|http| CredentialSource::Http(self.http_source(http))),
            IceSource::Coturn => {
                let own = |relay: &CoturnRelay| {
                    OwnRelay::new(relay.host.clone(), relay.name, relay.owner(), relay.server.clone())
                };
                let relays: Vec<_> = ice.coturn.iter().map(own).collect();
                (!relays.is_empty()).then(|| CredentialSource::Coturn(Fleet(relays)))
            }
            IceSource::Manual => ice.manual.clone().map(CredentialSource::Manual),
            IceSource::Relay => relay.cloned().map(CredentialSource::Relay),
            IceSource::Stun => return Source::Stun,
            // The SFU has no credentials, so `ICE_SOURCES` cannot name it.
            IceSource::Sfu => None,
        };
        credentials.map_or(Source::Absent, Source::Ready)
    }

    fn provider(&self, cloudflare: &CloudflareConfig) -> Provider {
        let turn_key = |key: &TurnKeyConfig| {
            let (id, now) = (Some(IdDigest::of(&key.id)), self.process.clock.instant());
            Arc::new(TurnKey::new(key.name, id, key.weight, self.minting_api(cloudflare, key), now))
        };
        let keys = cloudflare.keys.iter().map(turn_key).collect();
        Provider::new(keys, &self.lives(), self.life_min(IceSource::Cloudflare), self.clock(), self.metrics())
    }

    /// The shortest life of a credential of this source, unless the provider itself decides on a shorter one.
    fn life_min(&self, source: IceSource) -> Duration {
        let is_strict = self.config.budget.mode == BudgetMode::Strict;
        if is_strict { strict_life_min(self.config.budget.tail_of(source)) } else { Duration::ZERO }
    }

    /// The lifetimes that callers often ask for: that of a plain request, of the page module, and of a call.
    fn lives(&self) -> Vec<Duration> {
        let longest = self.config.ice.ttl_max;
        let mut lives = vec![longest, PAGE_LIFE.min(longest), self.config.signaling.ttl.min(longest)];
        lives.sort();
        lives.dedup();
        lives
    }

    /// Another provider, as if it had one TURN key.
    fn http_source(&self, http: &HttpIceConfig) -> HttpSource {
        let life = http.life.unwrap_or(self.config.ice.ttl_max);
        // Not with the client that hears Cloudflare's time: another provider's clock is no reference for ours.
        let api = MintingApi::Http(HttpIce { client: self.client.clone(), request: http.request.clone() });
        let key = TurnKey::new(KeyName::DEFAULT, None, 1, api, self.process.clock.instant());
        // At another provider nothing is minted in advance, so there are no lifetimes to prepare.
        let life_min = self.life_min(IceSource::Http);
        let provider = Provider::new(vec![Arc::new(key)], &[], life_min, self.clock(), self.metrics());
        HttpSource { provider: Arc::new(provider), life, life_min }
    }
}
