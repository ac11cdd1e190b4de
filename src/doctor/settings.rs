//! The check of the settings: sources, limits, and probable mistakes; and whether a broker responds at an address that others use.

use std::fmt::Display;

use reqwest::Method;
use secrecy::ExposeSecret;
use serde_json::Value;

use super::report::{Check, Verdict, fail, ok, warn};
use crate::alert::Fault;
use crate::config::{Config, ConfigErrors};
use crate::json::plain_number;
use turn_base::http_client::{HttpClient, body};
use turn_ledger::BudgetMode;

/// Longest response that is read. Real ones have 3 KiB.
const BODY_MAX: usize = 64 * 1024;

/// A summary of a valid configuration, a warning if `TURN_ENABLED` is false, and one for each probable mistake.
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

/// The status of the service at the configured address. `Null` if none answers.
pub(super) async fn service_status(config: &Config, client: &HttpClient) -> Value {
    let url = format!("http://{}/api/bandwidth-status", config.server.reachable());
    let mut request = config.access.hosts.with_allowed_host(client.request(Method::GET, url));
    if let Some(token) = &config.access.operator_token {
        request = request.bearer_auth(token.expose_secret());
    }
    let answer = async { body(BODY_MAX, client.send(request).await?).await };
    let status = answer.await.ok().and_then(|body| serde_json::from_slice(&body).ok());
    status.unwrap_or_default()
}

/// The critical hints of a running service. The hint about the provider is a failure, even if the provider mints for this process. The
/// others are warnings.
pub(super) fn judge_hints(status: &Value) -> Vec<(Check, Verdict)> {
    let hints = status["hints"].as_array().into_iter().flatten();
    let critical = hints.filter(|hint| hint["severity"] == "critical");
    let judge = |hint: &Value| {
        let (code, message) = (hint["code"].as_str()?, hint["message"].as_str()?);
        if code == Fault::ProviderDown.facts().code {
            let remedy = "wait for its next attempt, within a minute; if it still fails, restart the service and keep its log";
            return Some((Check::Provider, fail(message, remedy)));
        }
        let remedy = format!("do what the row {code} of docs/RUNBOOK.md says");
        Some((Check::Service, warn(format!("{code}: {message}"), remedy)))
    };
    critical.filter_map(judge).collect()
}

/// Asks the service at an address that others use. The verdict is a warning at most, because this machine may not reach the address.
pub(super) async fn broker_at(url: &impl Display, remedy: &str, client: &HttpClient) -> Verdict {
    let answer = async {
        body(BODY_MAX, client.send(client.request(Method::GET, format!("{url}health"))).await?).await
    };
    let seen = match answer.await {
        Ok(body) if is_health(&body) => return ok("a broker responds"),
        Ok(_) => "the response is not a broker's".to_owned(),
        Err(error) => error.to_string(),
    };
    warn(seen, remedy)
}

fn is_health(body: &[u8]) -> bool {
    serde_json::from_slice(body).is_ok_and(|health: Value| health["uptimeSeconds"].is_u64())
}

#[cfg(test)]
mod tests {
    use super::super::report::CheckState;
    use super::*;
    use crate::config::Environment;
    use serde_json::json;

    #[test]
    fn critical_hints_of_the_service_are_warnings_and_that_of_a_provider_that_is_down_is_a_failure() {
        let hint = |code, severity| json!({"code": code, "severity": severity, "message": "Gone."});
        let hints = [("PROVIDER_DOWN", "critical"), ("CLOCK_WRONG", "critical"), ("NOT_DURABLE", "warning")];
        let found = judge_hints(&json!({"hints": hints.map(|(code, severity)| hint(code, severity))}));
        let found: Vec<_> = found.iter().map(|(check, one)| (*check, one.state, &*one.seen)).collect();
        let provider = (Check::Provider, CheckState::Fail, "Gone.");
        assert_eq!(found, [provider, (Check::Service, CheckState::Warn, "CLOCK_WRONG: Gone.")]);
    }

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
}
