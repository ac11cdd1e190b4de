//! The reader of one environment. Each setting is read with one call, which records every problem and continues, so that
//! all problems are reported together. A refused setting gets its default, but then there is no configuration. No message
//! contains the value of a secret. Every setting is read whatever the others are, so the names that were read are the names of all
//! settings. [`Settings::finish`] compares the names of the variables with them.

use secrecy::{ExposeSecret, SecretString};
use url::Url;

use super::env_file::EnvFault;
use super::environment::{Environment, read_file, writable_by_others};
use super::form::{Formed, base_url, form, is_cleartext, is_plain, is_quoted, one_of, path};
use super::names::{Misspelled, Names, Setting};
use super::problem::{ConfigErrors, ConfigProblem};
use turn_base::WebhookUrl;

/// The most entries of a list. Real lists have under twenty.
const LIST_ENTRIES_MAX: usize = 256;
/// The most characters of a value in a message.
const SHOWN_CHARS_MAX: usize = 100;
/// A part of every secret in `.env.example` and in the documents.
const EXAMPLE_MARK: &str = "example-only";

/// The beginnings of the names of secrets that Cloudflare issues.
const ISSUED: [&str; 2] = ["CALLS_", "CLOUDFLARE_"];

/// Reads settings, and collects problems and warnings.
pub(super) struct Settings<'a> {
    pub(super) environment: &'a Environment,
    /// Every setting that was read, set or not.
    pub(super) names: Names,
    /// Whether the next setting is about money: see [`Self::about_money`].
    is_money: bool,
    problems: Vec<ConfigProblem>,
    warnings: Vec<String>,
    /// Each secret that was read, by its setting.
    secrets: Vec<(&'static str, SecretString)>,
}

impl<'a> Settings<'a> {
    pub(super) fn new(environment: &'a Environment) -> Self {
        let problems = environment.problems.clone();
        let (names, warnings) = (Names::default(), environment.warnings.clone());
        Self { environment, names, is_money: false, problems, warnings, secrets: Vec::new() }
    }

    /// The warnings, or every problem with the hints: a misspelled name is often the missing setting. A misspelled name of a setting about
    /// money or of a secret stops the start by itself.
    pub(super) fn finish(mut self) -> Result<Vec<String>, ConfigErrors> {
        self.refuse_shared_secrets();
        // Many environments have `https_proxy` beside `HTTPS_PROXY`. The one in lower case is then no mistake.
        let may_be_misspelled = |name: &&str| {
            let upper = name.to_ascii_uppercase();
            upper == **name || !self.environment.is_set(&upper)
        };
        let given = self.environment.names().filter(may_be_misspelled);
        let misspelled: Vec<Misspelled> = given.filter_map(|name| self.names.misspelled(name)).collect();
        let mut hints: Vec<String> = misspelled.iter().map(ToString::to_string).collect();
        if self.problems.is_empty() && misspelled.iter().all(|name| !name.is_fatal) {
            hints.append(&mut self.warnings);
            return Ok(hints);
        }
        self.problems.sort_unstable();
        self.problems.dedup();
        Err(ConfigErrors { problems: self.problems, hints })
    }

    /// Marks the next setting: it limits what is spent, or by whom, or says what it costs. A misspelled name of it stops the start.
    pub(super) fn about_money(&mut self) -> &mut Self {
        self.is_money = true;
        self
    }

    /// Notes a setting that is being read.
    fn note(&mut self, name: &'static str, default: Option<&'static str>, is_secret: bool) {
        let is_money = std::mem::take(&mut self.is_money);
        self.names.0.push(Setting { name, default, is_secret, is_money });
    }

    /// The value in this form, or the default.
    pub(super) fn get<T>(
        &mut self,
        name: &'static str,
        default: &'static str,
        form: impl Fn(&str) -> Formed<T>,
    ) -> T {
        self.note(name, Some(default), false);
        self.value(name, &form).unwrap_or_else(|| form(default).expect("a default has its own form"))
    }

    /// The value in this form; `None` if unset or refused.
    pub(super) fn optional<T>(&mut self, name: &'static str, form: impl Fn(&str) -> Formed<T>) -> Option<T> {
        self.note(name, None, false);
        self.value(name, &form)
    }

