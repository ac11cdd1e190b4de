//! The check of the settings: sources, limits, and probable mistakes; and whether a broker responds at an address that others use.

use std::fmt::Display;

use secrecy::ExposeSecret;

use super::prelude::*;
use crate::alert::Fault;
use crate::config::ConfigErrors;
use crate::json::plain_number;
use turn_base::http_client::body;
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

/// What a running service says of itself: whether it mints, and its hints. No remedy leads back to `doctor`.
pub(super) fn judge_service(status: &Value) -> Vec<Verdict> {
    let minting = &status["minting"];
    let judge = |said: &Value| {
        let (code, message) = (said["code"].as_str()?, said["message"].as_str()?);
        let (cause, remedy) = Fault::cause_and_remedy(message).unwrap_or((message, "read the service's log"));
        let seen = format!("{code}: {cause}");
        match said["severity"].as_str() {
            Some("info") => None,
            Some("warning") => Some(warn(seen, remedy)),
            // Critical, or nothing metered is minted.
            _ => Some(fail(seen, remedy)),
        }
    };
    let stop = (minting["on"] == false).then_some(minting);
    // The hint of the same cause has the same message.
    let hints = status["hints"].as_array().into_iter().flatten();
    let others = hints.filter(|hint| hint["message"] != minting["message"]);
    let on = (minting["on"] == true).then(|| ok("it mints metered credentials"));
    on.into_iter().chain(stop.into_iter().chain(others).filter_map(judge)).collect()
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
    use super::super::CheckState;
    use super::*;
    use crate::alert::{FaultFacts, MintStop, Severity, StopCode};
    use crate::config::Environment;
    use serde_json::json;
    use strum::VariantArray;

    fn judged(status: &Value) -> Vec<(CheckState, String, String)> {
        let found = judge_service(status).into_iter();
        found.map(|one| (one.state, one.seen, one.remedy.unwrap_or_default())).collect()
    }

    #[test]
    fn a_service_that_does_not_mint_is_a_failure_with_its_cause_and_step() {
        let full = MintStop::of(StopCode::LedgerUnavailable, "No space left.").message;
        let minting = json!({"on": false, "code": "LEDGER_UNAVAILABLE", "message": full});
        let hints = json!([{"code": "LEDGER_FAILING", "severity": "critical", "message": full}]);
        let seen =
            "LEDGER_UNAVAILABLE: The ledger cannot be written, so nothing metered is minted. No space left.";
        let step = "Free disk space in STATE_DIR, or check the database; the broker recovers by itself.";
        let status = json!({"minting": minting, "hints": hints});
        assert_eq!(judged(&status), [(CheckState::Fail, seen.into(), step.into())]);
        let message =
            "The limit is reached. Raise the limit, or find out who spends: run turn-broker spenders.";
        let minting = json!({"on": false, "code": "BUDGET_EXHAUSTED", "message": message});
        let found = judged(&json!({"minting": minting, "hints": []}));
        let step = "Raise the limit, or find out who spends: run turn-broker spenders.";
        assert_eq!(found, [(CheckState::Fail, "BUDGET_EXHAUSTED: The limit is reached".into(), step.into())]);
        assert_eq!(judged(&json!({"minting": {"on": true}, "hints": []}))[0].0, CheckState::Ok);
        assert_eq!(judged(&Value::Null), []);
    }

    #[test]
    fn each_hint_has_its_severity_and_a_remedy_that_leads_neither_back_nor_to_another_page() {
        for fault in Fault::VARIANTS {
            let FaultFacts { code, sentence, first_step, severity, .. } = fault.facts();
            let message = format!("{sentence} Some detail. {first_step}");
            let hint = json!({"code": code, "severity": severity.name(), "message": message});
            let found = judged(&json!({"minting": {"on": true}, "hints": [hint]}));
            let state = match severity {
                Severity::Info => None,
                Severity::Warning => Some(CheckState::Warn),
                Severity::Critical => Some(CheckState::Fail),
            };
            assert_eq!(found.get(1).map(|one| one.0), state, "{code}");
            for (_, seen, remedy) in &found[1..] {
                assert!(seen.ends_with(" Some detail."), "{seen}");
                let others = remedy.replace("turn-broker doctor --tail", "");
                assert!(!others.contains("doctor") && !remedy.contains("RUNBOOK"), "{code}: {remedy}");
            }
        }
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
