//! Rooms of the SFU as calls: whose credentials are whose, what the operator sees, and how a room ends.

use crate::support::prelude::*;

use super::{Page, sent, start};

const ICE_SERVERS: &str = "/partytracks/generate-ice-servers";

async fn with_coturn(settings: &[(&str, &str)]) -> (FakeSfu, TestBroker) {
    start(&[&COTURN[..], settings].concat()).await
}

/// Mints, and returns the calls that have grants, with their number.
async fn mint(broker: &TestBroker, path: &str, headers: &[(&str, &str)]) -> Vec<(Value, u64)> {
    let address = headers.iter().find(|(name, _)| *name == "from").map_or("203.0.113.1", |(_, from)| *from);
    let headers = headers.iter().filter(|(name, _)| *name != "from");
    let request = sent(broker, Method::GET, path, address);
    let answer =
        Answer::of(headers.fold(request, |request, (name, value)| request.header(*name, *value))).await;
    assert!(answer.text.contains("username"), "{}", answer.text);
    let grants = broker.operator("/api/grants").await.json();
    let mut calls = BTreeMap::<String, u64>::new();
    let minted = grants["grants"].as_array().unwrap().iter().filter(|grant| grant["source"] != "sfu");
    for call in minted.filter_map(|grant| grant["call"].as_str()) {
        *calls.entry(call.to_owned()).or_default() += 1;
    }
    calls.into_iter().map(|(call, count)| (json!(call), count)).collect()
}

#[tokio::test]
async fn a_mint_that_names_its_room_belongs_to_that_call() {
    let (_sfu, broker) = with_coturn(&[]).await;
    let path = format!("{ICE_SERVERS}?correlationId=blue");
    assert_eq!(mint(&broker, &path, &[]).await, [(json!("sfu/blue"), 1)]);
    let found = mint(&broker, ICE_SERVERS, &[("x-realtime-room", "red")]).await;
    assert_eq!(found, [(json!("sfu/blue"), 1), (json!("sfu/red"), 1)]);
}

#[tokio::test]
async fn a_token_decides_the_room_of_a_mint() {
    let (_sfu, broker) = with_coturn(&[USERS]).await;
    let claims = json!({ "sub": "ann", "exp": 1_736_942_400 + 600, "room": "red" });
    let bearer = format!("Bearer {}", sign(&claims));
    let path = format!("{ICE_SERVERS}?correlationId=blue");
    assert_eq!(mint(&broker, &path, &[("authorization", &bearer)]).await, [(json!("sfu/red"), 1)]);
}

#[tokio::test]
async fn a_mint_of_partytracks_belongs_to_the_only_call_whose_lock_its_browser_has() {
    let (_sfu, broker) = with_coturn(&[]).await;
    let (a, b) = (Page::join(&broker, "blue").await, Page::join(&broker, "red").await);
    let [a, b] = [a.cookie.unwrap(), b.cookie.unwrap()];
    let of_a = mint(&broker, ICE_SERVERS, &[("cookie", &a), ("from", "203.0.113.9")]).await;
    assert_eq!(of_a, [(json!("sfu/blue"), 1)], "also from another address");
    assert_eq!(mint(&broker, ICE_SERVERS, &[]).await, of_a, "an address proves nothing");
    let both = format!("{a}; {b}");
    assert_eq!(mint(&broker, ICE_SERVERS, &[("cookie", &both)]).await, of_a, "two rooms are not certain");
    broker.advance(30);
    eventually("both have left their calls", async || {
        broker.operator("/api/calls-live").await.json()["total"] == 0
    })
    .await;
    assert_eq!(mint(&broker, ICE_SERVERS, &[("cookie", &a)]).await, of_a, "it is in no call any more");
}

#[tokio::test]
async fn the_operator_sees_the_sessions_of_a_room_and_ends_them_by_force() {
    let (sfu, broker) = start(&[]).await;
    let [a, b] = Page::of_room(&broker, "r").await;
    let other = Page::join(&broker, "s").await;
    for page in [&a, &other] {
        page.push().await;
    }
    assert_eq!(b.pull(&a).await.status, 200);
    let calls = async || broker.operator("/api/calls-live").await.json();
    let found = calls().await;
    assert_eq!(found["total"], 2);
    let call = &found["calls"][0];
    assert_eq!(json!([call["protocol"], call["room"]]), json!(["sfu", "r"]));
    assert_eq!(call["connected"], true);
    let members: Vec<_> = call["members"].as_array().unwrap().iter().map(|row| &row["id"]).collect();
    assert_eq!(members, [&json!(a.session), &json!(b.session)]);
    let grants = broker.operator("/api/grants").await.json()["grants"].as_array().unwrap().clone();
    let of_session = |session: &str| json!([turn_ledger::GrantId::of_session(session).to_string()]);
    for (member, page) in call["members"].as_array().unwrap().iter().zip([&a, &b]) {
        assert_eq!(member["grants"], of_session(&page.session));
        assert!(grants.iter().any(|grant| grant["id"] == member["grants"][0]), "{member}");
    }
    assert_eq!(broker.status().await["activeConnections"], 1, "one session pulls");

    let ended = broker.post(OPERATOR, "/api/rooms/r/end", json!({})).await;
    let expected = json!({ "room": "r", "ended": [{ "protocol": "sfu", "members": 2 }], "revoked": 0 });
    assert_eq!(ended.json(), expected);
    assert_eq!(b.pull(&a).await.status, 410, "at once, while its tracks are closed");
    let left = async || sfu.tracks(&a.session) + sfu.tracks(&b.session);
    eventually("both are closed", async || left().await == 0).await;
    for request in sfu.requests("/tracks/close") {
        let body: Value = serde_json::from_slice(&request.body).unwrap();
        assert_eq!(body, json!({ "tracks": [{ "mid": "0" }], "force": true }));
    }
    assert_eq!(sfu.tracks(&other.session), 1);
    broker.advance(30);
    eventually("they have left", async || calls().await["total"] == 1).await;
}