    /// Comma-separated entries in this form. Each bad entry is a problem. `None` if the list or an entry is refused, or if the setting is
    /// unset and has no default.
    pub(super) fn list<T>(
        &mut self,
        name: &'static str,
        default: Option<&'static str>,
        form: impl Fn(&str) -> Formed<T>,
    ) -> Option<Vec<T>> {
        self.note(name, default, false);
        let text = self.text(name).or(default)?;
        let entries: Vec<&str> = text.split(',').map(str::trim).filter(|entry| !entry.is_empty()).collect();
        let count = entries.len();
        if !(1..=LIST_ENTRIES_MAX).contains(&count) {
            let expected = format!("expected 1 to {LIST_ENTRIES_MAX} entries between commas, found {count}");
            self.refuse(name, expected);
            return None;
        }
        let values: Vec<T> =
            entries.into_iter().filter_map(|entry| self.accepted(name, entry, &form)).collect();
        (values.len() == count).then_some(values)
    }

    /// Comma-separated words of `choices`. A repeated word is a problem. Empty if unset and without a default.
    pub(super) fn words<T: Copy + PartialEq>(
        &mut self,
        name: &'static str,
        default: Option<&'static str>,
        choices: &[(&str, T)],
    ) -> Vec<T> {
        let words = self.list(name, default, one_of(choices)).unwrap_or_default();
        let is_repeated = |(index, word): (usize, &T)| words[..index].contains(word);
        let has_repeated = words.iter().enumerate().any(is_repeated);
        self.refuse_if(name, has_repeated, "expected each entry once, found a repeated entry");
        words
    }

    /// A secret in this form, from `NAME` or from the file that `NAME_FILE` names; `None` if unset or refused.
    pub(super) fn secret<T>(&mut self, name: &'static str, form: impl Fn(&str) -> Formed<T>) -> Option<T> {
        self.note(name, None, true);
        let (variable, text) = self.secret_text(name)?;
        let value = if text.contains(EXAMPLE_MARK) {
            Err("expected a value of your own, found an example, which is public".to_owned())
        } else {
            form(&text)
        };
        self.note_secret(name, &text);
        value.map_err(|expected| self.refuse(&variable, expected)).ok()
    }

    pub(super) fn note_secret(&mut self, name: &'static str, secret: &str) {
        self.secrets.push((name, secret.into()));
    }

    /// Every secret that was read.
    pub(super) fn secrets(&self) -> Vec<SecretString> {
        self.secrets.iter().map(|(_, secret)| secret.clone()).collect()
    }

    /// Two settings must not have one secret: who knows it for one purpose could use it for the other. There are two exceptions: several
    /// webhooks (`…_URL`) may have the same receiver, and the operator does not choose what Cloudflare issues.
    fn refuse_shared_secrets(&mut self) {
        let is_issued = |name: &str| ISSUED.iter().any(|start| name.starts_with(start));
        let secrets = self.secrets.clone();
        for (at, (name, secret)) in secrets.iter().enumerate() {
            if name.ends_with("_URL") {
                continue;
            }
            let may_share = |other: &str| other == *name || (is_issued(other) && is_issued(name));
            let is_shared = |(other, its): &&(&str, SecretString)| {
                !may_share(other) && its.expose_secret() == secret.expose_secret()
            };
            if let Some((other, _)) = secrets[..at].iter().find(is_shared) {
                self.refuse(name, format!("expected another secret than {other} has"));
            }
        }
    }

    /// The base of a provider's API, with a warning if others on the network path can read the token.
    pub(super) fn base_url(&mut self, name: &'static str, default: &'static str) -> Url {
        let url = self.get(name, default, base_url);
        self.warn_of_cleartext(name, &url, "read the token");
        url
    }

    /// The URL of a webhook that gets `what`, with a warning if others on the network path can read that.
    pub(super) fn webhook(&mut self, name: &'static str, what: &str) -> Option<WebhookUrl> {
        let url = self.secret(name, form("an http: or https: URL without user", WebhookUrl::parse))?;
        self.warn_of_cleartext(name, url.expose(), &format!("read {what} and the URL"));
        Some(url)
    }

    /// Whether a setting that was read is set, valid or not, by value or by file.
    pub(super) fn is_set(&self, name: &str) -> bool {
        let read = self.names.get(name);
        debug_assert!(read.is_some(), "{name} is read before");
        let has_file =
            read.is_some_and(|read| read.is_secret) && self.environment.is_set(&Setting::file(name));
        has_file || self.environment.is_set(name)
    }

