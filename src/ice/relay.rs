//! Credentials for the relay in this process. Their secret is generated at start and never leaves the process. So
//! credentials and allocations end with the process.

use std::net::SocketAddr;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use secrecy::SecretString;

use super::rest::RestSecret;
use super::server::IceServerList;
use super::url::{IceUrl, IceUrlError};
use turn_ledger::Timestamp;

/// The relay as an ICE source.
#[derive(Clone, Debug)]
pub struct EmbeddedRelay {
    urls: Vec<IceUrl>,
    secret: RestSecret,
}

impl EmbeddedRelay {
    /// `address`: the one that clients use. `random`: becomes the secret.
    pub fn new(address: SocketAddr, random: &[u8; 32]) -> Result<Self, IceUrlError> {
        let url = IceUrl::parse(&format!("turn:{address}?transport=udp"))?;
        let secret = RestSecret::new(SecretString::from(STANDARD.encode(random)));
        Ok(Self { urls: vec![url], secret })
    }

    /// A credential that the relay accepts for new allocations until `expires_at`, truncated to the second.
    pub fn credential(&self, user: &str, expires_at: Timestamp) -> IceServerList {
        self.secret.credential(&self.urls, user, expires_at)
    }

    /// The secret that the relay checks passwords with.
    pub fn secret(&self) -> &RestSecret {
        &self.secret
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_url_has_address_and_transport() {
        for (address, url) in [
            ("127.0.0.1:3478", "turn:127.0.0.1:3478?transport=udp"),
            ("[2001:db8::1]:40000", "turn:[2001:db8::1]:40000?transport=udp"),
        ] {
            let relay = EmbeddedRelay::new(address.parse().unwrap(), &[7; 32]).unwrap();
            let json = serde_json::to_value(relay.credential("g", Timestamp::from_millis(5_000))).unwrap();
            assert_eq!(json[0]["urls"], serde_json::json!([url]));
            assert_eq!(json[0]["username"], "5:g");
        }
    }

    #[test]
    fn each_start_has_its_own_secret() {
        let password = |random| {
            let relay = EmbeddedRelay::new("127.0.0.1:1".parse().unwrap(), &[random; 32]).unwrap();
            relay.secret().password("5:g")
        };
        assert_ne!(password(1), password(2));
    }
}
