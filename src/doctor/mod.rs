//! `turn-broker doctor`: finds problems and states remedies. The checks run in the order of [`Check`]. Each has a deadline and
//! also runs after a failure of an earlier one. Pure functions judge what the calls return, and the result is a
//! [`Report`]. The output never contains a secret or the text of a response.

mod alerts;
mod api;
mod configuration;
mod finding;
mod meters;
mod names;
mod progress;
mod provider;
mod relay;
mod report;
mod rotation;
mod service;
mod state;
mod tls;
mod user_keys;

use std::io::Write;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use clap::Args;
use reqwest::Client;
use url::Url;

pub use finding::{Check, Finding, Remedy, Report, State};
pub use progress::{OutputFormat, Progress};
pub use relay::tail::ProbeTail;
pub use report::TextStyle;
pub use tls::CaError;

use crate::clock::Clock;
use crate::config::{Config, ConfigErrors};
use crate::http_client::{ClientError, http_client};
use crate::ice::server::IceServerList;
use api::Endpoint;
use names::{Names, Need};
use provider::KeyClient;
use relay::{Context, Offer};
use tls::Trust;
use turn_ledger::IceSource;

/// The longest probe of the tail, in minutes: two days.
const PROBE_MINUTES_MAX: u64 = 2_880;

/// The options of the command.
#[derive(Clone, Debug, Default, Args)]
pub struct Options {
    /// Post an alert to `ALERT_WEBHOOK_URL`, instead of only connecting to it
    #[arg(long)]
    pub send_test_alert: bool,
    /// Also keep an allocation of a credential of 60 s open, and say for how long after its expiry the server accepts it; takes up
    /// to MIN minutes, 15 unless given
    #[arg(long, value_name = "MIN", num_args = 0..=1, require_equals = true, default_missing_value = "15", value_parser = probe_tail)]
    pub probe_tail: Option<ProbeTail>,
    /// Also trust the authorities in this PEM file, for turns: and stuns:
    #[arg(long, value_name = "FILE")]
    pub ca: Option<PathBuf>,
}

fn probe_tail(minutes: &str) -> Result<ProbeTail, &'static str> {
    let minutes = minutes.parse().ok().filter(|minutes| (1..=PROBE_MINUTES_MAX).contains(minutes));
    minutes
        .map(|minutes| ProbeTail::up_to(Duration::from_secs(minutes * 60)))
        .ok_or("expected minutes, 1 to 2880")
}

/// Why no check can run.
#[derive(Debug, thiserror::Error)]
pub enum DoctorError {
    /// The file of authorities cannot be used.
    #[error("--ca: {0}")]
    Ca(#[from] CaError),
    /// No HTTP client could be created.
    #[error(transparent)]
    Client(#[from] ClientError),
}

/// Reports every problem of an invalid configuration, and checks nothing else.
pub fn report_invalid<W: Write>(errors: &ConfigErrors, mut progress: Progress<W>) -> Report {
    progress.is_misconfigured();
    for finding in configuration::problems(errors) {
        progress.found(finding);
    }
    progress.finish()
}

/// Runs every check.
pub async fn run<W: Write>(
    config: &Config,
    options: &Options,
    clock: Arc<dyn Clock>,
    mut progress: Progress<W>,
) -> Result<Report, DoctorError> {
    let trust = options.ca.as_deref().map(Trust::with_file).transpose()?;
    let mut examination = Examination {
        config,
        client: http_client()?,
        trust: trust.unwrap_or_else(Trust::built_in),
        names: Names::default(),
        progress: &mut progress,
        clock,
    };
    examination.local();
    examination.service().await;
    examination.names().await;
    examination.apis().await;
    examination.credentials().await;
    if let Some(probe) = options.probe_tail {
        examination.tail(probe).await;
    }
    examination.meters().await;
    examination.user_keys().await;
    examination.alerts(options.send_test_alert).await;
    Ok(progress.finish())
}

/// The shared state of the checks.
struct Examination<'a, W> {
    config: &'a Config,
    client: Client,
    /// For relays.
    trust: Trust,
    names: Names,
    clock: Arc<dyn Clock>,
    progress: &'a mut Progress<W>,
}

impl<W: Write> Examination<'_, W> {
    /// The checks that need no network.
    fn local(&mut self) {
        for finding in configuration::check(self.config) {
            self.progress.found(finding);
        }
        self.progress.starts(Check::State.name());
        for finding in state::check(self.config.budget.state_dir.as_deref()) {
            self.progress.found(finding);
        }
    }