    /// Records a problem for the missing setting if only one of the two is set.
    pub(super) fn both_or_neither(&mut self, one: &str, other: &str) {
        for (missing, set) in [(one, other), (other, one)] {
            if self.is_set(set) && !self.is_set(missing) {
                self.refuse(missing, format!("expected a value because {set} is set (both or neither)"));
            }
        }
    }

    /// Records a problem, with the line that sets the variable. `expected` must not contain a secret.
    pub(super) fn refuse(&mut self, variable: &str, expected: impl Into<String>) {
        let expected = expected.into();
        let expected = match self.environment.line(variable) {
            Some(line) => format!("{expected}, in {line}"),
            None => expected,
        };
        self.record(variable, expected);
    }

    /// Adds a problem if `is_wrong`.
    pub(super) fn refuse_if(&mut self, variable: &str, is_wrong: bool, expected: impl Into<String>) {
        if is_wrong {
            self.refuse(variable, expected);
        }
    }

    fn record(&mut self, variable: &str, expected: String) {
        self.problems.push(ConfigProblem { variable: variable.to_owned(), expected });
    }

    pub(super) fn warn(&mut self, text: impl Into<String>) {
        self.warnings.push(text.into());
    }

    pub(super) fn warn_if(&mut self, is_due: bool, text: impl Into<String>) {
        if is_due {
            self.warn(text);
        }
    }

    /// Warns if others on the network path can do what `risk` says.
    pub(super) fn warn_of_cleartext(&mut self, name: &str, url: &Url, risk: &str) {
        if is_cleartext(url) {
            self.warn(format!("{name} is http: others on the network path can {risk}; use https"));
        }
    }

    fn value<T>(&mut self, name: &str, form: &impl Fn(&str) -> Formed<T>) -> Option<T> {
        let text = self.text(name)?;
        self.accepted(name, text, form)
    }

    /// The text of a variable. `None` if it is unset. Also `None`, with a problem, if the text is in doubt, for example because of quotes.
    fn text(&mut self, name: &str) -> Option<&'a str> {
        let expected = match self.environment.get(name)? {
            Ok(text) if !is_quoted(text) => return Some(text),
            Ok(_) => {
                self.refuse(
                    name,
                    "expected a value without quotes around it: `docker run --env-file` and kubectl keep them",
                );
                return None;
            }
            Err(EnvFault::Quotes(expected))
                if self.names.get(name).is_some_and(|setting| setting.is_secret) =>
            {
                let file = Setting::file(name);
                format!(
                    "{expected}; for `docker run --env-file` and kubectl, which keep quotes, write the value to a file and set {file} to its path"
                )
            }
            Err(fault) => fault.to_string(),
        };
        // The text of a fault names its line already, so this is not `refuse`, which would add the line.
        self.record(name, expected);
        None
    }

    /// The value of `text` in this form. `None`, with a problem, if it does not have the form.
    fn accepted<T>(&mut self, name: &str, text: &str, form: &impl Fn(&str) -> Formed<T>) -> Option<T> {
        let refused = match form(text) {
            Ok(value) if is_plain(text) => return Some(value),
            Ok(_) => "expected text without control characters".to_owned(),
            Err(expected) => expected,
        };
        self.refuse(name, format!("{refused}, found {}", shown(text)));
        None
    }

    /// The variable that is set, `NAME` or `NAME_FILE`, and the secret. `None` if neither is set, or, with a problem, if the secret cannot
    /// be read.
    fn secret_text(&mut self, name: &str) -> Option<(String, String)> {
        let file = Setting::file(name);
        match (self.environment.is_set(name), self.environment.is_set(&file)) {
            (true, true) => {
                self.refuse(name, format!("expected only one of {name} and {file}, found both"));
                None
            }
            (false, true) => {
                let path = self.value(&file, &path("a file"))?;
                let text = read_file(&path).map_err(|why| self.refuse(&file, why)).ok()?;
                self.warnings.extend(writable_by_others(&path));
                Some((file, text))
            }
            _ => Some((name.to_owned(), self.text(name)?.to_owned())),
        }
    }
}

/// A value for a message: truncated, escaped, and hidden if it may be a URL with a password.
pub(super) fn shown(text: &str) -> String {
    if text.contains('@') {
        return "a value with an @, which is not shown".to_owned();
    }
    let cut: String = text.chars().take(SHOWN_CHARS_MAX).collect();
    let more = if cut.len() < text.len() { " and more" } else { "" };
    format!("{cut:?}{more}")
}
