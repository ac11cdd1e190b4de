//! `turn-broker doctor` as a program: its findings, remedies and exit status, and that it never shows a secret. [`provider`]
//! and [`relay`] test the findings about those. Provider and webhook are fakes on loopback, the relay is the TURN library's;
//! tests/coturn uses a coturn.

mod provider;
mod relay;
mod tail;

use crate::support::fake_webhook;
use crate::support::prelude::*;

const ANALYTICS_TOKEN: &str = "analytics-fixture-token";

/// One run of the program.
pub(crate) struct Examined {
    pub(crate) exit: Option<i32>,
    /// Standard output, then standard error.
    pub(crate) text: String,
    stdout: String,
}

/// Runs `doctor` with only these variables, on another thread, because the fakes run on this one.
pub(crate) async fn doctor(arguments: &[&str], variables: &[(&str, &str)]) -> Examined {
    let mut command = command(variables);
    command.arg("doctor").args(arguments);
    let output = tokio::task::spawn_blocking(move || command.output().unwrap()).await.unwrap();
    let Output { status, stdout, stderr } = output;
    let stdout = String::from_utf8(stdout).unwrap();
    Examined { exit: status.code(), text: stdout.clone() + &String::from_utf8(stderr).unwrap(), stdout }
}

impl Examined {
    /// The findings of one check in a run with `--json`.
    #[track_caller]
    pub(crate) fn of(&self, check: &str) -> Vec<Value> {
        let document: Value = serde_json::from_str(&self.stdout).unwrap_or_else(|_| panic!("{}", self.text));
        assert_eq!(document["exitStatus"].as_i64(), self.exit.map(i64::from));
        let checks = document["checks"].as_array().unwrap();
        for found in checks {
            let is_bad = found["state"] == "warn" || found["state"] == "fail";
            assert!(!is_bad || found["remedy"].is_string(), "a warning or failure has a remedy: {found}");
        }
        checks.iter().filter(|found| found["check"] == check).cloned().collect()
    }

    /// Asserts the state of the only finding of a check, and what its text and its remedy contain.
    #[track_caller]
    pub(crate) fn assert_only(&self, check: &str, state: &str, seen_has: &str, remedy_has: &str) {
        let found = self.of(check);
        let [one] = &found[..] else { panic!("{check}: {found:?} in {}", self.text) };
        assert_eq!(one["state"], state, "{}", self.text);
        for (field, part) in [("seen", seen_has), ("remedy", remedy_has)] {
            assert!(one[field].as_str().unwrap_or_default().contains(part), "{part:?} is not in {one}");
        }
    }

    #[track_caller]
    pub(crate) fn states(&self, check: &str) -> Vec<String> {
        self.of(check).iter().map(|found| found["state"].as_str().unwrap().to_owned()).collect()
    }
}

/// A provider, and a relay that accepts its credentials.
struct World {
    cloudflare: FakeCloudflare,
    turn: TurnServer,
}

impl World {
    async fn new() -> Self {
        let cloudflare = FakeCloudflare::start().await;
        cloudflare.require_key("key-id");
        cloudflare.require_token(API_TOKEN);
        cloudflare.analytics().require_token(ANALYTICS_TOKEN);
        let turn = TurnServer::start(RELAYED, cloudflare.history()).await;
        cloudflare.relays_at(&[turn.url()]);
        Self { cloudflare, turn }
    }

    async fn examine(&self, more: &[(&str, &str)]) -> Examined {
        self.run(&["--json"], more).await
    }

    async fn run(&self, arguments: &[&str], more: &[(&str, &str)]) -> Examined {
        let base = self.cloudflare.base_url();
        let mut all = vec![
            ("CLOUDFLARE_API_BASE", base.as_str()),
            ("CLOUDFLARE_ANALYTICS_BASE", base.as_str()),
            ("CLOUDFLARE_TURN_KEY_ID", "key-id"),
            ("CLOUDFLARE_TURN_API_TOKEN", API_TOKEN),
            ("CLOUDFLARE_ACCOUNT_ID", "account"),
            ("CLOUDFLARE_ANALYTICS_TOKEN", ANALYTICS_TOKEN),
        ];
        all.extend_from_slice(more);
        doctor(arguments, &all).await
    }
}

