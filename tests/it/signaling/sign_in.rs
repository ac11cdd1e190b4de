//! Sign-in: the user's token at each protocol. What Ayame does with the token of a `register` is tested in `turn_signaling::ayame`.

use super::assert_next;
use crate::support::prelude::*;

/// The time of [`TestBroker::start`].
const NOW: i64 = 1_736_942_400;
const REQUIRED: [(&str, &str); 2] = [USERS, ("AUTH_REQUIRED", "true")];
const AYAME: &str = "/signaling?roomId=r";
/// The paths of the protocols whose token comes with the request.
const OTHERS: [&str; 4] = [
    "/peerjs?key=peerjs&id=a",
    "/peerjs/peerjs?key=peerjs&id=b",
    "/yjs?of=the-page",
    "/parties/rooms/r?_pk=a",
];
/// What `PeerJS` sends unless the page has a token.
const RANDOM: &str = "k3j5h2z9x1";
const USER: &str = "cf-access-authenticated-user-email";

async fn start(settings: &[(&str, &str)]) -> TestBroker {
    let base = [
        ("SIGNALING", "ayame,peerjs,yjs,rooms,p2pcf"),
        ("USER_HEADER", USER),
        ("ICE_SOURCES", "relay"),
        ("RELAY_LISTEN", "127.0.0.1:0"),
    ];
    TestBroker::start(&[&base, settings].concat()).await
}

fn expired() -> String {
    sign(&json!({"sub": "ann", "exp": NOW - 60}))
}

fn forged() -> String {
    let claims = json!({"sub": "ann", "exp": NOW + 3_600});
    Signer::hs256("another-secret-of-at-least-32-characters").sign(None, &claims)
}

async fn open(broker: &TestBroker, path: &str, token: &str) -> Result<SocketClient, (u16, String)> {
    SocketClient::open(broker.address, &format!("{path}&token={token}"), &[]).await
}

async fn open_with_header(
    broker: &TestBroker,
    path: &str,
    token: &str,
) -> Result<SocketClient, (u16, String)> {
    let bearer = format!("Bearer {token}");
    SocketClient::open(broker.address, path, &[("authorization", &bearer)]).await
}

/// The first frame of a socket of Ayame after its `register` with this key.
async fn registered(broker: &TestBroker, room: &str, key: Option<&str>) -> (SocketClient, Value) {
    let mut socket = SocketClient::open(broker.address, "/signaling", &[]).await.unwrap();
    socket.send_json(&json!({"type": "register", "roomId": room, "key": key})).await;
    let first = socket.next_json().await;
    (socket, first)
}

fn closed(code: u16, reason: &str) -> (u16, String) {
    (code, reason.to_owned())
}

/// A socket opens, and is closed with this code and reason.
async fn assert_closed(opened: Result<SocketClient, (u16, String)>, code: u16, reason: &str) {
    assert_eq!(opened.unwrap().closed().await, closed(code, reason));
}

async fn block(broker: &TestBroker, user: &str) {
    let blocked = broker.post(OPERATOR, &format!("/api/users/{user}/block"), json!({})).await;
    assert_eq!(blocked.status, StatusCode::OK);
}

/// A publish of P2PCF.
fn publish() -> Value {
    let dtls = "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=";
    let now = NOW * 1_000;
    json!({"r": "room-1", "k": "context", "d": ["session", "client", false, dtls, now, []], "t": now, "x": 120_000, "p": []})
}

async fn post(broker: &TestBroker, token: Option<&str>) -> Answer {
    let path = token.map_or("/p2pcf".to_owned(), |token| format!("/p2pcf?token={token}"));
    Answer::of(broker.request(Method::POST, &path).json(&publish())).await
}

#[tokio::test]
async fn a_bad_token_closes_every_socket_also_where_none_is_needed() {
    for settings in [&[USERS][..], &REQUIRED] {
        let broker = start(settings).await;
        let tokens = [expired(), forged()];
        let paths = OTHERS.into_iter().chain([AYAME]);
        let pairs = paths.flat_map(|path| tokens.each_ref().map(|token| (path, token)));
        // Each takes a second.
        let refused = pairs.map(async |(path, token)| {
            assert_closed(open(&broker, path, token).await, 1008, "INVALID_TOKEN").await;
            assert_closed(open_with_header(&broker, path, token).await, 1008, "INVALID_TOKEN").await;
        });
        join_all(refused).await;
    }
}

