//! The interface of what stores a ledger, a file or a database, and its errors.

use std::error::Error;
use std::fmt::{Debug, Display};

use tokio::sync::mpsc::Receiver;

use turn_base::NoRandomness;
use turn_ledger::TokenKey;

use crate::store::prelude::*;
pub use turn_store::outcome::Lost;

/// The most requests that one write answers.
pub(super) const GROUP_MAX: usize = 512;

/// Where a ledger is stored.
pub trait Storage: Sized + Send + 'static {
    /// Reads everything that is stored. Refuses a ledger that was copied away, and one that has lost a row which every ledger keeps.
    fn read(&mut self) -> Result<Contents, OpenError>;
    /// Stores these keys of grant tokens in place of the stored ones. `stored`: what was read.
    fn put_keys(&mut self, keys: &TokenKeys, stored: &Stored) -> Result<(), OpenError>;
    /// Reads everything. Makes a key of grant tokens if the ledger has none, and removes earlier keys that no grant needs any more. A
    /// ledger that was copied gets a key of its own, because the original may still be in use and must not accept tokens of the copy.
    fn load(&mut self, now: Timestamp) -> Result<Contents, OpenError> {
        let mut contents = self.read()?;
        let stored = &mut contents.books;
        let keys = match &stored.keys {
            Some(own) if !stored.shares_key => own.at(now),
            _ => stored.with_key_replaced(TokenKey::new(random::bytes()?), now),
        };
        if stored.keys.as_ref() != Some(&keys) {
            self.put_keys(&keys, stored)?;
        }
        stored.keys = Some(keys);
        Ok(contents)
    }
    /// Writes a batch and syncs it: all of it or nothing, and never twice. Blocks while the outcome is unknown. After the last batch,
    /// releases the ledger.
    fn write(&mut self, batch: &Changes, is_last: bool) -> Result<(), WriteError>;
    /// Makes the storage usable again after a failed write. By default does nothing, because the next write makes it usable.
    fn recover(&mut self) -> Result<(), WriteError> {
        Ok(())
    }
    /// Waits for requests, and returns how many were added to `group`; 0 if none can come any more. Meanwhile keeps open what a write
    /// needs, such as a connection.
    fn wait<T: Send>(&mut self, requests: &mut Receiver<T>, group: &mut Vec<T>) -> usize {
        requests.blocking_recv_many(group, GROUP_MAX)
    }
    /// What copies the ledger.
    fn copier(&self) -> Arc<dyn CopyLedger>;
    /// The shared cell that says, while a write blocks, why it is blocked.
    fn failure(&self) -> Failure {
        Failure::default()
    }
}

/// Holds why a ledger cannot be written, if known.
pub type Failure = Arc<Mutex<Option<String>>>;

/// Copies a ledger while its storage writes it.
pub trait CopyLedger: Debug + Send + Sync {
    /// Copies what is stored into a new file. No later write changes the copy. A copy takes about as long as reading the ledger at a start.
    fn copy(&self) -> Result<LedgerFile, BackupError>;
}

/// A complete ledger file that has no name.
#[derive(Debug)]
pub struct LedgerFile {
    /// The file, positioned at its start.
    pub file: File,
    /// Its length in bytes.
    pub bytes: u64,
}

/// Why a batch was not written.
#[derive(Debug, thiserror::Error)]
pub enum WriteError {
    /// Nothing of the batch is stored. It may be written later, with further changes.
    #[error(transparent)]
    Failed(#[from] StoreError),
    /// The batch will never be written here.
    #[error(transparent)]
    Lost(#[from] Lost),
}

/// Why a ledger cannot be used. Each text about a file names the file or its directory, and a remedy.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// The directory does not exist and cannot be created, or is not writable.
    #[error(
        "STATE_DIR: {path} cannot be used: {error}. Set it to a directory that this user may write to, on a disk with free space."
    )]
    Directory {
        /// The directory.
        path: PathBuf,
        /// The system's error.
        error: io::Error,
    },
    /// Somebody else could have written the file.
    #[error(
        "STATE_DIR: {path} is not trusted: {why}. Move it away if you do not know it; else make the service's user its owner, with mode 0600."
    )]
    Untrusted {
        /// The file.
        path: PathBuf,
        /// Who could have written it.
        why: String,
    },
    /// The file does not exist, and the caller does not create one.
    #[error("{0} is not there: no ledger was ever written. Check STATE_DIR, or start the service once.")]
    Absent(PathBuf),
    /// The file exists, and the caller would replace it.
    #[error("{0} is there already. Move it away, or set STATE_DIR to another directory.")]
    Exists(PathBuf),
    /// The ledger was copied to a database.
    #[error(
        "{0} was copied to a database by turn-broker ledger copy, and its ledger goes on there. Set DATABASE_URL in place of STATE_DIR, or move the file away to start with an empty ledger."
    )]
    Moved(PathBuf),
    /// The ledger was copied from the database.
    #[error(
        "the ledger in the database was copied to a file by turn-broker ledger copy, and goes on there. Set STATE_DIR in place of DATABASE_URL, or drop the schema to start with an empty ledger."
    )]
    MovedToFile,
    /// Another process has the file open.
    #[error(
        "{0} is in use by another process. If it is the service, query it (/api/bandwidth-status), or inspect a copy that turn-broker backup makes. Else stop that process, or use another STATE_DIR."
    )]
    InUse(PathBuf),
    /// Not a ledger, or a damaged one.
    #[error(
        "{path} cannot be read as a ledger ({what}). Restore it from a backup, or move it away to start with an empty ledger."
    )]
    Damaged {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        what: String,
    },
    /// Another version wrote the file.
    #[error(
        "{path} has format {found}, but this version reads {FORMAT_OLDEST} to {FORMAT}. Run the version that wrote it, or move the file away to start with an empty ledger."
    )]
    OtherFormat {
        /// The file.
        path: PathBuf,
        /// Its format.
        found: i32,
    },
    /// The database cannot be used.
    #[error(transparent)]
    Database(Box<dyn Error + Send + Sync>),
    /// What is in the database is not a ledger, or a damaged one.
    #[error(
        "the ledger in the database cannot be read ({0}). Restore the database from a backup, or set DATABASE_SCHEMA to another name to start with an empty ledger."
    )]
    DamagedDatabase(String),
    /// The key for tokens cannot be generated.
    #[error(transparent)]
    Random(#[from] NoRandomness),
    /// The writer's thread cannot start.
    #[error("the ledger's thread cannot be started")]
    Thread(#[source] io::Error),
}

impl OpenError {
    pub(super) fn damaged(path: &Path, what: &dyn Display) -> Self {
        Self::Damaged { path: path.to_owned(), what: what.to_string() }
    }

    /// Of rows in a database. An error of the database itself says nothing about the ledger.
    pub(super) fn of_database(error: StoreError) -> Self {
        match error {
            StoreError::Database(error) => Self::Database(error),
            error => Self::damaged_database(&error),
        }
    }

    pub(super) fn damaged_database(what: &dyn Display) -> Self {
        Self::DamagedDatabase(what.to_string())
    }
}

/// Why there is no copy.
#[derive(Debug, thiserror::Error)]
pub enum BackupError {
    /// There is too little free space. A copy that fills the disk would stop the mint.
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

/// Damage at which redb panics.
#[derive(Clone, Copy, Debug, thiserror::Error)]
#[error("its pages are broken")]
pub struct Broken;

/// The error of an access to a closed ledger: it could not be opened again after a failure, or its last batch was written.
pub(super) fn closed() -> StoreError {
    redb::StorageError::DatabaseClosed.into()
}
