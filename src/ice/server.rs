//! Entries of `iceServers`, as browsers accept them. An [`IceServerList`] has no URL on a port that browsers block, no
//! duplicate URL, and no `turn(s):` entry without username and credential. Every source returns this type.

use std::collections::HashSet;
use std::fmt;

use serde::{Deserialize, Serialize};
use serde_json::Value;
use utoipa::ToSchema;

use super::url::{IceUrl, IceUrlError, Reach};

/// The most URLs in a response. Many URLs slow a browser down. Real responses have under ten.
const URLS_MAX: usize = 64;

/// One value, or a list of them, from outside. The standard allows both for `urls`.
#[derive(Clone, Deserialize)]
#[serde(untagged)]
pub enum OneOrMany<T> {
    /// A single value.
    One(T),
    /// A list.
    Many(Vec<T>),
}

impl<T> OneOrMany<T> {
    /// The values.
    pub fn into_list(self) -> Vec<T> {
        match self {
            Self::One(one) => vec![one],
            Self::Many(many) => many,
        }
    }
}

/// Which of a source's URLs a response contains.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum UrlChoice {
    /// At most one URL of each [`Reach`]. Browsers try every URL, so more URLs delay a call by seconds.
    Short,
    /// All.
    All,
}

// The `Debug` form shows URLs, and only whether a credential exists.
/// An entry of `iceServers`, as `RTCPeerConnection` takes it.
#[derive(Clone, PartialEq, Eq, Serialize, ToSchema)]
pub struct IceServer {
    /// URLs: `stun:`, `stuns:`, `turn:` or `turns:`. Always a list, because typed clients read one type only.
    #[schema(value_type = Vec<String>, example = json!(["turn:turn.cloudflare.com:3478?transport=udp"]))]
    pub urls: Vec<IceUrl>,
    /// Present only with `turn:` and `turns:` URLs.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = String, required = false, example = "1736956800:nT3k1s0wQ2Gv8Zb5yXhJ4A")]
    pub username: Option<String>,
    /// Present only with `turn:` and `turns:` URLs.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = String, required = false, example = "kP3wJt0Jr7Qw5m0mX2m1cQ8hVbE=")]
    pub credential: Option<String>,
}

/// A valid list of servers.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(transparent)]
pub struct IceServerList(pub(super) Vec<IceServer>);

/// What was expected of a list of servers. The text never repeats the list, because the list has passwords.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum IceServersError {
    /// A `turn(s):` entry has no username or credential. Browsers throw an error for it.
    #[error("expected username and credential with a turn: or turns: URL")]
    MissingCredential,
    /// The list has STUN only, but a relay is required.
    #[error("expected a turn: or turns: URL")]
    NoRelay,
    /// No usable URL is left.
    #[error("expected at least one URL that browsers accept")]
    Empty,
    /// More URLs than a response may have.
    #[error("expected at most {URLS_MAX} URLs")]
    TooMany,
    /// An entry has credentials of another type, in a list that the operator wrote. No browser takes them.
    #[error("expected no credentialType but `password`")]
    CredentialType,
    /// A text is not an ICE URL, in a list that the operator wrote.
    #[error(transparent)]
    BadUrl(#[from] IceUrlError),
}

/// An unchecked `RTCIceServer` from outside: `urls` is a string or a list, of any texts.
#[derive(Clone, Deserialize)]
pub struct RawIceServer {
    pub(super) urls: OneOrMany<String>,
    pub(super) username: Option<String>,
    pub(super) credential: Option<String>,
    #[serde(rename = "credentialType")]
    pub(super) credential_type: Option<Value>,
}

impl RawIceServer {
    /// The URLs as they are written.
    pub(crate) fn urls(&self) -> &[String] {
        match &self.urls {
            OneOrMany::One(url) => std::slice::from_ref(url),
            OneOrMany::Many(urls) => urls,
        }
    }
}

/// What to do with a text that is not an ICE URL.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OnBadUrl {
    /// Drop it: a provider may add unknown schemes.
    Drop,
    /// Refuse the list: the operator who wrote it can correct it.
    Refuse,
}

impl IceServerList {
    /// Checks and cleans a list from outside.
    pub fn clean(raw: Vec<RawIceServer>, on_bad_url: OnBadUrl) -> Result<Self, IceServersError> {
        let mut seen = HashSet::new();
        let mut servers = Vec::with_capacity(raw.len().min(URLS_MAX));
        for entry in raw {
            let mut urls = parse_urls(entry.urls(), on_bad_url)?;
            let is_password =
                entry.credential_type.as_ref().is_none_or(|kind| kind.is_null() || kind == "password");
            if on_bad_url == OnBadUrl::Refuse && !is_password {
                return Err(IceServersError::CredentialType);
            }
            let is_given = |text: &Option<String>| text.as_ref().is_some_and(|text| !text.is_empty());
            let has_credential = is_given(&entry.username) && is_given(&entry.credential);
            if !has_credential && urls.iter().any(IceUrl::relays) {
                return Err(IceServersError::MissingCredential);
            }
            urls.retain(|url| !url.is_blocked_by_browsers() && seen.insert(url.clone()));
            if seen.len() > URLS_MAX {
                return Err(IceServersError::TooMany);
            }
            if !urls.is_empty() {
                let (username, credential) = (entry.username, entry.credential);
                servers.push(IceServer { urls, username, credential }.without_spare_credential());
            }
        }
        if servers.is_empty() { Err(IceServersError::Empty) } else { Ok(Self(servers)) }
    }

