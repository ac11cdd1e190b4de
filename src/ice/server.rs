//! One entry of `iceServers`, as a browser takes it. An [`IceServerList`] has been cleaned: no URL on a port that
//! browsers block, no URL twice, no `turn(s):` entry without username and credential. Sources hand out nothing else.

use std::collections::HashSet;
use std::fmt;

use serde::{Deserialize, Serialize};

use super::url::{IceUrl, IceUrlError};

/// Most URLs that one answer may hold. Browsers slow down with many; real answers have under ten.
const URLS_MAX: usize = 64;

/// `urls` of an entry: one text or a list on the wire, both are allowed by the standard.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(untagged)]
pub enum IceUrls {
    /// A single URL, written as a text.
    One(IceUrl),
    /// A list of URLs.
    Many(Vec<IceUrl>),
}

/// One `RTCIceServer`. Its `Debug` form shows the URLs and whether there is a credential, never the credential.
#[derive(Clone, PartialEq, Eq, Serialize)]
pub struct IceServer {
    /// Where the server listens.
    pub urls: IceUrls,
    /// TURN username, as the source made it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub username: Option<String>,
    /// TURN password.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub credential: Option<String>,
}

/// A list of servers that is fit to be answered.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(transparent)]
pub struct IceServerList(Vec<IceServer>);

/// Why a list of servers is not fit to be answered.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum IceServersError {
    /// A `turn(s):` URL came without username or credential; a browser throws on it.
    #[error("a turn: or turns: entry has no username and credential")]
    MissingCredential,
    /// STUN only, where a relay was asked for.
    #[error("no turn: or turns: URL")]
    NoRelay,
    /// Nothing was left.
    #[error("no usable URL")]
    Empty,
    /// More URLs than an answer may hold.
    #[error("more than {URLS_MAX} URLs")]
    TooMany,
    /// A text that is no ICE URL, in a list whose author we can ask to mend it.
    #[error("{url:?}: {why}")]
    BadUrl {
        /// The text, cut to 100 characters.
        url: String,
        /// What was expected.
        why: IceUrlError,
    },
}

/// An `RTCIceServer` as somebody else wrote it: `urls` may be a text or a list, and hold anything.
#[derive(Clone, Deserialize)]
pub struct RawIceServer {
    urls: RawUrls,
    username: Option<String>,
    credential: Option<String>,
}

#[derive(Clone, Deserialize)]
#[serde(untagged)]
enum RawUrls {
    One(String),
    Many(Vec<String>),
}

/// What to do with a text that is no ICE URL.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OnBadUrl {
    /// Leave it out: a provider may add schemes that we do not know.
    Drop,
    /// Refuse the list: an operator wrote it and can mend it.
    Refuse,
}

impl IceServerList {
    /// Cleans a foreign list: see the module's invariant.
    pub fn clean(raw: Vec<RawIceServer>, on_bad_url: OnBadUrl) -> Result<Self, IceServersError> {
        let mut seen = HashSet::new();
        let mut servers = Vec::with_capacity(raw.len().min(URLS_MAX));
        for entry in raw {
            let mut urls = parse_urls(entry.urls, on_bad_url)?;
            let has_credential = is_given(entry.username.as_deref()) && is_given(entry.credential.as_deref());
            if !has_credential && urls.iter().any(IceUrl::relays) {
                return Err(IceServersError::MissingCredential);
            }
            urls.retain(|url| !url.is_blocked_by_browsers() && seen.insert(url.clone()));
            if seen.len() > URLS_MAX {
                return Err(IceServersError::TooMany);
            }
            if !urls.is_empty() {
                servers.push(IceServer {
                    urls: IceUrls::Many(urls),
                    username: entry.username,
                    credential: entry.credential,
                });
            }
        }
        if servers.is_empty() { Err(IceServersError::Empty) } else { Ok(Self(servers)) }
    }

    /// STUN servers, each an entry of its own with its URL as a text: the form that people know from examples.
    #[must_use]
    pub fn of_stun(urls: &[IceUrl]) -> Self {
        let entry =
            |url: &IceUrl| IceServer { urls: IceUrls::One(url.clone()), username: None, credential: None };
        Self(urls.iter().map(entry).collect())
    }

    /// One entry with a credential.
    #[must_use]
    pub fn of_turn(urls: Vec<IceUrl>, username: String, credential: String) -> Self {
        Self(vec![IceServer {
            urls: IceUrls::Many(urls),
            username: Some(username),
            credential: Some(credential),
        }])
    }

    /// The user name of the first entry that relays.
    #[must_use]
    pub fn username(&self) -> Option<&str> {
        self.0.iter().find_map(|server| server.username.as_deref())
    }

    /// Whether any entry relays.
    #[must_use]
    pub fn relays(&self) -> bool {
        self.0.iter().any(|server| match &server.urls {
            IceUrls::One(url) => url.relays(),
            IceUrls::Many(urls) => urls.iter().any(IceUrl::relays),
        })
    }

    /// The entries.
    #[must_use]
    pub fn as_slice(&self) -> &[IceServer] {
        &self.0
    }
}

fn parse_urls(raw: RawUrls, on_bad_url: OnBadUrl) -> Result<Vec<IceUrl>, IceServersError> {
    let texts = match raw {
        RawUrls::One(text) => vec![text],
        RawUrls::Many(texts) => texts,
    };
    let mut urls = Vec::with_capacity(texts.len().min(URLS_MAX));
    for text in texts {
        match IceUrl::parse(&text) {
            Ok(url) => urls.push(url),
            Err(_) if on_bad_url == OnBadUrl::Drop => {}
            Err(why) => {
                return Err(IceServersError::BadUrl { url: text.chars().take(100).collect(), why });
            }
        }
    }
    Ok(urls)
}

fn is_given(text: Option<&str>) -> bool {
    text.is_some_and(|text| !text.is_empty())
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
    fn port_53_duplicates_and_foreign_schemes_are_left_out() {
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
    fn a_single_text_becomes_a_list() {
        assert_eq!(clean(json!([{"urls": "stun:a"}])), Ok(json!([{"urls": ["stun:a"]}])));
    }

    #[test]
    fn a_relay_without_a_credential_is_refused_even_when_the_rest_is_good() {
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

    #[test]
    fn the_number_of_urls_has_an_end() {
        let urls = |n: usize| -> Vec<String> { (0..n).map(|i| format!("stun:host{i}")).collect() };
        assert!(clean(json!([{"urls": urls(URLS_MAX)}])).is_ok());
        assert_eq!(clean(json!([{"urls": urls(URLS_MAX + 1)}])), Err(IceServersError::TooMany));
    }

    #[test]
    fn debug_output_holds_no_credential() {
        let list = IceServerList::of_turn(vec![], "user-name".into(), "pass-word".into());
        let shown = format!("{list:?}");
        assert!(!shown.contains("pass-word") && !shown.contains("user-name"), "{shown}");
    }
}
