//! Tests of the rules: thresholds, and the alerts that are kept.

mod outages;
mod walks;

use std::borrow::Borrow;

use super::*;
use crate::alert::TopSpender;
use crate::rate::PresentRate;
use turn_ledger::{BitRate, IceSource, SpenderKey, SpenderKind};

use AlertKind::{Began, Ended, Used};
use Fault::{AnalyticsStale, AssumptionBroken, ProviderDown};

const GB: u64 = 1_000_000_000;
const DAY: u64 = 86_400_000;
const MINUTE: u64 = 60_000;

fn start() -> Timestamp {
    Timestamp::from_millis(1_735_689_600_000)
}

/// All is well at 2025-01-01 plus `millis`; periods of 30 days.
fn input(millis: u64) -> AlertInput {
    let begin = millis / (30 * DAY) * 30 * DAY;
    let period = Period { start: start().plus_millis(begin), end: start().plus_millis(begin + 30 * DAY) };
    AlertInput::without_faults(start().plus_millis(millis), period)
}

impl AlertInput {
    /// All is well, and nothing of 1,000 GB is used.
    pub(super) fn without_faults(now: Timestamp, period: Period) -> Self {
        Self {
            now,
            period,
            budget: BudgetFigures {
                limit: ByteCount::new(1_000 * GB),
                reset: period.end,
                ..BudgetFigures::default()
            },
            minting: Ok(()),
            facts: ServiceFacts {
                used: vec![IceSource::Cloudflare],
                rate: PresentRate { rate: BitRate::new(41_200_000), until: now, limit_at: None },
                ..ServiceFacts::default()
            },
            faults: vec![],
            percents: BTreeSet::from([50, 80, 95, 100]),
            spent_grants: vec![],
        }
    }

    /// The same with other figures of the budget.
    pub(super) fn with_budget(mut self, change: impl FnOnce(&mut BudgetFigures)) -> Self {
        change(&mut self.budget);
        self
    }
}

fn used(millis: u64, gb: u64) -> AlertInput {
    input(millis).with_budget(|budget| budget.used = ByteCount::new(gb * GB))
}

fn limited(millis: u64, gb: u64, limit: u64) -> AlertInput {
    used(millis, gb).with_budget(|budget| budget.limit = ByteCount::new(limit * GB))
}

fn provider(millis: u64, is_up: bool) -> AlertInput {
    if is_up { input(millis) } else { faulty(millis, ProviderDown) }
}

fn faulty(millis: u64, fault: Fault) -> AlertInput {
    AlertInput { faults: vec![fault.found("")], ..input(millis) }
}

fn evaluate(rules: &mut AlertRules, input: &AlertInput) -> Vec<Alert> {
    rules.evaluate(input, &Spending::default(), true).made
}

fn kinds(rules: &mut AlertRules, input: impl Borrow<AlertInput>) -> Vec<AlertKind> {
    evaluate(rules, input.borrow()).into_iter().map(|alert| alert.kind).collect()
}

#[test]
fn a_threshold_alert_is_sent_once() {
    let mut rules = AlertRules::default();
    let below = input(0).with_budget(|budget| budget.used = ByteCount::new(500 * GB - 1));
    assert_eq!(kinds(&mut rules, below), []);
    assert_eq!(kinds(&mut rules, used(1, 500)), [Used(50)]);
    assert_eq!(kinds(&mut rules, used(2, 501)), []);
    assert_eq!(kinds(&mut rules, used(3, 400)), [], "a reading lowered usage");
    assert_eq!(kinds(&mut rules, used(4, 600)), []);
}

#[test]
fn of_several_thresholds_at_once_only_the_highest_is_sent() {
    let mut rules = AlertRules::default();
    assert_eq!(kinds(&mut rules, used(0, 960)), [Used(95)]);
    assert_eq!(kinds(&mut rules, used(1, 1_000)), [Used(100)]);
}

