//! Scenarios that failed once. They are literal operations, so a change of the random choice does not change them.

use turn_ledger::books::Written;

use crate::check;
use crate::restart::check_restart;
use crate::walk::Scenario;
use crate::walk::ops::Op::{CrashAfterCommit, Flush, Mint, MintUnwritten, Pause, Read, Wait};

const MINUTE: u64 = 60_000;
const HOUR: u64 = 60 * MINUTE;
const DAY: u64 = 24 * HOUR;

/// A grant was admitted because a reading had released budget, and the process died before the reading was on disk.
#[test]
fn a_strict_grant_is_stored_with_the_reading_that_admitted_it() {
    let mut ops = vec![Mint { life: 300, delay: 0 }; 20];
    ops.extend([Wait { millis: 3 * HOUR, share: 0 }, Read { back: 0, missed: 0 }]);
    ops.extend(vec![CrashAfterCommit { life: 300 }; 12]);
    ops.push(Wait { millis: 3 * HOUR, share: 256 });
    check(&Scenario { strict: true, before_reset: 20 * DAY, ops });
}

/// No process ran during a whole period. After a restart, the sum of an older period was shown as the previous one.
#[test]
fn a_period_that_no_process_saw_has_no_sum() {
    let ops = vec![
        Mint { life: 3_600, delay: 0 },
        Wait { millis: HOUR, share: 256 },
        Read { back: 0, missed: 0 },
        Wait { millis: DAY, share: 0 },
        Flush,
        Wait { millis: 70 * DAY, share: 0 },
    ];
    check_restart(&Scenario { strict: false, before_reset: 4 * HOUR, ops });
}

/// A grant that could not be written is undone. The other changes of its batch stay.
#[test]
fn a_grant_that_was_not_written_is_not_found_after_a_restart() {
    for written in [Written::No, Written::Unknown] {
        let ops = vec![
            Mint { life: 300, delay: 0 },
            MintUnwritten { life: 86_400, written },
            Wait { millis: MINUTE, share: 256 },
            Flush,
        ];
        check_restart(&Scenario { strict: true, before_reset: 20 * DAY, ops });
    }
}

/// Grants minted while the wall clock was ahead and not accepted lost the whole jump once it was accepted.
#[test]
fn grants_minted_while_the_clock_is_in_doubt_are_promised_until_they_end() {
    for strict in [false, true] {
        let mut ops = vec![Pause { millis: 8 * HOUR, share: 0 }];
        for _ in 0..2 {
            ops.extend(vec![Mint { life: 300, delay: 0 }; 5]);
            ops.extend([Wait { millis: 6 * MINUTE, share: 0 }, Read { back: 0, missed: 0 }]);
        }
        ops.push(Wait { millis: 3 * HOUR, share: 256 });
        check(&Scenario { strict, before_reset: 20 * DAY, ops });
    }
}
