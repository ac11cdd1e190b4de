//! Tables of the documents that are made from the code. After a change of what they say, write them again:
//! `UPDATE_DOCUMENTS=1 cargo test --locked -p turn-broker --test it documents`.

use std::fs;
use std::sync::PoisonError;

use clap::{Arg, Command, CommandFactory};
use turn_base::Code;
use turn_broker::alert::{Act, ActFacts, Fault, FaultFacts, MintStop, StopCode};
use turn_broker::app::places::Place;
use turn_broker::cli::CommandLine;

use crate::deploy::metrics_of_a_broker;
use crate::openapi::document;
use crate::support::prelude::*;

const REFERENCE: &str = include_str!("../../docs/REFERENCE.md");
const RUNBOOK: &str = include_str!("../../docs/RUNBOOK.md");

#[test]
fn the_runbook_has_the_row_of_each_hint_with_its_alerts() {
    let rows = Fault::VARIANTS.iter().map(|fault| {
        let FaultFacts { code, events, severity, sentence, first_step, .. } = fault.facts();
        let events = events.map(|(begins, ends)| format!(", `{begins}`, `{ends}`")).unwrap_or_default();
        let stops = StopCode::VARIANTS.iter().filter(|stop| {
            <&str>::from(**stop) != code && MintStop::of(**stop, "").message.ends_with(first_step)
        });
        let stops: Vec<_> = stops.map(|stop| format!(" (`{}`)", <&str>::from(stop))).collect();
        let (stops, severity) = (stops.concat(), severity.name());
        format!("| `{code}`{stops}{events} | {severity} | {sentence} | {first_step} |")
    });
    assert_table("RUNBOOK.md", "By hint", rows);
}

#[test]
fn the_runbook_has_the_row_of_each_alert_that_is_no_fault() {
    let rows = rows_of(RUNBOOK, "By alert");
    let is_of_fault = |kind: &AlertKind| matches!(kind, AlertKind::Began(_) | AlertKind::Ended(_));
    let kinds: Vec<_> = AlertKind::all().filter(|kind| !is_of_fault(kind)).collect();
    assert_eq!(rows.len(), kinds.len());
    for (row, kind) in rows.iter().zip(kinds) {
        let (name, severity) = (kind.name(), kind.severity().name());
        assert!(row.starts_with(&format!("| `{name}` | {severity} | ")), "{name}, {severity}: {row}");
        assert!(row.trim_end().ends_with(&format!(" | {} |", kind.first_step())), "{name}: {row}");
    }
}

#[test]
fn the_decision_about_acts_has_the_row_of_each() {
    let rows = Act::VARIANTS.iter().map(|act| {
        let ActFacts { takes, evidence, confirmed_by, stated, undone_by } = act.facts();
        format!("| {} | {takes} | {evidence} | {confirmed_by} | {stated} | {undone_by} |", act.name())
    });
    assert_table("adr/0018-acts.md", "Acts", rows);
}

#[tokio::test]
async fn the_operators_page_has_the_row_of_each_place() {
    let webhook = "http://127.0.0.1:9/who";
    let broker = TestBroker::start(&[("AUTH_WEBHOOK_URL", webhook)]).await;
    let rows = broker.app.places().map(|(Place { name, bound, share, refusal, .. }, _, most)| {
        // The machine or a setting decides about these.
        let varies = ["_MAX", "ulimit", "`sockets`"].iter().any(|word| bound.contains(word));
        let most = if varies { String::new() } else { format!("{most}: ") };
        format!("| `{name}` | {most}{bound} | {share} | {refusal} |")
    });
    assert_table("OPERATE.md", "Memory and places", rows);
}

#[tokio::test]
async fn the_reference_has_the_row_of_each_metric() {
    let text = metrics_of_a_broker().await;
    let names = text.lines().filter_map(|line| line.strip_prefix("# HELP ")?.split_once(' '));
    let rows = names.map(|(name, help)| {
        let series = ["", "_total", "_info", "_sum"].map(|suffix| format!("{name}{suffix}"));
        let (series, labels) =
            series.iter().find_map(|series| Some((series, labels_of(&text, series)?))).unwrap();
        let series = series.trim_start_matches("turn_broker_").trim_end_matches("_sum");
        format!("| `{series}{labels}` | {help} |")
    });
    assert_table("REFERENCE.md", "Metrics", rows);
}

