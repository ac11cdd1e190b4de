//! `GET /api/actions`: what operators did.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use serde::Serialize;
use utoipa::ToSchema;

use crate::actions::OperatorAction;
use crate::app::App;

/// The latest changes by operators.
#[derive(Debug, Serialize, ToSchema)]
pub struct ActionsBody {
    /// The latest 100, newest first. They are stored with the ledger.
    actions: Vec<OperatorAction>,
}

/// Lists what operators did.
///
/// Each change that was made with the operator's token: overrides, blocks, revocations, ended rooms. Who made it is not known.
#[utoipa::path(
    get,
    path = "/api/actions",
    operation_id = "listActions",
    tag = "operator",
    responses((status = 200, description = "The latest changes.", body = ActionsBody))
)]
pub async fn list_actions(State(app): State<Arc<App>>) -> Json<ActionsBody> {
    Json(ActionsBody { actions: app.account.actions() })
}
