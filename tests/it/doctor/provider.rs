//! Findings of `turn-broker doctor` about a provider that does not mint, and about analytics that fail.

use turn_base::{Clock, SystemClock};

use super::{FakeWebhook, World, doctor};
use crate::support::prelude::*;

#[tokio::test]
async fn each_refusal_of_the_provider_has_a_remedy_and_the_other_checks_run() {
    for (fault, seen_has, remedy_has) in [
        (Fault::Unauthorized401, "401", "make a new key"),
        (Fault::NotFound404, "404", "Turn Token ID"),
        (Fault::MalformedJson, "not a list of ICE servers", "CLOUDFLARE_API_BASE"),
        (Fault::Hang, "no answer in time", ""),
    ] {
        let world = World::new().await;
        world.cloudflare.always(fault);
        let examined = world.examine(&[]).await;
        assert_eq!(examined.exit, Some(1), "{fault:?}");
        examined.assert_only("provider", "fail", seen_has, remedy_has);
        assert!(examined.of("turn").is_empty(), "{}", examined.text);
        examined.assert_only("analytics", "ok", "", "");
        assert!(!examined.text.contains(Fault::BODY_MARK), "{}", examined.text);
    }
    let world = World::new().await;
    world.cloudflare.stop().await;
    let examined = world.examine(&[]).await;
    assert_eq!(examined.exit, Some(1));
    let tls = examined.of("tls");
    assert!(tls.iter().all(|one| one["seen"].as_str().unwrap().contains("refused")), "{tls:?}");
    examined.assert_only("provider", "fail", "no connection: ", "");
    examined.assert_only("analytics", "fail", "", "CLOUDFLARE_ANALYTICS_BASE");
    examined.assert_only("clock", "skipped", "", "");
}

#[tokio::test]
async fn a_missing_cloudflare_key_is_a_warning_that_names_the_variables() {
    let examined = doctor(&["--json"], &[]).await;
    assert_eq!(examined.exit, Some(0), "{}", examined.text);
    for variable in ["CLOUDFLARE_TURN_KEY_ID", "CLOUDFLARE_TURN_API_TOKEN"] {
        examined.assert_only("provider", "warn", "Cloudflare TURN not configured", variable);
    }
    for skipped in ["tls", "clock", "analytics", "alerts"] {
        examined.assert_only(skipped, "skipped", "", "");
    }
}

#[tokio::test]
async fn what_reached_the_sfu_through_turn_is_in_both_data_sets() {
    let world = World::new().await;
    let at = SystemClock.now().minus(Duration::from_secs(300)).to_utc().to_rfc3339();
    world.cloudflare.analytics().relay("key-id", &at, 3_000_000_000, 0);
    world.cloudflare.analytics().sfu(SFU_APP, &at, 2_500_000_000, 0);
    world.cloudflare.analytics().sfu("another-app", &at, 400_000_000, 0);
    let sfu = [("SIGNALING", "sfu"), ("CALLS_APP_ID", SFU_APP), ("CALLS_APP_SECRET", SFU_SECRET)];
    let seen = "3.0000 GB with own keys, 2.5000 GB of the SFU (at most 2.5000 GB of it went through TURN and counts twice), 0.4000 GB";
    world.examine(&sfu).await.assert_only("analytics", "ok", seen, "");
    world.examine(&[]).await.assert_only("analytics", "ok", "3.0000 GB with own keys, 2.9000 GB", "");
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
        assert_eq!(examined.exit, Some(1), "{fault:?}");
        examined.assert_only("analytics", "fail", "", remedy_has);
        assert!(!examined.text.contains(Fault::BODY_MARK));
    }
    let world = World::new().await;
    let examined = world.examine(&[("CLOUDFLARE_ANALYTICS_TOKEN", "another-token")]).await;
    examined.assert_only("analytics", "fail", "", "Account Analytics: Read");
}

