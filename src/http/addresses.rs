//! What an operator does about a client's address: block and unblock it. Tests: `tests/it/spenders.rs`.
//! A block is in effect when its response is sent, and survives a restart if the ledger does.

use axum::Json;
use axum::extract::Path;
use serde::Serialize;
use utoipa::ToSchema;

use super::parameter_forms::{AddressInPath, BlockQuery};
use super::{AppState, JsonResult};
use turn_base::error::{ApiError, ErrorBody};
use turn_base::request::query::Query;
use turn_ledger::{Books, ClientKey, Timestamp};

const EXPECTED: &str = "Name an IPv4 address, an IPv6 address, or an IPv6 prefix that ends with /64 or /48.";

/// Whether an address is blocked.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct AddressBlockBody {
    /// The IPv4 address, or the IPv6 prefix that stands for one client.
    #[schema(example = "192.0.2.7")]
    address: String,
    /// Whether the address is blocked now.
    blocked: bool,
    /// When the block ends by itself; null if it does not, or if there is none.
    #[schema(value_type = Option<String>, format = DateTime, required = true, example = "2025-01-15T13:00:00Z")]
    until: Option<Timestamp>,
    /// What that means, for people.
    #[schema(example = "192.0.2.7 is blocked until 2025-01-15T13:00:00Z and gets no credentials.")]
    message: String,
}

/// Blocks a client's address.
///
/// A client with this address gets 403 `ADDRESS_BLOCKED` instead of credentials, also for a renewal. An IPv6 address stands for its /64.
/// Servers with a key are not stopped. Credentials that were issued work until they are revoked: `POST /api/revoke?address=`. At most
/// 10000 addresses can be blocked.
#[utoipa::path(
    post, path = "/api/addresses/{address}/block",
    params(("address" = inline(AddressInPath), Path, description = "An address, or a prefix as in `GET /api/spenders`."), BlockQuery),
    responses(
        (status = 200, description = "The address is blocked.", body = AddressBlockBody),
        (status = 400, description = "`INVALID_REQUEST`: this cannot be an address, or `for` is not a time.", body = ErrorBody),
    )
)]
pub async fn block_address(
    app: AppState,
    Path(address): Path<String>,
    Query(BlockQuery { lasting }): Query<BlockQuery>,
) -> JsonResult<AddressBlockBody> {
    let client = checked(&address)?;
    let until = lasting.map(|lasting| app.account.read(Books::now).plus(lasting));
    app.account.change(|books| books.block_address(client, until))?;
    let address = client.to_string();
    tracing::info!(address, "the operator has blocked an address");
    app.account.recorded().await?;
    let end = until.map(|until| format!(" until {until}")).unwrap_or_default();
    let said = format!(
        "{address} is blocked{end} and gets no credentials. Those that it has work until they are revoked (turn-broker revoke --address)."
    );
    Ok(Json(AddressBlockBody { address, blocked: true, until, message: said }))
}

/// Unblocks a client's address.
#[utoipa::path(
    delete, path = "/api/addresses/{address}/block",
    params(("address" = inline(AddressInPath), Path, description = "The address or prefix that was blocked.")),
    responses(
        (status = 200, description = "The address is not blocked.", body = AddressBlockBody),
        (status = 400, description = "`INVALID_REQUEST`: this cannot be an address.", body = ErrorBody),
    )
)]
pub async fn unblock_address(app: AppState, Path(address): Path<String>) -> JsonResult<AddressBlockBody> {
    let client = checked(&address)?;
    let was_blocked = app.account.record_change(|books| books.unblock_address(client)).await?;
    let address = client.to_string();
    tracing::info!(address, was_blocked, "the operator has unblocked an address");
    let said = format!("{address} is not blocked. What was revoked stays revoked.");
    Ok(Json(AddressBlockBody { address, blocked: false, until: None, message: said }))
}

/// The client that a text names: by a prefix, or by one address of the client.
fn checked(address: &str) -> Result<ClientKey, ApiError> {
    let of_address = || address.parse().ok().map(ClientKey::of);
    address.parse::<ClientKey>().ok().or_else(of_address).ok_or_else(|| ApiError::invalid(EXPECTED))
}
