//! Tests of users: which tokens name one, what a renewal keeps, whose allowance counts, and what the ledger has of it.

use std::path::Path;

use crate::support::fake_issuer::{FakeIssuer, Signer};
use crate::support::{
    Answer, FakeCloudflare, REPORTER, StateDir, TestBroker, broker_at, eventually, with_cloudflare_and,
};
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};
use turn_broker::journal::Journal;
use turn_broker::journal::store::Store;
use turn_ledger::changes::Stored;
use turn_ledger::spender::Spender;

const SECRET: &str = "jwt-fixture-secret-of-32-characters-or-more";
/// The time of [`TestBroker::start`].
const NOW: i64 = 1_736_942_400;
const HS256: [(&str, &str); 1] = [("AUTH_JWT_SECRET", SECRET)];
const REQUIRED: [(&str, &str); 2] = [("AUTH_JWT_SECRET", SECRET), ("AUTH_REQUIRED", "true")];

fn claims(user: &str) -> Value {
    json!({"sub": user, "exp": NOW + 3_600})
}

fn token(user: &str) -> String {
    Signer::hs256(SECRET).sign(None, &json!({"sub": user, "exp": NOW + 86_400}))
}

async fn mint_with(broker: &TestBroker, token: &str) -> Answer {
    mint_at(broker, "/api/turn-credentials", token).await
}

async fn mint_at(broker: &TestBroker, path: &str, token: &str) -> Answer {
    Answer::of(broker.request(Method::GET, path).bearer_auth(token)).await
}

/// The stored ledger, once its broker has ended.
async fn stored(directory: &Path) -> Stored {
    let mut stored = None;
    eventually("the ledger is free", async || {
        stored = Journal::open::<Store>(directory.to_owned()).ok().map(|(_, stored)| stored);
        stored.is_some()
    })
    .await;
    stored.unwrap()
}

fn shown(spender: Option<&Spender>) -> Value {
    serde_json::to_value(spender).unwrap()
}

#[tokio::test]
async fn a_token_of_each_algorithm_names_a_user() {
    let signers = [Signer::rs256(), Signer::es256(), Signer::ed_dsa()];
    let keys: Vec<Value> = signers.iter().map(|signer| signer.public(signer.algorithm())).collect();
    let issuer = FakeIssuer::start(&keys).await;
    let url = issuer.url();
    let broker = TestBroker::start(&[("AUTH_JWKS_URL", &url), ("AUTH_REQUIRED", "true")]).await;
    for signer in &signers {
        let token = signer.sign(Some(signer.algorithm()), &claims("ann"));
        assert_eq!(mint_with(&broker, &token).await.status, 200, "{}", signer.algorithm());
        let without_id = signer.sign(None, &claims("ann"));
        assert_eq!(mint_with(&broker, &without_id).await.status, 200, "the only key for its algorithm");
    }
    assert_eq!(issuer.requests(), 1);
}

