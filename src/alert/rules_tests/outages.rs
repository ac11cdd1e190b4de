//! Faults: one alert when they begin, and one when they have ended.

use super::*;

#[test]
fn a_provider_outage_sends_one_alert_and_its_end_another() {
    let mut rules = AlertRules::default();
    assert_eq!(
        kinds(&mut rules, provider(0, true)),
        [],
        "a provider that is up from the start sends no alert"
    );
    assert_eq!(kinds(&mut rules, provider(MINUTE, false)), [Began(ProviderDown)]);
    assert_eq!(kinds(&mut rules, provider(2 * MINUTE, false)), []);
    assert_eq!(
        kinds(&mut rules, provider(3 * MINUTE, true)),
        [Ended(ProviderDown)],
        "a recovery is sent at once"
    );
    assert_eq!(kinds(&mut rules, provider(4 * MINUTE, true)), []);
}

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
    assert_eq!(kinds(&mut rules, AlertInput { provider: None, ..input(0) }), []);
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
fn stale_analytics_send_one_alert_until_the_next_reading() {
    let mut rules = AlertRules::default();
    let stale = |millis| AlertInput { analytics_stale: true, ..input(millis) };
    assert_eq!(kinds(&mut rules, stale(0)), [Began(AnalyticsStale)]);
    assert_eq!(kinds(&mut rules, stale(20 * MINUTE)), []);
    assert_eq!(kinds(&mut rules, input(21 * MINUTE)), [Ended(AnalyticsStale)]);
}

#[test]
fn a_coturn_outage_sends_one_alert_and_its_end_another() {
    let mut rules = AlertRules::default();
    let unreachable = |millis| AlertInput { coturn_unreachable: true, ..input(millis) };
    assert_eq!(kinds(&mut rules, unreachable(0)), [Began(CoturnUnreachable)]);
    assert_eq!(kinds(&mut rules, unreachable(MINUTE)), []);
    assert_eq!(kinds(&mut rules, input(2 * MINUTE)), [Ended(CoturnUnreachable)]);
}

#[test]
fn late_counts_alert_once_when_they_begin_and_once_when_they_have_settled() {
    let mut rules = AlertRules::default();
    let late = |millis| AlertInput { counts_late: true, ..input(millis) };
    assert_eq!(kinds(&mut rules, late(0)), [Began(CountsLate)]);
    assert_eq!(kinds(&mut rules, late(60 * MINUTE)), []);
    assert_eq!(kinds(&mut rules, input(120 * MINUTE)), [Ended(CountsLate)]);
}

#[test]
fn unknown_bytes_alert_once_when_they_are_many_and_once_when_they_are_few() {
    let mut rules = AlertRules::default();
    let unknown = |millis| AlertInput { has_unknown_bytes: true, ..input(millis) };
    assert_eq!(kinds(&mut rules, unknown(0)), [Began(CountsUnknown)]);
    assert_eq!(kinds(&mut rules, unknown(MINUTE)), []);
    assert_eq!(kinds(&mut rules, input(60 * MINUTE)), [Ended(CountsUnknown)]);
}

#[test]
fn a_failing_rotation_is_told_once_and_so_is_its_end() {
    let mut rules = AlertRules::default();
    let failing = |millis| AlertInput { rotation_failing: true, ..input(millis) };
    assert_eq!(kinds(&mut rules, failing(0)), [Began(RotationFailing)]);
    assert_eq!(kinds(&mut rules, failing(1_000)), []);
    assert_eq!(kinds(&mut rules, input(2_000)), [Ended(RotationFailing)]);
}

#[test]
fn a_ledger_that_lacks_grants_is_told_once_and_so_is_its_end() {
    let mut rules = AlertRules::default();
    let lacks = |millis| AlertInput { lacks_until: Some(start().plus_millis(3_000)), ..input(millis) };
    assert_eq!(kinds(&mut rules, lacks(0)), [Began(LedgerIncomplete)]);
    assert_eq!(kinds(&mut rules, lacks(1_000)), []);
    assert_eq!(kinds(&mut rules, input(3_000)), [Ended(LedgerIncomplete)]);
}
