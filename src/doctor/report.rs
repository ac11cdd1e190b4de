//! The report as text for humans and as one JSON document for programs. Pure: the style is an argument. The text contains
//! no control characters except colours.

use std::fmt::Write;

use serde_json::{Value, json};

use super::finding::{Finding, Report, State};

/// The style of text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TextStyle {
    /// Whether to use colours.
    pub colour: bool,
}

/// The longest text of one finding, in characters.
const TEXT_MAX: usize = 2_000;

/// One finding: a line, and its remedy on a second line.
#[must_use]
pub(super) fn finding(found: &Finding, look: TextStyle) -> String {
    let mut text = format!("{} {}", mark(found.state, look), plain(&found.title()));
    if !found.seen.is_empty() {
        let _ = write!(text, ": {}", plain(&found.seen));
    }
    if let Some(took) = found.took {
        let _ = write!(text, " ({} ms)", took.as_millis());
    }
    if let Some(remedy) = &found.remedy {
        let guess = if remedy.is_guess { "a guess: " } else { "" };
        let _ = write!(text, "\n         → {guess}{}", plain(&remedy.text));
    }
    text
}

/// The summary line.
#[must_use]
pub(super) fn summary(report: &Report, look: TextStyle) -> String {
    let (fails, warnings) = (report.count(State::Fail), report.count(State::Warn));
    let text = match (fails, warnings) {
        (0, 0) => "Everything is OK.".to_owned(),
        (0, _) => format!("It works, with {}.", number(warnings, "warning")),
        (_, 0) => format!("{}: see the lines with an arrow.", number(fails, "failure")),
        _ => format!(
            "{}, {}: see the lines with an arrow.",
            number(fails, "failure"),
            number(warnings, "warning")
        ),
    };
    format!("\n{}", painted(&text, report.state(), look))
}

/// The whole report as one document.
#[must_use]
pub(super) fn document(report: &Report) -> Value {
    let checks: Vec<Value> = report.findings.iter().map(entry).collect();
    json!({
        "version": env!("CARGO_PKG_VERSION"),
        "state": report.state().name(),
        "exitStatus": report.exit_status(),
        "checks": checks,
    })
}

fn entry(found: &Finding) -> Value {
    json!({
        "check": found.check.name(),
        "subject": (!found.subject.is_empty()).then_some(&found.subject),
        "state": found.state.name(),
        "seen": found.seen,
        "remedy": found.remedy.as_ref().map(|remedy| &remedy.text),
        "remedyIsGuess": found.remedy.as_ref().is_some_and(|remedy| remedy.is_guess),
        "tookMs": found.took.map(|took| u64::try_from(took.as_millis()).unwrap_or(u64::MAX)),
    })
}

/// The state in seven characters, so that titles are aligned.
fn mark(state: State, look: TextStyle) -> String {
    let word = match state {
        State::Ok => "ok     ",
        State::Warn => "warn   ",
        State::Fail => "FAIL   ",
        State::Skipped => "skipped",
    };
    painted(word, state, look)
}

fn painted(text: &str, state: State, look: TextStyle) -> String {
    let colour = match state {
        _ if !look.colour => return text.to_owned(),
        State::Ok => "32",
        State::Warn => "33",
        State::Fail => "31",
        State::Skipped => "2",
    };
    format!("\x1b[{colour}m{text}\x1b[0m")
}

fn number(count: usize, noun: &str) -> String {
    format!("{count} {noun}{}", if count == 1 { "" } else { "s" })
}

/// Replaces control characters and truncates.
fn plain(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { ' ' } else { c }).take(TEXT_MAX).collect()
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::super::finding::{Check, Remedy};
    use super::*;

    const PLAIN: TextStyle = TextStyle { colour: false };

    #[test]
    fn a_finding_is_one_line_with_its_remedy_below() {
        let ok = Finding::ok(Check::Dns, "a.example", "192.0.2.1").after(Duration::from_millis(12));
        assert_eq!(finding(&ok, PLAIN), "ok      dns a.example: 192.0.2.1 (12 ms)");
        let fail = Finding::fail(Check::Provider, "cloudflare", "answered 401", Remedy::guess("make a key"));
        assert_eq!(
            finding(&fail, PLAIN),
            "FAIL    provider cloudflare: answered 401\n         → a guess: make a key"
        );
        let skipped = Finding::skipped(Check::Alerts, "", "not set");
        assert_eq!(finding(&skipped, PLAIN), "skipped alerts: not set");
    }

    #[test]
    fn colours_are_used_only_on_request() {
        let ok = Finding::ok(Check::Dns, "a", "b");
        assert!(finding(&ok, TextStyle { colour: true }).starts_with("\x1b[32mok     \x1b[0m dns"));
        let report = Report { findings: vec![ok], is_misconfigured: false };
        assert!(!summary(&report, PLAIN).contains('\x1b'));
    }

    #[test]
    fn control_characters_are_replaced() {
        let nasty = Finding::fail(Check::Dns, "a\x1b[2J", "b\r\nc", "d\x07");
        assert_eq!(finding(&nasty, PLAIN), "FAIL    dns a [2J: b  c\n         → d ");
    }

    #[test]
    fn the_summary_counts_failures_and_warnings() {
        let warn = Finding::warn(Check::State, "", "memory only", "set STATE_DIR");
        let fail = Finding::fail(Check::Tls, "", "refused", "look");
        for (findings, text) in [
            (vec![], "\nEverything is OK."),
            (vec![warn.clone()], "\nIt works, with 1 warning."),
            (vec![fail.clone(), fail.clone()], "\n2 failures: see the lines with an arrow."),
            (vec![fail, warn.clone(), warn], "\n1 failure, 2 warnings: see the lines with an arrow."),
        ] {
            assert_eq!(summary(&Report { findings, is_misconfigured: false }, PLAIN), text);
        }
    }

    #[test]
    fn the_document_has_all_fields_with_stable_names() {
        let fail = Finding::fail(Check::CoturnCli, "", "no", Remedy::guess("perhaps"));
        let ok = Finding::ok(Check::Turn, "turn:a", "relayed").after(Duration::from_millis(3));
        let document = document(&Report { findings: vec![fail, ok], is_misconfigured: false });
        assert_eq!(
            document,
            json!({
                "version": env!("CARGO_PKG_VERSION"), "state": "fail", "exitStatus": 1,
                "checks": [
                    { "check": "coturn-cli", "subject": null, "state": "fail", "seen": "no",
                      "remedy": "perhaps", "remedyIsGuess": true, "tookMs": null },
                    { "check": "turn", "subject": "turn:a", "state": "ok", "seen": "relayed",
                      "remedy": null, "remedyIsGuess": false, "tookMs": 3 },
                ],
            })
        );
    }
}
