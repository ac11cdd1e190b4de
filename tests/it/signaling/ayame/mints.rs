//! What a member gets, and what it costs.

use super::*;

#[tokio::test]
async fn each_member_gets_its_own_credential_and_the_third_costs_nothing() {
    let (cloudflare, broker) = with_ayame(&[("SIGNALING_TTL_SECONDS", "600")]).await;
    let (mut a, first) = joined(&broker, "r").await;
    let credential = |accept: &Value| {
        let servers = accept["iceServers"].as_array().unwrap();
        assert!(servers.iter().all(|server| server["urls"].is_array()), "{servers:?}");
        let turn = servers.iter().find(|server| server["username"].is_string()).unwrap().clone();
        (turn["username"].as_str().unwrap().to_owned(), turn["credential"].as_str().unwrap().to_owned())
    };
    assert_eq!(credential(&first), cloudflare.history().last_credential());
    let (mut b, second) = joined(&broker, "r").await;
    assert_eq!(credential(&second), cloudflare.history().last_credential());
    assert_ne!(credential(&first), credential(&second));

    let (mut third, answer) = registered(&broker, &register("r")).await;
    assert_eq!(answer, json!({"type": "reject", "reason": "full"}));
    assert_eq!(third.next().await, closed(1000, "room full"));
    let history = cloudflare.history();
    assert_eq!((history.mints(), history.requests()[0].ttl), (2, Some(600)));
    let grants = broker.operator("/api/grants?call=ayame/r").await.json();
    let calls: Vec<_> = grants["grants"].as_array().unwrap().iter().map(|grant| &grant["call"]).collect();
    assert_eq!(calls, ["ayame/r", "ayame/r"]);
    let by_call = broker.operator("/api/spenders?by=call").await.json();
    assert_eq!(
        json!([by_call["spenders"][0]["key"], by_call["spenders"][0]["grants"]]),
        json!(["ayame/r", 2])
    );

    a.send(r#"{"type":"candidate","n":1}"#).await;
    assert_eq!(next(&mut b).await, text(r#"{"type":"candidate","n":1}"#), "the pair is undisturbed");
}

#[tokio::test]
async fn without_a_credential_a_member_gets_stun_servers() {
    for settings in [("TURN_ENABLED", "false"), ("RATE_LIMIT_REQUESTS", "1")] {
        let (cloudflare, broker) = with_ayame(&[settings]).await;
        joined(&broker, "other").await;
        let (_socket, accept) = joined(&broker, "r").await;
        let servers = accept["iceServers"].as_array().unwrap();
        assert!(!servers.is_empty());
        for server in servers {
            assert!(server["urls"][0].as_str().unwrap().starts_with("stun:"), "{server}");
            assert_eq!(server.get("credential"), None);
        }
        assert!(cloudflare.history().mints() <= 1, "{settings:?}");
    }
}
