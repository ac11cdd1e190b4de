//! What holds after every sequence of figures.

use super::*;
use proptest::prelude::*;

/// One step: how much time passes, and the figures after it.
fn a_step() -> impl Strategy<Value = (u64, AlertInput)> {
    let limits = prop_oneof![Just(0), Just(100), Just(1_000), Just(2_000)];
    let passes = prop_oneof![0..MINUTE, Just(10 * MINUTE), 0..20 * DAY];
    let faults = proptest::sample::subsequence(vec![ProviderDown, AssumptionBroken, AnalyticsStale], 0..=3);
    (passes, 0..2_500u64, limits, faults).prop_map(|(passes, gb, limit, faults)| {
        let faults = faults.into_iter().map(|fault| fault.found("")).collect();
        (passes, AlertInput { faults, ..limited(0, gb, limit) })
    })
}

/// The inputs of a walk, in order of time.
fn walk(steps: Vec<(u64, AlertInput)>) -> Vec<AlertInput> {
    let mut millis = 0;
    let at = |(passes, step): (u64, AlertInput)| {
        millis += passes;
        let AlertInput { now, period, .. } = input(millis);
        AlertInput { now, period, ..step }
    };
    steps.into_iter().map(at).collect()
}

fn a_walk() -> impl Strategy<Value = Vec<AlertInput>> {
    proptest::collection::vec(a_step(), 1..100).prop_map(walk)
}

proptest! {
    #[test]
    fn each_threshold_alert_is_sent_once_for_a_period_until_another_limit_is_set(walk in a_walk()) {
        let mut rules = AlertRules::default();
        let (mut sent, mut last_limit) = (Vec::new(), None);
        for input in walk {
            if last_limit.replace(input.budget.limit) != Some(input.budget.limit) {
                sent.clear();
            }
            for alert in evaluate(&mut rules, &input) {
                let is_threshold = matches!(alert.kind, AlertKind::Used(_)) && alert.kind != SUM;
                let what = (input.period.start, alert.kind);
                prop_assert!(!is_threshold || !sent.contains(&what), "{what:?} was sent twice");
                prop_assert!(!alert.id.contains('.') && alert.id.is_ascii(), "{}", alert.id);
                sent.push(what);
            }
            for percent in input.percents.iter().copied().filter(|percent| input.has_reached((*percent).into())) {
                prop_assert!(rules.sent.percents.contains(&percent), "{percent} % is reached without an alert");
            }
        }
    }

    #[test]
    fn outage_and_recovery_alternate_and_each_recovery_is_a_minute_after_its_outage(walk in a_walk()) {
        let mut rules = AlertRules::default();
        for fault in [ProviderDown, AssumptionBroken, AnalyticsStale] {
            let (bad, good) = (Began(fault), Ended(fault));
            let mut last_bad: Option<Timestamp> = None;
            let mut is_bad = false;
            for alert in walk.iter().flat_map(|input| evaluate(&mut rules, input)) {
                if alert.kind == bad {
                    prop_assert!(!is_bad);
                    (is_bad, last_bad) = (true, Some(alert.at));
                } else if alert.kind == good {
                    prop_assert!(is_bad);
                    prop_assert!(last_bad.is_some_and(|last| alert.at.since(last) >= GONE_FOR));
                    is_bad = false;
                }
            }
            rules = AlertRules::default();
        }
    }

    #[test]
    fn stored_and_restored_rules_send_the_same_alerts(
        walk in a_walk(),
        restart in 0..100_usize,
        delivers: bool,
    ) {
        let mut kept = AlertRules::default();
        let mut restarted = AlertRules::default();
        for (index, input) in walk.iter().enumerate() {
            prop_assert_eq!(evaluate(&mut kept, input), evaluate(&mut restarted, input));
            let waiting = kept.waiting().next().cloned();
            if delivers && let Some(alert) = waiting {
                kept.delivered(&alert.id);
                restarted.delivered(&alert.id);
            }
            if index == restart % walk.len() {
                restarted = serde_json::from_slice(&serde_json::to_vec(&restarted).unwrap()).unwrap();
            }
            prop_assert_eq!(&kept, &restarted);
        }
    }

    #[test]
    fn kept_alerts_are_bounded_and_every_alert_waits_or_is_dropped(walk in a_walk()) {
        let mut rules = AlertRules::default();
        let (mut made, mut dropped) = (0, 0);
        for input in walk {
            let evaluation = rules.evaluate(&input, &Spending::default(), true);
            made += evaluation.made.len();
            dropped += evaluation.dropped.len();
            prop_assert!(rules.waiting().count() <= KEPT_MAX);
        }
        prop_assert_eq!(made, dropped + rules.waiting().count());
    }
}
