//! Findings of `turn-broker doctor` about a provider that does not mint, and about analytics that fail.

use reqwest::StatusCode;
use serde_json::json;

use super::{FakeWebhook, OPERATOR, TestBroker, World, doctor};
use crate::support::fake_issuer::{FakeIssuer, Signer};
use crate::support::fake_webhook::Reply;
use crate::support::{AnalyticsFault, Fault};

#[tokio::test]
async fn each_refusal_of_the_provider_has_a_remedy_and_the_other_checks_run() {
    for (fault, seen_has, remedy_has) in [
        (Fault::Unauthorized401, "401", "new TURN key"),
        (Fault::NotFound404, "404", "Turn Token ID"),
        (Fault::MalformedJson, "not a list of ICE servers", "CLOUDFLARE_API_BASE"),
    ] {
        let world = World::new().await;
        world.cloudflare.always(fault);
        let examined = world.examine(&[]).await;
        assert_eq!(examined.exit, Some(1), "{fault:?}");
        let provider = &examined.of("provider")[0];
        assert_eq!(provider["state"], "fail");
        assert!(provider["seen"].as_str().unwrap().contains(seen_has), "{fault:?}: {provider}");
        assert!(provider["remedy"].as_str().unwrap().contains(remedy_has), "{fault:?}: {provider}");
        assert!(examined.of("turn").is_empty(), "{}", examined.text);
        assert_eq!(examined.only("analytics").0, "ok");
        assert!(!examined.text.contains(Fault::BODY_MARK), "{}", examined.text);
    }
}

#[tokio::test]
async fn a_provider_that_hangs_or_is_down_is_reported_in_time() {
    let world = World::new().await;
    world.cloudflare.always(Fault::Hang);
    let examined = world.examine(&[]).await;
    let (state, seen, _) = examined.only("provider");
    assert_eq!((examined.exit, &*state, &*seen), (Some(1), "fail", "no answer in time"));
    assert_eq!(examined.states("analytics"), ["ok"]);

    world.cloudflare.stop().await;
    let examined = world.examine(&[]).await;
    assert_eq!(examined.exit, Some(1));
    let tls = examined.of("tls");
    assert!(tls.iter().all(|one| one["seen"].as_str().unwrap().contains("refused")), "{tls:?}");
    assert!(examined.only("provider").1.starts_with("no connection: "), "{}", examined.text);
    assert!(examined.only("analytics").2.contains("CLOUDFLARE_ANALYTICS_BASE"));
    assert_eq!(examined.only("clock").0, "skipped");
}

#[tokio::test]
async fn a_missing_cloudflare_key_is_a_warning_that_names_the_variables() {
    let examined = doctor(&["--json"], &[]).await;
    let (state, seen, remedy) = examined.only("provider");
    assert_eq!((examined.exit, &*state), (Some(0), "warn"), "{}", examined.text);
    assert!(seen.starts_with("Cloudflare TURN not configured"), "{seen}");
    assert!(remedy.contains("CLOUDFLARE_TURN_KEY_ID") && remedy.contains("CLOUDFLARE_TURN_API_TOKEN"));
    for skipped in ["tls", "clock", "analytics", "alerts"] {
        assert_eq!(examined.only(skipped).0, "skipped", "{skipped}");
    }
}

#[tokio::test]
async fn each_failure_of_analytics_has_its_remedy() {
    for (fault, remedy_has) in [
        (AnalyticsFault::ErrorsAt200, "PROVIDER.md"),
        (AnalyticsFault::NoAccounts, "CLOUDFLARE_ACCOUNT_ID"),
        (AnalyticsFault::NotJson, "CLOUDFLARE_ANALYTICS_BASE"),
    ] {
        let world = World::new().await;
        world.cloudflare.analytics().set_fault(fault);
        let examined = world.examine(&[]).await;
        let (state, _, remedy) = examined.only("analytics");
        assert_eq!((examined.exit, &*state), (Some(1), "fail"), "{fault:?}");
        assert!(remedy.contains(remedy_has), "{fault:?}: {remedy}");
        assert!(!examined.text.contains(Fault::BODY_MARK));
    }
    let world = World::new().await;
    let examined = world.examine(&[("CLOUDFLARE_ANALYTICS_TOKEN", "another-token")]).await;
    assert!(examined.only("analytics").2.contains("Account Analytics: Read"), "{}", examined.text);
}

