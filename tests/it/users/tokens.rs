//! Which tokens name a user, and which are refused.

use crate::support::prelude::*;

use super::{NOW, claims};

#[tokio::test]
async fn a_token_of_each_algorithm_names_a_user() {
    let signers = [Signer::rs256(), Signer::es256(), Signer::ed_dsa()];
    let keys: Vec<Value> = signers.iter().map(|signer| signer.public(signer.algorithm())).collect();
    let issuer = FakeIssuer::start(&keys).await;
    let url = issuer.url();
    let broker = TestBroker::start(&[("AUTH_JWKS_URL", &url), ("AUTH_REQUIRED", "true")]).await;
    for signer in &signers {
        let token = signer.sign(Some(signer.algorithm()), &claims("ann"));
        assert_eq!(broker.mint_with(&token).await.status, 200, "{}", signer.algorithm());
        let without_id = signer.sign(None, &claims("ann"));
        assert_eq!(broker.mint_with(&without_id).await.status, 200, "the only key for its algorithm");
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
        USERS,
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
    let hs256 = Signer::hs256(USERS.1);
    for (signer, key_id) in [(&hs256, None), (&rs256, Some("rsa")), (&es256, Some("ec"))] {
        assert_eq!(broker.mint_with(&signer.sign(key_id, &good)).await.status, 200);
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
        ("expired", hs256.sign(None, &with("exp", json!(NOW)))),
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
        ("sub too long", hs256.sign(None, &with("sub", json!("u".repeat(256))))),
        ("sub with a line break", hs256.sign(None, &with("sub", json!("a\nb")))),
    ];
    for (what, token) in bad {
        let answer = broker.mint_with(&token).await;
        assert_eq!(answer.error(), (401, "INVALID_TOKEN"), "{what}");
        assert!(!answer.text.contains(&token), "{what}");
    }
    assert_eq!(broker.mint_with(&hs256.sign(None, &with("nbf", json!(NOW + 29)))).await.status, 200);
    assert_eq!(broker.mint().await.status, 200, "anonymous");
}

#[tokio::test]
async fn another_claim_may_name_the_user() {
    let broker = TestBroker::start(&[USERS, ("AUTH_USER_CLAIM", "https://app.example/id")]).await;
    let signer = Signer::hs256(USERS.1);
    let named = signer.sign(None, &json!({"https://app.example/id": "ann", "exp": NOW + 60}));
    assert_eq!(broker.mint_with(&named).await.status, 200);
    assert_eq!(broker.mint_with(&signer.sign(None, &claims("ann"))).await.error().0, 401);
}

#[tokio::test]
async fn without_settings_every_bearer_token_is_a_grant() {
    let broker = TestBroker::start(&[]).await;
    assert_eq!(broker.mint_with(&user_token("ann")).await.status, 200, "ignored");
}
