//! The tables of a ledger file, and what their rows mean: values in, rows out, and back. Rows with structure are JSON, so
//! that a later version can read what it knows of them. No row that cannot be read is passed over unless whoever reads
//! says so, and what is said of such a row never repeats its content.

use redb::{Key, ReadTransaction, ReadableTable, TableDefinition, Value, WriteTransaction};
use serde::Serialize;
use serde::de::DeserializeOwned;

use turn_ledger::changes::{Batch, Rows, Stored};
use turn_ledger::connections::StoredConnection;
use turn_ledger::coturn::listing::SessionId;
use turn_ledger::coturn::sessions::SessionRow;
use turn_ledger::minute::Minute;
use turn_ledger::minute_usage::{ClaimedUsage, LiveDelta, MinuteUsage, SourceRows};
use turn_ledger::source::IceSource;
use turn_ledger::units::Timestamp;

/// A name → JSON, or bytes.
pub(super) const META: TableDefinition<'_, &str, &[u8]> = TableDefinition::new("meta");
/// (source, minute since 1970) → (more or fewer grants alive from there on, more or fewer unreported ones ending there).
pub(super) const MARKS: TableDefinition<'_, (&str, i64), (i64, i64)> = TableDefinition::new("marks");
/// (source, minute) → (milliseconds by time, bytes) under grants, and without.
pub(super) const FLOWS: TableDefinition<'_, (&str, i64), (u64, u64, u64, u64)> =
    TableDefinition::new("flows");
/// (id, owner) → JSON.
pub(super) const CONNECTIONS: TableDefinition<'_, (&str, &str), &[u8]> = TableDefinition::new("connections");
/// Grant → JSON. Since format 3 there is one row for each grant.
pub(super) const GRANTS: TableDefinition<'_, &str, &[u8]> = TableDefinition::new("grants");
/// Session of a coturn → JSON. Since format 3.
pub(super) const SESSIONS: TableDefinition<'_, u64, &[u8]> = TableDefinition::new("sessions");

const KEY_FORMAT: &str = "format";
const KEY_NOW: &str = "now";
const KEY_COUNTS: &str = "counts";
pub(super) const KEY_COTURN: &str = "coturn";
const KEY_ALERTS: &str = "alerts";
const KEY_ORDERS: &str = "orders";
const KEY_TOKEN_KEY: &str = "token-key";

