//! Tests of operator overrides while the service runs.

use crate::support::prelude::*;

/// The id in a grant token, as the log and the list of connections show it.
#[tokio::test]
async fn a_lowered_or_raised_limit_takes_effect_at_once() {
    let (_cloudflare, broker) = with_cloudflare_and(&[("ESTIMATED_MBPS_PER_CONNECTION", "800")]).await;
    broker.open(REPORTER, "c").await;
    broker.advance(10);
    let lowered = broker.set_limit(0.5).await;
    assert_eq!(lowered.status, 200);
    let status = lowered.json();
    assert_eq!(json!([status["bandwidthLimitGB"], status["status"]]), json!([0.5, "LIMIT_EXCEEDED"]));
    assert_eq!(broker.mint().await.error(), (429, "BUDGET_EXHAUSTED"));
    broker.set_limit(2).await;
    assert_eq!(broker.mint().await.status, 200);
    let back = broker.set_limit(Value::Null).await;
    assert_eq!(back.json()["bandwidthLimitGB"], 1000);
}

#[tokio::test]
async fn an_invalid_order_changes_nothing_and_names_the_field_without_its_value() {
    let broker = TestBroker::start(&[]).await;
    let number = "Set `limitGB` to a number from 0 to 1000000";
    for (call, body, expected) in [
        ("limit", json!({}), ""),
        ("limit", json!({"limitGB": -1}), ""),
        ("limit", json!({"limitGB": 1_000_001}), ""),
        ("limit", json!({"limitGB": "5, expected secret"}), number),
        ("freeze", json!({"frozen": "x, expected secret"}), "Set `frozen` to a boolean"),
    ] {
        let answer = broker.post(OPERATOR, &format!("/api/budget/{call}"), body.clone()).await;
        assert_eq!(answer.error(), (400, "INVALID_REQUEST"), "{body}");
        let message = answer.json()["message"].as_str().unwrap().to_owned();
        assert!(message.starts_with(expected) && !message.contains("secret"), "{message}");
    }
    let status = broker.status().await;
    assert_eq!(json!([status["bandwidthLimitGB"], status["frozen"]]), json!([1000, false]));
}

#[tokio::test]
async fn the_kill_switch_stops_minting_until_it_is_switched_back() {
    let (cloudflare, broker) = with_cloudflare().await;
    let frozen = broker.freeze(true).await.json();
    assert_eq!(frozen["frozen"], true);
    assert!(frozen["hints"].as_array().unwrap().iter().any(|hint| hint["code"] == "DISABLED"));
    let answer = broker.mint().await.json();
    assert_eq!(json!([answer["source"], answer["reason"]]), json!(["stun", "DISABLED"]));
    assert_eq!(cloudflare.history().mints(), 0);
    let thawed = broker.freeze(false).await.json();
    assert_eq!(thawed["frozen"], false);
    assert_eq!(broker.mint().await.json()["source"], "cloudflare");
}

#[tokio::test]
async fn a_grant_that_is_revoked_during_its_renewal_is_not_renewed() {
    let settings = [("RATE_LIMIT_REQUESTS", "1"), ("TURN_TTL_SECONDS", "3600")];
    let (cloudflare, broker) = with_cloudflare_and(&settings).await;
    let grant = broker.grant().await;
    broker.advance(2_700);
    cloudflare.next(Fault::Held);
    let renewal = broker.request(reqwest::Method::GET, "/api/turn-credentials").bearer_auth(&grant);
    let renewal = tokio::spawn(Answer::of(renewal));
    let is_asked = async || cloudflare.history().mints() == 2;
    eventually("the provider is being asked", is_asked).await;
    let revoked = broker.revoke(&grant).await.json();
    assert_eq!(revoked["revoked"], true);
    cloudflare.release();
    let answer = renewal.await.unwrap().json();
    assert_eq!(answer["source"], "stun", "{answer}");
}

