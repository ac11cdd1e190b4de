//! Which faults the books show. Tests: `src/account/found_tests.rs`.

use std::time::Duration;

use super::{Fault, FoundFault};
use turn_ledger::{
    BoundBreak, BudgetMode, ByteCount, CLOCK_DIFFERENCE_TOLERATED, ClockDoubt, CountOwner, Disbelief, Excess,
    IceSource, LackCause, SeenRate, Snapshot,
};

/// The faults that the books show, in a fixed order.
pub fn found_in(snapshot: &Snapshot) -> Vec<FoundFault> {
    let mut found: Vec<FoundFault> = vec![];
    for next in snapshot.broken().map(|reason| fault_of(reason, snapshot)) {
        if found.iter().all(|before| before.fault != next.fault) {
            found.push(next);
        }
    }
    found.extend(in_counts(snapshot));
    if snapshot.frozen {
        found.push(Fault::MintingOff.found("The operator has stopped it."));
    }
    if snapshot.is_promised_in_full() {
        found.push(Fault::PromisedInFull.found(""));
    }
    if snapshot.grants_are_many() {
        let Snapshot { grant_rows, grant_rows_max, .. } = snapshot;
        found.push(Fault::GrantsFull.found(format!("They are {grant_rows} of {grant_rows_max}.")));
    }
    found.extend(of_clock(snapshot));
    found.extend(above_limit(snapshot));
    found
}

/// A reason why the bound may not hold, as a fault. If several reasons give the same fault, [`found_in`] has only the first one.
fn fault_of(reason: BoundBreak, snapshot: &Snapshot) -> FoundFault {
    let measured = &snapshot.measured;
    match reason {
        BoundBreak::Excess if measured.excess.rate.get() > 0 || measured.excess.tail > Duration::ZERO => {
            Fault::AssumptionBroken.found(broken_assumption(snapshot))
        }
        BoundBreak::Excess if snapshot.lacks_grants() => lacking(snapshot),
        BoundBreak::Excess => Fault::KeyUsed.found(format!("While no credential was live, {} GB more were counted in this period than credentials could relay.", measured.excess.bytes.gb_up())),
        BoundBreak::Uncut => Fault::CoturnUnreachable.found(""),
        BoundBreak::UnknownBytes => unknown_bytes(snapshot),
        BoundBreak::Disbelief => {
            let about = measured.disbelief.map(|disbelief| about_count(disbelief, measured.disbelieved));
            Fault::CountsMissing.found(about.unwrap_or_default())
        }
        BoundBreak::VouchedAbove => Fault::CountsMissing.found(format!("App servers reported {} GB more on one day than was counted: the larger figure counts. Check that CLOUDFLARE_ACCOUNT_ID is the account of the TURN key, and that the reports are right.", measured.vouched_above.gb_up())),
        BoundBreak::LateCounts => Fault::CountsLate.found(""),
        BoundBreak::ClockDiffers => {
            let seconds = snapshot.clock_differs_by.as_secs();
            Fault::ClockDisagrees.found(format!("Cloudflare's clock differs from the ledger's time by {seconds} s."))
        }
        BoundBreak::ClockInDoubt => Fault::ClockDisagrees.found(if snapshot.clock_doubt == Some(ClockDoubt::Start) {
            "The machine has started again, and it is not known how long it was off, until Cloudflare's clock confirms the time, or for 5 minutes if no response of Cloudflare says otherwise."
        } else {
            "The machine's clock has jumped ahead, and it is not known whether it is right."
        }),
        BoundBreak::ClockJumped => Fault::ClockDisagrees.found("The ledger has followed a jump of the machine's clock. If the clock was wrong before or is wrong now, credentials minted before the jump relay for longer than is reserved, until they have ended."),
        BoundBreak::EarlierPeriod => clock_behind(),
        BoundBreak::Lacking => lacking(snapshot),
        BoundBreak::Unseen => {
            let source = snapshot.unseen.map(|source| format!("It is {source}."));
            Fault::SessionsUnseen.found(source.unwrap_or_default())
        }
        BoundBreak::NotLeading => Fault::NotLeading.found(""),
    }
}

/// The fault that credentials may relay although the ledger does not know them.
fn lacking(snapshot: &Snapshot) -> FoundFault {
    let fault = match snapshot.lack_cause {
        LackCause::New => Fault::LedgerNew,
        LackCause::Restored => Fault::LedgerIncomplete,
    };
    let until = snapshot.lacks_until;
    fault.found(format!("This is so until {until}, when the longest of them has ended."))
}

fn unknown_bytes(snapshot: &Snapshot) -> FoundFault {
    Fault::CountsUnknown.found(format!("They are {} GB.", snapshot.unknown_bytes.gb_nearest()))
}

fn clock_behind() -> FoundFault {
    Fault::ClockWrong.found("It is behind: it was set back, or was ahead before.")
}

/// The faults of counts, without those that [`fault_of`] reports.
fn in_counts(snapshot: &Snapshot) -> Vec<FoundFault> {
    let (measured, mut found) = (&snapshot.measured, vec![]);
    if measured.is_stale() {
        found.push(Fault::AnalyticsStale.found(""));
    }
    if let Some(SeenRate { rate, source }) = measured.raised {
        let assumed = snapshot.assumed_rate;
        found.push(
            Fault::AssumptionRaised.found(format!("It is {rate} at {source}; {assumed} were assumed.")),
        );
    }
    // If the unknown bytes are many, the bound may not hold, so `fault_of` reports them.
    if snapshot.has_unknown_bytes() && snapshot.unknown_bytes_are_few() {
        found.push(unknown_bytes(snapshot));
    }
    found
}

