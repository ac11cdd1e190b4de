//! Rooms as Orange's page uses them: a name, a socket, states.

use reqwest::redirect::Policy;

use crate::support::prelude::*;

const ROOMS: (&str, &str) = ("SIGNALING", "rooms");
const USER: &str = "cf-access-authenticated-user-email";

async fn start(settings: &[(&str, &str)]) -> TestBroker {
    TestBroker::start(&[&[ROOMS, ("USER_HEADER", USER)], settings].concat()).await
}

/// A socket of a user whom a trusted proxy names.
async fn open(broker: &TestBroker, pk: &str, user: &str) -> SocketClient {
    let path = format!("/parties/rooms/r?_pk={pk}");
    SocketClient::open(broker.address, &path, &[(USER, user)]).await.unwrap()
}

async fn refusal(broker: &TestBroker, path: &str, headers: &[(&'static str, &str)]) -> (u16, String) {
    let (status, body) = SocketClient::open(broker.address, path, headers).await.err().unwrap();
    let body: Value = serde_json::from_str(&body).unwrap_or_default();
    (status, body["code"].as_str().unwrap_or_default().to_owned())
}

/// The next state in which `holds`.
async fn state(socket: &mut SocketClient, holds: impl Fn(&Value) -> bool) -> Value {
    loop {
        let mut frame = socket.next_json().await;
        if frame["type"] == "roomState" && holds(&frame["state"]) {
            return frame["state"].take();
        }
    }
}

fn has_users(ids: &'static [&'static str]) -> impl Fn(&Value) -> bool {
    move |state| state["users"].as_array().unwrap().iter().map(|user| &user["id"]).eq(ids)
}

/// Sends the form with a name, without following the redirect.
async fn set_username(
    broker: &TestBroker,
    query: &str,
    body: &'static str,
    header: (&'static str, &str),
) -> Answer {
    let client = client_builder().redirect(Policy::none()).build().unwrap();
    let url = format!("http://{}/set-username{query}", broker.address);
    let request = client.post(url).header("content-type", "application/x-www-form-urlencoded").body(body);
    Answer::of(request.header(header.0, header.1)).await
}

fn cookie(answer: &Answer) -> String {
    answer.header("set-cookie").unwrap().split(';').next().unwrap().to_owned()
}

#[tokio::test]
async fn two_users_see_each_other_and_send_messages() {
    let broker = start(&[]).await;
    let mut ann = open(&broker, "a", "ann@example.com").await;
    let mut bob = open(&broker, "b", "bob@example.com").await;
    let of_bob = state(&mut bob, has_users(&["a", "b"])).await;
    let of_ann = state(&mut ann, has_users(&["a", "b"])).await;
    assert_eq!(of_ann["meetingId"], of_bob["meetingId"]);
    assert_eq!(of_ann["users"][0]["name"], "ann@example.com");

    let update = json!({ "id": "b", "name": "bob", "joined": true, "tracks": { "audio": "s/mic" } });
    ann.send_json(&json!({ "type": "userUpdate", "user": update })).await;
    let joined = state(&mut bob, |state| state["users"][0]["joined"] == true).await;
    assert_eq!(
        json!([joined["users"][0]["id"], joined["users"][0]["name"]]),
        json!(["a", "ann@example.com"])
    );

    ann.send_binary(b"ignored").await;
    ann.send_json(&json!({ "type": "directMessage", "to": "b", "message": "hi" })).await;
    let message = json!({ "type": "directMessage", "from": "ann@example.com", "message": "hi" });
    assert_eq!(bob.next_json().await, message);
    ann.send_json(&json!({ "type": "userLeft" })).await;
    assert_eq!(ann.closed().await, (1000, "User left".to_owned()));
    assert_eq!(bob.next_json().await, json!({ "type": "userLeftNotification", "id": "a" }));
    state(&mut bob, has_users(&["b"])).await;
}

#[tokio::test]
async fn a_lost_socket_comes_back_and_a_silent_user_is_removed() {
    let broker = start(&[("ROOM_SWEEP_SECONDS", "1")]).await;
    let mut ann = open(&broker, "a", "ann").await;
    let joined = json!({ "type": "userUpdate", "user": { "joined": true } });
    ann.send_json(&joined).await;
    state(&mut ann, |state| state["users"][0]["joined"] == true).await;
    ann.close().await;
    let mut ann = open(&broker, "a", "ann").await;
    let back = state(&mut ann, has_users(&["a"])).await;
    assert_eq!(back["users"][0]["joined"], true);
    assert_eq!(ann.closed().await, (1011, "no heartbeat".to_owned()));
    let mut ann = open(&broker, "a", "ann").await;
    let fresh = state(&mut ann, has_users(&["a"])).await;
    assert_eq!(fresh["users"][0]["joined"], false);
    assert_ne!(fresh["meetingId"], back["meetingId"]);
}

#[tokio::test]
async fn a_chosen_name_is_kept_in_a_cookie_through_a_restart() {
    let directory = StateDir::new();
    let settings = [("STATE_DIR", directory.path())];
    let broker = start(&settings).await;
    let answer = set_username(&broker, "?return-url=%2Froom-1", "username=+Zo%C3%AB+", ("x-a", "b")).await;
    assert_eq!((answer.status, answer.header("location")), (StatusCode::FOUND, Some("/room-1")));
    let attributes = "; Path=/parties/; Max-Age=2592000; HttpOnly; SameSite=Lax";
    assert!(answer.header("set-cookie").unwrap().ends_with(attributes));
    broker.finish().await;

    let broker = start(&settings).await;
    let cookie = cookie(&answer);
    let socket = SocketClient::open(broker.address, "/parties/rooms/r", &[("cookie", &cookie)]).await;
    let state = state(&mut socket.unwrap(), |_| true).await;
    assert_eq!(state["users"][0]["name"], "Zoë (guest)");
    let forged = format!("{cookie}x");
    let refused = refusal(&broker, "/parties/rooms/r", &[("cookie", &forged)]).await;
    assert_eq!(refused, (401, "UNAUTHORIZED".to_owned()));
}

/// What others see of each visitor, and whether a visitor is another one with the same name.
#[tokio::test]
async fn token_header_and_chosen_name_are_different_visitors_and_the_weaker_ones_are_marked() {
    for (settings, of_header, of_cookie) in
        [(&[USERS][..], "ann (guest)", "ann (guest)"), (&[], "ann", "ann (guest)")]
    {
        let broker = start(settings).await;
        let cookie = cookie(&set_username(&broker, "", "username=ann", ("x-a", "b")).await);
        let token = format!("Bearer {}", user_token("ann"));
        let mut proofs = vec![((USER, "ann"), of_header), (("cookie", &*cookie), of_cookie)];
        proofs.extend((!settings.is_empty()).then_some((("authorization", &*token), "ann")));
        for (at, (header, name)) in proofs.iter().enumerate() {
            let path = format!("/parties/rooms/room-{at}?_pk=one");
            let mut own = SocketClient::open(broker.address, &path, &[*header]).await.unwrap();
            let shown = state(&mut own, has_users(&["one"])).await["users"][0]["name"].clone();
            assert_eq!(shown, *name, "{}", header.0);
            for (other, _) in proofs.iter().filter(|(other, _)| other != header) {
                let mut refused = SocketClient::open(broker.address, &path, &[*other]).await.unwrap();
                assert_eq!(
                    refused.next_json().await["error"],
                    "USER_ID_TAKEN",
                    "{} and {}",
                    header.0,
                    other.0
                );
            }
        }
    }
}

#[tokio::test]
async fn over_https_the_cookie_is_secure_and_behind_a_sign_in_there_is_none() {
    let broker = start(&[]).await;
    let answer = set_username(&broker, "", "username=ann", ("x-forwarded-proto", "https")).await;
    assert!(answer.header("set-cookie").unwrap().ends_with("; Secure"));
    let answer = set_username(&broker, "", "username=ann", (USER, "bob@example.com")).await;
    assert_eq!((answer.status, answer.header("location")), (StatusCode::FOUND, Some("/")));
    assert_eq!(answer.header("set-cookie"), None);
    for bad in ["", "username=", "username=a%0Ab", "name=ann"] {
        let answer = set_username(&broker, "", bad, ("x-a", "b")).await;
        assert_eq!(answer.error(), (400, "INVALID_REQUEST"), "{bad}");
    }
}

#[tokio::test]
async fn a_request_without_a_user_or_a_party_is_refused() {
    let broker = start(&[]).await;
    assert_eq!(refusal(&broker, "/parties/rooms/r", &[]).await, (401, "UNAUTHORIZED".to_owned()));
    let unauthorized = broker.metric("turn_broker_unauthorized_total{kind=\"rooms\"}").await;
    assert_eq!(unauthorized, Some(1));
    let ann = [(USER, "ann")];
    assert_eq!(refusal(&broker, "/parties/other/r", &ann).await, (400, "INVALID_REQUEST".to_owned()));
    for room in [".", "..", "%2e", "%2E."] {
        let path = format!("/parties/rooms/{room}");
        assert_eq!(refusal(&broker, &path, &ann).await, (400, "INVALID_REQUEST".to_owned()), "{room}");
    }
}

#[tokio::test]
async fn only_a_trusted_proxy_names_the_user_and_only_in_the_header_of_the_setting() {
    let broker = TestBroker::start(&[ROOMS]).await;
    // No header is the default.
    assert_eq!(refusal(&broker, "/parties/rooms/r", &[(USER, "ann")]).await.0, 401);
    let broker = start(&[("TRUSTED_PROXIES", "10.0.0.1")]).await;
    let refused = refusal(&broker, "/parties/rooms/r", &[(USER, "ann")]).await;
    assert_eq!(refused, (401, "UNAUTHORIZED".to_owned()));
    let broker = start(&[("USER_HEADER", "X-User")]).await;
    assert_eq!(refusal(&broker, "/parties/rooms/r", &[(USER, "ann")]).await.0, 401);
    let twice = refusal(&broker, "/parties/rooms/r", &[("x-user", "ann"), ("x-user", "bob")]).await;
    assert_eq!(twice.0, 401);
    assert!(SocketClient::open(broker.address, "/parties/rooms/r", &[("x-user", "ann")]).await.is_ok());
}

#[tokio::test]
async fn a_blocked_user_enters_no_room() {
    let broker = start(&[]).await;
    assert!(broker.order(Method::POST, "/api/users/ann/block").await.status.is_success());
    assert_eq!(refusal(&broker, "/parties/rooms/r", &[(USER, "ann")]).await.0, 403);
}

#[tokio::test]
async fn a_foreign_page_may_not_choose_a_name() {
    let broker = start(&[("CLIENT_URL", "https://app.example")]).await;
    let evil = ("origin", "https://evil.example");
    assert_eq!(set_username(&broker, "", "username=ann", evil).await.status, 403);
}
