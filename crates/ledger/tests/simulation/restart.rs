//! What is on disk in full comes back in full: the books after a restart are the books before it, now and later.

use turn_ledger::verify::contradictions;

use crate::walk::disk::MemoryDisk;
use crate::walk::{Walk, end_of, visible};

#[test]
fn a_restart_changes_nothing_that_anybody_can_see() {
    for seed in 0..100 {
        for strict in [false, true] {
            let walk = Walk { seed, steps: 60, strict };
            let mut broker = end_of(walk, MemoryDisk::new());
            let mut again = broker.reopened();
            assert_eq!(contradictions(&broker.stored()), Vec::<String>::new(), "{walk:?}");
            for later in [0, 60_000, 3_600_000, 30 * 86_400_000] {
                let then = again.snapshot().figures.now.plus_millis(later);
                again.advance(then);
                broker.books.advance(then);
                assert_eq!(visible(&again), visible(&broker.books), "{walk:?}, {later} ms later");
            }
        }
    }
}
