//! The ledger file of a simulated broker, in memory: the tables that the service writes and reads.

use std::cell::RefCell;

use redb::backends::InMemoryBackend;
use redb::{Database, ReadableDatabase, WriteTransaction};
use turn_ledger::{Batch, Stored};

use super::Changes;
use crate::walk::disk::Disk;
use turn_store::rows::{self, KEY_COPIED, KEY_TOKEN_KEY, Pruned, StoreError};
use turn_store::tables;

/// See the module's description. Batches are written together when the ledger is read, as the service writes those that wait together.
pub(crate) struct MemoryFile {
    database: Database,
    waiting: RefCell<Option<Batch>>,
    pruned: RefCell<Pruned>,
}

impl MemoryFile {
    fn change<T>(&self, change: impl FnOnce(&WriteTransaction) -> Result<T, StoreError>) -> T {
        let write = || {
            let transaction = self.database.begin_write()?;
            let changed = change(&transaction)?;
            transaction.commit()?;
            Ok::<_, StoreError>(changed)
        };
        write().unwrap_or_else(|error| panic!("{error}"))
    }

    fn write_waiting(&self) {
        let Some(batch) = self.waiting.take() else { return };
        let pruned = self.pruned.take();
        self.pruned.replace(
            self.change(|transaction| rows::write(&mut &*transaction, &Changes::from(batch), &pruned)),
        );
    }
}

impl Disk for MemoryFile {
    fn new() -> Self {
        let database = Database::builder().create_with_backend(InMemoryBackend::new());
        let database = database.unwrap_or_else(|error| panic!("{error}"));
        let file = Self { database, waiting: RefCell::default(), pruned: RefCell::default() };
        file.change(|transaction| {
            tables::make_all(transaction)?;
            tables::put(transaction, KEY_TOKEN_KEY, &[0; 64])
        });
        file
    }

    fn write(&mut self, batch: Batch) {
        match self.waiting.get_mut() {
            Some(waiting) => waiting.append(batch),
            waiting => *waiting = Some(batch),
        }
    }

    fn read(&self) -> Stored {
        self.write_waiting();
        let read = || rows::read::<()>(&self.database.begin_read()?, &mut Err);
        let stored = read().unwrap_or_else(|error| panic!("{error}")).books;
        self.pruned.replace(Pruned::of(&stored));
        stored
    }

    fn copy(&self) -> Option<Self> {
        self.write_waiting();
        let copy = Self::new();
        copy.change(|transaction| {
            rows::copy(&self.database.begin_read()?, &mut &*transaction)?;
            tables::put(transaction, KEY_COPIED, &[])
        });
        Some(copy)
    }
}
