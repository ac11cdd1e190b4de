//! Tests of the list of faults, and that hints and alerts are made from it.

use std::sync::Arc;
use std::time::Duration;

use strum::VariantArray;

use super::*;
use crate::account::testing::account;
use crate::alert::mints::MintHours;
use crate::alert::rules::{AlertInput, AlertRules};
use crate::alert::{
    AlertKind, Fault, FaultFacts, MintFacts, MintStop, ServiceFacts, Severity, Spending, StopCode, faults,
};
use crate::config::{Config, Environment};
use crate::rate::VERY_NEAR;
use turn_base::SystemClock;
use turn_ledger::{
    BitRate, BoundBreak, ClientKey, ClockDoubt, IceSource, LackCause, NotAdmitted, PeriodCounts, Refusal,
    SeenRate, Snapshot,
};

fn idle() -> Snapshot {
    account(Arc::new(SystemClock)).snapshot()
}

fn config(pairs: &[(&'static str, &'static str)]) -> Config {
    Config::from_env(&Environment::from_pairs(pairs.iter().copied())).unwrap()
}

/// The faults of the books alone.
fn of_books(snapshot: &Snapshot) -> Vec<Fault> {
    let found = faults(snapshot, &ServiceFacts::default(), &config(&[]));
    found.into_iter().map(|found| found.fault).collect()
}

const LONG: Duration = Duration::from_secs(40 * 86_400);

/// The bound may not hold for this reason alone.
fn broken_by(reason: BoundBreak) -> Snapshot {
    let mut snapshot = idle();
    let much = snapshot.figures.limit;
    let later = snapshot.figures.now.plus(LONG);
    let measured = &mut snapshot.measured;
    match reason {
        BoundBreak::Excess => measured.excess.bytes = much,
        BoundBreak::Uncut => measured.uncut = true,
        BoundBreak::UnknownBytes => snapshot.unknown_bytes = much,
        BoundBreak::Disbelief => measured.disbelieved = Some(IceSource::Cloudflare.into()),
        BoundBreak::VouchedAbove => measured.vouched_above = much,
        BoundBreak::LateCounts => {
            measured.late_counts = true;
        }
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
        assert_eq!(of_books(&snapshot).len(), 1, "{reason:?}");
    }
    assert!(idle().bound_holds() && of_books(&idle()).is_empty());
}

#[test]
fn what_a_ledger_lacks_is_said_by_its_cause() {
    let lacking = broken_by(BoundBreak::Lacking);
    for (cause, fault) in [(LackCause::New, Fault::LedgerNew), (LackCause::Restored, Fault::LedgerIncomplete)]
    {
        assert_eq!(of_books(&Snapshot { lack_cause: cause, ..lacking }), [fault]);
    }
}

const CAUSE: &str = "It answered 401.";

