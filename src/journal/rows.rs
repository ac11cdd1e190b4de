//! The rows of a ledger: their tables, their keys, and the conversion between rows and values. The bytes of a row are the same in each
//! store. Structured rows are in the form of postcard: the fields in their order, numbers as short as their value. What is stored once
//! is JSON. A row that cannot be read is an error unless the reader asks to continue. The error never contains the row's content, which
//! may be secret.

// Paths from this file, because the simulation of the ledger includes it too.
#[path = "rows/error.rs"]
mod error;
#[path = "rows/sources.rs"]
mod sources;

use std::collections::BTreeMap;

use redb::{Key, TableDefinition, Value};
use serde::Serialize;
use serde::de::DeserializeOwned;

use turn_ledger::{
    Connection, Day, GrantId, IceSource, LiveDelta, Minute, Name, Rows, SessionId, SpenderKey, SpenderKind,
};

use super::changes::{Changes, Contents};
pub use error::{BadRow, StoreError};
use sources::{UNKNOWN_SOURCE, read_sources, write_source};

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

/// Does the same with every table except the marks and what has a name. Each has a type of its own, so no list can hold them.
macro_rules! each_table {
    (|$table:ident| $call:expr) => {
        $crate::journal::rows::each_table!(|$table| $call, FLOWS DAYS OPEN_CONNECTIONS GRANTS SESSIONS SPENDERS)
    };
    (|$table:ident| $call:expr, $($name:ident)*) => {
        $({ let $table = $crate::journal::rows::$name; $call; })*
    };
}
pub(super) use each_table;

pub(super) const KEY_FORMAT: &str = "format";
/// What is written with each batch.
pub(super) const KEY_HEAD: &str = "head";
const KEY_ALERTS: &str = "alerts";
/// Only a copy of a ledger that no process has opened has it, and a database that has lost writes.
pub(super) const KEY_COPIED: &str = "copy";
const KEY_BLOCKED: &str = "blocked";
pub(super) const KEY_TOKEN_KEY: &str = "token-key";
/// What operators did.
const KEY_ACTIONS: &str = "operator-actions";
/// Holds the secrets of TURN keys.
const KEY_ROTATION: &str = "key-rotation";

/// Rows that a copy holds at a time.
const COPIED_TOGETHER: usize = 1_024;

/// Called with each row that cannot be read. An error ends the reading.
pub(super) type OnBadRow<'a> = &'a mut dyn FnMut(BadRow) -> Result<(), BadRow>;

/// Stored rows. Where they come in the order of their keys, maps of them are built fastest.
pub(super) trait ReadRows {
    /// Passes each row of a table to `take`.
    fn each<K: Key + 'static, V: Value + 'static>(
        &self,
        table: TableDefinition<'_, K, V>,
        take: impl FnMut(K::SelfType<'_>, V::SelfType<'_>) -> Result<(), StoreError>,
    ) -> Result<(), StoreError>;
}

/// Where a batch is written.
pub(super) trait WriteRows {
    /// Replaces the rows with these keys by these bytes. `None` removes a row.
    fn replace<'k, K: Key + 'static, V: Value + 'static>(
        &mut self,
        table: TableDefinition<'_, K, V>,
        rows: impl Iterator<Item = Result<(K::SelfType<'k>, Option<Vec<u8>>), StoreError>>,
    ) -> Result<(), StoreError>;

    /// Adds differences to the marks of a source.
    fn add_marks<'a>(
        &mut self,
        source: IceSource,
        marks: impl Iterator<Item = (&'a Minute, &'a LiveDelta)>,
    ) -> Result<(), StoreError>;
}