#[tokio::test]
async fn each_turn_key_is_checked() {
    let world = World::new().await;
    world.cloudflare.add_key("key-us", "token-of-us-fixture");
    let two = [("CLOUDFLARE_TURN_KEYS", "us=key-us:token-of-us-fixture,eu=key-eu:token-of-eu-fixture")];
    let examined = world.examine(&two).await;
    let found = examined.of("provider");
    let found: Vec<_> = found.iter().map(|one| json!([one["subject"], one["state"]])).collect();
    let expected = [
        json!(["cloudflare default", "ok"]),
        json!(["cloudflare us", "ok"]),
        json!(["cloudflare eu", "fail"]),
    ];
    assert_eq!(found, expected);
    assert_eq!(examined.states("revoke"), ["ok", "ok"]);
    assert!(!examined.text.contains("token-of"), "{}", examined.text);
}

#[tokio::test]
async fn the_keys_of_users_are_fetched_and_counted() {
    let world = World::new().await;
    let issuer = FakeIssuer::start(&[Signer::es256().public("a"), Signer::ed_dsa().public("b")]).await;
    let url = issuer.url();
    let users = [("AUTH_JWKS_URL", url.as_str()), ("AUTH_ISSUER", "https://issuer.example/")];
    let examine = async || world.examine(&users).await;
    examine().await.assert_only("user-keys", "ok", "keys that can verify a token: 2", "");
    issuer.publish(&[json!({"kty": "oct", "k": "AAAA"})]);
    examine().await.assert_only("user-keys", "fail", "no key", "RS256");
    issuer.answer(StatusCode::NOT_FOUND, String::new());
    examine().await.assert_only("user-keys", "fail", "404", "jwks_uri");
    drop(issuer);
    examine().await.assert_only("user-keys", "fail", "no connection: ", "connect");
    assert!(world.examine(&[]).await.of("user-keys").is_empty());
}

#[tokio::test]
async fn any_other_provider_is_asked_as_its_settings_say() {
    let list = r#"{"ttl":"900","iceServers":[{"urls":"turns:127.0.0.1:1","username":"u","credential":"c"}]}"#;
    for (reply, state, seen_has, remedy_has) in [
        (Reply::Text(list), "ok", "minted a credential of 900 s", ""),
        (Reply::Status(401), "fail", "", "HTTP_ICE_AUTHORIZATION"),
        (Reply::Text("<html>"), "fail", "", "docs/OPERATE.md"),
    ] {
        let provider = FakeWebhook::start(&[reply]).await;
        let url = provider.url();
        let settings =
            [("ICE_SOURCES", "http"), ("HTTP_ICE_URL", url.as_str()), ("HTTP_ICE_TTL_SECONDS", "600")];
        let examined = doctor(&["--json"], &settings).await;
        examined.assert_only("provider", state, seen_has, remedy_has);
        assert!(!examined.text.contains("hush"), "{}", examined.text);
        assert!(examined.of("revoke").is_empty(), "it takes no revocations");
    }
}

#[tokio::test]
async fn the_billing_day_is_compared_with_that_of_the_account() {
    let world = World::new().await;
    world.examine(&[]).await.assert_only("billing-day", "skipped", "answered 404", "");
    let cycle = |day: u32, end| json!({"billing_cycle_anchor_timestamp": format!("2025-01-{day:02}T00:00:00Z"), "end_timestamp": end});
    let subscriptions = json!([cycle(9, Some("2025-02-09T00:00:00Z")), cycle(17, None)]);
    world
        .cloudflare
        .bills(&json!({"result": {"covered": true, "subscriptions": subscriptions}, "success": true}));
    let examined = world.examine(&[]).await;
    examined.assert_only("billing-day", "warn", "on day 17, and BILLING_DAY is 1", "set BILLING_DAY to 17");
    let examined = world.examine(&[("BILLING_DAY", "17")]).await;
    examined.assert_only("billing-day", "ok", "day 17", "");
    world.cloudflare.bills(&json!([]));
    world.examine(&[]).await.assert_only("billing-day", "skipped", "no billing cycle", "");
}
