//! A copy of a ledger's file in memory, for reading. The file itself is never changed: it is read under a shared lock, and
//! repair happens in the copy.

use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use redb::backends::InMemoryBackend;
use redb::{Database, ReadableDatabase, StorageBackend};

use super::ledger_file::{FILE_NAME, catch_panic, guard, require_format};
use super::tables;
use crate::store::changes::Contents;
use crate::store::contradictions::contradictions;
use crate::store::rows::{self, BadRow, OnBadRow, StoreError};
use crate::store::storage::OpenError;

/// Bytes of one read.
const CHUNK: usize = 1 << 20;

/// A copy of a ledger's file.
#[derive(Debug)]
pub struct LedgerCopy {
    /// The file.
    pub path: PathBuf,
    /// The file's length in bytes.
    pub bytes: u64,
    copy: Database,
}

impl LedgerCopy {
    /// Copies the ledger in this directory. No other process may have it open.
    pub fn take(directory: &Path) -> Result<Self, OpenError> {
        let path = directory.join(FILE_NAME);
        let (memory, bytes) = read_locked(directory, &path)?;
        let copy = guard(&path, || open(memory, &path))?;
        Ok(Self { path, bytes, copy })
    }

    /// Its rows, for another store.
    pub(in crate::store) fn rows(&self) -> Result<redb::ReadTransaction, StoreError> {
        Ok(self.copy.begin_read()?)
    }

    /// What the books would start with.
    pub fn stored(&self) -> Result<Contents, OpenError> {
        guard(&self.path, || self.read(&mut Err).map_err(|error| OpenError::damaged(&self.path, &error)))
    }

    fn read(&self, bad: OnBadRow<'_>) -> Result<Contents, StoreError> {
        rows::read(&self.copy.begin_read()?, bad)
    }

    /// The errors of the ledger, one sentence each. Empty without errors.
    pub fn findings(&mut self) -> Vec<String> {
        catch_panic(|| self.check()).unwrap_or_else(|broken| vec![broken.to_string()])
    }

    fn check(&mut self) -> Vec<String> {
        match self.copy.check_integrity() {
            Ok(true) => {}
            Ok(false) => return vec!["the file's pages are inconsistent".into()],
            Err(error) => return vec![format!("the file's pages cannot be read: {error}")],
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

fn open(memory: InMemoryBackend, path: &Path) -> Result<Database, OpenError> {
    let database = Database::builder().create_with_backend(memory);
    let copy = database.map_err(|error| OpenError::damaged(path, &error))?;
    let damaged = |error: StoreError| OpenError::damaged(path, &error);
    let transaction = copy.begin_read().map_err(|error| damaged(error.into()))?;
    require_format(path, tables::format(&transaction).map_err(damaged)?)?;
    drop(transaction);
    Ok(copy)
}

/// Reads the whole file under a shared lock, so that no process writes to it meanwhile.
fn read_locked(directory: &Path, path: &Path) -> Result<(InMemoryBackend, u64), OpenError> {
    let unusable = |error| OpenError::Directory { path: directory.to_owned(), error };
    // Opening a pipe would wait for somebody who writes into it.
    if path.metadata().is_ok_and(|metadata| !metadata.is_file()) {
        return Err(unusable(io::Error::other("ledger.redb is not a file")));
    }
    let mut file = match File::open(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            return Err(OpenError::Absent { path: path.to_owned() });
        }
        opened => opened.map_err(unusable)?,
    };
    match file.try_lock_shared() {
        Err(std::fs::TryLockError::WouldBlock) => return Err(OpenError::InUse { path: path.to_owned() }),
        locked => locked.map_err(io::Error::from).map_err(unusable)?,
    }
    let memory = InMemoryBackend::new();
    let bytes = copy_into(&memory, &mut file).map_err(unusable)?;
    if bytes == 0 {
        return Err(OpenError::damaged(path, &"it is empty"));
    }
    Ok((memory, bytes))
}

fn copy_into(memory: &InMemoryBackend, file: &mut File) -> io::Result<u64> {
    memory.set_len(file.metadata()?.len())?;
    let mut chunk = vec![0; CHUNK];
    let mut at = 0;
    loop {
        let read = file.read(&mut chunk)?;
        let Some(bytes) = chunk.get(..read).filter(|bytes| !bytes.is_empty()) else { return Ok(at) };
        memory.write(at, bytes)?;
        at = at.saturating_add(u64::try_from(read).unwrap_or(u64::MAX));
    }
}
