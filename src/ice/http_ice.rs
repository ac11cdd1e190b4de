//! The client of any other provider: one HTTP request, whose response has a list of ICE servers. Nothing but the list is required. A
//! credential lives as long as the response says. If the response says nothing, the setting decides.

use std::time::Duration;

use reqwest::header::{ACCEPT, AUTHORIZATION, CONTENT_LENGTH, HeaderValue};
use reqwest::{Method, Request};
use serde::Deserialize;
use serde_json::Value;

use super::{IceServerList, OneOrMany, RawIceServer, call};
use turn_base::http_client::successful;
use turn_base::{CallError, HttpClient, WebhookUrl};

/// The longest life that a provider may state. The books assume that no credential lives longer, not even a credential that is missing in a
/// restored ledger.
pub const LIFE_MAX: Duration = Duration::from_secs(172_800);

/// The request for a list. Its `Debug` form shows only method and host.
#[derive(Clone, Debug)]
pub struct ListRequest {
    /// Where the list is. The whole URL is a secret, because the URLs of some providers have a key. `HTTP_ICE_URL`.
    pub url: WebhookUrl,
    /// GET, POST or PUT. `HTTP_ICE_METHOD`; GET when unset.
    pub method: Method,
    /// The value of the header `Authorization`, marked as a secret. `HTTP_ICE_AUTHORIZATION`; none when unset.
    pub authorization: Option<HeaderValue>,
}

/// The client of a provider.
pub struct HttpIce {
    /// Sends the request.
    pub client: HttpClient,
    /// The request for a list.
    pub request: ListRequest,
}

/// What a provider has answered.
#[derive(Debug, PartialEq, Eq)]
pub struct Listed {
    /// The servers, with a credential.
    pub servers: IceServerList,
    /// The credential's life, if the provider states one.
    pub life: Option<Duration>,
}

impl HttpIce {
    /// Asks for a list, in one attempt.
    pub(super) async fn mint(&self) -> Result<Listed, CallError> {
        parse(&call::read(successful(self.client.execute(self.request.build()).await?)?).await?)
    }
}

impl ListRequest {
    fn build(&self) -> Request {
        let mut request = Request::new(self.method.clone(), self.url.expose().clone());
        *request.timeout_mut() = Some(call::ATTEMPT);
        let headers = request.headers_mut();
        headers.insert(ACCEPT, HeaderValue::from_static("application/json"));
        if self.method != Method::GET {
            // Some servers refuse a POST that does not say that it has no body.
            headers.insert(CONTENT_LENGTH, HeaderValue::from_static("0"));
        }
        if let Some(authorization) = &self.authorization {
            headers.insert(AUTHORIZATION, authorization.clone());
        }
        request
    }
}

/// What to do about an error.
pub fn remedy(error: &CallError) -> &'static str {
    match error {
        CallError::Connect(_) => "check HTTP_ICE_URL, DNS, HTTPS_PROXY and the firewall",
        CallError::Timeout => "try again; then check the route and the provider's status page",
        CallError::Unsendable | CallError::Broken(_) => "try again, and from another network",
        CallError::Unusable(why) if *why == wrong_life() => {
            "set the provider's credentials to live a number of seconds, 48 h at most: the budget covers no longer life"
        }
        CallError::TooLong(_) | CallError::Unusable(_) => {
            "check that HTTP_ICE_URL answers with ICE servers as JSON: docs/OPERATE.md lists the forms"
        }
        CallError::Status { status, .. } => match status.as_u16() {
            401 | 403 => "compare HTTP_ICE_AUTHORIZATION, or the key in HTTP_ICE_URL, with the provider's",
            404 | 405 => "check HTTP_ICE_URL and HTTP_ICE_METHOD",
            429 => "wait, and find out who mints too fast",
            300..=399 => "set HTTP_ICE_URL to where the redirect leads: redirects are not followed",
            500..=599 => "wait; if the error continues, see the provider's status page",
            _ => "check HTTP_ICE_URL, HTTP_ICE_METHOD and HTTP_ICE_AUTHORIZATION",
        },
    }
}

fn wrong_life() -> String {
    format!("its `ttl` is not a number of seconds from 1 to {}", LIFE_MAX.as_secs())
}

/// The forms of a response: the list itself, or an object that has the list. Twilio names the list `ice_servers`; Xirsys puts it into `v`.
#[derive(Deserialize)]
#[serde(untagged)]
enum Answer {
    List(Vec<Entry>),
    Object(Box<Fields>),
}

#[derive(Deserialize)]
struct Fields {
    #[serde(rename = "iceServers")]
    ice_servers: Option<OneOrMany<Entry>>,
    #[serde(rename = "ice_servers")]
    snake_case: Option<OneOrMany<Entry>>,
    v: Option<Box<Fields>>,
    ttl: Option<Value>,
}

/// An entry of a list. Old providers write `url`, and some write both.
#[derive(Deserialize)]
struct Entry {
    urls: Option<OneOrMany<String>>,
    url: Option<OneOrMany<String>>,
    username: Option<String>,
    credential: Option<String>,
}

/// Whole seconds, rounded up: a promise must not be shorter than the life. `None` unless they are from 1 to [`LIFE_MAX`]. Twilio writes the
/// number as a text.
fn seconds(life: &Value) -> Option<Duration> {
    let seconds: f64 = match life {
        Value::String(text) => text.trim().parse().ok()?,
        number => number.as_f64()?,
    };
    let whole = Duration::try_from_secs_f64(seconds.ceil()).ok()?;
    if (Duration::from_secs(1)..=LIFE_MAX).contains(&whole) { Some(whole) } else { None }
}

