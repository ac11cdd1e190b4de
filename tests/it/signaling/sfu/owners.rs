//! What sessions of the SFU take is promised before they take it, has an owner, and counts under the limit of its user.

use crate::support::prelude::*;

use super::metering::{MB, RATE, pulled};
use super::{Page, sent, start};

/// A page of a user, with a label.
async fn join<'a>(broker: &'a TestBroker, user: &str) -> Page<'a> {
    let path = "/partytracks/sessions/new?correlationId=r&label=team-1";
    let request = broker.request(Method::POST, path).bearer_auth(user_token(user));
    let answer = Answer::of(request.header("x-forwarded-for", "203.0.113.7")).await;
    Page::of(broker, &answer, "203.0.113.7")
}

/// The one row of a kind that has bytes.
async fn spender(broker: &TestBroker, kind: &str) -> Value {
    let answer = broker.operator(&format!("/api/spenders?by={kind}")).await.json();
    let rows = answer["spenders"].as_array().unwrap().iter();
    let with_bytes: Vec<_> = rows.filter(|row| row["bytes"] != 0).collect();
    assert_eq!(with_bytes.len(), 1, "{answer}");
    with_bytes[0].clone()
}

#[tokio::test]
async fn while_the_keys_cannot_be_fetched_a_page_is_told_to_try_again_and_gets_stun_servers() {
    let issuer = FakeIssuer::start(&[]).await;
    issuer.answer(StatusCode::INTERNAL_SERVER_ERROR, String::new());
    let url = issuer.url();
    let (_sfu, broker) = start(&[&COTURN[..], &[("AUTH_JWKS_URL", &url)]].concat()).await;
    let token = Signer::es256().sign(Some("a"), &json!({ "sub": "ann", "exp": 4_000_000_000_u64 }));
    let ask = |path: &str| Answer::of(broker.request(Method::POST, path).bearer_auth(&token));
    let refused = ask("/partytracks/sessions/new?correlationId=r").await;
    assert_eq!((refused.status.as_u16(), refused.header("retry-after")), (503, Some("10")));
    assert!(refused.text.contains("AUTH_JWKS_URL: its keys cannot be fetched"), "{}", refused.text);
    let ice = ask("/partytracks/generate-ice-servers").await;
    assert!(ice.status == 200 && ice.text.contains("stun:"), "{}", ice.text);
    assert!(!ice.text.contains("username"), "{}", ice.text);
}

#[tokio::test]
async fn each_byte_has_the_name_of_its_user_label_address_and_call() {
    let (_sfu, broker) = start(&[RATE, USERS, ("USER_LIMIT_GB", "50")]).await;
    let (a, b) = (Page::join(&broker, "r").await, join(&broker, "ann").await);
    assert_eq!(a.push().await.status, 200);
    assert_eq!(b.pull_many(&a, 2).await.status, 200);
    broker.advance(120);
    let bytes = async || broker.operator("/api/grants?user=ann").await.json()["grants"][0]["bytes"].clone();
    eventually("a look", async || bytes().await == 2_400 * MB).await;
    let names = [("user", "ann"), ("label", "team-1"), ("address", "203.0.113.7"), ("call", "sfu/r")];
    for (kind, name) in names {
        let row = spender(&broker, kind).await;
        assert_eq!((row["key"].as_str(), row["bytes"].as_u64()), (Some(name), Some(2_400 * MB)), "{row}");
        assert_eq!(row["evidence"], "measured", "the SFU said so");
    }
    let grants = broker.operator("/api/grants?user=ann").await.json();
    let grant = &grants["grants"][0];
    assert_eq!(json!([grant["source"], grant["live"]]), json!(["sfu", true]), "{grants}");
    assert_eq!(json!([grant["call"], grant["bytes"]]), json!(["sfu/r", 2_400 * MB]));
}

