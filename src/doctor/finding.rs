//! What a check found, as a value. A finding that is not well always says what to do, and no finding holds a secret: its
//! texts are made of hosts, URLs, addresses, codes and times, never of what somebody answered.

use std::time::Duration;

/// The checks, in the order in which they run. Their names are stable: programs read them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Check {
    /// Settings, and which sources are on.
    Configuration,
    /// The directory of the ledger, and the ledger.
    State,
    /// Names of hosts.
    Dns,
    /// The way to the APIs: connection and certificate.
    Tls,
    /// This machine's clock.
    Clock,
    /// A credential from each source.
    Provider,
    /// A STUN server's answer.
    Stun,
    /// An allocation at a TURN server.
    Turn,
    /// What the two above say together.
    Network,
    /// The credential that was made for this is withdrawn.
    Revoke,
    /// The provider's own count.
    Analytics,
    /// coturn's command line.
    CoturnCli,
    /// The receiver of alerts.
    Alerts,
}

impl Check {
    /// The name.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Configuration => "configuration",
            Self::State => "state",
            Self::Dns => "dns",
            Self::Tls => "tls",
            Self::Clock => "clock",
            Self::Provider => "provider",
            Self::Stun => "stun",
            Self::Turn => "turn",
            Self::Network => "network",
            Self::Revoke => "revoke",
            Self::Analytics => "analytics",
            Self::CoturnCli => "coturn-cli",
            Self::Alerts => "alerts",
        }
    }
}

/// How it stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum State {
    /// Not looked at; what was seen says why.
    Skipped,
    /// Well.
    Ok,
    /// It serves, but hardly as it is meant.
    Warn,
    /// Broken.
    Fail,
}

impl State {
    /// The name in JSON.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Skipped => "skipped",
            Self::Ok => "ok",
            Self::Warn => "warn",
            Self::Fail => "fail",
        }
    }
}

/// What to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Remedy {
    /// A sentence.
    pub text: String,
    /// Nobody has shown that it helps.
    pub is_guess: bool,
}

impl Remedy {
    /// One that is known to help.
    pub fn sure(text: impl Into<String>) -> Self {
        Self { text: text.into(), is_guess: false }
    }

    /// One that may help.
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
    /// Which check.
    pub check: Check,
    /// What was looked at: a host, a URL, a source; empty where there is only one thing.
    pub subject: String,
    /// How it stands.
    pub state: State,
    /// What was seen, or why nothing was looked at.
    pub seen: String,
    /// What to do. Always there when it is not well.
    pub remedy: Option<Remedy>,
    /// How long it took, where that says something.
    pub took: Option<Duration>,
}

impl Finding {
    /// All is well.
    pub fn ok(check: Check, subject: impl Into<String>, seen: impl Into<String>) -> Self {
        Self { check, subject: subject.into(), state: State::Ok, seen: seen.into(), remedy: None, took: None }
    }

    /// It was not looked at.
    pub fn skipped(check: Check, subject: impl Into<String>, why: impl Into<String>) -> Self {
        Self { state: State::Skipped, ..Self::ok(check, subject, why) }
    }

    /// It serves, but hardly as it is meant.
    pub fn warn(
        check: Check,
        subject: impl Into<String>,
        seen: impl Into<String>,
        remedy: impl Into<Remedy>,
    ) -> Self {
        Self { state: State::Warn, remedy: Some(remedy.into()), ..Self::ok(check, subject, seen) }
    }

    /// It is broken.
    pub fn fail(
        check: Check,
        subject: impl Into<String>,
        seen: impl Into<String>,
        remedy: impl Into<Remedy>,
    ) -> Self {
        Self { state: State::Fail, ..Self::warn(check, subject, seen, remedy) }
    }

    /// The same, with the time that it took.
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

/// Everything that was found, in order.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Report {
    /// The findings.
    pub findings: Vec<Finding>,
    /// The configuration cannot be used, and nothing else was looked at.
    pub is_misconfigured: bool,
}

impl Report {
    /// The worst of it: ok, warn or fail.
    #[must_use]
    pub fn state(&self) -> State {
        self.findings.iter().map(|finding| finding.state).max().unwrap_or(State::Ok).max(State::Ok)
    }

    /// 0 when the service can do its work, warnings or not; 1 after a failure; 78 for a configuration that cannot be used.
    #[must_use]
    pub fn exit_status(&self) -> u8 {
        match self.state() {
            _ if self.is_misconfigured => 78,
            State::Fail => 1,
            State::Skipped | State::Ok | State::Warn => 0,
        }
    }

    /// How many are in this state.
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
    fn the_worst_finding_decides_and_warnings_do_not_fail() {
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
    fn a_configuration_that_cannot_be_used_has_a_status_of_its_own() {
        let fail = Finding::fail(Check::Configuration, "PORT", "expected a number", "mend it");
        assert_eq!(Report { findings: vec![fail], is_misconfigured: true }.exit_status(), 78);
    }
}
