//! `turn-broker doctor`: finds problems and states remedies. The checks run in the order of [`Check`]. Each has a deadline and
//! also runs after a failure of an earlier one. Pure functions judge what the calls return, and the result is a
//! [`Report`]. The output never contains a secret or the text of a response.

mod connect;
mod finding;
mod meters;
mod provider;
mod relay;
mod report;
mod settings;
mod state;

use std::io::Write;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use clap::Args;
use reqwest::Client;
use url::Url;

pub use finding::{Check, Finding, Remedy, State};
pub use relay::tail::ProbeTail;
pub use report::{OutputFormat, Progress, Report, TextStyle};

use crate::clock::Clock;
use crate::config::{Config, ConfigErrors};
use crate::http_client::{ClientError, http_client};
use crate::ice::server::IceServerList;
use connect::{Names, Need, Trust, host_of};
use finding::{Verdict, skipped};
use provider::{Given, KeyClient};
use relay::Offer;
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
    Ca(String),
    /// No HTTP client could be created.
    #[error(transparent)]
    Client(#[from] ClientError),
}

/// Reports every problem of an invalid configuration, and checks nothing else.
pub fn report_invalid<W: Write>(errors: &ConfigErrors, mut progress: Progress<W>) -> Report {
    progress.is_misconfigured();
    for verdict in settings::problems(errors) {
        progress.found(verdict.about(Check::Configuration, ""));
    }
    progress.finish()
}

/// Runs every check.
pub async fn run<W: Write>(
    config: &Config,
    options: &Options,
    clock: Arc<dyn Clock>,
    progress: Progress<W>,
) -> Result<Report, DoctorError> {
    let trust = Trust::new(options.ca.as_deref()).map_err(DoctorError::Ca)?;
    let client = http_client()?;
    let keys = provider::cloudflare(config, &client);
    let mut examination =
        Examination { config, client, keys: &keys, trust, names: Names::default(), clock, progress };
    examination.settings().await;
    examination.names().await;
    examination.apis().await;
    examination.credentials().await;
    if let Some(probe) = options.probe_tail {
        examination.tail(probe).await;
    }
    examination.meters().await;
    examination.alerts(options.send_test_alert).await;
    Ok(examination.progress.finish())
}

/// The shared state of the checks.
struct Examination<'a, W> {
    config: &'a Config,
    client: Client,
    keys: &'a [KeyClient],
    /// For relays.
    trust: Trust,
    names: Names,
    clock: Arc<dyn Clock>,
    progress: Progress<W>,
}

impl<'a, W: Write> Examination<'a, W> {
    fn found(&mut self, check: Check, subject: &str, verdict: Verdict) {
        self.progress.found(verdict.about(check, subject));
    }

    /// Runs one check.
    async fn check(&mut self, check: Check, subject: &str, run: impl Future<Output = Verdict>) {
        let run = async { (run.await, ()) };
        self.progress.check(&*self.clock, (check, subject), run).await;
    }

    async fn look_up(&mut self, host: &str, need: Need) {
        self.names.look_up(host, need, &*self.clock, &mut self.progress).await;
    }

    /// The settings, the state directory, and what the service says if it runs.
    async fn settings(&mut self) {
        let (config, client) = (self.config, self.client.clone());
        for verdict in settings::check(config) {
            self.found(Check::Configuration, "", verdict);
        }
        self.progress.starts(Check::State.name());
        let directory = config.budget.state_dir.as_deref();
        let shown = directory.map(|directory| directory.display().to_string()).unwrap_or_default();
        for verdict in state::check(directory) {
            self.found(Check::State, &shown, verdict);
        }
        for finding in settings::service(config, &client).await {
            self.progress.found(finding);
        }
        if let Some(url) = &config.public_url {
            self.check(Check::PublicUrl, &url.to_string(), settings::public(url, &client)).await;
        }
    }

    /// The names of the servers in the configuration. Those in a provider's response are looked up with its URLs.
    async fn names(&mut self) {
        let config = self.config;
        let coturn = config.ice.coturn.iter().filter(|_| settings::is_on(config, IceSource::Coturn));
        for url in coturn.flat_map(|coturn| &coturn.urls) {
            self.look_up(url.host(), Need::Required).await;
        }
        for url in &config.ice.stun {
            self.look_up(url.host(), Need::Fallback).await;
        }
    }

    /// One request to an API. Returns the verdict about this machine's clock.
    async fn api(&mut self, check: Check, url: &Url, variable: &str) -> Option<Verdict> {
        let run = connect::api(url, variable, &self.client, &*self.clock);
        self.progress.check(&*self.clock, (check, host_of(url)), run).await
    }

    /// The APIs, and the clock by the first response that has a date.
    async fn apis(&mut self) {
        let apis = apis(self.config);
        if apis.is_empty() {
            self.found(Check::Tls, "", skipped("no API is configured"));
        }
        let mut skew = None;
        for (url, variable) in apis {
            let found = self.api(Check::Tls, url, variable).await;
            skew = skew.or(found);
        }
        let unknown = || skipped("no API gave a date to compare with");
        self.found(Check::Clock, "", skew.unwrap_or_else(unknown));
    }

    /// A credential of a source, minted with the key if there is one.
    async fn mint(&mut self, source: IceSource, key: Option<&KeyClient>) -> Given {
        match key {
            Some(key) => provider::mint(key, self.config).await,
            None => provider::check(source, self.config, &*self.clock),
        }
    }