#[test]
fn the_reference_has_the_row_of_each_command() {
    let all = CommandLine::command();
    let rows = all.get_subcommands().flat_map(|command| {
        let below: Vec<_> = command.get_subcommands().collect();
        let prefix = if below.is_empty() { String::new() } else { format!("{} ", command.get_name()) };
        let named = if below.is_empty() { vec![command] } else { below };
        named.into_iter().map(move |command| row_of_command(&prefix, command))
    });
    assert_table("REFERENCE.md", "Commands", rows);
}

#[test]
fn the_reference_has_a_row_of_each_error_with_its_status() {
    let document = document();
    let codes = &document["components"]["schemas"]["ErrorBody"]["properties"]["code"]["enum"];
    let expected = codes.as_array().unwrap().iter().map(|code| {
        let code = code.as_str().unwrap();
        format!("| `{code}` | {} |", code.parse::<Code>().unwrap().status().as_u16())
    });
    let rows = rows_of(REFERENCE, "Errors");
    let rows = rows.iter().map(|row| row.split_inclusive('|').take(3).collect::<String>());
    assert_eq!(rows.collect::<Vec<_>>(), expected.collect::<Vec<_>>());
}

#[test]
fn the_reference_explains_each_reason_of_a_degraded_response() {
    let (_, section) = REFERENCE.split_once("\n## Degraded responses\n").unwrap();
    let named: Vec<_> =
        section.lines().filter_map(|line| line.strip_prefix("- `")?.split('`').next()).collect();
    assert_eq!(named, StopCode::REASONS.map(StopCode::reason));
}

/// The names of the labels of a series, in braces; empty without labels. `None`: no such series.
fn labels_of(text: &str, series: &str) -> Option<String> {
    let samples = text.lines().filter_map(|line| line.strip_prefix(series));
    let sample = samples.into_iter().find(|sample| sample.starts_with(['{', ' ']))?;
    let (labels, _) = sample.strip_prefix('{').unwrap_or_default().rsplit_once('}').unwrap_or_default();
    let names: Vec<_> = labels.split(',').filter_map(|label| Some(label.split_once('=')?.0)).collect();
    Some(if names.is_empty() { String::new() } else { format!("{{{}}}", names.join(",")) })
}

/// The name with its arguments, and what it does.
fn row_of_command(prefix: &str, command: &Command) -> String {
    let arguments: String = command.get_arguments().map(shown).collect();
    let about = command.get_about().unwrap();
    format!("| `{prefix}{}{arguments}` | {about} |", command.get_name())
}

fn shown(argument: &Arg) -> String {
    let values: Vec<_> =
        argument.get_value_names().unwrap_or_default().iter().map(ToString::to_string).collect();
    let value = values.join(" ");
    match argument.get_long() {
        None if argument.is_required_set() => format!(" {value}"),
        None => format!(" [{value}]"),
        Some(name) if argument.get_action().takes_values() => format!(" [--{name} {value}]"),
        Some(name) => format!(" [--{name}]"),
    }
}

/// Two tests may write one page.
static WRITING: Mutex<()> = Mutex::new(());

/// The only table of the section has these rows.
fn assert_table(page: &str, section: &str, rows: impl Iterator<Item = String>) {
    let rows: Vec<_> = rows.collect();
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs").join(page);
    let _guard = WRITING.lock().unwrap_or_else(PoisonError::into_inner);
    let text = fs::read_to_string(&path).unwrap();
    let found = rows_of(&text, section);
    if std::env::var_os("UPDATE_DOCUMENTS").is_some() {
        let (before, after) = text.split_once(&found.concat()).unwrap();
        fs::write(path, [before, &(rows.join("\n") + "\n"), after].concat()).unwrap();
        return;
    }
    let found: Vec<_> = found.iter().map(|row| row.trim_end()).collect();
    assert_eq!(
        found, rows,
        "docs/{page} is old: UPDATE_DOCUMENTS=1 cargo test --locked -p turn-broker --test it documents"
    );
}

/// The rows below the head of the first table of a section, each with its line break.
fn rows_of<'a>(page: &'a str, section: &str) -> Vec<&'a str> {
    let (_, text) = page.split_once(&format!("\n## {section}\n")).unwrap();
    let (_, table) = text.split_once("---|\n").unwrap();
    table.split_inclusive('\n').take_while(|line| line.starts_with('|')).collect()
}
