//! Which faults there are. Pure. The hints of the status, the alerts and `/ready` are made from this one list: no other module can make a
//! [`FoundFault`]. Tests: `src/http/hints_tests.rs`.

use std::time::Duration;

use super::mints::MintHours;
use super::rules::AtLimitState;
use super::stop::RELAYS_USED_UP;
use super::{Fault, FoundFault, MintFacts, Severity, StopCode, minting};
use crate::config::{Config, CoturnStatsConfig};
use crate::rate::{PresentRate, VERY_NEAR};
use turn_ledger::{
    BoundBreak, BudgetMode, ByteCount, CLOCK_DIFFERENCE_TOLERATED, ClockDoubt, CountOwner, Day, Excess,
    Figures, IceSource, IdDigest, KeptAddresses, LackCause, NotAdmitted, SeenRate, Snapshot, Timestamp,
};

/// How long credentials may be in use before a missing report is a fault.
const UNREPORTED_MIN: Duration = Duration::from_secs(600);
/// The same in a period that has begun with live credentials: they may have been reported before, and reports are counted anew.
const UNREPORTED_SINCE_RESET_MIN: Duration = Duration::from_secs(86_400);

/// What decides about faults and alerts besides the books and the settings. Each text is of one or more sentences.
#[derive(Clone, Debug, Default)]
pub struct ServiceFacts {
    /// What decides, together with the books, whether a metered credential is issued.
    pub mint: MintFacts,
    /// The sources over which calls are made.
    pub used: Vec<IceSource>,
    /// Whether coturn's command line is used, so that its calls can be ended; `None` if coturn does not mint.
    pub coturn: Option<bool>,
    /// Why the last listing of a coturn failed.
    pub listing_failure: Option<String>,
    /// What is done with live credentials at the limit.
    pub at_limit: AtLimitState,
    /// Credentials that must end and still run, because the provider refuses to revoke them.
    pub not_revoked: usize,
    /// Why a provider does not mint, or none of the operator's own relays works; empty if that is not known.
    pub provider_down: Option<String>,
    /// Which relays fail the probes, and why.
    pub relays_down: Option<String>,
    /// Why Cloudflare's own count could not be read the last time, and what to do.
    pub analytics_failure: Option<String>,
    /// Whether Cloudflare is asked for the bytes of known TURN keys.
    pub counts_keys: bool,
    /// The first use of the period.
    pub used_since: Timestamp,
    /// The rate at which the budget is used.
    pub rate: PresentRate,
    /// The bytes of the SFU in this period.
    pub used_at_sfu: ByteCount,
    /// The places of which callers have taken 80 %.
    pub nearly_full: Vec<String>,
    /// The mints of the last week.
    pub mints: MintHours,
    /// From where requests come through a proxy that is not trusted, as it seems.
    pub untrusted_proxy: Option<String>,
    /// Which leader was lost.
    pub lost_leader: Option<String>,
    /// What to change about the replicas.
    pub replicas_differ: Option<String>,
    /// Why the ledger cannot be written; empty if that is not known.
    pub ledger_failure: Option<String>,
    /// Why a restart loses the ledger; empty if it is kept in memory.
    pub volatile: Option<String>,
}

/// The faults that there are, each once, in the order of [`Fault`].
pub fn faults(snapshot: &Snapshot, facts: &ServiceFacts, config: &Config) -> Vec<FoundFault> {
    let mut found: Vec<_> =
        snapshot.broken().map(|reason| fault_of(reason, snapshot, facts, config)).collect();
    found.extend(of_counts(snapshot, facts, config).into_iter().flatten());
    found.extend(of_minting(snapshot, facts, config).into_iter().flatten());
    // Of several reasons for one fault, the first one stays.
    found.sort_by_key(|found| found.fault);
    found.dedup_by_key(|found| found.fault);
    found
}

impl Fault {
    /// This fault, if there is a detail, which may be empty.
    fn if_there(self, detail: Option<impl Into<String>>) -> Option<FoundFault> {
        detail.map(|detail| self.found(detail))
    }
}