/// The store did not do as it was told. Of a write that failed nothing is on disk.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// The file.
    #[error("{0}")]
    File(redb::Error),
    /// A row that was read.
    #[error(transparent)]
    Row(#[from] BadRow),
    /// A row of an older format.
    #[error("a row of the older format {0}")]
    Migration(String),
    /// A row that was to be written.
    #[error("a row has no form on disk")]
    Form(#[from] serde_json::Error),
}

/// redb has an error type for each kind of call; here they are one.
macro_rules! file_errors {
    ($($error:ident),*) => {$(
        impl From<redb::$error> for StoreError {
            fn from(error: redb::$error) -> Self {
                Self::File(error.into())
            }
        }
    )*};
}
file_errors!(CommitError, CompactionError, DatabaseError, StorageError, TableError, TransactionError);

/// A row that is there and cannot be understood.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("row {key} of {table:?} {what}")]
pub struct BadRow {
    table: String,
    key: String,
    what: String,
}

/// Hears of rows that cannot be understood; an error ends the reading.
pub(super) type OnBadRow<'a> = &'a mut dyn FnMut(BadRow) -> Result<(), BadRow>;

/// Makes every table and marks the file, so that a ledger without one of them is a damaged one.
pub(super) fn make_all(transaction: &WriteTransaction, format: u32) -> Result<(), StoreError> {
    put_format(transaction, format)?;
    transaction.open_table(MARKS)?;
    transaction.open_table(FLOWS)?;
    transaction.open_table(CONNECTIONS)?;
    transaction.open_table(GRANTS)?;
    transaction.open_table(SESSIONS)?;
    Ok(())
}

/// The format that the file says it has; `None` where it says none.
pub(super) fn format(transaction: &ReadTransaction) -> Result<Option<u32>, StoreError> {
    let bytes = bytes_of(transaction, KEY_FORMAT)?;
    Ok(bytes.and_then(|bytes| bytes.try_into().ok()).map(u32::from_be_bytes))
}

pub(super) fn put_format(transaction: &WriteTransaction, format: u32) -> Result<(), StoreError> {
    transaction.open_table(META)?.insert(KEY_FORMAT, format.to_be_bytes().as_slice())?;
    Ok(())
}

pub(super) fn put_token_key(transaction: &WriteTransaction, key: &[u8; 64]) -> Result<(), StoreError> {
    transaction.open_table(META)?.insert(KEY_TOKEN_KEY, key.as_slice())?;
    Ok(())
}

/// The latest instant that the books had seen, as it is stored.
pub(super) fn stored_now(transaction: &ReadTransaction) -> Result<Option<Timestamp>, StoreError> {
    json_of(transaction, KEY_NOW, &mut Err)
}

/// Everything that is stored.
pub(super) fn read(transaction: &ReadTransaction, bad: OnBadRow<'_>) -> Result<Stored, StoreError> {
    let mut stored = Stored::default();
    read_sources(transaction, &mut stored, bad)?;
    rows(transaction, CONNECTIONS, bad, |(id, owner), row| {
        let connection: StoredConnection = from_json(row)?;
        let name = connection.name();
        if (&*name.0, to_json(&name.1).ok().as_deref()) != (id, Some(owner.as_bytes())) {
            return Err("holds another connection".into());
        }
        stored.connections.insert(name, connection);
        Ok(())
    })?;
    rows(transaction, GRANTS, bad, |id, row| {
        let id = id.parse().map_err(|_| "does not have the id of a grant")?;
        stored.grants.insert(id, from_json(row)?);
        Ok(())
    })?;
    rows(transaction, SESSIONS, bad, |id, row| {
        let id = SessionId::new(id).ok_or("does not have the number of a session")?;
        stored.sessions.insert(id, from_json(row)?);
        Ok(())
    })?;
    stored.coturn = json_of(transaction, KEY_COTURN, bad)?.unwrap_or_default();
    stored.alerts = json_of(transaction, KEY_ALERTS, bad)?.unwrap_or_default();
    stored.overrides = json_of(transaction, KEY_ORDERS, bad)?.unwrap_or_default();
    stored.now = json_of(transaction, KEY_NOW, bad)?;
    stored.counts = json_of(transaction, KEY_COUNTS, bad)?;
    stored.key = bytes_of(transaction, KEY_TOKEN_KEY)?.and_then(|bytes| bytes.try_into().ok());
    Ok(stored)
}

/// Writes a batch. Differences are added to what is stored, everything else replaces it.
pub(super) fn write(transaction: &WriteTransaction, batch: &Batch) -> Result<(), StoreError> {
    for (source, rows) in &batch.sources {
        write_source(transaction, *source, rows)?;
    }
    let mut connections = transaction.open_table(CONNECTIONS)?;
    for ((id, owner), row) in &batch.connections {
        let owner = serde_json::to_string(owner)?;
        let key = (&**id, owner.as_str());
        match row {
            Some(row) => drop(connections.insert(key, to_json(row)?.as_slice())?),
            None => drop(connections.remove(key)?),
        }
    }
    let mut grants = transaction.open_table(GRANTS)?;
    for (id, row) in &batch.grants {
        let key = id.to_string();
        match row {
            Some(row) => drop(grants.insert(key.as_str(), to_json(row)?.as_slice())?),
            None => drop(grants.remove(key.as_str())?),
        }
    }
    write_sessions(transaction, &batch.sessions)?;
    put(transaction, KEY_COUNTS, Some(&batch.counts))?;
    put(transaction, KEY_ORDERS, batch.overrides.as_ref())?;
    put(transaction, KEY_COTURN, batch.coturn.as_ref())?;
    put(transaction, KEY_ALERTS, batch.alerts.as_ref())?;
    put(transaction, KEY_NOW, Some(&batch.now))
}

fn write_sessions(
    transaction: &WriteTransaction,
    sessions: &Rows<SessionId, SessionRow>,
) -> Result<(), StoreError> {
    if sessions.is_empty() {
        return Ok(());
    }
    let mut table = transaction.open_table(SESSIONS)?;
    for (id, row) in sessions {
        match row {
            Some(row) => drop(table.insert(id.get(), to_json(row)?.as_slice())?),
            None => drop(table.remove(id.get())?),
        }
    }
    Ok(())
}

fn read_sources(
    transaction: &ReadTransaction,
    stored: &mut Stored,
    bad: OnBadRow<'_>,
) -> Result<(), StoreError> {
    rows(transaction, MARKS, bad, |(source, minute), (live, unreported)| {
        rows_of(stored, source)?.deltas.insert(Minute::new(minute), LiveDelta { live, unreported });
        Ok(())
    })?;
    rows(transaction, FLOWS, bad, |(source, minute), numbers| {
        rows_of(stored, source)?.usage.insert(Minute::new(minute), usage_of(numbers));
        Ok(())
    })?;
    for source in IceSource::ALL {
        let previous = json_of(transaction, &previous_key(source), bad)?;
        let reading = json_of(transaction, &reading_key(source), bad)?;
        let trial = json_of(transaction, &trial_key(source), bad)?;
        if previous.is_some() || reading.is_some() || trial.is_some() {
            let rows = stored.sources.entry(source).or_default();
            (rows.previous, rows.reading, rows.trial) = (previous, reading, trial);
        }
    }
    Ok(())
}

fn write_source(
    transaction: &WriteTransaction,
    source: IceSource,
    rows: &SourceRows,
) -> Result<(), StoreError> {
    let mut marks = transaction.open_table(MARKS)?;
    for (minute, LiveDelta { live, unreported }) in &rows.deltas {
        let key = (source.name(), minute.number());
        let stored = marks.get(key)?.map_or((0, 0), |value| value.value());
        let sum = (stored.0.saturating_add(*live), stored.1.saturating_add(*unreported));
        if sum == (0, 0) {
            marks.remove(key)?;
        } else {
            marks.insert(key, sum)?;
        }
    }
    let mut flows = transaction.open_table(FLOWS)?;
    for (minute, MinuteUsage { granted, ungranted }) in &rows.usage {
        let row =
            (granted.connection_millis, granted.claimed, ungranted.connection_millis, ungranted.claimed);
        flows.insert((source.name(), minute.number()), row)?;
    }
    put(transaction, &previous_key(source), rows.previous.as_ref())?;
    put(transaction, &reading_key(source), rows.reading.as_ref())?;
    put(transaction, &trial_key(source), rows.trial.as_ref())
}

/// Reads a whole table; `take` says what is wrong with a row.
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

/// Writes a value of the ledger as a whole, where there is one to write.
fn put(transaction: &WriteTransaction, key: &str, value: Option<&impl Serialize>) -> Result<(), StoreError> {
    if let Some(value) = value {
        transaction.open_table(META)?.insert(key, to_json(value)?.as_slice())?;
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
    match from_json(&bytes) {
        Ok(value) => Ok(Some(value)),
        Err(what) => {
            bad(BadRow { table: "meta".into(), key: format!("{key:?}"), what })?;
            Ok(None)
        }
    }
}

pub(super) fn to_json(row: &impl Serialize) -> Result<Vec<u8>, serde_json::Error> {
    serde_json::to_vec(row)
}

/// What serde says of JSON that does not fit can hold a part of it: not said.
pub(super) fn from_json<T: DeserializeOwned>(row: &[u8]) -> Result<T, String> {
    serde_json::from_slice(row).map_err(|error| {
        let what = if error.is_data() { "is not of the form that it should have" } else { "is not JSON" };
        format!("{what} (column {})", error.column())
    })
}

fn previous_key(source: IceSource) -> String {
    format!("previous/{source}")
}

fn trial_key(source: IceSource) -> String {
    format!("trial/{source}")
}

fn reading_key(source: IceSource) -> String {
    format!("reading/{source}")
}

fn usage_of((granted_millis, granted, ungranted_millis, ungranted): (u64, u64, u64, u64)) -> MinuteUsage {
    MinuteUsage {
        granted: ClaimedUsage { connection_millis: granted_millis, claimed: granted },
        ungranted: ClaimedUsage { connection_millis: ungranted_millis, claimed: ungranted },
    }
}

/// The rows of the source of that name. One that this version does not know must not lose what it used.
fn rows_of<'a>(stored: &'a mut Stored, source: &str) -> Result<&'a mut SourceRows, String> {
    let source =
        IceSource::from_name(source).ok_or("belongs to an ICE source that this version does not know")?;
    Ok(stored.sources.entry(source).or_default())
}
