//! Tests that the ledger file contains everything that the books write. They run scenarios of the simulation on a real
//! file, and compare the books that it restores with those that wrote it.

#[expect(dead_code, reason = "these tests use a part of the simulation")]
#[path = "../../crates/ledger/tests/simulation/walk/mod.rs"]
pub(crate) mod walk;

use tempfile::TempDir;
use turn_broker::store::contradictions::contradictions;

use crate::support::prelude::*;
use walk::disk::Disk;
use walk::faults::Fault;
use walk::{Scenario, restored_equals_written};

pub(crate) struct LedgerFile(TempDir);

impl Disk for LedgerFile {
    fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    fn write(&mut self, batch: Batch) {
        once_free(|| FileStorage::open(self.0.path())).unwrap().write(&batch.into(), false).unwrap();
    }

    fn read(&self) -> Stored {
        once_free(|| FileStorage::open(self.0.path())).unwrap().load(Timestamp::default()).unwrap().books
    }
}

/// What such a disk restores is what was written, without contradictions.
pub(crate) fn restores<D: Disk>(seeds: u64) {
    for seed in 0..seeds {
        for strict in [false, true] {
            let scenario = Scenario::random(seed, 60, strict, &Fault::all());
            // What a relay in the process may have carried since its last count is added at a start.
            if scenario.uses_relay() {
                continue;
            }
            let stored = restored_equals_written::<D>(&scenario);
            assert_eq!(contradictions(&stored), Vec::<String>::new(), "{scenario:?}");
        }
    }
}

#[test]
fn a_ledger_file_restores_the_books_without_contradictions() {
    restores::<LedgerFile>(9);
}
