//! One HTTP client with its own address: a stranger or an honest client. It uses only public routes. The attacks and the soak share it.

use crate::support::prelude::*;

/// How long a client waits for a response. Only one that never comes counts as missing.
const PATIENCE: Duration = Duration::from_secs(120);

/// A client that keeps its socket open between requests.
pub(crate) struct Client {
    http: reqwest::Client,
    server: SocketAddr,
    /// The value of `X-Forwarded-For`.
    forwarded: Option<String>,
}

impl Client {
    /// A client that is directly connected.
    pub(crate) fn new(server: SocketAddr) -> Self {
        Self::build(server, None)
    }

    /// A client behind the trusted proxy.
    pub(crate) fn behind_proxy(server: SocketAddr, address: &str) -> Self {
        Self { forwarded: Some(address.to_owned()), ..Self::new(server) }
    }

    /// A directly connected client with this address of the loopback network.
    pub(crate) fn at(server: SocketAddr, from: [u8; 4]) -> Self {
        Self::build(server, Some(from.into()))
    }

    fn build(server: SocketAddr, from: Option<IpAddr>) -> Self {
        let builder =
            reqwest::Client::builder().no_proxy().tls_certs_only([]).timeout(PATIENCE).local_address(from);
        Self { http: builder.build().expect("a plain client"), server, forwarded: None }
    }

    /// Has another address behind the trusted proxy from now on.
    pub(crate) fn forward(&mut self, address: String) {
        self.forwarded = Some(address);
    }

    /// Sends one request, with a token unless it is empty. The status is 0 if no response comes in time.
    pub(crate) async fn call(
        &mut self,
        method: Method,
        path: &str,
        token: &str,
        body: &Value,
    ) -> (u16, Value) {
        let mut request = self.http.request(method, format!("http://{}{path}", self.server));
        if let Some(address) = &self.forwarded {
            request = request.header("x-forwarded-for", address);
        }
        if !token.is_empty() {
            request = request.bearer_auth(token);
        }
        if !body.is_null() {
            request = request.json(body);
        }
        match request.send().await {
            Ok(response) => (response.status().as_u16(), response.json().await.unwrap_or_default()),
            Err(error) => (0, json!({ "code": error.to_string() })),
        }
    }

    pub(crate) async fn get(&mut self, path: &str, token: &str) -> (u16, Value) {
        self.call(Method::GET, path, token, &Value::Null).await
    }

    pub(crate) async fn post(&mut self, path: &str, token: &str, body: &Value) -> (u16, Value) {
        self.call(Method::POST, path, token, body).await
    }

    /// Mints, or renews the grant if there is one. Returns the new grant.
    pub(crate) async fn mint(&mut self, query: &str, grant: &str) -> Option<String> {
        let (_, body) = self.get(&format!("/api/turn-credentials{query}"), grant).await;
        Some(body["grant"].as_str()?.to_owned())
    }

    /// Opens a connection. Returns whether it is open.
    pub(crate) async fn open(&mut self, token: &str, id: &str) -> bool {
        let (status, _) = self.post("/api/connections", token, &json!({ "connectionId": id })).await;
        status == 200 || status == 201
    }

    /// Keeps a connection alive, with a count of bytes if it has one. Returns the status.
    pub(crate) async fn beat(&mut self, token: &str, id: &str, bytes: Option<u64>) -> u16 {
        let body = bytes.map_or_else(|| json!({}), |bytes| json!({ "bytesReceived": bytes }));
        self.post(&format!("/api/connections/{id}/heartbeat"), token, &body).await.0
    }
}