    /// What the service says, if it runs.
    async fn service(&mut self) {
        for finding in service::check(self.config, &self.client).await {
            self.progress.found(finding);
        }
        if let Some(url) = &self.config.public_url {
            self.progress.starts(&format!("{} {url}", Check::PublicUrl.name()));
            self.progress.found(service::public(url, &self.client, &*self.clock).await);
        }
    }

    /// The names of the servers in the configuration. Those in a provider's response are looked up with its URLs.
    async fn names(&mut self) {
        let config = self.config;
        let coturn = config.ice.coturn.iter().filter(|_| configuration::is_on(config, IceSource::Coturn));
        for url in coturn.flat_map(|coturn| &coturn.urls) {
            self.names.look_up(url.host(), Need::Required, &*self.clock, self.progress).await;
        }
        for url in &config.ice.stun {
            self.names.look_up(url.host(), Need::Fallback, &*self.clock, self.progress).await;
        }
    }

    /// The connections to the APIs, and the clock by the first response that has a date.
    async fn apis(&mut self) {
        let apis = apis(self.config);
        if apis.is_empty() {
            self.progress.found(Finding::skipped(Check::Tls, "", "no API is configured"));
        }
        let mut skew = None;
        for (url, variable) in apis {
            self.progress.starts(&format!("{} {}", Check::Tls.name(), tls::host_of(url)));
            let endpoint = Endpoint { check: Check::Tls, url, variable };
            let (finding, found) = api::check(&endpoint, &self.client, &*self.clock).await;
            self.progress.found(finding);
            skew = skew.or(found);
        }
        let unknown = || Finding::skipped(Check::Clock, "", "no API gave a date to compare with");
        self.progress.found(skew.unwrap_or_else(unknown));
    }

    /// Mints a credential from each source, tries its servers, and revokes it.
    async fn credentials(&mut self) {
        let config = self.config;
        let keys = provider::cloudflare(config, &self.client);
        let (mut offers, mut minted) = (Vec::new(), Vec::new());
        for source in config.ice.sources.iter().copied().filter(|source| *source != IceSource::Stun) {
            self.progress.starts(&format!("{} {source}", Check::Provider.name()));
            let keys = if source == IceSource::Cloudflare { keys.as_slice() } else { &[] };
            if keys.is_empty() {
                let given = provider::check(source, config, &*self.clock);
                self.progress.found(given.finding);
                offers.extend(given.servers.map(|servers| Offer { source, servers }));
            }
            for key in keys {
                let given = provider::mint(key, config, &*self.clock).await;
                self.progress.found(given.finding);
                // The relays of all keys are the same, so one is tried.
                if minted.is_empty() {
                    offers.extend(given.servers.clone().map(|servers| Offer { source, servers }));
                }
                minted.extend(given.servers.map(|servers| (key, servers)));
            }
        }
        let stun = IceServerList::of_stun(&config.ice.stun);
        offers.push(Offer { source: IceSource::Stun, servers: stun });
        let context = Context {
            names: &mut self.names,
            trust: &self.trust,
            clock: &self.clock,
            progress: self.progress,
        };
        relay::check(offers, context).await;
        for (key, servers) in &minted {
            self.revoke(key, servers).await;
        }
    }

    async fn revoke(&mut self, key: &KeyClient, servers: &IceServerList) {
        self.progress.starts(Check::Revoke.name());
        if let Some(finding) = provider::revoke(key, servers).await {
            self.progress.found(finding);
        }
    }

