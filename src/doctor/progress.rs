//! What is shown while it works. Each finding is printed when it is there; on a terminal a line says before what is being
//! looked at. Whoever reads may have gone (`doctor | head -1`): that is no fault.

use std::io::Write;

use super::finding::{Finding, Report};
use super::report::{self, Look};

/// Erases the line that the cursor is on.
const ERASE: &str = "\r\x1b[2K";
/// Characters of what is being looked at: a line that wraps would not be erased.
const LINE_MAX: usize = 60;

/// Where findings go, and in which form.
#[derive(Debug)]
pub struct Progress<W> {
    to: W,
    form: Form,
    report: Report,
}

/// What is printed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    /// Text for people, as it comes.
    Text {
        /// Whether somebody watches.
        is_terminal: bool,
        /// How it may look.
        look: Look,
    },
    /// One document at the end, and nothing before it.
    Json,
}

impl<W: Write> Progress<W> {
    /// Nothing is printed yet.
    pub fn new(to: W, form: Form) -> Self {
        Self { to, form, report: Report::default() }
    }

    /// This is looked at now.
    pub fn starts(&mut self, what: &str) {
        if let Form::Text { is_terminal: true, .. } = self.form {
            let what: String = what.chars().filter(|c| !c.is_control()).take(LINE_MAX).collect();
            let _ = write!(self.to, "{ERASE}…       {what}").and_then(|()| self.to.flush());
        }
    }

    /// This was found.
    pub fn found(&mut self, finding: Finding) {
        if let Form::Text { is_terminal, look } = self.form {
            let erase = if is_terminal { ERASE } else { "" };
            let _ = writeln!(self.to, "{erase}{}", report::finding(&finding, look));
        }
        self.report.findings.push(finding);
    }

    /// The configuration cannot be used.
    pub fn is_misconfigured(&mut self) {
        self.report.is_misconfigured = true;
    }

    /// The end of it.
    #[must_use]
    pub fn finish(mut self) -> Report {
        let text = match self.form {
            Form::Text { is_terminal, look } => {
                let erase = if is_terminal { ERASE } else { "" };
                format!("{erase}{}", report::summary(&self.report, look))
            }
            Form::Json => report::document(&self.report).to_string(),
        };
        let _ = writeln!(self.to, "{text}").and_then(|()| self.to.flush());
        self.report
    }
}

#[cfg(test)]
mod tests {
    use super::super::finding::Check;
    use super::*;

    fn shown(form: Form) -> String {
        let mut out = Vec::new();
        let mut progress = Progress::new(&mut out, form);
        progress.starts("dns a.example");
        progress.found(Finding::ok(Check::Dns, "a.example", "192.0.2.1"));
        let report = progress.finish();
        assert_eq!(report.findings.len(), 1);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn a_terminal_sees_what_is_looked_at_and_a_file_only_what_was_found() {
        let look = Look { colour: false };
        let to_file = shown(Form::Text { is_terminal: false, look });
        assert_eq!(to_file, "ok      dns a.example: 192.0.2.1\n\nAll is well.\n");
        let to_terminal = shown(Form::Text { is_terminal: true, look });
        assert!(to_terminal.starts_with("\r\x1b[2K…       dns a.example\r\x1b[2Kok "), "{to_terminal:?}");
    }

    #[test]
    fn json_is_one_document_and_nothing_else() {
        let text = shown(Form::Json);
        let document: serde_json::Value = serde_json::from_str(&text).unwrap();
        assert_eq!(document["checks"][0]["check"], "dns");
        assert_eq!(text.lines().count(), 1);
    }
}
