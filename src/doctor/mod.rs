//! `turn-broker doctor`: finds out what is wrong and says what to do. The checks run in the order of [`Check`], each as far
//! as it can whatever those before it found; each ends in time. What is decided is decided by pure functions beside the
//! calls, and what comes out is a [`Report`]. No output ever holds a secret, and none of what others answered.

mod alerts;
mod certificate;
mod configuration;
mod finding;
mod meters;
mod names;
mod progress;
mod provider;
mod relay;
mod report;
mod skew;
mod state;
mod tls;

use std::io::Write;
use std::path::PathBuf;
use std::sync::Arc;

use reqwest::Client;
use url::Url;

pub use finding::{Check, Finding, Remedy, Report, State};
pub use progress::{Form, Progress};
pub use report::Look;
pub use tls::CaError;

use crate::clock::Clock;
use crate::config::{Config, ConfigErrors};
use crate::http_client::{ClientError, http_client};
use crate::ice::cloudflare::Cloudflare;
use crate::ice::server::IceServerList;
use names::{Names, Need};
use relay::{Offer, Surroundings};
use tls::{Endpoint, Trust};
use turn_ledger::source::IceSource;

/// What the command line says.
#[derive(Clone, Debug, Default)]
pub struct Options {
    /// One document instead of text.
    pub json: bool,
    /// Posts an alert, instead of only looking for the receiver.
    pub send_test_alert: bool,
    /// PEM file of authorities that clients know too, for `turns:` and `stuns:`.
    pub ca: Option<PathBuf>,
}

/// Why nothing can be looked at.
#[derive(Debug, thiserror::Error)]
pub enum DoctorError {
    /// The file of authorities.
    #[error("--ca: {0}")]
    Ca(#[from] CaError),
    /// No HTTP client.
    #[error(transparent)]
    Client(#[from] ClientError),
}

/// The configuration cannot be used: every problem, and nothing else.
pub fn refuse<W: Write>(errors: &ConfigErrors, mut progress: Progress<W>) -> Report {
    progress.is_misconfigured();
    for finding in configuration::problems(errors) {
        progress.found(finding);
    }
    progress.finish()
}

/// Looks at everything.
pub async fn run<W: Write>(
    config: &Config,
    options: &Options,
    clock: Arc<dyn Clock>,
    mut progress: Progress<W>,
) -> Result<Report, DoctorError> {
    let built_in = Trust::built_in();
    let for_relays = options.ca.as_deref().map(Trust::with_file).transpose()?;
    let mut examination = Examination {
        config,
        client: http_client()?,
        for_relays: for_relays.unwrap_or_else(|| built_in.clone()),
        built_in,
        names: Names::default(),
        progress: &mut progress,
        clock,
    };
    examination.here();
    examination.names().await;
    examination.ways().await;
    examination.credentials().await;
    examination.meters().await;
    examination.alerts(options.send_test_alert).await;
    Ok(progress.finish())
}

/// What the checks share.
struct Examination<'a, W> {
    config: &'a Config,
    client: Client,
    built_in: Trust,
    for_relays: Trust,
    names: Names,
    clock: Arc<dyn Clock>,
    progress: &'a mut Progress<W>,
}

impl<W: Write> Examination<'_, W> {
    /// What needs no network.
    fn here(&mut self) {
        for finding in configuration::check(self.config) {
            self.progress.found(finding);
        }
        self.progress.starts(Check::State.name());
        for finding in state::check(self.config.budget.state_dir.as_deref()) {
            self.progress.found(finding);
        }
    }

    /// The names that the configuration holds. Those of a provider's answer come with it.
    async fn names(&mut self) {
        let config = self.config;
        let apis = apis(config).into_iter().map(|(url, _)| tls::host_of(url));
        let coturn = config.ice.coturn.iter().filter(|_| configuration::is_on(config, IceSource::Coturn));
        let coturn = coturn.flat_map(|coturn| coturn.urls.iter().map(crate::ice::url::IceUrl::host));
        let vital: Vec<&str> = apis.chain(coturn).collect();
        for host in vital {
            self.names.look_up(host, Need::Vital, &*self.clock, self.progress).await;
        }
        for url in &config.ice.stun {
            self.names.look_up(url.host(), Need::Spare, &*self.clock, self.progress).await;
        }
    }

