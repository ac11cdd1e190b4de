//! The check of the settings: sources, limits, and probable mistakes. Pure.

use super::finding::{Check, Finding, Remedy};
use crate::config::{Config, ConfigErrors};
use crate::json::plain_number;
use turn_ledger::{BudgetMode, IceSource};

/// The findings about a valid configuration: a summary, and one for each warning at start.
pub(super) fn check(config: &Config) -> Vec<Finding> {
    let mut findings = vec![Finding::ok(Check::Configuration, "", summary(config))];
    let warn = |seen: &str, remedy: &str| Finding::warn(Check::Configuration, "", seen, remedy);
    if !config.ice.enabled {
        findings.push(warn(
            "TURN_ENABLED is false: every response is STUN only",
            "set TURN_ENABLED=true to relay again",
        ));
    }
    if config.budget.mode == BudgetMode::Strict
        && config.meter.analytics.is_none()
        && is_on(config, IceSource::Cloudflare)
    {
        findings.push(warn(
            "BUDGET_MODE=strict without Cloudflare's analytics: reserved bytes fill the budget, and nothing releases them \
             before the reset",
            "set CLOUDFLARE_ACCOUNT_ID and CLOUDFLARE_ANALYTICS_TOKEN, or use BUDGET_MODE=estimate",
        ));
    }
    let about_settings = config
        .warnings
        .iter()
        .map(|text| warn(text, "correct the setting, or ignore this: the service starts"));
    findings.extend(about_settings);
    findings
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
    let mode = match config.budget.mode {
        BudgetMode::Estimate => "estimate",
        BudgetMode::Strict => "strict",
    };
    format!(
        "sources {}; {} GB a month, mode {mode}; credentials of {} s",
        sources.join(", "),
        plain_number(config.budget.limit_gb),
        config.ice.ttl_max.as_secs()
    )
}

/// One finding for each problem of an invalid configuration, and for each hint about a name.
pub(super) fn problems(errors: &ConfigErrors) -> Vec<Finding> {
    let remedy =
        || Remedy::sure("correct it in the environment or in .env; .env.example describes every setting");
    let problem = |seen: &str| Finding::fail(Check::Configuration, "", seen, remedy());
    errors.to_string().lines().map(problem).collect()
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
}
