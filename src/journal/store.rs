//! The tables on disk (redb). A file is either a ledger of a format that this version knows, or it is refused by name:
//! nothing is ever started from zero over a file that is there. Rows with structure are JSON, so that a later version
//! can read what it knows of them.

use std::fs::File;
use std::io;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use redb::{Database, DatabaseError, ReadableDatabase, ReadableTable, StorageError, TableDefinition};
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::account::stored::{BooksChanges, Recovered};
use crate::budget::flow::{Flow, Flows, Mark, StoredLane};
use crate::budget::grant::GrantId;
use crate::ice::IceSource;
use crate::random::{self, NoRandomness};

/// The format that this version writes and reads.
pub const FORMAT: u32 = 2;
/// The file's name in the state directory.
pub const FILE_NAME: &str = "ledger.redb";

const META: TableDefinition<'_, &str, &[u8]> = TableDefinition::new("meta");
/// (source, minute since 1970) → (more or fewer grants alive from there on, more or fewer silent ones ending there).
const MARKS: TableDefinition<'_, (&str, i64), (i64, i64)> = TableDefinition::new("marks");
/// (source, minute) → (milliseconds by time, bytes) under grants, and without.
const FLOWS: TableDefinition<'_, (&str, i64), (u64, u64, u64, u64)> = TableDefinition::new("flows");
/// (id, owner) → JSON.
const CONNECTIONS: TableDefinition<'_, (&str, &str), &[u8]> = TableDefinition::new("connections");
/// Grant → JSON.
const GRANTS: TableDefinition<'_, &str, &[u8]> = TableDefinition::new("grants");
/// Grant → JSON of its expiry.
const RENEWALS: TableDefinition<'_, &str, &[u8]> = TableDefinition::new("renewals");

/// Grant → JSON of the credential that is out.
const ISSUED: TableDefinition<'_, &str, &[u8]> = TableDefinition::new("issued");

const KEY_FORMAT: &str = "format";
const KEY_NOW: &str = "now";
const KEY_COUNTS: &str = "counts";
const KEY_COTURN: &str = "coturn";
const KEY_ALERTS: &str = "alerts";
const KEY_ORDERS: &str = "orders";
const KEY_TOKEN_KEY: &str = "token-key";

