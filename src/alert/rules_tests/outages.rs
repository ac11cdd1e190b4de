//! Faults: one alert when they begin, and one when they have ended.

use super::*;

#[test]
fn a_fault_that_becomes_a_worse_one_is_over_when_both_are() {
    let mut rules = AlertRules::default();
    assert_eq!(kinds(&mut rules, faulty(0, Fault::ClockWrong)), [Began(Fault::ClockWrong)]);
    assert_eq!(kinds(&mut rules, faulty(MINUTE, Fault::ClockAhead)), [Began(Fault::ClockAhead)]);
    assert_eq!(kinds(&mut rules, faulty(5 * MINUTE, Fault::ClockAhead)), []);
    assert_eq!(kinds(&mut rules, input(6 * MINUTE)), []);
    assert_eq!(kinds(&mut rules, input(8 * MINUTE)), [Ended(Fault::ClockWrong), Ended(Fault::ClockAhead)]);
}

#[test]
fn a_limit_that_comes_nearer_or_is_reached_is_not_over_until_it_is_far_away() {
    let mut rules = AlertRules::default();
    assert_eq!(kinds(&mut rules, faulty(0, Fault::LimitNear)), [], "one count may be wrong");
    assert_eq!(kinds(&mut rules, input(MINUTE)), []);
    assert_eq!(kinds(&mut rules, faulty(2 * MINUTE, Fault::LimitNear)), []);
    assert_eq!(kinds(&mut rules, faulty(4 * MINUTE, Fault::LimitNear)), [Began(Fault::LimitNear)]);
    assert_eq!(kinds(&mut rules, faulty(5 * MINUTE, Fault::LimitVeryNear)), []);
    assert_eq!(kinds(&mut rules, faulty(7 * MINUTE, Fault::LimitVeryNear)), [Began(Fault::LimitVeryNear)]);
    assert_eq!(kinds(&mut rules, used(8 * MINUTE, 1_000)), [Used(100)]);
    assert_eq!(kinds(&mut rules, used(9 * MINUTE, 1_000)), []);
    assert_eq!(kinds(&mut rules, used(10 * MINUTE, 10)), [], "the limit is raised");
    let over = [Ended(Fault::LimitNear), Ended(Fault::LimitVeryNear)];
    assert_eq!(kinds(&mut rules, used(69 * MINUTE, 10)), []);
    assert_eq!(kinds(&mut rules, used(70 * MINUTE, 10)), over);
}

#[test]
fn a_limit_that_is_near_is_said_again_of_another_limit_or_period_and_once_it_was_far_for_an_hour() {
    let mut rules = AlertRules::default();
    let near = |millis| faulty(millis, Fault::LimitVeryNear);
    let mut twice =
        |input: AlertInput, later: AlertInput| [kinds(&mut rules, input), kinds(&mut rules, later)].concat();
    let raised = |millis| near(millis).with_budget(|budget| budget.limit = budget.limit.plus(budget.limit));
    let only_near = |minutes: u64| faulty(31 * DAY + minutes * MINUTE, Fault::LimitNear);
    let began = [Began(Fault::LimitVeryNear)];
    assert_eq!(twice(near(0), near(2 * MINUTE)), began);
    assert_eq!(twice(raised(3 * MINUTE), raised(5 * MINUTE)), began);
    assert_eq!(twice(near(31 * DAY), near(31 * DAY + 2 * MINUTE)), began);
    assert_eq!(twice(only_near(3), only_near(5)), [Began(Fault::LimitNear)]);
    assert_eq!(twice(only_near(62), only_near(63)), [Ended(Fault::LimitVeryNear)], "the lesser one stays");
    assert_eq!(twice(near(32 * DAY), near(32 * DAY + 2 * MINUTE)), began);
}

#[test]
fn an_unread_count_does_not_end_that_the_limit_is_near() {
    let mut rules = AlertRules::default();
    kinds(&mut rules, faulty(0, Fault::LimitNear));
    assert_eq!(kinds(&mut rules, faulty(2 * MINUTE, Fault::LimitNear)), [Began(Fault::LimitNear)]);
    assert_eq!(kinds(&mut rules, faulty(3 * MINUTE, AnalyticsStale)), [Began(AnalyticsStale)]);
    assert_eq!(kinds(&mut rules, faulty(120 * MINUTE, AnalyticsStale)), []);
}

#[test]
fn a_recovery_is_sent_when_the_fault_has_been_gone_for_a_minute_and_the_next_failure_at_once() {
    let mut rules = AlertRules::default();
    assert_eq!(kinds(&mut rules, provider(0, false)), [Began(ProviderDown)]);
    assert_eq!(kinds(&mut rules, provider(1, true)), []);
    assert_eq!(kinds(&mut rules, provider(MINUTE, true)), [], "a millisecond too early");
    assert_eq!(kinds(&mut rules, provider(MINUTE + 1, true)), [Ended(ProviderDown)]);
    // Nothing holds it back.
    assert_eq!(kinds(&mut rules, provider(MINUTE + 2, false)), [Began(ProviderDown)]);
}

#[test]
fn a_fault_that_comes_back_within_a_minute_is_the_same_one() {
    let mut rules = AlertRules::default();
    assert_eq!(kinds(&mut rules, provider(0, false)), [Began(ProviderDown)]);
    for step in 1..10 {
        assert_eq!(kinds(&mut rules, provider(step * MINUTE / 2, step % 2 == 0)), [], "{step}");
    }
    assert_eq!(kinds(&mut rules, provider(5 * MINUTE, true)), []);
    assert_eq!(kinds(&mut rules, provider(6 * MINUTE, true)), [Ended(ProviderDown)]);
}

#[test]
fn a_clock_that_was_ahead_delays_a_recovery_by_a_minute_at_most() {
    let mut rules = AlertRules::default();
    assert_eq!(kinds(&mut rules, provider(20 * DAY, false)), [Began(ProviderDown)]);
    assert_eq!(kinds(&mut rules, provider(20 * DAY, true)), []);
    assert_eq!(kinds(&mut rules, provider(DAY, true)), []);
    assert_eq!(kinds(&mut rules, provider(DAY + MINUTE, true)), [Ended(ProviderDown)]);
    assert_eq!(kinds(&mut rules, provider(DAY + MINUTE + 1, false)), [Began(ProviderDown)]);
}

#[test]
fn each_fault_sends_one_alert_when_it_begins_and_one_when_it_has_ended() {
    for fault in Fault::alerted() {
        let mut rules = AlertRules::default();
        if fault.is_near_limit() {
            assert_eq!(kinds(&mut rules, faulty(18 * MINUTE, fault)), []);
        }
        let alerts = evaluate(&mut rules, &faulty(20 * MINUTE, fault));
        let alerts: Vec<_> = alerts.iter().map(|alert| (alert.kind, alert.what.as_str())).collect();
        assert_eq!(alerts, [(Began(fault), fault.facts().sentence)]);
        assert_eq!(kinds(&mut rules, faulty(21 * MINUTE, fault)), [], "{fault:?}");
        assert_eq!(kinds(&mut rules, input(DAY)), []);
        let gone_for = if fault.is_near_limit() { 60 * MINUTE } else { MINUTE };
        assert_eq!(kinds(&mut rules, input(DAY + gone_for)), [Ended(fault)]);
    }
}
