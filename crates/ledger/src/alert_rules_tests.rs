use super::*;
use crate::alert::TopSpender;
use crate::spenders::SpenderKind;
use proptest::prelude::*;

use AlertKind::{
    AnalyticsFresh, AnalyticsStale, AssumptionBroken, AssumptionHolds, CoturnReachable, CoturnUnreachable,
    CountsKnown, CountsLate, CountsSettled, CountsUnknown, ProviderDown, ProviderUp, RotationFailing,
    RotationWorks, Used50, Used80, Used95, Used100,
};

const GB: u64 = 1_000_000_000;
const DAY: u64 = 86_400_000;
const MINUTE: u64 = 60_000;

fn start() -> Timestamp {
    Timestamp::from_millis(1_735_689_600_000)
}

/// All is well at 2025-01-01 plus `millis`; periods of 30 days.
fn input(millis: u64) -> AlertInput {
    let begin = millis / (30 * DAY) * 30 * DAY;
    AlertInput {
        now: start().plus_millis(millis),
        period: Period { start: start().plus_millis(begin), end: start().plus_millis(begin + 30 * DAY) },
        used: ByteCount::ZERO,
        limit: ByteCount::new(1_000 * GB),
        overshoot_bound: ByteCount::ZERO,
        provider: Some(true),
        assumption_holds: true,
        observed_rate: None,
        assumed_rate: BitRate::new(2_000_000),
        analytics_stale: false,
        coturn_unreachable: false,
        has_unknown_bytes: false,
        counts_late: false,
        frozen: false,
        promised_in_full: false,
        rotation_failing: false,
    }
}

fn used(millis: u64, gb: u64) -> AlertInput {
    AlertInput { used: ByteCount::new(gb * GB), ..input(millis) }
}

fn limited(millis: u64, gb: u64, limit: u64) -> AlertInput {
    AlertInput { limit: ByteCount::new(limit * GB), ..used(millis, gb) }
}

fn provider(millis: u64, is_up: bool) -> AlertInput {
    AlertInput { provider: Some(is_up), ..input(millis) }
}

fn evaluate(rules: &mut AlertRules, input: &AlertInput) -> Vec<Alert> {
    rules.evaluate(input, Spending::default)
}

fn kinds(rules: &mut AlertRules, input: AlertInput) -> Vec<AlertKind> {
    evaluate(rules, &input).into_iter().map(|alert| alert.kind).collect()
}

#[test]
fn a_healthy_start_sends_no_alert() {
    assert_eq!(kinds(&mut AlertRules::default(), input(0)), []);
}

#[test]
fn a_threshold_alert_is_sent_once() {
    let mut rules = AlertRules::default();
    let below = AlertInput { used: ByteCount::new(500 * GB - 1), ..input(0) };
    assert_eq!(kinds(&mut rules, below), []);
    assert_eq!(kinds(&mut rules, used(1, 500)), [Used50]);
    assert_eq!(kinds(&mut rules, used(2, 501)), []);
    assert_eq!(kinds(&mut rules, used(3, 400)), [], "a reading lowered usage");
    assert_eq!(kinds(&mut rules, used(4, 600)), []);
}

#[test]
fn of_several_thresholds_at_once_only_the_highest_is_sent() {
    let mut rules = AlertRules::default();
    assert_eq!(kinds(&mut rules, used(0, 960)), [Used95]);
    assert_eq!(kinds(&mut rules, used(1, 1_000)), [Used100]);
}

#[test]
fn the_latest_alerts_are_kept_whether_delivered_or_not() {
    let mut rules = AlertRules::default();
    evaluate(&mut rules, &used(0, 500));
    let first = rules.next_pending().unwrap().id.clone();
    evaluate(&mut rules, &used(1, 800));
    rules.delivered(&first);
    let recent: Vec<_> = rules.recent().map(|(alert, waits)| (alert.kind, waits)).collect();
    assert_eq!(recent, [(Used80, true), (Used50, false)]);
    for n in 1..=u64::try_from(RECENT_MAX).unwrap() {
        evaluate(&mut rules, &provider(n * DAY / 24, n % 2 == 0));
    }
    assert_eq!(rules.recent().count(), RECENT_MAX);
    assert!(
        rules.recent().all(|(alert, _)| matches!(alert.kind, ProviderDown | ProviderUp)),
        "the oldest are gone"
    );
}

#[test]
fn a_limit_of_zero_is_reached_at_once() {
    assert_eq!(kinds(&mut AlertRules::default(), limited(0, 0, 0)), [Used100]);
}

#[test]
fn the_largest_figures_do_not_overflow() {
    let most = ByteCount::new(u64::MAX);
    let input = AlertInput { used: most, limit: most, ..input(0) };
    assert_eq!(kinds(&mut AlertRules::default(), input), [Used100]);
}

