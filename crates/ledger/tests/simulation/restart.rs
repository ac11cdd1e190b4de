//! Tests of restarts. The restored books equal the books before the restart, at the time of the restart and later.

use turn_ledger::source::IceSource;

use crate::faults;
use crate::journal::Journal;
use crate::journal::contradictions::contradictions;
use crate::walk::faults::Fault;
use crate::walk::{Scenario, end_of, visible};

/// Runs a scenario and compares its books with the restored ones.
pub(crate) fn check_restart(scenario: &Scenario) {
    let (mut broker, _) = end_of::<Journal>(scenario);
    let mut again = broker.reopened();
    assert_eq!(contradictions(&broker.stored()), Vec::<String>::new(), "{scenario:?}");
    for later in [0, 60_000, 3_600_000, 30 * 86_400_000] {
        let then = again.now().plus_millis(later);
        again.advance(then);
        broker.books.advance(then);
        assert_eq!(visible(&mut again), visible(&mut broker.books), "{scenario:?}, {later} ms later");
    }
}

#[test]
fn a_restart_changes_nothing_that_a_caller_can_see() {
    // What is reserved while a credential is made ends with the process.
    let faults: Vec<_> = faults().into_iter().filter(|fault| *fault != Fault::Interleaved).collect();
    for seed in 0..150 {
        for strict in [false, true] {
            let mut scenario = Scenario::random(seed, 120, strict, &faults);
            // Which users of a full table have a row may differ.
            scenario.settings.users_max = 100_000;
            // What a relay in the process may have carried since its last count is added at a start, and what sessions of the SFU may
            // have taken.
            if !scenario.settings.sources.contains(&IceSource::Relay) && !scenario.settings.sfu {
                check_restart(&scenario);
            }
        }
    }
}
