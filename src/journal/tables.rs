//! The tables of a ledger file, and the conversion between rows and values. Structured rows are in the form of
//! postcard: the fields in their order, numbers as short as their value. What is stored once is JSON. A row that cannot be read is
//! an error unless the reader asks to continue. The error never contains the row's content, which may be secret.

// Paths from this file, because the simulation of the ledger includes it too.
#[path = "tables/error.rs"]
mod error;
#[path = "tables/sources.rs"]
mod sources;

use std::collections::BTreeMap;

use redb::{Key, ReadTransaction, ReadableTable, TableDefinition, Value, WriteTransaction};
use serde::Serialize;
use serde::de::DeserializeOwned;

use turn_ledger::{
    Connection, Day, GrantId, Head, RowKey, Rows, SessionId, SpenderKey, SpenderKind, Sums, Timestamp,
};

use super::changes::{Changes, Contents};
use super::file::FORMAT;
pub use error::{BadRow, StoreError};
use sources::{read_sources, write_source};

/// Name → JSON or bytes.
pub(super) const META: TableDefinition<'_, &str, &[u8]> = TableDefinition::new("meta");
/// (source, minute since 1970) → (change of the number of live grants, change of the bytes that they may relay in a minute).
pub(super) const MARKS: TableDefinition<'_, (&str, i64), (i64, i64)> = TableDefinition::new("marks");
/// (connection milliseconds, of the SFU kbit/s × ms, reported bytes) with a grant, the same two without a grant, and what a count
/// had of the minute.
pub(super) type FlowRow = ((u64, u64), (u64, u64), u64);
/// (source, minute) → what was relayed in it.
pub(super) const FLOWS: TableDefinition<'_, (&str, i64), FlowRow> = TableDefinition::new("flows");
/// (source, day since 1970) → row.
pub(super) const DAYS: TableDefinition<'_, (&str, i64), &[u8]> = TableDefinition::new("days");
/// (id, grant, or nothing for the reporter) → row.
pub(super) const OPEN_CONNECTIONS: TableDefinition<'_, (&str, &[u8]), &[u8]> =
    TableDefinition::new("open_connections");
/// Grant → row.
pub(super) const GRANTS: TableDefinition<'_, &[u8; 16], &[u8]> = TableDefinition::new("grants");
/// Session of a coturn → row.
pub(super) const SESSIONS: TableDefinition<'_, u64, &[u8]> = TableDefinition::new("sessions");
/// (kind, key, day since 1970) → row. The row of others has an empty key.
pub(super) const SPENDERS: TableDefinition<'_, (&str, &str, i64), &[u8]> = TableDefinition::new("spenders");

/// Does the same with every table. Each has a type of its own, so no list can hold them.
macro_rules! each_table {
    (|$table:ident| $call:expr) => {
        each_table!(|$table| $call, META MARKS FLOWS DAYS OPEN_CONNECTIONS GRANTS SESSIONS SPENDERS)
    };
    (|$table:ident| $call:expr, $($name:ident)*) => {
        $({ let $table = $name; $call; })*
    };
}

const KEY_FORMAT: &str = "format";
/// What is written with each batch.
pub(super) const KEY_HEAD: &str = "head";
const KEY_ALERTS: &str = "alerts";
/// Only a copy of a ledger that no process has opened has it.
const KEY_COPIED: &str = "copy";
const KEY_BLOCKED: &str = "blocked";
const KEY_TOKEN_KEY: &str = "token-key";
/// What operators did.
const KEY_ACTIONS: &str = "operator-actions";
/// Holds the secrets of TURN keys.
const KEY_ROTATION: &str = "key-rotation";

/// Called with each row that cannot be read. An error ends the reading.
pub(super) type OnBadRow<'a> = &'a mut dyn FnMut(BadRow) -> Result<(), BadRow>;