#[test]
fn a_new_period_repeats_the_threshold_alerts() {
    let mut rules = AlertRules::default();
    assert_eq!(kinds(&mut rules, used(0, 800)), [Used80]);
    assert_eq!(kinds(&mut rules, used(30 * DAY, 100)), []);
    assert_eq!(kinds(&mut rules, used(31 * DAY, 800)), [Used80]);
}

#[test]
fn a_new_limit_repeats_alerts_for_thresholds_that_are_no_longer_reached() {
    let mut rules = AlertRules::default();
    assert_eq!(kinds(&mut rules, used(0, 960)), [Used95]);
    assert_eq!(kinds(&mut rules, limited(1, 960, 1_100)), [], "87 %: 50 and 80 are still reached");
    assert_eq!(kinds(&mut rules, limited(2, 1_050, 1_100)), [Used95]);
    assert_eq!(kinds(&mut rules, limited(3, 1_050, 1_000)), [Used100], "a lower limit is reached at once");
}

#[test]
fn a_limit_that_comes_back_repeats_no_id() {
    let mut rules = AlertRules::default();
    let mut ids = Vec::new();
    for limit in [1_000, 2_000, 1_000, 2_000, 1_000] {
        ids.extend(evaluate(&mut rules, &limited(0, 900, limit)).into_iter().map(|alert| alert.id));
    }
    assert_eq!(ids, ["2025-01-01/budget-used-80/1000000000000"]);
}

#[test]
fn the_limits_that_are_remembered_are_bounded() {
    let mut rules = AlertRules::default();
    for limit in 1..100 {
        evaluate(&mut rules, &limited(0, 900, limit));
        assert!(rules.sent.len() <= LIMITS_MAX);
    }
}

#[test]
fn a_provider_outage_sends_one_alert_and_its_end_another() {
    let mut rules = AlertRules::default();
    assert_eq!(
        kinds(&mut rules, provider(0, true)),
        [],
        "a provider that is up from the start sends no alert"
    );
    assert_eq!(kinds(&mut rules, provider(MINUTE, false)), [ProviderDown]);
    assert_eq!(kinds(&mut rules, provider(2 * MINUTE, false)), []);
    assert_eq!(kinds(&mut rules, provider(3 * MINUTE, true)), [ProviderUp], "a recovery is sent at once");
    assert_eq!(kinds(&mut rules, provider(4 * MINUTE, true)), []);
}

#[test]
fn a_flapping_provider_sends_one_outage_alert_in_ten_minutes() {
    let mut rules = AlertRules::default();
    assert_eq!(kinds(&mut rules, provider(0, false)), [ProviderDown]);
    assert_eq!(kinds(&mut rules, provider(MINUTE, true)), [ProviderUp]);
    assert_eq!(kinds(&mut rules, provider(2 * MINUTE, false)), []);
    assert_eq!(
        kinds(&mut rules, provider(3 * MINUTE, true)),
        [],
        "no outage alert was sent, so no recovery follows"
    );
    assert_eq!(kinds(&mut rules, provider(10 * MINUTE - 1, false)), []);
    assert_eq!(kinds(&mut rules, provider(10 * MINUTE, false)), [ProviderDown], "it is still down");
}

#[test]
fn without_a_provider_there_are_no_outage_alerts() {
    let mut rules = AlertRules::default();
    assert_eq!(kinds(&mut rules, AlertInput { provider: None, ..input(0) }), []);
}

#[test]
fn a_clock_that_was_ahead_suppresses_no_alert() {
    let mut rules = AlertRules::default();
    assert_eq!(kinds(&mut rules, provider(20 * DAY, false)), [ProviderDown]);
    assert_eq!(kinds(&mut rules, provider(DAY, true)), [ProviderUp]);
    assert_eq!(kinds(&mut rules, provider(DAY + 1, false)), [ProviderDown]);
}

#[test]
fn the_alert_of_a_broken_assumption_names_both_rates_and_its_end_is_sent() {
    let mut rules = AlertRules::default();
    let observed_rate = Some(BitRate::new(4_500_000));
    let broken = AlertInput { assumption_holds: false, observed_rate, ..input(0) };
    let [alert] = evaluate(&mut rules, &broken).try_into().unwrap();
    assert_eq!(alert.kind, AssumptionBroken);
    assert!(alert.what.contains("2 Mbps") && alert.what.contains("4.5 Mbps"), "{}", alert.what);
    assert_eq!(kinds(&mut rules, input(1)), [AssumptionHolds]);
}

#[test]
fn stale_analytics_send_one_alert_until_the_next_reading() {
    let mut rules = AlertRules::default();
    let stale = |millis| AlertInput { analytics_stale: true, ..input(millis) };
    assert_eq!(kinds(&mut rules, stale(0)), [AnalyticsStale]);
    assert_eq!(kinds(&mut rules, stale(20 * MINUTE)), []);
    assert_eq!(kinds(&mut rules, input(21 * MINUTE)), [AnalyticsFresh]);
}

