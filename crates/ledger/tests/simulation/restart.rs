//! Tests of restarts. The restored books equal the books before the restart, at the time of the restart and later.

use crate::store::MemoryFile;
use crate::walk::faults::Fault;
use crate::walk::{Scenario, restored_equals_written};
use turn_store::contradictions::contradictions;

/// The restored books equal those that were written, and what is stored does not contradict itself.
pub(crate) fn check_restart(scenario: &Scenario) {
    let stored = restored_equals_written::<MemoryFile>(scenario);
    assert_eq!(contradictions(&stored), Vec::<String>::new(), "{scenario:?}");
}

#[test]
fn a_restart_changes_nothing_that_a_caller_can_see() {
    let faults = Fault::all();
    for seed in 0..150 {
        for strict in [false, true] {
            let mut scenario = Scenario::random(seed, 120, strict, &faults);
            // Which users of a full table have a row may differ.
            scenario.settings.users_max = 100_000;
            // What a relay in the process may have carried since its last count is added at a start, and what sessions of the SFU may
            // have taken.
            if !scenario.uses_relay() && !scenario.settings.sfu {
                check_restart(&scenario);
            }
        }
    }
}
