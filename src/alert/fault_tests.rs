use super::*;
use crate::alert::AlertKind;

const RUNBOOK: &str = include_str!("../../docs/RUNBOOK.md");
const RULES: &str = include_str!("../../deploy/prometheus-rules.yml");

#[test]
fn the_runbook_has_the_row_of_each_fault() {
    let row = |fault: &Fault| {
        let FaultFacts { code, events, severity, sentence, first_step, .. } = fault.facts();
        let events = events.map(|(begins, ends)| format!("`{begins}`, then `{ends}`")).unwrap_or_default();
        format!("| `{code}` | {events} | {} | {sentence} | {first_step} |", severity.name())
    };
    let rows = Fault::VARIANTS.iter().map(row).collect::<Vec<_>>().join("\n");
    let (_, table) = RUNBOOK.split_once("\n## By hint\n").unwrap();
    let (table, _) = table.split_once("\n## ").unwrap();
    assert!(table.trim_end().ends_with(&format!("|---|\n{rows}")), "the table should be:\n{rows}");
}

#[test]
fn the_runbook_says_what_to_do_first_for_each_threshold() {
    let (_, alerts) = RUNBOOK.split_once("\n## By alert\n").unwrap();
    for kind in [50, 80, 95, 100].map(AlertKind::Used) {
        let row = alerts.lines().find(|row| row.starts_with(&format!("| `{}` |", kind.name()))).unwrap();
        assert!(row.ends_with(&format!("| {} |", kind.first_step())), "{row}");
    }
}

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
    for (name, fault) in
        [("TurnBrokerCountStale", Fault::AnalyticsStale), ("TurnBrokerProviderDown", Fault::ProviderDown)]
    {
        let FaultFacts { severity, sentence, first_step, .. } = fault.facts();
        says(name, "summary", sentence);
        says(name, "description", first_step);
        assert!(rule(name).contains(&format!("severity: {}", severity.name())), "{name}");
    }
}

#[test]
fn codes_and_events_are_few_and_have_plain_names() {
    let mut codes: Vec<_> = Fault::VARIANTS.iter().map(|fault| fault.facts().code).collect();
    assert!(codes.iter().all(|code| code.bytes().all(|b| b.is_ascii_uppercase() || b == b'_')));
    codes.sort_unstable();
    codes.dedup();
    assert_eq!(codes.len(), 20);
}
