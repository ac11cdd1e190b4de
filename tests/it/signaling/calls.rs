//! What a call means for the ledger and for the operator: connections and revocations of its members, the list of calls, and
//! the end of a room. Over Ayame, since every protocol uses the same code.

use crate::support::prelude::*;

const RELAY: [(&str, &str); 5] = [
    ("SIGNALING", "ayame"),
    ("ICE_SOURCES", "relay"),
    ("RELAY_LISTEN", "127.0.0.1:0"),
    ("BANDWIDTH_LIMIT_GB", "1000"),
    ("BUDGET_MODE", "strict"),
];

async fn with_relay() -> TestBroker {
    TestBroker::start(&RELAY).await
}

async fn join(broker: &TestBroker, room: &str) -> SocketClient {
    let mut socket = SocketClient::open(broker.address, "/signaling", &[]).await.unwrap();
    socket.send_json(&json!({"type": "register", "roomId": room})).await;
    assert_eq!(socket.next_json().await["type"], "accept");
    socket
}

async fn calls(broker: &TestBroker) -> Value {
    broker.operator("/api/calls-live").await.json()
}

async fn end(broker: &TestBroker, room: &str) -> Answer {
    broker.post(OPERATOR, &format!("/api/rooms/{room}/end"), json!({})).await
}

/// The grants of a room that are revoked, and all of them.
async fn grants(broker: &TestBroker, room: &str) -> (usize, usize) {
    let page = broker.operator(&format!("/api/grants?call=ayame/{room}")).await.json();
    let rows = page["grants"].as_array().unwrap();
    (rows.iter().filter(|grant| !grant["revokedAt"].is_null()).count(), rows.len())
}

#[tokio::test]
async fn the_operator_sees_who_is_in_which_call() {
    let broker = with_relay().await;
    assert_eq!(calls(&broker).await, json!({"calls": [], "total": 0}));
    // For so long the sums of the first list are kept.
    broker.advance(10);
    let _b = join(&broker, "b").await;
    let _a = (join(&broker, "a").await, join(&broker, "a").await);
    let found = calls(&broker).await;
    assert_eq!(found["total"], 2);
    let rooms: Vec<_> = found["calls"].as_array().unwrap().iter().map(|call| &call["room"]).collect();
    assert_eq!(rooms, ["a", "b"], "sorted");
    let call = &found["calls"][0];
    assert_eq!(json!([call["protocol"], call["connected"]]), json!(["ayame", false]));
    assert_eq!(call["startedAt"], "2025-01-15T12:00:10.000Z");
    let members = call["members"].as_array().unwrap();
    assert_eq!(members.len(), 2);
    for member in members {
        assert_eq!((&member["user"], &member["joinedAt"]), (&Value::Null, &call["startedAt"]));
        assert_eq!(member["grants"].as_array().unwrap().len(), 1);
    }
    assert_eq!(call["bytes"], 0);
}

