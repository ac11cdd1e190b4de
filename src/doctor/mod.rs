//! `turn-broker doctor`: finds problems and states remedies. Each check has a deadline and
//! also runs after a failure of an earlier one. Pure functions judge what the calls return, and the result is a
//! [`Report`]. The output never contains a secret or the text of a response.

mod connect;
mod database;
mod meters;
mod provider;
mod relay;
mod report;
mod settings;
mod state;
mod tail;

use std::path::Path;
use std::sync::Arc;

use clap::Args;

pub use report::{Check, CheckState, Finding, Progress, Report, Verdict};

use crate::config::{ConfigErrors, DatabaseConfig};
use crate::lead::closed_port;
use crate::store::postgres::connect::Database;
use prelude::*;
use provider::KeyClient;
use turn_base::http_client::ClientError;

/// What most checks use.
mod prelude {
    pub(super) use std::time::Duration;

    pub(super) use reqwest::Method;
    pub(super) use serde_json::Value;
    pub(super) use turn_base::{Clock, HttpClient};
    pub(super) use turn_ledger::{IceSource, Timestamp};
    pub(super) use url::Url;

    pub(super) use super::report::{Check, Verdict, fail, ok, skipped, warn};
    pub(super) use crate::config::{CloudflareConfig, Config};
    pub(super) use crate::ice::server::IceServerList;
}

/// The options of the command.
#[derive(Clone, Debug, Default, Args)]
pub struct Options {
    /// Post an alert to `ALERT_WEBHOOK_URL`, instead of only connecting to it
    #[arg(long)]
    pub send_test_alert: bool,
    /// Measure in two hours for how long a credential of each TURN key relays after its end, wait for the count, and print the line for .env
    #[arg(long)]
    pub tail: bool,
}

/// Reports every problem of an invalid configuration, and checks nothing else.
pub fn report_invalid(errors: &ConfigErrors, mut progress: Progress<'_>) -> Report {
    progress.report.is_misconfigured = true;
    for verdict in settings::problems(errors) {
        progress.found(Check::Configuration, "", verdict, Duration::ZERO);
    }
    progress.finish()
}

/// Runs every check.
pub async fn run(
    config: &Config,
    options: &Options,
    clock: Arc<dyn Clock>,
    progress: Progress<'_>,
) -> Result<Report, ClientError> {
    let client = HttpClient::new(&config.network)?;
    let keys: Vec<_> =
        IceSource::ALL.into_iter().flat_map(|source| provider::providers(source, config, &client)).collect();
    let mut examination = Examination { config, client: &client, keys: &keys, clock: &clock, progress };
    examination.settings().await;
    examination.apis().await;
    examination.credentials().await;
    examination.service().await;
    examination.meters().await;
    examination.alerts(options.send_test_alert).await;
    if options.tail {
        examination.tails().await;
    }
    Ok(examination.progress.finish())
}

/// The shared state of the checks.
struct Examination<'a, 'o> {
    config: &'a Config,
    client: &'a HttpClient,
    /// The clients of all providers: for Cloudflare one for each TURN key, for the source `http` one.
    keys: &'a [KeyClient],
    clock: &'a Arc<dyn Clock>,
    progress: Progress<'o>,
}

