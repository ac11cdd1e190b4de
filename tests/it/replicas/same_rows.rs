//! Both stores keep the same rows, byte for byte, whatever the books write. So a ledger can move from one to the other.

use std::cell::RefCell;
use std::collections::BTreeMap;

use redb::{Database, ReadableDatabase, ReadableTable, TableDefinition};
use tempfile::TempDir;
use tokio::runtime::Runtime;
use turn_broker::store::file::FileStorage;
use turn_broker::store::file::ledger_file::FILE_NAME;
use turn_broker::store::postgres::storage::PostgresStorage;
use turn_broker::store::storage::Storage;
use turn_ledger::{Batch, IceSource, Stored};

use super::store::{lead, replica};
use crate::ledger_file::walk::disk::Disk;
use crate::ledger_file::walk::faults::FAULTS;
use crate::ledger_file::walk::{Scenario, restored_equals_written};
use crate::support::postgres::TestDatabase;

/// The longest period, in minutes.
const PERIOD_MAX: i64 = 31 * 1_440;

/// The tables in the order of their places.
const TABLES: [&str; 7] = ["meta", "flows", "days", "open_connections", "grants", "sessions", "spenders"];

/// Place of its table, key, row.
type Rows = BTreeMap<(i16, Vec<u8>), Vec<u8>>;
/// Source, minute, live grants and what they may relay.
type Marks = Vec<(String, i64, i64, i64)>;

/// A file and a database that get the same batches.
struct Both {
    directory: TempDir,
    database: TestDatabase,
    storage: RefCell<PostgresStorage>,
    runtime: Runtime,
}

impl Disk for Both {
    fn new() -> Self {
        let database = TestDatabase::new().expect("the test has asked");
        let runtime = Runtime::new().unwrap();
        let mut storage = runtime.block_on(async { lead(&mut replica(&database.config(), 1)).await });
        storage.load().unwrap();
        Self { directory: tempfile::tempdir().unwrap(), database, storage: RefCell::new(storage), runtime }
    }

    fn write(&mut self, batch: Batch) {
        let changes = batch.into();
        FileStorage::open(self.directory.path()).unwrap().write(&changes).unwrap();
        self.storage.borrow_mut().write(&changes).unwrap();
    }

    fn read(&self) -> Stored {
        let of_file = FileStorage::open(self.directory.path()).unwrap().load().unwrap();
        let stored = self.storage.borrow_mut().load().unwrap().books;
        let kept_from = of_file.books.now().map_or(0, |now| now.as_millis() / 60_000 - PERIOD_MAX);
        let (rows, marks) = self.rows_of_file();
        let (found, found_marks) = self.runtime.block_on(self.rows_of_database());
        // Each store forgets old minutes in its own time.
        let recent = |rows: Rows| -> Rows {
            rows.into_iter().filter(|((kind, key), _)| *kind != 1 || slot_of(key).1 >= kept_from).collect()
        };
        assert_eq!(recent(found), recent(rows));
        let recent =
            |marks: Marks| -> Marks { marks.into_iter().filter(|mark| mark.1 >= kept_from).collect() };
        assert_eq!(recent(found_marks), recent(marks));
        stored
    }
}

impl Both {
    fn rows_of_file(&self) -> (Rows, Marks) {
        let database = Database::open(self.directory.path().join(FILE_NAME)).unwrap();
        let transaction = database.begin_read().unwrap();
        let rows_of = |name: &str| {
            let table = transaction.open_table(TableDefinition::<&[u8], &[u8]>::new(name)).unwrap();
            let rows = table.iter().unwrap().map(|row| {
                let (key, row) = row.unwrap();
                (key.value().to_vec(), row.value().to_vec())
            });
            rows.collect::<Vec<_>>()
        };
        let mut found = Rows::new();
        for (kind, name) in (0..).zip(TABLES) {
            found.extend(rows_of(name).into_iter().map(|(key, row)| ((kind, key), row)));
        }
        found.retain(|(kind, key), _| *kind != 0 || (key != b"format" && key != b"token-key"));
        let marks = rows_of("marks").into_iter().map(|(key, row)| {
            let (source, minute) = slot_of(&key);
            let (live, per_minute) = postcard::from_bytes(&row).unwrap();
            (source, minute, live, per_minute)
        });
        let mut marks: Marks = marks.collect();
        marks.sort();
        (found, marks)
    }

    async fn rows_of_database(&self) -> (Rows, Marks) {
        let client = self.database.client().await;
        let items = "SELECT kind, key, row FROM item WHERE kind <> 0 OR key <> 'token-key'";
        let items = client.query(items, &[]).await.unwrap();
        let marks = "SELECT source, minute, live, unreported FROM mark WHERE live <> 0 OR unreported <> 0 ORDER BY 1, 2";
        let marks = client.query(marks, &[]).await.unwrap();
        (
            items.iter().map(|row| ((row.get(0), row.get(1)), row.get(2))).collect(),
            marks.iter().map(|row| (row.get(0), row.get(1), row.get(2), row.get(3))).collect(),
        )
    }
}

/// The source and the minute of a key.
fn slot_of(key: &[u8]) -> (String, i64) {
    let (source, minute): (String, [u8; 8]) = postcard::from_bytes(key).unwrap();
    (source, i64::from_be_bytes(minute) ^ i64::MIN)
}

#[test]
fn a_database_has_the_rows_of_a_file_byte_for_byte_and_restores_the_same_books() {
    if TestDatabase::new().is_none() {
        return;
    }
    for seed in 0..6 {
        for strict in [false, true] {
            let scenario = Scenario::random(seed, 60, strict, FAULTS);
            // What a relay in the process may have carried since its last count is added at a start.
            if !scenario.settings.sources.contains(&IceSource::Relay) {
                restored_equals_written::<Both>(&scenario);
            }
        }
    }
}
