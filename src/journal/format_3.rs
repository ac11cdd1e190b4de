//! Format 3 and its migration to format 4. Format 3 kept each open connection as JSON of some 700 bytes, and what a grant may
//! still claim in the grant's row. The types here are those of the version that wrote it.

use redb::{ReadableTable, TableDefinition, WriteTransaction};
use serde::Deserialize;
use serde_json::{Map, Value};
use turn_ledger::connection::Connection;

use super::tables::{GRANTS, OPEN_CONNECTIONS, StoreError, from_json, to_json};

/// (id, owner) → JSON.
pub(super) const CONNECTIONS: TableDefinition<'_, (&str, &str), &[u8]> = TableDefinition::new("connections");

/// A row of [`CONNECTIONS`].
#[derive(Deserialize)]
pub(super) struct OldConnection {
    pub(super) connection: Connection,
}

/// Moves the connections to their own table, in the short form.
pub(super) fn shorten_connections(transaction: &WriteTransaction) -> Result<(), StoreError> {
    {
        let old = transaction.open_table(CONNECTIONS)?;
        let mut new = transaction.open_table(OPEN_CONNECTIONS)?;
        for row in old.iter()? {
            let (_, row) = row?;
            let OldConnection { connection } = from_json(row.value()).map_err(StoreError::Migration)?;
            let key = (&*connection.id, connection.owner.to_row());
            new.insert(key, connection.to_row().as_slice())?;
        }
    }
    transaction.delete_table(CONNECTIONS)?;
    Ok(())
}

/// Replaces what a grant may still claim with whether its client has reported.
pub(super) fn drop_claims(transaction: &WriteTransaction) -> Result<(), StoreError> {
    let mut grants = transaction.open_table(GRANTS)?;
    let mut rows: Vec<(String, Map<String, Value>)> = vec![];
    for row in grants.iter()? {
        let (id, row) = row?;
        rows.push((id.value().to_owned(), from_json(row.value()).map_err(StoreError::Migration)?));
    }
    for (id, mut row) in rows {
        let claims = row.remove("claims");
        row.insert("reported".into(), claims.is_some_and(|claims| !claims.is_null()).into());
        grants.insert(id.as_str(), to_json(&row)?.as_slice())?;
    }
    Ok(())
}
