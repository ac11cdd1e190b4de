//! The report: for humans each finding as text as soon as it is known, for programs one JSON document at the end. Every warning and failure
//! has a remedy. No finding contains a secret: its texts are made of hosts, URLs, addresses, codes and times, never of the text of a
//! response. The text contains no control characters. Write errors are ignored, because the reader may have gone (`doctor | head -1`).

use std::fmt::Write as _;
use std::io::Write;

use serde_json::json;

use super::prelude::*;

/// The checks. Their names are stable, because programs read them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, strum::IntoStaticStr)]
#[strum(serialize_all = "kebab-case")]
pub enum Check {
    /// The settings.
    Configuration,
    /// The state directory and the ledger.
    State,
    /// The database with the ledger.
    Database,
    /// This replica at `ADVERTISE_URL`.
    AdvertiseUrl,
    /// The broker at `PUBLIC_URL`.
    PublicUrl,
    /// Connections to the APIs, and their certificates.
    Tls,
    /// This machine's clock.
    Clock,
    /// A credential from each source.
    Provider,
    /// What the running service says.
    Service,
    /// A datagram through a TURN server.
    Turn,
    /// What a coturn must refuse.
    Tunnel,
    /// Revoking the credential that [`Check::Provider`] minted.
    Revoke,
    /// For how long credentials relay after their end.
    Tail,
    /// Cloudflare's analytics.
    Analytics,
    /// The account's billing cycle.
    BillingDay,
    /// coturn's CLI.
    CoturnCli,
    /// What coturn reports of its sessions.
    CoturnStats,
    /// The public keys that verify users' tokens.
    UserKeys,
    /// The alert webhook.
    Alerts,
}

/// The state of a finding.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, strum::IntoStaticStr)]
#[strum(serialize_all = "snake_case")]
pub enum CheckState {
    /// Not checked; the text says why.
    Skipped,
    /// In order.
    Ok,
    /// The service works, but something is probably wrong.
    Warn,
    /// Something does not work.
    Fail,
}

/// What a check concludes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Verdict {
    /// The state.
    pub state: CheckState,
    /// What was seen, or why nothing was checked.
    pub seen: String,
    /// What to do; it starts with a verb. Every warning and failure has one.
    pub remedy: Option<String>,
}

/// It is in order.
pub(super) fn ok(seen: impl Into<String>) -> Verdict {
    Verdict { state: CheckState::Ok, seen: seen.into(), remedy: None }
}

/// It was not checked.
pub(super) fn skipped(why: impl Into<String>) -> Verdict {
    Verdict { state: CheckState::Skipped, ..ok(why) }
}

/// It works, but something is probably wrong.
pub(super) fn warn(seen: impl Into<String>, remedy: impl Into<String>) -> Verdict {
    Verdict { state: CheckState::Warn, remedy: Some(remedy.into()), ..ok(seen) }
}

/// It does not work.
pub(super) fn fail(seen: impl Into<String>, remedy: impl Into<String>) -> Verdict {
    Verdict { state: CheckState::Fail, ..warn(seen, remedy) }
}

/// One line of the report.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// The check.
    pub check: Check,
    /// The host, URL or source that was checked; empty if there is only one.
    pub subject: String,
    /// What it concludes.
    pub verdict: Verdict,
    /// How long the check took.
    pub took: Duration,
}

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
    pub fn state(&self) -> CheckState {
        self.findings.iter().map(|finding| finding.verdict.state).fold(CheckState::Ok, CheckState::max)
    }

    /// 0 without failures, 1 with at least one, 78 for an invalid configuration.
    pub fn exit_status(&self) -> u8 {
        if self.is_misconfigured { 78 } else { u8::from(self.state() == CheckState::Fail) }
    }
}

/// The output and the findings so far.
pub struct Progress<'a> {
    to: &'a mut dyn Write,
    /// Whether to print one document at the end, instead of each finding as text.
    json: bool,
    pub(super) report: Report,
}

impl<'a> Progress<'a> {
    /// Starts with an empty report.
    pub fn new(to: &'a mut dyn Write, json: bool) -> Self {
        Self { to, json, report: Report::default() }
    }

    /// Prints a finding and keeps it for the report.
    pub(super) fn found(&mut self, check: Check, subject: &str, verdict: Verdict, took: Duration) {
        let finding = Finding { check, subject: subject.to_owned(), verdict, took };
        if !self.json {
            let _ = writeln!(self.to, "{}", text_of(&finding));
        }
        self.report.findings.push(finding);
    }

    /// Prints the summary or the document.
    pub(super) fn finish(self) -> Report {
        let text = if self.json { document(&self.report).to_string() } else { summary(&self.report) };
        let _ = writeln!(self.to, "{text}").and_then(|()| self.to.flush());
        self.report
    }
}

/// The longest text of one finding, in characters.
const TEXT_MAX: usize = 2_000;

/// One finding: a line, and its remedy on a second line.
fn text_of(found: &Finding) -> String {
    let Finding { check, subject, verdict: Verdict { state, seen, remedy }, took } = found;
    let space = if subject.is_empty() { "" } else { " " };
    let name: &str = check.into();
    let mut text = format!("{} {name}{space}{}: {}", mark(*state), plain(subject), plain(seen));
    if took.as_millis() > 0 {
        let _ = write!(text, " ({} ms)", took.as_millis());
    }
    if let Some(remedy) = remedy {
        let _ = write!(text, "\n         → {}", plain(remedy));
    }
    text
}

