//! The handlers, one file for each group of routes, and the layers around them. A handler parses the request, calls the
//! domain and builds the response; it makes no decision.

pub mod alerts;
pub mod backup;
pub mod bandwidth_status;
pub mod blocks;
pub mod cloudflare_door;
pub mod connections;
pub mod credentials;
pub mod drain;
pub mod envelope;
pub mod head;
pub mod health;
pub mod hints;
pub mod live_rooms;
pub mod metrics;
pub mod mint_request;
pub mod operator;
pub mod origin;
pub mod overrides;
pub mod overview;
pub(crate) mod parameter_forms;
mod refusals;
pub mod request_log;
pub mod route;
pub mod schema;
pub mod spenders;
pub mod standby;
pub mod unknown;
pub mod users;
pub mod wire_formats;

use axum::extract::State;

use prelude::*;

/// What most handlers use.
mod prelude {
    pub(super) use std::sync::Arc;
    pub(super) use std::time::Duration;

    pub(super) use axum::Json;
    pub(super) use axum::extract::{Path, Request};
    pub(super) use axum::http::{HeaderMap, HeaderValue, StatusCode};
    pub(super) use axum::response::{IntoResponse, Response};
    pub(super) use serde::{Deserialize, Serialize};
    pub(super) use utoipa::{IntoParams, ToSchema};

    pub(super) use super::{AppState, JsonResult, schema};
    pub(super) use crate::app::App;
    pub(super) use turn_base::{ApiError, ErrorBody};
    pub(super) use turn_ledger::{ByteCount, IceSource, SpenderKey, SpenderKind, Timestamp};
}

/// The state that each handler gets, except those of a standby.
pub type AppState = State<Arc<App>>;
/// The JSON of a response, or why there is none.
pub type JsonResult<T> = Result<Json<T>, ApiError>;
