//! The public keys of an issuer, from its JWKS document. Pure. Each key has one algorithm, which its type decides: a token
//! cannot choose another one for it. Keys for other purposes are left out.

use jsonwebtoken::jwk::{AlgorithmParameters, EllipticCurve, Jwk, KeyAlgorithm, PublicKeyUse};
use jsonwebtoken::{Algorithm, DecodingKey};
use serde::Deserialize;
use serde_json::Value;

/// The most keys that are kept. Issuers have two or three.
pub(super) const KEYS_MAX: usize = 64;

/// The public keys of one issuer, at most [`KEYS_MAX`].
#[derive(Debug, Default)]
pub(super) struct KeySet(Vec<Key>);

#[derive(Deserialize)]
struct Document {
    keys: Vec<Value>,
}

#[derive(Debug)]
struct Key {
    id: Option<String>,
    algorithm: Algorithm,
    decoder: DecodingKey,
}

impl KeySet {
    /// The keys in a JWKS document. `None` if this is no such document, or it has no key that can verify a token.
    pub(super) fn parse(document: &[u8]) -> Option<Self> {
        let Document { keys } = serde_json::from_slice(document).ok()?;
        // What is not understood is left out (RFC 7517, section 5).
        let known = keys.into_iter().filter_map(|key| Key::of(serde_json::from_value(key).ok()?));
        let keys: Vec<Key> = known.take(KEYS_MAX).collect();
        (!keys.is_empty()).then_some(Self(keys))
    }

    pub(super) fn count(&self) -> usize {
        self.0.len()
    }

    /// The only key with this id for this algorithm. Without an id, the only key for the algorithm. `None` if there is no such key, or more
    /// than one.
    pub(super) fn find(&self, algorithm: Algorithm, id: Option<&str>) -> Option<&DecodingKey> {
        let is_named = |key: &Key| id.is_none() || key.id.as_deref() == id;
        let mut fitting = self.0.iter().filter(|key| key.algorithm == algorithm && is_named(key));
        match (fitting.next(), fitting.next()) {
            (Some(only), None) => Some(&only.decoder),
            _ => None,
        }
    }
}

impl Key {
    /// `None` for a key that verifies no tokens.
    fn of(jwk: Jwk) -> Option<Self> {
        let (algorithm, key_algorithm) = match &jwk.algorithm {
            AlgorithmParameters::RSA(_) => (Algorithm::RS256, KeyAlgorithm::RS256),
            AlgorithmParameters::EllipticCurve(key) if key.curve == EllipticCurve::P256 => {
                (Algorithm::ES256, KeyAlgorithm::ES256)
            }
            AlgorithmParameters::OctetKeyPair(key) if key.curve == EllipticCurve::Ed25519 => {
                (Algorithm::EdDSA, KeyAlgorithm::EdDSA)
            }
            // Symmetric keys are left out, too: a published key is no secret.
            _ => return None,
        };
        let is_for_signatures = matches!(jwk.common.public_key_use, None | Some(PublicKeyUse::Signature));
        let is_for_algorithm = jwk.common.key_algorithm.is_none_or(|named| named == key_algorithm);
        if !is_for_signatures || !is_for_algorithm {
            return None;
        }
        let decoder = DecodingKey::from_jwk(&jwk).ok()?;
        Some(Self { id: jwk.common.key_id, algorithm, decoder })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn parse(keys: &Value) -> Option<KeySet> {
        KeySet::parse(&serde_json::to_vec(&json!({ "keys": keys })).unwrap())
    }

    fn rsa(id: &str) -> Value {
        json!({"kty": "RSA", "kid": id, "n": "AQAB", "e": "AQAB"})
    }

    #[test]
    fn a_key_is_found_by_its_id_and_algorithm() {
        let ec = json!({"kty": "EC", "crv": "P-256", "kid": "b", "alg": "ES256", "use": "sig", "x": "AA", "y": "AA"});
        let ed = json!({"kty": "OKP", "crv": "Ed25519", "kid": "c", "x": "AA"});
        let set = parse(&json!([rsa("a"), ec, ed])).unwrap();
        for (algorithm, id) in [(Algorithm::RS256, "a"), (Algorithm::ES256, "b"), (Algorithm::EdDSA, "c")] {
            assert!(set.find(algorithm, Some(id)).is_some() && set.find(algorithm, None).is_some());
            assert!(set.find(algorithm, Some("d")).is_none());
        }
        assert!(
            set.find(Algorithm::RS256, Some("b")).is_none() && set.find(Algorithm::HS256, None).is_none()
        );
    }

    #[test]
    fn a_token_without_a_key_id_is_good_only_if_exactly_one_key_has_its_algorithm() {
        let set = parse(&json!([rsa("a"), rsa("b")])).unwrap();
        assert!(set.find(Algorithm::RS256, None).is_none());
        assert!(set.find(Algorithm::RS256, Some("a")).is_some());
    }

    #[test]
    fn keys_for_another_purpose_are_left_out() {
        for other in [
            json!({"kty": "oct", "kid": "a", "k": "c2VjcmV0"}),
            json!({"kty": "RSA", "kid": "a", "use": "enc", "n": "AQAB", "e": "AQAB"}),
            json!({"kty": "RSA", "kid": "a", "alg": "RS512", "n": "AQAB", "e": "AQAB"}),
            json!({"kty": "EC", "crv": "P-384", "kid": "a", "x": "AA", "y": "AA"}),
            json!({"kty": "RSA", "kid": "a", "n": "!", "e": "AQAB"}),
            json!({"kty": "EC", "crv": "secp256k1", "kid": "a", "x": "AA", "y": "AA"}),
            json!({"kty": "OKP", "crv": "X25519", "kid": "a", "x": "AA"}),
            json!({"kty": "RSA", "kid": "a", "alg": "new", "n": "AQAB", "e": "AQAB"}),
            json!({"kty": "RSA", "kid": "a", "key_ops": ["new"], "alg": "RS512", "n": "AQAB", "e": "AQAB"}),
            json!({"kty": "new"}),
            json!({"kty": "RSA", "kid": 7, "n": "AQAB", "e": "AQAB"}),
        ] {
            assert!(parse(&json!([other])).is_none(), "{other}");
            assert!(parse(&json!([other, rsa("b")])).is_some(), "{other}");
        }
    }

    #[test]
    fn a_document_without_keys_is_refused() {
        for text in ["", "[]", "{}", r#"{"keys":{}}"#, r#"{"keys":[]}"#, "<html>"] {
            assert!(KeySet::parse(text.as_bytes()).is_none(), "{text}");
        }
    }

    #[test]
    fn no_more_than_64_keys_are_kept() {
        let keys: Vec<Value> = (0..=KEYS_MAX).map(|id| rsa(&id.to_string())).collect();
        let set = parse(&json!(keys)).unwrap();
        assert!(set.find(Algorithm::RS256, Some("63")).is_some());
        assert!(set.find(Algorithm::RS256, Some("64")).is_none());
    }
}
