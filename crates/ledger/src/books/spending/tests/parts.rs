//! Counts by grant that are taken in parts.

use super::*;
use crate::grant_counts::GrantCounts;
use crate::traffic::Traffic;

/// The process ends after a part of a final count. The next one cannot ask for that hour at first, and counts the open span.
#[test]
fn a_final_count_that_was_cut_off_is_taken_once() {
    let mut broker = Broker::new(BudgetMode::Estimate, SpenderTerms::default());
    let grants: Vec<_> = (0..300).map(|_| broker.mint(requester("ann"), 3_000).unwrap()).collect();
    broker.books.advance(at(5_400));
    let counts = |minutes: u64, is_final| GrantCounts {
        from: broker.books.grants().counted_until(SOURCE),
        until: at(minutes * 60),
        by_grant: grants.iter().map(|grant| (grant.id, Traffic::new(0, 1_000))).collect(),
        is_complete: true,
        is_final,
        ..GrantCounts::default()
    };
    let (hour, open) = (counts(60, true), counts(90, false));
    assert_eq!(broker.books.take_grant_counts(SOURCE, &hour), None, "a part is taken");
    broker.restart();
    for (counts, is_taken) in [(&open, false), (&hour, true)] {
        let mut taken = None;
        while taken.is_none() {
            taken = broker.books.take_grant_counts(SOURCE, counts);
        }
        assert_eq!(taken, Some(is_taken));
    }
    assert_eq!(broker.of("ann").map(|(bytes, ..)| bytes), Some(300 * 1_000));
}
