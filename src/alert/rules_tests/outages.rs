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
fn a_clock_that_was_ahead_suppresses_no_alert() {
    let mut rules = AlertRules::default();
    assert_eq!(kinds(&mut rules, provider(20 * DAY, false)), [Began(ProviderDown)]);
    assert_eq!(kinds(&mut rules, provider(DAY, true)), [Ended(ProviderDown)]);
    assert_eq!(kinds(&mut rules, provider(DAY + 1, false)), [Began(ProviderDown)]);
}

#[test]
fn each_fault_sends_one_alert_when_it_begins_and_one_when_it_has_ended() {
    for fault in Fault::alerted() {
        let mut rules = AlertRules::default();
        let alerts = evaluate(&mut rules, &faulty(20 * MINUTE, fault));
        let alerts: Vec<_> = alerts.iter().map(|alert| (alert.kind, alert.what.as_str())).collect();
        assert_eq!(alerts, [(Began(fault), fault.facts().sentence)]);
        assert_eq!(kinds(&mut rules, faulty(21 * MINUTE, fault)), [], "{fault:?}");
        assert_eq!(kinds(&mut rules, input(DAY)), [Ended(fault)]);
    }
}
