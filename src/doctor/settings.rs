//! The check of the settings: sources, limits, and probable mistakes; and what the running service says about the proxies in
//! front of it and about the tail that it has seen, which the doctor cannot see itself.

use std::time::Duration;

use reqwest::Client;
use serde::Deserialize;
use serde::de::DeserializeOwned;

use super::finding::{Check, Finding, Remedy, Verdict, fail, ok, warn};
use crate::config::{Config, ConfigErrors, PublicUrl};
use crate::http_client::{body, send};
use crate::json::plain_number;
use turn_ledger::{BudgetMode, IceSource};

/// Longest response that is read. Real ones have 3 KiB.
const BODY_MAX: usize = 64 * 1024;

/// A summary of a valid configuration, and one warning for each that the start logs.
pub(super) fn check(config: &Config) -> Vec<Verdict> {
    let mut found = vec![ok(summary(config))];
    if !config.ice.enabled {
        let remedy = "set TURN_ENABLED=true to relay again";
        found.push(warn("TURN_ENABLED is false: every response is STUN only", remedy));
    }
    let is_strict = config.budget.mode == BudgetMode::Strict;
    if is_strict && config.meter.analytics.is_none() && is_on(config, IceSource::Cloudflare) {
        found.push(warn(
            "BUDGET_MODE=strict without Cloudflare's analytics: no reserved bytes are released before the reset",
            "set CLOUDFLARE_ACCOUNT_ID and CLOUDFLARE_ANALYTICS_TOKEN, or use BUDGET_MODE=estimate",
        ));
    }
    let remedy = "correct the setting, or ignore this: the service starts";
    found.extend(config.warnings.iter().map(|text| warn(text, remedy)));
    found
}

/// Whether a source is named and has its settings.
pub(super) fn is_on(config: &Config, source: IceSource) -> bool {
    let has_settings = match source {
        IceSource::Cloudflare => config.ice.cloudflare.is_some(),
        IceSource::Coturn => config.ice.coturn.is_some(),
        IceSource::Manual => config.ice.manual.is_some(),
        IceSource::Relay => config.ice.relay.is_some(),
        IceSource::Stun => true,
        IceSource::Sfu => config.signaling.sfu.is_some(),
    };
    has_settings && config.ice.sources.contains(&source)
}

fn summary(config: &Config) -> String {
    let source = |source: &IceSource| {
        let off = if is_on(config, *source) { "" } else { " (off)" };
        format!("{source}{off}")
    };
    let sources: Vec<String> = config.ice.sources.iter().map(source).collect();
    let mode = if config.budget.mode == BudgetMode::Strict { "strict" } else { "estimate" };
    format!(
        "sources {}; {} GB a month, mode {mode}; credentials of {} s",
        sources.join(", "),
        plain_number(config.budget.limit_gb),
        config.ice.ttl_max.as_secs()
    )
}

/// One failure for each problem of an invalid configuration, and for each hint about a name.
pub(super) fn problems(errors: &ConfigErrors) -> Vec<Verdict> {
    let remedy = "correct it in the environment or in .env; .env.example describes every setting";
    errors.to_string().lines().map(|problem| fail(problem, remedy)).collect()
}

/// The part of `GET /api/bandwidth-status` that matters here.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Status {
    hints: Vec<Hint>,
    observed_tail: Option<ObservedTail>,
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

/// The part of `GET /health` that only a broker has.
#[derive(Deserialize)]
struct Health {
    #[serde(rename = "uptimeSeconds")]
    _uptime_seconds: u64,
}

/// The response to a GET as JSON, or what was seen instead.
async fn get<T: DeserializeOwned>(url: String, client: &Client) -> Result<T, String> {
    let answer = async { body(BODY_MAX, send(client.get(url)).await?).await };
    let body = answer.await.map_err(|error| error.to_string())?;
    serde_json::from_slice(&body).map_err(|_| "the response is not a broker's".to_owned())
}

/// Asks the service at the configured address. No finding if none answers, because it may not run yet.
pub(super) async fn service(config: &Config, client: &Client) -> Vec<Finding> {
    let url = format!("http://{}/api/bandwidth-status", config.server.reachable());
    let tail = config.budget.expiry_tail.unwrap_or(IceSource::Cloudflare.expiry_tail());
    get(url, client).await.map(|status| of_status(&status, tail)).unwrap_or_default()
}

