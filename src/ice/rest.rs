//! Credentials of the TURN REST draft: the user name is `<expiry>:<user>`, the password is
//! `base64(HMAC-SHA1(secret, user name))`. Everyone who knows the secret can make and check them without a request.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use hmac::{Hmac, KeyInit, Mac};
use secrecy::{ExposeSecret, SecretString};
use sha1::Sha1;

use super::{IceServerList, IceUrl};
use turn_ledger::Timestamp;

/// The secret that makes and checks passwords.
#[derive(Clone, Debug)]
pub struct RestSecret(pub SecretString);

impl RestSecret {
    /// A secret of random bytes, which nobody else has.
    pub fn generated(random: &[u8; 32]) -> Self {
        Self(SecretString::from(STANDARD.encode(random)))
    }

    /// The password of a user name.
    pub fn password(&self, username: &str) -> String {
        sign(self.0.expose_secret(), username)
    }
}

/// A TURN server that accepts these credentials: a coturn with `use-auth-secret`, or the relay in this process.
#[derive(Clone, Debug)]
pub struct RestServer {
    /// Its URLs.
    pub urls: Vec<IceUrl>,
    /// Its secret: coturn's `static-auth-secret`.
    pub secret: RestSecret,
}

impl RestServer {
    /// One entry with a credential for `user`. New allocations are accepted until `expires_at`, truncated to the second.
    pub fn credential(&self, user: &str, expires_at: Timestamp) -> IceServerList {
        let username = format!("{}:{user}", expires_at.as_secs());
        let password = self.secret.password(&username);
        IceServerList::of_turn(self.urls.clone(), username, password)
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
        let secret = RestSecret(SecretString::from("north"));
        assert_eq!(secret.password("1795153944:alice"), "s/xWCxbbF0kP33ANmWNUQFR8efM=");
    }
}