#[tokio::test]
async fn a_connected_member_has_a_connection_until_it_leaves() {
    let broker = with_relay().await;
    let (mut a, b) = (join(&broker, "r").await, join(&broker, "r").await);
    a.send(r#"{"type":"connected"}"#).await;
    let open = async || broker.operator("/api/connections").await.json();
    eventually("two connections", async || open().await["total"] == 2).await;
    assert_eq!(calls(&broker).await["calls"][0]["connected"], true);
    assert!(open().await["connections"].as_array().unwrap().iter().all(|row| row["grant"].is_string()));
    a.close().await;
    eventually("no connection", async || open().await["total"] == 0).await;
    eventually("both are revoked", async || grants(&broker, "r").await == (2, 2)).await;
    drop(b);
}

/// As in `GET /api/spenders`, and with those who have left. A connection that reports no bytes is charged by time.
#[tokio::test]
async fn the_list_says_what_the_grants_of_a_room_have_used() {
    let broker = with_relay().await;
    let (mut a, b) = (join(&broker, "r").await, join(&broker, "r").await);
    a.send(r#"{"type":"connected"}"#).await;
    let open = async || broker.operator("/api/connections").await.json();
    eventually("two connections", async || open().await["total"] == 2).await;
    broker.advance(8);
    b.close().await;
    eventually("both are revoked", async || grants(&broker, "r").await == (2, 2)).await;
    let _next = join(&broker, "r").await;
    let used = 2 * 8 * 250_000;
    assert_eq!(calls(&broker).await["calls"][0]["bytes"], used);
    let spenders = broker.operator("/api/spenders?by=call").await.json();
    let row = &spenders["spenders"][0];
    assert_eq!(json!([row["key"], row["bytes"]]), json!(["ayame/r", used]));
}

#[tokio::test]
async fn at_cloudflare_leaving_revokes_and_releases_nothing() {
    let (cloudflare, broker) = with_cloudflare_and(&[
        ("SIGNALING", "ayame"),
        ("BUDGET_MODE", "strict"),
        ("BANDWIDTH_LIMIT_GB", "5000"),
    ])
    .await;
    let (a, _b) = (join(&broker, "r").await, join(&broker, "r").await);
    let before = broker.reserved_gb().await;
    a.close().await;
    eventually("Cloudflare is asked", async || cloudflare.history().revoked() == 2).await;
    assert_eq!(grants(&broker, "r").await, (2, 2));
    assert!((broker.reserved_gb().await - before).abs() < 0.1);
}

#[tokio::test]
async fn cloudflare_is_asked_until_it_has_answered_for_those_who_left() {
    let (cloudflare, broker) = with_cloudflare_and(&[("SIGNALING", "ayame")]).await;
    let (a, _b) = (join(&broker, "r").await, join(&broker, "r").await);
    cloudflare.always(Fault::ServerErrorHtml(503));
    a.close().await;
    eventually("it fails", async || broker.overview().await["ending"]["left"] == 2).await;
    cloudflare.heal();
    broker.advance(10);
    eventually("it is asked again", async || cloudflare.history().revoked() == 2).await;
    eventually("none is left", async || broker.overview().await["ending"]["left"] == 0).await;
}

#[tokio::test]
async fn at_a_shutdown_cloudflare_is_asked_for_the_members_of_all_calls() {
    let (cloudflare, broker) = with_cloudflare_and(&[("SIGNALING", "ayame")]).await;
    let [mut a, mut b] = [join(&broker, "r").await, join(&broker, "s").await];
    cloudflare.always(Fault::Latency(Duration::from_millis(300)));
    broker.shut_down();
    a.closed().await;
    b.closed().await;
    broker.finish().await;
    assert_eq!(cloudflare.history().revoked(), 2);
}

#[tokio::test]
async fn the_name_of_a_room_is_not_in_the_log() {
    const ROOM: &str = "c0ffee-nobody-guesses-this";
    let (log, _logging) = Log::of_this_thread();
    let broker = with_relay().await;
    let (_a, _b) = (join(&broker, ROOM).await, join(&broker, ROOM).await);
    assert_eq!(end(&broker, ROOM).await.status, 200);
    let text = log.text();
    assert!(text.contains("the operator has ended a room"), "{text}");
    let lines: Vec<_> =
        text.lines().filter(|line| line.contains(ROOM) && line.contains("turn_broker")).collect();
    assert!(lines.is_empty(), "{lines:?}");
}

#[tokio::test]
async fn the_operator_ends_a_room_and_no_other() {
    let broker = with_relay().await;
    let (mut a, _b) = (join(&broker, "r").await, join(&broker, "r").await);
    let _other = join(&broker, "s").await;
    let ended = end(&broker, "r").await;
    assert_eq!(
        ended.json(),
        json!({"room": "r", "ended": [{"protocol": "ayame", "members": 2}], "revoked": 2})
    );
    a.closed().await;
    assert_eq!((grants(&broker, "r").await, grants(&broker, "s").await), ((2, 2), (0, 1)));
    assert_eq!(calls(&broker).await["total"], 1);
    let again = end(&broker, "r").await;
    assert_eq!((again.status, again.json()["code"].as_str()), (StatusCode::NOT_FOUND, Some("NOT_FOUND")));
}

#[tokio::test]
async fn calls_go_on_while_the_budget_is_frozen() {
    let broker = with_relay().await;
    assert_eq!(broker.freeze(true).await.status, StatusCode::OK);
    let (mut a, b) = (join(&broker, "r").await, join(&broker, "r").await);
    a.send(r#"{"type":"connected"}"#).await;
    let call = &calls(&broker).await["calls"][0];
    assert_eq!(json!([call["members"][0]["grants"], call["bytes"]]), json!([[], null]));
    b.close().await;
    eventually("the call is over", async || calls(&broker).await["total"] == 0).await;
}
