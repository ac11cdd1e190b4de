//! The typed reader of one environment. It records every refusal and continues, so that all problems are reported
//! together. A refused setting has no value, so a default never replaces it silently. No message contains the value of a
//! [`SecretVariable`]: only the functions for a [`Variable`] show what they found.

use std::fmt::Display;
use std::ops::RangeInclusive;
use std::str::FromStr;
use std::time::Duration;

use secrecy::SecretString;
use url::Url;

use super::environment::Environment;
use super::names::{Misspelled, SecretVariable, Variable};
use super::problem::{ConfigErrors, ConfigProblem};
use super::value::{is_cleartext, is_plain, parse_base, parse_number, shown};

/// The most entries of a list. Real lists have under twenty.
const LIST_ENTRIES_MAX: usize = 256;

/// A part of every secret in `.env.example`, which gives a warning if it is not replaced.
const EXAMPLE_MARK: &str = "example-only";

/// A value was refused, and its problem is recorded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Refused;

/// A setting, or [`Refused`].
pub(super) type Read<T> = Result<T, Refused>;

/// The text of a secret, and its variable: `NAME` or `NAME_FILE`.
pub(super) struct SecretText {
    pub(super) variable: String,
    pub(super) text: String,
}

/// Reads settings, and collects problems and warnings.
pub(super) struct Settings<'a> {
    environment: &'a Environment,
    problems: Vec<ConfigProblem>,
    /// Misspelled names.
    spelling: Vec<Misspelled>,
    warnings: Vec<String>,
}

impl<'a> Settings<'a> {
    pub(super) fn new(environment: &'a Environment) -> Self {
        let spelling = environment.names().filter_map(Misspelled::of).collect();
        Self { environment, problems: environment.problems().to_vec(), spelling, warnings: Vec::new() }
    }

    /// The warnings, or every problem with the hints: a misspelled name is often the missing setting. One about money or
    /// secrets is a problem by itself.
    pub(super) fn finish(mut self) -> Result<Vec<String>, ConfigErrors> {
        let mut hints: Vec<String> = self.spelling.iter().map(ToString::to_string).collect();
        if !self.problems.is_empty() || self.spelling.iter().any(|misspelled| misspelled.is_fatal) {
            return Err(ConfigErrors::new(self.problems, hints));
        }
        hints.append(&mut self.warnings);
        Ok(hints)
    }

    pub(super) fn is_terminal(&self) -> bool {
        self.environment.is_terminal()
    }

    /// Whether it is set, valid or not.
    pub(super) fn is_set(&self, variable: Variable) -> bool {
        self.environment.get(variable.name()).is_some()
    }

    /// Whether it is set, by value or by file.
    pub(super) fn is_secret_set(&self, variable: SecretVariable) -> bool {
        let names = [variable.name().to_owned(), variable.file_name()];
        names.iter().any(|name| self.environment.get(name).is_some())
    }

    /// Records a warning.
    pub(super) fn warn(&mut self, text: impl Into<String>) {
        self.warnings.push(text.into());
    }

    /// Records a problem. `expected` must not contain a secret.
    pub(super) fn refuse(&mut self, variable: &str, expected: impl Into<String>) -> Refused {
        self.problems.push(ConfigProblem { variable: variable.to_owned(), expected: expected.into() });
        Refused
    }

    /// The parsed value or default; `None` without either.
    pub(super) fn optional<T>(
        &mut self,
        variable: Variable,
        expected: &str,
        parse: impl FnOnce(&str) -> Option<T>,
    ) -> Read<Option<T>> {
        let Some(text) = self.text(variable) else { return Ok(None) };
        match Some(text).filter(|text| is_plain(text)).and_then(parse) {
            Some(value) => Ok(Some(value)),
            None => Err(self.refuse(variable.name(), format!("expected {expected}, found {}", shown(text)))),
        }
    }

    /// The parsed value or default.
    pub(super) fn required<T>(
        &mut self,
        variable: Variable,
        expected: &str,
        parse: impl FnOnce(&str) -> Option<T>,
    ) -> Read<T> {
        let value = self.optional(variable, expected, parse)?;
        value.ok_or_else(|| self.refuse(variable.name(), format!("expected {expected}, found nothing")))
    }

