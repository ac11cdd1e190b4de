//! A ledger's file, for reading. The file itself is never changed: it is read under a shared lock, and a repair happens in memory.

use redb::{Database, ReadTransaction, ReadableDatabase, StorageBackend, StorageError};

use super::ledger_file::{FILE_NAME, catch_panic, guard, known_format, open_error};
use super::unchanged::UnchangedFile;
use super::{builder, tables};
use crate::store::contradictions::contradictions;
use crate::store::prelude::*;
use crate::store::{BadRow, OnBadRow, rows};

/// A ledger's file, with a shared lock. What redb writes into it stays in memory.
#[derive(Debug)]
pub struct LedgerCopy {
    /// The file.
    pub path: PathBuf,
    /// The file's length in bytes.
    pub bytes: u64,
    /// The format of its rows.
    pub format: i32,
    copy: Database,
}

impl LedgerCopy {
    /// Opens the ledger in this directory. Refuses a ledger that a broker has open. Other readers may have it open.
    pub fn take(directory: &Path) -> Result<Self, OpenError> {
        let path = directory.join(FILE_NAME);
        let file = open_locked(directory, &path)?;
        let bytes = file.len().map_err(|error| OpenError::Directory { path: directory.to_owned(), error })?;
        let (copy, format) = guard(&path, || open(file, &path))?;
        Ok(Self { path, bytes, format, copy })
    }

    /// The rows of the ledger, in the present format.
    pub(in crate::store) fn rows(&self) -> Result<Migrated<ReadTransaction>, StoreError> {
        Ok(Migrated { rows: self.copy.begin_read()?, format: self.format })
    }

    /// What the books would start with.
    pub fn stored(&self) -> Result<Contents, OpenError> {
        guard(&self.path, || self.read(&mut Err).map_err(|error| open_error(&self.path, error)))
    }

    fn read(&self, bad: OnBadRow<'_>) -> Result<Contents, StoreError> {
        rows::read(&self.rows()?, bad)
    }

    /// The errors of the ledger, one sentence each. Empty without errors.
    pub fn findings(&mut self) -> Vec<String> {
        catch_panic(|| self.check()).unwrap_or_else(|broken| vec![broken.to_string()])
    }

    /// Refuses a file of which any page is damaged.
    pub(super) fn check_pages(&mut self) -> Result<(), OpenError> {
        guard(&self.path, || match self.copy.check_integrity() {
            Ok(true) => Ok(()),
            Ok(false) => Err(OpenError::damaged(&self.path, &"its pages are inconsistent")),
            Err(error) => Err(open_error(&self.path, error.into())),
        })
    }

    fn check(&mut self) -> Vec<String> {
        if let Err(error) = self.check_pages() {
            return vec![error.to_string()];
        }
        let mut findings = vec![];
        let mut bad = |row: BadRow| {
            findings.push(row.to_string());
            Ok(())
        };
        match self.read(&mut bad) {
            Ok(stored) => findings.extend(contradictions(&stored.books)),
            Err(error) => findings.push(error.to_string()),
        }
        findings
    }
}

/// Opens the file. A file that was closed properly needs no repair. If redb begins one all the same, the file is refused, because the
/// repair would return it to an earlier state.
fn open(file: UnchangedFile, path: &Path) -> Result<(Database, i32), OpenError> {
    let unusable = |error: StoreError| open_error(path, error);
    let was_closed = was_closed(&file).map_err(|error| unusable(StorageError::Io(error).into()))?;
    let mut builder = builder();
    builder.set_repair_callback(move |repair| {
        if was_closed {
            repair.abort();
        }
    });
    let copy = builder.create_with_backend(file).map_err(|error| unusable(error.into()))?;
    let transaction = copy.begin_read().map_err(|error| unusable(error.into()))?;
    let format = known_format(path, tables::format(&transaction).map_err(unusable)?)?;
    drop(transaction);
    Ok((copy, format))
}

/// Whether the last writer has closed the file. The file begins with a magic number of 9 bytes. In the byte after it, redb stores whether a
/// repair is required.
fn was_closed(file: &UnchangedFile) -> io::Result<bool> {
    const RECOVERY_REQUIRED: u8 = 2;
    let mut flags = [0];
    file.read(9, &mut flags)?;
    Ok(flags[0] & RECOVERY_REQUIRED == 0)
}

/// Opens the file with a shared lock, so that no process writes to the file until this process closes it.
fn open_locked(directory: &Path, path: &Path) -> Result<UnchangedFile, OpenError> {
    let unusable = |error| OpenError::Directory { path: directory.to_owned(), error };
    // To open a pipe would block until somebody writes into it.
    if path.metadata().is_ok_and(|metadata| !metadata.is_file()) {
        return Err(unusable(io::Error::other("ledger.redb is not a file")));
    }
    let file = match File::open(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            return Err(OpenError::Absent(path.to_owned()));
        }
        opened => opened.map_err(unusable)?,
    };
    match file.try_lock_shared() {
        Err(std::fs::TryLockError::WouldBlock) => return Err(OpenError::InUse(path.to_owned())),
        locked => locked.map_err(io::Error::from).map_err(unusable)?,
    }
    let file = UnchangedFile::new(file).map_err(unusable)?;
    if file.len().map_err(unusable)? == 0 {
        return Err(OpenError::damaged(path, &"it is empty"));
    }
    Ok(file)
}