/// Why a ledger cannot be used. Every text names the file and the way out.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// The directory is not there and cannot be made, or not writable.
    #[error("STATE_DIR: {path} cannot be used: {error}. Make it a directory that this user may write to.")]
    Directory {
        /// Which.
        path: PathBuf,
        /// What the system said.
        error: io::Error,
    },
    /// Another process has it open.
    #[error(
        "{path} is in use by another process: one ledger, one process. Stop the other one, or use another STATE_DIR."
    )]
    InUse {
        /// Which.
        path: PathBuf,
    },
    /// Not a ledger, or one that is broken.
    #[error(
        "{path} is no ledger that can be read ({what}). Restore it from a backup, or move it away to start with an empty ledger."
    )]
    Damaged {
        /// Which.
        path: PathBuf,
        /// What is wrong.
        what: String,
    },
    /// Written by a later version.
    #[error("{path} has format {found}; this version reads up to {FORMAT}. Run the version that wrote it.")]
    Newer {
        /// Which.
        path: PathBuf,
        /// Its format.
        found: u32,
    },
    /// No key for tokens.
    #[error(transparent)]
    Random(#[from] NoRandomness),
    /// No thread for the writer.
    #[error("no thread for the ledger")]
    Thread(#[source] io::Error),
}

/// A write that failed; nothing of it is on disk.
#[derive(Debug, thiserror::Error)]
pub enum WriteError {
    /// The store said no.
    #[error("{0}")]
    Store(#[from] redb::Error),
    /// A row has no JSON form.
    #[error("a row has no form on disk")]
    Row(#[from] serde_json::Error),
}

/// An open ledger file.
#[derive(Debug)]
pub struct Store {
    database: Database,
    path: PathBuf,
}

impl Store {
    /// Opens the ledger of a directory, or makes one.
    pub fn open(directory: &Path) -> Result<Self, OpenError> {
        let unusable = |error| OpenError::Directory { path: directory.to_owned(), error };
        std::fs::create_dir_all(directory).map_err(unusable)?;
        let path = directory.join(FILE_NAME);
        let is_new = !path.try_exists().map_err(unusable)?;
        if !is_new && std::fs::metadata(&path).map_err(unusable)?.len() == 0 {
            return Err(OpenError::Damaged { path, what: "it is empty".into() });
        }
        let database = if is_new {
            make_file(&path).map_err(unusable).and_then(|file| {
                Database::builder().create_file(file).map_err(|error| cannot_open(error, directory, &path))
            })?
        } else {
            Database::open(&path).map_err(|error| cannot_open(error, directory, &path))?
        };
        let store = Self { database, path };
        if is_new {
            store.make().map_err(|error| store.damaged(&error))?;
        } else {
            store.check()?;
        }
        Ok(store)
    }

    /// Opens the ledger again after a failed write.
    pub fn reopen(directory: &Path) -> Result<Self, WriteError> {
        let path = directory.join(FILE_NAME);
        let database = Database::open(&path).map_err(redb::Error::from)?;
        Ok(Self { database, path })
    }

    /// Everything that is stored.
    pub fn load(&self) -> Result<Recovered, OpenError> {
        let mut recovered = self.read().map_err(|error| self.damaged(&error))?;
        if recovered.key.is_none() {
            let key = random::bytes()?;
            self.put_meta(KEY_TOKEN_KEY, &key).map_err(|error| self.damaged(&error))?;
            recovered.key = Some(key);
        }
        Ok(recovered)
    }

    /// Writes changes, all or none, and syncs.
    pub fn write<'a>(&self, changes: impl Iterator<Item = &'a BooksChanges>) -> Result<(), WriteError> {
        let transaction = self.database.begin_write().map_err(redb::Error::from)?;
        for changes in changes {
            write_lanes(&transaction, changes)?;
            write_table(&transaction, changes)?;
            write_meta(&transaction, changes)?;
        }
        transaction.commit().map_err(redb::Error::from)?;
        Ok(())
    }

    /// Makes every table, so that a ledger without one is a damaged one.
    fn make(&self) -> Result<(), WriteError> {
        let transaction = self.database.begin_write().map_err(redb::Error::from)?;
        {
            let mut meta = transaction.open_table(META).map_err(redb::Error::from)?;
            meta.insert(KEY_FORMAT, FORMAT.to_be_bytes().as_slice()).map_err(redb::Error::from)?;
            transaction.open_table(MARKS).map_err(redb::Error::from)?;
            transaction.open_table(FLOWS).map_err(redb::Error::from)?;
            transaction.open_table(CONNECTIONS).map_err(redb::Error::from)?;
            transaction.open_table(GRANTS).map_err(redb::Error::from)?;
            transaction.open_table(RENEWALS).map_err(redb::Error::from)?;
            transaction.open_table(ISSUED).map_err(redb::Error::from)?;
        }
        transaction.commit().map_err(redb::Error::from)?;
        Ok(())
    }

    fn check(&self) -> Result<(), OpenError> {
        let format = self.meta(KEY_FORMAT).map_err(|error| self.damaged(&error))?;
        let found = format.and_then(|bytes| bytes.try_into().ok()).map(u32::from_be_bytes);
        match found {
            Some(FORMAT) => Ok(()),
            // Format 2 adds a table and nothing else.
            Some(1) => self.make().map_err(|error| self.damaged(&error)),
            Some(newer) if newer > FORMAT => Err(OpenError::Newer { path: self.path.clone(), found: newer }),
            _ => Err(OpenError::Damaged { path: self.path.clone(), what: "it says no format".into() }),
        }
    }

    fn read(&self) -> Result<Recovered, WriteError> {
        let transaction = self.database.begin_read().map_err(redb::Error::from)?;
        let mut recovered = Recovered::default();
        for row in
            transaction.open_table(MARKS).map_err(redb::Error::from)?.iter().map_err(redb::Error::from)?
        {
            let (key, value) = row.map_err(redb::Error::from)?;
            let ((source, minute), (live, silent)) = (key.value(), value.value());
            lane(&mut recovered, source)?.marks.insert(minute, Mark { live, silent });
        }
        for row in
            transaction.open_table(FLOWS).map_err(redb::Error::from)?.iter().map_err(redb::Error::from)?
        {
            let (key, value) = row.map_err(redb::Error::from)?;
            let ((source, minute), numbers) = (key.value(), value.value());
            lane(&mut recovered, source)?.flows.insert(minute, flows_of(numbers));
        }
        for row in transaction
            .open_table(CONNECTIONS)
            .map_err(redb::Error::from)?
            .iter()
            .map_err(redb::Error::from)?
        {
            recovered.connections.push(serde_json::from_slice(row.map_err(redb::Error::from)?.1.value())?);
        }
        for row in
            transaction.open_table(GRANTS).map_err(redb::Error::from)?.iter().map_err(redb::Error::from)?
        {
            let (key, value) = row.map_err(redb::Error::from)?;
            recovered.grants.push((grant_id(key.value())?, serde_json::from_slice(value.value())?));
        }
        for row in
            transaction.open_table(RENEWALS).map_err(redb::Error::from)?.iter().map_err(redb::Error::from)?
        {
            let (key, value) = row.map_err(redb::Error::from)?;
            recovered.renewals.push((grant_id(key.value())?, serde_json::from_slice(value.value())?));
        }
        for row in
            transaction.open_table(ISSUED).map_err(redb::Error::from)?.iter().map_err(redb::Error::from)?
        {
            let (key, value) = row.map_err(redb::Error::from)?;
            recovered.issued.push((grant_id(key.value())?, serde_json::from_slice(value.value())?));
        }
        recovered.coturn = self.json_meta(KEY_COTURN)?.unwrap_or_default();
        recovered.alerts = self.json_meta(KEY_ALERTS)?.unwrap_or_default();
        recovered.orders = self.json_meta(KEY_ORDERS)?.unwrap_or_default();
        recovered.now = self.json_meta(KEY_NOW)?;
        recovered.counts = self.json_meta(KEY_COUNTS)?;
        recovered.key = self.meta(KEY_TOKEN_KEY)?.and_then(|bytes| bytes.try_into().ok());
        for source in IceSource::ALL {
            let previous = self.json_meta(&previous_key(source))?;
            let reading = self.json_meta(&reading_key(source))?;
            if previous.is_some() || reading.is_some() {
                let lane = recovered.lanes.entry(source).or_default();
                (lane.previous, lane.reading) = (previous, reading);
            }
        }
        Ok(recovered)
    }

    fn meta(&self, key: &str) -> Result<Option<Vec<u8>>, redb::Error> {
        let table = self.database.begin_read()?.open_table(META)?;
        Ok(table.get(key)?.map(|value| value.value().to_vec()))
    }

    fn json_meta<T: DeserializeOwned>(&self, key: &str) -> Result<Option<T>, WriteError> {
        Ok(self.meta(key)?.map(|bytes| serde_json::from_slice(&bytes)).transpose()?)
    }

    fn put_meta(&self, key: &str, value: &[u8]) -> Result<(), redb::Error> {
        let transaction = self.database.begin_write()?;
        transaction.open_table(META)?.insert(key, value)?;
        transaction.commit()?;
        Ok(())
    }

    fn damaged(&self, what: &dyn std::fmt::Display) -> OpenError {
        OpenError::Damaged { path: self.path.clone(), what: what.to_string() }
    }
}

fn write_lanes(transaction: &redb::WriteTransaction, changes: &BooksChanges) -> Result<(), WriteError> {
    let mut marks = transaction.open_table(MARKS).map_err(redb::Error::from)?;
    let mut flows = transaction.open_table(FLOWS).map_err(redb::Error::from)?;
    let mut meta = transaction.open_table(META).map_err(redb::Error::from)?;
    for lane in &changes.lanes {
        let source = lane.source.name();
        for (minute, mark) in &lane.marks {
            let key = (source, *minute);
            let stored = marks.get(key).map_err(redb::Error::from)?.map_or((0, 0), |value| value.value());
            let sum = (stored.0.saturating_add(mark.live), stored.1.saturating_add(mark.silent));
            marks.insert(key, sum).map_err(redb::Error::from)?;
        }
        for (minute, Flows { granted, ungranted }) in &lane.flows {
            let row =
                (granted.connection_millis, granted.claimed, ungranted.connection_millis, ungranted.claimed);
            flows.insert((source, *minute), row).map_err(redb::Error::from)?;
        }
        if let Some(previous) = &lane.previous {
            let json = serde_json::to_vec(previous)?;
            meta.insert(previous_key(lane.source).as_str(), json.as_slice()).map_err(redb::Error::from)?;
        }
        if let Some(reading) = &lane.reading {
            let json = serde_json::to_vec(reading)?;
            meta.insert(reading_key(lane.source).as_str(), json.as_slice()).map_err(redb::Error::from)?;
        }
    }
    Ok(())
}

fn write_table(transaction: &redb::WriteTransaction, changes: &BooksChanges) -> Result<(), WriteError> {
    let mut connections = transaction.open_table(CONNECTIONS).map_err(redb::Error::from)?;
    for ((id, owner), row) in &changes.table.connections {
        let owner = serde_json::to_string(owner)?;
        let key = (&**id, owner.as_str());
        match row {
            Some(row) => drop(connections.insert(key, json(row)?.as_slice()).map_err(redb::Error::from)?),
            None => drop(connections.remove(key).map_err(redb::Error::from)?),
        }
    }
    let mut grants = transaction.open_table(GRANTS).map_err(redb::Error::from)?;
    for (id, row) in &changes.table.grants {
        put_or_remove(&mut grants, *id, row.as_ref())?;
    }
    let mut renewals = transaction.open_table(RENEWALS).map_err(redb::Error::from)?;
    for (id, row) in &changes.renewals {
        put_or_remove(&mut renewals, *id, row.as_ref())?;
    }
    let mut issued = transaction.open_table(ISSUED).map_err(redb::Error::from)?;
    for (id, row) in &changes.issued {
        put_or_remove(&mut issued, *id, row.as_ref())?;
    }
    Ok(())
}

fn put_or_remove(
    table: &mut redb::Table<'_, &str, &[u8]>,
    id: GrantId,
    row: Option<&impl Serialize>,
) -> Result<(), WriteError> {
    let key = id.to_string();
    match row {
        Some(row) => drop(table.insert(key.as_str(), json(row)?.as_slice()).map_err(redb::Error::from)?),
        None => drop(table.remove(key.as_str()).map_err(redb::Error::from)?),
    }
    Ok(())
}

fn write_meta(transaction: &redb::WriteTransaction, changes: &BooksChanges) -> Result<(), WriteError> {
    let mut meta = transaction.open_table(META).map_err(redb::Error::from)?;
    meta.insert(KEY_COUNTS, json(&changes.counts)?.as_slice()).map_err(redb::Error::from)?;
    if let Some(orders) = &changes.orders {
        meta.insert(KEY_ORDERS, json(orders)?.as_slice()).map_err(redb::Error::from)?;
    }
    if let Some(coturn) = &changes.coturn {
        meta.insert(KEY_COTURN, json(coturn)?.as_slice()).map_err(redb::Error::from)?;
    }
    if let Some(alerts) = &changes.alerts {
        meta.insert(KEY_ALERTS, json(alerts)?.as_slice()).map_err(redb::Error::from)?;
    }
    if let Some(now) = changes.now {
        meta.insert(KEY_NOW, json(&now)?.as_slice()).map_err(redb::Error::from)?;
    }
    Ok(())
}

fn json(row: &impl Serialize) -> Result<Vec<u8>, serde_json::Error> {
    serde_json::to_vec(row)
}

fn previous_key(source: IceSource) -> String {
    format!("previous/{source}")
}

fn reading_key(source: IceSource) -> String {
    format!("reading/{source}")
}

fn flows_of((granted_millis, granted, ungranted_millis, ungranted): (u64, u64, u64, u64)) -> Flows {
    Flows {
        granted: Flow { connection_millis: granted_millis, claimed: granted },
        ungranted: Flow { connection_millis: ungranted_millis, claimed: ungranted },
    }
}

/// The lane of that name. One that this version does not know is no reason to forget what it used.
fn lane<'a>(recovered: &'a mut Recovered, source: &str) -> Result<&'a mut StoredLane, serde_json::Error> {
    let unknown = || serde::de::Error::custom(format!("no ICE source is named {source:?} here"));
    let source = IceSource::from_name(source).ok_or_else(unknown)?;
    Ok(recovered.lanes.entry(source).or_default())
}

fn grant_id(text: &str) -> Result<GrantId, serde_json::Error> {
    text.parse().map_err(serde::de::Error::custom)
}

/// For this user's eyes only: it holds the key that signs grant tokens.
fn make_file(path: &Path) -> io::Result<File> {
    File::options().read(true).write(true).create_new(true).mode(0o600).open(path)
}

fn cannot_open(error: DatabaseError, directory: &Path, path: &Path) -> OpenError {
    let path = path.to_owned();
    match error {
        DatabaseError::DatabaseAlreadyOpen => OpenError::InUse { path },
        DatabaseError::Storage(StorageError::Io(error)) if error.kind() != io::ErrorKind::InvalidData => {
            OpenError::Directory { path: directory.to_owned(), error }
        }
        other => OpenError::Damaged { path, what: other.to_string() },
    }
}