#[test]
fn an_alert_contains_the_figures_of_its_time() {
    let mut rules = AlertRules::default();
    let overshoot_bound = ByteCount::new(23_400_000_000);
    let [alert] = evaluate(&mut rules, &AlertInput { overshoot_bound, ..used(5 * DAY, 512) })
        .try_into()
        .expect("one alert");
    assert_eq!(alert.id, "2025-01-01/budget-used-50/1000000000000");
    assert_eq!(alert.at.to_string(), "2025-01-06T00:00:00.000Z");
    assert_eq!(alert.budget.used, ByteCount::new(512 * GB));
    assert_eq!(
        alert.what,
        "50 % of the bandwidth limit is used: 512.00 of 1000 GB, and the period ends at 2025-01-31T00:00Z."
    );
}

#[test]
fn undelivered_alerts_stay_in_order() {
    let mut rules = AlertRules::default();
    let mut made = evaluate(&mut rules, &used(0, 500));
    made.extend(evaluate(&mut rules, &used(1, 800)));
    assert_eq!(rules.next_pending(), Some(&made[0]));
    rules.delivered("an-unknown-id");
    assert_eq!(rules.pending_len(), 2);
    rules.delivered(&made[0].id);
    assert_eq!(rules.next_pending(), Some(&made[1]));
    rules.delivered(&made[1].id);
    assert_eq!(rules.next_pending(), None);
}

#[test]
fn above_the_maximum_the_oldest_alert_is_dropped_and_counted() {
    let mut rules = AlertRules::default();
    for step in 0..65 {
        evaluate(&mut rules, &provider(step * 10 * MINUTE, step % 2 == 1));
    }
    assert_eq!(rules.pending_len(), PENDING_MAX);
    assert_eq!(rules.next_pending().map(|alert| alert.kind), Some(ProviderUp), "the first down is gone");
    assert_eq!(rules.take_dropped(), BTreeMap::from([(ProviderDown, 1)]));
    assert_eq!(rules.take_dropped(), BTreeMap::new(), "each drop is reported once");
}

#[test]
fn the_state_of_an_older_version_is_read() {
    let rules: AlertRules = serde_json::from_str("{}").unwrap();
    assert_eq!(rules, AlertRules::default());
}