/// Why a count is not believed, and what to do. `owner`: the owner of the count.
fn about_count(disbelief: Disbelief, owner: Option<CountOwner>) -> &'static str {
    match disbelief {
        Disbelief::Unproven if owner.is_some_and(|owner| owner.source == IceSource::Sfu) => {
            "For 58 minutes, Cloudflare has counted no bytes of the SFU while sessions pulled tracks, so what is reserved for them stays: check that CLOUDFLARE_ACCOUNT_ID is the account of CALLS_APP_ID."
        }
        Disbelief::Absurd => {
            "Beyond the margin, it grew by more than ten times what live credentials could relay, and by a tenth of the limit: it is ignored until the next count confirms it."
        }
        Disbelief::Fallen => {
            "It is lower than an earlier one of the same day by more than ANALYTICS_MARGIN_PERCENT: the higher one stays until a count an hour later and a probe confirm the lower one."
        }
        Disbelief::Unproven => {
            "For 58 minutes, counts have shown neither bytes of live credentials nor what the broker itself relayed, so they release nothing: check that CLOUDFLARE_ACCOUNT_ID is the account of the TURN key."
        }
    }
}

/// How far the counts exceed the assumptions, and when this fault ends.
fn broken_assumption(Snapshot { measured, assumed_rate, unknown_bytes, .. }: &Snapshot) -> String {
    let Excess { bytes, rate, tail } = measured.excess;
    let assumed = measured.raised.map_or(*assumed_rate, |raised| raised.rate);
    let is_explained_by_others = *unknown_bytes >= bytes;
    let bytes = bytes.gb_up();
    if rate.get() == 0 && tail > Duration::ZERO {
        let seconds = tail.as_secs();
        format!(
            "Counts of this period show {bytes} GB more than is assumed: credentials relayed for up to {seconds} s after their expiry. This ends with the period, or with a start at which TURN_EXPIRY_TAIL_SECONDS is that or more."
        )
    } else {
        let also = match tail.as_secs() {
            0 => String::new(),
            seconds => format!(
                " They also relayed for up to {seconds} s after their expiry: set TURN_EXPIRY_TAIL_SECONDS to that or more, too."
            ),
        };
        let others = if is_explained_by_others {
            " Bytes under other identifiers explain this: do first what UNKNOWN_BYTES says."
        } else {
            ""
        };
        format!(
            "Counts of this period show {bytes} GB more than live credentials could relay at {assumed} each: they relayed up to {rate} each. This ends once the broker has found which credentials do, and assumes their rate (100 Mbps at most), or with the period, or with a start at which LIABILITY_MBPS_PER_GRANT is that rate or more.{also}{others}"
        )
    }
}

/// The fault of the clock, if there is one that [`fault_of`] does not report.
fn of_clock(snapshot: &Snapshot) -> Option<FoundFault> {
    if snapshot.is_stopped_by_clock() {
        Some(Fault::ClockAhead.found(""))
    } else if snapshot.clock_ahead > CLOCK_DIFFERENCE_TOLERATED {
        Some(Fault::ClockWrong.found("It has jumped ahead: the ledger waits until Cloudflare's clock confirms the jump, or for 5 minutes if no response of Cloudflare says otherwise. Beyond two days nothing metered is minted meanwhile."))
    } else {
        let is_reported = snapshot.broken().any(|reason| reason == BoundBreak::EarlierPeriod);
        let is_behind = snapshot.clock_behind > CLOCK_DIFFERENCE_TOLERATED && !is_reported;
        is_behind.then(clock_behind)
    }
}

/// The fault that usage can pass the limit. Estimate mode promises no bound, so in this mode the fault is there only if live credentials
/// would pass the limit at the rate that counts have shown.
fn above_limit(snapshot: &Snapshot) -> Option<FoundFault> {
    let (figures, bound) = (snapshot.figures, snapshot.figures.overshoot_bound());
    let likely = snapshot.likely_overshoot.unwrap_or_default();
    let is_strict = snapshot.mode == BudgetMode::Strict;
    // No credential can relay more if the worst case is what is used.
    let detail = if figures.committed <= figures.used {
        format!("With what sampling may have missed, it is {} GB past the limit.", bound.gb_up())
    } else if is_strict {
        format!("Live credentials could take it {} GB past the limit.", bound.gb_up())
    } else {
        let likely_gb = likely.gb_up();
        match snapshot.measured.highest_hour.filter(|rate| rate.get() > 0) {
            Some(rate) => format!(
                "Live credentials take it {likely_gb} GB past the limit if each relays {rate}, the average of one in the busiest hour of this period. A shorter TURN_TTL_SECONDS lowers it."
            ),
            None => format!("It is {likely_gb} GB past the limit, and live credentials may relay more."),
        }
    };
    let overshoot = if is_strict { bound } else { likely };
    (overshoot > ByteCount::ZERO).then(|| Fault::BoundAboveLimit.found(detail))
}
