//! Tests of users: where one is required, what a renewal keeps, and what the ledger has of it.

mod keys;
mod rates;
mod tokens;

use crate::support::prelude::*;

use turn_broker::store::Store;
use turn_ledger::Spender;

/// The time of [`TestBroker::start`].
const NOW: i64 = 1_736_942_400;
const REQUIRED: [(&str, &str); 2] = [USERS, ("AUTH_REQUIRED", "true")];

fn claims(user: &str) -> Value {
    json!({"sub": user, "exp": NOW + 3_600})
}

async fn mint_at(broker: &TestBroker, path: &str, token: &str) -> Answer {
    broker.get_as(token, path).await
}

/// The stored ledger, once its broker has ended.
async fn stored(directory: &Path) -> Stored {
    let directory = directory.to_owned();
    let opened = tokio::task::spawn_blocking(move || once_free(|| FileStorage::open(&directory)));
    opened.await.unwrap().and_then(Store::open).unwrap().1.books
}

/// What is known of it.
fn shown(spender: Option<&Spender>) -> Value {
    let mut shown = serde_json::to_value(spender).unwrap();
    if let Some(fields) = shown.as_object_mut() {
        fields.retain(|name, value| !value.is_null() && name != "signed_in_until");
    }
    shown
}

#[tokio::test]
async fn the_application_says_whose_a_ticket_is_and_is_asked_once_while_its_answer_lives() {
    let answer = Reply::Text(r#"{"user": "ann", "label": "room-1", "ttl": 60}"#);
    let application =
        FakeWebhook::start(&[answer, Reply::Status(401), answer, Reply::Status(500), Reply::Text("{}")])
            .await;
    let url = application.url();
    let settings = [
        ("AUTH_WEBHOOK_URL", url.as_str()),
        REQUIRED[1],
        ("SERVER_KEYS", "app=app-fixture-key-0123456789-0123456789"),
    ];
    let (cloudflare, broker) = with_cloudflare_and(&settings).await;
    let ask = |ticket: &'static str| broker.mint_with(ticket);
    assert_eq!(broker.mint().await.error(), (401, "UNAUTHORIZED"));
    for _ in 0..2 {
        assert_eq!(ask("ticket-1").await.status, 200);
    }
    let [asked] = &application.history()[..] else { panic!("one question") };
    let question: Value = serde_json::from_slice(&asked.body).unwrap();
    assert_eq!(question, json!({"token": "ticket-1", "address": "127.0.0.1", "origin": null}));
    let grants = broker.operator("/api/grants").await.json();
    assert_eq!(json!([grants["grants"][0]["user"], grants["grants"][0]["label"]]), json!(["ann", "room-1"]));
    assert_eq!(ask("ticket-2").await.error(), (401, "INVALID_TOKEN"));
    // Its life is over.
    broker.advance(61);
    assert_eq!(ask("ticket-1").await.status, 200);
    assert_eq!(cloudflare.history().mints(), 3);
    for _ in 0..2 {
        let unanswered = ask("ticket-3").await;
        assert_eq!(unanswered.error(), (503, "OVERLOADED"));
        assert!(unanswered.header("retry-after").is_some());
    }
    // It is not told of a secret of the service.
    let grant = ask("ticket-1").await.grant();
    for secret in [OPERATOR, REPORTER, "app-fixture-key-0123456789-0123456789"] {
        let beside = broker.request(Method::GET, "/api/turn-credentials").bearer_auth(&grant);
        let beside = Answer::of(beside.header("x-auth-token", secret)).await;
        assert_eq!(beside.error(), (401, "INVALID_TOKEN"), "{secret}");
    }
    assert_eq!(application.history().len(), 5);
    assert_eq!(
        broker.get_as("ticket-1", "/api/turn-credentials?user=eve").await.error(),
        (401, "INVALID_TOKEN")
    );
}

#[tokio::test]
async fn an_address_asks_the_application_120_times_at_once() {
    // Each says that the token is not good.
    let refusals = [401, 403, 302, 303].into_iter().cycle().take(121).map(Reply::Status);
    let application = FakeWebhook::start(&refusals.collect::<Vec<_>>()).await;
    let url = application.url();
    let settings = [("AUTH_WEBHOOK_URL", url.as_str()), ("RATE_LIMIT_REQUESTS", "10000")];
    let (_cloudflare, broker) = with_cloudflare_and(&settings).await;
    for ticket in 0..120 {
        assert_eq!(broker.mint_with(&format!("ticket-{ticket}")).await.error(), (401, "INVALID_TOKEN"));
    }
    assert_eq!(broker.mint_with("ticket").await.error(), (429, "RATE_LIMITED"));
    assert_eq!(application.history().len(), 120);
    assert_eq!(broker.mint().await.status, 200, "without a token");
    let of_earlier_ledger = with_cloudflare_and(&[]).await.1.grant().await;
    assert_eq!(broker.mint_with(&of_earlier_ledger).await.status, 200, "a grant is no ticket");
}

#[tokio::test]
async fn an_address_with_made_up_tokens_has_a_sixteenth_of_the_questions_in_progress() {
    let answer = Reply::Text(r#"{"user": "ann"}"#);
    let application = FakeWebhook::start(&[[Reply::Hang; 48].as_slice(), &[answer]].concat()).await;
    let url = application.url();
    let settings = [("AUTH_WEBHOOK_URL", url.as_str()), ("TRUSTED_PROXIES", "127.0.0.0/8")];
    let (_cloudflare, broker) = with_cloudflare_and(&settings).await;
    let ask = |address: &str, ticket: String| {
        let request = broker.request(Method::GET, "/api/turn-credentials").bearer_auth(ticket);
        Answer::of(request.header("x-forwarded-for", address))
    };
    let mut asked = tokio::task::JoinSet::new();
    for address in ["203.0.113.1", "203.0.113.2", "203.0.113.3"] {
        for ticket in 0..20 {
            asked.spawn(ask(address, format!("made-up-{address}-{ticket}")));
        }
    }
    application.wait_for(48).await;
    for _ in 0..12 {
        assert_eq!(asked.join_next().await.unwrap().unwrap().error(), (503, "OVERLOADED"));
    }
    assert_eq!(application.history().len(), 48, "16 of each address");
    assert_eq!(ask("198.51.100.1", "of-ann".into()).await.status, 200);
}

#[tokio::test]
async fn a_user_is_required_if_the_operator_says_so() {
    let (cloudflare, broker) = with_cloudflare_and(&[REQUIRED[0], REQUIRED[1], ALL_DOORS]).await;
    for path in MINT_PATHS {
        let refused = [broker.get(path).await, mint_at(&broker, path, "no-grant").await];
        for answer in refused {
            assert_eq!(answer.error(), (401, "UNAUTHORIZED"), "{path}");
        }
        let expired = sign(&json!({"sub": "ann", "exp": NOW - 60}));
        assert_eq!(mint_at(&broker, path, &expired).await.error(), (401, "INVALID_TOKEN"), "{path}");
        assert!(mint_at(&broker, path, &user_token("ann")).await.status.is_success(), "{path}");
    }
    assert_eq!(cloudflare.history().mints(), 6);
}

#[tokio::test]
async fn an_allowed_page_can_read_why_its_token_is_refused() {
    let broker = TestBroker::start(&[REQUIRED[0], REQUIRED[1], ("CLIENT_URL", "https://app.example")]).await;
    let ask = |token: Option<&str>| {
        let request =
            broker.request(Method::GET, "/api/turn-credentials").header("origin", "https://app.example");
        Answer::of(token.into_iter().fold(request, reqwest::RequestBuilder::bearer_auth))
    };
    let bad = Signer::hs256("another-secret-of-at-least-32-characters").sign(None, &claims("ann"));
    for (answer, code) in [(ask(None).await, "UNAUTHORIZED"), (ask(Some(&bad)).await, "INVALID_TOKEN")] {
        assert_eq!(answer.error(), (401, code));
        assert_eq!(answer.header("access-control-allow-origin"), Some("https://app.example"));
        let message = answer.json()["message"].as_str().unwrap().to_owned();
        assert!(message.starts_with("Send") || message.starts_with("Sign in"), "{message}");
        assert_eq!(answer.header("cache-control"), Some("no-store"));
    }
    let preflight = broker
        .request(Method::OPTIONS, "/api/turn-credentials")
        .header("origin", "https://app.example")
        .header("access-control-request-method", "GET")
        .header("access-control-request-headers", "authorization");
    let allowed = Answer::of(preflight).await;
    assert!(allowed.header("access-control-allow-headers").unwrap().contains("authorization"));
}

#[tokio::test]
async fn a_grant_proves_its_renewal_which_keeps_the_user_and_the_label_over_a_restart() {
    let state = StateDir::new();
    let cloudflare = FakeCloudflare::start().await;
    let settings = [REQUIRED[0], REQUIRED[1], ("STATE_DIR", state.path()), ("TURN_TTL_SECONDS", "3600")];
    let broker = broker_at(&cloudflare, &settings).await;
    let request = broker
        .request(Method::GET, "/api/turn-credentials?label=room-1")
        .header("origin", "http://localhost:5173")
        .bearer_auth(user_token("ann"));
    let grant = Answer::of(request).await.grant();
    assert_eq!(broker.mint_with(&grant).await.error().0, 401, "too early, so the grant proves nothing");
    broker.finish().await;

    let broker = broker_at(&cloudflare, &settings).await;
    broker.advance(2_700);
    let renewed = broker.mint_with(&grant).await;
    assert_eq!(renewed.status, 200);
    assert_eq!(broker.mint_with(&grant).await.error().0, 401, "a grant renews once");
    broker.advance(2_700);
    let next = renewed.grant();
    assert_eq!(mint_at(&broker, "/api/turn-credentials?label=room-2", &next).await.status, 200);
    broker.finish().await;

    let stored = stored(Path::new(state.path())).await;
    let mut rows: Vec<_> = stored.grants.iter().map(|(_, row)| row).collect();
    rows.sort_by_key(|row| row.issued_at);
    let spenders: Vec<Value> = rows.iter().map(|row| shown(row.spender.as_deref())).collect();
    let ann = |label| json!({"user": "ann", "label": label, "origin": "http://localhost:5173"});
    assert_eq!(spenders[spenders.len() - 2..], [ann("room-1"), ann("room-2")]);
}

/// A sign-in of 1,000 s, and credentials of 600 s, which renew from 450 s on.
#[tokio::test]
async fn a_grant_renews_until_the_sign_in_is_over_and_later_only_with_a_token_of_its_user_beside_it() {
    let settings = [REQUIRED[0], REQUIRED[1], ("TURN_TTL_SECONDS", "600")];
    let (_cloudflare, broker) = with_cloudflare_and(&settings).await;
    let until = |seconds: i64| sign(&json!({"sub": "ann", "exp": NOW + seconds}));
    let beside = async |grant: &str, token: &str| {
        let request = broker.request(Method::GET, "/api/turn-credentials").bearer_auth(grant);
        Answer::of(request.header("x-auth-token", token)).await
    };
    let users = async || {
        let all = broker.operator("/api/grants?live=true").await.json();
        let users = all["grants"].as_array().unwrap().iter().map(|grant| grant["user"].clone());
        users.collect::<Vec<_>>()
    };
    let first = broker.mint_with(&until(1_000)).await.grant();
    broker.advance(500);
    let second = broker.mint_with(&first).await.grant();
    broker.advance(499);
    assert_eq!(broker.mint_with(&second).await.error().0, 200, "the last second");
    let third = {
        let minted = broker.mint_with(&until(1_000)).await;
        assert_eq!(minted.status, 200);
        minted.grant()
    };
    broker.advance(500);
    assert_eq!(broker.mint_with(&third).await.error(), (401, "UNAUTHORIZED"), "the sign-in is over");
    assert_eq!(beside(&third, &until(1_000)).await.error(), (401, "INVALID_TOKEN"));
    assert_eq!(beside(&third, "no-token").await.error(), (401, "INVALID_TOKEN"));
    // The token of another user proves that one alone.
    assert_eq!(beside(&third, &user_token("bob")).await.status, 200);
    assert_eq!(users().await.iter().filter(|user| **user == "bob").count(), 1);
    let renewed = beside(&third, &until(3_000)).await;
    assert_eq!(renewed.status, 200);
    broker.advance(500);
    assert_eq!(broker.mint_with(&renewed.grant()).await.status, 200, "until the end of the later sign-in");
}

#[tokio::test]
async fn a_label_is_stored_or_refused_at_every_route_that_mints() {
    let state = StateDir::new();
    let settings = [("STATE_DIR", state.path()), ALL_DOORS];
    let (cloudflare, broker) = with_cloudflare_and(&settings).await;
    for path in MINT_PATHS {
        let path = format!("{path}{}", if path.contains('?') { '&' } else { '?' });
        for bad in ["a%20b", "%C3%BC", &"x".repeat(65), "a&label=b"] {
            let answer = broker.get(&format!("{path}label={bad}")).await;
            assert_eq!(answer.error(), (400, "INVALID_REQUEST"), "{path} {bad}");
        }
        let minted = broker.get(&format!("{path}label=team/room-1:a@b.c_d")).await;
        assert!(minted.status.is_success(), "{path}");
    }
    assert_eq!(cloudflare.history().mints(), 6);
    broker.finish().await;
    let rows = stored(Path::new(state.path())).await.grants;
    let labels: Vec<Value> = rows.iter().map(|(_, row)| shown(row.spender.as_deref())).collect();
    assert_eq!(labels, vec![json!({"label": "team/room-1:a@b.c_d"}); 6]);
}

#[tokio::test]
async fn a_reporter_names_users_and_labels_and_a_client_does_not() {
    let state = StateDir::new();
    let (_cloudflare, broker) = with_cloudflare_and(&[("STATE_DIR", state.path())]).await;
    let grant = broker.grant().await;
    let body = |id: &str, user: &str| json!({"connectionId": id, "user": user, "label": "room-1"});
    assert_eq!(broker.post(&grant, "/api/connections", body("call", "eve")).await.status, 201);
    assert_eq!(broker.post(REPORTER, "/api/connections", body("other", "bob")).await.status, 201);
    for bad in [json!({"user": ""}), json!({"user": "u".repeat(256)}), json!({"label": "a b"})] {
        let refused = broker.post(REPORTER, "/api/connections", bad.clone()).await;
        assert_eq!(refused.error(), (400, "INVALID_REQUEST"), "{bad}");
    }
    broker.finish().await;
    let (_cloudflare, broker) = with_cloudflare_and(&[("STATE_DIR", state.path())]).await;
    broker.finish().await;
    let stored = stored(Path::new(state.path())).await;
    assert_eq!(
        stored.grants.iter().map(|(_, row)| shown(row.spender.as_deref())).collect::<Vec<_>>(),
        [Value::Null]
    );
    let named: Vec<_> =
        stored.connections.values().map(|row| (row.name.id(), shown(row.spender.as_deref()))).collect();
    assert_eq!(named, [("call", Value::Null), ("other", json!({"user": "bob", "label": "room-1"}))]);
}

#[tokio::test]
async fn a_credential_that_costs_nothing_is_renewed_for_its_user() {
    for auth in [&REQUIRED[..], &[USERS]] {
        let broker = TestBroker::start(&[&MANUAL[..], auth, &[("TURN_TTL_SECONDS", "3600")]].concat()).await;
        let grant = broker.mint_with(&user_token("ann")).await.grant();
        broker.advance(2_700);
        let renewed = broker.mint_with(&grant).await;
        assert_eq!((renewed.status.as_u16(), &renewed.json()["source"]), (200, &"manual".into()));
        broker.order(Method::POST, "/api/users/ann/block").await;
        broker.advance(2_700);
        let blocked = broker.mint_with(&renewed.grant()).await;
        assert_eq!(blocked.error(), (403, "USER_BLOCKED"), "{auth:?}");
    }
}
