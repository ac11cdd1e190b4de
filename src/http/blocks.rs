//! What an operator does about who gets credentials: block and allow a user, an address, a server key and so on. Tests: `tests/it/spenders.rs`.
//! A change is in effect when its response is sent, and survives a restart if the ledger does.

use super::parameter_forms::{BlockQuery, KindInPath, LastingQuery, SpenderQuery, only};
use super::prelude::*;
use crate::auth::Auth;
use turn_base::Query;
use turn_ledger::{Block, Books};
use turn_limits::Holder;

const EXPECTED: &str = "Name a user as `GET /api/spenders` does; or an IPv4 address, an IPv6 address, or an IPv6 prefix that ends with /64 or /48.";

/// A spender, and its block.
#[derive(Debug, Serialize, ToSchema)]
pub struct BlockedBody {
    #[schema(schema_with = schema::spender_kind)]
    by: &'static str,
    /// The user, label, origin, call, server key or address; an IPv6 prefix stands for one client.
    #[schema(example = "192.0.2.7")]
    key: String,
    /// When the block ends by itself; null if it does not, or if there is none.
    #[schema(value_type = Option<String>, format = DateTime, required = true, example = "2025-01-15T13:00:00Z")]
    until: Option<Timestamp>,
    /// When the block began; null if there is none, or if an earlier version has stored it.
    #[schema(value_type = Option<String>, format = DateTime, required = true, example = "2025-01-15T12:00:00Z")]
    since: Option<Timestamp>,
}

/// Whether a spender is blocked.
#[derive(Debug, Serialize, ToSchema)]
pub struct BlockBody {
    #[serde(flatten)]
    spender: BlockedBody,
    /// Whether the spender is blocked now.
    blocked: bool,
    /// What that means, for people.
    #[schema(example = "192.0.2.7 is blocked until 2025-01-15T13:00:00Z and gets no credentials.")]
    message: String,
}

/// Who is blocked.
#[derive(Debug, Serialize, ToSchema)]
pub struct BlocksBody {
    /// How many are blocked.
    #[schema(example = 1)]
    count: usize,
    /// Users first, then labels, origins, addresses, calls and server keys.
    blocks: Vec<BlockedBody>,
}

impl BlockedBody {
    fn of(spender: &SpenderKey, Block { until, since }: Block) -> Self {
        Self { by: spender.kind().name(), key: spender.to_string(), until, since }
    }
}

impl BlocksBody {
    /// The first `most` blocks.
    pub(super) fn of(books: &Books, most: usize) -> Self {
        let first = books.blocks().take(most).map(|(spender, block)| BlockedBody::of(spender, block));
        Self { count: books.blocks().count(), blocks: first.collect() }
    }
}

/// Lists who is blocked.
#[utoipa::path(
    get, path = "/api/block",
    responses((status = 200, description = "All blocks.", body = BlocksBody))
)]
pub async fn list_blocks(app: AppState) -> Json<BlocksBody> {
    Json(app.account.read(|books| BlocksBody::of(books, usize::MAX)))
}

/// Blocks a user, a label, an address, an origin, a call or a server key.
///
/// Whoever asks for a credential with it, or for a renewal, gets 403 `USER_BLOCKED`, `ADDRESS_BLOCKED` or, for the other kinds, `BLOCKED`. An IPv6
/// address stands for its /64; servers with a key have no address. What was issued works until it is revoked: `POST /api/revoke`. The signaling
/// sockets of a user or an address are closed, which ends Ayame calls and revokes their credentials; sessions at the SFU end within seconds; no
/// app server opens a connection for the user. Callers without a user are not stopped by the block of a user unless `AUTH_REQUIRED` is on. Who is not known
/// yet can be blocked. At most 20000 spenders can be blocked.
#[utoipa::path(
    post, path = "/api/block",
    params(BlockQuery),
    responses(
        (status = 200, description = "The spender is blocked.", body = BlockBody),
        (status = 400, description = "`INVALID_REQUEST`: the query does not name exactly one spender, or `for` is not a time.", body = ErrorBody),
    )
)]
pub async fn block_spender(app: AppState, Query(query): Query<BlockQuery>) -> JsonResult<BlockBody> {
    block(&app, &only(query.spenders()?)?, query.lasting).await
}

/// Gives a blocked spender credentials again.
#[utoipa::path(
    delete, path = "/api/block",
    params(SpenderQuery),
    responses(
        (status = 200, description = "The spender is not blocked.", body = BlockBody),
        (status = 400, description = "`INVALID_REQUEST`: the query does not name exactly one spender.", body = ErrorBody),
    )
)]
pub async fn allow_spender(app: AppState, Query(query): Query<SpenderQuery>) -> JsonResult<BlockBody> {
    allow(&app, &only(query.spenders()?)?).await
}

