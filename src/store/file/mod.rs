//! The ledger's file (redb). An existing file is never overwritten with an empty ledger: a file that this version cannot
//! read is refused with an error that names it. Every write is one transaction.

use std::fs::{TryLockError, metadata};
use std::os::unix::fs::MetadataExt;

use redb::{Builder, Database, ReadTransaction, ReadableDatabase, StorageError, WriteTransaction};

pub mod access;
pub mod backup;
pub mod inspect;
pub mod ledger_file;
mod unchanged;

use super::contradictions::missing;
use super::rows::{self, KEY_MOVED, Pruned};
use super::storage::closed;
use crate::store::prelude::*;
use inspect::LedgerCopy;
use ledger_file::{COPY_NAME, FILE_NAME, PART_NAME, guard, make_part, open_error};
use turn_base::access::{make_directory, open_own};
use turn_store::tables;

/// Memory for pages of the file, in bytes. The library's own bound is 1 GiB, so memory would grow with the file.
const PAGES_MAX: usize = 16 << 20;

/// A builder that opens ledger files, with a bound on their pages in memory.
fn builder() -> Builder {
    let mut builder = Builder::new();
    builder.set_cache_size(PAGES_MAX);
    builder
}

/// Fails if the file can be locked although the database of this process has it locked: where locks do nothing, a second broker could write
/// the same ledger. Callers have opened the database.
fn require_lock(path: &Path) -> io::Result<()> {
    let refused = || {
        let why = "its file system has no locks, so a second broker could write the same ledger";
        io::Error::new(io::ErrorKind::Unsupported, why)
    };
    match File::options().read(true).write(true).open(path)?.try_lock() {
        Ok(()) => Err(refused()),
        Err(TryLockError::Error(error)) if error.kind() == io::ErrorKind::Unsupported => Err(refused()),
        Err(_) => Ok(()),
    }
}

/// Whether this path leads to this opened file.
fn is_same_file(path: &Path, file: &File) -> bool {
    match (metadata(path), file.metadata()) {
        (Ok(there), Ok(opened)) => (there.dev(), there.ino()) == (opened.dev(), opened.ino()),
        _ => false,
    }
}

/// An open ledger file. Clones share it.
#[derive(Clone, Debug)]
pub struct FileStorage {
    /// `None` once it is closed, or if it could not be opened again.
    database: Arc<Mutex<Option<Database>>>,
    path: PathBuf,
    /// A second handle of the opened file, without a lock. It shows whether the file at `path` is still the same one.
    file: Arc<File>,
    /// Whether the file was not in its place at the last check.
    was_gone: bool,
    pruned: Pruned,
}

impl Storage for FileStorage {
    fn read(&mut self) -> Result<Contents, OpenError> {
        let read = || {
            let rows = self.begin_read()?;
            Ok((rows::read(&rows, &mut Err)?, rows::is_moved(&rows)?))
        };
        let (contents, is_moved) =
            guard(&self.path, || read().map_err(|error| open_error(&self.path, error)))?;
        if is_moved {
            return Err(OpenError::Moved(self.path.clone()));
        }
        if let Some(missing) = missing(&contents.books, false) {
            return Err(OpenError::damaged(&self.path, &missing));
        }
        self.pruned = Pruned::of(&contents.books);
        Ok(contents)
    }

    fn put_keys(&mut self, keys: &TokenKeys, stored: &Stored) -> Result<(), OpenError> {
        let written = self.change(|transaction| rows::keys::write_keys(&mut &*transaction, keys, stored));
        written.map_err(|error| open_error(&self.path, error))
    }

    fn write(&mut self, batch: &Changes, is_last: bool) -> Result<(), WriteError> {
        self.require_in_place()?;
        self.pruned = self.change(|transaction| rows::write(&mut &*transaction, batch, &self.pruned))?;
        if is_last {
            *self.database.lock() = None;
        }
        Ok(())
    }

    fn recover(&mut self) -> Result<(), WriteError> {
        self.require_in_place()?;
        let mut database = self.database.lock();
        // An open database holds the lock of the file, so close it first.
        *database = None;
        *database = Some(builder().open(&self.path).map_err(StoreError::from)?);
        Ok(())
    }

    fn copier(&self) -> Arc<dyn CopyLedger> {
        Arc::new(self.clone())
    }
}

impl CopyLedger for FileStorage {
    fn copy(&self) -> Result<LedgerFile, BackupError> {
        let bytes = metadata(&self.path)?.len();
        // The copy is made on the ledger's disk.
        backup::copy(&self.begin_read()?, self.path.parent().unwrap_or(&self.path), bytes)
    }
}

