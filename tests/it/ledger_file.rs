//! The ledger file holds what the books have written. The walks are those of the simulation, on a real file; the same walk
//! with its disk in memory is the measure.

#[path = "../../crates/ledger/tests/simulation/walk/mod.rs"]
mod walk;

use std::path::PathBuf;

use turn_broker::journal::Storage;
use turn_broker::journal::store::Store;
use turn_ledger::changes::{Batch, Stored};
use turn_ledger::verify::contradictions;

use walk::disk::{Disk, MemoryDisk};
use walk::{Walk, end_of, visible};

/// Seeds that found a fault once. 1743: no instant of a whole period was seen, and a sum of the one before it stayed in the
/// file.
const KEPT: [u64; 1] = [1743];

struct LedgerFile(PathBuf);

impl Disk for LedgerFile {
    fn write(&mut self, batch: Batch) {
        Store::open(&self.0).unwrap().write(&batch).unwrap();
    }

    fn read(&self) -> Stored {
        Store::open(&self.0).unwrap().load().unwrap()
    }
}

impl Drop for LedgerFile {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

#[test]
fn a_ledger_file_holds_all_that_counts_and_no_contradiction() {
    for seed in KEPT.into_iter().chain(0..6) {
        for strict in [false, true] {
            let walk = Walk { seed, steps: 60, strict };
            let directory = format!("turn-broker-walk-{seed}-{strict}-{}", std::process::id());
            let file = LedgerFile(std::env::temp_dir().join(directory));
            let mut in_memory = end_of(walk, MemoryDisk::new());
            let mut on_disk = end_of(walk, file);
            let mut again = on_disk.reopened();
            assert_eq!(contradictions(&on_disk.stored()), Vec::<String>::new(), "{walk:?}");
            for later in [0, 60_000, 3_600_000, 30 * 86_400_000] {
                let then = again.snapshot().figures.now.plus_millis(later);
                again.advance(then);
                in_memory.books.advance(then);
                assert_eq!(visible(&again), visible(&in_memory.books), "{walk:?}, {later} ms later");
            }
        }
    }
}