#[tokio::test]
async fn a_good_installation_has_no_findings_and_stays_unchanged() {
    let (world, state) = (World::new().await, StateDir::new());
    let examined = world.examine(&[("STATE_DIR", state.path())]).await;
    assert_eq!(examined.exit, Some(0), "{}", examined.text);
    examined.assert_only("provider", "ok", "outside the ledger: 1.82 GB at worst", "");
    examined.assert_only("turn", "ok", RELAYED, "");
    for check in ["clock", "analytics", "revoke"] {
        examined.assert_only(check, "ok", "", "");
    }
    assert!(examined.states("state").iter().all(|state| state == "ok"), "{}", examined.text);

    let history = world.cloudflare.history();
    let requests = history.requests();
    let minted = requests.iter().find(|request| request.ttl.is_some()).unwrap();
    assert_eq!((history.mints(), minted.ttl), (1, Some(60)));
    assert_eq!(minted.custom_identifier.as_deref(), Some("turn-broker-doctor"));
    assert!(requests.iter().any(|request| request.path.ends_with("/revoke")));
    eventually("the allocation is released", async || world.turn.allocations().await == 0).await;
    assert_eq!(world.cloudflare.analytics().asked(), 1);
    assert_eq!(std::fs::read_dir(state.path()).unwrap().count(), 0, "no ledger is created");
}

#[tokio::test]
async fn an_invalid_configuration_is_reported_completely_with_status_78() {
    let bad = [("PORT", "abc"), ("BILLING_DAY", "0"), ("OPERATOR_TOKEN", "hush hush hush hush")];
    let examined = doctor(&["--json"], &bad).await;
    assert_eq!(examined.exit, Some(78));
    let seen: Vec<String> =
        examined.of("configuration").iter().map(|one| one["seen"].as_str().unwrap().to_owned()).collect();
    let starts: Vec<&str> = seen.iter().map(|line| line.split(':').next().unwrap()).collect();
    assert_eq!(starts, ["BILLING_DAY", "OPERATOR_TOKEN", "PORT"]);
    let text = doctor(&[], &bad).await;
    assert_eq!(text.exit, Some(78));
    assert!(seen.iter().all(|line| text.text.contains(line)), "{}", text.text);
    assert!(!text.text.contains("hush") && !examined.text.contains("hush"));
}

#[tokio::test]
async fn a_webhook_of_ayame_that_cannot_be_reached_is_a_failure() {
    let (world, webhook) = (World::new().await, FakeWebhook::start(&[]).await);
    let (authn, disconnect) = ("http://127.0.0.1:1/secret", webhook.url());
    let settings =
        [("SIGNALING", "ayame"), ("AUTHN_WEBHOOK_URL", authn), ("DISCONNECT_WEBHOOK_URL", &*disconnect)];
    let examined = world.examine(&settings).await;
    assert_eq!(&examined.states("tls")[..2], ["fail", "ok"], "{}", examined.text);
    let remedy = examined.of("tls")[0]["remedy"].as_str().unwrap().to_owned();
    assert!(remedy.contains("AUTHN_WEBHOOK_URL"), "{remedy}");
    assert!(!examined.text.contains("secret") && webhook.history().is_empty(), "{}", examined.text);
}

#[tokio::test]
async fn an_alert_is_sent_only_on_request() {
    let (world, webhook) = (World::new().await, FakeWebhook::start(&[]).await);
    let url = webhook.url();
    let settings = [("ALERT_WEBHOOK_URL", &*url), ("ALERT_WEBHOOK_SECRET", "hush-webhook-secret")];
    let examined = world.examine(&settings).await;
    assert_eq!(examined.exit, Some(0), "{}", examined.text);
    examined.assert_only("alerts", "ok", "", "");
    assert!(webhook.history().is_empty());

    let examined = world.run(&["--json", "--send-test-alert"], &settings).await;
    examined.assert_only("alerts", "ok", "", "");
    let received = webhook.history();
    assert_eq!(received.len(), 1);
    let body = received[0].json();
    assert_eq!(body["event"], "test");
    let text = body["text"].as_str().unwrap();
    assert!(text.ends_with("First: Nothing to do."), "{text}");
    assert!(!examined.text.contains(fake_webhook::PATH) && !examined.text.contains("hush"));
}

