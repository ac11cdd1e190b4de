//! What an operator does about who spends: revoke the credentials of a user, a server key, a label and so on, and remove
//! a person.
//! Tests: `tests/it/spenders.rs`, `tests/it/server_keys/limits.rs`.
//! Each change is in effect when its response is sent, and survives a restart if the ledger does.

use super::blocks::{blocked_message, close_sockets_of, end_sessions_of};
use super::mint_request::checked_user;
use super::parameter_forms::{SpenderQuery, UserInPath, only};
use super::prelude::*;
use crate::alert::COUNTED_LATER;
use crate::mint::RevokedAll;
use crate::rate::PresentRate;
use turn_base::Query;
use turn_ledger::User;

/// The result of revoking all credentials of a user, a label, an address and so on.
#[derive(Debug, Serialize, ToSchema)]
pub struct SpenderRevocationBody {
    /// The live grants. All of them are revoked, now or by an earlier call.
    #[schema(example = 300)]
    revoked: usize,
    #[serde(flatten)]
    ends: RevokedAll,
    /// What the result means, for people.
    #[schema(example = "Live credentials of ann: 300, all revoked.")]
    message: String,
}

/// Revokes all credentials of a user, a label, an address, an origin, a call or a server key.
///
/// As with `POST /api/credentials/{grant}/revoke`, none can be renewed, their connections are closed, and the source is asked to
/// revoke them. This takes 10 s at most. For what is `left` then, the broker asks each 10 s by itself. Those of a server key are also what
/// pages have renewed since; the key may be gone from `SERVER_KEYS` already.
/// New credentials are issued as before: block the spender first if that is not wanted.
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
    let spender = &only(query.spenders()?)?;
    let grants = app.account.revoke_all_of(spender);
    end_sessions_of(&app, spender);
    // The sources are asked also if the ledger cannot be written now: that error is returned last.
    let recorded = app.account.recorded().await;
    let ends = app.mint.revoke_all(&grants).await;
    let (revoked, RevokedAll { ended, left, cut, .. }) = (grants.len(), ends);
    let (by, name) = (spender.kind().name(), spender.to_string());
    tracing::warn!(by, revoked, ended, left, cut, "the operator has revoked all credentials of a spender");
    tracing::info!(by, name, "the operator has revoked all credentials of this spender");
    recorded?;
    let mut outcome = revocation_message(&name, revoked, &ends);
    if revoked > 0 && app.account.read(|books| PresentRate::of(books).left(books.now())).is_some() {
        outcome = [&outcome, COUNTED_LATER].join(" ");
    }
    let is_gone = matches!(spender, SpenderKey::Server(key) if !app.server_keys.has(key));
    let message = if app.account.read(|books| books.is_blocked(spender)) {
        blocked_message(spender, None, &outcome, app.core.auth.as_ref())
    } else if is_gone {
        outcome
    } else {
        format!("{outcome} {name} can get new ones: block {name} to refuse them.")
    };
    Ok(Json(SpenderRevocationBody { revoked, ends, message }))
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
    forget(&app, checked_user(&user)?).await
}

/// The query that names a user.
#[derive(Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub struct UserQuery {
    /// The user, as in `GET /api/spenders`.
    #[param(inline, value_type = UserInPath)]
    user: String,
}

/// Removes the person whom the query names.
///
/// As `DELETE /api/users/{user}` does. Many proxies refuse a path with a name that has a slash.
#[utoipa::path(
    delete, path = "/api/users",
    params(UserQuery),
    responses(
        (status = 200, description = "The ledger does not name the user any more.", body = ForgottenUserBody),
        (status = 400, description = "`INVALID_REQUEST`: the query does not name a user, or not that alone.", body = ErrorBody),
    )
)]
pub async fn forget_named(app: AppState, Query(query): Query<UserQuery>) -> JsonResult<ForgottenUserBody> {
    forget(&app, checked_user(&query.user)?).await
}

async fn forget(app: &App, user: User) -> JsonResult<ForgottenUserBody> {
    let spender = SpenderKey::User(user.clone());
    close_sockets_of(app, &spender, "USER_REMOVED");
    end_sessions_of(app, &spender);
    let (grants, rows) = app.account.forget_user(&user);
    // As in `revoke_spender`, an error of the ledger is returned last.
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
        _ => format!("{name} is removed from the ledger. Rows that had the name: {rows}; their bytes stay."),
    };
    let done = SpenderRevocationBody {
        revoked: grants.len(),
        ends,
        message: format!("{found} {revoked} Backups and logs keep what they have."),
    };
    Ok(Json(ForgottenUserBody { rows, done }))
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
                "Calls with {others} of them may go on until {until} at worst: their source ends them later, or not at all."
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
