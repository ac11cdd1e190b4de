//! How two replicas trust a connection between them. The key comes from the ledger, so there is no secret to configure, and no clock is
//! compared. A code is a MAC with this key. The replica that forwards sends a challenge. The leader answers with a nonce for this
//! connection, and a code over the challenge, the nonce and its own URL. A stranger who has taken over the address of a leader cannot make
//! that code, and the code of a leader at another URL proves nothing here. Each request then has one header with the addresses of its
//! client and its peer, and a code over these addresses, the nonce, the method and the path. So whoever sees a header cannot use it for
//! another request, or on another connection.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::{Arc, OnceLock};

use axum::extract::{ConnectInfo, Request};
use axum::http::{HeaderMap, HeaderName, HeaderValue};
use turn_base::{ClientAddr, NoRandomness, only_line, random};
use turn_signaling::SigningKey;

/// The header of a forwarded request. In a response: the request was refused, and nothing was done.
pub const FORWARDED: HeaderName = HeaderName::from_static("turn-broker-forwarded");
/// The header of a request that asks the leader to prove that it is one.
pub const CHALLENGE: HeaderName = HeaderName::from_static("turn-broker-challenge");
/// The header of the leader's answer to a challenge.
pub const PROOF: HeaderName = HeaderName::from_static("turn-broker-proof");
const PURPOSE: &[u8] = b"turn-broker connection of replicas";

/// Makes and checks the codes.
#[derive(Clone, Debug)]
pub struct ForwardKey(SigningKey);

/// A random number that is used once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Nonce(u128);

/// Where a request came from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Hop {
    /// The client.
    pub client: IpAddr,
    /// The peer of the first replica: the client or a proxy.
    pub peer: IpAddr,
}

/// The socket of a request, which counts as one of a client. It is among the extensions of the request.
pub trait CountedSocket: Send + Sync {
    /// From now on, the socket counts as nobody's.
    fn exempt(&self);
    /// The nonce of the connection, once a replica has sent a challenge.
    fn nonce(&self) -> &OnceLock<Nonce>;
}

impl ForwardKey {
    /// Derives the key from the key of the ledger.
    pub fn derived_from(secret: &[u8; 64]) -> Self {
        Self(SigningKey::derived(secret, PURPOSE))
    }

    /// The answer of the leader at this URL to the challenge in a request; `None` without one. The first challenge on a connection gives
    /// the connection its nonce.
    pub fn prove<B>(&self, request: &Request<B>, url: &str) -> Option<HeaderValue> {
        let challenge = Nonce::read(only_line(request.headers(), &CHALLENGE)?.to_str().ok()?)?;
        let new = Nonce::random().ok()?;
        let nonce = *socket_of(request)?.nonce().get_or_init(|| new);
        HeaderValue::from_str(&format!("{nonce} {}", self.code(&proven_text(challenge, nonce, url)))).ok()
    }

    /// The nonce of the connection, if the leader at this URL has answered the challenge.
    pub fn proven(&self, challenge: Nonce, url: &str, answer: &HeaderMap) -> Option<Nonce> {
        let (nonce, code) = only_line(answer, &PROOF)?.to_str().ok()?.split_once(' ')?;
        let nonce = Nonce::read(nonce)?;
        self.is_code(&proven_text(challenge, nonce, url), code).then_some(nonce)
    }

    /// The header for a request on the connection with this nonce.
    pub fn sign<B>(&self, nonce: Nonce, hop: Hop, request: &Request<B>) -> Option<HeaderValue> {
        let code = self.code(&signed_text(nonce, hop, request));
        HeaderValue::from_str(&format!("{} {} {code}", hop.client, hop.peer)).ok()
    }

    /// Where a request came from, as stated by the replica that has forwarded it. `None`: no replica has made the header of this request on
    /// this connection.
    pub fn check<B>(&self, request: &Request<B>) -> Option<Hop> {
        let nonce = *socket_of(request)?.nonce().get()?;
        let (hop, code) = only_line(request.headers(), &FORWARDED)?.to_str().ok()?.rsplit_once(' ')?;
        let (client, peer) = hop.split_once(' ')?;
        let hop = Hop { client: client.parse().ok()?, peer: peer.parse().ok()? };
        self.is_code(&signed_text(nonce, hop, request), code).then_some(hop)
    }