/// Asks the service where people open it. A warning at most: from this machine a public address may be out of reach.
pub(super) async fn public(url: &PublicUrl, client: &Client) -> Verdict {
    match get::<Health>(format!("{url}health"), client).await {
        Ok(_) => ok("a broker responds"),
        Err(seen) => warn(
            seen,
            Remedy::guess(
                "check the proxy, its DNS name and certificate, and PUBLIC_URL; ask from another machine too",
            ),
        ),
    }
}

/// The findings about a status. `tail`: the configured one.
fn of_status(status: &Status, tail: Duration) -> Vec<Finding> {
    let mut found = Vec::new();
    if status.hints.iter().any(|hint| hint.code == "PROXY_NOT_TRUSTED") {
        let verdict = warn(
            "the running service does not read an X-Forwarded-For, because its sender is not in TRUSTED_PROXIES",
            "add the address that turn-broker status names to TRUSTED_PROXIES, if it is your proxy's",
        );
        found.push(verdict.about(Check::Configuration, ""));
    }
    if let Some(seen) = status.observed_tail.as_ref().filter(|seen| seen.grants > 0) {
        let ObservedTail { longest_seconds, grants, relayed_after_expiry } = *seen;
        let text = format!(
            "the running service has seen up to {longest_seconds} s, of {grants} grants in use at their expiry, of which \
             {relayed_after_expiry} relayed after it"
        );
        found.push(judge_tail(longest_seconds, tail, &text).about(Check::Tail, IceSource::Cloudflare.name()));
    }
    found
}

/// Compares a tail that was seen, in seconds, with the one that the ledger assumes.
pub(super) fn judge_tail(seconds: u64, assumed: Duration, seen: &str) -> Verdict {
    let seen = format!("{seen}; the ledger assumes {} s", assumed.as_secs());
    if seconds <= assumed.as_secs() {
        return ok(seen);
    }
    let remedy = format!(
        "set TURN_EXPIRY_TAIL_SECONDS to more than {seconds}: until then usage can exceed the published bound"
    );
    warn(seen, remedy)
}

#[cfg(test)]
mod tests {
    use super::super::finding::State;
    use super::*;
    use crate::config::Environment;

    fn config(pairs: &[(&str, &str)]) -> Result<Config, ConfigErrors> {
        Config::from_env(&Environment::from_pairs(pairs.iter().copied()))
    }

    #[test]
    fn the_summary_lists_the_sources_and_marks_those_that_are_off() {
        let found = check(&config(&[]).unwrap());
        assert_eq!(
            found[0].seen,
            "sources cloudflare (off), stun; 1000 GB a month, mode estimate; credentials of 86400 s"
        );
        assert_eq!(found.len(), 1);
    }

    #[test]
    fn each_warning_at_start_is_a_warning_here() {
        let pairs = [
            ("TURN_ENABLED", "false"),
            ("BUDGET_MODE", "strict"),
            ("TURN_TTL_SECOND", "60"),
            ("CLOUDFLARE_TURN_KEY_ID", "key"),
            ("CLOUDFLARE_TURN_API_TOKEN", "hush-token"),
        ];
        let found = check(&config(&pairs).unwrap());
        assert!(found[1..].iter().all(|one| one.state == State::Warn && one.remedy.is_some()));
        let seen: Vec<&str> = found[1..].iter().map(|one| &*one.seen).collect();
        assert!(
            seen[0].contains("TURN_ENABLED")
                && seen[1].contains("strict")
                && seen[2].contains("TURN_TTL_SECONDS")
        );
        assert!(!format!("{found:?}").contains("hush"));
    }

    #[test]
    fn each_problem_is_one_failure() {
        let errors = config(&[("PORT", "abc"), ("BILLING_DAY", "0"), ("PROT", "1")]).unwrap_err();
        let found = problems(&errors);
        assert!(found.len() >= 2 && found.iter().all(|one| one.state == State::Fail));
        assert!(found[0].seen.starts_with("BILLING_DAY: "));
    }

    fn found(body: &str) -> Vec<Finding> {
        serde_json::from_str(body)
            .map(|status| of_status(&status, Duration::from_secs(600)))
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
