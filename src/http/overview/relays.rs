//! The operator's own relays in the overview and in the metrics.

use serde::Serialize;
use utoipa::ToSchema;
use utoipa::openapi::{RefOr, Schema};

use crate::app::App;
use crate::ice::fleet::OwnRelay;
use turn_base::schema::one_of;
use turn_ledger::{RelayLoad, Timestamp};

/// A relay of `COTURN_URLS`.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(in crate::http) struct RelayBody {
    /// Its host.
    #[schema(example = "eu.example.com")]
    pub host: String,
    #[schema(schema_with = state_schema)]
    pub state: &'static str,
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
    pub used: u64,
}

const ABOUT_STATE: &str = "`down`: it fails the probes, so it gets no new credentials. `unlisted`: nobody lists and ends its sessions now.";

fn state_schema() -> RefOr<Schema> {
    one_of(["up", "down", "unlisted"], ABOUT_STATE)
}

/// All relays that mint, in the order of the settings.
pub(in crate::http) fn relays(app: &App) -> Vec<RelayBody> {
    app.mint.fleet().into_iter().flat_map(|fleet| &fleet.0).map(|relay| body(app, relay)).collect()
}

fn body(app: &App, relay: &OwnRelay) -> RelayBody {
    let health = relay.health.lock().clone();
    let (is_uncut, RelayLoad { sessions, bytes_per_second }, used) = app.account.read(|books| {
        (books.is_uncut(relay.owner), books.relay_load(relay.owner), books.ledger().used_by(relay.owner))
    });
    let is_unlisted = is_uncut || app.config.unlisted().any(|host| host == relay.host);
    let state = match (health.is_up(), is_unlisted) {
        (false, _) => "down",
        (true, true) => "unlisted",
        (true, false) => "up",
    };
    let meter = app.coturn_meters.iter().find(|meter| meter.relay == relay.owner);
    let failure = health.failure().map(str::to_owned);
    RelayBody {
        host: relay.host.clone(),
        state,
        since: health.since(),
        failure: failure.or_else(|| meter?.failure.lock().clone()),
        sessions,
        bytes_per_second,
        used: used.get(),
    }
}
