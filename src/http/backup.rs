//! `GET /api/backup`: a copy of the ledger while the service runs. Tests: `tests/it/backup.rs`.
//! The copy is complete before the response begins, so if it fails, the response is an error. There is one copy at a time. It exists on
//! disk, without a name, until the client has read it.

use axum::body::Body;
use axum::http::header::{CONTENT_DISPOSITION, CONTENT_LENGTH, CONTENT_TYPE};
use futures_util::StreamExt;
use tokio::sync::OwnedSemaphorePermit;
use tokio_util::io::ReaderStream;

use super::prelude::*;
use crate::store::storage::LedgerFile;

/// The most bytes of one read from the copy.
const CHUNK: usize = 64 * 1024;
/// How long a request waits for the end of another copy. A client that has read its copy may ask for another one before this
/// process notices that the first one is read.
const SLOT_WAIT: Duration = Duration::from_secs(1);

/// The file in the `OpenAPI` document.
#[derive(ToSchema)]
#[schema(value_type = String, format = Binary)]
#[expect(dead_code, reason = "describes the response for the OpenAPI document")]
pub struct LedgerBytes(Vec<u8>);

/// Copies the ledger.
///
/// The response is a complete ledger file as of the request, for `STATE_DIR` of a broker that takes over. **It contains the key
/// that signs grant tokens**, so keep it like the ledger. Minting continues while the copy is made.
#[utoipa::path(
    get, path = "/api/backup",
    responses(
        (status = 200, description = "The file `ledger.redb`.", body = inline(LedgerBytes), content_type = "application/octet-stream"),
        (status = 404, description = "`NOT_FOUND`: neither `STATE_DIR` nor `DATABASE_URL` is set, so the ledger is in memory only.", body = ErrorBody),
        (status = 503, description = "`OVERLOADED`: another copy is being made or sent.\n\n`LEDGER_UNAVAILABLE`: the ledger cannot be written or copied, for example because the disk has no room for a copy.", body = ErrorBody),
    )
)]
pub async fn get_backup(app: AppState) -> Result<Response, ApiError> {
    if !app.account.has_store() {
        return Err(ApiError::not_found(
            "Set STATE_DIR or DATABASE_URL: the ledger is in memory only, so there is nothing to back up.",
        ));
    }
    let acquired = tokio::time::timeout(SLOT_WAIT, Arc::clone(&app.backup_slot).acquire_owned()).await;
    let Ok(Ok(slot)) = acquired else {
        return Err(ApiError::full("Try again when the other backup has ended."));
    };
    let copier = app.account.copier().await.ok_or_else(not_backed_up)?;
    // The task owns the slot, so the slot stays taken even if the client disconnects before the copy is made.
    let made = tokio::task::spawn_blocking(move || (copier.copy(), slot)).await;
    let (copy, slot) = made.map_err(|_| ApiError::internal())?;
    let copy = copy.map_err(|error| {
        tracing::error!("the ledger was not copied: {error}");
        not_backed_up()
    })?;
    tracing::warn!(bytes = copy.bytes, "the operator backs up the ledger");
    let headers = [
        (CONTENT_TYPE, HeaderValue::from_static("application/octet-stream")),
        (CONTENT_DISPOSITION, HeaderValue::from_static("attachment; filename=\"ledger.redb\"")),
        (CONTENT_LENGTH, HeaderValue::from(copy.bytes)),
    ];
    Ok((headers, streamed(copy, slot)).into_response())
}

fn not_backed_up() -> ApiError {
    ApiError::ledger_unavailable(
        "Check the log, and free disk space beside STATE_DIR, with DATABASE_URL in TMPDIR: a backup needs twice the size of the ledger.",
    )
}

/// A body that reads the copy in chunks. The body owns the slot, so the slot stays taken until the copy is sent.
fn streamed(copy: LedgerFile, slot: OwnedSemaphorePermit) -> Body {
    let chunks = ReaderStream::with_capacity(tokio::fs::File::from_std(copy.file), CHUNK);
    Body::from_stream(chunks.inspect(move |_| _ = &slot))
}
