//! A disk in memory, for tests of the store and of what waits for it.

use std::sync::Mutex;

use crate::store::prelude::*;

/// A disk in memory that can fail, shared with the test.
#[derive(Clone, Debug, Default)]
pub(crate) struct MemoryStorage(Arc<Mutex<MemoryDisk>>);

/// What is on it, and how it behaves.
#[derive(Debug, Default)]
pub(crate) struct MemoryDisk {
    /// The books' time in each batch, in seconds.
    pub(crate) written: Vec<i64>,
    /// It is full.
    pub(crate) fails: bool,
    /// Another replica leads.
    pub(crate) is_lost: bool,
    /// How often it was made usable again.
    pub(crate) recovered: usize,
    /// Nothing follows.
    pub(crate) is_released: bool,
}

impl MemoryStorage {
    pub(crate) fn disk(&self) -> std::sync::MutexGuard<'_, MemoryDisk> {
        self.0.lock().unwrap()
    }
}

impl Storage for MemoryStorage {
    fn read(&mut self) -> Result<Contents, OpenError> {
        Ok(Contents::default())
    }

    fn put_keys(&mut self, _: &TokenKeys, _: &Stored) -> Result<(), OpenError> {
        Ok(())
    }

    fn write(&mut self, batch: &Changes, is_last: bool) -> Result<(), WriteError> {
        let mut disk = self.disk();
        if disk.is_lost {
            return Err(Lost::Fenced.into());
        }
        if disk.fails {
            return Err(
                StoreError::from(redb::StorageError::Io(std::io::ErrorKind::StorageFull.into())).into()
            );
        }
        disk.written.push(batch.books.head.now.as_secs());
        disk.is_released = is_last;
        Ok(())
    }

    fn recover(&mut self) -> Result<(), WriteError> {
        self.disk().recovered += 1;
        Ok(())
    }

    fn copier(&self) -> Arc<dyn CopyLedger> {
        Arc::new(self.clone())
    }
}

impl CopyLedger for MemoryStorage {
    fn copy(&self) -> Result<LedgerFile, BackupError> {
        Err(std::io::Error::from(std::io::ErrorKind::Unsupported).into())
    }
}