/// Blocks a user or an address, as `POST /api/block` does.
#[utoipa::path(
    post, path = "/api/{kind}/{name}/block",
    params(("kind" = inline(KindInPath), Path, description = "What is named."), ("name" = String, Path, description = "The user or the address."), LastingQuery),
    responses(
        (status = 200, description = "The spender is blocked.", body = BlockBody),
        (status = 400, description = "`INVALID_REQUEST`: this cannot be a user or an address, or `for` is not a time.", body = ErrorBody),
    )
)]
pub async fn block_named(
    app: AppState,
    Path(named): Path<(String, String)>,
    Query(query): Query<LastingQuery>,
) -> JsonResult<BlockBody> {
    block(&app, &spender(named)?, query.lasting).await
}

/// Gives a blocked user or address credentials again, as `DELETE /api/block` does.
#[utoipa::path(
    delete, path = "/api/{kind}/{name}/block",
    params(("kind" = inline(KindInPath), Path, description = "What is named."), ("name" = String, Path, description = "The user or the address.")),
    responses(
        (status = 200, description = "The spender is not blocked.", body = BlockBody),
        (status = 400, description = "`INVALID_REQUEST`: this cannot be a user or an address.", body = ErrorBody),
    )
)]
pub async fn allow_named(app: AppState, Path(named): Path<(String, String)>) -> JsonResult<BlockBody> {
    allow(&app, &spender(named)?).await
}

/// Whether a holder is this user, or a client at this address.
fn is_of(spender: &SpenderKey) -> impl Fn(&Holder) -> bool {
    let spender = spender.of_client();
    move |holder| match &spender {
        SpenderKey::User(user) => holder.user() == Some(user),
        SpenderKey::Client(client) => holder.client().with_wider().any(|key| key == *client),
        _ => false,
    }
}

/// Closes the signaling sockets of a user or an address. `reason`: the code that the clients read.
pub(super) fn close_sockets_of(app: &App, spender: &SpenderKey, reason: &'static str) {
    app.signaling.close(is_of(spender), reason);
}

/// Ends the sessions of a user or an address at the SFU, also those that only send.
pub(super) fn end_sessions_of(app: &App, spender: &SpenderKey) {
    if let Some(proxy) = &app.sfu {
        proxy.end_sessions_of(is_of(spender));
    }
}

async fn block(app: &App, spender: &SpenderKey, lasting: Option<Duration>) -> JsonResult<BlockBody> {
    let spender = spender.of_client();
    let until = lasting.map(|lasting| app.account.read(Books::now).plus(lasting));
    let block = app.account.change(|books| books.block(&spender, until))?;
    let is_user = spender.kind() == SpenderKind::User;
    close_sockets_of(app, &spender, if is_user { "USER_BLOCKED" } else { "ADDRESS_BLOCKED" });
    end_sessions_of(app, &spender);
    let (by, name) = (spender.kind().name(), spender.to_string());
    tracing::warn!(by, "the operator has blocked a spender");
    tracing::info!(by, name, "the operator has blocked this spender");
    app.account.recorded().await?;
    let issued = match app.account.usable_grants_of(&spender).await {
        None => "No credential of this name is known in this period: compare it with turn-broker spenders."
            .to_owned(),
        Some(0) => "There is no live credential that is not revoked.".to_owned(),
        Some(_) => format!("Those that were issued work until they are revoked (turn-broker revoke --{by})."),
    };
    let message = blocked_message(&spender, until, &issued, app.core.auth.as_ref());
    Ok(Json(BlockBody { spender: BlockedBody::of(&spender, block), blocked: true, message }))
}

async fn allow(app: &App, spender: &SpenderKey) -> JsonResult<BlockBody> {
    let spender = spender.of_client();
    app.account.record_change(|books| books.allow(&spender)).await?;
    let (by, name) = (spender.kind().name(), spender.to_string());
    tracing::warn!(by, "the operator has allowed a spender");
    tracing::info!(by, name, "the operator has allowed this spender");
    let said = format!("{name} is not blocked. What was revoked stays revoked.");
    Ok(Json(BlockBody {
        spender: BlockedBody::of(&spender, Block::default()),
        blocked: false,
        message: said,
    }))
}

/// What a block means. `issued`: the sentence about the credentials that the spender has.
pub(super) fn blocked_message(
    spender: &SpenderKey,
    until: Option<Timestamp>,
    issued: &str,
    auth: Option<&Auth>,
) -> String {
    let end = until.map(|until| format!(" until {until}")).unwrap_or_default();
    let anonymous = match (spender, auth) {
        (SpenderKey::User(_), None) => {
            " Callers without a token are not stopped: set AUTH_JWT_SECRET or AUTH_JWKS_URL, and AUTH_REQUIRED=true to refuse them."
        }
        (SpenderKey::User(_), Some(auth)) if !auth.config.required => {
            " Callers without a token are not stopped: set AUTH_REQUIRED=true to refuse them."
        }
        _ => "",
    };
    format!("{spender} is blocked{end} and gets no credentials. {issued}{anonymous}")
}

/// The spender that a path names.
fn spender((kind, name): (String, String)) -> Result<SpenderKey, ApiError> {
    let kind = match &*kind {
        "users" => SpenderKind::User,
        "addresses" => SpenderKind::Address,
        _ => return Err(ApiError::no_route()),
    };
    SpenderKey::parse(kind, &name).ok_or_else(|| ApiError::invalid(EXPECTED))
}