    /// One of the words of `choices`, in any case; `None` if unset and without a default.
    pub(super) fn optional_word<T: Copy>(
        &mut self,
        variable: Variable,
        choices: &[(&str, T)],
    ) -> Read<Option<T>> {
        self.optional(variable, &one_of(choices), |text| choose(text, choices))
    }

    /// As [`Self::optional_word`], for a variable with a default.
    pub(super) fn word<T: Copy>(&mut self, variable: Variable, choices: &[(&str, T)]) -> Read<T> {
        self.required(variable, &one_of(choices), |text| choose(text, choices))
    }

    /// Comma-separated words of `choices`, each once; `None` if unset and without a default.
    pub(super) fn words<T: Copy + PartialEq>(
        &mut self,
        variable: Variable,
        choices: &[(&str, T)],
    ) -> Read<Option<Vec<T>>> {
        let Some(words) = self.list(variable, &one_of(choices), |text| choose(text, choices))? else {
            return Ok(None);
        };
        let is_repeated = |(index, word): (usize, &T)| words[..index].contains(word);
        if words.iter().enumerate().any(is_repeated) {
            return Err(self.refuse(variable.name(), "expected each entry once, found a repeated entry"));
        }
        Ok(Some(words))
    }

    /// A whole number in `range`.
    pub(super) fn number<T: FromStr + PartialOrd + Display>(
        &mut self,
        variable: Variable,
        range: RangeInclusive<T>,
    ) -> Read<T> {
        self.required(variable, &expected_number(&range), |text| parse_number(text, &range))
    }

    /// A whole number of seconds in `range`.
    pub(super) fn seconds(&mut self, variable: Variable, range: RangeInclusive<u64>) -> Read<Duration> {
        self.number(variable, range).map(Duration::from_secs)
    }

    /// As [`Self::seconds`], for a variable without a default.
    pub(super) fn optional_seconds(
        &mut self,
        variable: Variable,
        range: RangeInclusive<u64>,
    ) -> Read<Option<Duration>> {
        let seconds = self.optional(variable, &expected_number(&range), |text| parse_number(text, &range))?;
        Ok(seconds.map(Duration::from_secs))
    }

    /// Comma-separated entries without blank ones; each bad entry is one problem. `None` if unset.
    pub(super) fn list<T>(
        &mut self,
        variable: Variable,
        expected: &str,
        parse: impl Fn(&str) -> Option<T>,
    ) -> Read<Option<Vec<T>>> {
        let Some(text) = self.text(variable) else { return Ok(None) };
        let entries: Vec<&str> = text.split(',').map(str::trim).filter(|entry| !entry.is_empty()).collect();
        if entries.is_empty() || entries.len() > LIST_ENTRIES_MAX {
            let count = entries.len();
            let expected = format!("expected 1 to {LIST_ENTRIES_MAX} entries between commas, found {count}");
            return Err(self.refuse(variable.name(), expected));
        }
        let mut values = Vec::with_capacity(entries.len());
        let mut outcome = Ok(());
        for entry in entries {
            if let Some(value) = Some(entry).filter(|entry| is_plain(entry)).and_then(&parse) {
                values.push(value);
            } else {
                let expected = format!("expected {expected}, found {}", shown(entry));
                outcome = Err(self.refuse(variable.name(), expected));
            }
        }
        outcome.map(|()| Some(values))
    }

    /// A secret that passes `is_good`. `expected` describes it.
    pub(super) fn secret(
        &mut self,
        variable: SecretVariable,
        expected: &str,
        is_good: impl FnOnce(&str) -> bool,
    ) -> Read<Option<SecretString>> {
        self.parsed_secret(variable, expected, |text| is_good(text).then(|| text.into()))
    }

    /// What `parse` makes of a secret. `expected` describes it.
    pub(super) fn parsed_secret<T>(
        &mut self,
        variable: SecretVariable,
        expected: &str,
        parse: impl FnOnce(&str) -> Option<T>,
    ) -> Read<Option<T>> {
        let Some(secret) = self.secret_text(variable)? else { return Ok(None) };
        let Some(value) = Some(&*secret.text).filter(|text| is_plain(text)).and_then(parse) else {
            return Err(self.refuse(&secret.variable, format!("expected {expected}")));
        };
        self.warn_of_example(&secret);
        Ok(Some(value))
    }

