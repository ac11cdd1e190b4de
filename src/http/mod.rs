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

use std::sync::Arc;

use axum::Json;
use axum::extract::State;

use crate::app::App;
use turn_base::ApiError;

/// The state that each handler gets, except those of a standby.
pub type AppState = State<Arc<App>>;
/// The JSON of a response, or why there is none.
pub type JsonResult<T> = Result<Json<T>, ApiError>;