    /// One entry for each STUN URL.
    pub fn of_stun(urls: &[IceUrl]) -> Self {
        let entry = |url: &IceUrl| IceServer { urls: vec![url.clone()], username: None, credential: None };
        Self(urls.iter().map(entry).collect())
    }

    /// One entry with a credential.
    pub fn of_turn(urls: Vec<IceUrl>, username: String, credential: String) -> Self {
        Self(vec![IceServer { urls, username: Some(username), credential: Some(credential) }])
    }

    /// The entries of several lists.
    pub fn joined(lists: impl Iterator<Item = Self>) -> Self {
        Self(lists.flat_map(|list| list.0).collect())
    }

    /// The user name of the first entry that relays.
    pub fn username(&self) -> Option<&str> {
        self.0.iter().find_map(|server| server.username.as_deref())
    }

    /// One entry with the first credential, its URLs, and the URLs that need no credential.
    pub fn in_one(&self) -> IceServer {
        let username = self.username();
        let is_usable =
            |server: &&IceServer| server.username.is_none() || server.username.as_deref() == username;
        let usable = || self.0.iter().filter(is_usable);
        let urls = usable().flat_map(|server| server.urls.clone()).collect();
        let credential = usable().find_map(|server| server.credential.clone());
        IceServer { urls, username: username.map(str::to_owned), credential }
    }

    /// Whether any entry relays.
    pub fn relays(&self) -> bool {
        self.urls().any(IceUrl::relays)
    }

    /// The relays over UDP in order, each with its entry.
    pub fn udp_relays(&self) -> impl Iterator<Item = (&IceServer, &IceUrl)> {
        self.entries().filter(|(_, url)| url.reach() == Reach::TurnUdp)
    }

    /// All URLs in order, each with its entry.
    pub fn entries(&self) -> impl Iterator<Item = (&IceServer, &IceUrl)> {
        self.0.iter().flat_map(|server| server.urls.iter().map(move |url| (server, url)))
    }

    /// All URLs in order.
    pub fn urls(&self) -> impl Iterator<Item = &IceUrl> {
        self.0.iter().flat_map(|server| &server.urls)
    }

    /// The list with the URLs that a response contains. A short list keeps the first of several URLs with the same [`Reach`]. For this, a
    /// URL over TLS on port 443 comes first, because most networks let that port pass, and a URL over DTLS comes last.
    #[must_use]
    pub fn choose(mut self, choice: UrlChoice) -> Self {
        if choice == UrlChoice::All {
            return self;
        }
        let first = |reach| {
            let alike = self.urls().enumerate().filter(|(_, url)| url.reach() == reach);
            let rank = |url: &IceUrl| (url.is_dtls(), reach == Reach::TurnTls && url.port != 443);
            alike.min_by_key(|(_, url)| rank(url)).map(|(index, _)| index)
        };
        let kept = Reach::ALL.map(first);
        // Both `kept` and `index` are positions in the list of all URLs.
        let mut index = 0..;
        for server in &mut self.0 {
            server.urls.retain(|_| kept.contains(&index.next()));
        }
        let used = self.0.into_iter().filter(|server| !server.urls.is_empty());
        Self(used.map(IceServer::without_spare_credential).collect())
    }
}

impl IceServer {
    /// Removes the credential of an entry without a URL that relays. So the first credential of a list belongs to a relay.
    fn without_spare_credential(mut self) -> Self {
        if !self.urls.iter().any(IceUrl::relays) {
            (self.username, self.credential) = (None, None);
        }
        self
    }
}

fn parse_urls(texts: &[String], on_bad_url: OnBadUrl) -> Result<Vec<IceUrl>, IceServersError> {
    let urls = texts.iter().map(|text| IceUrl::parse(text));
    match on_bad_url {
        OnBadUrl::Drop => Ok(urls.flatten().collect()),
        OnBadUrl::Refuse => Ok(urls.collect::<Result<_, _>>()?),
    }
}

