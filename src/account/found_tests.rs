//! Tests of what the books show that an operator must know.

use std::sync::Arc;
use std::time::Duration;

use strum::VariantArray;

use crate::account::testing::account;
use crate::alert::{Fault, found_in};
use turn_base::clock::SystemClock;
use turn_ledger::{BoundBreak, ClockDoubt, Disbelief, IceSource, LackCause, Snapshot};

const LONG: Duration = Duration::from_secs(40 * 86_400);

/// The bound may not hold for this reason alone.
fn broken_by(reason: BoundBreak) -> Snapshot {
    let mut snapshot = account(Arc::new(SystemClock)).snapshot();
    let much = snapshot.figures.limit;
    let later = snapshot.figures.now.plus(LONG);
    let measured = &mut snapshot.measured;
    match reason {
        BoundBreak::Excess => measured.excess.bytes = much,
        BoundBreak::Uncut => measured.uncut = true,
        BoundBreak::UnknownBytes => snapshot.unknown_bytes = much,
        BoundBreak::Disbelief => measured.disbelief = Some(Disbelief::Absurd),
        BoundBreak::VouchedAbove => measured.vouched_above = much,
        BoundBreak::LateCounts => measured.late_counts = true,
        BoundBreak::ClockDiffers => snapshot.clock_differs_by = LONG,
        BoundBreak::ClockInDoubt => snapshot.clock_doubt = Some(ClockDoubt::Jump),
        BoundBreak::ClockJumped => snapshot.jumped_until = later,
        BoundBreak::EarlierPeriod => snapshot.clock_behind = LONG,
        BoundBreak::Lacking => snapshot.lacks_until = later,
        BoundBreak::Unseen => snapshot.unseen = Some(IceSource::Coturn),
        BoundBreak::NotLeading => snapshot.leads = false,
    }
    snapshot
}

#[test]
fn each_reason_why_the_bound_may_not_hold_has_a_hint() {
    for reason in BoundBreak::VARIANTS {
        let snapshot = broken_by(*reason);
        assert_eq!(snapshot.broken().collect::<Vec<_>>(), [*reason]);
        assert!(!snapshot.bound_holds());
        assert_eq!(found_in(&snapshot).len(), 1, "{reason:?}");
    }
    let holds = account(Arc::new(SystemClock)).snapshot();
    assert!(holds.bound_holds() && found_in(&holds).is_empty());
}

/// What is counted of them may be unexplained because their grants are lacking.
#[test]
fn reasons_with_one_hint_show_it_once() {
    let lacking = broken_by(BoundBreak::Lacking);
    for (cause, fault) in [(LackCause::New, Fault::LedgerNew), (LackCause::Restored, Fault::LedgerIncomplete)]
    {
        let mut snapshot = Snapshot { lack_cause: cause, ..lacking };
        snapshot.measured.excess.bytes = snapshot.figures.limit;
        let faults: Vec<_> = found_in(&snapshot).into_iter().map(|found| found.fault).collect();
        assert_eq!(faults, [fault]);
    }
}