#[tokio::test]
async fn revoking_or_blocking_a_user_ends_the_users_sessions() {
    let (sfu, broker) = start(&[USERS]).await;
    let (a, b, c) = (Page::join(&broker, "r").await, join(&broker, "ann").await, join(&broker, "bob").await);
    assert_eq!(a.push().await.status, 200);
    for page in [&b, &c] {
        assert_eq!(page.pull(&a).await.status, 200);
    }
    let revoked = broker.post(OPERATOR, "/api/revoke?user=ann", json!({})).await;
    assert_eq!(revoked.status, 200, "{}", revoked.text);
    eventually("ann's is closed", async || sfu.tracks(&b.session) == 0).await;
    assert_eq!(b.pull(&a).await.error(), (403, "user_blocked"));
    assert_eq!(sfu.tracks(&c.session), 1);
    broker.advance(5);
    assert_eq!(broker.post(OPERATOR, "/api/users/bob/block", json!({})).await.status, 200);
    eventually("bob's is closed", async || sfu.tracks(&c.session) == 0).await;
}

#[tokio::test]
async fn blocking_an_address_ends_its_sessions_and_refuses_its_requests() {
    let (sfu, broker) = start(&[]).await;
    let [a, b] = Page::of_room(&broker, "r").await;
    let other = Page::join_from(&broker, "r", "203.0.113.2").await;
    assert_eq!(a.push().await.status, 200);
    for page in [&b, &other] {
        assert_eq!(page.pull(&a).await.status, 200);
    }
    assert_eq!(broker.order(Method::POST, "/api/addresses/203.0.113.1/block").await.status, 200);
    eventually("it is closed", async || sfu.tracks(&b.session) == 0).await;
    assert_eq!(a.push().await.error(), (403, "address_blocked"));
    assert_eq!(sfu.tracks(&other.session), 1);
}

#[tokio::test]
async fn a_pull_whose_answer_is_lost_stays_promised_until_a_look() {
    let (sfu, broker) = start(&[RATE]).await;
    let [a, b] = Page::of_room(&broker, "r").await;
    assert_eq!(a.push().await.status, 200);
    sfu.next(SfuFault::Huge);
    for _ in 0..9 {
        sfu.next(SfuFault::Json(500));
    }
    assert_eq!(b.pull(&a).await.status, 502, "its answer is too long, and then no look succeeds");
    let looked = async || sfu.requests(&b.session).iter().any(|request| request.method == Method::GET);
    eventually("a look", looked).await;
    assert_eq!((&broker.status().await["reservedGB"], pulled(&broker).await), (&json!("5.40"), 0));
}

#[tokio::test]
async fn a_session_answers_only_to_the_browser_that_opened_it() {
    let (sfu, broker) = start(&[]).await;
    let [mine, other] = Page::of_room(&broker, "r").await;
    let before = sfu.history().len();
    let thief = |cookie: Option<&String>| Page {
        broker: &broker,
        session: mine.session.clone(),
        cookie: cookie.cloned(),
        address: mine.address,
    };
    let renamed = other.cookie.as_ref().map(|cookie| cookie.replace(&other.session, &mine.session));
    for thief in [thief(None), thief(other.cookie.as_ref()), thief(renamed.as_ref())] {
        let refused = thief.push().await;
        assert_eq!(refused.error(), (401, "session_locked"));
        assert!(refused.text.contains("has no valid cookie of this session"), "{}", refused.text);
    }
    assert_eq!(sfu.history().len(), before);
    assert_eq!(mine.push().await.status, 200);
    broker.advance(48 * 3_600);
    assert_eq!(mine.push().await.error(), (401, "session_locked"), "the lock has expired");
}

#[tokio::test]
async fn a_session_with_its_lock_outlives_its_users_token_but_takes_no_forged_one() {
    let (sfu, broker) = start(&[USERS]).await;
    let page = join(&broker, "ann").await;
    let claims = |exp: i64| json!({ "sub": "ann", "exp": exp });
    let forged = Signer::hs256("another-secret-of-at-least-32-characters").sign(None, &claims(4_000_000_000));
    let push = async |token: &str| {
        let path = format!("/partytracks/sessions/{}/tracks/new?token={token}", page.session);
        let request = broker.request(Method::POST, &path).header("cookie", page.cookie.as_ref().unwrap());
        let track = json!({ "location": "local", "trackName": "video", "mid": "0" });
        Answer::of(request.body(json!({ "tracks": [track] }).to_string())).await
    };
    let refused = push(&forged).await;
    assert_eq!(refused.error(), (401, "unauthorized"));
    assert!(refused.text.contains("Sign in again and send a new token"), "{}", refused.text);
    assert_eq!(sfu.history().len(), 1, "only the session went to the SFU");
    let expired = sign(&claims(1_000_000_000));
    assert_eq!(push(&expired).await.status, 200, "a page cannot change its token during a call");
    let new = format!("/partytracks/sessions/new?correlationId=r&token={expired}");
    let refused = broker.send(Method::POST, &new).await;
    assert_eq!(refused.status, 401, "it opens no session");
    assert!(refused.text.starts_with("unauthorized: Sign in again and send a new token"), "{}", refused.text);
}