fn summary(report: &Report) -> String {
    let counted = |state, noun| {
        let count = report.findings.iter().filter(|finding| finding.verdict.state == state).count();
        format!("{count} {noun}{}", if count == 1 { "" } else { "s" })
    };
    let (failures, warnings) = (counted(CheckState::Fail, "failure"), counted(CheckState::Warn, "warning"));
    match report.state() {
        CheckState::Skipped | CheckState::Ok => "\nEverything is OK.".to_owned(),
        CheckState::Warn => format!("\nIt works, with {warnings}."),
        CheckState::Fail => format!("\n{failures}, {warnings}: see the lines with an arrow."),
    }
}

fn document(report: &Report) -> Value {
    let name = |state: CheckState| -> &str { state.into() };
    let entry = |Finding { check, subject, verdict, took }: &Finding| {
        json!({
            "check": <&str>::from(check),
            "subject": (!subject.is_empty()).then_some(subject),
            "state": name(verdict.state),
            "seen": verdict.seen,
            "remedy": verdict.remedy,
            "tookMs": u64::try_from(took.as_millis()).unwrap_or(u64::MAX),
        })
    };
    json!({
        "version": env!("CARGO_PKG_VERSION"),
        "state": name(report.state()),
        "exitStatus": report.exit_status(),
        "checks": report.findings.iter().map(entry).collect::<Vec<_>>(),
    })
}

/// The state in seven characters, so that the names are aligned.
fn mark(state: CheckState) -> &'static str {
    match state {
        CheckState::Ok => "ok     ",
        CheckState::Warn => "warn   ",
        CheckState::Fail => "FAIL   ",
        CheckState::Skipped => "skipped",
    }
}

/// Replaces control characters and truncates.
fn plain(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { ' ' } else { c }).take(TEXT_MAX).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn finding(check: Check, subject: &str, verdict: Verdict) -> Finding {
        Finding { check, subject: subject.into(), verdict, took: Duration::ZERO }
    }

    #[test]
    fn a_finding_is_one_line_with_its_remedy_below() {
        let mut ok = finding(Check::Turn, "turn:a", ok("relays at 192.0.2.1:7"));
        ok.took = Duration::from_millis(12);
        assert_eq!(text_of(&ok), "ok      turn turn:a: relays at 192.0.2.1:7 (12 ms)");
        let fail = finding(Check::Provider, "cloudflare", fail("answered 401", "make a key"));
        assert_eq!(text_of(&fail), "FAIL    provider cloudflare: answered 401\n         → make a key");
        let skipped = finding(Check::Alerts, "", skipped("not set"));
        assert_eq!(text_of(&skipped), "skipped alerts: not set");
    }

    #[test]
    fn control_characters_are_replaced() {
        let nasty = finding(Check::Tls, "a\x1b[2J", fail("b\r\nc", "d\x07"));
        assert_eq!(text_of(&nasty), "FAIL    tls a [2J: b  c\n         → d ");
    }

    #[test]
    fn the_worst_finding_decides_and_warnings_are_not_failures() {
        let ok = || finding(Check::Tls, "a", ok("b"));
        let skipped = || finding(Check::Turn, "", skipped("no relay"));
        let warn = || finding(Check::State, "", warn("memory", "set it"));
        let fail = || finding(Check::Tls, "a", fail("refused", "look"));
        for (findings, state, exit, says) in [
            (vec![], CheckState::Ok, 0, "Everything is OK."),
            (vec![skipped()], CheckState::Ok, 0, "Everything is OK."),
            (vec![ok(), skipped()], CheckState::Ok, 0, "Everything is OK."),
            (vec![ok(), warn()], CheckState::Warn, 0, "It works, with 1 warning."),
            (vec![fail(), ok()], CheckState::Fail, 1, "1 failure, 0 warnings: see the lines with an arrow."),
            (
                vec![fail(), fail(), warn()],
                CheckState::Fail,
                1,
                "2 failures, 1 warning: see the lines with an arrow.",
            ),
        ] {
            let mut report = Report { findings, is_misconfigured: false };
            assert_eq!((report.state(), report.exit_status()), (state, exit), "{report:?}");
            assert_eq!(summary(&report), format!("\n{says}"));
            report.is_misconfigured = true;
            assert_eq!(report.exit_status(), 78);
        }
    }

    fn shown(json: bool) -> String {
        let mut out = Vec::new();
        let mut progress = Progress::new(&mut out, json);
        progress.found(Check::CoturnCli, "", fail("no", "perhaps"), Duration::ZERO);
        progress.found(Check::Turn, "turn:a", ok("relayed"), Duration::from_millis(3));
        assert_eq!(progress.finish().findings.len(), 2);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn json_output_is_one_document_whose_fields_have_stable_names() {
        let text = shown(true);
        assert_eq!(text.lines().count(), 1);
        assert_eq!(
            serde_json::from_str::<Value>(&text).unwrap(),
            json!({
                "version": env!("CARGO_PKG_VERSION"), "state": "fail", "exitStatus": 1,
                "checks": [
                    { "check": "coturn-cli", "subject": null, "state": "fail", "seen": "no",
                      "remedy": "perhaps", "tookMs": 0 },
                    { "check": "turn", "subject": "turn:a", "state": "ok", "seen": "relayed",
                      "remedy": null, "tookMs": 3 },
                ],
            })
        );
    }
}