impl Entry {
    /// The entry in the standard's form; `None` without URLs.
    fn raw(self) -> Option<RawIceServer> {
        let Self { urls, url, username, credential } = self;
        Some(RawIceServer { urls: urls.or(url)?, username, credential, credential_type: None })
    }
}

/// Parses every form. A response without a relay is an error, because the broker has its own STUN servers.
fn parse(body: &[u8]) -> Result<Listed, CallError> {
    let answer: Answer = serde_json::from_slice(body).map_err(|_| call::no_list())?;
    let (entries, life) = match answer {
        Answer::List(entries) => (Some(entries), None),
        Answer::Object(fields) => {
            let Fields { ice_servers, snake_case, v, ttl } = *fields;
            let listed = ice_servers.or(snake_case).or(v.and_then(|inner| inner.ice_servers));
            (listed.map(OneOrMany::into_list), ttl)
        }
    };
    let entries = entries.ok_or_else(call::no_list)?;
    let servers = call::with_relay(entries.into_iter().filter_map(Entry::raw).collect())?;
    let wrong = || call::unusable(wrong_life());
    let life = life.map(|life| seconds(&life).ok_or_else(wrong)).transpose()?;
    Ok(Listed { servers, life })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use turn_base::{HttpClient, Network};

    fn urls(body: &str) -> Vec<String> {
        let listed = parse(body.as_bytes()).unwrap_or_else(|error| panic!("{error}: {body}"));
        listed.servers.urls().map(ToString::to_string).collect()
    }

    #[test]
    fn the_forms_of_known_providers_are_read() {
        for (name, body) in [
            (
                "Twilio",
                r#"{"username":"u","password":"p","ttl":"86400","date_created":"x","ice_servers":[
                {"url":"stun:a:3478","urls":"stun:a:3478"},
                {"url":"turn:a:3478?transport=udp","username":"u","urls":"turn:a:3478?transport=udp","credential":"p"}]}"#,
            ),
            (
                "Metered",
                r#"[{"urls":"stun:a:3478"},{"urls":"turn:a:3478?transport=udp","username":"u","credential":"p"}]"#,
            ),
            (
                "Xirsys",
                r#"{"s":"ok","v":{"iceServers":[{"url":"stun:a:3478"},
                {"username":"u","url":"turn:a:3478?transport=udp","credential":"p"}]}}"#,
            ),
            (
                "Xirsys with format=urls",
                r#"{"s":"ok","v":{"iceServers":{"username":"u","urls":["stun:a:3478",
                "turn:a:3478?transport=udp"],"credential":"p"}}}"#,
            ),
            (
                "stunner",
                r#"{"iceServers":[{"urls":["stun:a:3478"]},
                {"username":"u","credential":"p","urls":["turn:a:3478?transport=udp"]}],"iceTransportPolicy":"all"}"#,
            ),
        ] {
            assert_eq!(urls(body), ["stun:a:3478", "turn:a:3478?transport=udp"], "{name}");
        }
    }

    #[test]
    fn a_life_is_a_number_or_a_text_of_at_most_two_days() {
        let life = |ttl: &str| {
            let relay = r#"[{"urls":"turn:a","username":"u","credential":"p"}]"#;
            let body = format!(r#"{{"ttl":{ttl},"iceServers":{relay}}}"#);
            parse(body.as_bytes()).map(|listed| listed.life.map(|life| life.as_secs()))
        };
        for (ttl, seconds) in [
            ("null", None),
            ("1", Some(1)),
            ("\"86400\"", Some(86_400)),
            ("59.5", Some(60)),
            ("172800", Some(172_800)),
        ] {
            assert_eq!(life(ttl), Ok(seconds), "{ttl}");
        }
        for ttl in ["0", "-1", "172801", "\"soon\"", "\"\"", "1e300", "\"NaN\""] {
            let error = life(ttl).unwrap_err();
            assert_eq!(error.outcome(), "bad_body", "{ttl}");
            assert!(remedy(&error).contains("48 h at most"), "{ttl}");
        }
    }

    #[test]
    fn a_response_without_a_relay_is_an_error() {
        for body in [
            "",
            "{}",
            "[]",
            "7",
            r#"{"iceServers":null}"#,
            r#"{"v":{}}"#,
            r#"[{"urls":"stun:a"}]"#,
            r#"[{"urls":"turn:a"}]"#,
            r#"[{"username":"u","credential":"p"}]"#,
            r#"{"s":"error","v":"unauthorized"}"#,
        ] {
            assert_eq!(parse(body.as_bytes()).unwrap_err().outcome(), "bad_body", "{body}");
        }
    }

    #[test]
    fn debug_output_shows_neither_the_path_nor_the_authorization() {
        let _ = rustls::crypto::ring::default_provider().install_default();
        let url = WebhookUrl::parse("https://a.example/hush?apiKey=hush").unwrap();
        let mut authorization = HeaderValue::from_static("Basic hush");
        authorization.set_sensitive(true);
        let client = HttpClient::new(&Network::DIRECT).unwrap();
        let request = ListRequest { url, method: Method::POST, authorization: Some(authorization) };
        let api = HttpIce { client, request };
        let shown = format!("{:?}", api.request);
        assert!(shown.contains("POST") && shown.contains("https://a.example/[redacted]"), "{shown}");
        assert!(!shown.contains("hush"), "{shown}");
        let request = api.request.build();
        assert_eq!(request.headers()[AUTHORIZATION], "Basic hush");
        assert_eq!(request.headers()[CONTENT_LENGTH], "0");
        assert!(!format!("{:?}", request.headers()).contains("hush"));
    }

    proptest! {
        #[test]
        fn no_body_makes_the_parser_panic(body: Vec<u8>, text in "[{}\\[\\]\",:a-zA-Z0-9 ]{0,80}") {
            let _ = (parse(&body), parse(text.as_bytes()));
        }
    }
}
