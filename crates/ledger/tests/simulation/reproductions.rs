//! Every walk that ever failed, so that it never fails again.

use crate::check;
use crate::walk::Walk;

/// Walks of special interest: first ones of each mode, long ones.
#[test]
fn walks_that_are_kept() {
    for (seed, steps, strict) in [(0, 2_000, false), (0, 2_000, true), (1, 2_000, true)] {
        check(Walk { seed, steps, strict });
    }
}

/// A reading gave room, a grant was admitted on it, and the process died before the reading was on disk.
#[test]
fn what_a_strict_grant_was_admitted_on_is_on_disk_before_it() {
    check(Walk { seed: 5_367, steps: 200, strict: true });
}