#[tokio::test]
async fn each_turn_key_is_checked() {
    let world = World::new().await;
    world.cloudflare.add_key("key-us", "token-of-us-fixture");
    let two = [("CLOUDFLARE_TURN_KEYS", "us=key-us:token-of-us-fixture,eu=key-eu:token-of-eu-fixture")];
    let examined = world.examine(&two).await;
    let found = examined.of("provider");
    let found: Vec<_> = found.iter().map(|one| (one["subject"].clone(), one["state"].clone())).collect();
    let expected = [("cloudflare default", "ok"), ("cloudflare us", "ok"), ("cloudflare eu", "fail")];
    assert_eq!(found, expected.map(|(subject, state)| (subject.into(), state.into())));
    assert_eq!(examined.states("revoke"), ["ok", "ok"]);
    assert!(!examined.text.contains("token-of"), "{}", examined.text);
}

#[tokio::test]
async fn the_keys_of_users_are_fetched_and_counted() {
    let world = World::new().await;
    let issuer = FakeIssuer::start(&[Signer::es256().public("a"), Signer::ed_dsa().public("b")]).await;
    let url = issuer.url();
    let users = [("AUTH_JWKS_URL", url.as_str()), ("AUTH_ISSUER", "https://issuer.example/")];
    let (state, seen, _) = world.examine(&users).await.only("user-keys");
    assert_eq!((state.as_str(), seen.as_str()), ("ok", "keys that can verify a token: 2"));

    issuer.publish(&[json!({"kty": "oct", "k": "AAAA"})]);
    let (state, seen, remedy) = world.examine(&users).await.only("user-keys");
    assert!(state == "fail" && seen.contains("no key") && remedy.contains("RS256"), "{seen}: {remedy}");
    issuer.answer(StatusCode::NOT_FOUND, String::new());
    let (state, seen, remedy) = world.examine(&users).await.only("user-keys");
    assert!(state == "fail" && seen.contains("404") && remedy.contains("jwks_uri"), "{seen}: {remedy}");
    drop(issuer);
    let (state, seen, remedy) = world.examine(&users).await.only("user-keys");
    assert!(
        state == "fail" && seen.starts_with("no connection: ") && remedy.contains("connect"),
        "{seen}: {remedy}"
    );
    assert!(world.examine(&[]).await.of("user-keys").is_empty());
}

#[tokio::test]
async fn any_other_provider_is_asked_as_its_settings_say() {
    let list = r#"{"ttl":"900","iceServers":[{"urls":"turns:127.0.0.1:1","username":"u","credential":"c"}]}"#;
    for (reply, state, says) in [
        (Reply::Text(list), "ok", "minted a credential of 900 s"),
        (Reply::Status(401), "fail", "HTTP_ICE_AUTHORIZATION"),
        (Reply::Text("<html>"), "fail", "docs/OPERATE.md"),
    ] {
        let provider = FakeWebhook::start(&[reply]).await;
        let url = provider.url();
        let settings =
            [("ICE_SOURCES", "http"), ("HTTP_ICE_URL", url.as_str()), ("HTTP_ICE_TTL_SECONDS", "600")];
        let examined = doctor(&["--json"], &settings).await;
        let (found, seen, remedy) = examined.only("provider");
        assert_eq!(found, state, "{}", examined.text);
        assert!(format!("{seen} {remedy}").contains(says), "{}", examined.text);
        assert!(!examined.text.contains("hush"), "{}", examined.text);
        assert!(examined.of("revoke").is_empty(), "it takes no revocations");
    }
}

#[tokio::test]
async fn server_keys_are_listed_with_what_each_used() {
    const KEYS: (&str, &str) =
        ("SERVER_KEYS", "app=hush-0123456789-0123456789-0123456789,b=hush-b-0123456789-0123456789-01234");
    let broker = TestBroker::start(&[KEYS, ("SERVER_KEY_LIMITS", "app=5")]).await;
    let port = broker.address.port().to_string();
    let settings =
        [KEYS, ("HOST", "127.0.0.1"), ("PORT", &port), ("OPERATOR_TOKEN", OPERATOR), ("ICE_SOURCES", "stun")];
    let examined = doctor(&["--json"], &settings).await;
    for line in ["server key app: used 0.00 GB of 5.00 GB", "server key b: used 0.00 GB, no limit of its own"]
    {
        assert!(
            examined.of("configuration").iter().any(|one| one["seen"] == line),
            "{line}: {}",
            examined.text
        );
    }
    assert!(!examined.text.contains("hush"), "{}", examined.text);
}