#[test]
fn beyond_the_limit_alerts_become_rarer_and_end_in_one_an_hour_with_the_sum() {
    let mut rules = AlertRules::default();
    let mut percents = vec![];
    // A leak of 26 % of the limit each minute, for five hours.
    for minute in 0..300 {
        percents.extend(kinds(&mut rules, used(minute * MINUTE, 1_000 + minute * 260)));
    }
    let first = [100, 125, 150, 200, 300, 500, 1_000].map(Used);
    assert_eq!(percents[..7], first);
    assert_eq!(percents[7..], [Used(1_000); 4], "one an hour");
    assert_eq!(kinds(&mut rules, used(900 * MINUTE, 1_000 + 299 * 260)), [Used(1_000)], "it has grown since");
    assert_eq!(kinds(&mut rules, used(1_200 * MINUTE, 1_000 + 299 * 260)), [], "nothing flows");
    let last = rules.latest().next().unwrap();
    assert!(last.alert.what.starts_with("7874 % of the bandwidth limit is used: "), "{}", last.alert.what);
    let mut ids: Vec<_> = rules.latest().map(|kept| kept.alert.id.clone()).collect();
    ids.dedup();
    assert_eq!(ids.len(), 12);
    assert_eq!(AlertKind::from_name("budget.used_1000"), Some(Used(1_000)));
}

#[test]
fn sums_push_out_no_other_alert() {
    let mut rules = AlertRules::default();
    evaluate(&mut rules, &provider(0, false));
    for hour in 1..300 {
        evaluate(&mut rules, &used(hour * 60 * MINUTE, 10_000 + hour));
    }
    assert_eq!(rules.latest().count(), KEPT_MAX);
    assert_eq!(rules.latest().last().unwrap().alert.kind, Began(ProviderDown));
}

#[test]
fn the_operator_chooses_the_parts_of_the_limit() {
    let mut rules = AlertRules::default();
    let percents = BTreeSet::from([90, 30]);
    let at = |gb| AlertInput { percents: percents.clone(), ..used(0, gb) };
    assert_eq!(kinds(&mut rules, at(299)), []);
    assert_eq!(kinds(&mut rules, at(300)), [Used(30)]);
    assert_eq!(kinds(&mut rules, at(500)), []);
    assert_eq!(kinds(&mut rules, at(1_000)), [Used(90)], "none at the limit");
}

#[test]
fn the_latest_alerts_are_kept_whether_delivered_or_not() {
    let mut rules = AlertRules::default();
    evaluate(&mut rules, &used(0, 500));
    let first = rules.waiting().next().unwrap().id.clone();
    evaluate(&mut rules, &used(1, 800));
    rules.delivered(&first);
    let latest: Vec<_> = rules.latest().map(|kept| (kept.alert.kind, kept.waits)).collect();
    assert_eq!(latest, [(Used(80), true), (Used(50), false)]);
    for n in 1..=u64::try_from(KEPT_MAX).unwrap() {
        for millis in [n * DAY / 24, n * DAY / 24 + MINUTE] {
            evaluate(&mut rules, &provider(millis, n % 2 == 0));
        }
    }
    assert_eq!(rules.latest().count(), KEPT_MAX);
    // The oldest are gone.
    assert!(rules.latest().all(|kept| matches!(kept.alert.kind, Began(ProviderDown) | Ended(ProviderDown))));
}

#[test]
fn a_limit_of_zero_is_reached_at_once() {
    assert_eq!(kinds(&mut AlertRules::default(), limited(0, 0, 0)), [Used(100)]);
}

#[test]
fn the_largest_figures_do_not_overflow() {
    let most = ByteCount::new(u64::MAX);
    let input = input(0).with_budget(|budget| (budget.used, budget.limit) = (most, most));
    assert_eq!(kinds(&mut AlertRules::default(), input), [Used(100)]);
}

#[test]
fn a_new_period_repeats_the_threshold_alerts() {
    let mut rules = AlertRules::default();
    assert_eq!(kinds(&mut rules, used(0, 800)), [Used(80)]);
    assert_eq!(kinds(&mut rules, used(30 * DAY, 100)), []);
    assert_eq!(kinds(&mut rules, used(31 * DAY, 800)), [Used(80)]);
}

#[test]
fn a_new_limit_repeats_alerts_for_thresholds_that_are_no_longer_reached() {
    let mut rules = AlertRules::default();
    assert_eq!(kinds(&mut rules, used(0, 960)), [Used(95)]);
    assert_eq!(kinds(&mut rules, limited(1, 960, 1_100)), [], "87 %: 50 and 80 are still reached");
    assert_eq!(kinds(&mut rules, limited(2, 1_050, 1_100)), [Used(95)]);
    assert_eq!(kinds(&mut rules, limited(3, 1_050, 1_000)), [Used(100)], "a lower limit is reached at once");
}