    /// Warns if a secret is the one of `.env.example`.
    pub(super) fn warn_of_example(&mut self, secret: &SecretText) {
        if secret.text.contains(EXAMPLE_MARK) {
            self.warn(format!("{} holds an example value, which is public; replace it", secret.variable));
        }
    }

    /// The text of a secret, from `NAME` or from the file that `NAME_FILE` names.
    pub(super) fn secret_text(&mut self, variable: SecretVariable) -> Read<Option<SecretText>> {
        let (name, file_name) = (variable.name(), variable.file_name());
        match (self.environment.get(name), self.environment.get(&file_name)) {
            (None, None) => Ok(None),
            (Some(text), None) => Ok(Some(SecretText { variable: name.to_owned(), text: text.to_owned() })),
            (None, Some(path)) => match self.environment.read_file(path) {
                Ok(text) => Ok(Some(SecretText { variable: file_name, text })),
                Err(why) => Err(self.refuse(&file_name, why)),
            },
            (Some(_), Some(_)) => {
                Err(self.refuse(name, format!("expected only one of {name} and {file_name}, found both")))
            }
        }
    }

    /// Records a problem for the missing variable if only the other is set.
    pub(super) fn both_or_neither(&mut self, plain: Variable, secret: SecretVariable) -> Read<()> {
        let (missing, set) = match (self.is_set(plain), self.is_secret_set(secret)) {
            (true, false) => (secret.name(), plain.name()),
            (false, true) => (plain.name(), secret.name()),
            (true, true) | (false, false) => return Ok(()),
        };
        Err(self.refuse(missing, format!("expected a value because {set} is set (both or neither)")))
    }

    /// The URL of a service that receives a token, with a warning if others on the network path can read it.
    pub(super) fn base_url(&mut self, variable: Variable) -> Read<Url> {
        let url =
            self.required(variable, "an http: or https: URL without user, query or fragment", parse_base)?;
        if is_cleartext(&url) {
            let name = variable.name();
            self.warn(format!("{name} is http: others on the network path can read the token; use https"));
        }
        Ok(url)
    }

    /// The value as written, or the default.
    pub(super) fn text(&self, variable: Variable) -> Option<&'a str> {
        self.environment.get(variable.name()).or(variable.default())
    }
}

fn expected_number<T: Display>(range: &RangeInclusive<T>) -> String {
    format!("a number from {} to {}", range.start(), range.end())
}

fn choose<T: Copy>(text: &str, choices: &[(&str, T)]) -> Option<T> {
    choices.iter().find(|(word, _)| word.eq_ignore_ascii_case(text)).map(|(_, value)| *value)
}

