//! What an operator does about who spends: revoke the credentials of a user, a server key, a label and so on, block and unblock a user,
//! remove a person.
//! Tests: `tests/it/spenders.rs`, `tests/it/server_keys/limits.rs`.
//! Each change is in effect when its response is sent, and survives a restart if the ledger does.

use axum::Json;
use axum::extract::Path;
use serde::Serialize;
use utoipa::ToSchema;

use super::parameter_forms::{SpenderQuery, UserInPath};
use super::{AppState, JsonResult};
use crate::app::App;
use crate::auth::Auth;
use crate::mint::RevokedAll;
use turn_base::error::{ApiError, ErrorBody};
use turn_base::request::query::Query;
use turn_ledger::{SpenderKey, SpenderKind, Timestamp, User};

const EXPECTED: &str = "Name a user of 1 to 128 characters, without control characters, and not `.` or `..`.";

/// Ends the sessions of a user at the SFU, also those that only send.
fn end_sessions_of(app: &App, user: &User) {
    if let Some(proxy) = &app.sfu {
        proxy.end_sessions_of(user);
    }
}

/// The result of revoking all credentials of a user, a label, an address and so on.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct SpenderRevocationBody {
    /// The live grants. All of them are revoked, now or by an earlier call.
    #[schema(example = 300)]
    revoked: usize,
    /// How many of them the source has revoked, now or before, or this process ends within seconds. The others work until they expire.
    #[schema(example = 280)]
    ended: usize,
    /// For how many of the others the source is asked again by itself: it could not be reached or did not accept it, or there was no time.
    #[schema(example = 20)]
    left: usize,
    /// How many of them this process cuts: their calls end within seconds.
    #[schema(example = 0)]
    cut: usize,
    /// Until when calls of the credentials that are not cut may go on, at the latest; null if all are cut.
    #[schema(value_type = Option<String>, format = DateTime, required = true, example = "2025-01-16T14:01:00Z")]
    calls_until: Option<Timestamp>,
    /// What the result means, for people.
    #[schema(example = "Live credentials of ann: 300, all revoked.")]
    message: String,
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
    /// What that means, for people.
    #[schema(example = "ann is blocked and gets no credentials.")]
    message: String,
}

/// Revokes all credentials of a user, a label, an address, an origin, a call or a server key.
///
/// As with `POST /api/credentials/{grant}/revoke`, none can be renewed, their connections are closed, and the source is asked to
/// revoke them. This takes 10 s at most. For what is `left` then, the broker asks each 10 s by itself. Those of a server key are also what
/// pages have renewed since; the key may be gone from `SERVER_KEYS` already.
/// New credentials are issued as before: block a user or an address first if that is not wanted.
#[utoipa::path(
    post, path = "/api/revoke",
    params(SpenderQuery),
    responses(
        (status = 200, description = "What was revoked.", body = SpenderRevocationBody),
        (status = 400, description = "`INVALID_REQUEST`: the query has not exactly one of the parameters, or a value of another form.", body = ErrorBody),
    )
)]
pub async fn revoke_spender(
    app: AppState,
    Query(query): Query<SpenderQuery>,
) -> JsonResult<SpenderRevocationBody> {
    let SpenderQuery { user, label, address, origin, call, key } = query;
    let mut named = [user, label, address, origin, call, key].into_iter().flatten();
    let (Some(spender), None) = (named.next(), named.next()) else {
        let kinds = SpenderKind::ALL.map(|kind| format!("`{}`", kind.name()));
        return Err(ApiError::invalid(format!("Send exactly one of {}.", kinds.join(", "))));
    };
    revoke_all_of(&app, &spender).await.map(Json)
}