#[tokio::test]
async fn no_output_contains_a_secret() {
    let world = World::new().await;
    let webhook = FakeWebhook::start(&[]).await;
    let url = webhook.url();
    let turn = world.turn.url();
    let manual =
        format!(r#"[{{"urls":"{turn}","username":"hush-manual-user","credential":"hush-manual-password"}}]"#);
    let settings = [
        ("ICE_SOURCES", "cloudflare,coturn,manual,stun"),
        ("COTURN_URLS", &*turn),
        ("COTURN_SECRET", "hush-coturn-secret"),
        ("COTURN_CLI", "127.0.0.1:1"),
        ("COTURN_CLI_PASSWORD", "hush-cli-password"),
        ("MANUAL_ICE_SERVERS", &*manual),
        ("OPERATOR_TOKEN", OPERATOR),
        ("ALERT_WEBHOOK_URL", &*url),
        ("ALERT_WEBHOOK_SECRET", "hush-webhook-secret"),
        ("RUST_LOG", "trace"),
    ];
    let mut shown = String::new();
    for fault in [None, Some(Fault::Unauthorized401), Some(Fault::MalformedJson)] {
        if let Some(fault) = fault {
            world.cloudflare.always(fault);
        }
        for arguments in [&[][..], &["--json"], &["--send-test-alert"]] {
            shown += &world.run(arguments, &settings).await.text;
        }
    }
    assert!(shown.contains("the allocation request was answered with 400"), "{shown}");
    assert!(shown.contains("\n         → ") && shown.contains(": see the lines with an arrow."), "{shown}");
    let mut secrets = world.cloudflare.history().minted_secrets();
    assert!(!secrets.is_empty());
    secrets.extend(
        ["hush", API_TOKEN, ANALYTICS_TOKEN, OPERATOR, "key-id", Fault::BODY_MARK].map(str::to_owned),
    );
    for secret in secrets {
        assert!(!shown.contains(&secret), "{secret} in\n{shown}");
    }
}

#[tokio::test]
async fn the_public_address_is_asked_and_a_broker_that_does_not_answer_there_is_a_warning() {
    let (broker, other) = (TestBroker::start(&[]).await, FakeCloudflare::start().await);
    let at = async |url: &str| {
        let settings = [("PUBLIC_URL", url), ("OPERATOR_TOKEN", OPERATOR), ("ICE_SOURCES", "stun")];
        doctor(&["--json"], &settings).await
    };
    at(&broker.url("")).await.assert_only("public-url", "ok", "a broker responds", "");
    for (url, seen_has) in [("http://127.0.0.1:1", "no connection: "), (&other.base_url(), "answered 404")] {
        at(url).await.assert_only("public-url", "warn", seen_has, "PUBLIC_URL");
    }
}

#[tokio::test]
async fn a_service_that_does_not_mint_is_a_failure() {
    let broker = TestBroker::start(&COTURN).await;
    let port = broker.address.port().to_string();
    let settings = [("PORT", &*port), ("OPERATOR_TOKEN", OPERATOR), ("ICE_SOURCES", "stun")];
    let examined = doctor(&["--json"], &settings).await;
    assert_eq!(examined.of("service")[0]["state"], "ok", "{}", examined.text);
    broker.freeze(true).await;
    let examined = doctor(&["--json"], &settings).await;
    assert_eq!(examined.exit, Some(1), "{}", examined.text);
    examined.assert_only("service", "fail", "FROZEN: Minting is stopped", "Run turn-broker unfreeze");
}