#[test]
fn a_limit_that_comes_back_repeats_its_alert_with_the_same_id() {
    let mut rules = AlertRules::default();
    let mut ids = Vec::new();
    for limit in [1_000, 2_000, 1_000] {
        ids.extend(evaluate(&mut rules, &limited(0, 900, limit)).into_iter().map(|alert| alert.id));
    }
    assert_eq!(ids, ["2025-01-01/budget-used-80/1000000000000"; 2]);
}

#[test]
fn an_alert_contains_the_figures_of_its_time() {
    let mut rules = AlertRules::default();
    let overshoot_bound = ByteCount::new(23_400_000_000);
    let input = used(5 * DAY, 512).with_budget(|budget| budget.overshoot_bound = overshoot_bound);
    let [alert] = evaluate(&mut rules, &input).try_into().expect("one alert");
    assert_eq!(alert.id, "2025-01-01/budget-used-50/1000000000000");
    assert_eq!(alert.at.to_string(), "2025-01-06T00:00:00.000Z");
    assert_eq!(
        (alert.budget.used, alert.budget.overshoot_bound),
        (ByteCount::new(512 * GB), overshoot_bound)
    );
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
    assert_eq!(rules.waiting().next(), Some(&made[0]));
    rules.delivered("an-unknown-id");
    assert_eq!(rules.waiting().count(), 2);
    rules.delivered(&made[0].id);
    assert_eq!(rules.waiting().next(), Some(&made[1]));
    rules.delivered(&made[1].id);
    assert_eq!(rules.waiting().next(), None);
}

#[test]
fn alerts_about_single_credentials_do_not_push_out_the_others() {
    let mut rules = AlertRules::default();
    rules.evaluate(&used(0, 1_000), &Spending::default(), true);
    let before: Vec<_> = rules.waiting().map(|alert| alert.kind).collect();
    let spent = |n: u64| SpentGrant {
        grant: turn_ledger::GrantId::new(u128::from(n).to_be_bytes()),
        who: [SpenderKind::Label, SpenderKind::User]
            .iter()
            .filter_map(|kind| SpenderKey::parse(*kind, "bob"))
            .collect(),
        counted: ByteCount::ZERO,
    };
    let spent_grants = (0..100).map(spent).collect();
    let dropped = rules
        .evaluate(&AlertInput { spent_grants, ..used(MINUTE, 1_000) }, &Spending::default(), true)
        .dropped;
    assert!(!before.is_empty() && dropped.iter().all(|kind| *kind == AlertKind::GrantLimit), "{dropped:?}");
    assert_eq!(rules.waiting().count(), KEPT_MAX);
    let command = rules.waiting().last().and_then(Alert::command);
    assert_eq!(command.as_deref(), Some("turn-broker block bob; turn-broker revoke --user=bob"));
}

#[test]
fn above_the_maximum_the_oldest_alert_is_dropped_and_counted() {
    let mut rules = AlertRules::default();
    let mut dropped = vec![];
    for step in 0..65 {
        for millis in [step * 10 * MINUTE, step * 10 * MINUTE + MINUTE] {
            let input = provider(millis, step % 2 == 1);
            dropped.extend(rules.evaluate(&input, &Spending::default(), true).dropped);
        }
    }
    assert_eq!(rules.waiting().count(), KEPT_MAX);
    // The first down is gone.
    assert_eq!(rules.waiting().next().map(|alert| alert.kind), Some(Ended(ProviderDown)));
    assert_eq!(dropped, [Began(ProviderDown)]);
}

#[test]
fn an_alert_of_a_kind_that_shows_spending_shows_the_spenders_and_no_other_does() {
    let mut rules = AlertRules::default();
    let top = vec![TopSpender { key: Some("ann".into()), bytes: ByteCount::new(7), block: None, usable: 1 }];
    let spending = Spending { by: Some(SpenderKind::User), top, now: None, cost: None };
    let mut kinds = |input: &AlertInput| {
        let will_show = rules.will_show_spending(input);
        let made = rules.evaluate(input, &spending, true).made;
        let shown: Vec<_> = made.iter().map(|alert| (alert.kind, alert.spending == spending)).collect();
        assert_eq!(will_show, shown.iter().any(|(_, shows)| *shows));
        shown
    };
    assert_eq!(kinds(&used(0, 400)), []);
    let both = AlertInput { budget: used(1, 500).budget, ..provider(1, false) };
    assert_eq!(kinds(&both), [(Used(50), true), (Began(ProviderDown), true)]);
    assert_eq!(kinds(&used(2, 500)), []);
    assert_eq!(kinds(&used(2 + MINUTE, 500)), [(Ended(ProviderDown), false)]);
}
