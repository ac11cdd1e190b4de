//! The rows of a ledger: their tables, their keys, and the conversion between rows and values. The bytes of a key and of a row are the
//! same in each store. Both are in the form of postcard: the fields in their order, numbers as short as their value. Minutes and days in
//! keys have eight bytes, in their order ([`ordered`]). What is stored once has a name as its key, and is JSON or has a form of its own. A
//! row that cannot be read is an error unless the reader asks to continue. The error never contains the row's content, which may be secret.

mod error;
pub mod keys;
mod migration;
mod pruning;
mod sources;

use std::collections::BTreeMap;

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use turn_budget::{CountOwner, Day, GrantId, Rows, SpenderKind};
use turn_ledger::{Connection, Name, Owner, SessionId, SpenderKey};

use crate::changes::{Changes, Contents};
pub use error::{BadRow, StoreError};
use keys::read_keys;
pub use migration::{FORMAT_OLDEST, Migrated, is_readable};
pub use pruning::Pruned;
use sources::{read_sources, slot_key, write_source};

/// The format that this version reads and writes.
pub const FORMAT: i32 = 28;

/// A table of keys and rows.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Table {
    /// Its name in a file.
    pub name: &'static str,
    /// Its number in a database.
    pub kind: i16,
}

/// Name → JSON or bytes.
pub const META: Table = Table { name: "meta", kind: 0 };
/// (owner of counts, minute since 1970) → what was promised and relayed in it.
pub const MINUTES: Table = Table { name: "minutes", kind: 1 };
/// (owner of counts, day since 1970) → its count.
pub const DAYS: Table = Table { name: "days", kind: 2 };
/// (id, owner) → connection.
pub const OPEN_CONNECTIONS: Table = Table { name: "open_connections", kind: 3 };
/// Id → grant.
pub const GRANTS: Table = Table { name: "grants", kind: 4 };
/// (owner of counts, number) → session of a coturn.
pub const SESSIONS: Table = Table { name: "sessions", kind: 5 };
/// (first day of the period since 1970, kind, key) → its sums of what has left the table of grants. The rest of a kind has an
/// empty key.
pub const SPENDERS: Table = Table { name: "spenders", kind: 6 };
/// (kind, key) → until when this spender is blocked.
pub const BLOCKS: Table = Table { name: "blocks", kind: 7 };

/// All tables.
pub const TABLES: [Table; 8] = [META, MINUTES, DAYS, OPEN_CONNECTIONS, GRANTS, SESSIONS, SPENDERS, BLOCKS];

/// The format of a file.
pub const KEY_FORMAT: &str = "format";
/// What is written with each batch.
pub const KEY_HEAD: &str = "head";
const KEY_ALERTS: &str = "alerts";
/// The mark of a copy, until a process writes to it, and of a database that has lost writes.
pub const KEY_COPIED: &str = "copy";
/// The ledger was copied to another place, and is in use there.
pub const KEY_MOVED: &str = "moved";
/// The keys of grant tokens.
pub const KEY_TOKEN_KEY: &str = "token-key";

/// The most rows that are copied at a time.
const COPIED_TOGETHER: usize = 1_024;

/// Called with each row that cannot be read. An error ends the reading.
pub type OnBadRow<'a> = &'a mut dyn FnMut(BadRow) -> Result<(), BadRow>;

/// Called with the key and the bytes of each row.
pub type TakeRow<'a> = &'a mut dyn FnMut(&[u8], &[u8]) -> Result<(), StoreError>;
/// Keys with the bytes of their rows. `None` removes a row.
pub type Replaced<'a> = &'a mut dyn Iterator<Item = Result<Row, StoreError>>;
/// See [`Replaced`].
pub type Row = (Vec<u8>, Option<Vec<u8>>);

