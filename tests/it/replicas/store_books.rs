//! What the books write into a database is restored as it was, over the scenarios of the simulation.

use std::cell::RefCell;

use tokio::runtime::Runtime;
use turn_broker::store::{PostgresStorage, Storage};
use turn_ledger::{Batch, Stored, Timestamp};

use super::store::{lead, replica};
use crate::ledger_file::restores;
use crate::ledger_file::walk::disk::Disk;
use crate::support::postgres::TestDatabase;

/// The database and the runtime end after the storage.
struct InDatabase {
    storage: RefCell<PostgresStorage>,
    _database: TestDatabase,
    _runtime: Runtime,
}

impl Disk for InDatabase {
    fn new() -> Self {
        let database = TestDatabase::new().expect("the test has asked");
        let runtime = Runtime::new().unwrap();
        let mut storage = runtime.block_on(async { lead(&mut replica(&database.config(), 1)).await });
        storage.load(Timestamp::default()).unwrap();
        Self { storage: RefCell::new(storage), _database: database, _runtime: runtime }
    }

    fn write(&mut self, batch: Batch) {
        self.storage.borrow_mut().write(&batch.into(), false).unwrap();
    }

    fn read(&self) -> Stored {
        self.storage.borrow_mut().load(Timestamp::default()).unwrap().books
    }
}

#[test]
fn a_database_restores_the_books_that_were_written() {
    if TestDatabase::new().is_some() {
        restores::<InDatabase>(6);
    }
}