/// Creates every table and writes the format, so that a missing table means a damaged ledger.
pub(super) fn make_all(transaction: &WriteTransaction) -> Result<(), StoreError> {
    each_table!(|table| drop(transaction.open_table(table)?));
    transaction.open_table(META)?.insert(KEY_FORMAT, FORMAT.to_be_bytes().as_slice())?;
    Ok(())
}

/// Copies every table, the key of grant tokens included.
pub(super) fn copy_all(from: &ReadTransaction, to: &WriteTransaction) -> Result<(), StoreError> {
    each_table!(|table| copy(from, to, table)?);
    Ok(())
}

fn copy<K: Key + 'static, V: Value + 'static>(
    from: &ReadTransaction,
    to: &WriteTransaction,
    table: TableDefinition<'_, K, V>,
) -> Result<(), StoreError> {
    let mut copy = to.open_table(table)?;
    for row in from.open_table(table)?.iter()? {
        let (key, value) = row?;
        copy.insert(key.value(), value.value())?;
    }
    Ok(())
}

/// The format number in the file, if there is one.
pub(super) fn format(transaction: &ReadTransaction) -> Result<Option<u32>, StoreError> {
    let bytes = bytes_of(transaction, KEY_FORMAT)?;
    Ok(bytes.and_then(|bytes| bytes.try_into().ok()).map(u32::from_be_bytes))
}

pub(super) fn put_token_key(transaction: &WriteTransaction, key: &[u8; 64]) -> Result<(), StoreError> {
    transaction.open_table(META)?.insert(KEY_TOKEN_KEY, key.as_slice())?;
    Ok(())
}

/// Marks the file as a copy of a ledger that goes on.
pub(super) fn mark_copy(transaction: &WriteTransaction) -> Result<(), StoreError> {
    transaction.open_table(META)?.insert(KEY_COPIED, [].as_slice())?;
    Ok(())
}

/// The stored time of the books.
pub(super) fn stored_now(transaction: &ReadTransaction) -> Result<Option<Timestamp>, StoreError> {
    Ok(json_of(transaction, KEY_HEAD, &mut Err)?.map(|head: Head| head.now))
}

/// Reads everything that is stored.
pub(super) fn read(transaction: &ReadTransaction, bad: OnBadRow<'_>) -> Result<Contents, StoreError> {
    let mut contents = Contents::default();
    let stored = &mut contents.books;
    read_sources(transaction, stored, bad)?;
    stored.connections = values(transaction, OPEN_CONNECTIONS, bad, |(id, owner), row| {
        let grant = match owner {
            [] => None,
            bytes => Some(GrantId::new(bytes.try_into().map_err(|_| "names no grant")?)),
        };
        let mut connection: Connection = from_row(row)?;
        (connection.id, connection.grant) = (id.into(), grant);
        Ok((connection.name(), connection))
    })?;
    stored.grants = values(transaction, GRANTS, bad, |id, row| {
        let id = GrantId::new(*id);
        Ok((id, from_row(row).map_err(|what| format!("(grant {id}) {what}"))?))
    })?;
    stored.sessions = values(transaction, SESSIONS, bad, |id, row| {
        let id = SessionId::new(id).ok_or("does not have the number of a session")?;
        Ok((id, from_row(row)?))
    })?;
    stored.spenders = values(transaction, SPENDERS, bad, |(kind, key, day), row| {
        let kind = kind.parse::<SpenderKind>().map_err(|_| "is of a kind that this version does not know")?;
        let key = match key {
            "" => None,
            key => Some(SpenderKey::parse(kind, key).ok_or("does not have a key of its kind")?),
        };
        Ok(((kind, key, Day::new(day)), from_row(row)?))
    })?;
    stored.head = json_of(transaction, KEY_HEAD, bad)?;
    stored.is_copy = bytes_of(transaction, KEY_COPIED)?.is_some();
    stored.blocked = json_of(transaction, KEY_BLOCKED, bad)?.unwrap_or_default();
    contents.alerts = json_of(transaction, KEY_ALERTS, bad)?.unwrap_or_default();
    contents.actions = json_of(transaction, KEY_ACTIONS, bad)?.unwrap_or_default();
    contents.rotation = json_of(transaction, KEY_ROTATION, bad)?.unwrap_or_default();
    stored.key = bytes_of(transaction, KEY_TOKEN_KEY)?.and_then(|bytes| bytes.try_into().ok());
    Ok(contents)
}

