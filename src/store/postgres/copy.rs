//! The whole ledger: read from the database in one session, or moved from a file to the database and back. A move is one transaction.

use std::error::Error;

use turn_ledger::TokenKey;

use super::blocking::Blocking;
use super::connect::{Connection, Database, DatabaseError, SESSION_NAME};
use super::rows::{RowBatch, Snapshot, commit};
use super::schema;
use crate::store::file::backup;
use crate::store::prelude::*;
use crate::store::rows::{self, KEY_MOVED, is_readable};
use crate::store::{FileStorage, LedgerCopy};

/// Changes the row of a new ledger, whose epoch is 0. The row stays locked until the commit, so no replica leads meanwhile.
const CLAIM_NEW: &str = "UPDATE shard SET epoch = 1, seq = 1 WHERE id = 1 AND epoch = 0 AND NOT held";
/// Ends the lead of a replica that is gone or cut off. Changes nothing if a replica was seen in the last 5 s, or if the leader's session is
/// still there.
const CLAIM_LEFT: &str = "UPDATE shard SET epoch = epoch + 1, seq = seq + 1, held = false, \
    began = (seq || began)[1:16], sessions = ('turn-broker ledger copy'::text || sessions)[1:16] WHERE id = 1 \
 AND NOT EXISTS (SELECT FROM node WHERE seen_at > clock_timestamp() - interval '5 s') \
    AND NOT EXISTS (SELECT FROM pg_stat_activity a WHERE a.pid = shard.pid AND a.application_name = shard.sessions[1])";

/// The error if [`CLAIM_LEFT`] has changed nothing.
const IN_USE: &str =
    "a replica runs on the ledger in the database. Stop every replica, wait 5 s, and try again.";

/// Why a ledger was not copied.
pub type CopyError = Box<dyn Error + Send + Sync>;

/// A session that reads or writes the whole ledger.
#[derive(Debug)]
struct LedgerSession {
    runtime: Blocking,
    connection: Connection,
}

impl LedgerSession {
    fn open(database: &Database) -> Result<Self, DatabaseError> {
        let runtime = Blocking::new()?;
        let connection = runtime.get().block_on(database.connect(SESSION_NAME))?;
        Ok(Self { runtime, connection })
    }
}

/// Copies into a file in `TMPDIR`, in a session of its own.
impl CopyLedger for Database {
    fn copy(&self) -> Result<LedgerFile, BackupError> {
        let session = LedgerSession::open(self).map_err(StoreError::from)?;
        let (runtime, connection) = (session.runtime.get(), &session.connection);
        let size = connection.one("SELECT pg_total_relation_size('item')");
        let bytes: i64 = runtime.block_on(size).map_err(StoreError::from)?.get(0);
        let snapshot = Snapshot::begin(runtime, &connection.client).map_err(StoreError::from)?;
        backup::copy(&snapshot, &std::env::temp_dir(), bytes.unsigned_abs())
    }
}

/// Moves a ledger's file into a database that has no ledger. Returns the number of rows. If the commit fails, the file is already marked as
/// moved: no broker starts with it, but it can be copied again.
pub fn to_database(ledger: LedgerCopy, directory: &Path, database: &Database) -> Result<usize, CopyError> {
    let mut batch = RowBatch::default();
    rows::copy(&ledger.rows()?, &mut batch)?;
    // `ledger` holds the lock of the file, which is opened again below.
    drop(ledger);
    let session = LedgerSession::open(database)?;
    session.runtime.get().block_on(async {
        schema::make(&session.connection, database.schema()).await?;
        session.connection.run("BEGIN").await?;
        if session.connection.execute(CLAIM_NEW, &[]).await? != 1 {
            return Err(CopyError::from(format!(
                "the schema {} of the database has a ledger already. Set DATABASE_SCHEMA to another name, or drop the schema if nobody needs its ledger.",
                database.schema()
            )));
        }
        batch.put(&session.connection).await?;
        FileStorage::mark_moved(directory)?;
        commit_or_say(&session.connection).await
    })?;
    Ok(batch.rows.len())
}

/// Puts the rows that `make` makes of the ledger in a database that no replica uses. Meanwhile nobody else changes the ledger.
fn change_alone(
    database: &Database,
    make: impl FnOnce(&Migrated<Snapshot<'_>>, &mut RowBatch) -> Result<(), CopyError>,
) -> Result<(), CopyError> {
    let session = LedgerSession::open(database)?;
    let (runtime, connection) = (session.runtime.get(), &session.connection);
    let format = runtime.block_on(async {
        schema::make(connection, database.schema()).await?;
        connection.run("BEGIN ISOLATION LEVEL REPEATABLE READ").await?;
        let found = connection.one("SELECT format FROM shard").await?.get(0);
        if !is_readable(found) {
            return Err(CopyError::from(DatabaseError::OtherFormat(found)));
        }
        if connection.execute(CLAIM_LEFT, &[]).await? == 1 { Ok(found) } else { Err(IN_USE.into()) }
    })?;
    let mut batch = RowBatch::default();
    let rows = Snapshot { runtime, client: &connection.client };
    make(&Migrated { rows, format }, &mut batch)?;
    runtime.block_on(async {
        batch.put(connection).await?;
        commit_or_say(connection).await
    })
}

/// Commits what may have been committed even if this fails.
async fn commit_or_say(connection: &Connection) -> Result<(), CopyError> {
    let again = "Run this command again before you start the service: nobody knows what the database has.";
    commit(connection).await.map_err(|error| format!("{error}. {again}").into())
}

/// Replaces the key of grant tokens in a database that no replica uses.
pub fn rotate_key(database: &Database, now: Timestamp) -> Result<(), CopyError> {
    change_alone(database, |ledger, batch| {
        let stored = read(ledger)?.books;
        let keys = stored.with_key_replaced(TokenKey::new(random::bytes()?), now);
        Ok(rows::keys::write_keys(batch, &keys, &stored)?)
    })
}

fn read(snapshot: &Migrated<Snapshot<'_>>) -> Result<Contents, OpenError> {
    rows::read(snapshot, &mut Err).map_err(OpenError::of_database)
}

/// Moves the ledger of a database that no replica uses into a new file in this directory. No broker starts with the file before it is known
/// that the database is marked as moved: two ledgers would mint.
pub fn from_database(database: &Database, directory: &Path) -> Result<(), CopyError> {
    change_alone(database, |ledger, batch| {
        // A ledger with a row that cannot be read is not moved.
        read(ledger)?;
        FileStorage::create_of(directory, ledger)?;
        Ok(rows::replace_named(batch, KEY_MOVED, Some(vec![]))?)
    })?;
    Ok(FileStorage::name_copy(directory)?)
}
