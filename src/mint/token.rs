//! Grant tokens: the signed record of one issued credential. Only the holder of the key can make or alter a token, and
//! a token contains no TURN secret. Verifying a token needs no table of grants. Format: base64url of `version | id | source
//! | issued | expires | HMAC-SHA-256`.

use std::fmt;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;

use turn_ledger::{Grant, GrantId, IceSource, Timestamp, TokenKey, TokenKeys};

const VERSION: u8 = 1;
const ID_BYTES: usize = 16;
const PAYLOAD_BYTES: usize = 1 + ID_BYTES + 1 + 8 + 8;
const MAC_BYTES: usize = 32;
const TOKEN_CHARS: usize = (PAYLOAD_BYTES + MAC_BYTES) / 3 * 4;

/// A signed bearer token of one grant. A secret: `Debug` prints nothing of it.
#[derive(Clone, serde::Serialize)]
#[serde(transparent)]
pub struct GrantToken(String);

impl GrantToken {
    /// Whether `text` looks like a grant token. The signature is not checked.
    pub fn has_form(text: &str) -> bool {
        let starts_well = |bytes: Vec<u8>| bytes.first() == Some(&VERSION);
        text.len() == TOKEN_CHARS && URL_SAFE_NO_PAD.decode(text).is_ok_and(starts_well)
    }
}

impl fmt::Debug for GrantToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("GrantToken")
    }
}

/// The keys of grant tokens. `Debug` prints nothing of them.
#[derive(Debug)]
pub struct GrantKeys {
    signing: Hmac<Sha256>,
    /// Keys that sign no more, each with the end of the last grant whose token the key can have signed.
    earlier: Vec<(Hmac<Sha256>, Timestamp)>,
}

impl GrantKeys {
    /// Each key has the block length of SHA-256, which this HMAC takes.
    pub fn new(keys: &TokenKeys) -> Self {
        let hmac_of = |key: &TokenKey| Hmac::new(key.expose().into());
        let earlier = keys.earlier.iter().map(|earlier| (hmac_of(&earlier.key), earlier.until)).collect();
        Self { signing: hmac_of(&keys.signing), earlier }
    }

    /// Signs a grant.
    pub fn sign(&self, grant: &Grant) -> GrantToken {
        let mut bytes = encode(grant);
        let mac = self.signing.clone().chain_update(&bytes).finalize().into_bytes();
        bytes.extend_from_slice(&mac);
        GrantToken(URL_SAFE_NO_PAD.encode(bytes))
    }

    /// The grant in a token. `None` if none of these keys has signed the text. An earlier key counts only for a grant that ends no later
    /// than the last grant whose token the key can have signed. The signature is compared in constant time.
    pub fn verify(&self, token: &str) -> Option<Grant> {
        if token.len() > TOKEN_CHARS {
            return None;
        }
        let bytes = URL_SAFE_NO_PAD.decode(token).ok()?;
        let (payload, mac) = bytes.split_at_checked(PAYLOAD_BYTES)?;
        let is_signed = |key: &Hmac<Sha256>| key.clone().chain_update(payload).verify_slice(mac).is_ok();
        let grant = decode(payload)?;
        let mut earlier = self.earlier.iter().filter(|(_, until)| grant.expires_at <= *until);
        if is_signed(&self.signing) || earlier.any(|(key, _)| is_signed(key)) { Some(grant) } else { None }
    }
}

fn encode(grant: &Grant) -> Vec<u8> {
    let [issued_at, expires_at] = [grant.issued_at, grant.expires_at].map(|at| at.as_millis().to_be_bytes());
    let source = [grant.source.facts().token_number];
    [&[VERSION], &grant.id.as_bytes()[..], &source, &issued_at, &expires_at].concat()
}

fn decode(payload: &[u8]) -> Option<Grant> {
    let (version, rest) = payload.split_first()?;
    let (id, rest) = rest.split_first_chunk::<ID_BYTES>()?;
    let (source, rest) = rest.split_first()?;
    let (issued_at, rest) = rest.split_first_chunk::<8>()?;
    let (expires_at, _) = rest.split_first_chunk::<8>()?;
    let source = IceSource::ALL.into_iter().find(|candidate| candidate.facts().token_number == *source)?;
    (*version == VERSION).then(|| Grant {
        id: GrantId::new(*id),
        source,
        issued_at: Timestamp::from_millis(i64::from_be_bytes(*issued_at)),
        expires_at: Timestamp::from_millis(i64::from_be_bytes(*expires_at)),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn grant() -> Grant {
        Grant {
            id: GrantId::new([7; 16]),
            source: IceSource::Coturn,
            issued_at: Timestamp::from_millis(1_000),
            expires_at: Timestamp::from_millis(61_000),
        }
    }

    fn keys(seed: u8) -> TokenKeys {
        TokenKeys::new(TokenKey::new([seed; 64]))
    }

    fn key(seed: u8) -> GrantKeys {
        GrantKeys::new(&keys(seed))
    }

    #[test]
    fn a_token_contains_the_signed_grant() {
        let token = key(1).sign(&grant()).0;
        assert_eq!(token.len(), TOKEN_CHARS);
        assert_eq!(key(1).verify(&token), Some(grant()));
    }

    #[test]
    fn a_token_of_any_key_has_the_form_and_other_texts_do_not() {
        let token = key(2).sign(&grant()).0;
        assert!(GrantToken::has_form(&token));
        for other in ["", "a-guessed-token", &token[1..], &"A".repeat(TOKEN_CHARS), &"!".repeat(TOKEN_CHARS)]
        {
            assert!(!GrantToken::has_form(other), "{other}");
        }
    }

    #[test]
    fn a_token_of_another_key_is_refused() {
        assert_eq!(key(2).verify(&key(1).sign(&grant()).0), None);
    }

    #[test]
    fn a_token_of_an_earlier_key_is_good_if_its_grant_ends_no_later_than_the_last_of_that_key() {
        let token = key(1).sign(&grant()).0;
        let replaced = keys(1).replaced(TokenKey::new([2; 64]), Timestamp::from_millis(0));
        let both = GrantKeys::new(&replaced);
        assert_eq!(both.verify(&token), Some(grant()));
        assert_eq!(key(1).verify(&both.sign(&grant()).0), None, "the new key signs");
        let later = Grant { expires_at: Timestamp::from_millis(172_800_001), ..grant() };
        assert_eq!(both.verify(&key(1).sign(&later).0), None);
    }

    proptest! {
        #[test]
        fn a_token_with_one_changed_character_is_refused(position in 0usize..88, other in "[A-Za-z0-9_-]") {
            let token = key(1).sign(&grant()).0;
            let mut forged = token.clone();
            forged.replace_range(position..=position, &other);
            prop_assume!(forged != token);
            prop_assert_eq!(key(1).verify(&forged), None);
        }

        #[test]
        fn the_parser_does_not_panic(text in ".{0,120}") {
            prop_assert_eq!(key(1).verify(&text), None);
        }
    }
}