/// Revokes all live credentials of a spender, in the ledger and at their sources. Ends the sessions of a user at the SFU.
async fn revoke_all_of(app: &App, spender: &SpenderKey) -> Result<SpenderRevocationBody, ApiError> {
    let grants = app.account.revoke_all_of(spender);
    if let SpenderKey::User(user) = spender {
        end_sessions_of(app, user);
    }
    // The sources are asked also if the ledger cannot be written now: that error is returned last.
    let recorded = app.account.recorded().await;
    let ends = app.mint.revoke_all(&grants).await;
    let (revoked, RevokedAll { ended, left, cut, .. }) = (grants.len(), ends);
    let (by, name) = (spender.kind().name(), spender.to_string());
    tracing::warn!(by, revoked, ended, left, cut, "the operator has revoked all credentials of a spender");
    tracing::info!(by, name, "the operator has revoked all credentials of this spender");
    recorded?;
    let outcome = revocation_message(&name, revoked, &ends);
    let is_blocked = app.account.read(|books| books.is_spender_blocked(spender)) == Some(true);
    let message = match spender {
        SpenderKey::User(_) if is_blocked => blocked_message(&name, &outcome, app.auth.as_ref()),
        SpenderKey::User(_) => {
            format!("{outcome} {name} can get new ones: block {name} to refuse them.")
        }
        SpenderKey::Server(key) if !app.server_keys.has(key) => outcome,
        SpenderKey::Server(_) => {
            outcome + " It can mint new ones: remove it from SERVER_KEYS and restart to end that."
        }
        SpenderKey::Client(_) | SpenderKey::Address(_) if is_blocked => {
            format!("{name} is blocked. {outcome}")
        }
        SpenderKey::Label(_)
        | SpenderKey::Origin(_)
        | SpenderKey::Client(_)
        | SpenderKey::Address(_)
        | SpenderKey::Call(_) => outcome + " New ones are issued as before.",
    };
    Ok(SpenderRevocationBody::new(revoked, ends, message))
}

impl SpenderRevocationBody {
    fn new(revoked: usize, ends: RevokedAll, message: String) -> Self {
        let RevokedAll { ended, left, cut, calls_until } = ends;
        Self { revoked, ended, left, cut, calls_until, message }
    }
}

/// The result of removing a person.
#[derive(Debug, Serialize, ToSchema)]
pub struct ForgottenUserBody {
    /// From how many rows of credentials the name was removed.
    #[schema(example = 12)]
    rows: usize,
    #[serde(flatten)]
    done: SpenderRevocationBody,
}

/// Removes a person.
///
/// Revokes the user's credentials as `POST /api/revoke?user=` does, closes the signaling sockets, and removes the name, the labels and
/// the addresses from every row of the ledger: grants, sums of this period and of earlier ones, connections, alerts. A label or an address that somebody
/// else has too stays in the sums. The bytes stay. A block of the user ends. Backups, logs and alerts that were sent keep what they have.
#[utoipa::path(
    delete, path = "/api/users/{user}",
    params(("user" = inline(UserInPath), Path, description = "The user, as in `GET /api/spenders`.")),
    responses(
        (status = 200, description = "The ledger does not name the user any more.", body = ForgottenUserBody),
        (status = 400, description = "`INVALID_REQUEST`: this cannot be a user.", body = ErrorBody),
    )
)]
pub async fn forget_user(app: AppState, Path(user): Path<String>) -> JsonResult<ForgottenUserBody> {
    let user = checked(&user)?;
    app.signaling.close_user(&user, "USER_REMOVED");
    end_sessions_of(&app, &user);
    let (grants, rows) = app.account.forget_user(&user);
    // As in `revoke_all_of`, an error of the ledger is returned last.
    let recorded = app.account.recorded().await;
    let ends = app.mint.revoke_all(&grants).await;
    // Without the name, which the log would keep.
    tracing::warn!(rows, revoked = grants.len(), "the operator has removed a person from the ledger");
    recorded?;
    let name = user.as_str();
    let revoked = revocation_message(name, grants.len(), &ends);
    let found = match rows {
        0 => {
            format!("{name} is removed from the ledger, but no credential had this name: check its spelling.")
        }
        _ => format!(
            "{name} is removed from the ledger. Rows of credentials that had the name: {rows}; their bytes stay."
        ),
    };
    let summary = format!("{found} {revoked} Backups and logs keep what they have.");
    Ok(Json(ForgottenUserBody { rows, done: SpenderRevocationBody::new(grants.len(), ends, summary) }))
}

/// What the operator reads about a revocation. `revoked`: how many live grants the spender has.
fn revocation_message(name: &str, revoked: usize, ends: &RevokedAll) -> String {
    let RevokedAll { cut, ended, left, calls_until } = *ends;
    let others = revoked.saturating_sub(cut);
    let usable = revoked.saturating_sub(ended).saturating_sub(left);
    let all = match revoked {
        0 => format!("{name} has no live credential."),
        _ => format!("Live credentials of {name}: {revoked}, all revoked."),
    };
    let sentences = [
        Some(all),
        (cut > 0).then(|| format!("Calls with {cut} of them end within seconds.")),
        calls_until.map(|until| {
            format!(
                "Calls with {others} of them may go on until {until}, because their source cannot end them."
            )
        }),
        (usable > 0).then(|| {
            format!("{usable} can open new calls until they expire, because their source has not ended them.")
        }),
        (left > 0).then(|| {
            format!("The source of {left} has not accepted that in time, and is asked again every 10 s.")
        }),
    ];
    sentences.into_iter().flatten().collect::<Vec<_>>().join(" ")
}

