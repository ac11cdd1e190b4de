//! The check of the settings: sources, limits, and probable mistakes; and what the running service says about the proxies in
//! front of it, which the doctor cannot see itself.

use std::fmt::Display;

use reqwest::{Client, RequestBuilder};
use secrecy::ExposeSecret;
use serde_json::Value;

use super::report::{Verdict, fail, ok, skipped, warn};
use crate::config::{Config, ConfigErrors, ServerKeyConfig};
use crate::json::plain_number;
use turn_base::http_client::{body, send};
use turn_ledger::{BudgetMode, ByteCount};

/// Longest response that is read. Real ones have 3 KiB.
const BODY_MAX: usize = 64 * 1024;
const NOT_A_BROKER: &str = "the response is not a broker's";

/// A summary of a valid configuration, and one warning for each that the start logs.
pub(super) fn check(config: &Config) -> Vec<Verdict> {
    let mut found = vec![ok(summary(config))];
    if !config.ice.enabled {
        let remedy = "set TURN_ENABLED=true to relay again";
        found.push(warn("TURN_ENABLED is false: every response is STUN only", remedy));
    }
    let remedy = "correct the setting, or ignore this: the service starts";
    found.extend(config.warnings.iter().map(|text| warn(text, remedy)));
    found
}

fn summary(config: &Config) -> String {
    let sources: Vec<&str> = config.ice.sources.iter().map(|source| source.name()).collect();
    let mode = if config.budget.mode == BudgetMode::Strict { "strict" } else { "estimate" };
    format!(
        "sources {}; {} GB a month, mode {mode}; credentials of {} s",
        sources.join(", "),
        plain_number(config.budget.limit.as_gb()),
        config.ice.ttl_max.as_secs()
    )
}

/// One failure for each problem of an invalid configuration, and for each hint about a name.
pub(super) fn problems(errors: &ConfigErrors) -> Vec<Verdict> {
    let remedy = "correct it in the environment, in .env or in the file of --env-file; .env.example describes every setting";
    errors.to_string().lines().map(|problem| fail(problem, remedy)).collect()
}

/// The response as JSON, or what was seen instead.
async fn ask(request: RequestBuilder) -> Result<Value, String> {
    let answer = async { body(BODY_MAX, send(request).await?).await };
    let body = answer.await.map_err(|error| error.to_string())?;
    serde_json::from_slice(&body).map_err(|_| NOT_A_BROKER.to_owned())
}

fn to_service(config: &Config, client: &Client, route: &str) -> RequestBuilder {
    let url = format!("http://{}/api/{route}", config.server.reachable());
    config.access.hosts.named_in(client.get(url))
}

/// Asks the service at the configured address. `None` if there is nothing to report, or if no service answers: it may not run yet.
pub(super) async fn service(config: &Config, client: &Client) -> Option<Verdict> {
    of_status(&ask(to_service(config, client, "bandwidth-status")).await.ok()?)
}

/// Whether a service answers at the configured address whose ledger is on disk.
pub(super) async fn is_durable_service(config: &Config, client: &Client) -> bool {
    ask(to_service(config, client, "bandwidth-status")).await.is_ok_and(|status| status["durable"] == true)
}

/// Asks the service at an address that others use. A warning at most: from this machine it may be out of reach.
pub(super) async fn broker_at(url: &impl Display, remedy: &str, client: &Client) -> Verdict {
    let seen = match ask(client.get(format!("{url}health"))).await {
        Ok(health) if health["uptimeSeconds"].is_u64() => return ok("a broker responds"),
        Ok(_) => NOT_A_BROKER.to_owned(),
        Err(seen) => seen,
    };
    warn(seen, remedy)
}

/// Each server key, with what it used in this period as the running service says.
pub(super) async fn server_keys(config: &Config, client: &Client) -> Vec<Verdict> {
    let keys = &config.server_keys.keys;
    let Some(token) = config.access.operator_token.as_ref().filter(|_| !keys.is_empty()) else {
        return keys.iter().map(|key| of_key(key.name.as_str(), None)).collect();
    };
    let request = to_service(config, client, "overview").bearer_auth(token.expose_secret());
    let overview = ask(request).await.unwrap_or_default();
    let listed = overview["serverKeys"].as_array();
    let of = |key: &ServerKeyConfig| {
        let name = key.name.as_str();
        of_key(name, listed.into_iter().flatten().find(|listed| listed["name"] == name))
    };
    keys.iter().map(of).collect()
}

fn of_key(name: &str, listed: Option<&Value>) -> Verdict {
    let gb = |bytes: &Value| bytes.as_u64().map(|bytes| ByteCount::new(bytes).gb_nearest());
    let used = listed.and_then(|listed| gb(&listed["used"]));
    let limit = listed.and_then(|listed| gb(&listed["limit"]));
    match (used, limit) {
        (Some(used), Some(limit)) => ok(format!("server key {name}: used {used} GB of {limit} GB")),
        (Some(used), None) => ok(format!("server key {name}: used {used} GB, no limit of its own")),
        (None, _) => skipped(format!("server key {name}: no running service here says what it used")),
    }
}

/// The finding about a status.
fn of_status(status: &Value) -> Option<Verdict> {
    let mut hints = status["hints"].as_array()?.iter();
    let hint = hints.find(|hint| hint["code"] == "PROXY_NOT_TRUSTED")?;
    let says = hint["message"].as_str().unwrap_or_default();
    Some(warn(says, "set TRUSTED_PROXIES, if that address is your proxy's"))
}

#[cfg(test)]
mod tests {
    use super::super::report::CheckState;
    use super::*;
    use crate::config::Environment;
    use serde_json::json;

    #[test]
    fn each_warning_at_start_is_a_warning_here() {
        let pairs = [
            ("TURN_ENABLED", "false"),
            ("TURN_TTL_SECOND", "60"),
            ("CLOUDFLARE_TURN_KEY_ID", "key"),
            ("CLOUDFLARE_TURN_API_TOKEN", "hush-token"),
        ];
        let found = check(&Config::from_env(&Environment::from_pairs(pairs)).unwrap());
        assert!(found[1..].iter().all(|one| one.state == CheckState::Warn && one.remedy.is_some()));
        let seen: Vec<&str> = found[1..].iter().map(|one| &*one.seen).collect();
        assert!(seen[0].contains("TURN_ENABLED") && seen[1].contains("TURN_TTL_SECONDS"));
        assert!(!format!("{found:?}").contains("hush"));
    }

    #[test]
    fn a_server_key_is_listed_with_what_it_used() {
        let listed = json!({"name": "app", "used": 1_230_000_000_u64, "limit": 5_000_000_000_u64});
        assert_eq!(of_key("app", Some(&listed)).seen, "server key app: used 1.23 GB of 5.00 GB");
        let free = json!({"name": "app", "used": 0, "limit": null});
        assert_eq!(of_key("app", Some(&free)).seen, "server key app: used 0.00 GB, no limit of its own");
        assert_eq!(of_key("app", None).state, CheckState::Skipped);
    }

    #[test]
    fn an_untrusted_proxy_is_a_warning_and_no_other_status_is_a_finding() {
        let of = |code: &str| of_status(&json!({ "hints": [{ "code": code, "message": "x" }] }));
        assert_eq!(of("PROXY_NOT_TRUSTED").map(|found| found.state), Some(CheckState::Warn));
        assert_eq!((of("NO_REPORTS"), of_status(&json!([]))), (None, None));
    }
}
