//! The stored ledger. A [`Store`] writes batches to a [`Storage`]: a [`file`], or a database
//! ([`postgres`]). Both have the same [`rows`].

pub mod file;
pub mod postgres;
pub mod storage;
pub mod writer;

pub use changes::{Changes, Contents};
pub use file::FileStorage;
pub use file::inspect::LedgerCopy;
pub use postgres::standby::Standby;
pub use postgres::storage::PostgresStorage;
pub use storage::{BackupError, CopyLedger, LedgerFile, Lost, OpenError, Storage, WriteError};
pub use turn_store::rows::{BadRow, FORMAT, OnBadRow, StoreError};
pub use turn_store::{Observation, Takeovers, contradictions, rows};
pub use writer::Store;

/// What most of these modules use.
mod prelude {
    pub(super) use std::fs::File;
    pub(super) use std::io;
    pub(super) use std::path::{Path, PathBuf};
    pub(super) use std::sync::Arc;
    pub(super) use std::time::Duration;

    pub(super) use parking_lot::Mutex;
    pub(super) use turn_base::{clock, random};
    pub(super) use turn_ledger::{Stored, Timestamp, TokenKeys};

    pub(super) use super::changes::{Changes, Contents};
    pub(super) use super::storage::{
        BackupError, CopyLedger, Failure, LedgerFile, Lost, OpenError, Storage, WriteError,
    };
    pub(super) use turn_store::Observation;
    pub(super) use turn_store::rows::{FORMAT, FORMAT_OLDEST, Migrated, ReadRows, StoreError};
}

/// What is written and read: the books, and the alerts, which are stored as a whole.
pub mod changes {
    use crate::alert::rules::AlertRules;

    /// See [`turn_store::changes::Changes`].
    pub type Changes = turn_store::changes::Changes<AlertRules>;
    /// See [`turn_store::changes::Contents`].
    pub type Contents = turn_store::changes::Contents<AlertRules>;
}

#[cfg(test)]
pub(crate) mod testing;
