//! The operator's own relays in the overview.

use crate::http::prelude::*;
use crate::ice::fleet::{OwnRelay, RelayState};
use turn_ledger::RelayLoad;

/// A relay of `COTURN_URLS`.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(in crate::http) struct RelayBody {
    /// Its host.
    #[schema(example = "eu.example.com")]
    host: String,
    /// The name of its region; null without one.
    #[schema(required = true, example = "eu")]
    region: Option<String>,
    #[schema(schema_with = schema::relay_state)]
    state: &'static str,
    /// Since when the probes have said that it is up or down; null since the start.
    #[schema(value_type = Option<String>, format = DateTime, required = true, example = json!(null))]
    since: Option<Timestamp>,
    /// Why the latest probe or listing failed; null if it did not.
    #[schema(required = true, example = json!(null))]
    failure: Option<String>,
    /// Sessions in the last listing.
    #[schema(example = 12)]
    sessions: usize,
    /// Billed bytes a second, by the last listings.
    #[schema(example = 1_250_000)]
    bytes_per_second: u64,
    /// Billed bytes of this period.
    #[schema(example = 45_230_000_000_u64)]
    used: u64,
    /// What it may relay in a period, in bytes, by `COTURN_LIMITS`; null without a limit.
    #[schema(required = true, example = json!(null))]
    limit: Option<u64>,
}

/// A relay that gets no new credentials, so that its calls come to an end.
#[derive(Debug, Serialize, ToSchema)]
pub(in crate::http) struct DrainingBody {
    /// Its host.
    #[schema(example = "eu.example.com")]
    relay: String,
    /// Sessions in the last listing; null if nobody lists them.
    #[schema(required = true, example = 0)]
    pub sessions: Option<usize>,
}

/// The relays that are drained.
pub(in crate::http) fn draining(app: &App) -> Vec<DrainingBody> {
    let is_drained = |relay: &&OwnRelay| app.account.read(|books| books.is_draining(relay.owner));
    fleet(app).filter(is_drained).map(|relay| draining_body(app, relay)).collect()
}

/// The host of a relay, and its sessions, which are the calls that a drain waits for.
pub(in crate::http) fn draining_body(app: &App, relay: &OwnRelay) -> DrainingBody {
    let sessions = app.account.read(|books| {
        let is_listed = books.budget().cut_tail(relay.owner).is_some();
        is_listed.then(|| books.relay_load(relay.owner).sessions)
    });
    DrainingBody { relay: relay.host.clone(), sessions }
}

fn fleet(app: &App) -> impl Iterator<Item = &OwnRelay> {
    app.mint.fleet().into_iter().flat_map(|fleet| &fleet.0)
}

/// All relays of `COTURN_URLS`, in its order. Empty if coturn is not among the configured sources.
pub(in crate::http) fn relays(app: &App) -> Vec<RelayBody> {
    fleet(app).map(|relay| body(app, relay)).collect()
}

fn body(app: &App, relay: &OwnRelay) -> RelayBody {
    let health = relay.health.lock().clone();
    let (relay_state, is_uncut, RelayLoad { sessions, bytes_per_second }, used) = app.account.read(|books| {
        let (owner, ledger) = (relay.owner, books.budget());
        (relay.state(books), books.is_uncut(owner), books.relay_load(owner), ledger.used_by(owner))
    });
    let is_unlisted = is_uncut || app.config.unlisted().any(|host| host == relay.host);
    let state = match relay_state {
        RelayState::UsedUp => "used up",
        RelayState::Draining => "draining",
        _ if health.is_down => "down",
        _ if is_unlisted => "unlisted",
        _ => "up",
    };
    let config = app.config.ice.coturn.iter().find(|config| config.host == relay.host);
    let meter = app.coturn_meters.iter().find(|meter| meter.relay == relay.owner);
    RelayBody {
        host: relay.host.clone(),
        region: config.and_then(|config| config.name).map(|name| name.to_string()),
        state,
        since: health.since,
        failure: health.failure.or_else(|| meter?.failure.lock().clone()),
        sessions,
        bytes_per_second,
        used: used.get(),
        limit: config.and_then(|config| config.limit).map(ByteCount::get),
    }
}
