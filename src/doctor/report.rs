//! The report: findings as text for humans, one by one, and as one JSON document for programs. The text contains no control
//! characters except colours; on a terminal a line names the current check. Write errors are ignored, because the reader may
//! have gone (`doctor | head -1`).

use std::fmt::Write as _;
use std::io::Write;

use serde_json::{Value, json};

use super::finding::{Check, Finding, State, Verdict};
use crate::clock::Clock;

/// All findings, in order.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Report {
    /// The findings.
    pub findings: Vec<Finding>,
    /// The configuration is invalid, and nothing else was checked.
    pub is_misconfigured: bool,
}

impl Report {
    /// The worst state: ok, warn or fail.
    #[must_use]
    pub fn state(&self) -> State {
        self.findings.iter().map(|finding| finding.state).max().unwrap_or(State::Ok).max(State::Ok)
    }

    /// 0 without failures; 1 with one; 78 for an invalid configuration.
    #[must_use]
    pub fn exit_status(&self) -> u8 {
        match self.state() {
            _ if self.is_misconfigured => 78,
            State::Fail => 1,
            State::Skipped | State::Ok | State::Warn => 0,
        }
    }

    /// The number of findings in this state.
    #[must_use]
    pub fn count(&self, state: State) -> usize {
        self.findings.iter().filter(|finding| finding.state == state).count()
    }
}

/// Erases the line that the cursor is on.
const ERASE: &str = "\r\x1b[2K";
/// The longest shown name of a check, in characters. A line that wraps could not be erased.
const LINE_MAX: usize = 60;

/// The output and the findings so far.
#[derive(Debug)]
pub struct Progress<W> {
    to: W,
    form: OutputFormat,
    report: Report,
}

/// The output format.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OutputFormat {
    /// Text for humans, finding by finding.
    Text {
        /// Whether the output is a terminal.
        is_terminal: bool,
        /// The style.
        look: TextStyle,
    },
    /// One document at the end.
    Json,
}

impl<W: Write> Progress<W> {
    /// Starts with an empty report.
    pub fn new(to: W, form: OutputFormat) -> Self {
        Self { to, form, report: Report::default() }
    }

    /// Shows which check starts, on a terminal.
    pub fn starts(&mut self, what: &str) {
        if let OutputFormat::Text { is_terminal: true, .. } = self.form {
            let what: String = what.chars().filter(|c| !c.is_control()).take(LINE_MAX).collect();
            let _ = write!(self.to, "{ERASE}…       {what}").and_then(|()| self.to.flush());
        }
    }

    /// Prints a finding and keeps it for the report.
    pub fn found(&mut self, finding: Finding) {
        if let OutputFormat::Text { is_terminal, look } = self.form {
            let erase = if is_terminal { ERASE } else { "" };
            let _ = writeln!(self.to, "{erase}{}", text_of(&finding, look));
        }
        self.report.findings.push(finding);
    }

    /// Runs one check, and reports its verdict and how long it took. Returns what else it gave.
    pub(super) async fn check<T>(
        &mut self,
        clock: &dyn Clock,
        (check, subject): (Check, &str),
        run: impl Future<Output = (Verdict, T)>,
    ) -> T {
        self.starts(&format!("{} {subject}", check.name()));
        let began = clock.instant();
        let (verdict, given) = run.await;
        let took = clock.instant().saturating_duration_since(began);
        self.found(verdict.about(check, subject).after(took));
        given
    }

    /// Marks the report as that of an invalid configuration.
    pub fn is_misconfigured(&mut self) {
        self.report.is_misconfigured = true;
    }

    /// Prints the summary or the document.
    #[must_use]
    pub fn finish(mut self) -> Report {
        let text = match self.form {
            OutputFormat::Text { is_terminal, look } => {
                let erase = if is_terminal { ERASE } else { "" };
                format!("{erase}{}", summary(&self.report, look))
            }
            OutputFormat::Json => document(&self.report).to_string(),
        };
        let _ = writeln!(self.to, "{text}").and_then(|()| self.to.flush());
        self.report
    }
}

/// The style of text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TextStyle {
    /// Whether to use colours.
    pub colour: bool,
}

/// The longest text of one finding, in characters.
const TEXT_MAX: usize = 2_000;

