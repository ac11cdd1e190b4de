//! The client of Cloudflare Realtime TURN: mints and revokes credentials. Every mint ends in time, with a cleaned list of servers,
//! or with a [`CallError`]. docs/PROVIDER.md describes the API (shapes, statuses, the 201).

use std::time::Duration;

use reqwest::Method;
use secrecy::SecretString;
use serde::Deserialize;
use url::Url;

use super::{IceServerList, Listed, OneOrMany, RawIceServer, call};
use turn_base::{Api, CallError, HttpClient};
use turn_ledger::RevocationAnswer;

/// The beginning of the identifier of each credential that the program mints for itself. Nobody else gets these credentials.
pub const OWN_IDENTIFIERS: &str = "turn-broker-";

/// A TURN key at Cloudflare, and the client that uses it.
pub struct Cloudflare(Api);

/// Whether Cloudflare does not know the TURN key or its token. Credentials of such a key most likely do not work.
pub fn says_unknown_key(error: &CallError) -> bool {
    matches!(error.status(), Some(401 | 404))
}

/// Whether another key may work: Cloudflare answered, and refused this one.
pub fn is_of_the_key(error: &CallError) -> bool {
    says_unknown_key(error) || error.status() == Some(403)
}

/// What to do about an error. What a status means comes from reports of the API's users, because Cloudflare does not document its errors.
pub fn remedy(error: &CallError) -> &'static str {
    match error {
        CallError::Connect(_) => "check CLOUDFLARE_API_BASE, DNS, HTTPS_PROXY and the firewall",
        CallError::Timeout => "try again; then check the route and https://www.cloudflarestatus.com",
        CallError::Unsendable | CallError::Broken(_) => "try again, and from another network",
        CallError::TooLong(_) | CallError::Unusable(_) => {
            "check that CLOUDFLARE_API_BASE leads to Cloudflare's API"
        }
        CallError::Status { status, .. } => match status.as_u16() {
            401 => "compare CLOUDFLARE_TURN_API_TOKEN with the dashboard's; if it is right, make a new key",
            403 => {
                "use the token of the TURN key, or one with Calls Edit; check if this client is blocked (1010)"
            }
            404 => {
                "compare CLOUDFLARE_TURN_KEY_ID with the dashboard's Turn Token ID, then compare the token: a wrong id and a \
                 wrong token both give 404"
            }
            429 => "wait, and find out who mints too fast",
            300..=399 => "check CLOUDFLARE_API_BASE: redirects are not followed",
            500..=599 => "wait; if the error continues, see https://www.cloudflarestatus.com",
            _ => "check CLOUDFLARE_API_BASE; docs/PROVIDER.md describes the API",
        },
    }
}

impl Cloudflare {
    /// `base` is the API's origin. It can have a path, which then precedes `/v1`.
    pub fn new(client: HttpClient, base: &Url, key_id: &str, api_token: &SecretString) -> Self {
        Self(Api::new(client, base, &["v1", "turn", "keys", key_id, "credentials"], api_token))
    }

    /// Mints one credential with this lifetime, in one attempt. The provider stores `identifier` with it.
    pub(super) async fn mint(&self, ttl: Duration, identifier: &str) -> Result<Listed, CallError> {
        let asked = serde_json::json!({ "ttl": ttl.as_secs(), "customIdentifier": identifier });
        let request =
            self.0.call(Method::POST, &["generate-ice-servers"]).timeout(call::ATTEMPT).json(&asked);
        let servers = parse(&call::read(self.0.client.send(request).await?).await?)?;
        Ok(Listed { servers, life: None })
    }

    /// Revokes the credential with this user name.
    pub async fn revoke(&self, username: &str) -> Result<RevocationAnswer, CallError> {
        let call = self.0.call(Method::POST, &[username, "revoke"]);
        match self.0.client.send(call).await {
            Ok(_) => Ok(RevocationAnswer::Revoked),
            Err(error) if error.status() == Some(404) => Ok(RevocationAnswer::Unknown),
            Err(error) => Err(error),
        }
    }
}

#[derive(Deserialize)]
struct MintBody {
    #[serde(rename = "iceServers")]
    ice_servers: OneOrMany<RawIceServer>,
}