#[tokio::test]
async fn bad_tokens_are_refused_also_where_anonymous_callers_are_not() {
    let (rs256, es256) = (Signer::rs256(), Signer::es256());
    let issuer = FakeIssuer::start(&[rs256.public("rsa"), es256.public("ec")]).await;
    let url = issuer.url();
    let settings = [
        ("AUTH_JWKS_URL", url.as_str()),
        ("AUTH_JWT_SECRET", SECRET),
        ("AUTH_ISSUER", "https://issuer.example/"),
        ("AUTH_AUDIENCE", "turn-broker"),
    ];
    let broker = TestBroker::start(&settings).await;
    let good =
        json!({"sub": "ann", "exp": NOW + 60, "iss": "https://issuer.example/", "aud": ["x", "turn-broker"]});
    let with = |name: &str, value: Value| {
        let mut claims = good.clone();
        claims[name] = value;
        claims
    };
    let hs256 = Signer::hs256(SECRET);
    for (signer, key_id) in [(&hs256, None), (&rs256, Some("rsa")), (&es256, Some("ec"))] {
        assert_eq!(mint_with(&broker, &signer.sign(key_id, &good)).await.status, 200);
    }
    let public = rs256.public("rsa");
    let as_secret = [public.to_string(), public["n"].as_str().unwrap().to_owned()];
    let bytes = good.to_string().into_bytes();
    let valid = hs256.sign(None, &good);
    let (signed, signature) = valid.rsplit_once('.').unwrap();
    let first = |text: &str| if text.starts_with('A') { "B" } else { "A" };
    let changed = format!("{signed}.{}{}", first(signature), &signature[1..]);
    let bad = [
        ("alg none", Signer::hs256("").sign_bytes(&json!({"alg": "none"}), &bytes)),
        (
            "alg none, no signature",
            format!("{}.", hs256.sign_bytes(&json!({"alg": "none"}), &bytes).rsplit_once('.').unwrap().0),
        ),
        ("HS256 with the public key", Signer::hs256(&as_secret[0]).sign(Some("rsa"), &good)),
        ("HS256 with the modulus", Signer::hs256(&as_secret[1]).sign(Some("rsa"), &good)),
        ("HS512", hs256.sign_bytes(&json!({"alg": "HS512"}), &bytes)),
        ("RS256, signed by HS256", hs256.sign_bytes(&json!({"alg": "RS256", "kid": "rsa"}), &bytes)),
        ("ES256 with the id of the RSA key", es256.sign(Some("rsa"), &good)),
        ("another key of that id", Signer::es256().sign(Some("ec"), &good)),
        ("an unknown key", es256.sign(Some("other"), &good)),
        ("crit", hs256.sign_bytes(&json!({"alg": "HS256", "crit": ["b64"]}), &bytes)),
        ("another secret", Signer::hs256("another-secret-of-at-least-32-characters").sign(None, &good)),
        ("changed signature", changed),
        ("no signature", format!("{signed}.")),
        ("two parts", signed.to_owned()),
        ("four parts", format!("{valid}.AA")),
        ("claims that are no JSON", hs256.sign_bytes(&json!({"alg": "HS256"}), b"{")),
        ("claims that are no object", hs256.sign_bytes(&json!({"alg": "HS256"}), b"[]")),
        ("claims that are not UTF-8", hs256.sign_bytes(&json!({"alg": "HS256"}), b"{\"sub\":\"\xff\"}")),
        ("expired", hs256.sign(None, &with("exp", json!(NOW - 31)))),
        ("no exp", hs256.sign(None, &with("exp", Value::Null))),
        ("exp as text", hs256.sign(None, &with("exp", json!((NOW + 60).to_string())))),
        ("not yet", hs256.sign(None, &with("nbf", json!(NOW + 31)))),
        ("wrong issuer", hs256.sign(None, &with("iss", json!("https://issuer.example")))),
        ("no issuer", hs256.sign(None, &with("iss", Value::Null))),
        ("wrong audience", hs256.sign(None, &with("aud", json!(["turn"])))),
        ("no audience", hs256.sign(None, &with("aud", Value::Null))),
        ("no sub", hs256.sign(None, &with("sub", Value::Null))),
        ("sub as number", hs256.sign(None, &with("sub", json!(7)))),
        ("empty sub", hs256.sign(None, &with("sub", json!("")))),
        ("sub too long", hs256.sign(None, &with("sub", json!("u".repeat(129))))),
        ("sub with a line break", hs256.sign(None, &with("sub", json!("a\nb")))),
    ];
    for (what, token) in bad {
        let answer = mint_with(&broker, &token).await;
        assert_eq!(answer.error(), (401, "INVALID_TOKEN".into()), "{what}");
        assert!(!answer.text.contains(&token), "{what}");
    }
    assert_eq!(mint_with(&broker, &hs256.sign(None, &with("exp", json!(NOW - 29)))).await.status, 200);
    assert_eq!(broker.mint().await.status, 200, "anonymous");
}

#[tokio::test]
async fn another_claim_may_name_the_user() {
    let broker = TestBroker::start(&[HS256[0], ("AUTH_USER_CLAIM", "https://app.example/id")]).await;
    let signer = Signer::hs256(SECRET);
    let named = signer.sign(None, &json!({"https://app.example/id": "ann", "exp": NOW + 60}));
    assert_eq!(mint_with(&broker, &named).await.status, 200);
    assert_eq!(mint_with(&broker, &signer.sign(None, &claims("ann"))).await.error().0, 401);
}

#[tokio::test]
async fn without_settings_every_bearer_token_is_a_grant() {
    let broker = TestBroker::start(&[]).await;
    assert_eq!(mint_with(&broker, &token("ann")).await.status, 200, "ignored");
}

