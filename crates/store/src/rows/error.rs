//! Why a ledger could not be read or written. No error contains the content of a row, which may be secret.

use super::{BROKEN_KEY, Table};

/// A read or a write that failed. A failed write leaves the ledger unchanged.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// The file could not be read or written.
    #[error("{0}")]
    File(redb::Error),
    /// A row cannot be read.
    #[error(transparent)]
    Row(#[from] BadRow),
    /// A value cannot be written as JSON.
    #[error("a value cannot be written as JSON: {0}")]
    Json(#[from] serde_json::Error),
    /// A row cannot be written.
    #[error("a row cannot be written: {0}")]
    Form(#[from] postcard::Error),
    /// The database could not be read or written.
    #[error("{0}")]
    Database(Box<dyn std::error::Error + Send + Sync>),
}

/// redb has an error type for each kind of call. This module needs only one.
macro_rules! file_errors {
    ($($error:ident),*) => {$(
        impl From<redb::$error> for StoreError {
            fn from(error: redb::$error) -> Self {
                Self::File(error.into())
            }
        }
    )*};
}
file_errors!(CommitError, CursorError, DatabaseError, StorageError, TableError, TransactionError);

/// A row whose content cannot be read.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("row \"{key}\" of {table:?} {what}")]
pub struct BadRow {
    table: &'static str,
    key: String,
    what: String,
}

impl BadRow {
    /// A broken key is not shown. On a damaged page its bytes can be anything, even the key that signs grant tokens.
    pub(super) fn new(table: Table, key: &[u8], what: String) -> Self {
        let key = if what == BROKEN_KEY { b"?" } else { key };
        Self { table: table.name, key: key.escape_ascii().to_string(), what }
    }
}