/// One finding: a line, and its remedy on a second line.
fn text_of(found: &Finding, look: TextStyle) -> String {
    let mut text = format!("{} {}", painted(mark(found.state).0, found.state, look), plain(&found.title()));
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
fn summary(report: &Report, look: TextStyle) -> String {
    let (fails, warnings) = (report.count(State::Fail), report.count(State::Warn));
    let number = |count, noun| format!("{count} {noun}{}", if count == 1 { "" } else { "s" });
    let (failures, warned) = (number(fails, "failure"), number(warnings, "warning"));
    let text = match (fails, warnings) {
        (0, 0) => "Everything is OK.".to_owned(),
        (0, _) => format!("It works, with {warned}."),
        (_, 0) => format!("{failures}: see the lines with an arrow."),
        _ => format!("{failures}, {warned}: see the lines with an arrow."),
    };
    format!("\n{}", painted(&text, report.state(), look))
}

/// The whole report as one document.
fn document(report: &Report) -> Value {
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

/// The state in seven characters, so that titles are aligned, and its colour.
fn mark(state: State) -> (&'static str, u8) {
    match state {
        State::Ok => ("ok     ", 32),
        State::Warn => ("warn   ", 33),
        State::Fail => ("FAIL   ", 31),
        State::Skipped => ("skipped", 2),
    }
}

fn painted(text: &str, state: State, look: TextStyle) -> String {
    if look.colour { format!("\x1b[{}m{text}\x1b[0m", mark(state).1) } else { text.to_owned() }
}

/// Replaces control characters and truncates.
fn plain(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { ' ' } else { c }).take(TEXT_MAX).collect()
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::super::finding::{Check, Remedy, fail, ok, skipped, warn};
    use super::*;

    const PLAIN: TextStyle = TextStyle { colour: false };

    #[test]
    fn a_finding_is_one_line_with_its_remedy_below() {
        let ok = ok("192.0.2.1").about(Check::Dns, "a.example").after(Duration::from_millis(12));
        assert_eq!(text_of(&ok, PLAIN), "ok      dns a.example: 192.0.2.1 (12 ms)");
        let fail = fail("answered 401", Remedy::guess("make a key")).about(Check::Provider, "cloudflare");
        assert_eq!(
            text_of(&fail, PLAIN),
            "FAIL    provider cloudflare: answered 401\n         → a guess: make a key"
        );
        let skipped = skipped("not set").about(Check::Alerts, "");
        assert_eq!(text_of(&skipped, PLAIN), "skipped alerts: not set");
    }

    #[test]
    fn colours_are_used_only_on_request() {
        let ok = ok("b").about(Check::Dns, "a");
        assert!(text_of(&ok, TextStyle { colour: true }).starts_with("\x1b[32mok     \x1b[0m dns"));
        let report = Report { findings: vec![ok], is_misconfigured: false };
        assert!(!summary(&report, PLAIN).contains('\x1b'));
    }

    #[test]
    fn control_characters_are_replaced() {
        let nasty = fail("b\r\nc", "d\x07").about(Check::Dns, "a\x1b[2J");
        assert_eq!(text_of(&nasty, PLAIN), "FAIL    dns a [2J: b  c\n         → d ");
    }

    #[test]
    fn the_summary_counts_failures_and_warnings() {
        let warn = warn("memory only", "set STATE_DIR").about(Check::State, "");
        let fail = fail("refused", "look").about(Check::Tls, "");
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
        let fail = fail("no", Remedy::guess("perhaps")).about(Check::CoturnCli, "");
        let ok = ok("relayed").about(Check::Turn, "turn:a").after(Duration::from_millis(3));
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

    fn report(findings: Vec<Finding>) -> Report {
        Report { findings, is_misconfigured: false }
    }

    #[test]
    fn the_worst_finding_decides_and_warnings_are_not_failures() {
        let ok = ok("b").about(Check::Dns, "a");
        let skipped = skipped("no relay").about(Check::Turn, "");
        let warn = warn("memory", "set it").about(Check::State, "");
        let fail = fail("refused", "look").about(Check::Tls, "a");
        for (findings, state, exit) in [
            (vec![], State::Ok, 0),
            (vec![skipped.clone()], State::Ok, 0),
            (vec![ok.clone(), skipped], State::Ok, 0),
            (vec![ok.clone(), warn.clone()], State::Warn, 0),
            (vec![fail, ok, warn], State::Fail, 1),
        ] {
            let report = report(findings);
            assert_eq!((report.state(), report.exit_status()), (state, exit), "{report:?}");
        }
    }

    #[test]
    fn an_invalid_configuration_has_its_own_exit_status() {
        let fail = fail("expected a number", "correct it").about(Check::Configuration, "PORT");
        assert_eq!(Report { findings: vec![fail], is_misconfigured: true }.exit_status(), 78);
    }

    fn shown(form: OutputFormat) -> String {
        let mut out = Vec::new();
        let mut progress = Progress::new(&mut out, form);
        progress.starts("dns a.example");
        progress.found(ok("192.0.2.1").about(Check::Dns, "a.example"));
        let report = progress.finish();
        assert_eq!(report.findings.len(), 1);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn a_terminal_shows_the_current_check_and_a_file_only_findings() {
        let look = TextStyle { colour: false };
        let to_file = shown(OutputFormat::Text { is_terminal: false, look });
        assert_eq!(to_file, "ok      dns a.example: 192.0.2.1\n\nEverything is OK.\n");
        let to_terminal = shown(OutputFormat::Text { is_terminal: true, look });
        assert!(to_terminal.starts_with("\r\x1b[2K…       dns a.example\r\x1b[2Kok "), "{to_terminal:?}");
    }

    #[test]
    fn json_output_is_one_document() {
        let text = shown(OutputFormat::Json);
        let document: serde_json::Value = serde_json::from_str(&text).unwrap();
        assert_eq!(document["checks"][0]["check"], "dns");
        assert_eq!(text.lines().count(), 1);
    }
}