/// Reads everything that is stored.
pub(super) fn read(from: &impl ReadRows, bad: OnBadRow<'_>) -> Result<Contents, StoreError> {
    let mut contents = Contents::default();
    let meta = Meta::read(from)?;
    let stored = &mut contents.books;
    read_sources(from, &meta, stored, bad)?;
    stored.connections = values(from, OPEN_CONNECTIONS, bad, |(id, owner), row| {
        let grant = match owner {
            [] => None,
            bytes => Some(GrantId::new((*bytes).try_into().map_err(|_| "names no grant")?)),
        };
        let name = Name::new(id, grant);
        let mut connection: Box<Connection> = from_row(row)?;
        connection.name = name.clone();
        Ok((name, connection))
    })?;
    stored.grants = values(from, GRANTS, bad, |id, row| {
        let id = GrantId::new(**id);
        Ok((id, from_row(row).map_err(|what| format!("(grant {id}) {what}"))?))
    })?;
    stored.sessions = values(from, SESSIONS, bad, |id, row| {
        let id = SessionId::new(*id).ok_or("does not have the number of a session")?;
        Ok((id, from_row(row)?))
    })?;
    stored.spenders = values(from, SPENDERS, bad, |(kind, key, day), row| {
        let kind = kind.parse::<SpenderKind>().map_err(|_| "is of a kind that this version does not know")?;
        let key = match *key {
            "" => None,
            key => Some(SpenderKey::parse(kind, key).ok_or("does not have a key of its kind")?),
        };
        Ok(((kind, key, Day::new(*day)), from_row(row)?))
    })?;
    stored.head = meta.json(KEY_HEAD, bad)?;
    stored.is_copy = meta.has(KEY_COPIED);
    stored.blocked = meta.json(KEY_BLOCKED, bad)?.unwrap_or_default();
    stored.key = meta.bytes(KEY_TOKEN_KEY).and_then(|bytes| bytes.try_into().ok());
    contents.alerts = meta.json(KEY_ALERTS, bad)?.unwrap_or_default();
    contents.actions = meta.json(KEY_ACTIONS, bad)?.unwrap_or_default();
    contents.rotation = meta.json(KEY_ROTATION, bad)?.unwrap_or_default();
    Ok(contents)
}

/// Writes a batch. Mark rows are differences and are added to the stored ones. All other rows replace the stored ones.
pub(super) fn write(to: &mut impl WriteRows, changes: &Changes) -> Result<(), StoreError> {
    let Changes { books: batch, alerts, rotation, actions } = changes;
    put(to, KEY_ALERTS, alerts.as_ref())?;
    put(to, KEY_ACTIONS, actions.as_ref())?;
    put(to, KEY_ROTATION, rotation.as_ref())?;
    for (source, rows) in &batch.sources {
        write_source(to, *source, rows)?;
    }
    write_rows(to, OPEN_CONNECTIONS, &batch.connections, |name| (name.id(), name.grant_bytes()))?;
    write_rows(to, GRANTS, &batch.grants, GrantId::as_bytes)?;
    write_rows(to, SESSIONS, &batch.sessions, |id| id.get())?;
    let names = batch.spenders.keys().map(|(_, key, _)| key.as_ref().map(SpenderKey::to_string));
    let names: Vec<_> = names.map(Option::unwrap_or_default).collect();
    let spenders = names.iter().zip(&batch.spenders).map(|(name, ((kind, _, day), row))| {
        let row = row.as_ref().map(to_row).transpose()?;
        Ok(((kind.name(), name.as_str(), day.number()), row))
    });
    to.replace(SPENDERS, spenders)?;
    put(to, KEY_BLOCKED, batch.blocked.as_ref())?;
    to.replace(META, std::iter::once(Ok((KEY_COPIED, None))))?;
    put(to, KEY_HEAD, Some(&batch.head))
}

/// Copies every table into a new ledger, the key of grant tokens included.
pub(super) fn copy(from: &impl ReadRows, to: &mut impl WriteRows) -> Result<(), StoreError> {
    each_table!(|table| copy_table(from, to, table)?);
    from.each(META, |key, row| {
        // Each store states its own format.
        let row = (key != KEY_FORMAT).then(|| Ok((key, Some(row.to_vec()))));
        to.replace(META, row.into_iter())
    })?;
    from.each(MARKS, |(source, minute), (live, per_minute)| {
        let unknown =
            |_| BadRow { table: "marks".into(), key: format!("{source:?}"), what: UNKNOWN_SOURCE.into() };
        let source = source.parse().map_err(unknown)?;
        to.add_marks(source, std::iter::once((&Minute::new(minute), &LiveDelta { live, per_minute })))
    })
}