/// Stored rows.
pub trait ReadRows {
    /// Passes each row of a table to `take`, in the order of their keys.
    fn each(&self, table: Table, take: TakeRow<'_>) -> Result<(), StoreError>;
}

/// Where a batch is written.
pub trait WriteRows {
    /// Replaces the rows with these keys.
    fn replace(&mut self, table: Table, rows: Replaced<'_>) -> Result<(), StoreError>;

    /// Adds rows at the end of a table, in the order of their keys.
    fn append(&mut self, table: Table, rows: Replaced<'_>) -> Result<(), StoreError> {
        self.replace(table, rows)
    }
}

/// Reads everything that is stored.
pub fn read<A: Default + DeserializeOwned>(
    from: &impl ReadRows,
    bad: OnBadRow<'_>,
) -> Result<Contents<A>, StoreError> {
    let mut contents = Contents::default();
    let meta = Meta::read(from)?;
    let stored = &mut contents.books;
    read_sources(from, &meta, stored, bad)?;
    stored.connections = values(from, OPEN_CONNECTIONS, bad, |key, row| {
        let (id, owner) = from_key::<(&str, Owner)>(key)?;
        let name = Name::new(id, owner);
        let mut connection: Box<Connection> = from_row(row)?;
        connection.name = name.clone();
        Ok((name, connection))
    })?;
    rows(from, GRANTS, bad, |key, row| {
        let id = GrantId::new(from_key(key)?);
        stored.grants.insert(id, from_row(row).map_err(|what| format!("(grant {id}) {what}"))?);
        Ok(())
    })?;
    stored.sessions = values(from, SESSIONS, bad, |key, row| {
        let (relay, number) = from_key::<(CountOwner, u64)>(key)?;
        let id = SessionId::new(number).ok_or("does not have the number of a session")?;
        Ok(((relay, id), from_row(row)?))
    })?;
    stored.spenders = values(from, SPENDERS, bad, |key, row| {
        let (day, kind, key) = from_key::<([u8; 8], &str, &str)>(key)?;
        let kind = spender_kind(kind)?;
        let key = if key.is_empty() { None } else { Some(spender_key(kind, key)?) };
        Ok(((Day::new(number(day)), kind, key), from_row(row)?))
    })?;
    stored.blocks = values(from, BLOCKS, bad, |key, row| {
        let (kind, key) = from_key::<(&str, &str)>(key)?;
        Ok((spender_key(spender_kind(kind)?, key)?, from_row(row)?))
    })?;
    stored.head = meta.json(KEY_HEAD, bad)?;
    let mark = meta.bytes(KEY_COPIED);
    stored.is_copy = mark.is_some();
    stored.shares_key = mark.is_some_and(<[u8]>::is_empty);
    if let Some(row) = meta.bytes(KEY_TOKEN_KEY) {
        stored.keys = read_keys(row);
        if stored.keys.is_none() {
            bad(BadRow::new(META, KEY_TOKEN_KEY.as_bytes(), "does not have the length of keys".into()))?;
        }
    }
    contents.alerts = meta.json(KEY_ALERTS, bad)?.unwrap_or_default();
    Ok(contents)
}

/// Writes a batch, removes old minutes, and makes a copy a ledger of its own. Returns up to where minutes are removed, once the write is
/// committed.
pub fn write<A: Serialize>(
    to: &mut impl WriteRows,
    changes: &Changes<A>,
    pruned: &Pruned,
) -> Result<Pruned, StoreError> {
    let Changes { books: batch, alerts } = changes;
    put(to, KEY_ALERTS, alerts.as_ref())?;
    for (owner, rows) in &batch.sources {
        write_source(to, *owner, rows)?;
    }
    write_rows(to, OPEN_CONNECTIONS, &batch.connections, |name| to_row(&(name.id(), name.owner())))?;
    write_rows(to, GRANTS, &batch.grants, |id| to_row(id.as_bytes()))?;
    write_rows(to, SESSIONS, &batch.sessions, |(relay, id)| to_row(&(relay, id.get())))?;
    write_rows(to, SPENDERS, &batch.spenders, |(day, kind, key)| {
        let key = key.as_ref().map(SpenderKey::to_string).unwrap_or_default();
        to_row(&(ordered(day.number()), kind.name(), key))
    })?;
    write_rows(to, BLOCKS, &batch.blocks, block_key)?;
    replace_named(to, KEY_COPIED, None)?;
    put(to, KEY_HEAD, Some(&batch.head))?;
    pruned.remove(to, batch.sources.keys(), batch.head.now)
}

fn block_key(blocked: &SpenderKey) -> Result<Vec<u8>, postcard::Error> {
    to_row(&(blocked.kind().name(), blocked.to_string()))
}

/// Whether the ledger was copied to another place, so that no broker may begin with this one.
pub fn is_moved(from: &impl ReadRows) -> Result<bool, StoreError> {
    Ok(Meta::read(from)?.bytes(KEY_MOVED).is_some())
}

/// Copies every table into a new ledger, the key of grant tokens included.
pub fn copy<W: WriteRows>(from: &impl ReadRows, to: &mut W) -> Result<(), StoreError> {
    for table in TABLES {
        // The new ledger has its format already. Its other tables are empty.
        let add = if table == META { W::replace } else { W::append };
        let mut rows: Vec<Row> = vec![];
        from.each(table, &mut |key, row| {
            // Each store states its own format, and only the original is marked as moved.
            if table != META || ![KEY_FORMAT, KEY_MOVED].map(str::as_bytes).contains(&key) {
                rows.push((key.to_vec(), Some(row.to_vec())));
            }
            if rows.len() < COPIED_TOGETHER { Ok(()) } else { add(to, table, &mut rows.drain(..).map(Ok)) }
        })?;
        add(to, table, &mut rows.into_iter().map(Ok))?;
    }
    Ok(())
}

/// Writes rows in their binary form. `key`: the bytes of a key.
fn write_rows<'a, Id, R: Serialize>(
    to: &mut impl WriteRows,
    table: Table,
    rows: &'a Rows<Id, R>,
    key: impl Fn(&'a Id) -> Result<Vec<u8>, postcard::Error>,
) -> Result<(), StoreError> {
    to.replace(table, &mut rows.iter().map(|(id, row)| Ok((key(id)?, row.as_ref().map(to_row).transpose()?))))
}

/// The rows of a table as values. They are almost sorted, so building the map at once is faster than inserting each row.
fn values<Id: Ord, R>(
    from: &impl ReadRows,
    table: Table,
    bad: OnBadRow<'_>,
    mut read: impl FnMut(&[u8], &[u8]) -> Result<(Id, R), String>,
) -> Result<BTreeMap<Id, R>, StoreError> {
    let mut found = vec![];
    rows(from, table, bad, |key, row| {
        found.push(read(key, row)?);
        Ok(())
    })?;
    Ok(found.into_iter().collect())
}

/// Passes each row of a table to `take`. If `take` returns what is wrong with the row, `bad` decides whether to continue.
fn rows(
    from: &impl ReadRows,
    table: Table,
    bad: OnBadRow<'_>,
    mut take: impl FnMut(&[u8], &[u8]) -> Result<(), String>,
) -> Result<(), StoreError> {
    from.each(table, &mut |key, row| {
        take(key, row).or_else(|what| bad(BadRow::new(table, key, what))).map_err(StoreError::from)
    })
}

/// Writes a value under this name. `None` leaves the stored value.
fn put(to: &mut impl WriteRows, key: &str, value: Option<&impl Serialize>) -> Result<(), StoreError> {
    let Some(value) = value else { return Ok(()) };
    replace_named(to, key, Some(serde_json::to_vec(value)?))
}

/// Replaces the value with this name.
pub fn replace_named(to: &mut impl WriteRows, key: &str, value: Option<Vec<u8>>) -> Result<(), StoreError> {
    to.replace(META, &mut std::iter::once(Ok((key.into(), value))))
}

/// The values that have a name.
pub struct Meta(BTreeMap<String, Vec<u8>>);

impl Meta {
    /// Reads all values that have a name.
    pub fn read(from: &impl ReadRows) -> Result<Self, StoreError> {
        let mut found = BTreeMap::new();
        from.each(META, &mut |key, value| {
            let key = std::str::from_utf8(key).map_err(|_| BadRow::new(META, key, BROKEN_KEY.into()))?;
            found.insert(key.to_owned(), value.to_vec());
            Ok(())
        })?;
        Ok(Self(found))
    }

