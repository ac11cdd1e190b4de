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
    /// A remedy for an assumed cause.
    pub fn guess(text: impl Into<String>) -> Self {
        Self { text: text.into(), is_guess: true }
    }
}

impl<T: Into<String>> From<T> for Remedy {
    fn from(text: T) -> Self {
        Self { text: text.into(), is_guess: false }
    }
}

/// What a check concludes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Verdict {
    pub(super) state: State,
    pub(super) seen: String,
    pub(super) remedy: Option<Remedy>,
}

/// It is in order.
pub(super) fn ok(seen: impl Into<String>) -> Verdict {
    Verdict { state: State::Ok, seen: seen.into(), remedy: None }
}

/// It was not checked.
pub(super) fn skipped(why: impl Into<String>) -> Verdict {
    Verdict { state: State::Skipped, ..ok(why) }
}

/// It works, but something is probably wrong.
pub(super) fn warn(seen: impl Into<String>, remedy: impl Into<Remedy>) -> Verdict {
    Verdict { state: State::Warn, remedy: Some(remedy.into()), ..ok(seen) }
}

/// It does not work.
pub(super) fn fail(seen: impl Into<String>, remedy: impl Into<Remedy>) -> Verdict {
    Verdict { state: State::Fail, ..warn(seen, remedy) }
}

impl Verdict {
    /// The finding of a check about a subject.
    pub(super) fn about(self, check: Check, subject: impl Into<String>) -> Finding {
        let Self { state, seen, remedy } = self;
        Finding { check, subject: subject.into(), state, seen, remedy, took: None }
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
