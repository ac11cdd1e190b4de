//! A copy of the stored ledger as a file, while the service runs. The copy has what was stored at one moment, between two writes. The
//! writer continues meanwhile, so no mint waits for the copy.
//! The new file has no name: nothing is left of it when it is closed, or when the process is killed.

use std::fs::Permissions;
use std::os::unix::fs::PermissionsExt;

use redb::{Builder, StorageError};

use super::ledger_file::catch_panic;
use super::tables;
use crate::store::prelude::*;
use crate::store::rows::{self, KEY_COPIED};

/// The copy is made only if this many times the ledger's length is free. One length is for the copy. The other one is for the writer,
/// which cannot reuse pages of the ledger until the copy has ended.
const SPACE_FACTOR: u64 = 2;
/// Memory for pages of the copy. Bytes.
const CACHE: usize = 4 << 20;

/// Copies the rows into a new file in this directory. `bytes`: the length of the ledger.
pub(in crate::store) fn copy(
    from: &impl ReadRows,
    directory: &Path,
    bytes: u64,
) -> Result<LedgerFile, BackupError> {
    let mut file = catch_panic(|| write_copy(from, directory, bytes))??;
    io::Seek::rewind(&mut file)?;
    Ok(LedgerFile { bytes: file.metadata()?.len(), file })
}

fn write_copy(from: &impl ReadRows, directory: &Path, bytes: u64) -> Result<File, BackupError> {
    let stat = rustix::fs::statvfs(directory).map_err(io::Error::from)?;
    check_space(stat.f_bavail.saturating_mul(stat.f_frsize), bytes)?;
    // The file never has a name, so nobody can have put something in its place.
    let file = tempfile::tempfile_in(directory)?;
    file.set_permissions(Permissions::from_mode(0o600))?;
    let write = || -> Result<(), StoreError> {
        let copy =
            Builder::new().set_cache_size(CACHE).create_file(file.try_clone().map_err(StorageError::Io)?)?;
        let to = copy.begin_write()?;
        tables::make_all(&to)?;
        rows::copy(from, &mut &to)?;
        tables::put(&to, KEY_COPIED, &[])?;
        Ok(to.commit()?)
    };
    write()?;
    Ok(file)
}

fn check_space(free: u64, ledger: u64) -> Result<(), BackupError> {
    let needed = ledger.saturating_mul(SPACE_FACTOR);
    if free < needed { Err(BackupError::NoSpace { free, needed }) } else { Ok(()) }
}

#[cfg(test)]
mod tests {
    use super::super::FileStorage;
    use super::super::inspect::LedgerCopy;
    use super::super::ledger_file::FILE_NAME;
    use super::*;
    use redb::{Database, ReadableDatabase, TableHandle};

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
        let mut store = FileStorage::open(directory.path()).unwrap();
        let stored = store.load(Timestamp::default()).unwrap();
        let mut copy = store.copy().unwrap();
        assert_eq!(std::fs::read_dir(directory.path()).unwrap().count(), 1, "only the ledger itself");
        assert_eq!(copy.file.metadata().unwrap().permissions().mode() & 0o777, 0o600);

        let elsewhere = tempfile::tempdir().unwrap();
        let path = elsewhere.path().join(FILE_NAME);
        let written = io::copy(&mut copy.file, &mut File::create(&path).unwrap()).unwrap();
        assert_eq!(written, copy.bytes);
        let mut ledger = LedgerCopy::take(elsewhere.path()).unwrap();
        assert_eq!(ledger.findings(), Vec::<String>::new());
        // The key of grant tokens is copied.
        assert_eq!(ledger.stored().unwrap().books.keys, stored.books.keys);
        assert!(ledger.stored().unwrap().books.is_copy && !stored.books.is_copy);
        drop((store, ledger));
        let original = Database::open(directory.path().join(FILE_NAME)).unwrap();
        assert_eq!(table_names(&Database::open(path).unwrap()), table_names(&original));
    }

    /// The directory of temporary files belongs to every local user.
    #[test]
    fn what_somebody_else_has_put_beside_the_ledger_prevents_no_copy() {
        let directory = tempfile::tempdir().unwrap();
        let store = FileStorage::open(directory.path()).unwrap();
        // It cannot be removed like a file, as one of another user.
        std::fs::create_dir(directory.path().join("ledger.redb.copy")).unwrap();
        assert!(store.copy().unwrap().bytes > 0);
        assert_eq!(std::fs::read_dir(directory.path()).unwrap().count(), 2, "no other file is left");
    }

    #[test]
    fn without_room_for_two_ledgers_nothing_is_copied() {
        assert!(check_space(200, 100).is_ok());
        let refused = check_space(199, 100).unwrap_err();
        assert!(matches!(refused, BackupError::NoSpace { free: 199, needed: 200 }), "{refused}");
    }
}