    /// The bytes of a value; `None` if there is none.
    pub fn bytes(&self, key: &str) -> Option<&[u8]> {
        self.0.get(key).map(Vec::as_slice)
    }

    /// A value that is JSON; `None` if there is none, or if it is bad and `bad` continues.
    pub fn json<T: DeserializeOwned>(&self, key: &str, bad: OnBadRow<'_>) -> Result<Option<T>, StoreError> {
        let Some(bytes) = self.bytes(key) else { return Ok(None) };
        match serde_json::from_slice(bytes) {
            Ok(value) => Ok(Some(value)),
            Err(error) => {
                // serde's own message is left out: it can contain a part of the row.
                let form = if error.is_data() { "does not have the expected form" } else { "is not JSON" };
                let what = format!("{form} (column {})", error.column());
                bad(BadRow::new(META, key.as_bytes(), what))?;
                Ok(None)
            }
        }
    }
}

/// A key or a row in its binary form.
pub fn to_row(row: &impl Serialize) -> Result<Vec<u8>, postcard::Error> {
    // Longer than nearly all rows.
    postcard::to_extend(row, Vec::with_capacity(128))
}

/// What is wrong with a row whose key cannot be read.
const BROKEN_KEY: &str = "has a broken key";

/// A key as values.
fn from_key<'a, T: Deserialize<'a>>(key: &'a [u8]) -> Result<T, String> {
    from_row(key).map_err(|_| BROKEN_KEY.into())
}

fn spender_kind(text: &str) -> Result<SpenderKind, &'static str> {
    text.parse().map_err(|_| "is of a kind that this version does not know")
}

fn spender_key(kind: SpenderKind, text: &str) -> Result<SpenderKey, &'static str> {
    SpenderKey::parse(kind, text).ok_or("does not have a key of its kind")
}

/// A key or a row as values. The error never contains a part of the row.
pub fn from_row<'a, T: Deserialize<'a>>(row: &'a [u8]) -> Result<T, String> {
    match postcard::take_from_bytes(row) {
        Ok((value, [])) => Ok(value),
        _ => Err("does not have the expected form".into()),
    }
}

/// A number of a key, as bytes in the order of the numbers. So the minutes of a source are in order, and next to each other.
pub fn ordered(number: i64) -> [u8; 8] {
    (number ^ i64::MIN).to_be_bytes()
}

/// The number whose bytes [`ordered`] has returned.
fn number(ordered: [u8; 8]) -> i64 {
    i64::from_be_bytes(ordered) ^ i64::MIN
}