impl<'a> Examination<'a, '_> {
    /// Reports a verdict that took no call of its own, so it has no time.
    fn found(&mut self, check: Check, subject: &str, verdict: Verdict) {
        self.progress.found(check, subject, verdict, Duration::ZERO);
    }

    /// Runs one check, and reports its verdict and how long it took. Returns what the check gives besides its verdict.
    async fn check_for<T>(
        &mut self,
        check: Check,
        subject: &str,
        run: impl Future<Output = (Verdict, Option<T>)>,
    ) -> Option<T> {
        let began = self.clock.instant();
        let (verdict, besides) = run.await;
        let took = self.clock.instant().saturating_duration_since(began);
        self.progress.found(check, subject, verdict, took);
        besides
    }

    /// The same as [`Self::check_for`], for a check that gives only its verdict.
    async fn check(&mut self, check: Check, subject: &str, run: impl Future<Output = Verdict>) {
        self.check_for::<()>(check, subject, async { (run.await, None) }).await;
    }

    /// The settings, the ledger, and the broker at `PUBLIC_URL`.
    async fn settings(&mut self) {
        let (config, client) = (self.config, self.client);
        for verdict in settings::check(config) {
            self.found(Check::Configuration, "", verdict);
        }
        match &config.database {
            Some(database) => Box::pin(self.database(database)).await,
            None => self.state(config.budget.state_dir.as_deref()).await,
        }
        if let Some(url) = &config.public_url {
            let remedy =
                "check the proxy, its DNS name and certificate, and PUBLIC_URL; ask from another machine too";
            self.check(Check::PublicUrl, &url.to_string(), settings::broker_at(url, remedy, client)).await;
        }
    }

    /// The ledger in `STATE_DIR`.
    async fn state(&mut self, directory: Option<&Path>) {
        let is_served = settings::service_status(self.config, self.client).await["durable"] == true;
        let shown = directory.map(|directory| directory.display().to_string()).unwrap_or_default();
        for verdict in state::check(directory, is_served) {
            self.found(Check::State, &shown, verdict);
        }
    }

    /// The ledger in a database, and where the other replicas reach this one.
    async fn database(&mut self, config: &DatabaseConfig) {
        for (check, verdict) in database::check(config, &**self.clock).await {
            self.found(check, &config.schema, verdict);
        }
        let url = match &config.advertise_url {
            Some(url) => url.to_string(),
            None => format!("{}/", Database::new(config).default_url(self.config.server.port).await),
        };
        let (others, shared) = database::check_address(config, &url).await;
        if let Some(shared) = shared {
            self.found(Check::AdvertiseUrl, &url, shared);
        }
        for other in others {
            let (remedy, asked) = (closed_port(&other, &url), format!("{other}/"));
            self.check(Check::AdvertiseUrl, &other, settings::broker_at(&asked, &remedy, self.client)).await;
        }
        let remedy = "start the service, or set ADVERTISE_URL to where the other replicas reach it";
        self.check(Check::AdvertiseUrl, &url, settings::broker_at(&url, remedy, self.client)).await;
    }

    /// The APIs, and this machine's clock by the last response that has a date.
    async fn apis(&mut self) {
        let mut skew = None;
        let apis = apis(self.config, self.keys);
        for &(url, variable) in &apis {
            let api = connect::api(url, variable, self.client, &**self.clock);
            skew = self.check_for(Check::Tls, url.host_str().unwrap_or_default(), api).await.or(skew);
        }
        if apis.is_empty() {
            self.found(Check::Tls, "", skipped("no API is configured"));
        }
        let unknown = || skipped("no API gave a date to compare with");
        self.found(Check::Clock, "", skew.unwrap_or_else(unknown));
    }

    /// The clients of a source's providers; a single `None` if it has no provider.
    fn keys_of(&self, source: IceSource) -> Vec<Option<&'a KeyClient>> {
        let keys: Vec<_> = self.keys.iter().filter(|key| key.api.source() == source).map(Some).collect();
        if keys.is_empty() { vec![None] } else { keys }
    }

    /// Mints a credential from each source, tries the relays of the credential, and revokes it if the source revokes by user name.
    async fn credentials(&mut self) {
        let (config, clock) = (self.config, self.clock);
        for source in config.ice.sources.iter().copied().filter(|source| source.issues_credentials()) {
            for key in self.keys_of(source) {
                let subject = key.map_or(source.name(), |key| &key.subject);
                let mint = provider::credential(source, key, config, &**clock);
                let Some(servers) = self.check_for(Check::Provider, subject, mint).await else { continue };
                relay::check(source, &servers, self).await;
                if let Some((key, username)) = key.zip(servers.username())
                    && source.revokes_by_name()
                {
                    self.check(Check::Revoke, &key.subject, provider::revoke(key, username)).await;
                }
            }
        }
    }

    /// What the running service says. The service has connections of its own, so its view can differ from that of this process.
    async fn service(&mut self) {
        let status = settings::service_status(self.config, self.client).await;
        for verdict in settings::judge_service(&status) {
            self.found(Check::Service, "the running service", verdict);
        }
        if let Some(assumes) = status["boundAssumes"].as_str() {
            self.found(Check::Tail, "the running service", report::ok(format!("assumes {assumes}")));
        }
    }

    /// What the service reads elsewhere, if it is configured.
    async fn meters(&mut self) {
        let (config, client, now) = (self.config, self.client, self.clock.now());
        self.check(Check::Analytics, "", meters::analytics(config, client, now)).await;
        if let Some(settings) = &config.meter.analytics {
            self.check(Check::BillingDay, "", meters::billing_day(config, settings, client)).await;
        }
        for cli in &config.meter.coturn_cli {
            self.check(Check::CoturnCli, &cli.address, meters::coturn_cli(config, cli)).await;
        }
        for (host, verdict) in meters::coturn_stats(config).await {
            self.found(Check::CoturnStats, host, verdict);
        }
        for host in config.unlisted() {
            self.found(Check::CoturnCli, host, meters::unlisted(host));
        }
        if let Some(url) = config.auth.as_ref().and_then(|auth| auth.jwks_url.as_ref()) {
            self.check(Check::UserKeys, url.host_str().unwrap_or_default(), meters::user_keys(url, client))
                .await;
        }
    }

    /// The receiver of alerts. A finding shows only its host, because anyone who knows the rest of the URL can post there.
    async fn alerts(&mut self, send: bool) {
        let (config, client, clock) = (self.config, self.client, self.clock);
        let Some(alert) = &config.alert else {
            let why = "ALERT_WEBHOOK_URL is not set: alerts are only logged and shown on the dashboard";
            self.found(Check::Alerts, "", skipped(why));
            return;
        };
        if send {
            let posted = meters::test_alert(config, alert, client, clock.now());
            self.check(Check::Alerts, alert.url.host(), posted).await;
        } else {
            let api = connect::api(alert.url.expose(), "ALERT_WEBHOOK_URL", client, &**clock);
            self.check_for(Check::Alerts, alert.url.host(), api).await;
        }
    }
}

