//! What the running service says about the proxies in front of it, and about the tail that it has seen; and whether it answers at
//! `PUBLIC_URL`. The doctor cannot see
//! them itself. No finding if no service answers, because it may not run yet.

use std::time::Duration;

use reqwest::{Client, RequestBuilder, StatusCode};
use serde::Deserialize;
use url::Url;

use super::finding::{Check, Finding, Remedy};
use crate::clock::Clock;
use crate::config::{Config, PublicUrl, ServerConfig};
use crate::http_client::body_up_to;
use crate::telemetry::cause::innermost;
use turn_ledger::IceSource;

/// Longest status that is read. Real ones have 3 KiB.
const BODY_MAX: usize = 64 * 1024;
/// The hint about a proxy that is not trusted.
const HINT: &str = "PROXY_NOT_TRUSTED";

/// The part of `GET /api/bandwidth-status` that matters here.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Status {
    hints: Vec<Hint>,
    observed_tail: Option<ObservedTail>,
}

/// The part of `GET /health` that only a broker has.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Health {
    #[serde(rename = "uptimeSeconds")]
    _uptime_seconds: u64,
}

#[derive(Deserialize)]
struct Hint {
    code: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct ObservedTail {
    longest_seconds: u64,
    grants: u64,
    relayed_after_expiry: u64,
}

/// Asks the service at the configured address.
pub(super) async fn check(config: &Config, client: &Client) -> Vec<Finding> {
    let status = status(&config.server, client).await;
    status.map(|status| findings(&status, cloudflare_tail(config))).unwrap_or_default()
}

/// The configured tail of Cloudflare's grants.
pub(super) fn cloudflare_tail(config: &Config) -> Duration {
    config.budget.expiry_tail.unwrap_or(IceSource::Cloudflare.expiry_tail())
}

async fn status(server: &ServerConfig, client: &Client) -> Option<Status> {
    let url = Url::parse(&format!("http://{}/api/bandwidth-status", server.reachable())).ok()?;
    let response = client.get(url).send().await.ok()?;
    serde_json::from_slice(&body_up_to(BODY_MAX, response).await.ok()??).ok()
}

/// Asks the service where people open it. A warning at most: from this machine a public address may be out of reach.
pub(super) async fn public(url: &PublicUrl, client: &Client, clock: &dyn Clock) -> Finding {
    let began = clock.instant();
    let seen = health(client.get(format!("{url}health"))).await;
    let finding = match seen {
        Ok(()) => Finding::ok(Check::PublicUrl, url.to_string(), "a broker responds"),
        Err(seen) => Finding::warn(
            Check::PublicUrl,
            url.to_string(),
            seen,
            Remedy::guess(
                "start the service and its proxy, and check the DNS name, the certificate and PUBLIC_URL; ask from another machine if this one cannot reach its own public address",
            ),
        ),
    };
    finding.after(clock.instant().saturating_duration_since(began))
}

/// What was seen instead of a broker's health.
async fn health(request: RequestBuilder) -> Result<(), String> {
    let no_response = |error: reqwest::Error| {
        let error = error.without_url();
        format!("no response: {}", innermost(&error).unwrap_or_else(|| error.to_string()))
    };
    let response = request.send().await.map_err(no_response)?;
    let status = response.status();
    let body = body_up_to(BODY_MAX, response).await.map_err(no_response)?;
    match body.and_then(|body| serde_json::from_slice::<Health>(&body).ok()) {
        Some(Health { .. }) if status == StatusCode::OK => Ok(()),
        _ => Err(format!("the response is not a broker's, status {}", status.as_u16())),
    }
}

/// The findings about a status. `tail`: the configured one.
fn findings(status: &Status, tail: Duration) -> Vec<Finding> {
    let proxies = status.hints.iter().any(|hint| hint.code == HINT).then(|| {
        Finding::warn(
            Check::Configuration,
            "",
            "the running service gets an X-Forwarded-For that it does not read, because it comes from an address that is not in \
             TRUSTED_PROXIES: if that is a proxy, all clients behind it share the allowances of one client",
            "add the address that the hint PROXY_NOT_TRUSTED of turn-broker status names to TRUSTED_PROXIES, if it is the proxy's",
        )
    });
    let tails = status.observed_tail.as_ref().filter(|seen| seen.grants > 0);
    proxies.into_iter().chain(tails.map(|seen| observed(seen, tail))).collect()
}

fn observed(seen: &ObservedTail, tail: Duration) -> Finding {
    let ObservedTail { longest_seconds, grants, relayed_after_expiry } = *seen;
    let subject = IceSource::Cloudflare.name();
    let text = format!(
        "the longest that the running service has seen is {longest_seconds} s, of {grants} grants in use at their expiry, of which \
         {relayed_after_expiry} relayed after it; the ledger assumes {} s",
        tail.as_secs()
    );
    if longest_seconds <= tail.as_secs() {
        return Finding::ok(Check::Tail, subject, text);
    }
    Finding::warn(Check::Tail, subject, text, too_short(longest_seconds))
}

/// The remedy for a tail that is longer than the configured one.
pub(super) fn too_short(seconds: u64) -> Remedy {
    Remedy::sure(format!(
        "set TURN_EXPIRY_TAIL_SECONDS to more than {seconds}: until then usage can exceed the published bound"
    ))
}

#[cfg(test)]
mod tests {
    use super::super::finding::State;
    use super::*;

    fn found(body: &str) -> Vec<Finding> {
        serde_json::from_str(body)
            .map(|status| findings(&status, Duration::from_secs(600)))
            .unwrap_or_default()
    }

    #[test]
    fn only_the_hint_about_proxies_is_a_finding() {
        let says = |body: &str| !found(body).is_empty();
        assert!(says(r#"{"status":"OK","hints":[{"code":"PROXY_NOT_TRUSTED","message":"x"}]}"#));
        for other in
            [r#"{"hints":[{"code":"NO_REPORTS","message":"x"}]}"#, r#"{"hints":[]}"#, "[]", "not JSON"]
        {
            assert!(!says(other), "{other}");
        }
    }

    #[test]
    fn a_tail_that_is_longer_than_the_configured_one_is_a_warning() {
        for (longest, grants, state) in
            [(600, 5, Some(State::Ok)), (660, 5, Some(State::Warn)), (0, 5, Some(State::Ok)), (0, 0, None)]
        {
            let body = format!(
                r#"{{"hints":[],"observedTail":{{"longestSeconds":{longest},"grants":{grants},"relayedAfterExpiry":2,"leftOut":0}}}}"#
            );
            let found = found(&body);
            assert_eq!(found.first().map(|one| one.state), state, "{longest}");
            assert!(found.iter().all(|one| one.seen.contains("of 5 grants")), "{found:?}");
        }
    }
}
