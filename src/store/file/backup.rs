//! A copy of the ledger's file while the service runs. The writer's thread opens a view of what is stored: one state between
//! two writes, which later writes do not change. Another thread copies the view into a new file, so no mint waits for the copy.
//! The new file has no name: nothing is left of it when it is closed, or when the process is killed.

use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use redb::{Builder, ReadTransaction, StorageError};

use super::ledger_file::{Broken, FILE_NAME, catch_panic, make_file};
use super::tables;
use crate::store::postgres::connect::Database;
use crate::store::postgres::copy::ReadSession;
use crate::store::rows::{self, ReadRows, StoreError};

/// The copy is made only if this many times the ledger's length is free: for the copy, and because pages that the view shows
/// cannot be used again until it ends.
const SPACE_FACTOR: u64 = 2;
/// Memory for pages of the copy. Bytes.
const CACHE: usize = 4 << 20;

/// Why there is no copy.
#[derive(Debug, thiserror::Error)]
pub enum BackupError {
    /// A full disk would stop the mint.
    #[error("{free} bytes are free where the copy is made, and it needs {needed}")]
    NoSpace {
        /// Free bytes.
        free: u64,
        /// Required bytes.
        needed: u64,
    },
    /// The file of the copy cannot be created or read.
    #[error("the copy's file cannot be used: {0}")]
    File(#[from] io::Error),
    /// A table cannot be read or written.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The ledger is damaged.
    #[error(transparent)]
    Broken(#[from] Broken),
}

/// What was stored at one moment.
#[derive(Debug)]
pub struct StoredView(pub(super) Viewed);

/// Where it is read from.
#[derive(Debug)]
pub(super) enum Viewed {
    File {
        transaction: ReadTransaction,
        directory: PathBuf,
        /// The length of the ledger's file.
        bytes: u64,
    },
    /// The state of the database when the copy begins. The copy is in the directory of temporary files, `TMPDIR`.
    Database(Arc<Database>),
}

/// A complete ledger file that has no name.
#[derive(Debug)]
pub struct LedgerFile {
    /// The file, at its start.
    pub file: File,
    /// Its length in bytes.
    pub bytes: u64,
}

impl StoredView {
    /// Copies the view into a new file on the ledger's disk, a database into one among the temporary files. Takes about as long as
    /// reading the ledger at a start.
    pub fn copy(self) -> Result<LedgerFile, BackupError> {
        let mut file = catch_panic(|| match self.0 {
            Viewed::File { transaction, directory, bytes } => copy(&transaction, &directory, bytes),
            Viewed::Database(database) => {
                let session = ReadSession::open(&database).map_err(StoreError::from)?;
                let bytes = session.bytes().map_err(StoreError::from)?;
                copy(&session.snapshot().map_err(StoreError::from)?, &std::env::temp_dir(), bytes)
            }
        })
        .unwrap_or_else(|broken| Err(broken.into()))?;
        io::Seek::rewind(&mut file)?;
        let bytes = file.metadata()?.len();
        Ok(LedgerFile { file, bytes })
    }

    /// A view of what is in the database when it is copied.
    pub(in crate::store) fn of_database(database: Arc<Database>) -> Self {
        Self(Viewed::Database(database))
    }
}

/// Copies the rows into a new file in this directory. `bytes`: how many they are.
fn copy(from: &impl ReadRows, directory: &Path, bytes: u64) -> Result<File, BackupError> {
    let stat = rustix::fs::statvfs(directory).map_err(io::Error::from)?;
    check_space(stat.f_bavail.saturating_mul(stat.f_frsize), bytes)?;
    let file = nameless_file(directory)?;
    let write = || -> Result<(), StoreError> {
        let copy =
            Builder::new().set_cache_size(CACHE).create_file(file.try_clone().map_err(StorageError::Io)?)?;
        let to = copy.begin_write()?;
        tables::make_all(&to)?;
        rows::copy(from, &mut &to)?;
        tables::mark_copy(&to)?;
        Ok(to.commit()?)
    };
    write()?;
    Ok(file)
}

/// Only one copy is made at a time, so an existing file is left from a process that was killed.
fn nameless_file(directory: &Path) -> io::Result<File> {
    let path = directory.join(format!("{FILE_NAME}.copy"));
    match std::fs::remove_file(&path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let file = make_file(&path)?;
    std::fs::remove_file(&path)?;
    Ok(file)
}

fn check_space(free: u64, ledger: u64) -> Result<(), BackupError> {
    let needed = ledger.saturating_mul(SPACE_FACTOR);
    if free < needed { Err(BackupError::NoSpace { free, needed }) } else { Ok(()) }
}

#[cfg(test)]
mod tests {
    use super::super::Store;
    use super::super::inspect::LedgerCopy;
    use super::*;
    use crate::store::Storage;
    use redb::{Database, ReadableDatabase, TableHandle};
    use std::os::unix::fs::PermissionsExt;

    fn table_names(database: &Database) -> Vec<String> {
        let transaction = database.begin_read().unwrap();
        let mut names: Vec<_> =
            transaction.list_tables().unwrap().map(|table| table.name().to_owned()).collect();
        names.sort();
        names
    }

    #[test]
    fn the_copy_is_a_sound_ledger_with_every_table_and_leaves_no_file() {
        let directory = tempfile::tempdir().unwrap();
        let mut store = Store::open(directory.path()).unwrap();
        let stored = store.load().unwrap();
        let mut copy = store.view().unwrap().copy().unwrap();
        assert_eq!(std::fs::read_dir(directory.path()).unwrap().count(), 1, "only the ledger itself");
        assert_eq!(copy.file.metadata().unwrap().permissions().mode() & 0o777, 0o600);

        let elsewhere = tempfile::tempdir().unwrap();
        let path = elsewhere.path().join(FILE_NAME);
        let written = io::copy(&mut copy.file, &mut File::create(&path).unwrap()).unwrap();
        assert_eq!(written, copy.bytes);
        let mut ledger = LedgerCopy::take(elsewhere.path()).unwrap();
        assert_eq!(ledger.findings(), Vec::<String>::new());
        assert_eq!(ledger.stored().unwrap().books.key, stored.books.key, "the key of grant tokens is copied");
        assert!(ledger.stored().unwrap().books.is_copy && !stored.books.is_copy);
        drop(store);
        let original = Database::open(directory.path().join(FILE_NAME)).unwrap();
        assert_eq!(table_names(&Database::open(path).unwrap()), table_names(&original));
    }

    #[test]
    fn a_file_that_a_killed_process_left_does_not_prevent_a_copy() {
        let directory = tempfile::tempdir().unwrap();
        let store = Store::open(directory.path()).unwrap();
        std::fs::write(directory.path().join("ledger.redb.copy"), "unfinished").unwrap();
        assert!(store.view().unwrap().copy().unwrap().bytes > 0);
        assert!(!directory.path().join("ledger.redb.copy").exists());
    }

    #[test]
    fn without_room_for_two_ledgers_nothing_is_copied() {
        assert!(check_space(200, 100).is_ok());
        let refused = check_space(199, 100).unwrap_err();
        assert!(matches!(refused, BackupError::NoSpace { free: 199, needed: 200 }), "{refused}");
    }
}
