//! What the running service says about the proxies in front of it. The doctor cannot see them itself. No finding if no
//! service answers, because it may not run yet.

use reqwest::Client;
use serde::Deserialize;
use url::Url;

use super::finding::{Check, Finding};
use crate::config::ServerConfig;
use crate::http_client::body_up_to;

/// Longest status that is read. Real ones have 3 KiB.
const BODY_MAX: usize = 64 * 1024;
/// The hint about a proxy that is not trusted.
const HINT: &str = "PROXY_NOT_TRUSTED";

/// The part of `GET /api/bandwidth-status` that matters here.
#[derive(Deserialize)]
struct Status {
    hints: Vec<Hint>,
}

#[derive(Deserialize)]
struct Hint {
    code: String,
}

/// Asks the service at the configured address.
pub(super) async fn check(server: &ServerConfig, client: &Client) -> Option<Finding> {
    let url = Url::parse(&format!("http://{}/api/bandwidth-status", server.reachable())).ok()?;
    let response = client.get(url).send().await.ok()?;
    finding(&body_up_to(BODY_MAX, response).await.ok()??)
}

/// The finding about a status.
fn finding(body: &[u8]) -> Option<Finding> {
    let status: Status = serde_json::from_slice(body).ok()?;
    status.hints.iter().any(|hint| hint.code == HINT).then(|| {
        Finding::warn(
            Check::Configuration,
            "",
            "the running service gets an X-Forwarded-For that it does not read, because it comes from an address that is not in \
             TRUSTED_PROXIES: if that is a proxy, all clients behind it share the allowances of one client",
            "add the proxy's address to TRUSTED_PROXIES; the log lines of requests show it as the client",
        )
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_hint_about_proxies_is_a_finding() {
        let says = |body: &str| finding(body.as_bytes()).is_some();
        assert!(says(r#"{"status":"OK","hints":[{"code":"PROXY_NOT_TRUSTED","message":"x"}]}"#));
        for other in
            [r#"{"hints":[{"code":"NO_REPORTS","message":"x"}]}"#, r#"{"hints":[]}"#, "[]", "not JSON"]
        {
            assert!(!says(other), "{other}");
        }
    }
}