fn copy_table<K: Key + 'static, V: Value + 'static>(
    from: &impl ReadRows,
    to: &mut impl WriteRows,
    table: TableDefinition<'_, K, V>,
) -> Result<(), StoreError> {
    let mut copy = |rows: &mut Vec<(Vec<u8>, Vec<u8>)>| {
        let rows = std::mem::take(rows);
        to.replace(table, rows.iter().map(|(key, row)| Ok((K::from_bytes(key), Some(row.clone())))))
    };
    let mut rows = vec![];
    from.each(table, |key, row| {
        rows.push((bytes_of::<K>(&key), bytes_of::<V>(&row)));
        if rows.len() < COPIED_TOGETHER { Ok(()) } else { copy(&mut rows) }
    })?;
    copy(&mut rows)
}

/// A key or a row as it is stored.
pub(super) fn bytes_of<V: Value>(value: &V::SelfType<'_>) -> Vec<u8> {
    V::as_bytes(value).as_ref().to_vec()
}

/// Writes rows in their binary form. `key`: the key of a row in the table.
fn write_rows<'a, K: Key + 'static, Id, R: Serialize>(
    to: &mut impl WriteRows,
    table: TableDefinition<'_, K, &'static [u8]>,
    rows: &'a Rows<Id, R>,
    key: impl Fn(&'a Id) -> K::SelfType<'a>,
) -> Result<(), StoreError> {
    to.replace(table, rows.iter().map(|(id, row)| Ok((key(id), row.as_ref().map(to_row).transpose()?))))
}

/// The rows of a table as values. They come in the order of their keys, so the map is built at once instead of searched for each row.
fn values<K: Key + 'static, V: Value + 'static, Id: Ord, R>(
    from: &impl ReadRows,
    table: TableDefinition<'_, K, V>,
    bad: OnBadRow<'_>,
    mut read: impl FnMut(&K::SelfType<'_>, V::SelfType<'_>) -> Result<(Id, R), String>,
) -> Result<BTreeMap<Id, R>, StoreError> {
    let mut found = vec![];
    rows(from, table, bad, |key, value| {
        found.push(read(key, value)?);
        Ok(())
    })?;
    Ok(found.into_iter().collect())
}

/// Passes each row of a table to `take`, which returns what is wrong with it.
fn rows<K: Key + 'static, V: Value + 'static>(
    from: &impl ReadRows,
    table: TableDefinition<'_, K, V>,
    bad: OnBadRow<'_>,
    mut take: impl FnMut(&K::SelfType<'_>, V::SelfType<'_>) -> Result<(), String>,
) -> Result<(), StoreError> {
    let name = redb::TableHandle::name(&table).to_owned();
    from.each(table, |key, value| {
        let read = take(&key, value);
        read.or_else(|what| bad(BadRow { table: name.clone(), key: format!("{key:?}"), what }))
            .map_err(StoreError::from)
    })
}

/// Writes a value under this name. `None` leaves the stored value.
fn put(to: &mut impl WriteRows, key: &str, value: Option<&impl Serialize>) -> Result<(), StoreError> {
    let row = value.map(serde_json::to_vec).transpose()?;
    to.replace(META, row.into_iter().map(|row| Ok((key, Some(row)))))
}

/// The values that have a name.
pub(super) struct Meta(BTreeMap<String, Vec<u8>>);

impl Meta {
    pub(super) fn read(from: &impl ReadRows) -> Result<Self, StoreError> {
        let mut found = BTreeMap::new();
        from.each(META, |key, value| {
            found.insert(key.to_owned(), value.to_vec());
            Ok(())
        })?;
        Ok(Self(found))
    }

    fn has(&self, key: &str) -> bool {
        self.0.contains_key(key)
    }

    pub(super) fn bytes(&self, key: &str) -> Option<&[u8]> {
        self.0.get(key).map(Vec::as_slice)
    }

    pub(super) fn json<T: DeserializeOwned>(
        &self,
        key: &str,
        bad: OnBadRow<'_>,
    ) -> Result<Option<T>, StoreError> {
        let Some(bytes) = self.bytes(key) else { return Ok(None) };
        match serde_json::from_slice(bytes) {
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
