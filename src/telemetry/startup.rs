//! The log lines at start: address, sources, limit, mode, durability, trusted proxies, warnings about unusual settings, and what to open.

use std::net::SocketAddr;

use crate::bounds::{is_short, version};
use crate::config::{AllowedOrigins, Config, reachable};
use crate::json::plain_number;
use crate::telemetry::words;
use turn_base::access::volatile_kind;
use turn_ledger::{BudgetMode, Charged, IceSource, Snapshot};

/// Writes the lines. Operators rely on the order of the lines and on the texts of the first three. `books` is the ledger as it was
/// opened, with the overrides that are still in effect; `None` for a replica, which may not lead for a long time.
pub fn report(config: &Config, address: SocketAddr, books: Option<&Snapshot>) {
    tracing::info!(%address, version = version(), "turn-broker listening on port {}", address.port());
    if is_short() {
        tracing::warn!("This program is for tests: it has the feature `short-lives`, and must serve nobody");
    }
    report_sources(config);
    report_budget(config);
    if let Some(books) = books {
        report_books(books);
    }
    report_meters(config);
    report_access(config);
    for warning in &config.warnings {
        tracing::warn!("{warning}");
    }
    report_addresses(config, address);
}

/// Logs the overrides that are in the ledger from an earlier start.
pub fn report_books(books: &Snapshot) {
    if let Some(overrides) = words::overrides(books) {
        tracing::warn!("Overrides in force: {overrides}");
    }
}

/// What to open in a browser: at `PUBLIC_URL`, or on this machine.
fn report_addresses(config: &Config, address: SocketAddr) {
    let here = || format!("http://{}/", reachable(address));
    let base = config.public_url.as_ref().map_or_else(here, ToString::to_string);
    tracing::info!("Credentials: {base}api/turn-credentials, the whole API: {base}openapi.json");
    match config.signaling.addresses(&base).as_slice() {
        [] => tracing::info!("No signaling: SIGNALING is not set"),
        on => tracing::info!("Signaling: {}", on.join(", ")),
    }
    if config.access.operator_token.is_some() {
        tracing::info!("Dashboard: {base}dashboard, sign in with OPERATOR_TOKEN");
    } else {
        tracing::info!("No dashboard: OPERATOR_TOKEN is not set");
    }
}

fn report_sources(config: &Config) {
    let sources = config.ice.sources.iter().map(|source| source.name()).collect::<Vec<_>>().join(", ");
    let is_named = config.ice.sources.contains(&IceSource::Cloudflare);
    if let Some(cloudflare) = config.ice.cloudflare.as_ref()
        && is_named
    {
        let keys = cloudflare.keys.iter().map(|key| key.name.as_str()).collect::<Vec<_>>().join(", ");
        tracing::info!(sources, keys, "Cloudflare TURN service configured");
    } else if is_named {
        let remedy = "set CLOUDFLARE_TURN_KEY_ID and CLOUDFLARE_TURN_API_TOKEN (names are case-sensitive)";
        tracing::warn!(sources, remedy, "Cloudflare TURN not configured");
    } else {
        tracing::info!(sources, "Cloudflare TURN not configured");
    }
    if !config.ice.enabled {
        tracing::warn!("TURN_ENABLED is false: new callers get STUN only");
    }
}

fn report_budget(config: &Config) {
    let limit = plain_number(config.budget.limit.as_gb());
    tracing::info!(billing_day = config.budget.billing_day.get(), "Bandwidth limit: {limit} GB/month");
    match config.budget.mode {
        BudgetMode::Estimate => tracing::info!("Budget mode: estimate"),
        BudgetMode::Strict => {
            tracing::info!("Budget mode: strict");
            // The broker itself counts what the operator's relays (`Listings`) and its own relay (`Here`) carry.
            let is_uncounted = |source: &IceSource| match source.facts().charged {
                Charged::Uncounted => true,
                Charged::ByTurnKey | Charged::BySfuApp => config.meter.analytics.is_none(),
                Charged::Nothing | Charged::Listings | Charged::Here => false,
            };
            if config.ice.sources.iter().any(is_uncounted) {
                tracing::warn!("strict mode without a count: unused reservations stay until the reset");
            }
        }
    }
    if config.database.is_some() {
        tracing::info!("Ledger: durable, in PostgreSQL; this replica is a standby until it leads");
    } else if let Some(directory) = &config.budget.state_dir {
        match volatile_kind(directory) {
            None => tracing::info!("Ledger: durable, in {}", directory.display()),
            Some(kind) => tracing::warn!("Ledger: lost at a restart, in {} on {kind}", directory.display()),
        }
    } else {
        tracing::warn!("Ledger: in memory only, a restart loses this period's usage");
    }
}

fn report_meters(config: &Config) {
    let has_price = config.tariff.prices.own.contains_key(&IceSource::Http);
    if config.ice.sources.contains(&IceSource::Http) && !has_price {
        tracing::warn!(
            remedy = "set it: PRICE_PER_GB=0.05,http=0.40",
            "the source http has no price, so it costs nothing here"
        );
    }
    if let Some(analytics) = &config.meter.analytics {
        let (every, lag) = (analytics.interval.as_secs(), analytics.lag.as_secs());
        tracing::info!("Measured usage: Cloudflare's own count, every {every} s, up to {lag} s ago");
    }
    for cli in &config.meter.coturn_cli {
        tracing::info!(
            "Measured usage: coturn's sessions at {}, which are ended when their grant has expired",
            cli.address
        );
    }
    if let Some(alert) = &config.alert {
        let signed = if alert.signing_key.is_some() { "signed" } else { "not signed" };
        tracing::info!("Alerts: to {}, {signed}", alert.url.host());
    }
}

fn report_access(config: &Config) {
    let proxies = config.access.trusted_proxies.networks.iter().map(ToString::to_string).collect::<Vec<_>>();
    match proxies.as_slice() {
        [] => tracing::info!("Trusted proxies: none"),
        some => tracing::info!("Trusted proxies: {}", some.join(", ")),
    }
    match &config.access.origins {
        AllowedOrigins::Any => tracing::info!("Allowed origins: any"),
        AllowedOrigins::List(origins) => tracing::info!("Allowed origins: {}", origins.join(", ")),
    }
}