#[tokio::test]
async fn a_user_is_required_if_the_operator_says_so() {
    let (cloudflare, broker) =
        with_cloudflare_and(&[REQUIRED[0], REQUIRED[1], ("DOORS", "turn,matrix,ice")]).await;
    for path in [
        "/api/turn-credentials",
        "/turn?service=turn",
        "/_matrix/client/v3/voip/turnServer",
        "/ice?service=turn",
    ] {
        let refused = [broker.get(path).await, mint_at(&broker, path, "no-grant").await];
        for answer in refused {
            assert_eq!(answer.error(), (401, "UNAUTHORIZED".into()), "{path}");
        }
        let expired = Signer::hs256(SECRET).sign(None, &json!({"sub": "ann", "exp": NOW - 60}));
        assert_eq!(mint_at(&broker, path, &expired).await.error(), (401, "INVALID_TOKEN".into()), "{path}");
        assert_eq!(mint_at(&broker, path, &token("ann")).await.status, 200, "{path}");
    }
    assert_eq!(cloudflare.history().mints(), 4);
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
        assert_eq!(answer.error(), (401, code.into()));
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
        .bearer_auth(token("ann"));
    let grant = Answer::of(request).await.json()["grant"].as_str().unwrap().to_owned();
    assert_eq!(mint_with(&broker, &grant).await.error().0, 401, "too early, so the grant proves nothing");
    broker.finish().await;

    let broker = broker_at(&cloudflare, &settings).await;
    broker.advance(2_700);
    let renewed = mint_with(&broker, &grant).await;
    assert_eq!(renewed.status, 200);
    assert_eq!(mint_with(&broker, &grant).await.error().0, 401, "a grant renews once");
    broker.advance(2_700);
    let next = renewed.json()["grant"].as_str().unwrap().to_owned();
    assert_eq!(mint_at(&broker, "/api/turn-credentials?label=room-2", &next).await.status, 200);
    broker.finish().await;

    let mut rows: Vec<_> = stored(Path::new(state.path())).await.grants.into_values().collect();
    rows.sort_by_key(|row| row.issued_at);
    let spenders: Vec<Value> = rows.iter().map(|row| shown(row.spender.as_deref())).collect();
    let ann = |label| json!({"user": "ann", "label": label, "origin": "http://localhost:5173"});
    assert_eq!(spenders[spenders.len() - 2..], [ann("room-1"), ann("room-2")]);
}

#[tokio::test]
async fn a_label_is_stored_or_refused_at_every_route_that_mints() {
    let state = StateDir::new();
    let settings = [("STATE_DIR", state.path()), ("DOORS", "turn,matrix,ice")];
    let (cloudflare, broker) = with_cloudflare_and(&settings).await;
    for path in [
        "/api/turn-credentials?",
        "/turn?service=turn&",
        "/_matrix/client/v3/voip/turnServer?",
        "/ice?service=turn&",
    ] {
        for bad in ["a%20b", "%C3%BC", &"x".repeat(65), "a&label=b"] {
            let answer = broker.get(&format!("{path}label={bad}")).await;
            assert_eq!(answer.error(), (400, "INVALID_REQUEST".into()), "{path} {bad}");
        }
        assert_eq!(broker.get(&format!("{path}label=team/room-1:a@b.c_d")).await.status, 200, "{path}");
    }
    assert_eq!(cloudflare.history().mints(), 4);
    broker.finish().await;
    let rows = stored(Path::new(state.path())).await.grants;
    let labels: Vec<Value> = rows.values().map(|row| shown(row.spender.as_deref())).collect();
    assert_eq!(labels, vec![json!({"label": "team/room-1:a@b.c_d"}); 4]);
}

#[tokio::test]
async fn a_reporter_names_users_and_labels_and_a_client_does_not() {
    let state = StateDir::new();
    let (_cloudflare, broker) = with_cloudflare_and(&[("STATE_DIR", state.path())]).await;
    let grant = broker.mint().await.json()["grant"].as_str().unwrap().to_owned();
    let body = |id: &str, user: &str| json!({"connectionId": id, "user": user, "label": "room-1"});
    assert_eq!(broker.post(&grant, "/api/connections", body("call", "eve")).await.status, 201);
    assert_eq!(broker.post(REPORTER, "/api/connections", body("other", "bob")).await.status, 201);
    for bad in [json!({"user": ""}), json!({"user": "u".repeat(129)}), json!({"label": "a b"})] {
        let refused = broker.post(REPORTER, "/api/connections", bad.clone()).await;
        assert_eq!(refused.error(), (400, "INVALID_REQUEST".into()), "{bad}");
    }
    broker.finish().await;
    let (_cloudflare, broker) = with_cloudflare_and(&[("STATE_DIR", state.path())]).await;
    broker.finish().await;
    let stored = stored(Path::new(state.path())).await;
    assert_eq!(
        stored.grants.values().map(|row| shown(row.spender.as_deref())).collect::<Vec<_>>(),
        [Value::Null]
    );
    let named: Vec<_> =
        stored.connections.values().map(|row| (&*row.id, shown(row.spender.as_deref()))).collect();
    assert_eq!(named, [("call", Value::Null), ("other", json!({"user": "bob", "label": "room-1"}))]);
}