    /// The ways to the APIs, and the clock.
    async fn ways(&mut self) {
        let apis = apis(self.config);
        for (url, variable) in &apis {
            self.progress.starts(&format!("{} {}", Check::Tls.name(), tls::host_of(url)));
            let addresses = self.names.addresses(tls::host_of(url));
            let endpoint = Endpoint { check: Check::Tls, url, variable, addresses };
            let finding = tls::check(&endpoint, &self.built_in, &*self.clock).await;
            self.progress.found(finding);
        }
        if apis.is_empty() {
            self.progress.found(Finding::skipped(Check::Tls, "", "no API is configured"));
        }
        self.progress.starts(Check::Clock.name());
        let urls: Vec<&Url> = apis.iter().map(|(url, _)| *url).collect();
        self.progress.found(skew::check(&self.client, &urls, &*self.clock).await);
    }

    /// A credential from each source, what it opens, and its end.
    async fn credentials(&mut self) {
        let config = self.config;
        let cloudflare = provider::cloudflare(config, &self.client);
        let mut offers = Vec::new();
        for source in config.ice.sources.iter().copied().filter(|source| *source != IceSource::Stun) {
            self.progress.starts(&format!("{} {source}", Check::Provider.name()));
            let given = provider::check(source, config, cloudflare.as_ref(), &*self.clock).await;
            self.progress.found(given.finding);
            offers.extend(given.servers.map(|servers| Offer { source, servers }));
        }
        let minted = offers.iter().find(|offer| offer.source == IceSource::Cloudflare);
        let minted = minted.map(|offer| offer.servers.clone());
        let stun = IceServerList::of_stun(&config.ice.stun);
        offers.push(Offer { source: IceSource::Stun, servers: stun });
        let around = Surroundings {
            names: &mut self.names,
            trust: &self.for_relays,
            clock: &self.clock,
            progress: self.progress,
        };
        relay::check(offers, around).await;
        self.revoke(cloudflare.as_ref(), minted.as_ref()).await;
    }

    async fn revoke(&mut self, cloudflare: Option<&Cloudflare>, minted: Option<&IceServerList>) {
        let (Some(api), Some(servers)) = (cloudflare, minted) else { return };
        self.progress.starts(Check::Revoke.name());
        if let Some(finding) = provider::revoke(api, servers).await {
            self.progress.found(finding);
        }
    }

    async fn meters(&mut self) {
        self.progress.starts(Check::Analytics.name());
        let finding = meters::analytics(self.config, &self.client, &*self.clock).await;
        self.progress.found(finding);
        if let Some(cli) = &self.config.meter.coturn_cli {
            self.progress.starts(&format!("{} {}", Check::CoturnCli.name(), cli.address));
            let finding = meters::coturn_cli(self.config, cli, &*self.clock).await;
            self.progress.found(finding);
        }
    }

    async fn alerts(&mut self, send: bool) {
        let Some(alert) = &self.config.alert else {
            let why = "ALERT_WEBHOOK_URL is not set: nobody is told of anything";
            self.progress.found(Finding::skipped(Check::Alerts, "", why));
            return;
        };
        self.progress.starts(&format!("{} {}", Check::Alerts.name(), alert.url.host()));
        if send {
            self.progress.found(alerts::send(self.config, alert, &*self.clock).await);
            return;
        }
        let url = alert.url.expose();
        self.names.look_up(tls::host_of(url), Need::Vital, &*self.clock, self.progress).await;
        let addresses = self.names.addresses(tls::host_of(url));
        let endpoint = Endpoint { check: Check::Alerts, url, variable: "ALERT_WEBHOOK_URL", addresses };
        let finding = tls::check(&endpoint, &self.built_in, &*self.clock).await;
        self.progress.found(finding);
    }
}

/// The APIs that this configuration calls, and the settings that name them.
fn apis(config: &Config) -> Vec<(&Url, &'static str)> {
    let key = config.ice.cloudflare.as_ref().filter(|_| configuration::is_on(config, IceSource::Cloudflare));
    let mint = key.map(|key| (&key.api_base, "CLOUDFLARE_API_BASE"));
    let analytics = config.meter.analytics.as_ref();
    let count = analytics.map(|analytics| (&analytics.base, "CLOUDFLARE_ANALYTICS_BASE"));
    mint.into_iter().chain(count).collect()
}
