//! What is on disk in full comes back in full: the books after a restart are the books before it, now and later.

use std::sync::Arc;
use std::time::Duration;

use turn_broker::account::books::{Books, Statement};
use turn_broker::journal::verify::contradictions;

use crate::knob;
use crate::walk::{Walk, end_of};

/// Everything about books that a caller can see.
fn visible(books: &Books) -> (Statement, Vec<(Arc<str>, u64)>, u64) {
    let mut statement = books.statement();
    // A process that has just begun has not waited for a reading yet.
    statement.measured.unread_for = Duration::ZERO;
    let charged = books.connections().map(|connection| {
        let bytes = connection.charged(statement.figures.now, books.rules()).get();
        (Arc::clone(&connection.id), bytes)
    });
    (statement, charged.collect(), books.previous().map_or(0, |(_, used)| used.get()))
}

#[test]
fn a_restart_changes_nothing_that_anybody_can_see() {
    for seed in 0..100 {
        for strict in [false, true] {
            let walk = Walk { seed, steps: 60, strict };
            let mut broker = end_of(walk);
            let mut again = broker.reopened();
            for later in [0, 60_000, 3_600_000, 30 * 86_400_000] {
                let then = again.statement().figures.now.plus_millis(later);
                again.advance(then);
                broker.books.advance(then);
                assert_eq!(visible(&again), visible(&broker.books), "{walk:?}, {later} ms later");
            }
        }
    }
}

/// Seeds whose walks told something apart once. 1743: a period that was slept through, and a sum of the one before it that
/// stayed in the file.
const KEPT: [u64; 1] = [1743];

/// The file forgets what counts no more; the books that never went through it are the measure.
#[test]
fn a_real_ledger_holds_all_that_counts_and_no_contradiction() {
    let directory = std::env::temp_dir().join(format!("turn-broker-walks-{}", std::process::id()));
    for seed in KEPT.into_iter().chain(0..knob("SEEDS", 12)) {
        for strict in [false, true] {
            let walk = Walk { seed, steps: 60, strict };
            let mut broker = end_of(walk);
            let (recovered, mut again) = broker.in_a_file(&directory);
            assert_eq!(contradictions(&recovered), Vec::<String>::new(), "{walk:?}");
            for later in [0, 60_000, 3_600_000, 30 * 86_400_000] {
                let then = again.statement().figures.now.plus_millis(later);
                again.advance(then);
                broker.books.advance(then);
                assert_eq!(visible(&again), visible(&broker.books), "{walk:?}, {later} ms later");
            }
            std::fs::remove_dir_all(&directory).unwrap_or_else(|error| panic!("{error}"));
        }
    }
}
