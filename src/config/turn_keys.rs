//! The TURN keys at Cloudflare. Names and ids are unique. If there are keys, at least one has a weight above 0. No message contains an
//! entry of `CLOUDFLARE_TURN_KEYS`, because an entry contains a token.

use super::form::{
    IDENTIFIER_MAX, entries, fault_of_keys, identifier, parse_identifier, parse_number, token,
};
use super::prelude::*;
use crate::ice::key_name::KeyName;

/// The most TURN keys. Each one is a time series and a row of the overview.
pub const KEYS_MAX: usize = 16;
const WEIGHT_MAX: u64 = 1_000;

/// One TURN key.
#[derive(Clone, Debug)]
pub struct TurnKeyConfig {
    /// The name, which callers may ask for. `default` for the key of `CLOUDFLARE_TURN_KEY_ID`.
    pub name: KeyName,
    /// The id, 1 to 128 of `A-Z a-z 0-9 _ -`.
    pub id: String,
    /// The API token of this key, visible ASCII.
    pub token: SecretString,
    /// Its share of the mints that ask for no key, relative to the other keys. With 0 it serves only those that ask for it.
    pub weight: u32,
}

/// The key of `CLOUDFLARE_TURN_KEY_ID` and those of `CLOUDFLARE_TURN_KEYS`. Empty if neither is set.
pub(super) fn read_keys(settings: &mut Settings<'_>) -> Vec<TurnKeyConfig> {
    let id = settings.about_money().optional("CLOUDFLARE_TURN_KEY_ID", identifier(IDENTIFIER_MAX));
    let token = settings.secret("CLOUDFLARE_TURN_API_TOKEN", token);
    let listed = settings.secret("CLOUDFLARE_TURN_KEYS", entries(ENTRY, parse_key)).unwrap_or_default();
    settings.both_or_neither("CLOUDFLARE_TURN_KEY_ID", "CLOUDFLARE_TURN_API_TOKEN");
    let default =
        id.zip(token).map(|(id, token)| TurnKeyConfig { name: KeyName::DEFAULT, id, token, weight: 1 });
    let keys: Vec<TurnKeyConfig> = default.into_iter().chain(listed).collect();
    if let Some(expected) = contradiction(&keys) {
        settings.refuse("CLOUDFLARE_TURN_KEYS", expected);
    }
    keys
}

/// What is wrong with the keys together.
fn contradiction(keys: &[TurnKeyConfig]) -> Option<String> {
    let names: BTreeSet<KeyName> = keys.iter().map(|key| key.name).collect();
    let ids: BTreeSet<&str> = keys.iter().map(|key| key.id.as_str()).collect();
    let repeated =
        "expected each name once, found a repeated name (CLOUDFLARE_TURN_KEY_ID is the key named default)";
    let is_unused = !keys.is_empty() && keys.iter().all(|key| key.weight == 0);
    let faults = [
        (names.len() < keys.len(), repeated),
        (ids.len() < keys.len(), "expected each key id once, found a repeated id"),
        (is_unused, "expected a key with a weight above 0, found none"),
    ];
    fault_of_keys(keys.len(), KEYS_MAX, &faults)
}

/// What an entry looks like.
const ENTRY: &str = "NAME=KEY_ID:TOKEN or NAME=KEY_ID:TOKEN:WEIGHT with a name of 1 to 15 letters a to z, digits and -, beginning \
    with a letter, a token without quotes around it, and a weight from 0 to 1000";

fn parse_key(entry: &str) -> Option<TurnKeyConfig> {
    let (name, key) = entry.split_once('=')?;
    let name = KeyName::new(name.trim())?;
    let (id, token, weight) = match *key.split(':').map(str::trim).collect::<Vec<_>>() {
        [id, token] => (id, token, "1"),
        [id, token, weight] => (id, token, weight),
        _ => return None,
    };
    let is_token = !token.is_empty() && is_visible_ascii(token) && !is_quoted(token);
    let (id, weight) = (parse_identifier(id)?, parse_number(weight, &(0..=WEIGHT_MAX))?);
    is_token.then(|| TurnKeyConfig { name, id, token: token.into(), weight })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::testing::{load, load_file};
    use proptest::prelude::*;
    use secrecy::ExposeSecret;

    #[test]
    fn the_pair_is_a_key_beside_those_of_the_list() {
        let shown = |config: crate::config::Config| {
            let keys = config.ice.cloudflare.unwrap().keys.into_iter();
            keys.map(|key| format!("{}={}:{}:{}", key.name, key.id, key.token.expose_secret(), key.weight))
                .collect::<Vec<_>>()
        };
        let [id, token] = [("CLOUDFLARE_TURN_KEY_ID", "A"), ("CLOUDFLARE_TURN_API_TOKEN", "t1")];
        assert_eq!(shown(load([id, token])), ["default=A:t1:1"]);
        let keys = ("CLOUDFLARE_TURN_KEYS", "eu=B:t2:3,us=C:t3");
        assert_eq!(shown(load([id, token, keys])), ["default=A:t1:1", "eu=B:t2:3", "us=C:t3:1"]);
        let file = load_file("CLOUDFLARE_TURN_KEYS_FILE", "eu = B:t2:3\r\nus = C : t3\n");
        assert_eq!(shown(file.unwrap()), ["eu=B:t2:3", "us=C:t3:1"], "one on each line of a file");
    }

    #[test]
    fn there_are_16_keys_at_most() {
        let list =
            |count: usize| (0..count).map(|n| format!("k{n}=id{n}:hush")).collect::<Vec<_>>().join(",");
        let contradiction = |count| contradiction(&entries(ENTRY, parse_key)(&list(count)).unwrap());
        assert_eq!(contradiction(16), None);
        assert_eq!(contradiction(17).unwrap(), "expected at most 16 keys, found 17");
    }

    proptest! {
        #[test]
        fn no_problem_contains_a_part_of_an_entry(text in "[a-z]{0,3}[=:,]?hush[A-Z0-9=:, ]{0,30}(:9x)?") {
            if let Err(expected) = entries(ENTRY, parse_key)(&text) {
                prop_assert!(!expected.contains("hush"), "{expected}");
            }
        }
    }
}