/// A state in which this fault is there. The service's facts have [`CAUSE`].
fn with(fault: Fault) -> (Snapshot, ServiceFacts, Config) {
    let (mut snapshot, mut facts, mut settings) = (idle(), ServiceFacts::default(), config(&[]));
    let cause = || Some(CAUSE.to_owned());
    match fault {
        Fault::NoReports => snapshot.counts.issued = 1,
        Fault::MintsUnreported => {
            let counts = |issued| PeriodCounts { issued, ..PeriodCounts::default() };
            let mut hours = MintHours::default();
            for hour in 1..=25 {
                hours.observe(Timestamp::from_millis(hour * 3_600_000), counts(0));
            }
            (facts.mints, snapshot.counts) = (hours, counts(100));
        }
        Fault::NoAnalytics => {
            settings = config(&[("CLOUDFLARE_TURN_KEY_ID", "key"), ("CLOUDFLARE_TURN_API_TOKEN", "token")]);
        }
        Fault::AnalyticsStale => {
            (snapshot.measured.unread_for, facts.analytics_failure) = (LONG, cause());
        }
        Fault::AssumptionBroken => {
            snapshot = broken_by(BoundBreak::Excess);
            snapshot.measured.excess.rate = BitRate::new(1);
        }
        Fault::AssumptionRaised => {
            let rate = BitRate::new(1);
            snapshot.measured.raised = Some(SeenRate { rate, source: IceSource::Coturn });
        }
        Fault::TailExceeded => {
            snapshot.measured.restored_tail = Some((LONG, IceSource::Cloudflare));
        }
        Fault::LimitNear => facts.rate.limit_at = Some(snapshot.figures.now.plus(VERY_NEAR)),
        Fault::LimitVeryNear => facts.rate.limit_at = Some(snapshot.figures.now),
        Fault::CoturnUnreachable => {
            (snapshot, facts.listing_failure) = (broken_by(BoundBreak::Uncut), cause());
        }
        Fault::CountsUnknown => snapshot = broken_by(BoundBreak::UnknownBytes),
        Fault::CountsMissing => snapshot = broken_by(BoundBreak::Disbelief),
        Fault::NoProbe => (snapshot.measured.unprobed, facts.counts_keys) = (true, true),
        Fault::CountsLate => snapshot = broken_by(BoundBreak::LateCounts),
        Fault::MintingOff => snapshot.frozen = true,
        Fault::PromisedInFull => {
            let figures = snapshot.figures;
            let refusal = Refusal { figures, awaits_reading: false, client_frees_at: None, limited: None };
            snapshot.refusal = Some(NotAdmitted::Refused(refusal));
        }
        Fault::GrantsFull => snapshot.refusal = Some(NotAdmitted::TooManyGrants),
        Fault::PlacesNearlyFull => facts.nearly_full = vec![CAUSE.to_owned()],
        Fault::AddressLimited => {
            let address = ClientKey::of("203.0.113.9".parse().unwrap());
            snapshot.refused_addresses = Some((address, 1));
        }
        Fault::ProxyNotTrusted => facts.untrusted_proxy = cause(),
        Fault::ProviderDown => facts.provider_down = cause(),
        Fault::RelayDown => facts.relays_down = cause(),
        Fault::NotRevoked => facts.not_revoked = 1,
        Fault::NotLeading => snapshot.leads = false,
        Fault::LeaderLost => facts.lost_leader = cause(),
        Fault::ReplicasDiffer => facts.replicas_differ = cause(),
        Fault::LedgerFailing => facts.ledger_failure = cause(),
        Fault::NotDurable => facts.volatile = cause(),
        Fault::ClockWrong => snapshot.clock_ahead = LONG,
        Fault::ClockAhead => {
            snapshot.refusal = Some(NotAdmitted::ClockInDoubt);
            snapshot.clock_ahead_for = LONG;
        }
        Fault::ClockDisagrees => snapshot = broken_by(BoundBreak::ClockDiffers),
        Fault::LedgerNew => {
            snapshot = Snapshot { lack_cause: LackCause::New, ..broken_by(BoundBreak::Lacking) };
        }
        Fault::LedgerIncomplete => {
            snapshot = Snapshot { lack_cause: LackCause::Restored, ..broken_by(BoundBreak::Lacking) };
        }
        Fault::BoundAboveLimit => snapshot.likely_overshoot = Some(snapshot.figures.limit),
        Fault::SessionsUnseen => snapshot = broken_by(BoundBreak::Unseen),
        Fault::SessionsHidden => {
            (snapshot, settings) = (
                broken_by(BoundBreak::Unseen),
                config(&[("COTURN_CLI", "127.0.0.1:5766"), ("COTURN_CLI_PASSWORD", "a-password")]),
            );
            snapshot.unseen = Some(IceSource::Coturn);
        }
    }
    (snapshot, facts, settings)
}

/// The hint of a fault, and what its alert says, if there is one.
fn told(
    fault: Fault,
    (snapshot, facts, config): (Snapshot, ServiceFacts, Config),
) -> (HintBody, Option<String>) {
    let found = faults(&snapshot, &facts, &config).into_iter().find(|found| found.fault == fault);
    let (mut rules, mut input) = (AlertRules::default(), AlertInput::of(&snapshot, facts, &config));
    let mut made = rules.evaluate(&input, &Spending::default(), true).made;
    // One answer says nothing about a rate.
    input.now = input.now.plus_millis(120_000);
    made.extend(rules.evaluate(&input, &Spending::default(), true).made);
    let alert = made.into_iter().find(|alert| alert.kind == AlertKind::Began(fault));
    let found = found.unwrap_or_else(|| panic!("{fault:?} is not there"));
    (HintBody::of(found, true), alert.map(|alert| alert.what))
}

