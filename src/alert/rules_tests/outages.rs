//! Faults: one alert when they begin, and one when they have ended.

use super::*;

#[test]
fn a_flapping_provider_sends_one_outage_alert_in_ten_minutes() {
    let mut rules = AlertRules::default();
    assert_eq!(kinds(&mut rules, provider(0, false)), [Began(ProviderDown)]);
    assert_eq!(kinds(&mut rules, provider(MINUTE, true)), [Ended(ProviderDown)]);
    assert_eq!(kinds(&mut rules, provider(2 * MINUTE, false)), []);
    assert_eq!(
        kinds(&mut rules, provider(3 * MINUTE, true)),
        [],
        "no outage alert was sent, so no recovery follows"
    );
    assert_eq!(kinds(&mut rules, provider(10 * MINUTE - 1, false)), []);
    assert_eq!(kinds(&mut rules, provider(10 * MINUTE, false)), [Began(ProviderDown)], "it is still down");
}

#[test]
fn without_a_provider_there_are_no_outage_alerts() {
    let mut rules = AlertRules::default();
    assert_eq!(kinds(&mut rules, AlertInput { sources: SourceStates::default(), ..input(0) }), []);
}

#[test]
fn a_clock_that_was_ahead_suppresses_no_alert() {
    let mut rules = AlertRules::default();
    assert_eq!(kinds(&mut rules, provider(20 * DAY, false)), [Began(ProviderDown)]);
    assert_eq!(kinds(&mut rules, provider(DAY, true)), [Ended(ProviderDown)]);
    assert_eq!(kinds(&mut rules, provider(DAY + 1, false)), [Began(ProviderDown)]);
}

#[test]
fn the_alert_of_a_broken_assumption_names_both_rates_and_its_end_is_sent() {
    let mut rules = AlertRules::default();
    let observed_rate = Some(BitRate::new(4_500_000));
    let broken = AlertInput { assumption_holds: false, observed_rate, ..input(0) };
    let [alert] = evaluate(&mut rules, &broken).try_into().unwrap();
    assert_eq!(alert.kind, Began(AssumptionBroken));
    assert!(alert.what.contains("2 Mbps") && alert.what.contains("4.5 Mbps"), "{}", alert.what);
    assert_eq!(kinds(&mut rules, input(1)), [Ended(AssumptionBroken)]);
    let outlived = AlertInput { observed_rate: None, ..broken };
    let [alert] = evaluate(&mut AlertRules::default(), &outlived).try_into().unwrap();
    assert!(alert.what.starts_with("Credentials relay more or longer than is assumed, so"), "{}", alert.what);
}

#[test]
fn each_fault_sends_one_alert_when_it_begins_and_one_when_it_has_ended() {
    let well = || input(20 * MINUTE);
    for (fault, faulty) in [
        (AnalyticsStale, AlertInput { analytics_stale: true, ..well() }),
        (CoturnUnreachable, AlertInput { coturn_unreachable: true, ..well() }),
        (CountsLate, AlertInput { counts_late: true, ..well() }),
        (CountsUnknown, AlertInput { has_unknown_bytes: true, ..well() }),
        (ClockAhead, AlertInput { clock_ahead: true, ..well() }),
        (LedgerIncomplete, AlertInput { lacks_until: Some(start().plus_millis(DAY)), ..well() }),
    ] {
        let mut rules = AlertRules::default();
        let later = AlertInput { now: faulty.now.plus_millis(MINUTE), ..faulty };
        assert_eq!(kinds(&mut rules, faulty), [Began(fault)]);
        assert_eq!(kinds(&mut rules, later), [], "{fault:?}");
        assert_eq!(kinds(&mut rules, input(DAY)), [Ended(fault)]);
    }
}