/// What a block means. `issued`: the sentence about the credentials that the user has.
fn blocked_message(user: &str, issued: &str, auth: Option<&Auth>) -> String {
    let anonymous = match auth {
        Some(auth) if auth.config.required => "",
        Some(_) => " Callers without a token are not stopped: set AUTH_REQUIRED=true to refuse them.",
        None => {
            " Callers without a token are not stopped: set AUTH_JWT_SECRET or AUTH_JWKS_URL, and AUTH_REQUIRED=true to refuse them."
        }
    };
    format!("{user} is blocked and gets no credentials. {issued}{anonymous}")
}

/// Blocks a user.
///
/// A blocked user gets 403 `USER_BLOCKED` instead of credentials, also for a renewal, and so does an app server that opens a connection
/// for the user. The user's signaling sockets are closed, which ends Ayame calls and revokes their credentials; sessions at the SFU end
/// within seconds. Other credentials work until they are revoked: `POST /api/revoke?user=`. A user who is not known yet can be
/// blocked. Callers without a user are not stopped unless `AUTH_REQUIRED` is on. At most 10000 users can be blocked.
#[utoipa::path(
    post, path = "/api/users/{user}/block",
    params(("user" = inline(UserInPath), Path, description = "The user, as in `GET /api/spenders`.")),
    responses(
        (status = 200, description = "The user is blocked.", body = UserBlockBody),
        (status = 400, description = "`INVALID_REQUEST`: this cannot be a user.", body = ErrorBody),
    )
)]
pub async fn block_user(app: AppState, Path(user): Path<String>) -> JsonResult<UserBlockBody> {
    let user = checked(&user)?;
    app.account.change(|books| books.block_user(&user))?;
    app.signaling.close_user(&user, "USER_BLOCKED");
    end_sessions_of(&app, &user);
    tracing::warn!("the operator has blocked a user");
    tracing::info!(user = user.as_str(), "the operator has blocked this user");
    app.account.recorded().await?;
    let usable = app.account.usable_grants_of(&user).await;
    let blocked = blocked_message(user.as_str(), &issued_message(user.as_str(), usable), app.auth.as_ref());
    let message = match usable {
        None => format!("Nobody of this name is known in this period: {blocked}"),
        Some(_) => blocked,
    };
    Ok(Json(UserBlockBody { user: user.as_str().to_owned(), blocked: true, message }))
}

/// What a block means for the credentials that the user has. `usable`: how many work; `None` if none is known in this period.
fn issued_message(user: &str, usable: Option<u64>) -> String {
    match usable {
        None => "Compare the name with turn-broker spenders.".to_owned(),
        Some(0) => format!("Sockets of {user} are closed; there is no live credential that is not revoked."),
        Some(_) => format!(
            "Sockets of {user} are closed; credentials work until they are revoked (turn-broker revoke --user)."
        ),
    }
}

/// Unblocks a user.
#[utoipa::path(
    delete, path = "/api/users/{user}/block",
    params(("user" = inline(UserInPath), Path, description = "The user, as in `GET /api/spenders`.")),
    responses(
        (status = 200, description = "The user is not blocked.", body = UserBlockBody),
        (status = 400, description = "`INVALID_REQUEST`: this cannot be a user.", body = ErrorBody),
    )
)]
pub async fn unblock_user(app: AppState, Path(user): Path<String>) -> JsonResult<UserBlockBody> {
    let user = checked(&user)?;
    let was_blocked = app.account.record_change(|books| books.unblock_user(&user)).await?;
    tracing::warn!(was_blocked, "the operator has unblocked a user");
    tracing::info!(user = user.as_str(), "the operator has unblocked this user");
    let user = user.as_str().to_owned();
    let message = user.clone() + " is not blocked. What was revoked stays revoked.";
    Ok(Json(UserBlockBody { user, blocked: false, message }))
}

fn checked(user: &str) -> Result<User, ApiError> {
    User::new(user).ok_or_else(|| ApiError::invalid(EXPECTED))
}