/// Writes a batch. Mark rows are differences and are added to the stored ones. All other rows replace the stored ones.
pub(super) fn write(transaction: &WriteTransaction, changes: &Changes) -> Result<(), StoreError> {
    let Changes { books: batch, alerts, rotation, actions } = changes;
    put(transaction, KEY_ALERTS, alerts.as_ref())?;
    put(transaction, KEY_ACTIONS, actions.as_ref())?;
    put(transaction, KEY_ROTATION, rotation.as_ref())?;
    for (source, rows) in &batch.sources {
        write_source(transaction, *source, rows)?;
    }
    write_rows(transaction, OPEN_CONNECTIONS, &batch.connections, |(id, grant)| {
        (&**id, grant.as_ref().map_or(&[][..], |grant| grant.as_bytes()))
    })?;
    write_rows(transaction, GRANTS, &batch.grants, GrantId::as_bytes)?;
    write_rows(transaction, SESSIONS, &batch.sessions, |id| id.get())?;
    write_spenders(transaction, &batch.spenders)?;
    put(transaction, KEY_BLOCKED, batch.blocked.as_ref())?;
    transaction.open_table(META)?.remove(KEY_COPIED)?;
    put(transaction, KEY_HEAD, Some(&batch.head))
}

/// Writes rows. `key`: the key of a row in the table.
fn write_rows<'a, K: Key + 'static, Id, R: Serialize>(
    transaction: &WriteTransaction,
    table: TableDefinition<'_, K, &[u8]>,
    rows: &'a Rows<Id, R>,
    key: impl Fn(&'a Id) -> K::SelfType<'a>,
) -> Result<(), StoreError> {
    if rows.is_empty() {
        return Ok(());
    }
    let mut table = transaction.open_table(table)?;
    for (id, row) in rows {
        match row {
            Some(row) => drop(table.insert(key(id), to_row(row)?.as_slice())?),
            None => drop(table.remove(key(id))?),
        }
    }
    Ok(())
}

fn write_spenders(transaction: &WriteTransaction, spenders: &Rows<RowKey, Sums>) -> Result<(), StoreError> {
    if spenders.is_empty() {
        return Ok(());
    }
    let mut table = transaction.open_table(SPENDERS)?;
    for ((kind, key, day), row) in spenders {
        let text = key.as_ref().map(SpenderKey::to_string).unwrap_or_default();
        let key = (kind.name(), text.as_str(), day.number());
        match row {
            Some(row) => drop(table.insert(key, to_row(row)?.as_slice())?),
            None => drop(table.remove(key)?),
        }
    }
    Ok(())
}

/// The rows of a table as values. They come in the order of their keys, so the map is built at once instead of searched for each row.
fn values<K: Key + 'static, V: Value + 'static, Id: Ord, R>(
    transaction: &ReadTransaction,
    table: TableDefinition<'_, K, V>,
    bad: OnBadRow<'_>,
    mut read: impl FnMut(K::SelfType<'_>, V::SelfType<'_>) -> Result<(Id, R), String>,
) -> Result<BTreeMap<Id, R>, StoreError> {
    let mut found = vec![];
    rows(transaction, table, bad, |key, value| {
        found.push(read(key, value)?);
        Ok(())
    })?;
    Ok(found.into_iter().collect())
}

/// Passes each row of a table to `take`, which returns what is wrong with it.
fn rows<K: Key + 'static, V: Value + 'static>(
    transaction: &ReadTransaction,
    table: TableDefinition<'_, K, V>,
    bad: OnBadRow<'_>,
    mut take: impl FnMut(K::SelfType<'_>, V::SelfType<'_>) -> Result<(), String>,
) -> Result<(), StoreError> {
    for row in transaction.open_table(table)?.iter()? {
        let (key, value) = row?;
        if let Err(what) = take(key.value(), value.value()) {
            let table = redb::TableHandle::name(&table).to_owned();
            bad(BadRow { table, key: format!("{:?}", key.value()), what })?;
        }
    }
    Ok(())
}

/// Writes a value under this name. `None` leaves the stored value.
fn put(transaction: &WriteTransaction, key: &str, value: Option<&impl Serialize>) -> Result<(), StoreError> {
    if let Some(value) = value {
        transaction.open_table(META)?.insert(key, serde_json::to_vec(value)?.as_slice())?;
    }
    Ok(())
}

fn bytes_of(transaction: &ReadTransaction, key: &str) -> Result<Option<Vec<u8>>, StoreError> {
    Ok(transaction.open_table(META)?.get(key)?.map(|value| value.value().to_vec()))
}

fn json_of<T: DeserializeOwned>(
    transaction: &ReadTransaction,
    key: &str,
    bad: OnBadRow<'_>,
) -> Result<Option<T>, StoreError> {
    let Some(bytes) = bytes_of(transaction, key)? else { return Ok(None) };
    match serde_json::from_slice(&bytes) {
        Ok(value) => Ok(Some(value)),
        Err(error) => {
            // serde's own message is left out: it can contain a part of the row.
            let form = if error.is_data() { "does not have the expected form" } else { "is not JSON" };
            let what = format!("{form} (column {})", error.column());
            bad(BadRow { table: "meta".into(), key: format!("{key:?}"), what })?;
            Ok(None)
        }
    }
}

fn to_row(row: &impl Serialize) -> Result<Vec<u8>, postcard::Error> {
    postcard::to_allocvec(row)
}

/// The error never contains a part of the row.
pub(super) fn from_row<T: DeserializeOwned>(row: &[u8]) -> Result<T, String> {
    match postcard::take_from_bytes(row) {
        Ok((value, [])) => Ok(value),
        _ => Err("does not have the expected form".into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use redb::{Database, ReadableDatabase, backends::InMemoryBackend};
    use turn_ledger::{Batch, User};

    fn batch() -> Batch {
        let now = Timestamp::from_millis(1_736_942_400_000);
        let key = SpenderKey::parse(SpenderKind::User, "ann");
        Batch {
            head: Head { now, ..Head::default() },
            spenders: [
                ((SpenderKind::User, key, Day::new(7)), Some(Sums::default())),
                ((SpenderKind::Label, None, Day::new(8)), Some(Sums::default())),
            ]
            .into(),
            blocked: Some([User::new("eve").unwrap()].into()),
            ..Batch::default()
        }
    }

    #[test]
    fn what_is_written_is_read_back_and_copied() {
        let database = Database::builder().create_with_backend(InMemoryBackend::new()).unwrap();
        let transaction = database.begin_write().unwrap();
        make_all(&transaction).unwrap();
        transaction.commit().unwrap();
        let stored = || read(&database.begin_read().unwrap(), &mut Err).unwrap().books;
        assert!(stored().spenders.is_empty() && stored().blocked.is_empty());
        let transaction = database.begin_write().unwrap();
        write(&transaction, &batch().into()).unwrap();
        transaction.commit().unwrap();
        assert_eq!((stored().spenders.len(), stored().blocked.len()), (2, 1));
        assert_eq!(stored().head, Some(batch().head));
        let written = batch().spenders.into_iter().map(|(key, sums)| (key, sums.unwrap()));
        assert_eq!(stored().spenders, written.collect());
        let copied = Database::builder().create_with_backend(InMemoryBackend::new()).unwrap();
        let transaction = copied.begin_write().unwrap();
        copy_all(&database.begin_read().unwrap(), &transaction).unwrap();
        transaction.commit().unwrap();
        let copied = read(&copied.begin_read().unwrap(), &mut Err).unwrap().books;
        assert_eq!(copied.spenders, stored().spenders);
    }
}
