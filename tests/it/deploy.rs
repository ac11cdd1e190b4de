//! The files in deploy/: every series that the dashboard and the alert rules name exists, and every alert has a test.

use turn_broker::telemetry::metrics::RequestLabels;

use crate::support::prelude::*;

const DASHBOARD: &str = include_str!("../../deploy/grafana-dashboard.json");
const RULES: &str = include_str!("../../deploy/prometheus-rules.yml");
const RULE_TESTS: &str = include_str!("../../deploy/prometheus-rules.test.yml");
const OPERATE: &str = include_str!("../../docs/OPERATE.md");
const SETTINGS: &str = include_str!("../../.env.example");

/// The names before `=`, one a line, in comments too.
fn names_in(lines: &str) -> BTreeSet<&str> {
    let is_name = |name: &&str| {
        name.len() > 2 && name.bytes().all(|b| b.is_ascii_uppercase() || b.is_ascii_digit() || b == b'_')
    };
    lines
        .lines()
        .filter_map(|line| line.trim().trim_start_matches("# ").split_once('='))
        .map(|(name, _)| name)
        .filter(is_name)
        .collect()
}

/// The names that begin like a series of the broker.
fn series_in(text: &str) -> BTreeSet<String> {
    let names = text.split(|c: char| !c.is_ascii_alphanumeric() && c != '_');
    let ours = names.filter(|name| name.starts_with("turn_broker_") || name.starts_with("process_"));
    ours.map(str::to_owned).collect()
}

/// `/metrics` of a broker that has counted one event of each kind.
pub(crate) async fn metrics_of_a_broker() -> String {
    let broker = TestBroker::start(&[]).await;
    let metrics = &broker.app.metrics;
    let took = Duration::from_millis(1);
    metrics.request(&RequestLabels { route: "/".into(), method: "GET", status: 200 }, took);
    metrics.credentials.count(["stun", "none"]);
    metrics.wrong_tokens.count(["operator"]);
    metrics.unauthorized.count(["operator"]);
    metrics.provider_call("minted", took);
    metrics.connections_ended.count(["closed"]);
    metrics.sockets_limited.count(["refused"]);
    metrics.not_http.count(["tls"]);
    metrics.signaling_limited.count(["refused"]);
    metrics.signaling_dropped.count(["yjs", "flood"]);
    metrics.page_reports.count(["written"]);
    metrics.connections_refused.count(["table"]);
    metrics.readings.count(["coturn", "taken"]);
    metrics.grant_counts.count(["cloudflare", "final"]);
    metrics.grant_count_bytes.add(["grant"], 1);
    metrics.key_fetches.count(["ok"]);
    metrics.key_usage([("default", 1)].into_iter());
    metrics.server_key_mint("app", "minted");
    metrics.server_key_use("app", 1);
    metrics.relay("eu.example", true, 1);
    metrics.forwarded.count(["held"]);
    metrics.relay_ends.count(["closed"]);
    metrics.relay_refusals.count(["full"]);
    metrics.mint_refusals.count(["RATE_LIMITED"]);
    metrics.relay_drops.count(["peer"]);
    metrics.alerts.count(["test", "delivered"]);
    broker.operator("/metrics").await.text
}

/// The names of all series.
async fn series_of_a_broker() -> BTreeSet<String> {
    let text = metrics_of_a_broker().await;
    let lines = text.lines().filter(|line| !line.starts_with('#'));
    lines.filter_map(|line| line.split(['{', ' ']).next()).map(str::to_owned).collect()
}

/// Every query of the dashboard, those of its variables included.
fn queries_of(json: &Value, found: &mut Vec<String>) {
    match json {
        Value::Object(fields) => {
            for (name, value) in fields {
                match value {
                    Value::String(text) if matches!(name.as_str(), "expr" | "query") => {
                        found.push(text.clone());
                    }
                    other => queries_of(other, found),
                }
            }
        }
        Value::Array(items) => items.iter().for_each(|item| queries_of(item, found)),
        _ => {}
    }
}

