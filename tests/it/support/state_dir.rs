//! A directory for one test, which removes it when it ends.

use std::path::PathBuf;

use tempfile::TempDir;
use turn_broker::store::file::ledger_file::FILE_NAME;

/// An empty directory. Dropping it removes it.
pub(crate) struct StateDir(TempDir);

impl StateDir {
    pub(crate) fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    /// The value of `STATE_DIR`.
    pub(crate) fn path(&self) -> &str {
        self.0.path().to_str().unwrap()
    }

    /// The path of the ledger in it.
    pub(crate) fn file(&self) -> PathBuf {
        self.0.path().join(FILE_NAME)
    }
}