#[tokio::test]
async fn where_users_are_required_only_a_user_opens_a_session_and_the_token_can_fix_the_room() {
    const NAMED: &str = "/partytracks/sessions/new?correlationId=blue";
    let (sfu, broker) = start(&[&COTURN[..], &[USERS, ("AUTH_REQUIRED", "true")]].concat()).await;
    let token_for = |user: &str, room: Value| {
        let claims = json!({ "sub": user, "exp": 1_736_942_400 + 600, "room": room });
        sign(&claims)
    };
    let token = |user: &str, room: Option<&str>| token_for(user, json!(room));
    let open = async |token: Option<String>, path: &str| {
        let request = broker.request(Method::POST, path);
        let answer = Answer::of(match &token {
            Some(token) => request.bearer_auth(token),
            None => request,
        });
        let answer = answer.await;
        (answer.status == 201).then(|| Page::of(&broker, &answer, "203.0.113.1"))
    };
    assert!(open(None, NAMED).await.is_none(), "a room is not a user");
    assert!(open(Some("x.y.z".into()), NAMED).await.is_none());
    let a = open(Some(token("ann", None)), NAMED).await.unwrap();
    let b = open(Some(token("bob", Some("blue"))), "/partytracks/sessions/new").await.unwrap();
    let c = open(Some(token("eve", Some("red"))), NAMED).await.unwrap();
    a.push().await;
    assert_eq!(b.pull(&a).await.status, 200);
    assert_eq!(c.pull(&a).await.error(), (403, "other_room"), "the token's room counts");
    let numbered = open(Some(token_for("eve", json!(42))), NAMED).await.unwrap();
    assert_eq!(numbered.pull(&a).await.error(), (403, "other_room"), "the room 42");
    for bad in [json!([]), json!(""), json!({"blue": 1}), json!(true)] {
        assert!(open(Some(token_for("eve", bad)), NAMED).await.is_none(), "no room has this name");
    }
    let grant = broker.mint_with(&token("eve", Some("red"))).await.grant();
    assert!(open(Some(grant.clone()), NAMED).await.is_none(), "a grant does not know the token's room");
    let ice = broker.request(Method::POST, "/partytracks/generate-ice-servers").bearer_auth(grant);
    let ice = Answer::of(ice).await;
    assert!(ice.status == 200 && !ice.text.contains("username"), "a grant mints nothing: {}", ice.text);
    let ice = broker.get("/partytracks/generate-ice-servers").await;
    assert!(ice.status == 200 && !ice.text.contains("username"), "{}", ice.text);
    assert_eq!(broker.order(Method::POST, "/api/users/bob/block").await.status, 200);
    assert_eq!(b.pull(&a).await.error(), (403, "user_blocked"), "with its lock and no token");
    sfu.forget(&c.session);
    assert_eq!(c.call(Method::GET, "", &json!({})).await.status, 410);
    assert_eq!(c.pull(&a).await.error(), (410, "session_gone"));
    assert_eq!(a.pull(&b).await.status, 200);
}