#[test]
fn each_fault_has_a_hint_and_if_it_is_a_warning_or_critical_an_alert_with_the_same_cause() {
    for fault in Fault::VARIANTS.iter().copied() {
        let (hint, alert) = told(fault, with(fault));
        let facts = fault.facts();
        assert_eq!((hint.code, hint.severity), (facts.code, facts.severity.name()));
        // Only the leader sends alerts.
        let has_alert = facts.severity > Severity::Info && fault != Fault::NotLeading;
        assert_eq!(alert.is_some(), has_alert, "{fault:?}");
        if let Some(what) = alert {
            assert_eq!(hint.message, format!("{what} {}", facts.first_step));
        }
    }
    let of_provider = told(Fault::ProviderDown, with(Fault::ProviderDown)).1.unwrap();
    assert!(of_provider.ends_with(CAUSE), "{of_provider}");
}

#[test]
fn what_ends_by_itself_within_minutes_is_no_alert() {
    let (mut unread, mut started) = (with(Fault::AnalyticsStale), with(Fault::ClockDisagrees));
    unread.0.measured.unread_for = Duration::ZERO;
    started.0 = Snapshot { clock_doubt: Some(ClockDoubt::Start), ..idle() };
    for (fault, state) in [(Fault::AnalyticsStale, unread), (Fault::ClockDisagrees, started)] {
        let (hint, alert) = told(fault, state);
        assert_eq!((hint.severity, alert), ("info", None), "{fault:?}");
    }
}

#[test]
fn a_hint_says_when_it_ends_if_that_is_known() {
    let (snapshot, facts, config) = with(Fault::LedgerNew);
    let ends = snapshot.lacks_until;
    assert_eq!(told(Fault::LedgerNew, (snapshot, facts, config)).0.until, Some(ends));
    let full = with(Fault::PromisedInFull);
    let reset = full.0.figures.period.end;
    assert_eq!(told(Fault::PromisedInFull, full).0.until, Some(reset));
}

/// The alert about the limit itself is critical too: `texts_tests.rs`.
#[test]
fn each_total_outage_is_critical_and_has_an_alert() {
    let codes = StopCode::VARIANTS.iter().copied().filter(|code| *code != StopCode::NotConfigured);
    for code in codes {
        let message = MintStop::of(code, "").message;
        let stated = Fault::VARIANTS.iter().map(|fault| fault.facts());
        let mut stated = stated.filter(|facts| message.ends_with(facts.first_step));
        let FaultFacts { severity, events, .. } = stated.next().unwrap();
        assert!(severity == Severity::Critical && events.is_some(), "{code:?}");
    }
    let mint = MintFacts { sources: Some(StopCode::BudgetExhausted), ..MintFacts::default() };
    let found = faults(&idle(), &ServiceFacts { mint, ..ServiceFacts::default() }, &config(&[]));
    let [one] = &found[..] else { panic!("{found:?}") };
    assert_eq!((one.fault, one.severity), (Fault::ProviderDown, Severity::Critical));
    assert!(one.message().contains("Raise COTURN_LIMITS"), "{}", one.message());
}

#[test]
fn a_period_that_begins_with_live_credentials_lacks_reports_only_after_a_day() {
    let (mut snapshot, mut facts, settings) = with(Fault::NoReports);
    facts.used_since = snapshot.figures.period.start;
    for (hours, is_there) in [(23, false), (24, true)] {
        snapshot.figures.now = facts.used_since.plus(Duration::from_secs(hours * 3_600));
        let found = faults(&snapshot, &facts, &settings);
        assert_eq!(found.iter().any(|found| found.fault == Fault::NoReports), is_there, "{hours}");
    }
}
