//! The tables of a ledger file, and what their rows mean: values in, rows out, and back. Rows with structure are JSON, so
//! that a later version can read what it knows of them. No row that cannot be read is passed over unless whoever reads
//! says so, and what is said of such a row never repeats its content.

use redb::{Key, ReadTransaction, ReadableTable, TableDefinition, Value, WriteTransaction};
use serde::Serialize;
use serde::de::DeserializeOwned;

use turn_ledger::changes::{BooksChanges, Recovered};
use turn_ledger::ledger::SourceChanges;
use turn_ledger::minute_usage::{ClaimedUsage, LiveDelta, MinuteUsage, StoredSource};
use turn_ledger::source::IceSource;
use turn_ledger::token::GrantId;
use turn_ledger::units::Timestamp;

/// A name → JSON, or bytes.
pub(super) const META: TableDefinition<'_, &str, &[u8]> = TableDefinition::new("meta");
/// (source, minute since 1970) → (more or fewer grants alive from there on, more or fewer unreported ones ending there).
pub(super) const MARKS: TableDefinition<'_, (&str, i64), (i64, i64)> = TableDefinition::new("marks");
/// (source, minute) → (milliseconds by time, bytes) under grants, and without.
pub(super) const FLOWS: TableDefinition<'_, (&str, i64), (u64, u64, u64, u64)> =
    TableDefinition::new("flows");
/// (id, owner) → JSON.
const CONNECTIONS: TableDefinition<'_, (&str, &str), &[u8]> = TableDefinition::new("connections");
/// Grant → JSON.
const GRANTS: TableDefinition<'_, &str, &[u8]> = TableDefinition::new("grants");
/// Grant → JSON of its expiry.
const RENEWALS: TableDefinition<'_, &str, &[u8]> = TableDefinition::new("renewals");
/// Grant → JSON of the credential that is out. Since format 2.
pub(super) const ISSUED: TableDefinition<'_, &str, &[u8]> = TableDefinition::new("issued");

const KEY_FORMAT: &str = "format";
const KEY_NOW: &str = "now";
const KEY_COUNTS: &str = "counts";
const KEY_COTURN: &str = "coturn";
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
    transaction.open_table(RENEWALS)?;
    transaction.open_table(ISSUED)?;
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
pub(super) fn read(transaction: &ReadTransaction, bad: OnBadRow<'_>) -> Result<Recovered, StoreError> {
    let mut recovered = Recovered::default();
    read_lanes(transaction, &mut recovered, bad)?;
    rows(transaction, CONNECTIONS, bad, |(id, owner), row| {
        let stored: turn_ledger::connections::StoredConnection = from_json(row)?;
        let name = stored.name();
        if (&*name.0, to_json(&name.1).ok().as_deref()) != (id, Some(owner.as_bytes())) {
            return Err("holds another connection".into());
        }
        recovered.connections.push(stored);
        Ok(())
    })?;
    rows(transaction, GRANTS, bad, |id, row| take_row(&mut recovered.grants, id, row))?;
    rows(transaction, RENEWALS, bad, |id, row| take_row(&mut recovered.renewals, id, row))?;
    rows(transaction, ISSUED, bad, |id, row| take_row(&mut recovered.issued, id, row))?;
    recovered.coturn = json_of(transaction, KEY_COTURN, bad)?.unwrap_or_default();
    recovered.alerts = json_of(transaction, KEY_ALERTS, bad)?.unwrap_or_default();
    recovered.overrides = json_of(transaction, KEY_ORDERS, bad)?.unwrap_or_default();
    recovered.now = json_of(transaction, KEY_NOW, bad)?;
    recovered.counts = json_of(transaction, KEY_COUNTS, bad)?;
    recovered.key = bytes_of(transaction, KEY_TOKEN_KEY)?.and_then(|bytes| bytes.try_into().ok());
    Ok(recovered)
}

/// Writes changes. Marks are added to what is stored, all else replaces it.
pub(super) fn write(transaction: &WriteTransaction, changes: &BooksChanges) -> Result<(), StoreError> {
    for lane in &changes.lanes {
        write_lane(transaction, lane)?;
    }
    let mut connections = transaction.open_table(CONNECTIONS)?;
    for ((id, owner), row) in &changes.table.connections {
        let owner = serde_json::to_string(owner)?;
        let key = (&**id, owner.as_str());
        match row {
            Some(row) => drop(connections.insert(key, to_json(row)?.as_slice())?),
            None => drop(connections.remove(key)?),
        }
    }
    put_or_remove(transaction, GRANTS, &changes.table.grants)?;
    put_or_remove(transaction, RENEWALS, &changes.renewals)?;
    put_or_remove(transaction, ISSUED, &changes.issued)?;
    put(transaction, KEY_COUNTS, Some(&changes.counts))?;
    put(transaction, KEY_ORDERS, changes.overrides.as_ref())?;
    put(transaction, KEY_COTURN, changes.coturn.as_ref())?;
    put(transaction, KEY_ALERTS, changes.alerts.as_ref())?;
    put(transaction, KEY_NOW, changes.now.as_ref())
}

