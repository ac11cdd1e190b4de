//! The result of a check, as a value. Every warning and failure has a remedy. No finding contains a secret: its texts are
//! made of hosts, URLs, addresses, codes and times, never of the text of a response.

use std::time::Duration;

/// The checks, in running order. Their names are stable, because programs read them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, strum::IntoStaticStr)]
#[strum(serialize_all = "kebab-case")]
pub enum Check {
    /// The settings.
    Configuration,
    /// The state directory and the ledger.
    State,
    /// The broker at `PUBLIC_URL`.
    PublicUrl,
    /// Host names.
    Dns,
    /// Connections to the APIs, and their certificates.
    Tls,
    /// This machine's clock.
    Clock,
    /// A credential from each source.
    Provider,
    /// A binding request to a STUN server.
    Stun,
    /// An allocation at a TURN server.
    Turn,
    /// A conclusion from the STUN and TURN findings.
    Network,
    /// Revoking the credential that the check minted.
    Revoke,
    /// How long a credential can be used after its expiry.
    Tail,
    /// The API that replaces the TURN key.
    TurnKeys,
    /// Cloudflare's analytics.
    Analytics,
    /// coturn's CLI.
    CoturnCli,
    /// The public keys that verify users' tokens.
    UserKeys,
    /// The alert webhook.
    Alerts,
}

impl Check {
    /// The name.
    #[must_use]
    pub fn name(self) -> &'static str {
        self.into()
    }
}

/// The state of a finding.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, strum::IntoStaticStr)]
#[strum(serialize_all = "snake_case")]
pub enum State {
    /// Not checked; the text says why.
    Skipped,
    /// In order.
    Ok,
    /// The service works, but something is probably wrong.
    Warn,
    /// Something does not work.
    Fail,
}

impl State {
    /// The name in JSON.
    #[must_use]
    pub fn name(self) -> &'static str {
        self.into()
    }
}

/// An instruction that fixes a finding.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Remedy {
    /// The instruction; it starts with a verb.
    pub text: String,
    /// Whether the cause is only assumed.
    pub is_guess: bool,
}

impl Remedy {
    /// A remedy for a known cause.
    pub fn sure(text: impl Into<String>) -> Self {
        Self { text: text.into(), is_guess: false }
    }

    /// A remedy for an assumed cause.
    pub fn guess(text: impl Into<String>) -> Self {
        Self { text: text.into(), is_guess: true }
    }
}

impl From<&str> for Remedy {
    fn from(text: &str) -> Self {
        Self::sure(text)
    }
}

/// One line of the report.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// The check.
    pub check: Check,
    /// The host, URL or source that was checked; empty if there is only one.
    pub subject: String,
    /// The state.
    pub state: State,
    /// What was seen, or why nothing was checked.
    pub seen: String,
    /// What to do. Every warning and failure has one.
    pub remedy: Option<Remedy>,
    /// How long the check took, if that is informative.
    pub took: Option<Duration>,
}

impl Finding {
    /// A finding that is in order.
    pub fn ok(check: Check, subject: impl Into<String>, seen: impl Into<String>) -> Self {
        Self { check, subject: subject.into(), state: State::Ok, seen: seen.into(), remedy: None, took: None }
    }

    /// A check that was skipped.
    pub fn skipped(check: Check, subject: impl Into<String>, why: impl Into<String>) -> Self {
        Self { state: State::Skipped, ..Self::ok(check, subject, why) }
    }

    /// A warning.
    pub fn warn(
        check: Check,
        subject: impl Into<String>,
        seen: impl Into<String>,
        remedy: impl Into<Remedy>,
    ) -> Self {
        Self { state: State::Warn, remedy: Some(remedy.into()), ..Self::ok(check, subject, seen) }
    }

    /// A failure.
    pub fn fail(
        check: Check,
        subject: impl Into<String>,
        seen: impl Into<String>,
        remedy: impl Into<Remedy>,
    ) -> Self {
        Self { state: State::Fail, ..Self::warn(check, subject, seen, remedy) }
    }

    /// Adds how long the check took.
    #[must_use]
    pub fn after(self, took: Duration) -> Self {
        Self { took: Some(took), ..self }
    }

    /// Check and subject.
    #[must_use]
    pub fn title(&self) -> String {
        if self.subject.is_empty() {
            return self.check.name().to_owned();
        }
        format!("{} {}", self.check.name(), self.subject)
    }
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

#[cfg(test)]
mod tests {
    use super::*;

    fn report(findings: Vec<Finding>) -> Report {
        Report { findings, is_misconfigured: false }
    }

    #[test]
    fn the_worst_finding_decides_and_warnings_are_not_failures() {
        let ok = Finding::ok(Check::Dns, "a", "b");
        let skipped = Finding::skipped(Check::Turn, "", "no relay");
        let warn = Finding::warn(Check::State, "", "memory", "set it");
        let fail = Finding::fail(Check::Tls, "a", "refused", "look");
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
        let fail = Finding::fail(Check::Configuration, "PORT", "expected a number", "correct it");
        assert_eq!(Report { findings: vec![fail], is_misconfigured: true }.exit_status(), 78);
    }
}
