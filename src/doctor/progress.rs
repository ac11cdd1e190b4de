//! The output of a running doctor. It prints each finding at once; on a terminal a line names the current check. Write
//! errors are ignored, because the reader may have gone (`doctor | head -1`).

use std::io::Write;

use super::finding::{Finding, Report};
use super::report::{self, TextStyle};

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
            let _ = writeln!(self.to, "{erase}{}", report::finding(&finding, look));
        }
        self.report.findings.push(finding);
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
                format!("{erase}{}", report::summary(&self.report, look))
            }
            OutputFormat::Json => report::document(&self.report).to_string(),
        };
        let _ = writeln!(self.to, "{text}").and_then(|()| self.to.flush());
        self.report
    }
}

#[cfg(test)]
mod tests {
    use super::super::finding::Check;
    use super::*;

    fn shown(form: OutputFormat) -> String {
        let mut out = Vec::new();
        let mut progress = Progress::new(&mut out, form);
        progress.starts("dns a.example");
        progress.found(Finding::ok(Check::Dns, "a.example", "192.0.2.1"));
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
