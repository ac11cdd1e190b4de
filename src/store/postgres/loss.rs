//! The record that the database has lost writes. The replica that notices the loss stores this record in the ledger, because a later leader
//! may not notice.

use tokio_postgres::types::Type;

use super::connect::{Connection, DatabaseError, Values};
use super::takeovers::LOSS_STATED;
use crate::store::rows::KEY_COPIED;

/// Ends every lead, and marks the ledger as one that lacks grants. Changes nothing if this loss was already stated: the latest takeovers
/// have one with [`LOSS_STATED`] (`$3`) as its session, whose `began` is `$1` or more. `seq` rises above `$1`, the last number that was
/// lost, so no replica sees `seq` fall again.
const STATE: &str = "
    WITH stated AS (UPDATE shard SET epoch = epoch + 1, seq = greatest(seq, $1) + 1, held = false,
                        began = (greatest(seq, $1) || began)[1:16], sessions = ($3 || sessions)[1:16]
                    WHERE id = 1 AND NOT EXISTS (SELECT FROM unnest(began, sessions) AS takeover (began, session)
                        WHERE takeover.began >= $1 AND takeover.session = $3)
                    RETURNING 1)
    INSERT INTO item SELECT 0, $2, '' FROM stated ON CONFLICT DO NOTHING";

/// States that writes up to `seq` are lost.
pub(super) async fn state(connection: &Connection, seq: i64) -> Result<(), DatabaseError> {
    let mark = KEY_COPIED.as_bytes();
    let values: Values<'_> = &[(&seq, Type::INT8), (&mark, Type::BYTEA), (&LOSS_STATED, Type::TEXT)];
    connection.execute(STATE, values).await.map(drop)
}
