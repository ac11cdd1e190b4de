//! Settings of the programs that mint for their users, each with a key. No message contains an entry of `SERVER_KEYS`, because an entry
//! contains a key.

use std::num::NonZeroU32;
use std::path::PathBuf;

use super::budget::read_limits;
use super::form::{entries, fault_of_keys, is_varied};
use super::prelude::*;
use turn_ledger::Label;

/// The most keys. Each one is a time series.
const KEYS_MAX: usize = 64;
/// The lengths of a key. Even the shortest is long, because nobody types a key.
const KEY_CHARS: RangeInclusive<usize> = 32..=1_024;

/// The keys, and what each may do.
#[derive(Clone, Debug)]
pub struct ServerKeysConfig {
    /// At most 64, each name and each key once. `SERVER_KEYS`; none when unset.
    pub keys: Vec<ServerKeyConfig>,
    /// The file with the keys, which is read again when it changes. `SERVER_KEYS_FILE`; none when unset.
    pub file: Option<PathBuf>,
    /// Requests of one key per `RATE_LIMIT_WINDOW_SECONDS`, also as one burst, 1 to 1,000,000. `SERVER_KEY_REQUESTS`; 1,000 when unset.
    pub requests: NonZeroU32,
    /// The bytes that each key with a limit may use in a period, above 0. `SERVER_KEY_LIMITS`; none when unset.
    pub limits: BTreeMap<Label, ByteCount>,
}

/// One key.
#[derive(Clone, Debug)]
pub struct ServerKeyConfig {
    /// The name, in the form of a label.
    pub name: Label,
    /// 32 to 1,024 visible ASCII characters.
    pub key: SecretString,
}

impl ServerKeysConfig {
    pub(super) fn read(settings: &mut Settings<'_>) -> Self {
        let keys = settings.secret("SERVER_KEYS", entries(ENTRY, parse_key)).unwrap_or_default();
        let file = settings.environment.get("SERVER_KEYS_FILE").and_then(Result::ok).map(PathBuf::from);
        for key in &keys {
            settings.note_secret("SERVER_KEYS", key.key.expose_secret());
        }
        let requests = settings.get("SERVER_KEY_REQUESTS", "1000", number(1..=1_000_000));
        if let Some(expected) = contradiction(&keys) {
            settings.refuse("SERVER_KEYS", expected);
        }
        let limits = read_limits(settings, "SERVER_KEY_LIMITS", "NAME", Label::new);
        let has_other = !limits.keys().all(|name| keys.iter().any(|key| key.name == *name));
        let expected = "expected names of SERVER_KEYS, found another name";
        settings.refuse_if("SERVER_KEY_LIMITS", has_other && file.is_none(), expected);
        // A key may have left the file.
        let is_left =
            "SERVER_KEY_LIMITS has a name that SERVER_KEYS_FILE does not have: correct or remove it";
        settings.warn_if(has_other && file.is_some(), is_left);
        Self { keys, file, requests, limits }
    }
}

/// What is wrong with the keys together.
fn contradiction(keys: &[ServerKeyConfig]) -> Option<String> {
    let names: BTreeSet<&str> = keys.iter().map(|key| key.name.as_str()).collect();
    let texts: BTreeSet<&str> = keys.iter().map(|key| key.key.expose_secret()).collect();
    let few = "expected at least 8 different characters in each key, such as those of openssl rand -hex 32";
    let faults = [
        (names.len() < keys.len(), "expected each name once, found a repeated name"),
        (texts.len() < keys.len(), "expected another key for each name, found a repeated key"),
        (!texts.iter().all(is_varied), few),
    ];
    fault_of_keys(keys.len(), KEYS_MAX, &faults)
}

/// What an entry looks like.
const ENTRY: &str = "NAME=KEY with a name of 1 to 64 characters of A-Z a-z 0-9 . _ : @ / - and a key of 32 to 1024 visible ASCII \
    characters without commas and without quotes around it, such as that of openssl rand -hex 32";

fn parse_key(entry: &str) -> Option<ServerKeyConfig> {
    let (name, key) = entry.split_once('=')?;
    let (name, key) = (Label::new(name.trim())?, key.trim());
    let is_key = KEY_CHARS.contains(&key.len()) && is_visible_ascii(key) && !is_quoted(key);
    is_key.then(|| ServerKeyConfig { name, key: key.into() })
}

#[cfg(test)]
mod tests {
    use crate::config::{Config, Environment};

    #[test]
    fn keys_are_read_again_as_a_start_would_read_them_and_limits_may_name_a_key_that_left() {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("keys");
        let write = |text: &str| std::fs::write(&file, text).unwrap();
        let (first, second) =
            ("app-fixture-key-0123456789-0123456789", "janus-fixture-key-0123456789-012345678");
        let third = "metrics-fixture-token-0123456789-012345678";
        write(&format!("app={first}"));
        let environment = Environment::from_pairs([
            ("SERVER_KEYS_FILE", file.to_str().unwrap()),
            ("SERVER_KEY_LIMITS", "app=1"),
            ("OPERATOR_TOKEN", second),
            ("METRICS_TOKEN", third),
        ]);
        let config = Config::from_env(&environment).unwrap();
        let now = || {
            let keys = config.server_keys_now().map_err(|why| why.to_string())?;
            Ok::<_, String>(keys.iter().map(|key| key.name.as_str().to_owned()).collect::<Vec<_>>())
        };
        assert_eq!(now(), Ok(vec!["app".into()]));
        write(&format!("other={first}"));
        assert_eq!(now(), Ok(vec!["other".into()]));
        let restarted = Config::from_env(&environment).unwrap();
        assert!(restarted.warnings.iter().any(|text| text.starts_with("SERVER_KEY_LIMITS has a name")));
        write(&format!("other={first},app={first}"));
        assert!(now().unwrap_err().contains("a repeated key"));
        write(&format!("other={second}"));
        assert!(now().unwrap_err().contains("SERVER_KEYS: expected another secret than OPERATOR_TOKEN has"));
        write(&format!("other={third}"));
        assert!(now().unwrap_err().contains("SERVER_KEYS: expected another secret than METRICS_TOKEN has"));
        std::fs::remove_file(&file).unwrap();
        assert!(now().unwrap_err().contains("cannot read"));
    }
}
