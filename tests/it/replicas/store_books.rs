//! What the books write into a database is restored as it was, over the scenarios of the simulation.

use std::cell::RefCell;

use tokio::runtime::Runtime;

use super::store::{blocking, lead, replica};
use crate::format::{TABLES, earlier, has_what_earlier_ones_have};
use crate::ledger_file::restores;
use crate::ledger_file::walk::disk::Disk;
use crate::support::prelude::*;

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

/// In one transaction: what is in the table is all of the earlier format, or all of the present one.
#[tokio::test]
async fn a_leader_migrates_a_ledger_of_an_earlier_format() {
    let Some(database) = TestDatabase::new() else { return };
    let mut one = replica(&database.config(), 1);
    for format in FORMAT_OLDEST..FORMAT {
        let rows = earlier(format);
        one.observe().await.unwrap();
        database.run(&format!("DELETE FROM item; UPDATE shard SET held = false, format = {format}")).await;
        for (kind, table) in TABLES.iter().enumerate() {
            for (key, row) in rows.get(*table).into_iter().flatten() {
                let item = format!("INSERT INTO item VALUES ({kind}, '\\x{key}', '\\x{row}')");
                database.run(&item).await;
            }
        }
        let seen = one.observe().await.unwrap();
        let mut storage = one.stand(&seen).await.unwrap().unwrap();
        let books = blocking(move || storage.read().unwrap().books).await;
        has_what_earlier_ones_have(format, &rows, &books);
        assert_eq!(database.number("SELECT format::bigint FROM shard").await, i64::from(FORMAT));
        let mut storage = lead(&mut one).await;
        let again = blocking(move || storage.read().unwrap().books).await;
        assert_eq!(format!("{again:?}"), format!("{books:?}"), "format {format}");
    }
}
