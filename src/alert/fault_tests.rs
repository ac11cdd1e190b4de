use super::*;
use crate::alert::AlertKind;

const RULES: &str = include_str!("../../deploy/prometheus-rules.yml");

#[test]
fn the_rules_for_prometheus_have_the_texts_of_the_alerts() {
    let rule = |name: &str| {
        let (_, rule) = RULES.split_once(&format!("- alert: {name}\n")).unwrap();
        rule.split("- alert: ").next().unwrap()
    };
    let says = |name: &str, field: &str, text: &str| {
        let line = format!("{field}: {}", serde_json::to_string(text).unwrap());
        assert!(rule(name).lines().any(|l| l.trim() == line), "{name} should say\n{line}");
    };
    for (name, percent) in
        [("TurnBrokerBudget80", 80), ("TurnBrokerBudget95", 95), ("TurnBrokerBudgetSpent", 100)]
    {
        says(name, "description", AlertKind::Used(percent).first_step());
    }
    for (name, fault) in [
        ("TurnBrokerCountStale", Fault::AnalyticsStale),
        ("TurnBrokerLedgerFailing", Fault::LedgerFailing),
        ("TurnBrokerProviderDown", Fault::ProviderDown),
    ] {
        let FaultFacts { severity, sentence, first_step, .. } = fault.facts();
        says(name, "summary", sentence);
        says(name, "description", first_step);
        assert!(rule(name).contains(&format!("severity: {}", severity.name())), "{name}");
    }
}

#[test]
fn the_codes_of_faults_are_32_names_in_capitals() {
    let mut codes: Vec<_> = Fault::VARIANTS.iter().map(|fault| fault.facts().code).collect();
    assert!(codes.iter().all(|code| code.bytes().all(|b| b.is_ascii_uppercase() || b == b'_')));
    codes.sort_unstable();
    codes.dedup();
    assert_eq!(codes.len(), 32);
}