    /// The code of a text. The signing key makes `<text>.<code>`.
    fn code(&self, text: &str) -> String {
        self.0.sign(text).split_off(text.len() + 1)
    }

    fn is_code(&self, text: &str, code: &str) -> bool {
        self.0.signed(&format!("{text}.{code}")).is_some()
    }
}

impl Nonce {
    /// A new one.
    pub fn random() -> Result<Self, NoRandomness> {
        random::bytes().map(u128::from_be_bytes).map(Self)
    }

    fn read(text: &str) -> Option<Self> {
        u128::from_str_radix(text, 16).ok().map(Self)
    }
}

impl fmt::Display for Nonce {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:032x}", self.0)
    }
}

impl Hop {
    /// The origin of a replica's own request.
    pub(super) const NO_CLIENT: Self =
        Self { client: IpAddr::V4(Ipv4Addr::UNSPECIFIED), peer: IpAddr::V4(Ipv4Addr::UNSPECIFIED) };

    /// The sender of a request that came from outside.
    pub fn of<B>(request: &Request<B>) -> Option<Self> {
        let ConnectInfo(peer) = request.extensions().get::<ConnectInfo<SocketAddr>>()?;
        let ClientAddr(client) = *request.extensions().get()?;
        Some(Self { client, peer: peer.ip() })
    }

    /// Gives the request the peer that it had at the first replica, so that what a trusted proxy says is believed here too. Returns the
    /// client of the request.
    pub fn restore(self, request: &mut Request) -> ClientAddr {
        request.extensions_mut().insert(ConnectInfo(SocketAddr::new(self.peer, 0)));
        ClientAddr(self.client)
    }
}

fn socket_of<B>(request: &Request<B>) -> Option<&Arc<dyn CountedSocket>> {
    request.extensions().get()
}

/// The text under the code of an answer to a challenge. No part of this text or of [`signed_text`] contains a space, and their first words
/// differ. So the same text never has two meanings.
fn proven_text(challenge: Nonce, nonce: Nonce, url: &str) -> String {
    format!("leader {challenge} {nonce} {url}")
}

/// The text under the code of a forwarded request.
fn signed_text<B>(nonce: Nonce, Hop { client, peer }: Hop, request: &Request<B>) -> String {
    let target = request.uri().path_and_query().map_or("/", |target| target.as_str());
    format!("request {nonce} {client} {peer} {} {target}", request.method())
}

#[cfg(test)]
mod tests {
    use super::*;

    const URL: &str = "http://10.0.0.7:3001";
    const HOP: Hop = Hop {
        client: IpAddr::V4(Ipv4Addr::new(203, 0, 113, 9)),
        peer: IpAddr::V6(std::net::Ipv6Addr::LOCALHOST),
    };

    #[derive(Default)]
    struct Socket(OnceLock<Nonce>);

    impl CountedSocket for Socket {
        fn exempt(&self) {}

        fn nonce(&self) -> &OnceLock<Nonce> {
            &self.0
        }
    }

    fn key() -> ForwardKey {
        ForwardKey::derived_from(&[7; 64])
    }

    /// A connection at the leader.
    fn connection() -> Arc<dyn CountedSocket> {
        Arc::new(Socket::default())
    }

    fn request(
        on: &Arc<dyn CountedSocket>,
        method: &str,
        target: &str,
        name: HeaderName,
        value: &str,
    ) -> Request<()> {
        let value = HeaderValue::from_str(value).unwrap();
        let request = Request::builder().method(method).uri(target).header(name, value);
        request.extension(Arc::clone(on)).body(()).unwrap()
    }

    /// The leader's answer to a challenge on a connection.
    fn answer(on: &Arc<dyn CountedSocket>, challenge: &str) -> HeaderMap {
        let request = request(on, "GET", "/leader", CHALLENGE, challenge);
        HeaderMap::from_iter(key().prove(&request, URL).map(|proof| (PROOF, proof)))
    }

