//! What an operator does about a user: revoke the user's credentials, block and unblock the user. Each is in effect when its
//! response is sent, and survives a restart if the ledger does.

use std::sync::Arc;

use axum::Json;
use axum::extract::{Path, State};
use serde::Serialize;
use utoipa::ToSchema;

use super::error::{ApiError, ErrorBody};
use super::parameter_forms::UserInPath;
use crate::app::App;
use crate::mint::RevokedAll;
use turn_ledger::spender::User;

/// The result of revoking a user's credentials.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct UserRevocationBody {
    /// The user.
    #[schema(example = "ann")]
    user: String,
    /// The user's live grants. All of them are revoked, now or by an earlier call.
    #[schema(example = 300)]
    revoked: usize,
    /// How many of them the source has revoked, now or before, or this process ends within seconds. The others work until they expire.
    #[schema(example = 280)]
    ended: usize,
    /// How many of the others the source will be asked for by another call: it could not be reached, or there was no time.
    #[schema(example = 20)]
    left: usize,
}

/// Whether a user is blocked.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct UserBlockBody {
    /// The user.
    #[schema(example = "ann")]
    user: String,
    /// Whether the user is blocked now.
    blocked: bool,
}

/// Revokes all credentials of a user.
///
/// As with `POST /api/credentials/{grant}/revoke`, none can be renewed, their connections are closed, and the source is asked to
/// revoke them. This takes 10 s at most: call again while `left` is not 0. The source is not asked again for what it has answered.
/// The user can fetch new credentials: block the user first if that is not wanted.
#[utoipa::path(
    post,
    path = "/api/users/{user}/revoke",
    operation_id = "revokeUser",
    tag = "operator",
    params(("user" = inline(UserInPath), Path, description = "The user, as in `GET /api/spenders`.")),
    responses(
        (status = 200, description = "What was revoked.", body = UserRevocationBody),
        (status = 400, description = "`INVALID_REQUEST`: this cannot be a user.", body = ErrorBody),
    )
)]
pub async fn revoke_user(
    State(app): State<Arc<App>>,
    Path(user): Path<String>,
) -> Result<Json<UserRevocationBody>, ApiError> {
    let user = checked(&user)?;
    app.account.note_action(format!("The credentials of {} were revoked.", user.as_str()));
    let (grants, recorded) = app.account.revoke_user(&user).await;
    let RevokedAll { ended, left } = app.mint.revoke_all(&grants).await;
    let revoked = grants.len();
    tracing::warn!(
        user = user.as_str(),
        revoked,
        ended,
        left,
        "the operator has revoked a user's credentials"
    );
    recorded?;
    Ok(Json(UserRevocationBody { user: user.as_str().to_owned(), revoked, ended, left }))
}

/// Blocks a user.
///
/// A blocked user gets 403 `USER_BLOCKED` instead of credentials, also for a renewal. What the user has continues to work: revoke it
/// with `POST /api/users/{user}/revoke`. At most 10000 users can be blocked.
#[utoipa::path(
    post,
    path = "/api/users/{user}/block",
    operation_id = "blockUser",
    tag = "operator",
    params(("user" = inline(UserInPath), Path, description = "The user, as in `GET /api/spenders`.")),
    responses(
        (status = 200, description = "The user is blocked.", body = UserBlockBody),
        (status = 400, description = "`INVALID_REQUEST`: this cannot be a user.", body = ErrorBody),
    )
)]
pub async fn block_user(
    State(app): State<Arc<App>>,
    Path(user): Path<String>,
) -> Result<Json<UserBlockBody>, ApiError> {
    let user = checked(&user)?;
    let recorded = app.account.block_user(&user).await?;
    app.account.note_action(format!("{} was blocked.", user.as_str()));
    tracing::warn!(user = user.as_str(), "the operator has blocked a user");
    recorded?;
    Ok(Json(UserBlockBody { user: user.as_str().to_owned(), blocked: true }))
}

/// Unblocks a user.
#[utoipa::path(
    delete,
    path = "/api/users/{user}/block",
    operation_id = "unblockUser",
    tag = "operator",
    params(("user" = inline(UserInPath), Path, description = "The user, as in `GET /api/spenders`.")),
    responses(
        (status = 200, description = "The user is not blocked.", body = UserBlockBody),
        (status = 400, description = "`INVALID_REQUEST`: this cannot be a user.", body = ErrorBody),
    )
)]
pub async fn unblock_user(
    State(app): State<Arc<App>>,
    Path(user): Path<String>,
) -> Result<Json<UserBlockBody>, ApiError> {
    let user = checked(&user)?;
    app.account.note_action(format!("{} was allowed again.", user.as_str()));
    let was_blocked = app.account.unblock_user(&user).await?;
    tracing::warn!(user = user.as_str(), was_blocked, "the operator has unblocked a user");
    Ok(Json(UserBlockBody { user: user.as_str().to_owned(), blocked: false }))
}

fn checked(user: &str) -> Result<User, ApiError> {
    let invalid = || ApiError::invalid("Name a user of 1 to 128 characters, without control characters.");
    User::new(user).ok_or_else(invalid)
}
