//! What a user's token must be. Pure: keys and time are arguments. The configuration decides which algorithm a key is for, and a
//! token that names another algorithm is refused. Every token has an expiry.

use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jsonwebtoken::dangerous::insecure_decode_claims;
use jsonwebtoken::{Algorithm, DecodingKey, DecodingKeyKind, Header, decode_header};
use ring::hmac;
use ring::signature::{
    ECDSA_P256_SHA256_FIXED, ED25519, RSA_PKCS1_2048_8192_SHA256, RsaPublicKeyComponents, UnparsedPublicKey,
};
use serde_json::{Map, Value};
use turn_ledger::{Timestamp, USER_FORM, User};

use crate::config::AuthConfig;

/// How far the issuer's clock may be ahead of ours, for `nbf`.
pub(super) const LEEWAY: Duration = Duration::from_secs(30);

/// Why a token names no user.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TokenFault {
    /// It is longer than [`SIGN_IN_MAX`](turn_ledger::SIGN_IN_MAX).
    #[error("it has more than 8,000 bytes")]
    TooLong,
    /// It is not a JWT.
    #[error("it cannot be read")]
    Malformed,
    /// Its algorithm is not HS256, RS256, ES256 or `EdDSA`, or no configured key is for it.
    #[error("its algorithm is not one of the configured keys'")]
    Algorithm,
    /// No key has its id.
    #[error("no key has its `kid`")]
    UnknownKey,
    /// Its key is not known here and cannot be fetched: the issuer cannot be reached, or too many tokens wait.
    #[error("the issuer's keys cannot be fetched")]
    KeysUnreachable,
    /// The signature is wrong.
    #[error("its signature is wrong")]
    Signature,
    /// It has no `exp`, or one that is not a time.
    #[error("it has no valid `exp`")]
    NoExpiry,
    /// It has expired.
    #[error("it has expired")]
    Expired,
    /// It is not valid yet, or its `nbf` is no time.
    #[error("its `nbf` is not a time that has come")]
    NotYet,
    /// It is another issuer's.
    #[error("its `iss` is not AUTH_ISSUER")]
    Issuer,
    /// It is for another service.
    #[error("its `aud` does not contain AUTH_AUDIENCE")]
    Audience,
    /// It names no user, or one of another form.
    #[error("the claim AUTH_USER_CLAIM is not a text of {USER_FORM}")]
    User,
}

/// How the token says that it is signed: with which of the four algorithms, and perhaps by which key. Nothing is verified yet.
pub(super) fn header(token: &str) -> Result<Header, TokenFault> {
    let header = decode_header(token).map_err(|_| TokenFault::Malformed)?;
    // `crit` names extensions that a reader must understand. We know none.
    if header.crit.is_some() {
        return Err(TokenFault::Malformed);
    }
    match header.alg {
        Algorithm::HS256 | Algorithm::RS256 | Algorithm::ES256 | Algorithm::EdDSA => Ok(header),
        _ => Err(TokenFault::Algorithm),
    }
}

/// The claims of a token that this key has signed with this algorithm.
pub(super) fn claims(
    token: &str,
    algorithm: Algorithm,
    key: &DecodingKey,
) -> Result<Map<String, Value>, TokenFault> {
    let (message, signature) = token.rsplit_once('.').ok_or(TokenFault::Malformed)?;
    let signature = URL_SAFE_NO_PAD.decode(signature).map_err(|_| TokenFault::Malformed)?;
    if !is_good(message.as_bytes(), &signature, algorithm, key) {
        return Err(TokenFault::Signature);
    }
    insecure_decode_claims(token).map_err(|_| TokenFault::Malformed)
}

/// The user that the verified claims name, and when the claims expire. An error if they are not valid at `now`, or do not say what the
/// settings expect.
pub(super) fn user(
    rules: &AuthConfig,
    claims: &Map<String, Value>,
    now: Timestamp,
) -> Result<(User, Timestamp), TokenFault> {
    let since_1970 = Duration::from_millis(u64::try_from(now.as_millis()).unwrap_or(0));
    let expiry = claims.get("exp").and_then(seconds).ok_or(TokenFault::NoExpiry)?;
    if since_1970 >= expiry {
        return Err(TokenFault::Expired);
    }
    if let Some(claim) = claims.get("nbf") {
        let begin = seconds(claim).ok_or(TokenFault::NotYet)?;
        if begin > since_1970.saturating_add(LEEWAY) {
            return Err(TokenFault::NotYet);
        }
    }
    let text = |claim: &str| claims.get(claim).and_then(Value::as_str);
    if rules.issuer.as_deref().is_some_and(|issuer| text("iss") != Some(issuer)) {
        return Err(TokenFault::Issuer);
    }
    if rules.audience.as_deref().is_some_and(|audience| !names(claims.get("aud"), audience)) {
        return Err(TokenFault::Audience);
    }
    let user = text(&rules.user_claim).and_then(User::new).ok_or(TokenFault::User)?;
    Ok((user, Timestamp::default().plus(expiry)))
}

/// Seconds since 1970, perhaps with a fraction.
fn seconds(claim: &Value) -> Option<Duration> {
    claim.as_f64().and_then(|seconds| Duration::try_from_secs_f64(seconds).ok())
}

/// Whether `aud`, a text or a list of texts, is or contains `expected`.
fn names(audiences: Option<&Value>, expected: &str) -> bool {
    match audiences {
        Some(Value::String(one)) => one == expected,
        Some(Value::Array(several)) => several.iter().any(|one| one == expected),
        _ => false,
    }
}

// The signatures of tokens, verified by ring, which TLS uses too. It verifies the four algorithms of the configuration and no
// other.

/// Whether this key has signed a message with this algorithm. `false` for an algorithm that is not one of the four, and for a key of
/// another algorithm.
pub(super) fn is_good(message: &[u8], signature: &[u8], algorithm: Algorithm, key: &DecodingKey) -> bool {
    // The kind does not tell a public key from a secret: both can be `SecretOrDer`. The family does.
    if !key.family().algorithms().contains(&algorithm) {
        return false;
    }
    let verified = match (algorithm, key.kind()) {
        (Algorithm::HS256, DecodingKeyKind::SecretOrDer(secret)) => {
            hmac::verify(&hmac::Key::new(hmac::HMAC_SHA256, secret), message, signature)
        }
        (Algorithm::RS256, DecodingKeyKind::RsaModulusExponent { n, e }) => {
            RsaPublicKeyComponents { n, e }.verify(&RSA_PKCS1_2048_8192_SHA256, message, signature)
        }
        (Algorithm::ES256, DecodingKeyKind::SecretOrDer(point)) => {
            UnparsedPublicKey::new(&ECDSA_P256_SHA256_FIXED, point).verify(message, signature)
        }
        (Algorithm::EdDSA, DecodingKeyKind::SecretOrDer(point)) => {
            UnparsedPublicKey::new(&ED25519, point).verify(message, signature)
        }
        _ => return false,
    };
    verified.is_ok()
}
