//! A directory for one test, which removes it when it ends.

use redb::DatabaseError;
use tempfile::TempDir;
use turn_broker::store::storage::OpenError;

use crate::support::prelude::*;

/// An empty directory. Dropping it removes it.
pub(crate) struct StateDir(TempDir);

impl StateDir {
    pub(crate) fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    /// One on a disk, also where `TMPDIR` is in memory.
    pub(crate) fn on_disk() -> Self {
        Self(tempfile::tempdir_in("/var/tmp").unwrap())
    }

    pub(crate) fn path(&self) -> &str {
        self.0.path().to_str().unwrap()
    }

    pub(crate) fn file(&self) -> PathBuf {
        self.0.path().join(FILE_NAME)
    }
}

/// What `open` returns once nobody holds the file, which takes two minutes at most. A process that another test starts holds
/// all open files and their locks until it runs its program, also after this test has closed them.
pub(crate) fn once_free<T, E: SaysInUse>(open: impl Fn() -> Result<T, E>) -> Result<T, E> {
    for _ in 0..12_000 {
        match open() {
            Err(error) if error.says_in_use() => std::thread::sleep(Duration::from_millis(10)),
            opened => return opened,
        }
    }
    open()
}

pub(crate) trait SaysInUse {
    fn says_in_use(&self) -> bool;
}

impl SaysInUse for OpenError {
    fn says_in_use(&self) -> bool {
        matches!(self, Self::InUse(_))
    }
}

impl SaysInUse for DatabaseError {
    fn says_in_use(&self) -> bool {
        matches!(self, Self::DatabaseAlreadyOpen)
    }
}