impl FileStorage {
    /// Opens the ledger of a directory, or creates one.
    pub fn open(directory: &Path) -> Result<Self, OpenError> {
        guard(&directory.join(FILE_NAME), || Self::open_unguarded(directory))
    }

    fn new(database: Database, path: PathBuf) -> io::Result<Self> {
        require_lock(&path)?;
        let (database, file) = (Arc::new(Mutex::new(Some(database))), Arc::new(File::open(&path)?));
        Ok(Self { database, path, file, was_gone: false, pruned: Pruned::default() })
    }

    /// Fails if the file was deleted or moved: what is written into it would be lost with this process. Once the file was gone, only the
    /// same inode counts as its return, because a restored backup lacks what was written after the backup. If the last check found the
    /// file, this one does not compare inodes, because some file systems of containers change them.
    fn require_in_place(&mut self) -> Result<(), StoreError> {
        let is_there = self.path.try_exists().unwrap_or(true);
        self.was_gone = !is_there || self.was_gone && !is_same_file(&self.path, &self.file);
        if !self.was_gone {
            return Ok(());
        }
        let gone = format!("{} was deleted, moved or replaced", self.path.display());
        Err(StorageError::Io(io::Error::new(io::ErrorKind::NotFound, gone)).into())
    }

    fn open_unguarded(directory: &Path) -> Result<Self, OpenError> {
        let unusable = |error| OpenError::Directory { path: directory.to_owned(), error };
        make_directory(directory).map_err(unusable)?;
        access::require_modes(directory)?;
        access::tighten(directory)?;
        let path = directory.join(FILE_NAME);
        if !path.try_exists().map_err(unusable)? {
            return Self::create(directory, path, None, |_| Ok(()));
        }
        let file = File::open(&path).map_err(unusable)?;
        // redb itself checks a file only after a crash. A file that is damaged otherwise is refused here, and stays as it is.
        let mut copy = LedgerCopy::take(directory)?;
        copy.check_pages()?;
        if copy.format < FORMAT {
            return Self::migrate(directory, path, &file, &copy);
        }
        drop(copy);
        let database = builder().open(&path).map_err(|error| open_error(&path, error.into()))?;
        Self::new(database, path).map_err(unusable)
    }

    /// Writes a ledger of an earlier format into a new file, which takes its place. The old one stays beside it, named after its format.
    fn migrate(directory: &Path, path: PathBuf, file: &File, old: &LedgerCopy) -> Result<Self, OpenError> {
        let unusable = |error| OpenError::Directory { path: directory.to_owned(), error };
        let rows = old.rows().map_err(|error| open_error(&path, error))?;
        // A copy has no mark that the ledger is in use elsewhere.
        if rows::is_moved(&rows).map_err(|error| open_error(&path, error))? {
            return Err(OpenError::Moved(path));
        }
        let kept = directory.join(format!("{FILE_NAME}.format-{}", old.format));
        let keep = || {
            let mut kept = open_own(&kept, File::options().write(true).truncate(true))?;
            io::copy(&mut &*file, &mut kept)?;
            kept.sync_all()
        };
        keep().map_err(unusable)?;
        let made =
            Self::create(directory, path, Some(file), |mut transaction| rows::copy(&rows, &mut transaction))?;
        tracing::info!(kept = %kept.display(), "the ledger had format {}, and has format {FORMAT} now", old.format);
        Ok(made)
    }

    /// Creates a ledger with these rows in this directory, which is none before [`Self::name_copy`]. Refuses to replace an existing ledger.
    pub(in crate::store) fn create_of(directory: &Path, rows: &impl ReadRows) -> Result<(), OpenError> {
        let unusable = |error| OpenError::Directory { path: directory.to_owned(), error };
        make_directory(directory).map_err(unusable)?;
        access::require_modes(directory)?;
        let path = directory.join(FILE_NAME);
        if path.try_exists().map_err(unusable)? {
            return Err(OpenError::Exists(path));
        }
        // One that an earlier move has left may be incomplete.
        let copy = directory.join(COPY_NAME);
        let _ = std::fs::remove_file(&copy);
        Self::create(directory, copy, None, |mut transaction| rows::copy(rows, &mut transaction)).map(drop)
    }

    /// Makes the copy in this directory its ledger.
    pub(in crate::store) fn name_copy(directory: &Path) -> Result<(), OpenError> {
        let renamed = std::fs::rename(directory.join(COPY_NAME), directory.join(FILE_NAME));
        let named = renamed.and_then(|()| File::open(directory)?.sync_all());
        named.map_err(|error| OpenError::Directory { path: directory.to_owned(), error })
    }