#[tokio::test]
async fn a_new_key_is_fetched_when_its_first_token_comes_and_a_withdrawn_one_is_forgotten() {
    let (old, new) = (Signer::es256(), Signer::es256());
    let issuer = FakeIssuer::start(&[old.public("old")]).await;
    let url = issuer.url();
    let broker = TestBroker::start(&[("AUTH_JWKS_URL", &url)]).await;
    let (by_old, by_new) = (old.sign(Some("old"), &claims("ann")), new.sign(Some("new"), &claims("ann")));
    assert_eq!(mint_with(&broker, &by_old).await.status, 200);
    issuer.publish(&[new.public("new")]);
    for _ in 0..3 {
        assert_eq!(mint_with(&broker, &by_new).await.error(), (401, "INVALID_TOKEN".into()));
    }
    assert_eq!(issuer.requests(), 1, "the last call is too recent");
    broker.advance(10);
    assert_eq!(mint_with(&broker, &by_new).await.status, 200);
    assert_eq!((mint_with(&broker, &by_old).await.error().0, issuer.requests()), (401, 2));
}

#[tokio::test]
async fn unknown_keys_cause_one_call_in_ten_seconds() {
    let signer = Signer::es256();
    let issuer = FakeIssuer::start(&[signer.public("a")]).await;
    let url = issuer.url();
    let broker = TestBroker::start(&[("AUTH_JWKS_URL", &url)]).await;
    for round in 1..=3 {
        let tokens: Vec<String> =
            (0..20).map(|n| signer.sign(Some(&format!("unknown-{n}")), &claims("ann"))).collect();
        let answers = tokens.iter().map(|token| mint_with(&broker, token));
        for answer in futures_join(answers).await {
            assert_eq!(answer.error(), (401, "INVALID_TOKEN".into()));
        }
        assert_eq!(issuer.requests(), round);
        broker.advance(10);
    }
}

/// Waits for all of them at the same time.
async fn futures_join(all: impl Iterator<Item = impl Future<Output = Answer>>) -> Vec<Answer> {
    let mut waiting: Vec<_> = all.map(Box::pin).collect();
    let mut answers = Vec::new();
    std::future::poll_fn(|context| {
        waiting.retain_mut(|one| match one.as_mut().poll(context) {
            std::task::Poll::Ready(answer) => {
                answers.push(answer);
                false
            }
            std::task::Poll::Pending => true,
        });
        if waiting.is_empty() { std::task::Poll::Ready(()) } else { std::task::Poll::Pending }
    })
    .await;
    answers
}

#[tokio::test]
async fn while_the_issuer_is_down_the_last_good_keys_stay() {
    let signer = Signer::rs256();
    let issuer = FakeIssuer::start(&[signer.public("a")]).await;
    let url = issuer.url();
    let broker = TestBroker::start(&[("AUTH_JWKS_URL", &url)]).await;
    let known = signer.sign(Some("a"), &json!({"sub": "ann", "exp": NOW + 86_400}));
    let unknown = signer.sign(Some("b"), &json!({"sub": "ann", "exp": NOW + 86_400}));
    assert_eq!(mint_with(&broker, &known).await.status, 200);
    for (status, body) in [
        (StatusCode::INTERNAL_SERVER_ERROR, String::new()),
        (StatusCode::OK, "<html>".to_owned()),
        (StatusCode::OK, json!({"keys": []}).to_string()),
        (StatusCode::OK, "x".repeat(65 * 1_024)),
        (StatusCode::FOUND, String::new()),
    ] {
        issuer.answer(status, body);
        broker.advance(10);
        let answer = mint_with(&broker, &unknown).await;
        assert_eq!(answer.error(), (503, "OVERLOADED".into()), "nobody knows whether the key is good");
        assert_eq!(answer.header("retry-after"), Some("10"));
        assert_eq!(mint_with(&broker, &known).await.status, 200);
    }
    assert_eq!(broker.metric("turn_broker_key_fetches_total{outcome=\"status\"}").await, Some(2));
    issuer.publish(&[signer.public("b")]);
    broker.advance(10);
    assert_eq!(mint_with(&broker, &unknown).await.status, 200);
}