fn read_lanes(
    transaction: &ReadTransaction,
    recovered: &mut Recovered,
    bad: OnBadRow<'_>,
) -> Result<(), StoreError> {
    rows(transaction, MARKS, bad, |(source, minute), (live, unreported)| {
        lane(recovered, source)?.marks.insert(minute, LiveDelta { live, unreported });
        Ok(())
    })?;
    rows(transaction, FLOWS, bad, |(source, minute), numbers| {
        lane(recovered, source)?.flows.insert(minute, flows_of(numbers));
        Ok(())
    })?;
    for source in IceSource::ALL {
        let previous = json_of(transaction, &previous_key(source), bad)?;
        let reading = json_of(transaction, &reading_key(source), bad)?;
        if previous.is_some() || reading.is_some() {
            let lane = recovered.lanes.entry(source).or_default();
            (lane.previous, lane.reading) = (previous, reading);
        }
    }
    Ok(())
}

fn write_lane(transaction: &WriteTransaction, lane: &SourceChanges) -> Result<(), StoreError> {
    let source = lane.source.name();
    let mut marks = transaction.open_table(MARKS)?;
    for (minute, mark) in &lane.marks {
        let key = (source, *minute);
        let stored = marks.get(key)?.map_or((0, 0), |value| value.value());
        let sum = (stored.0.saturating_add(mark.live), stored.1.saturating_add(mark.unreported));
        marks.insert(key, sum)?;
    }
    let mut flows = transaction.open_table(FLOWS)?;
    for (minute, MinuteUsage { granted, ungranted }) in &lane.flows {
        let row =
            (granted.connection_millis, granted.claimed, ungranted.connection_millis, ungranted.claimed);
        flows.insert((source, *minute), row)?;
    }
    put(transaction, &previous_key(lane.source), lane.previous.as_ref())?;
    put(transaction, &reading_key(lane.source), lane.reading.as_ref())
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

fn take_row<T: DeserializeOwned>(rows: &mut Vec<(GrantId, T)>, id: &str, row: &[u8]) -> Result<(), String> {
    let id = id.parse().map_err(|_| "is named after no grant")?;
    rows.push((id, from_json(row)?));
    Ok(())
}

fn put_or_remove<T: Serialize>(
    transaction: &WriteTransaction,
    table: TableDefinition<'_, &'static str, &'static [u8]>,
    changes: &[(GrantId, Option<T>)],
) -> Result<(), StoreError> {
    let mut table = transaction.open_table(table)?;
    for (id, row) in changes {
        let key = id.to_string();
        match row {
            Some(row) => drop(table.insert(key.as_str(), to_json(row)?.as_slice())?),
            None => drop(table.remove(key.as_str())?),
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

fn to_json(row: &impl Serialize) -> Result<Vec<u8>, serde_json::Error> {
    serde_json::to_vec(row)
}

/// What serde says of JSON that does not fit can hold a part of it: not said.
fn from_json<T: DeserializeOwned>(row: &[u8]) -> Result<T, String> {
    serde_json::from_slice(row).map_err(|error| {
        let what = if error.is_data() { "is not of the form that it should have" } else { "is not JSON" };
        format!("{what} (column {})", error.column())
    })
}

fn previous_key(source: IceSource) -> String {
    format!("previous/{source}")
}

fn reading_key(source: IceSource) -> String {
    format!("reading/{source}")
}

fn flows_of((granted_millis, granted, ungranted_millis, ungranted): (u64, u64, u64, u64)) -> MinuteUsage {
    MinuteUsage {
        granted: ClaimedUsage { connection_millis: granted_millis, claimed: granted },
        ungranted: ClaimedUsage { connection_millis: ungranted_millis, claimed: ungranted },
    }
}

/// The lane of that name. One that this version does not know is no reason to forget what it used.
fn lane<'a>(recovered: &'a mut Recovered, source: &str) -> Result<&'a mut StoredSource, String> {
    let source = IceSource::from_name(source).ok_or("is of an ICE source that this version does not know")?;
    Ok(recovered.lanes.entry(source).or_default())
}