    fn signed(on: &Arc<dyn CountedSocket>) -> Request<()> {
        let challenge = Nonce::random().unwrap();
        let nonce = key().proven(challenge, URL, &answer(on, &challenge.to_string())).unwrap();
        let unsigned = request(on, "GET", "/api/turn-credentials?ttl=60", CHALLENGE, "");
        let header = key().sign(nonce, HOP, &unsigned).unwrap();
        request(on, "GET", "/api/turn-credentials?ttl=60", FORWARDED, header.to_str().unwrap())
    }

    #[test]
    fn the_leader_at_an_address_proves_it_to_the_one_that_asked() {
        let challenge = Nonce::random().unwrap();
        let on = connection();
        let proof = answer(&on, &challenge.to_string());
        let nonce = key().proven(challenge, URL, &proof);
        assert!(nonce.is_some() && nonce.as_ref() == on.nonce().get());
        assert_eq!(key().proven(challenge, URL, &answer(&on, &challenge.to_string())), nonce, "it stays");
        assert_eq!(key().proven(Nonce::random().unwrap(), URL, &proof), None, "an old answer");
        assert_eq!(key().proven(challenge, "http://10.0.0.8:3001", &proof), None, "that of another leader");
        assert_eq!(ForwardKey::derived_from(&[8; 64]).proven(challenge, URL, &proof), None);
        assert_eq!(key().proven(challenge, URL, &HeaderMap::new()), None, "an older version");
        // Words that the other one would take for its own.
        for challenge in ["", "x", "1 http://10.0.0.7:3001", &format!("{challenge} {URL}")] {
            assert!(answer(&on, challenge).is_empty(), "{challenge}");
        }
        assert_eq!(format!("{:?}", key()), "ForwardKey(SigningKey([redacted]))");
    }

    #[test]
    fn the_leader_believes_what_a_replica_says_of_a_request_on_its_own_connection() {
        let on = connection();
        let request = signed(&on);
        assert_eq!(key().check(&request), Some(HOP));
        assert_eq!(ForwardKey::derived_from(&[8; 64]).check(&request), None);
        let header = request.headers()[FORWARDED].to_str().unwrap();
        let other = connection();
        let replayed =
            |on| super::tests::request(on, "GET", "/api/turn-credentials?ttl=60", FORWARDED, header);
        assert_eq!(key().check(&replayed(&other)), None, "a connection on which nobody has asked");
        answer(&other, &Nonce::random().unwrap().to_string());
        assert_eq!(key().check(&replayed(&other)), None, "another connection");
        assert_eq!(key().check(&replayed(&on)), Some(HOP));
    }

    #[test]
    fn the_code_is_for_one_request() {
        let on = connection();
        let header = signed(&on).headers()[FORWARDED].to_str().unwrap().to_owned();
        for (method, target) in [
            ("POST", "/api/turn-credentials?ttl=60"),
            ("GET", "/api/turn-credentials?ttl=61"),
            ("GET", "/api/turn-credentials"),
        ] {
            assert_eq!(
                key().check(&request(&on, method, target, FORWARDED, &header)),
                None,
                "{method} {target}"
            );
        }
    }

    #[test]
    fn a_header_that_was_made_or_changed_by_somebody_else_is_ignored() {
        let on = connection();
        let text = signed(&on).headers()[FORWARDED].to_str().unwrap().to_owned();
        let forged = text.replace("203.0.113.9", "203.0.113.8");
        let with = |header: &str| request(&on, "GET", "/api/turn-credentials?ttl=60", FORWARDED, header);
        for header in ["", " ", "1 2 3", "203.0.113.9 ::1 AAAA", &forged, &text[1..], &format!("{text} x")] {
            assert_eq!(key().check(&with(header)), None, "{header}");
        }
        let mut twice = with(&text);
        assert_eq!(key().check(&twice), Some(HOP));
        twice.headers_mut().append(FORWARDED, HeaderValue::from_str(&text).unwrap());
        assert_eq!(key().check(&twice), None, "two lines");
    }
}