/// `a`, `a or b`, `a, b or c`.
fn one_of<T>(choices: &[(&str, T)]) -> String {
    let words: Vec<&str> = choices.iter().map(|(word, _)| *word).collect();
    match words.split_last() {
        Some((last, rest)) if !rest.is_empty() => format!("{} or {last}", rest.join(", ")),
        _ => words.concat(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::names::{DOORS, OPERATOR_TOKEN, PORT, STATE_DIR, TRUSTED_PROXIES};
    use secrecy::ExposeSecret;
    use std::io;

    /// The problems when `read` reads `pairs`.
    fn problems<T>(pairs: &[(&str, &str)], read: impl FnOnce(&mut Settings<'_>) -> Read<T>) -> Vec<String> {
        let environment = Environment::from_pairs(pairs.iter().copied());
        problems_in(&environment, read)
    }

    fn problems_in<T>(
        environment: &Environment,
        read: impl FnOnce(&mut Settings<'_>) -> Read<T>,
    ) -> Vec<String> {
        let mut settings = Settings::new(environment);
        assert!(read(&mut settings).is_err(), "refused");
        settings.problems.iter().map(ToString::to_string).collect()
    }

    #[test]
    fn each_bad_entry_of_a_list_is_one_problem() {
        let found = problems(&[("TRUSTED_PROXIES", "1, x,2 ,,y z")], |s| {
            s.list(TRUSTED_PROXIES, "a digit", |text| text.parse::<u8>().ok())
        });
        let expected = |entry| format!("TRUSTED_PROXIES: expected a digit, found {entry:?}");
        assert_eq!(found, [expected("x"), expected("y z")]);
    }

    #[test]
    fn a_list_has_1_to_256_entries() {
        for (text, count) in [(",", 0), (" , ,", 0), (&*"1,".repeat(257), 257)] {
            let found =
                problems(&[("TRUSTED_PROXIES", text)], |s| s.list(TRUSTED_PROXIES, "x", |_| Some(())));
            let expected =
                format!("TRUSTED_PROXIES: expected 1 to 256 entries between commas, found {count}");
            assert_eq!(found, [expected]);
        }
        let environment = Environment::from_pairs([("TRUSTED_PROXIES", "1,".repeat(256))]);
        assert!(Settings::new(&environment).list(TRUSTED_PROXIES, "x", |_| Some(())).is_ok());
    }

    #[test]
    fn a_repeated_word_is_a_problem() {
        let choices = [("turn", 1), ("matrix", 2), ("ice", 3)];
        let found = problems(&[("DOORS", "turn,ice,TURN")], |s| s.words(DOORS, &choices));
        assert_eq!(found, ["DOORS: expected each entry once, found a repeated entry"]);
        let found = problems(&[("DOORS", "turn,tcp")], |s| s.words(DOORS, &choices));
        assert_eq!(found, ["DOORS: expected turn, matrix or ice, found \"tcp\""]);
    }

    #[test]
    fn a_control_character_is_refused_and_shown_escaped() {
        let found =
            problems(&[("STATE_DIR", "/a\u{1b}[0m")], |s| s.required(STATE_DIR, "a path", |_| Some(())));
        assert_eq!(found, ["STATE_DIR: expected a path, found \"/a\\u{1b}[0m\""]);
    }

    #[test]
    fn a_number_out_of_range_gets_the_range() {
        let found = problems(&[("PORT", "65536")], |s| s.number(PORT, 0..=u16::MAX));
        assert_eq!(found, ["PORT: expected a number from 0 to 65535, found \"65536\""]);
    }

    fn token(settings: &mut Settings<'_>) -> Read<Option<SecretString>> {
        settings.secret(OPERATOR_TOKEN, "at least 16 characters", |text| text.len() >= 16)
    }

    #[test]
    fn a_refused_secret_is_not_shown() {
        let found = problems(&[("OPERATOR_TOKEN", "hush")], token);
        assert_eq!(found, ["OPERATOR_TOKEN: expected at least 16 characters"]);
    }

    #[test]
    fn a_secret_may_come_from_a_file_but_not_from_both() {
        let files = |_: &std::path::Path| Ok(b"0123456789abcdef\n".to_vec());
        let environment =
            Environment::from_pairs([("OPERATOR_TOKEN_FILE", "/run/token")]).with_file_reader(files);
        let secret = token(&mut Settings::new(&environment)).unwrap().unwrap();
        assert_eq!(secret.expose_secret(), "0123456789abcdef");

        let found = problems(&[("OPERATOR_TOKEN_FILE", "/run/token"), ("OPERATOR_TOKEN", "hush")], token);
        assert_eq!(
            found,
            ["OPERATOR_TOKEN: expected only one of OPERATOR_TOKEN and OPERATOR_TOKEN_FILE, found both"]
        );
    }

    #[test]
    fn an_unusable_file_is_named_with_its_variable_and_path() {
        type Outcome = fn(&std::path::Path) -> io::Result<Vec<u8>>;
        let cases: [(Outcome, &str); 5] = [
            (|_| Err(io::ErrorKind::NotFound.into()), "cannot read \"/run/token\": entity not found"),
            (|_| Ok(vec![b'x'; 65_537]), "expected at most 64 KiB in \"/run/token\""),
            (|_| Ok(vec![0xff]), "expected UTF-8 text in \"/run/token\""),
            (|_| Ok(b"\n".to_vec()), "expected a value in \"/run/token\""),
            (|_| Ok(b"hush".to_vec()), "expected at least 16 characters"),
        ];
        for (files, why) in cases {
            let environment =
                Environment::from_pairs([("OPERATOR_TOKEN_FILE", "/run/token")]).with_file_reader(files);
            assert_eq!(problems_in(&environment, token), [format!("OPERATOR_TOKEN_FILE: {why}")]);
        }
    }
}