#[tokio::test]
async fn a_mint_whose_user_label_key_or_address_is_revoked_meanwhile_is_not_handed_out() {
    let key = "app-fixture-key-0123456789-0123456789";
    let keys = format!("app={key}");
    let settings = [USERS, ("SERVER_KEYS", keys.as_str()), ("RATE_LIMIT_REQUESTS", "100")];
    let (cloudflare, broker) = with_cloudflare_and(&settings).await;
    let ann = user_token("ann");
    let cases = [
        (Method::POST, "/api/revoke?user=ann", Some(&*ann)),
        (Method::DELETE, "/api/users/ann", Some(&*ann)),
        (Method::POST, "/api/revoke?label=room-1", None),
        (Method::POST, "/api/revoke?address=127.0.0.1", None),
        (Method::POST, "/api/revoke?key=app", Some(key)),
        (Method::POST, "/api/addresses/127.0.0.1/block", None),
    ];
    for (method, path, token) in cases {
        let before = cloudflare.history().mints();
        cloudflare.next(Fault::Held);
        let mint = broker.request(Method::GET, "/api/turn-credentials?label=room-1");
        let mint =
            tokio::spawn(Answer::of(token.into_iter().fold(mint, reqwest::RequestBuilder::bearer_auth)));
        eventually("the provider is being asked", async || cloudflare.history().mints() == before + 1).await;
        assert_eq!(broker.order(Method::POST, "/api/revoke?user=bob").await.status, 200);
        assert_eq!(broker.order(method, path).await.status, 200, "{path}");
        cloudflare.release();
        assert_ne!(mint.await.unwrap().json()["source"], "cloudflare", "{path}");
        let live = broker.operator("/api/grants?live=true").await.json();
        assert_eq!(live["grants"], json!([]), "{path}");
        broker.order(Method::DELETE, "/api/addresses/127.0.0.1/block").await;
    }
    assert_eq!(broker.get_as(&ann, "/api/turn-credentials").await.json()["source"], "cloudflare");
}

#[tokio::test]
async fn a_revocation_calls_the_provider_reports_the_result_and_releases_nothing() {
    let (cloudflare, broker) = with_cloudflare().await;
    let token = broker.grant().await;
    broker.open(&token, "c").await;
    let listed = broker.operator("/api/connections").await.json();
    let id = listed["connections"][0]["grant"].as_str().unwrap();
    let before = broker.status().await;
    let revoked = broker.revoke(id).await.json();
    assert_eq!(json!([revoked["grant"], revoked["provider"]]), json!([id, "revoked"]));
    assert_eq!(json!([revoked["revoked"], revoked["reservationReleased"]]), json!([true, false]));
    assert_eq!(revoked["expiresAt"], "2025-01-16T12:00:00.000Z");
    assert!(revoked["message"].as_str().unwrap().contains("may continue"));
    assert_eq!(broker.status().await["reservedGB"], before["reservedGB"]);
    let (username, _) = cloudflare.history().last_credential();
    let asked =
        cloudflare.history().requests().into_iter().filter(|request| request.path.ends_with("/revoke"));
    assert_eq!(
        asked.map(|request| request.path).collect::<Vec<_>>(),
        [format!("/v1/turn/keys/key-id/credentials/{username}/revoke")]
    );

    // A token is accepted like an id. The provider does not know the credential any more.
    assert_eq!(broker.revoke(&token).await.json()["provider"], "unknown");
}

#[tokio::test]
async fn a_wrong_api_token_is_not_taken_for_an_unknown_credential() {
    let (cloudflare, broker) = with_cloudflare().await;
    let token = broker.grant().await;
    cloudflare.always(Fault::NotFound404);
    assert_eq!(broker.revoke(&token).await.json()["provider"], "failed");
    cloudflare.heal();
    assert_eq!(broker.revoke(&token).await.json()["provider"], "revoked");
}

#[tokio::test]
async fn a_revocation_is_recorded_even_if_the_provider_cannot_be_reached_or_refuses() {
    let (cloudflare, broker) = with_cloudflare_and(&[("RATE_LIMIT_REQUESTS", "1")]).await;
    let token = broker.grant().await;
    for (fault, said) in [
        (Fault::ResetBeforeAnswer, "the source could not be reached"),
        (Fault::Forbidden1010, "the source did not accept the revocation (status 403)"),
    ] {
        cloudflare.always(fault);
        let revoked = broker.revoke(&token).await.json();
        assert_eq!(json!([revoked["provider"], revoked["revoked"]]), json!(["failed", true]));
        assert!(revoked["message"].as_str().unwrap().contains(said), "{revoked}");
    }
    cloudflare.heal();
    broker.advance(80_000);
    let renewal = broker.request(reqwest::Method::GET, "/api/turn-credentials").bearer_auth(&token);
    broker.mint().await;
    assert_eq!(Answer::of(renewal).await.status, 429);
}

#[tokio::test]
async fn an_unknown_or_expired_credential_cannot_be_revoked() {
    let (_cloudflare, broker) = with_cloudflare().await;
    let token = broker.grant().await;
    for name in ["AAAAAAAAAAAAAAAAAAAAAA", "nonsense"] {
        assert_eq!(broker.revoke(name).await.error(), (404, "NOT_FOUND"));
    }
    broker.advance(86_401);
    broker.app.account.tidy().await;
    assert_eq!(broker.revoke(&token).await.status, 404);
}