/// The longest valid token with up to 8,000 bytes, and the shortest one with more.
fn longest_and_too_long() -> (String, String) {
    let tokens = (5_000..).map(|n| sign(&json!({"sub": "ann", "exp": NOW + 3_600, "pad": "x".repeat(n)})));
    let mut around = tokens.skip_while(|token| token.len() < 7_996).take(8).collect::<Vec<_>>();
    let too_long = around.iter().position(|token| token.len() > 8_000).unwrap();
    let too_long = around.remove(too_long);
    (around.into_iter().rfind(|token| token.len() <= 8_000).unwrap(), too_long)
}

#[tokio::test]
async fn a_token_has_up_to_8000_bytes_in_each_protocol() {
    let broker = start(&REQUIRED).await;
    let (longest, too_long) = longest_and_too_long();
    for path in OTHERS.into_iter().chain([AYAME]) {
        assert!(open(&broker, path, &longest).await.is_ok(), "{path}");
        assert_closed(open(&broker, path, &too_long).await, 1008, "INVALID_TOKEN").await;
    }
    let (_socket, accepted) = registered(&broker, "r", Some(&longest)).await;
    assert_eq!(accepted["type"], "accept");
    let (_socket, refused) = registered(&broker, "s", Some(&too_long)).await;
    assert_eq!(json!([refused["type"], refused["reason"]]), json!(["reject", "INVALID_TOKEN"]));
    assert_eq!(post(&broker, Some(&longest)).await.status, 200);
    assert_eq!(post(&broker, Some(&too_long)).await.error(), (401, "INVALID_TOKEN"));
    assert_eq!(broker.mint_with(&longest).await.status, 200);
    let refused = broker.mint_with(&too_long).await;
    assert_eq!(refused.error(), (401, "INVALID_TOKEN"));
    assert!(refused.text.contains("it has more than 8,000 bytes"), "{}", refused.text);
}

