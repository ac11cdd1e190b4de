//! The tables. One schema is one ledger. Whoever changes a table of it changes the format. `node` and `process` are about replicas.

use tokio_postgres::types::Type;

use super::connect::{Connection, DatabaseError};
use crate::store::rows::FORMAT;

/// Sessions that begin at the same time make the tables one after the other.
const LOCK: i64 = 0x7475_726e_5f62_726b;

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
    ALTER TABLE node ADD COLUMN IF NOT EXISTS unreached bigint, ADD COLUMN IF NOT EXISTS gave_up_at timestamptz;";

/// Makes the tables if they are not there.
pub(super) async fn make(connection: &Connection, schema: &str) -> Result<(), DatabaseError> {
    let last =
        "SELECT 1 FROM pg_attribute WHERE attrelid = to_regclass($1 || '.node') AND attname = 'gave_up_at'";
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