    /// Mints another credential, and keeps an allocation of it open after its expiry.
    async fn tail(&mut self, probe: ProbeTail) {
        let config = self.config;
        let sources = [IceSource::Cloudflare, IceSource::Coturn];
        let Some(source) = sources.into_iter().find(|source| configuration::is_on(config, *source)) else {
            let why = "neither cloudflare nor coturn is a source";
            self.progress.found(Finding::skipped(Check::Tail, "", why));
            return;
        };
        // The relays of all keys are the same, so one is probed: the first, which is the default one if there is one.
        let keys = provider::cloudflare(config, &self.client);
        let key = keys.first().filter(|_| source == IceSource::Cloudflare);
        let expires = self.clock.instant() + provider::TTL;
        let given = match key {
            Some(key) => provider::mint(key, config, &*self.clock).await,
            None => provider::check(source, config, &*self.clock),
        };
        let Some(servers) = given.servers else {
            self.progress.found(Finding::skipped(Check::Tail, source.name(), "no credential, see above"));
            return;
        };
        let minted = servers.clone();
        let context = Context {
            names: &mut self.names,
            trust: &self.trust,
            clock: &self.clock,
            progress: self.progress,
        };
        let configured = config.budget.expiry_tail.unwrap_or(source.expiry_tail());
        let finding =
            relay::tail::probe(Offer { source, servers }, expires, probe, configured, context).await;
        self.progress.found(finding);
        if let Some(key) = key {
            self.revoke(key, &minted).await;
        }
    }

    async fn meters(&mut self) {
        if let Some(finding) = rotation::check(self.config, &self.client, &*self.clock).await {
            self.progress.found(finding);
        }
        self.progress.starts(Check::Analytics.name());
        let finding = meters::analytics(self.config, &self.client, &*self.clock).await;
        self.progress.found(finding);
        if let Some(cli) = &self.config.meter.coturn_cli {
            self.progress.starts(&format!("{} {}", Check::CoturnCli.name(), cli.address));
            let finding = meters::coturn_cli(self.config, cli, &*self.clock).await;
            self.progress.found(finding);
        }
    }

    async fn user_keys(&mut self) {
        if let Some(finding) = user_keys::check(self.config, &self.client, &*self.clock).await {
            self.progress.found(finding);
        }
    }

    async fn alerts(&mut self, send: bool) {
        let Some(alert) = &self.config.alert else {
            let why = "ALERT_WEBHOOK_URL is not set: alerts are only logged and shown on the dashboard";
            self.progress.found(Finding::skipped(Check::Alerts, "", why));
            return;
        };
        self.progress.starts(&format!("{} {}", Check::Alerts.name(), alert.url.host()));
        if send {
            self.progress.found(alerts::send(self.config, alert, &*self.clock).await);
            return;
        }
        let url = alert.url.expose();
        let endpoint = Endpoint { check: Check::Alerts, url, variable: "ALERT_WEBHOOK_URL" };
        let (finding, _) = api::check(&endpoint, &self.client, &*self.clock).await;
        self.progress.found(finding);
    }
}

/// The APIs that the configuration uses, each with the variable that sets its URL.
fn apis(config: &Config) -> Vec<(&Url, &'static str)> {
    let key = config.ice.cloudflare.as_ref().filter(|_| configuration::is_on(config, IceSource::Cloudflare));
    let mint = key.map(|key| (&key.api_base, "CLOUDFLARE_API_BASE"));
    let analytics = config.meter.analytics.as_ref();
    let count = analytics.map(|analytics| (&analytics.base, "CLOUDFLARE_ANALYTICS_BASE"));
    let rotation = config.ice.cloudflare.as_ref().and_then(|cloudflare| cloudflare.rotation.as_ref());
    let rest = rotation.map(|rotation| (&rotation.base, "CLOUDFLARE_REST_BASE"));
    mint.into_iter().chain(count).chain(rest).collect()
}