impl fmt::Debug for IceServer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("IceServer")
            .field("urls", &self.urls)
            .field("has_credential", &self.credential.is_some())
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn clean(list: serde_json::Value) -> Result<serde_json::Value, IceServersError> {
        let raw = serde_json::from_value(list).unwrap();
        IceServerList::clean(raw, OnBadUrl::Drop).map(|list| serde_json::to_value(list).unwrap())
    }

    #[test]
    fn port_53_duplicates_and_foreign_schemes_are_dropped() {
        let cleaned = clean(json!([
            {"urls": ["stun:a:3478", "stun:a:53", "http://a"]},
            {"urls": ["turn:a:3478?transport=udp", "turn:a:53?transport=udp", "stun:a:3478"], "username": "u", "credential": "c"},
        ]));
        let expected = json!([
            {"urls": ["stun:a:3478"]},
            {"urls": ["turn:a:3478?transport=udp"], "username": "u", "credential": "c"},
        ]);
        assert_eq!(cleaned, Ok(expected));
    }

    #[test]
    fn a_stun_url_has_no_credential_whatever_its_source_sends() {
        let cleaned = clean(json!([
            {"urls": "stun:a", "username": "", "credential": ""},
            {"urls": ["stun:b", "turn:b:53"], "username": "other", "credential": "d"},
            {"urls": "turn:a", "username": "u", "credential": "c"},
        ]));
        let relay = json!({"urls": ["turn:a"], "username": "u", "credential": "c"});
        assert_eq!(cleaned, Ok(json!([{"urls": ["stun:a"]}, {"urls": ["stun:b"]}, relay])));
        let chosen = short(json!([
            {"urls": ["stun:a", "turns:a:5349"], "username": "other", "credential": "d"},
            {"urls": "turns:b:443", "username": "u", "credential": "c"},
        ]));
        let relay = json!({"urls": ["turns:b:443"], "username": "u", "credential": "c"});
        assert_eq!(chosen, json!([{"urls": ["stun:a"]}, relay]));
    }

    #[test]
    fn a_relay_without_a_credential_is_refused_even_if_the_rest_is_valid() {
        for entry in [
            json!({"urls": "turn:a"}),
            json!({"urls": "turns:a", "username": "u"}),
            json!({"urls": "turn:a", "username": "", "credential": ""}),
            json!({"urls": "turn:a:53"}),
        ] {
            assert_eq!(clean(json!([{"urls": "stun:a"}, entry])), Err(IceServersError::MissingCredential));
        }
    }

    #[test]
    fn a_list_without_a_usable_url_is_refused() {
        assert_eq!(clean(json!([])), Err(IceServersError::Empty));
        let blocked = json!([{"urls": ["turn:a:53"], "username": "u", "credential": "c"}]);
        assert_eq!(clean(blocked), Err(IceServersError::Empty));
    }

    fn short(list: serde_json::Value) -> serde_json::Value {
        let raw = serde_json::from_value(list).unwrap();
        let list = IceServerList::clean(raw, OnBadUrl::Refuse).unwrap();
        assert_eq!(list.clone().choose(UrlChoice::All), list);
        serde_json::to_value(list.choose(UrlChoice::Short)).unwrap()
    }

    #[test]
    fn a_short_list_has_one_url_of_each_reach_and_tls_on_port_443_if_there_is_one() {
        let given = json!([
            {"urls": ["stun:a", "stun:b"]},
            {"urls": ["turn:a?transport=tcp", "turn:a", "turn:a:80?transport=tcp", "turns:a:5349", "turns:a:443"], "username": "u", "credential": "c"},
            {"urls": ["turn:b"], "username": "v", "credential": "d"},
        ]);
        let expected = json!([
            {"urls": ["stun:a"]},
            {"urls": ["turn:a?transport=tcp", "turn:a", "turns:a:443"], "username": "u", "credential": "c"},
        ]);
        assert_eq!(short(given), expected);
    }

    #[test]
    fn without_port_443_a_short_list_has_the_first_url_over_tls() {
        let given = json!([{"urls": ["turns:a", "turns:b", "turns:c:443?transport=udp"], "username": "u", "credential": "c"}]);
        assert_eq!(short(given), json!([{"urls": ["turns:a"], "username": "u", "credential": "c"}]));
        let given = json!([{"urls": ["turns:c?transport=udp"], "username": "u", "credential": "c"}]);
        assert_eq!(short(given.clone()), given);
    }

    #[test]
    fn the_number_of_urls_is_bounded() {
        let urls = |n: usize| -> Vec<String> { (0..n).map(|i| format!("stun:host{i}")).collect() };
        assert!(clean(json!([{"urls": urls(URLS_MAX)}])).is_ok());
        assert_eq!(clean(json!([{"urls": urls(URLS_MAX + 1)}])), Err(IceServersError::TooMany));
    }

    #[test]
    fn debug_output_contains_no_credential() {
        let list = IceServerList::of_turn(vec![], "user-name".into(), "pass-word".into());
        let shown = format!("{list:?}");
        assert!(!shown.contains("pass-word") && !shown.contains("user-name"), "{shown}");
    }
}