#[tokio::test]
async fn a_broker_that_starts_while_the_issuer_is_down_serves_users_once_it_is_back() {
    let signer = Signer::ed_dsa();
    let issuer = FakeIssuer::start(&[]).await;
    let url = issuer.url();
    let broker = TestBroker::start(&[("AUTH_JWKS_URL", &url)]).await;
    let token = signer.sign(Some("a"), &claims("ann"));
    assert_eq!(mint_with(&broker, &token).await.error().0, 503);
    assert_eq!(broker.mint().await.status, 200, "anonymous callers are served");
    issuer.publish(&[signer.public("a")]);
    broker.advance(10);
    assert_eq!(mint_with(&broker, &token).await.status, 200);
}

#[tokio::test]
async fn the_rate_counts_for_each_user_and_ten_times_as_much_for_their_address() {
    let settings = [HS256[0], ("RATE_LIMIT_REQUESTS", "2"), ("RATE_LIMIT_WINDOW_SECONDS", "86400")];
    let broker = TestBroker::start(&settings).await;
    let first = mint_with(&broker, &token("user-0")).await;
    assert_eq!((first.status.as_u16(), first.header("ratelimit-limit")), (200, Some("2")));
    assert_eq!(mint_with(&broker, &token("user-0")).await.status, 200);
    assert_eq!(mint_with(&broker, &token("user-0")).await.error(), (429, "RATE_LIMITED".into()));
    for user in 1..10 {
        for _ in 0..2 {
            assert_eq!(mint_with(&broker, &token(&format!("user-{user}"))).await.status, 200, "{user}");
        }
    }
    let over = mint_with(&broker, &token("user-10")).await;
    assert_eq!((over.error().0, over.header("ratelimit-limit")), (429, Some("20")), "the address");
    let elsewhere =
        broker.request(Method::GET, "/api/turn-credentials").header("x-forwarded-for", "203.0.113.9");
    assert_eq!(Answer::of(elsewhere.bearer_auth(token("user-11"))).await.status, 200);
    let elsewhere =
        broker.request(Method::GET, "/api/turn-credentials").header("x-forwarded-for", "203.0.113.9");
    assert_eq!(
        Answer::of(elsewhere.bearer_auth(token("user-0"))).await.status,
        429,
        "a user is one everywhere"
    );
    assert_eq!(broker.mint().await.status, 200, "callers without a user have an allowance of their own");
}

#[tokio::test]
async fn bad_tokens_count_against_the_allowance_of_anonymous_callers_at_their_address() {
    let settings = [HS256[0], ("RATE_LIMIT_REQUESTS", "2"), ("RATE_LIMIT_WINDOW_SECONDS", "86400")];
    let broker = TestBroker::start(&settings).await;
    let bad = Signer::hs256("another-secret-of-at-least-32-characters").sign(None, &claims("ann"));
    for status in [401, 401, 429] {
        assert_eq!(mint_with(&broker, &bad).await.status, status);
    }
    assert_eq!(mint_with(&broker, &token("ann")).await.status, 200, "users are served");
}

#[tokio::test]
async fn renewals_of_a_user_count_against_the_users_renewals() {
    let settings = [
        HS256[0],
        ("RATE_LIMIT_REQUESTS", "3"),
        ("RATE_LIMIT_RENEWALS", "1"),
        ("TURN_TTL_SECONDS", "3600"),
        ("RATE_LIMIT_WINDOW_SECONDS", "86400"),
    ];
    let (_cloudflare, broker) = with_cloudflare_and(&settings).await;
    let mut grants = vec![];
    for user in ["ann", "ann", "bob"] {
        grants.push(mint_with(&broker, &token(user)).await.json()["grant"].as_str().unwrap().to_owned());
    }
    broker.advance(2_700);
    for (grant, status) in grants.iter().zip([200, 429, 200]) {
        assert_eq!(mint_with(&broker, grant).await.status, status);
    }
}
