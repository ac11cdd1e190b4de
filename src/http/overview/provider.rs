//! The provider in the overview: its calls, its TURN keys, and the pool of credentials.

use std::collections::BTreeMap;

use crate::http::prelude::*;
use crate::ice::{KeyName, TurnKey};
use crate::mint::{PoolCounts, ProviderFailure};
use crate::telemetry::metrics::Metrics;
use turn_base::CallError;
use turn_ledger::Period;

/// The provider that mints over the network.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct ProviderBody {
    /// State of the circuit breaker: `closed` (normal), `half-open` (one call is being tried) or `open` (no calls for a while).
    #[schema(example = "closed")]
    breaker: &'static str,
    /// Why it does not mint; null while it does, or if that is not known.
    #[schema(required = true)]
    failure: Option<ProviderFailure>,
    /// Mint calls by outcome: `minted`, or the kind of failure. Zero counts are left out.
    #[schema(example = json!({"minted": 412, "timeout": 1}))]
    outcomes: BTreeMap<&'static str, u64>,
    pool: PoolCounts,
    /// The TURN keys that mint.
    keys: Vec<KeyBody>,
}

/// A TURN key.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct KeyBody {
    /// Its name in the settings.
    #[schema(value_type = String, example = "eu")]
    name: KeyName,
    /// Its share of the mints, relative to the other keys. With 0 it serves only callers that ask for it.
    #[schema(example = 3)]
    weight: u32,
    /// State of its circuit breaker: `closed`, `half-open` or `open`.
    #[schema(example = "closed")]
    breaker: &'static str,
    /// Whether it mints, as far as is known.
    up: bool,
    /// Its billed bytes in this period, as Cloudflare counted; null before the first count since the start.
    #[schema(required = true, example = 45_230_000_000_u64)]
    measured_bytes: Option<u64>,
}

pub(super) fn provider(app: &App, period: Period) -> Option<ProviderBody> {
    app.mint.has_provider().then(|| ProviderBody {
        breaker: app.mint.breaker_state().into(),
        failure: app.mint.provider_failure(),
        outcomes: outcomes(&app.metrics),
        pool: app.mint.pool_counts(),
        keys: keys(app, period),
    })
}

fn outcomes(metrics: &Metrics) -> BTreeMap<&'static str, u64> {
    let names = ["minted", "breaker_open", "paused"].into_iter().chain(CallError::OUTCOMES);
    names.map(|name| (name, metrics.provider_calls.get([name]))).filter(|(_, count)| *count > 0).collect()
}

fn keys(app: &App, period: Period) -> Vec<KeyBody> {
    let usage =
        app.cloudflare_meter.as_ref().map(|meter| meter.shown.lock().usage(period)).unwrap_or_default();
    let body = |key: &Arc<TurnKey>| KeyBody {
        name: key.name,
        weight: key.weight,
        breaker: key.breaker.state().into(),
        up: key.is_up(app.clock.instant()),
        measured_bytes: key.id.and_then(|id| usage.get(&id)).map(|bytes| bytes.get()),
    };
    app.mint.turn_keys().iter().map(body).collect()
}