/// Parses every shape that Cloudflare has used. A response without a relay is an error, because the broker has its own STUN
/// servers.
fn parse(body: &[u8]) -> Result<IceServerList, CallError> {
    let answer: MintBody = serde_json::from_slice(body).map_err(|_| call::no_list())?;
    call::with_relay(answer.ice_servers.into_list())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn urls(body: &str) -> Vec<String> {
        let json = serde_json::to_value(parse(body.as_bytes()).unwrap()).unwrap();
        json.as_array()
            .unwrap()
            .iter()
            .flat_map(|s| s["urls"].as_array().unwrap().clone())
            .map(|u| u.as_str().unwrap().to_owned())
            .collect()
    }

    #[test]
    fn an_object_an_array_and_a_single_url_are_accepted() {
        for body in [
            r#"{"iceServers":{"urls":"turn:a:3478","username":"u","credential":"c"}}"#,
            r#"{"iceServers":[{"urls":"turn:a:3478","username":"u","credential":"c"}]}"#,
            r#"{"iceServers":[{"urls":["turn:a:3478"],"username":"u","credential":"c"}],"more":1}"#,
        ] {
            assert_eq!(urls(body), ["turn:a:3478"], "{body}");
        }
    }

    #[test]
    fn a_response_without_a_usable_relay_is_an_error() {
        for body in [
            "",
            "[]",
            "{}",
            r#"{"iceServers":[]}"#,
            r#"{"iceServers":"turn:a"}"#,
            r#"{"iceServers":[{"urls":["stun:a"]}]}"#,
            r#"{"iceServers":[{"urls":["stun:a"]},{"urls":["turn:a"]}]}"#,
            r#"{"iceServers":[{"urls":["turn:a"],"username":"u"}]}"#,
            r#"{"iceServers":[{"urls":["turn:a:53"],"username":"u","credential":"c"}]}"#,
        ] {
            let error = parse(body.as_bytes()).unwrap_err();
            assert_eq!(error.outcome(), "bad_body", "{body}");
        }
    }

    #[test]
    fn a_401_or_404_says_that_the_key_is_unknown() {
        for (status, is_unknown) in [(401, true), (404, true), (403, false), (429, false), (500, false)] {
            let error = CallError::of_status(status);
            assert_eq!(says_unknown_key(&error), is_unknown, "{status}");
        }
        assert!(!says_unknown_key(&CallError::Timeout));
    }

    /// A URL of any kind, often a good one.
    fn any_url() -> impl Strategy<Value = String> {
        prop_oneof![
            "(stun|stuns|turn|turns):[ab](:(53|053|80|3478))?",
            "(turn|turns):[ab]:[0-9]{1,6}[?]transport=(udp|tcp|x)",
            ".{0,20}",
        ]
    }

    /// An entry of any shape, often a good one.
    fn any_entry() -> impl Strategy<Value = serde_json::Value> {
        let urls = proptest::collection::vec(any_url(), 0..40);
        let texts = (proptest::option::of("u?"), proptest::option::of("c?"));
        (urls, texts, any::<bool>()).prop_map(|(urls, (username, credential), is_one)| {
            let urls = if is_one { serde_json::json!(urls.first()) } else { serde_json::json!(urls) };
            serde_json::json!({ "urls": urls, "username": username, "credential": credential })
        })
    }

    proptest! {
        #[test]
        fn no_body_makes_the_parser_panic(body: Vec<u8>, text in "[{}\\[\\]\",:a-zA-Z0-9 ]{0,80}") {
            prop_assert!(parse(&body).is_err());
            prop_assert!(parse(text.as_bytes()).is_err());
        }

        #[test]
        fn whatever_is_sent_a_browser_accepts_what_is_handed_out(entries in proptest::collection::vec(any_entry(), 0..4)) {
            let body = serde_json::json!({ "iceServers": entries }).to_string();
            let Ok(servers) = parse(body.as_bytes()) else { return Ok(()) };
            prop_assert!(servers.relays());
            let mut seen = vec![];
            for server in &servers.0 {
                let has = |text: &Option<String>| text.as_ref().is_some_and(|text| !text.is_empty());
                for url in &server.urls {
                    prop_assert!(!url.is_blocked_by_browsers() && !seen.contains(url), "{}", url.as_str());
                    prop_assert!(!url.relays() || has(&server.username) && has(&server.credential));
                    seen.push(url.clone());
                }
            }
            prop_assert!((1..=64).contains(&seen.len()));
        }
    }
}
