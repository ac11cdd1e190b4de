//! The signatures of tokens, verified by ring, which TLS uses too. It verifies the four algorithms of the configuration and no
//! other.

use jsonwebtoken::{Algorithm, DecodingKey, DecodingKeyKind};
use ring::hmac;
use ring::signature::{
    ECDSA_P256_SHA256_FIXED, ED25519, RSA_PKCS1_2048_8192_SHA256, RsaPublicKeyComponents, UnparsedPublicKey,
};

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