/// One step: how much time passes, and the figures after it.
fn a_step() -> impl Strategy<Value = (u64, AlertInput)> {
    let limits = prop_oneof![Just(0), Just(100), Just(1_000), Just(2_000)];
    let passes = prop_oneof![0..MINUTE, Just(10 * MINUTE), 0..20 * DAY];
    let state = (proptest::option::of(any::<bool>()), any::<bool>(), any::<bool>());
    (passes, 0..2_500u64, limits, state).prop_map(|(passes, gb, limit, (provider, holds, stale))| {
        let calm = limited(0, gb, limit);
        (passes, AlertInput { provider, assumption_holds: holds, analytics_stale: stale, ..calm })
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
    fn each_threshold_alert_is_sent_once_for_a_period_and_limit(walk in a_walk()) {
        let mut rules = AlertRules::default();
        let mut sent = Vec::new();
        for input in walk {
            for alert in evaluate(&mut rules, &input) {
                let is_threshold = THRESHOLDS.iter().any(|(_, kind)| *kind == alert.kind);
                let what = (input.period.start, alert.budget.limit, alert.kind);
                prop_assert!(!is_threshold || !sent.contains(&what), "{what:?} was sent twice");
                prop_assert!(!alert.id.contains('.') && alert.id.is_ascii(), "{}", alert.id);
                sent.push(what);
            }
            let percents = &rules.sent.back().unwrap().percents;
            let reached = THRESHOLDS.iter().filter(|(percent, _)| input.has_reached(*percent));
            for (percent, _) in reached {
                prop_assert!(percents.contains(percent), "{percent} % is reached without an alert");
            }
        }
    }

    #[test]
    fn outage_and_recovery_alternate_and_an_outage_is_sent_once_in_ten_minutes(walk in a_walk()) {
        let mut rules = AlertRules::default();
        for (bad, good) in
            [(ProviderDown, ProviderUp), (AssumptionBroken, AssumptionHolds), (AnalyticsStale, AnalyticsFresh)]
        {
            let mut last_bad: Option<Timestamp> = None;
            let mut is_bad = false;
            for alert in walk.iter().flat_map(|input| evaluate(&mut rules, input)) {
                if alert.kind == bad {
                    prop_assert!(!is_bad);
                    prop_assert!(last_bad.is_none_or(|last| alert.at.since(last) >= FLAP_PAUSE));
                    (is_bad, last_bad) = (true, Some(alert.at));
                } else if alert.kind == good {
                    prop_assert!(is_bad);
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
            if delivers && let Some(alert) = kept.next_pending().cloned() {
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
    fn pending_alerts_are_bounded_and_every_alert_is_pending_or_dropped(walk in a_walk()) {
        let mut rules = AlertRules::default();
        let mut made = 0;
        for input in walk {
            made += evaluate(&mut rules, &input).len();
            prop_assert!(rules.pending_len() <= PENDING_MAX);
        }
        let dropped: u64 = rules.take_dropped().values().sum();
        prop_assert_eq!(u64::try_from(made).unwrap(), dropped + u64::try_from(rules.pending_len()).unwrap());
    }
}

#[test]
fn a_lowered_limit_sends_one_alert() {
    let mut rules = AlertRules::default();
    assert_eq!(kinds(&mut rules, used(0, 600)), [Used50]);
    assert_eq!(kinds(&mut rules, limited(1, 600, 500)), [Used100], "80, 95 and 100 % at once");
    assert_eq!(kinds(&mut rules, limited(2, 600, 500)), []);
}

#[test]
fn a_coturn_outage_sends_one_alert_and_its_end_another() {
    let mut rules = AlertRules::default();
    let unreachable = |millis| AlertInput { coturn_unreachable: true, ..input(millis) };
    assert_eq!(kinds(&mut rules, unreachable(0)), [CoturnUnreachable]);
    assert_eq!(kinds(&mut rules, unreachable(MINUTE)), []);
    assert_eq!(kinds(&mut rules, input(2 * MINUTE)), [CoturnReachable]);
}

#[test]
fn late_counts_alert_once_when_they_begin_and_once_when_they_have_settled() {
    let mut rules = AlertRules::default();
    let late = |millis| AlertInput { counts_late: true, ..input(millis) };
    assert_eq!(kinds(&mut rules, late(0)), [CountsLate]);
    assert_eq!(kinds(&mut rules, late(60 * MINUTE)), []);
    assert_eq!(kinds(&mut rules, input(120 * MINUTE)), [CountsSettled]);
}

#[test]
fn unknown_bytes_alert_once_when_they_are_many_and_once_when_they_are_few() {
    let mut rules = AlertRules::default();
    let unknown = |millis| AlertInput { has_unknown_bytes: true, ..input(millis) };
    assert_eq!(kinds(&mut rules, unknown(0)), [CountsUnknown]);
    assert_eq!(kinds(&mut rules, unknown(MINUTE)), []);
    assert_eq!(kinds(&mut rules, input(60 * MINUTE)), [CountsKnown]);
}

#[test]
fn the_spenders_are_read_only_for_an_alert_that_shows_them() {
    let mut rules = AlertRules::default();
    let mut reads = 0;
    let top = vec![TopSpender { key: "ann".into(), bytes: ByteCount::new(7) }];
    let spending = Spending { by: Some(SpenderKind::User), top, cost: None };
    let mut kinds = |input: &AlertInput| {
        let made = rules.evaluate(input, || {
            reads += 1;
            spending.clone()
        });
        made.into_iter().map(|alert| (alert.kind, alert.spending == spending)).collect::<Vec<_>>()
    };
    assert_eq!(kinds(&used(0, 400)), []);
    let both = AlertInput { provider: Some(false), ..used(1, 500) };
    assert_eq!(kinds(&both), [(Used50, true), (ProviderDown, true)]);
    assert_eq!(kinds(&used(2, 500)), [(ProviderUp, false)]);
    assert_eq!(reads, 1);
}

#[test]
fn an_alert_of_an_older_version_is_read_and_shown() {
    let stored = r#"{"pending":[{"id":"2025-01-01/provider-down/1","kind":"provider.down","at":"2025-01-15T12:00:00.000Z",
        "what":"The TURN provider does not mint.","budget":{"used":1,"limit":2,"overshoot_bound":3,
        "reset":"2025-02-01T00:00:00.000Z"}}]}"#;
    let rules: AlertRules = serde_json::from_str(stored).unwrap();
    let alert = rules.next_pending().unwrap();
    assert_eq!((&*alert.callers, &alert.spending), ("", &Spending::default()));
    assert!(
        alert
            .text(None)
            .starts_with("turn-broker: The TURN provider does not mint.\nFirst: Run turn-broker doctor")
    );
}

#[test]
fn a_failing_rotation_is_told_once_and_so_is_its_end() {
    let mut rules = AlertRules::default();
    let failing = |millis| AlertInput { rotation_failing: true, ..input(millis) };
    assert_eq!(kinds(&mut rules, failing(0)), [RotationFailing]);
    assert_eq!(kinds(&mut rules, failing(1_000)), []);
    assert_eq!(kinds(&mut rules, input(2_000)), [RotationWorks]);
}
