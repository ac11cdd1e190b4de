//! A fake issuer of users' tokens on loopback: keys of each kind, signed tokens, and a list of public keys that a test changes.
//!
//! Invariant: a request is counted before its response is sent.

use std::sync::atomic::{AtomicUsize, Ordering};

use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use ring::hmac;
use ring::rand::SystemRandom;
use ring::signature::{
    ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, Ed25519KeyPair, KeyPair, RSA_PKCS1_SHA256, RsaKeyPair,
    RsaPublicKeyComponents,
};

use super::http_server::HttpServer;
use crate::support::prelude::*;

/// Only for tests: made by `openssl genpkey -algorithm RSA`.
const RSA_KEY: &[u8] = include_bytes!("issuer_rsa.pk8");

const JWT_SECRET: &str = "jwt-fixture-secret-of-32-characters-or-more";
/// The setting with which a broker accepts each [`user_token`].
pub(crate) const USERS: (&str, &str) = ("AUTH_JWT_SECRET", JWT_SECRET);

/// A token of this user. It expires in 2100.
pub(crate) fn user_token(user: &str) -> String {
    sign(&json!({"sub": user, "exp": 4_102_444_800_u64}))
}

/// A token with these claims, signed with the secret of [`USERS`].
pub(crate) fn sign(claims: &Value) -> String {
    Signer::hs256(JWT_SECRET).sign(None, claims)
}

/// A key that signs tokens.
pub(crate) enum Signer {
    Hs256(String),
    Rs256(RsaKeyPair),
    Es256(EcdsaKeyPair),
    EdDsa(Ed25519KeyPair),
}

impl Signer {
    pub(crate) fn hs256(secret: &str) -> Self {
        Self::Hs256(secret.to_owned())
    }

    /// Always the same key.
    pub(crate) fn rs256() -> Self {
        Self::Rs256(RsaKeyPair::from_pkcs8(RSA_KEY).unwrap())
    }

    pub(crate) fn es256() -> Self {
        let (random, kind) = (SystemRandom::new(), &ECDSA_P256_SHA256_FIXED_SIGNING);
        let key = EcdsaKeyPair::generate_pkcs8(kind, &random).unwrap();
        Self::Es256(EcdsaKeyPair::from_pkcs8(kind, key.as_ref(), &random).unwrap())
    }

    pub(crate) fn ed_dsa() -> Self {
        let key = Ed25519KeyPair::generate_pkcs8(&SystemRandom::new()).unwrap();
        Self::EdDsa(Ed25519KeyPair::from_pkcs8(key.as_ref()).unwrap())
    }

    pub(crate) fn algorithm(&self) -> &'static str {
        match self {
            Self::Hs256(_) => "HS256",
            Self::Rs256(_) => "RS256",
            Self::Es256(_) => "ES256",
            Self::EdDsa(_) => "EdDSA",
        }
    }

    pub(crate) fn sign(&self, key_id: Option<&str>, claims: &Value) -> String {
        let mut header = json!({"typ": "JWT", "alg": self.algorithm()});
        if let Some(key_id) = key_id {
            header["kid"] = key_id.into();
        }
        self.sign_bytes(&header, claims.to_string().as_bytes())
    }

    /// A token with any header and any bytes as claims.
    pub(crate) fn sign_bytes(&self, header: &Value, claims: &[u8]) -> String {
        let encode = |bytes: &[u8]| URL_SAFE_NO_PAD.encode(bytes);
        let signed = format!("{}.{}", encode(header.to_string().as_bytes()), encode(claims));
        format!("{signed}.{}", encode(&self.signature(signed.as_bytes())))
    }

    fn signature(&self, signed: &[u8]) -> Vec<u8> {
        let random = SystemRandom::new();
        match self {
            Self::Hs256(secret) => {
                let key = hmac::Key::new(hmac::HMAC_SHA256, secret.as_bytes());
                hmac::sign(&key, signed).as_ref().to_vec()
            }
            Self::Rs256(key) => {
                let mut signature = vec![0; key.public().modulus_len()];
                key.sign(&RSA_PKCS1_SHA256, &random, signed, &mut signature).unwrap();
                signature
            }
            Self::Es256(key) => key.sign(&random, signed).unwrap().as_ref().to_vec(),
            Self::EdDsa(key) => key.sign(signed).as_ref().to_vec(),
        }
    }

    /// The public key as an entry of the list.
    pub(crate) fn public(&self, key_id: &str) -> Value {
        let encode = |bytes: &[u8]| URL_SAFE_NO_PAD.encode(bytes);
        match self {
            Self::Hs256(_) => panic!("a secret has no public key"),
            Self::Rs256(key) => {
                let key = RsaPublicKeyComponents::<Vec<u8>>::from(key.public());
                json!({"kty": "RSA", "use": "sig", "alg": "RS256", "kid": key_id, "n": encode(&key.n), "e": encode(&key.e)})
            }
            Self::Es256(key) => {
                let (x, y) = key.public_key().as_ref()[1..].split_at(32);
                json!({"kty": "EC", "crv": "P-256", "kid": key_id, "x": encode(x), "y": encode(y)})
            }
            Self::EdDsa(key) => {
                json!({"kty": "OKP", "crv": "Ed25519", "kid": key_id, "x": encode(key.public_key().as_ref())})
            }
        }
    }
}

/// The issuer. Dropping it stops it.
pub(crate) struct FakeIssuer {
    core: Arc<Core>,
    server: HttpServer,
}

#[derive(Default)]
struct Core {
    answer: Mutex<(StatusCode, String)>,
    requests: AtomicUsize,
}

impl FakeIssuer {
    /// Starts on a free port of 127.0.0.1, with these keys.
    pub(crate) async fn start(keys: &[Value]) -> Self {
        let core = Arc::new(Core::default());
        let answering = Arc::clone(&core);
        let router = Router::new().fallback(async move || {
            answering.requests.fetch_add(1, Ordering::SeqCst);
            answering.answer.lock().unwrap().clone()
        });
        let issuer = Self { core, server: HttpServer::start(router).await };
        issuer.publish(keys);
        issuer
    }

    /// The value of `AUTH_JWKS_URL`.
    pub(crate) fn url(&self) -> String {
        format!("http://{}/.well-known/jwks.json", self.server.address)
    }

    /// Lists these keys from now on.
    pub(crate) fn publish(&self, keys: &[Value]) {
        self.answer(StatusCode::OK, json!({ "keys": keys }).to_string());
    }

    /// Answers every request so from now on.
    pub(crate) fn answer(&self, status: StatusCode, body: String) {
        *self.core.answer.lock().unwrap() = (status, body);
    }

    /// How many requests have come.
    pub(crate) fn requests(&self) -> usize {
        self.core.requests.load(Ordering::SeqCst)
    }
}
