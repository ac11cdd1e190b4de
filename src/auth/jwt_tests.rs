//! Tests of tokens that anybody may send: no bytes cause a panic, and nothing but a signature by the key is accepted. The table of
//! bad tokens is in tests/it/users/tokens.rs.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jsonwebtoken::{Algorithm, DecodingKey};
use proptest::prelude::*;
use serde_json::json;
use turn_ledger::{Timestamp, User};

use super::jwt::{self, TokenFault, claims, header};
use crate::config::testing::load;
use turn_base::is_jwt;

const SECRET: &str = "a-secret-of-at-least-32-characters";

fn user(claims: &serde_json::Value, now: Timestamp) -> Result<User, TokenFault> {
    let config = load([("AUTH_JWT_SECRET", SECRET)]).auth.unwrap();
    jwt::user(&config, claims.as_object().unwrap(), now).map(|(user, _)| user)
}

fn at(seconds: i64) -> Timestamp {
    Timestamp::from_millis(seconds * 1_000)
}

/// Everything that the service does with a token.
fn judge(token: &str) {
    let key = DecodingKey::from_secret(SECRET.as_bytes());
    let _ = is_jwt(token);
    let Ok(header) = header(token) else { return };
    assert!(claims(token, header.alg, &key).is_err(), "{token}");
}

#[test]
fn a_jwt_is_a_token_whose_first_part_is_an_object_with_alg() {
    let first = |json: &str| format!("{}.e30.", URL_SAFE_NO_PAD.encode(json));
    for json in [r#"{"alg":"HS256"}"#, r#"{"alg":"none"}"#, r#"{"typ":"JWT","alg":7}"#] {
        assert!(is_jwt(&first(json)), "{json}");
    }
    for json in ["{}", r#"["alg"]"#, r#""alg""#, "alg", r#"{"ALG":"HS256"}"#] {
        assert!(!is_jwt(&first(json)), "{json}");
    }
    assert!(!is_jwt("") && !is_jwt(".") && !is_jwt("a.b.c"));
}

#[test]
fn a_token_ends_at_its_expiry_and_the_issuers_clock_may_be_30_seconds_ahead() {
    let user = |claims: serde_json::Value, now| user(&claims, at(now));
    let lives = json!({"sub": "ann", "exp": 1_000, "nbf": 500});
    assert!(user(lives.clone(), 999).is_ok() && user(lives.clone(), 470).is_ok());
    assert_eq!(user(lives.clone(), 1_000), Err(TokenFault::Expired));
    assert_eq!(user(lives, 469), Err(TokenFault::NotYet));
    for exp in [json!(null), json!("1000"), json!(-1), json!(1e300), json!([1_000])] {
        assert_eq!(user(json!({"sub": "ann", "exp": exp}), 0), Err(TokenFault::NoExpiry), "{exp}");
    }
    assert!(user(json!({"sub": "ann", "exp": 1_000.5}), 0).is_ok(), "a fraction is allowed");
    assert_eq!(user(json!({"sub": "ann", "exp": 1_000, "nbf": "soon"}), 900), Err(TokenFault::NotYet));
}

#[test]
fn a_key_verifies_no_algorithm_of_another_family() {
    let token = format!("{}.e30.AAAA", URL_SAFE_NO_PAD.encode(r#"{"alg":"HS256"}"#));
    let public = DecodingKey::from_rsa_raw_components(&[1; 256], &[1, 0, 1]);
    assert_eq!(claims(&token, Algorithm::HS256, &public), Err(TokenFault::Signature));
}

proptest! {
    #[test]
    fn no_text_causes_a_panic(token in "\\PC*") {
        judge(&token);
    }

    #[test]
    fn no_parts_cause_a_panic(parts in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..60), 0..5)) {
        let parts: Vec<String> = parts.iter().map(|part| URL_SAFE_NO_PAD.encode(part)).collect();
        judge(&parts.join("."));
    }

    #[test]
    fn no_header_and_no_claims_cause_a_panic(
        algorithm in prop::sample::select(vec!["HS256", "RS256", "ES256", "EdDSA", "none", "HS512", ""]),
        key_id in "\\PC{0,20}", claims in "\\PC{0,60}", signature in prop::collection::vec(any::<u8>(), 0..80),
    ) {
        let header = URL_SAFE_NO_PAD.encode(json!({"alg": algorithm, "kid": key_id}).to_string());
        let token = format!("{header}.{}.{}", URL_SAFE_NO_PAD.encode(claims), URL_SAFE_NO_PAD.encode(signature));
        prop_assert!(is_jwt(&token));
        judge(&token);
    }

    #[test]
    fn no_claims_cause_a_panic(exp in any::<f64>(), nbf in any::<i64>(), now in any::<i64>(), sub in "\\PC*") {
        let claims = json!({"exp": exp, "nbf": nbf, "sub": sub});
        let _ = user(&claims, Timestamp::from_millis(now));
    }
}
