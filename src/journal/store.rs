//! The ledger's file (redb). A file is either a ledger of a format that this version knows, or it is refused by name:
//! nothing is ever started from zero over a file that is there. What is written is written in whole transactions.

use std::io;
use std::path::{Path, PathBuf};

use redb::{Database, DatabaseError, ReadableDatabase, StorageError};

use super::Storage;
pub(crate) use super::file::catch_panic;
use super::file::make_file;
pub use super::file::{FILE_NAME, FORMAT};
pub use super::tables::{BadRow, StoreError};
use super::{migration, pruning, tables};
use crate::random::{self, NoRandomness};
use turn_ledger::changes::{Batch, Stored};

/// A smaller file is not worth the time that compacting takes.
const COMPACT_MIN: u64 = 4 << 20;

/// Why a ledger cannot be used. Every text names the file and the way out.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// The directory is not there and cannot be made, or not writable.
    #[error(
        "STATE_DIR: {path} cannot be used: {error}. Make it a directory that this user may write to, with room on its disk."
    )]
    Directory {
        /// Which.
        path: PathBuf,
        /// What the system said.
        error: io::Error,
    },
    /// There is none, and none is to be made.
    #[error("{path} is not there: no ledger was ever written under this STATE_DIR.")]
    Absent {
        /// Which.
        path: PathBuf,
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
    /// Of an older format, and no copy of it can be kept.
    #[error(
        "{path} has format {found}, and no copy of it can be kept before it is brought to {FORMAT}: {error}. Make room for one beside it."
    )]
    NotCopied {
        /// Which.
        path: PathBuf,
        /// Its format.
        found: u32,
        /// What the system said.
        error: io::Error,
    },
    /// No key for tokens.
    #[error(transparent)]
    Random(#[from] NoRandomness),
    /// No thread for the writer.
    #[error("no thread for the ledger")]
    Thread(#[source] io::Error),
}

impl OpenError {
    pub(super) fn damaged(path: &Path, what: &dyn std::fmt::Display) -> Self {
        Self::Damaged { path: path.to_owned(), what: what.to_string() }
    }
}

/// An open ledger file.
#[derive(Debug)]
pub struct Store {
    database: Database,
    path: PathBuf,
}

impl Storage for Store {
    /// Opens the ledger of a directory, or makes one. An older format is brought to the present one. What is too old to
    /// count is removed.
    fn open(directory: &Path) -> Result<Self, OpenError> {
        let unusable = |error| OpenError::Directory { path: directory.to_owned(), error };
        std::fs::create_dir_all(directory).map_err(unusable)?;
        let path = directory.join(FILE_NAME);
        if !path.try_exists().map_err(unusable)? {
            return Self::make(directory, &path);
        }
        if std::fs::metadata(&path).map_err(unusable)?.len() == 0 {
            return Err(OpenError::damaged(&path, &"it is empty"));
        }
        let database = Database::open(&path).map_err(|error| cannot_open(error, directory, &path))?;
        let store = Self { database, path };
        store.bring_up()?;
        store.tidy(directory)
    }

    fn reopen(directory: &Path) -> Result<Self, StoreError> {
        let path = directory.join(FILE_NAME);
        Ok(Self { database: Database::open(&path)?, path })
    }

    fn load(&self) -> Result<Stored, OpenError> {
        let mut stored = self.read().map_err(|error| self.unusable(error))?;
        if stored.key.is_none() {
            let key = random::bytes()?;
            self.change(|transaction| tables::put_token_key(transaction, &key))
                .map_err(|error| self.unusable(error))?;
            stored.key = Some(key);
        }
        Ok(stored)
    }

    fn write(&self, batch: &Batch) -> Result<(), StoreError> {
        self.change(|transaction| {
            tables::write(transaction, batch)?;
            pruning::forget_old(transaction, batch.now).map(drop)
        })
    }
}

impl Store {
    /// A new ledger. What cannot be made whole is not left behind: nobody else can have used it.
    fn make(directory: &Path, path: &Path) -> Result<Self, OpenError> {
        let file =
            make_file(path).map_err(|error| OpenError::Directory { path: directory.to_owned(), error })?;
        let made = Database::builder()
            .create_file(file)
            .map_err(|error| cannot_open(error, directory, path))
            .and_then(|database| {
                let store = Self { database, path: path.to_owned() };
                let made = store.change(|transaction| tables::make_all(transaction, FORMAT));
                made.map_err(|error| store.unusable(error)).map(|()| store)
            });
        made.inspect_err(|_| {
            let _ = std::fs::remove_file(path);
        })
    }

    /// Checks the format, and brings an older one to the present one.
    fn bring_up(&self) -> Result<(), OpenError> {
        let unusable = |error| self.unusable(error);
        let path = || self.path.clone();
        match self.format().map_err(unusable)? {
            Some(FORMAT) => Ok(()),
            Some(found) if found > FORMAT => Err(OpenError::Newer { path: path(), found }),
            Some(found) if migration::is_known(found) => {
                let copy = migration::keep_copy(&self.path, found).map_err(|error| OpenError::NotCopied {
                    path: path(),
                    found,
                    error,
                })?;
                migration::migrate(&self.database, found).map_err(unusable)?;
                let copy = copy.display();
                tracing::info!(%copy, "the ledger was brought from format {found} to {FORMAT}");
                Ok(())
            }
            _ => Err(OpenError::damaged(&self.path, &"it says no format")),
        }
    }

    /// Removes what counts no more, and gives the room back where that pays. A failure is no reason not to serve.
    fn tidy(mut self, directory: &Path) -> Result<Self, OpenError> {
        let Err(error) = self.try_tidy() else { return Ok(self) };
        tracing::warn!(%error, "old rows stay in the ledger for now");
        let Self { database, path } = self;
        // After a failed write the store is not trusted.
        drop(database);
        let database = Database::open(&path).map_err(|error| cannot_open(error, directory, &path))?;
        Ok(Self { database, path })
    }

    fn try_tidy(&mut self) -> Result<(), StoreError> {
        let now = tables::stored_now(&self.database.begin_read()?)?;
        if let Some(now) = now {
            let transaction = self.database.begin_write()?;
            // A sync for nothing would be most of the time that a start takes.
            if pruning::forget_old(&transaction, now)? {
                transaction.commit()?;
            } else {
                transaction.abort()?;
            }
        }
        let before = self.size()?;
        if before > COMPACT_MIN && self.free()? > before / 2 {
            self.database.compact()?;
            tracing::info!(before, after = self.size()?, "the ledger was made smaller");
        }
        Ok(())
    }

    /// Bytes of the file that hold nothing.
    fn free(&self) -> Result<u64, StoreError> {
        let transaction = self.database.begin_write()?;
        let stats = transaction.stats()?;
        transaction.abort()?;
        let page = u64::try_from(stats.page_size()).unwrap_or(u64::MAX);
        Ok(self.size()?.saturating_sub(stats.allocated_pages().saturating_mul(page)))
    }

    fn size(&self) -> Result<u64, StoreError> {
        let metadata = std::fs::metadata(&self.path).map_err(StorageError::Io)?;
        Ok(metadata.len())
    }

    fn format(&self) -> Result<Option<u32>, StoreError> {
        tables::format(&self.database.begin_read()?)
    }

    fn read(&self) -> Result<Stored, StoreError> {
        tables::read(&self.database.begin_read()?, &mut Err)
    }

    /// One transaction: all of it, synced, or nothing.
    fn change(
        &self,
        change: impl FnOnce(&redb::WriteTransaction) -> Result<(), StoreError>,
    ) -> Result<(), StoreError> {
        let transaction = self.database.begin_write()?;
        change(&transaction)?;
        transaction.commit()?;
        Ok(())
    }

    /// A disk that fails is not a damaged ledger.
    fn unusable(&self, error: StoreError) -> OpenError {
        match error {
            StoreError::File(redb::Error::Io(error)) if error.kind() != io::ErrorKind::InvalidData => {
                let path = self.path.parent().unwrap_or(&self.path).to_owned();
                OpenError::Directory { path, error }
            }
            other => OpenError::damaged(&self.path, &other),
        }
    }
}

fn cannot_open(error: DatabaseError, directory: &Path, path: &Path) -> OpenError {
    match error {
        DatabaseError::DatabaseAlreadyOpen => OpenError::InUse { path: path.to_owned() },
        DatabaseError::Storage(StorageError::Io(error)) if error.kind() != io::ErrorKind::InvalidData => {
            OpenError::Directory { path: directory.to_owned(), error }
        }
        other => OpenError::damaged(path, &other),
    }
}
