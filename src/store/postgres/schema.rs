//! The tables. One schema has one ledger. A change to `shard` or `item` is a change of the format. `node` and `process` are about replicas.

use tokio_postgres::types::Type;

use super::connect::{Connection, DatabaseError};
use crate::store::prelude::*;

/// The lock under which a session makes the tables, so that two sessions do not make them at the same time.
const LOCK: i64 = 0x7475_726e_5f62_726b;

/// The only row of `shard` says who leads. A takeover raises `epoch` and `seq`; each write raises `seq`. `held` is false after the leader
/// has released the ledger. `began` and `sessions` list the latest takeovers, newest first: `seq` before each, and the session that took
/// over.
const TABLES: &str = "
    CREATE TABLE IF NOT EXISTS shard (
        id smallint PRIMARY KEY CHECK (id = 1),
        format int NOT NULL,
        epoch bigint NOT NULL,
        seq bigint NOT NULL,
        held boolean NOT NULL,
        leader text,
        pid int,
        settings text,
        version text,
        written_at timestamptz NOT NULL,
        began bigint[] NOT NULL,
        sessions text[] NOT NULL);
    CREATE TABLE IF NOT EXISTS item (kind smallint, key bytea, row bytea NOT NULL, PRIMARY KEY (kind, key));
    CREATE TABLE IF NOT EXISTS node (
        url text PRIMARY KEY, version text, settings text, seen_at timestamptz NOT NULL, clock_ms bigint NOT NULL);
    CREATE TABLE IF NOT EXISTS process (
        id text PRIMARY KEY, url text NOT NULL, began timestamptz NOT NULL, seen_at timestamptz NOT NULL);
    ALTER TABLE node ADD COLUMN IF NOT EXISTS unreached bigint, ADD COLUMN IF NOT EXISTS gave_up_at timestamptz,
        ADD COLUMN IF NOT EXISTS reached boolean NOT NULL DEFAULT false;";

/// Makes the tables, unless the column that was added last is there.
pub(super) async fn make(connection: &Connection, schema: &str) -> Result<(), DatabaseError> {
    let last =
        "SELECT 1 FROM pg_attribute WHERE attrelid = to_regclass($1 || '.node') AND attname = 'reached'";
    if connection.row(last, &[(&schema, Type::TEXT)]).await?.is_some() {
        return Ok(());
    }
    let make = format!(
        "BEGIN; SELECT pg_advisory_xact_lock({LOCK}); CREATE SCHEMA IF NOT EXISTS {schema}; {TABLES}
         INSERT INTO shard VALUES (1, {FORMAT}, 0, 0, false, NULL, NULL, NULL, NULL, clock_timestamp(), '{{}}', '{{}}')
            ON CONFLICT DO NOTHING; COMMIT;"
    );
    connection.run(&make).await
}