    async fn revoke(&mut self, key: Option<&KeyClient>, servers: &IceServerList) {
        if let Some((key, username)) = key.zip(servers.username()) {
            self.check(Check::Revoke, &key.subject, provider::revoke(key, username)).await;
        }
    }

    /// The keys of a source; one `None` for a source without keys.
    fn keys_of(&self, source: IceSource) -> Vec<Option<&'a KeyClient>> {
        match source {
            IceSource::Cloudflare if !self.keys.is_empty() => self.keys.iter().map(Some).collect(),
            _ => vec![None],
        }
    }

    /// Mints a credential from each source, tries its servers, and revokes it.
    async fn credentials(&mut self) {
        let config = self.config;
        let (mut offers, mut minted) = (Vec::<Offer>::new(), Vec::new());
        for source in config.ice.sources.iter().copied().filter(|source| *source != IceSource::Stun) {
            for key in self.keys_of(source) {
                let subject = key.map_or(source.name(), |key| &key.subject);
                self.progress.starts(&format!("{} {subject}", Check::Provider.name()));
                let clock = Arc::clone(&self.clock);
                let began = clock.instant();
                let (verdict, servers) = self.mint(source, key).await;
                let finding = verdict.about(Check::Provider, subject);
                let took = clock.instant().saturating_duration_since(began);
                self.progress.found(if key.is_some() { finding.after(took) } else { finding });
                let Some(servers) = servers else { continue };
                // The relays of all keys are the same, so one is tried.
                if key.is_none() || offers.iter().all(|offer| offer.source != source) {
                    offers.push(Offer { source, servers: servers.clone() });
                }
                minted.push((key, servers));
            }
        }
        let stun = IceServerList::of_stun(&config.ice.stun);
        offers.push(Offer { source: IceSource::Stun, servers: stun });
        relay::check(offers, self).await;
        for (key, servers) in minted {
            self.revoke(key, &servers).await;
        }
    }

    /// Mints another credential, and keeps an allocation of it open after its expiry.
    async fn tail(&mut self, probe: ProbeTail) {
        let config = self.config;
        let mut sources = [IceSource::Cloudflare, IceSource::Coturn].into_iter();
        let Some(source) = sources.find(|source| settings::is_on(config, *source)) else {
            self.found(Check::Tail, "", skipped("neither cloudflare nor coturn is a source"));
            return;
        };
        // The relays of all keys are the same, so one is probed: the first, which is the default one if there is one.
        let key = self.keys_of(source).remove(0);
        let expires = self.clock.instant() + provider::TTL;
        let Some(servers) = self.mint(source, key).await.1 else {
            self.found(Check::Tail, source.name(), skipped("no credential, see above"));
            return;
        };
        let finding =
            relay::tail::probe(Offer { source, servers: servers.clone() }, expires, probe, self).await;
        self.progress.found(finding);
        self.revoke(key, &servers).await;
    }

    /// What the service reads elsewhere, if it is configured.
    async fn meters(&mut self) {
        let (config, client, now) = (self.config, self.client.clone(), self.clock.now());
        if let Some(rotation) = config.ice.cloudflare.as_ref().and_then(|key| key.rotation.as_ref()) {
            self.check(Check::TurnKeys, "", meters::turn_keys(rotation, &client)).await;
        }
        self.check(Check::Analytics, "", meters::analytics(config, &client, now)).await;
        if let Some(cli) = &config.meter.coturn_cli {
            self.check(Check::CoturnCli, &cli.address, meters::coturn_cli(config, cli)).await;
        }
        if let Some(url) = config.auth.as_ref().and_then(|auth| auth.jwks_url.as_ref()) {
            self.check(Check::UserKeys, host_of(url), meters::user_keys(url, &client)).await;
        }
    }

    /// The receiver of alerts. A finding shows only its host, because anyone who knows the rest of the URL can post there.
    async fn alerts(&mut self, send: bool) {
        let Some(alert) = &self.config.alert else {
            let why = "ALERT_WEBHOOK_URL is not set: alerts are only logged and shown on the dashboard";
            self.found(Check::Alerts, "", skipped(why));
            return;
        };
        if send {
            let (config, client, now) = (self.config, self.client.clone(), self.clock.now());
            let posted = meters::test_alert(config, alert, &client, now);
            self.check(Check::Alerts, alert.url.host(), posted).await;
        } else {
            self.api(Check::Alerts, alert.url.expose(), "ALERT_WEBHOOK_URL").await;
        }
    }
}

/// The APIs that the configuration uses, each with the variable that sets its URL.
fn apis(config: &Config) -> Vec<(&Url, &'static str)> {
    let key = config.ice.cloudflare.as_ref().filter(|_| settings::is_on(config, IceSource::Cloudflare));
    let mint = key.map(|key| (&key.api_base, "CLOUDFLARE_API_BASE"));
    let analytics = config.meter.analytics.as_ref();
    let count = analytics.map(|analytics| (&analytics.base, "CLOUDFLARE_ANALYTICS_BASE"));
    let rotation = config.ice.cloudflare.as_ref().and_then(|cloudflare| cloudflare.rotation.as_ref());
    let rest = rotation.map(|rotation| (&rotation.base, "CLOUDFLARE_REST_BASE"));
    mint.into_iter().chain(count).chain(rest).collect()
}