#[tokio::test]
async fn a_browser_that_opens_many_sessions_keeps_the_newest_locks() {
    let (_sfu, broker) = start(&[("SFU_LOCK", "on")]).await;
    let mut cookies: Vec<(String, String)> = vec![];
    let running = Page::join(&broker, "r").await;
    assert_eq!(running.push().await.status, 200);
    let (name, value) = running.cookie.as_ref().unwrap().split_once('=').unwrap();
    cookies.push((name.to_owned(), value.to_owned()));
    for n in 0..60 {
        broker.advance(1);
        let header: Vec<_> = cookies.iter().map(|(name, value)| format!("{name}={value}")).collect();
        let request = sent(&broker, Method::POST, "/partytracks/sessions/new?correlationId=r", "203.0.113.1");
        let answer = Answer::of(request.header("cookie", header.join("; "))).await;
        assert_eq!(answer.status, 201, "session {n}: {}", answer.text);
        for set in answer.headers.get_all("set-cookie") {
            let (name, rest) = set.to_str().unwrap().split_once('=').unwrap();
            let (value, attributes) = rest.split_once(';').unwrap();
            cookies.retain(|(known, _)| known != name);
            if !attributes.contains("Max-Age=0;") {
                assert!(attributes.contains("Max-Age=172800;"), "{attributes}");
                cookies.push((name.to_owned(), value.to_owned()));
            }
        }
        broker.advance(30);
    }
    assert!((10..40).contains(&cookies.len()), "{}", cookies.len());
    let kept = cookies.iter().any(|(known, _)| known == name);
    assert!(kept, "the lock of a session with a track");
}

#[tokio::test]
async fn a_session_that_a_grant_opened_is_not_used_from_its_address_without_the_grant() {
    let (_sfu, broker) = start(&[&COTURN[..], &[("SFU_LOCK", "off")]].concat()).await;
    let (grant, other) = (broker.grant().await, broker.grant().await);
    let call = async |session: &str, token: Option<&String>| {
        let request = sent(&broker, Method::GET, &format!("/partytracks/sessions/{session}"), "203.0.113.1");
        let request = token.iter().fold(request, RequestBuilder::bearer_auth);
        Answer::of(request).await.status.as_u16()
    };
    let open = async |token: Option<&String>| {
        let path = "/partytracks/sessions/new?correlationId=r";
        let request = sent(&broker, Method::POST, path, "203.0.113.1");
        let request = token.iter().fold(request, RequestBuilder::bearer_auth);
        Answer::of(request).await.json()["sessionId"].as_str().unwrap().to_owned()
    };
    let of_grant = open(Some(&grant)).await;
    for (token, status) in [(Some(&grant), 200), (None, 401), (Some(&other), 401)] {
        assert_eq!(call(&of_grant, token).await, status);
    }
    let of_address = open(None).await;
    assert_eq!(call(&of_address, None).await, 200, "it was opened without a token");
}

#[tokio::test]
async fn a_session_without_a_lock_belongs_to_the_renewals_of_its_grant_on_any_address() {
    let (_sfu, broker) = start(&[&COTURN[..], &[("SFU_LOCK", "off")]].concat()).await;
    let push = async |session: &str, token: &str| {
        let path = format!("/partytracks/sessions/{session}/tracks/new");
        let track = json!({ "location": "local", "trackName": "video", "mid": "0" });
        let request = sent(&broker, Method::POST, &path, "203.0.113.99").bearer_auth(token);
        Answer::of(request.body(json!({ "tracks": [track] }).to_string())).await
    };
    let open = async |token: &str| {
        let request = sent(&broker, Method::POST, "/partytracks/sessions/new", "203.0.113.1");
        let opened = Answer::of(request.bearer_auth(token)).await;
        opened.json()["sessionId"].as_str().unwrap().to_owned()
    };
    let first = broker.grant().await;
    let session = open(&first).await;
    broker.advance(64_800);
    let second = broker.mint_with(&first).await.grant();
    let later = open(&second).await;
    assert_eq!(push(&session, &second).await.status, 200, "by the renewal");
    assert_eq!(push(&later, &first).await.status, 200, "a chain of renewals is one owner");
    let other = broker.grant().await;
    let refused = push(&session, &other).await;
    assert_eq!(refused.error(), (401, "session_locked"));
    assert!(refused.text.contains("belongs to another user, grant or address"), "{}", refused.text);
    broker.advance(64_800);
    let third = broker.mint_with(&second).await.grant();
    assert_eq!(push(&session, &first).await.error(), (401, "session_locked"), "it has expired");
    assert_eq!(push(&session, &third).await.status, 200, "by the renewal of the renewal");
}