#[tokio::test]
async fn a_token_that_is_no_jwt_counts_as_none() {
    let broker = start(&REQUIRED).await;
    for path in [OTHERS[2], OTHERS[3]] {
        let refusals = [
            open(&broker, path, RANDOM).await,
            open_with_header(&broker, path, RANDOM).await,
            SocketClient::open(broker.address, &format!("{path}&token=t"), &[(USER, "ann")]).await,
        ];
        for refused in refusals {
            let (status, body) = refused.err().unwrap();
            assert!(status == 401 && body.contains(r#""code":"UNAUTHORIZED""#), "{path}: {status} {body}");
            assert!(body.contains("Send a token of your sign-in"), "{path}: {body}");
        }
    }
    let id = broker.get("/peerjs/id").await;
    assert_eq!((id.status.as_u16(), id.text.len()), (200, 36), "PeerJS asks for its id without a token");

    let broker = start(&[USERS]).await;
    for path in [OTHERS[0], OTHERS[1], OTHERS[2]] {
        assert!(open(&broker, path, RANDOM).await.is_ok(), "{path}");
    }
    let broker = start(&[]).await;
    assert!(open(&broker, OTHERS[0], &expired()).await.is_ok(), "nobody can sign in");
}

#[tokio::test]
async fn a_user_opens_every_socket() {
    let broker = start(&REQUIRED).await;
    let token = sign(&json!({"sub": "ann", "exp": NOW + 3_600, "groups": "g".repeat(2_000)}));
    for path in [OTHERS[0], OTHERS[1]] {
        assert_next(&mut open(&broker, path, &token).await.unwrap(), r#"{"type":"OPEN"}"#).await;
    }
    for mut socket in [
        open(&broker, OTHERS[2], &token).await.unwrap(),
        open_with_header(&broker, OTHERS[2], &token).await.unwrap(),
    ] {
        socket.send(r#"{"type":"ping"}"#).await;
        assert_next(&mut socket, r#"{"type":"pong"}"#).await;
    }
    for (path, socket) in [
        ("query", open(&broker, AYAME, &token).await),
        ("header", open_with_header(&broker, AYAME, &token).await),
    ] {
        let mut socket = socket.unwrap();
        socket.send_json(&json!({"type": "register", "roomId": "r", "key": "not a token"})).await;
        assert_eq!(socket.next_json().await["type"], "accept", "{path}");
    }
}

#[tokio::test]
async fn a_name_in_a_room_is_that_of_the_token() {
    let broker = start(&[USERS]).await;
    let path = format!("{}&token={}", OTHERS[3], user_token("ann"));
    let spoofed = [(USER, "eve"), ("cookie", "turn-broker-room-user=eve")];
    let mut ann = SocketClient::open(broker.address, &path, &spoofed).await.unwrap();
    assert_eq!(ann.next_json().await["state"]["users"][0]["name"], "ann");
    let mut eve = SocketClient::open(broker.address, OTHERS[3], &[(USER, "eve")]).await.unwrap();
    assert_eq!(eve.next_json().await["error"], "USER_ID_TAKEN");
    let mut again = SocketClient::open(broker.address, &path, &[]).await.unwrap();
    assert_eq!(again.next_json().await["type"], "roomState", "partysocket comes back with the same id");
}

#[tokio::test]
async fn with_rooms_of_tokens_a_page_names_no_room_of_the_sfu() {
    let sfu = FakeSfu::start().await;
    let url = sfu.url();
    let base = sfu_at(&url);
    for (rooms, without_claim) in [("any", 201), ("token", 403)] {
        let broker = TestBroker::start(&[&base[..], &[USERS, ("SFU_ROOMS", rooms)]].concat()).await;
        let open = async |token: Option<&str>, query: &str| {
            let request = broker.request(Method::POST, &format!("/partytracks/sessions/new{query}"));
            let request = token.iter().fold(request, RequestBuilder::bearer_auth);
            Answer::of(request).await
        };
        let (ann, of_room) = (user_token("ann"), sign(&json!({"sub": "ann", "exp": NOW + 60, "room": "r"})));
        for token in [Some(&*ann), None] {
            let opened = open(token, "?correlationId=r").await;
            assert_eq!(opened.status.as_u16(), without_claim, "{rooms}: {}", opened.text);
        }
        assert_eq!(open(Some(&of_room), "?correlationId=other").await.status, 201, "the token's room");
        assert_eq!(open(Some(&ann), "").await.status, 201, "without a room it only sends");
    }
}

#[tokio::test]
async fn a_call_of_ayame_is_minted_for_the_users_who_register() {
    let broker = start(&REQUIRED).await;
    let (ann, bob) = (user_token("ann"), user_token("bob"));
    let (mut a, accept) = registered(&broker, "r", Some(&ann)).await;
    assert!(accept.to_string().contains(r#""username""#), "{accept}");
    let (b, _) = registered(&broker, "r", Some(&bob)).await;
    let calls = broker.operator("/api/calls-live").await.json();
    let members = calls["calls"][0]["members"].as_array().unwrap();
    let mut users: Vec<_> = members.iter().map(|member| member["user"].as_str().unwrap()).collect();
    users.sort_unstable();
    assert_eq!(users, ["ann", "bob"]);
    a.send(r#"{"type":"connected"}"#).await;
    let open = async || broker.operator("/api/connections").await.json()["total"].clone();
    eventually("two connections", async || open().await == 2).await;
    broker.advance(8);
    b.close().await;
    eventually("no connection", async || open().await == 0).await;
    let spenders = broker.operator("/api/spenders?by=user").await.json();
    let rows = spenders["spenders"].as_array().unwrap();
    let mut spent: Vec<_> = rows.iter().map(|row| (row["key"].as_str(), row["bytes"].as_u64())).collect();
    spent.sort_unstable();
    assert_eq!(spent, [(Some("ann"), Some(2_000_000)), (Some("bob"), Some(2_000_000))]);
    let grants = broker.operator("/api/grants?user=ann").await.json();
    assert_eq!(
        (grants["grants"].as_array().unwrap().len(), &grants["grants"][0]["call"]),
        (1, &json!("ayame/r"))
    );
}

#[tokio::test]
async fn a_key_of_ayame_is_verified_also_where_the_request_has_a_token() {
    let broker = start(&REQUIRED).await;
    let ann = user_token("ann");
    let register = async |room: &str, key: &str| {
        let mut socket = open(&broker, &format!("/signaling?roomId={room}"), &ann).await.unwrap();
        socket.send_json(&json!({"type": "register", "roomId": room, "key": key})).await;
        let first = socket.next_json().await;
        (socket, first)
    };
    for (room, key) in [("a", expired()), ("b", forged()), ("c", user_token("bob"))] {
        let (mut socket, first) = register(room, &key).await;
        assert_eq!(first, json!({"type": "reject", "reason": "INVALID_TOKEN"}), "{room}");
        assert_eq!(socket.closed().await, closed(1008, "INVALID_TOKEN"), "{room}");
    }
    let (_socket, first) = register("d", &ann).await;
    assert_eq!(first["type"], "accept", "the user's own");
}

#[tokio::test]
async fn the_socket_of_a_user_who_signs_in_with_a_key_counts_for_the_user() {
    let broker = start(&[REQUIRED[0], REQUIRED[1], ("SIGNALING_SOCKETS_PER_CLIENT", "2")]).await;
    let mut sockets = vec![];
    for user in ["a", "b", "c", "d", "e", "ann"] {
        let (socket, first) = registered(&broker, user, Some(&user_token(user))).await;
        assert_eq!(first["type"], "accept", "{user}");
        sockets.push(socket);
    }
    let ann = user_token("ann");
    sockets.push(open(&broker, AYAME, &ann).await.unwrap());
    let (mut third, first) = registered(&broker, "s", Some(&ann)).await;
    assert_eq!(first, json!({"type": "reject", "reason": "RATE_LIMITED"}));
    assert_eq!(third.closed().await, closed(1008, "RATE_LIMITED"));
    drop((third, sockets));
    let open = async || broker.metric("turn_broker_places_taken{place=\"signaling_sockets\"}").await;
    eventually("all places are free", async || open().await == Some(0)).await;
}

#[tokio::test]
async fn a_page_of_p2pcf_sends_its_token_with_each_post() {
    let broker = start(&REQUIRED).await;
    block(&broker, "eve").await;
    for (token, error) in [
        (None, (401, "UNAUTHORIZED")),
        (Some(RANDOM), (401, "UNAUTHORIZED")),
        (Some(&*expired()), (401, "INVALID_TOKEN")),
        (Some(&*user_token("eve")), (403, "USER_BLOCKED")),
    ] {
        let answer = post(&broker, token).await;
        assert_eq!(answer.error(), error);
        assert_eq!(answer.header("access-control-allow-origin"), Some("*"));
    }
    for method in [Method::GET, Method::OPTIONS] {
        assert_eq!(broker.send(method, "/p2pcf").await.status, 200);
    }
    assert_eq!(post(&broker, Some(&user_token("ann"))).await.status, 200);
    let calls = broker.operator("/api/calls-live").await.json();
    assert_eq!(calls["calls"][0]["members"][0]["user"], "ann");
    let native = broker.request(Method::POST, "/p2pcf").bearer_auth(user_token("bob")).json(&publish());
    assert_eq!(Answer::of(native).await.status, 200);
}

#[tokio::test]
async fn a_blocked_user_opens_no_socket() {
    let broker = start(&[USERS]).await;
    block(&broker, "eve").await;
    for path in OTHERS.into_iter().chain([AYAME]) {
        assert_closed(open(&broker, path, &user_token("eve")).await, 1008, "USER_BLOCKED").await;
    }
}

#[tokio::test]
async fn blocking_a_user_closes_the_sockets_of_that_user() {
    let broker = start(&[USERS]).await;
    let mut sockets = vec![];
    for path in OTHERS {
        let ann = path.replace("id=", "id=ann-").replace("_pk=a", "_pk=b");
        sockets.push((open(&broker, path, &user_token("eve")).await.unwrap(), true));
        sockets.push((open(&broker, &ann, &user_token("ann")).await.unwrap(), false));
    }
    for (user, is_blocked) in [("eve", true), ("ann", false)] {
        let (socket, first) = registered(&broker, user, Some(&user_token(user))).await;
        assert_eq!(first["type"], "accept");
        sockets.push((socket, is_blocked));
    }
    block(&broker, "eve").await;
    for (socket, _) in sockets.iter_mut().filter(|(_, is_blocked)| *is_blocked) {
        assert_eq!(socket.closed().await, closed(1008, "USER_BLOCKED"));
    }
    let left = async || broker.metric("turn_broker_places_taken{place=\"signaling_sockets\"}").await;
    eventually("the others stay open", async || left().await == Some(5)).await;
    block(&broker, "ann").await;
    for (socket, _) in sockets.iter_mut().filter(|(_, is_blocked)| !*is_blocked) {
        assert_eq!(socket.closed().await, closed(1008, "USER_BLOCKED"));
    }
}

#[tokio::test]
async fn blocking_an_address_closes_its_sockets_and_those_that_open_later() {
    let broker = start(&[USERS]).await;
    let (mut anonymous, _) = registered(&broker, "r", None).await;
    let mut ann = open(&broker, OTHERS[0], &user_token("ann")).await.unwrap();
    let block = async |address: &str| {
        let path = format!("/api/addresses/{address}/block");
        assert_eq!(broker.order(Method::POST, &path).await.status, 200);
    };
    block("192.0.2.1").await;
    let open_sockets = async || broker.metric("turn_broker_places_taken{place=\"signaling_sockets\"}").await;
    assert_eq!(open_sockets().await, Some(2));
    block("127.0.0.1").await;
    for socket in [&mut anonymous, &mut ann] {
        assert_eq!(socket.closed().await, closed(1008, "ADDRESS_BLOCKED"));
    }
    let mut later = SocketClient::open(broker.address, "/signaling", &[]).await.unwrap();
    assert_eq!(later.closed().await, closed(1008, "ADDRESS_BLOCKED"));
}

#[tokio::test]
async fn while_the_keys_cannot_be_fetched_a_socket_is_told_to_try_again() {
    let signer = Signer::es256();
    let issuer = FakeIssuer::start(&[]).await;
    issuer.answer(StatusCode::INTERNAL_SERVER_ERROR, String::new());
    let url = issuer.url();
    let broker = start(&[("AUTH_JWKS_URL", &url)]).await;
    let token = signer.sign(Some("a"), &json!({"sub": "ann", "exp": NOW + 3_600}));
    assert_closed(open(&broker, OTHERS[2], &token).await, 1013, "OVERLOADED").await;
}

#[tokio::test]
async fn a_refused_socket_takes_a_place_like_any_other() {
    let broker = start(&[USERS, ("SIGNALING_SOCKETS_PER_CLIENT", "1")]).await;
    let refused = open(&broker, OTHERS[2], &expired()).await.unwrap();
    let status = open(&broker, OTHERS[2], &expired()).await.err().map(|(status, _)| status);
    assert_eq!(status, Some(429));
    drop(refused);
}

#[tokio::test]
async fn the_token_in_a_query_of_the_sfu_stays_here() {
    let sfu = FakeSfu::start().await;
    let url = sfu.url();
    let broker = TestBroker::start(&[&REQUIRED[..], &sfu_at(&url)].concat()).await;
    let open = async |token: &str| {
        let path = format!("/partytracks/sessions/new?CreatingSession&correlationId=r&token={token}");
        broker.send(Method::POST, &path).await
    };
    for token in [RANDOM, &expired()] {
        assert_eq!(open(token).await.status, 401);
    }
    let opened = open(&user_token("ann")).await;
    assert_eq!(opened.status, 201, "{}", opened.text);
    let session = opened.json()["sessionId"].as_str().unwrap().to_owned();
    let cookie = opened.header("set-cookie").unwrap().split(';').next().unwrap().to_owned();
    let push = json!({"tracks": [{"location": "local", "trackName": "video", "mid": "0"}]}).to_string();
    // A page gives its token once, and a call can outlive it.
    for token in [user_token("ann"), expired()] {
        let path = format!("/partytracks/sessions/{session}/tracks/new?correlationId=r&token={token}");
        let request = broker.request(Method::POST, &path).header("cookie", &cookie).body(push.clone());
        assert_eq!(Answer::of(request).await.status, 200);
    }
    let paths: Vec<_> = sfu.history().into_iter().map(|request| request.path).collect();
    assert!(paths.iter().all(|path| !path.contains("token")), "{paths:?}");
    assert!(paths[0].ends_with("/sessions/new?CreatingSession&correlationId=r"), "{paths:?}");
    let mine = broker.operator("/api/grants?user=ann").await.json();
    assert_eq!(mine["grants"][0]["source"], "sfu", "{mine}");
    for token in [RANDOM, &expired(), &forged()] {
        let path = format!("/partytracks/generate-ice-servers?token={token}");
        let eve = broker.send(Method::GET, &path).await;
        assert_eq!((eve.status.as_u16(), eve.text.contains("username")), (200, false));
    }
}
