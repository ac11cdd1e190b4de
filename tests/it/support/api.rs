//! The HTTP API of a broker, in this process or in another one, and its complete responses.

use reqwest::header::HeaderMap;
use reqwest::{Client, Method, RequestBuilder, StatusCode};
use serde_json::Value;

use super::{OPERATOR, http_client};

const MINT: &str = "/api/turn-credentials";

/// A client of one broker.
pub(crate) struct Api {
    client: Client,
    /// Without a slash at the end.
    url: String,
}

/// A complete response.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    pub(crate) text: String,
}

impl Api {
    pub(crate) fn new(url: impl Into<String>) -> Self {
        Self { client: http_client(), url: url.into() }
    }

    pub(crate) fn url(&self, path: &str) -> String {
        format!("{}{path}", self.url)
    }

    pub(crate) fn request(&self, method: Method, path: &str) -> RequestBuilder {
        self.client.request(method, self.url(path))
    }

    /// Sends a request without a token and a body.
    pub(crate) async fn send(&self, method: Method, path: &str) -> Answer {
        Answer::of(self.request(method, path)).await
    }

    pub(crate) async fn get(&self, path: &str) -> Answer {
        self.send(Method::GET, path).await
    }

    pub(crate) async fn get_with(&self, path: &str, headers: &[(&str, &str)]) -> Answer {
        let request = self.request(Method::GET, path);
        Answer::of(headers.iter().fold(request, |request, (name, value)| request.header(*name, *value))).await
    }

    /// `GET /api/turn-credentials`.
    pub(crate) async fn mint(&self) -> Answer {
        self.get(MINT).await
    }

    /// A mint with a bearer token: a grant, a server key, or that of a user.
    pub(crate) async fn mint_with(&self, token: &str) -> Answer {
        self.get_as(token, MINT).await
    }

    /// A mint of this client behind the trusted proxy.
    pub(crate) async fn mint_from(&self, address: &str) -> Answer {
        self.get_with(MINT, &[("x-forwarded-for", address)]).await
    }

    pub(crate) async fn grant(&self) -> String {
        self.mint().await.grant()
    }

    /// `GET /api/bandwidth-status` of the operator.
    pub(crate) async fn status(&self) -> Value {
        self.operator("/api/bandwidth-status").await.json()
    }

    /// The bytes charged in this period.
    pub(crate) async fn used(&self) -> u64 {
        self.status().await["usedBytes"].as_u64().unwrap()
    }

    pub(crate) async fn reserved_gb(&self) -> f64 {
        self.status().await["reservedGB"].as_str().unwrap().parse().unwrap()
    }

    /// The text of a hint of the status.
    pub(crate) async fn hint(&self, code: &str) -> Option<String> {
        let hints = self.status().await["hints"].take();
        let hint = hints.as_array().unwrap().iter().find(|hint| hint["code"] == code)?;
        Some(hint["message"].as_str().unwrap().to_owned())
    }

    pub(crate) async fn has_hint(&self, code: &str) -> bool {
        self.hint(code).await.is_some()
    }

    /// The latest alert of this event.
    pub(crate) async fn alert(&self, event: &str) -> Option<Value> {
        let kept = self.operator("/api/alerts").await.json();
        kept["alerts"].as_array().unwrap().iter().find(|alert| alert["event"] == event).cloned()
    }

    pub(crate) async fn get_as(&self, token: &str, path: &str) -> Answer {
        Answer::of(self.request(Method::GET, path).bearer_auth(token)).await
    }

    /// An operator's `GET`.
    pub(crate) async fn operator(&self, path: &str) -> Answer {
        self.get_as(OPERATOR, path).await
    }

    pub(crate) async fn overview(&self) -> Value {
        self.operator("/api/overview").await.json()
    }

    /// An operator's call with an empty body.
    pub(crate) async fn order(&self, method: Method, path: &str) -> Answer {
        Answer::of(self.request(method, path).bearer_auth(OPERATOR)).await
    }

    pub(crate) async fn metric(&self, line: &str) -> Option<u64> {
        let text = self.operator("/metrics").await.text;
        text.lines().find_map(|l| l.strip_prefix(line)?.strip_prefix(' ')?.parse().ok())
    }

    pub(crate) async fn post(&self, token: &str, path: &str, body: Value) -> Answer {
        Answer::of(self.request(Method::POST, path).bearer_auth(token).json(&body)).await
    }

    pub(crate) async fn open(&self, token: &str, id: &str) -> Answer {
        self.post(token, "/api/connections", serde_json::json!({ "connectionId": id })).await
    }

    pub(crate) async fn heartbeat(&self, token: &str, id: &str, report: Value) -> Answer {
        self.post(token, &format!("/api/connections/{id}/heartbeat"), report).await
    }

    /// Revokes a grant, named by its id or its token.
    pub(crate) async fn revoke(&self, grant: &str) -> Answer {
        self.order(Method::POST, &format!("/api/credentials/{grant}/revoke")).await
    }

    /// Sets the limit; `null` removes the override.
    pub(crate) async fn set_limit(&self, gb: impl Into<Value>) -> Answer {
        self.post(OPERATOR, "/api/budget/limit", serde_json::json!({ "limitGB": gb.into() })).await
    }

    /// Stops minting, or allows it again.
    pub(crate) async fn freeze(&self, is_frozen: bool) -> Answer {
        self.post(OPERATOR, "/api/budget/freeze", serde_json::json!({ "frozen": is_frozen })).await
    }
}

impl Answer {
    pub(crate) async fn of(request: RequestBuilder) -> Self {
        let response = request.send().await.unwrap();
        let (status, headers) = (response.status(), response.headers().clone());
        Self { status, headers, text: response.text().await.unwrap() }
    }

    pub(crate) fn json(&self) -> Value {
        serde_json::from_str(&self.text).unwrap_or_else(|error| panic!("{error} in {:?}", self.text))
    }

    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).map(|value| value.to_str().unwrap())
    }

    #[track_caller]
    pub(crate) fn grant(&self) -> String {
        self.json()["grant"].as_str().unwrap_or_else(|| panic!("no grant in {}", self.text)).to_owned()
    }

    /// The status and code of an error response, also of one in the form of the SFU.
    pub(crate) fn error(&self) -> (u16, &str) {
        #[derive(Default, serde::Deserialize)]
        struct Error<'a> {
            code: Option<&'a str>,
            #[serde(rename = "errorCode")]
            of_sfu: Option<&'a str>,
        }
        let Error { code, of_sfu } = serde_json::from_str(&self.text).unwrap_or_default();
        (self.status.as_u16(), code.or(of_sfu).unwrap_or_default())
    }
}