#[tokio::test]
async fn every_series_of_the_dashboard_and_the_alert_rules_exists() {
    let exists = series_of_a_broker().await;
    let mut queries = vec![];
    queries_of(&serde_json::from_str(DASHBOARD).unwrap(), &mut queries);
    assert!(queries.len() > 20, "{queries:?}");
    for (file, text) in
        [("dashboard", queries.join(" ")), ("rules", RULES.into()), ("rule tests", RULE_TESTS.into())]
    {
        let named = series_in(&text);
        assert!(named.len() > 5, "{file}");
        let unknown: Vec<_> = named.difference(&exists).collect();
        assert!(unknown.is_empty(), "{file}: no such series: {unknown:?}");
    }
}

#[tokio::test]
async fn a_series_whose_increase_is_asked_for_begins_at_zero() {
    let broker =
        TestBroker::start(&[("ALERT_WEBHOOK_URL", "https://hooks.example/a"), ("ALERT_PERCENTS", "42")])
            .await;
    let text = broker.operator("/metrics").await.text;
    for series in RULES.split("increase(").skip(1).filter_map(|rule| rule.split(['{', '[']).next()) {
        let is_there = text.lines().any(|line| line.starts_with(series) && line.ends_with(" 0"));
        assert!(is_there, "{series}");
    }
    assert!(
        text.contains("turn_broker_alerts_total{event=\"budget.used_42\",outcome=\"given_up\"} 0"),
        "{text}"
    );
    assert!(text.contains("turn_broker_wrong_tokens_total{role=\"server\"} 0"), "{text}");
}

#[test]
fn every_alert_rule_has_a_test_and_a_remedy() {
    let mut alerts: Vec<_> = RULES.split("- alert: ").skip(1).collect();
    assert!(alerts.len() > 10);
    for rule in &mut alerts {
        let name = rule.lines().next().unwrap();
        assert!(RULE_TESTS.contains(&format!("alertname=\"{name}\"")), "{name} has no test");
        assert!(rule.contains("severity: ") && rule.contains("description: "), "{name}");
    }
}

#[test]
fn the_first_production_settings_are_eleven_that_exist() {
    let (_, steps) = OPERATE.split_once("\n## From nothing to production\n").unwrap();
    let (_, env) = steps.split_once("```ini\n").unwrap();
    let (env, _) = env.split_once("```").unwrap();
    let first = names_in(env);
    assert_eq!(first.len(), 11);
    let unknown: Vec<_> = first.difference(&names_in(SETTINGS)).copied().collect();
    assert!(unknown.is_empty(), "no such setting: {unknown:?}");
}

#[test]
fn image_and_manifests_name_this_version() {
    let version = env!("CARGO_PKG_VERSION");
    for (file, expected) in [
        ("Dockerfile", format!("image.version=\"{version}\"")),
        ("deploy/kubernetes/one.yaml", format!("turn-broker:{version}\n")),
        ("deploy/kubernetes/replicas.yaml", format!("turn-broker:{version}\n")),
        ("deploy/kubernetes/kustomization.yaml", format!("newTag: {version}}}")),
    ] {
        assert!(std::fs::read_to_string(file).unwrap().contains(&expected), "{file}: {expected}");
    }
}

/// As systemd does for `Type=notify` and `WatchdogSec`.
#[test]
fn systemd_is_told_that_the_service_listens_and_goes_on() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("notify");
    let socket = std::os::unix::net::UnixDatagram::bind(&path).unwrap();
    let told = [("NOTIFY_SOCKET", path.to_str().unwrap()), ("WATCHDOG_USEC", "300000")];
    let _process = Process::start(&[&COTURN[..], &told].concat());
    let next = || {
        let mut message = [0; 64];
        let length = socket.recv(&mut message).unwrap();
        String::from_utf8_lossy(&message[..length]).trim().to_owned()
    };
    assert_eq!([next(), next(), next()], ["READY=1", "WATCHDOG=1", "WATCHDOG=1"]);
}
