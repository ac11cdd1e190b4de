//! `GET /api/actions`: what operators did.

use axum::Json;
use serde::Serialize;
use utoipa::ToSchema;

use super::AppState;
use crate::actions::OperatorAction;

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
    get, path = "/api/actions",
    responses((status = 200, description = "The latest changes.", body = ActionsBody))
)]
pub async fn list_actions(app: AppState) -> Json<ActionsBody> {
    Json(ActionsBody { actions: app.account.actions() })
}