    /// Creates a ledger. The file gets its name when it is complete and synced. `replaced`: the file that has this name until then.
    fn create(
        directory: &Path,
        path: PathBuf,
        replaced: Option<&File>,
        put_rows: impl FnOnce(&WriteTransaction) -> Result<(), StoreError>,
    ) -> Result<Self, OpenError> {
        let unusable = |error| OpenError::Directory { path: directory.to_owned(), error };
        let part = directory.join(PART_NAME);
        let is_made = || replaced.map_or_else(|| path.try_exists(), |file| Ok(!is_same_file(&path, file)));
        let file =
            make_part(&part, is_made).map_err(unusable)?.ok_or_else(|| OpenError::InUse(path.clone()))?;
        let made = builder().create_file(file).map_err(|error| open_error(&part, error.into())).and_then(
            |database| {
                let store = Self::new(database, part.clone()).map_err(unusable)?;
                let filled = store.change(|transaction| {
                    tables::make_all(transaction)?;
                    put_rows(transaction)
                });
                filled.map_err(|error| open_error(&path, error))?;
                std::fs::rename(&part, &path).map_err(unusable)?;
                File::open(directory).and_then(|directory| directory.sync_all()).map_err(unusable)?;
                Ok(Self { path, ..store })
            },
        );
        made.inspect_err(|_| {
            let _ = std::fs::remove_file(&part);
        })
    }

    /// Marks the ledger as copied to a database: no broker starts with this file any more.
    pub(in crate::store) fn mark_moved(directory: &Path) -> Result<(), OpenError> {
        let store = Self::open(directory)?;
        let marked = store.change(|transaction| tables::put(transaction, KEY_MOVED, &[]));
        marked.map_err(|error| open_error(&store.path, error))
    }

    fn begin_read(&self) -> Result<ReadTransaction, StoreError> {
        Ok(self.database.lock().as_ref().ok_or_else(closed)?.begin_read()?)
    }

    /// Applies a change in one synced transaction: all of it or nothing.
    fn change<T>(
        &self,
        change: impl FnOnce(&WriteTransaction) -> Result<T, StoreError>,
    ) -> Result<T, StoreError> {
        let transaction = self.database.lock().as_ref().ok_or_else(closed)?.begin_write()?;
        let changed = change(&transaction)?;
        transaction.commit()?;
        Ok(changed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::rows::KEY_FORMAT;

    #[test]
    fn a_file_that_was_not_complete_at_a_power_cut_is_made_anew() {
        let directory = tempfile::tempdir().unwrap();
        let part = directory.path().join(PART_NAME);
        std::fs::write(&part, "redb, but not all of it").unwrap();
        let being_made = File::open(&part).unwrap();
        being_made.lock().unwrap();
        let refused = FileStorage::open(directory.path()).unwrap_err();
        assert!(matches!(refused, OpenError::InUse(_)), "{refused}");
        drop(being_made);
        assert!(FileStorage::open(directory.path()).is_ok());
        assert!(!part.exists());
    }

    #[test]
    fn a_ledger_that_another_process_has_migrated_is_not_replaced() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join(FILE_NAME);
        let store = FileStorage::open(directory.path()).unwrap();
        store.change(|ledger| tables::put(ledger, KEY_FORMAT, &(FORMAT - 1).to_be_bytes())).unwrap();
        drop(store);
        let (file, old) = (File::open(&path).unwrap(), LedgerCopy::take(directory.path()).unwrap());
        let migrated = FileStorage::migrate(directory.path(), path.clone(), &file, &old).unwrap();
        drop(migrated);
        let late = FileStorage::migrate(directory.path(), path.clone(), &file, &old).unwrap_err();
        assert!(matches!(late, OpenError::InUse(_)), "{late}");
        assert_eq!(LedgerCopy::take(directory.path()).unwrap().format, FORMAT);
    }

    #[test]
    fn a_ledger_that_was_moved_is_not_migrated() {
        let directory = tempfile::tempdir().unwrap();
        FileStorage::open(directory.path()).unwrap();
        FileStorage::mark_moved(directory.path()).unwrap();
        let store = FileStorage::open(directory.path()).unwrap();
        store.change(|ledger| tables::put(ledger, KEY_FORMAT, &(FORMAT - 1).to_be_bytes())).unwrap();
        drop(store);
        let refused = FileStorage::open(directory.path()).unwrap_err();
        assert!(matches!(refused, OpenError::Moved(_)), "{refused}");
        assert_eq!(LedgerCopy::take(directory.path()).unwrap().format, FORMAT - 1);
    }

    #[test]
    fn a_file_that_can_be_locked_twice_is_refused() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join(FILE_NAME);
        let store = FileStorage::open(directory.path()).unwrap();
        assert!(require_lock(&path).is_ok());
        drop(store);
        // As it looks where locks do nothing: the file is open and has no lock.
        assert_eq!(require_lock(&path).unwrap_err().kind(), io::ErrorKind::Unsupported);
    }
}