/// The APIs that the configuration uses, each with the variable that sets its URL.
fn apis<'a>(config: &'a Config, keys: &'a [KeyClient]) -> Vec<(&'a Url, &'static str)> {
    let used_keys = keys.iter().filter(|key| config.ice.sources.contains(&key.api.source()));
    let mut providers: Vec<_> = used_keys.map(|key| (&key.url, key.variable)).collect();
    providers.dedup();
    let ayame = config.signaling.protocols.ayame.as_ref();
    let authn = ayame.and_then(|ayame| ayame.authn_webhook.as_ref());
    let disconnect = ayame.and_then(|ayame| ayame.disconnect_webhook.as_ref());
    let users = config.auth.as_ref().and_then(|auth| auth.webhook.as_ref());
    let application = [
        users.map(|users| (users.expose(), "AUTH_WEBHOOK_URL")),
        authn.map(|authn| (authn.expose(), "AUTHN_WEBHOOK_URL")),
        disconnect.map(|disconnect| (disconnect.expose(), "DISCONNECT_WEBHOOK_URL")),
    ];
    let analytics = config.meter.analytics.as_ref();
    let analytics_api = analytics.map(|analytics| (&analytics.base, "CLOUDFLARE_ANALYTICS_BASE"));
    // The last response with a date decides about the clock, so the providers and Cloudflare's analytics come last.
    application.into_iter().flatten().chain(providers).chain(analytics_api).collect()
}