impl FoundFault {
    fn until(self, until: Option<Timestamp>) -> Self {
        Self { until, ..self }
    }

    fn into_info(self) -> Self {
        Self { severity: Severity::Info, ..self }
    }
}

/// A reason why the bound may not hold, as a fault.
fn fault_of(reason: BoundBreak, snapshot: &Snapshot, facts: &ServiceFacts, config: &Config) -> FoundFault {
    let measured = &snapshot.measured;
    match reason {
        BoundBreak::Excess => Fault::AssumptionBroken.found(broken_assumption(snapshot)),
        BoundBreak::Uncut => Fault::CoturnUnreachable.found(facts.listing_failure.as_deref().unwrap_or("")),
        BoundBreak::UnknownBytes => unknown_bytes(snapshot),
        BoundBreak::Disbelief => {
            let owner = measured.disbelieved;
            let about = about_count(owner);
            let is_its = |id: &str| owner.is_some_and(|owner| owner.issuer == Some(IdDigest::of(id)));
            let key = config.ice.turn_keys().find(|key| is_its(&key.id));
            let of_key = key.map(|key| format!(" It is that of the TURN key {}.", key.name));
            Fault::CountsMissing.found([about, &of_key.unwrap_or_default()].concat())
        }
        BoundBreak::VouchedAbove => {
            let of_cloudflare = "CLOUDFLARE_ACCOUNT_ID is the account of the TURN key, and that ";
            let check = if config.meter.analytics.is_some() { of_cloudflare } else { "" };
            let above = measured.vouched_above.gb_up();
            Fault::CountsMissing.found(format!("App servers reported {above} GB more on one day than was counted: the larger figure counts. Check that {check}the reports are right."))
        }
        BoundBreak::LateCounts => Fault::CountsLate.found(""),
        BoundBreak::ClockDiffers => {
            let seconds = snapshot.clock_differs_by.as_secs();
            Fault::ClockDisagrees.found(format!("Cloudflare's clock differs from the ledger's time by {seconds} s."))
        }
        // It ends by itself.
        BoundBreak::ClockInDoubt if snapshot.clock_doubt == Some(ClockDoubt::Start) => Fault::ClockDisagrees.found("The machine has started again, or its time since boot has jumped, and it is not known how much time has passed, until Cloudflare's clock confirms the time, or for 5 minutes if no response of Cloudflare says otherwise.").into_info(),
        BoundBreak::ClockInDoubt => {
            Fault::ClockDisagrees.found("The machine's clock has jumped ahead, and it is not known whether it is right.")
        }
        BoundBreak::ClockJumped => Fault::ClockDisagrees.found("The ledger has followed a jump of the machine's clock. If the clock was wrong before or is wrong now, credentials minted before the jump relay for longer than is reserved, until they have ended.").until(Some(snapshot.jumped_until)),
        BoundBreak::EarlierPeriod => clock_behind(snapshot),
        BoundBreak::Lacking => lacking(snapshot),
        BoundBreak::Unseen => {
            let unlisted: Vec<_> = config.unlisted().collect();
            if snapshot.unseen == Some(IceSource::Coturn) && unlisted.is_empty() && !config.meter.coturn_cli.is_empty() {
                let line = CoturnStatsConfig::example().line(0);
                return Fault::SessionsHidden.found(format!("The line for turnserver.conf is {line}."));
            }
            Fault::SessionsUnseen.found(match snapshot.unseen {
                Some(IceSource::Coturn) if !unlisted.is_empty() => {
                    format!("It is coturn at {}.", unlisted.join(" and "))
                }
                Some(source) => format!("It is {source}."),
                None => String::new(),
            })
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
    fault.found(format!("This is so until {until}, when the longest of them has ended.")).until(Some(until))
}

fn unknown_bytes(snapshot: &Snapshot) -> FoundFault {
    Fault::CountsUnknown.found(format!("They are {} GB.", snapshot.unknown_bytes.gb_nearest()))
}

fn clock_behind(snapshot: &Snapshot) -> FoundFault {
    let seconds = snapshot.clock_behind.as_secs();
    Fault::ClockWrong.found(format!("It is {seconds} s behind: it was set back, or was ahead before."))
}

/// The faults of counts and reports, without those of [`fault_of`].
fn of_counts(snapshot: &Snapshot, facts: &ServiceFacts, config: &Config) -> [Option<FoundFault>; 8] {
    let measured = &snapshot.measured;
    let raised = measured.raised.map(|SeenRate { rate, source }| {
        format!("It is {rate} at {source}; {} were assumed.", snapshot.assumed_rate)
    });
    let restored_tail = measured
        .restored_tail
        .map(|(seen, source)| format!("It was up to {} s at {source}.", seen.as_secs()));
    let (has_keys, reads_analytics) = (config.ice.cloudflare.is_some(), config.meter.analytics.is_some());
    let mints_there = config.ice.sources.contains(&IceSource::Cloudflare);
    let no_analytics = match (has_keys, reads_analytics) {
        (true, false) if mints_there => Some("It is not read, so usage is estimated from reports only."),
        (false, true) => Some(
            "It is read without a TURN key: all TURN bytes of the account count as those of credentials issued here, so boundHolds can be false without a cause.",
        ),
        _ => None,
    };
    // The first failure changes no figure yet.
    let failure = facts.analytics_failure.as_deref();
    let stale = Fault::AnalyticsStale.if_there(failure.or(measured.is_stale().then_some("")));
    [
        Fault::NoReports.if_there(lacks_reports(snapshot, facts, config).then_some("")),
        Fault::NoAnalytics.if_there(no_analytics),
        if measured.is_stale() { stale } else { stale.map(FoundFault::into_info) },
        Fault::AssumptionRaised.if_there(raised),
        Fault::TailExceeded.if_there(restored_tail),
        snapshot.has_unknown_bytes().then(|| unknown_bytes(snapshot)),
        facts.rate.left(snapshot.figures.now).map(|left| {
            if left < VERY_NEAR { Fault::LimitVeryNear.found("") } else { Fault::LimitNear.found("") }
        }),
        Fault::NoProbe.if_there((measured.unprobed && facts.counts_keys).then_some("")),
    ]
}

/// Whether credentials are used, and the estimate cannot see it.
fn lacks_reports(snapshot: &Snapshot, facts: &ServiceFacts, config: &Config) -> bool {
    let measured = &snapshot.measured;
    // Counted bytes need no reports. A meter counts even if `as_of` is `None`: at the start of a period, it still asks for bytes of the
    // period before. `Some(false)`: nobody lists the sessions of a coturn, so its bytes are not counted.
    let is_counted = (measured.as_of.is_some() || config.meter.analytics.is_some())
        && !measured.is_stale()
        && facts.coturn != Some(false);
    // A new service has no calls yet, and a page needs some seconds until its first report.
    let Figures { now, period, .. } = snapshot.figures;
    let is_new = facts.used_since > period.start;
    let unreported_min = if is_new { UNREPORTED_MIN } else { UNREPORTED_SINCE_RESET_MIN };
    let is_used = snapshot.counts.issued > 0 && now.since(facts.used_since) >= unreported_min;
    let is_reported = snapshot.counts.connections > 0 || snapshot.open_connections > 0;
    // Bytes of the SFU are charged without reports.
    is_used && !is_reported && !is_counted && facts.used_at_sfu == ByteCount::ZERO
}

/// The faults of minting, of the replicas, of the ledger and of the clock, without those of [`fault_of`].
fn of_minting(snapshot: &Snapshot, facts: &ServiceFacts, config: &Config) -> [Option<FoundFault>; 17] {
    let promised_in_full = Fault::PromisedInFull.if_there(snapshot.is_promised_in_full().then_some(""));
    let used_up = (facts.mint.sources == Some(StopCode::BudgetExhausted)).then_some(RELAYS_USED_UP);
    let provider_down = Fault::ProviderDown.if_there(facts.provider_down.as_deref().or(used_up));
    let until = || minting(snapshot, &facts.mint).err()?.until;
    let is_full = snapshot.refusal == Some(NotAdmitted::TooManyGrants);
    let taken = || format!("There are {}.", facts.nearly_full.join(", "));
    let not_revoked = || format!("{} still run.", facts.not_revoked);
    [
        facts.mints.fault(snapshot.counts),
        Fault::MintingOff.if_there(snapshot.frozen.then_some("The operator has stopped it.")),
        Fault::MintingOff.if_there((!config.ice.enabled).then_some("TURN_ENABLED is false.")),
        promised_in_full.map(|found| found.until(until())),
        Fault::GrantsFull.if_there(is_full.then_some("")),
        Fault::PlacesNearlyFull.if_there((!facts.nearly_full.is_empty()).then(taken)),
        limited_address(snapshot, config),
        Fault::ProxyNotTrusted.if_there(facts.untrusted_proxy.as_ref()),
        provider_down.map(|found| found.until(facts.mint.paused_until)),
        Fault::RelayDown.if_there(facts.relays_down.as_ref()),
        Fault::NotRevoked.if_there((facts.not_revoked > 0).then(not_revoked)),
        Fault::LeaderLost.if_there(facts.lost_leader.as_ref()),
        Fault::ReplicasDiffer.if_there(facts.replicas_differ.as_ref()),
        Fault::LedgerFailing.if_there(facts.ledger_failure.as_ref()),
        Fault::NotDurable.if_there(facts.volatile.as_ref()),
        of_clock(snapshot),
        above_limit(snapshot),
    ]
}

/// Which addresses have used their limit of this day.
fn limited_address(snapshot: &Snapshot, config: &Config) -> Option<FoundFault> {
    let (last, count) = snapshot.refused_addresses?;
    let is_kept = config.usage.client_addresses != KeptAddresses::None;
    let name = if is_kept { format!("The last one is {last}. ") } else { String::new() };
    let detail = format!("{name}Addresses that were refused today: {count}.");
    Some(Fault::AddressLimited.found(detail).until(Some(Day::of(snapshot.figures.now).end())))
}

/// Why the counts of an owner are not believed, and what to do.
fn about_count(owner: Option<CountOwner>) -> &'static str {
    if owner.is_some_and(|owner| owner.source == IceSource::Sfu) {
        "For 58 minutes, Cloudflare has counted no bytes of the SFU while sessions pulled tracks, so what is reserved for them stays: check that CLOUDFLARE_ACCOUNT_ID is the account of CALLS_APP_ID."
    } else {
        "For 58 minutes, counts have shown neither bytes of live credentials nor what the broker itself relayed, so they release nothing: check that CLOUDFLARE_ACCOUNT_ID is the account of the TURN key."
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

/// The fault of the clock, if there is one besides those of [`fault_of`].
fn of_clock(snapshot: &Snapshot) -> Option<FoundFault> {
    if snapshot.is_stopped_by_clock() {
        Some(Fault::ClockAhead.found(""))
    } else if snapshot.clock_ahead > CLOCK_DIFFERENCE_TOLERATED {
        let seconds = snapshot.clock_ahead.as_secs();
        Some(Fault::ClockWrong.found(format!("It has jumped ahead by {seconds} s: the ledger waits until Cloudflare's clock confirms the jump, or for 5 minutes if no response of Cloudflare says otherwise. Beyond two days nothing metered is minted meanwhile.")))
    } else {
        (snapshot.clock_behind > CLOCK_DIFFERENCE_TOLERATED).then(|| clock_behind(snapshot))
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
    Fault::BoundAboveLimit.if_there((overshoot > ByteCount::ZERO).then_some(detail))
}
