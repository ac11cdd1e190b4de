//! Credentials for an own coturn, by the TURN REST draft: the user name is `<expiry>:<user>`, the password
//! `base64(HMAC-SHA1(secret, user name))`. Computed here, nobody is asked; coturn checks them with the same secret.

use std::fmt;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use hmac::{Hmac, KeyInit, Mac};
use secrecy::{ExposeSecret, SecretString};
use sha1::Sha1;

use super::server::IceServerList;
use super::url::IceUrl;
use crate::units::Timestamp;

/// A coturn with `use-auth-secret`.
#[derive(Clone)]
pub struct Coturn {
    urls: Vec<IceUrl>,
    secret: SecretString,
}

impl Coturn {
    /// `secret` is coturn's `static-auth-secret`.
    #[must_use]
    pub fn new(urls: Vec<IceUrl>, secret: SecretString) -> Self {
        Self { urls, secret }
    }

    /// A credential that coturn accepts for new allocations until `expires_at`, cut to the second.
    #[must_use]
    pub fn credential(&self, user: &str, expires_at: Timestamp) -> IceServerList {
        let username = format!("{}:{user}", expires_at.as_secs());
        let password = sign(self.secret.expose_secret(), &username);
        IceServerList::of_turn(self.urls.clone(), username, password)
    }
}

impl fmt::Debug for Coturn {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Coturn").field("urls", &self.urls).finish_non_exhaustive()
    }
}

fn sign(secret: &str, username: &str) -> String {
    let mac = Hmac::<Sha1>::new_from_slice(secret.as_bytes()).expect("an HMAC takes a key of any length");
    STANDARD.encode(mac.chain_update(username).finalize().into_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_password_is_what_openssl_computes() {
        // printf '1795153944:alice' | openssl dgst -sha1 -hmac north -binary | base64
        assert_eq!(sign("north", "1795153944:alice"), "s/xWCxbbF0kP33ANmWNUQFR8efM=");
    }

    #[test]
    fn the_user_name_carries_expiry_and_user() {
        let url = IceUrl::parse("turn:relay.example:3478?transport=udp").unwrap();
        let coturn = Coturn::new(vec![url], SecretString::from("north"));
        let list = coturn.credential("grant-7", Timestamp::from_millis(1_999));
        let json = serde_json::to_value(list).unwrap();
        assert_eq!(json[0]["username"], "1:grant-7");
        assert_eq!(json[0]["urls"][0], "turn:relay.example:3478?transport=udp");
    }
}
