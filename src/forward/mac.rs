//! Who sent a forwarded request: the client's address and its peer, as the first replica found them, in one header under a code that only
//! replicas can make. The key comes from the ledger, so there is no secret to configure. The code also covers method, path and minute: a
//! header that somebody sees is of no use for another request, or later.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use axum::extract::{ConnectInfo, Request};
use axum::http::{HeaderName, HeaderValue};
use turn_base::request::client_addr::ClientAddr;
use turn_base::request::header::only_line;
use turn_ledger::{Minute, Timestamp};
use turn_signaling::signing::SigningKey;

/// The header.
pub const FORWARDED: HeaderName = HeaderName::from_static("turn-broker-forwarded");
/// By how much the clocks of two replicas may differ. A code can be used again for as long.
const MINUTES_MAX: u64 = 5;
const PURPOSE: &[u8] = b"turn-broker forwarded request";

/// Makes and checks the header.
#[derive(Clone, Debug)]
pub struct ForwardKey(SigningKey);

/// Where a request came from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Hop {
    /// The client.
    pub client: IpAddr,
    /// The peer of the first replica: the client or a proxy.
    pub peer: IpAddr,
}

/// What the header of a request is worth.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Forwarded {
    /// There is none, or no replica made it for this request.
    No,
    /// A replica made it.
    From(Hop),
    /// A replica made it, whose clock differs by this many minutes.
    Skewed(u64),
}

/// The socket of a request, which counts for one client. Among the extensions of the request.
pub trait CountedSocket: Send + Sync {
    /// Counts the socket for nobody from now on.
    fn exempt(&self);
}

impl ForwardKey {
    /// From the key of the ledger.
    pub fn derived_from(secret: &[u8; 64]) -> Self {
        Self(SigningKey::derived(secret, PURPOSE))
    }

    /// The header for a request.
    pub fn sign<B>(&self, hop: Hop, request: &Request<B>, now: Timestamp) -> Option<HeaderValue> {
        let claims = format!("{} {} {}", Minute::of(now).number(), hop.client, hop.peer);
        let signed = self.0.sign(&signed_text(&claims, request));
        let (_, code) = signed.rsplit_once('.')?;
        HeaderValue::from_str(&format!("{claims} {code}")).ok()
    }

    /// What the header of a request says.
    pub fn check<B>(&self, request: &Request<B>, now: Timestamp) -> Forwarded {
        self.read(request, now).unwrap_or(Forwarded::No)
    }

    fn read<B>(&self, request: &Request<B>, now: Timestamp) -> Option<Forwarded> {
        let (claims, code) = only_line(request.headers(), &FORWARDED)?.to_str().ok()?.rsplit_once(' ')?;
        self.0.signed(&format!("{}.{code}", signed_text(claims, request)))?;
        let mut claims = claims.split(' ');
        let minute: i64 = claims.next()?.parse().ok()?;
        let (client, peer) = (claims.next()?.parse().ok()?, claims.next()?.parse().ok()?);
        let skew = minute.abs_diff(Minute::of(now).number());
        Some(if skew > MINUTES_MAX { Forwarded::Skewed(skew) } else { Forwarded::From(Hop { client, peer }) })
    }
}

impl Hop {
    /// That of a replica's own request.
    pub(super) const NO_CLIENT: Self =
        Self { client: IpAddr::V4(Ipv4Addr::UNSPECIFIED), peer: IpAddr::V4(Ipv4Addr::UNSPECIFIED) };

    /// The sender of a request that came from outside.
    pub fn of<B>(request: &Request<B>) -> Option<Self> {
        let ConnectInfo(peer) = request.extensions().get::<ConnectInfo<SocketAddr>>()?;
        let ClientAddr(client) = *request.extensions().get()?;
        Some(Self { client, peer: peer.ip() })
    }

    /// Gives the request the peer that it had at the first replica, so that what a trusted proxy says is believed here too.
    fn restore(self, request: &mut Request) -> ClientAddr {
        request.extensions_mut().insert(ConnectInfo(SocketAddr::new(self.peer, 0)));
        ClientAddr(self.client)
    }
}

impl Forwarded {
    /// Gives a forwarded request the peer that counts for it. Returns its client. `None`: no replica has forwarded it. `client_header`: the
    /// one in which proxies name their clients.
    pub fn restore(self, request: &mut Request, client_header: &HeaderName) -> Option<ClientAddr> {
        match self {
            Self::No => None,
            Self::From(hop) => Some(hop.restore(request)),
            Self::Skewed(_) => count_as_own(request, client_header),
        }
    }
}

/// Makes a request one of the replica that forwarded it: its clock differs, so its word on the client may be an old one that somebody has seen.
/// What a proxy says is not believed either, even if this replica trusts the other one as a proxy: it passes on what the client sent.
fn count_as_own(request: &mut Request, client_header: &HeaderName) -> Option<ClientAddr> {
    let ConnectInfo(replica) = *request.extensions().get::<ConnectInfo<SocketAddr>>()?;
    // No proxy has this address.
    request.extensions_mut().insert(ConnectInfo(SocketAddr::from((Ipv4Addr::UNSPECIFIED, 0))));
    // Unread, it would look like that of a proxy that `TRUSTED_PROXIES` lacks.
    request.headers_mut().remove(client_header);
    Some(ClientAddr(replica.ip().to_canonical()))
}

/// No part of it contains a space, so two requests never have the same text.
fn signed_text<B>(claims: &str, request: &Request<B>) -> String {
    let target = request.uri().path_and_query().map_or("/", |target| target.as_str());
    format!("{claims} {} {target}", request.method())
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOON: Timestamp = Timestamp::from_millis(1_736_942_400_000);
    const HOP: Hop = Hop {
        client: IpAddr::V4(Ipv4Addr::new(203, 0, 113, 9)),
        peer: IpAddr::V6(std::net::Ipv6Addr::LOCALHOST),
    };

    fn key() -> ForwardKey {
        ForwardKey::derived_from(&[7; 64])
    }

    fn request(method: &str, target: &str) -> Request<()> {
        Request::builder().method(method).uri(target).body(()).unwrap()
    }

    fn signed() -> Request<()> {
        let mut request = request("GET", "/api/turn-credentials?ttl=60");
        let header = key().sign(HOP, &request, NOON).unwrap();
        request.headers_mut().insert(FORWARDED, header);
        request
    }

    #[test]
    fn a_replica_believes_what_another_one_says_of_a_request() {
        let request = signed();
        assert_eq!(key().check(&request, NOON), Forwarded::From(HOP));
        assert_eq!(ForwardKey::derived_from(&[8; 64]).check(&request, NOON), Forwarded::No);
        assert_eq!(format!("{:?}", key()), "ForwardKey(SigningKey([redacted]))");
    }

    #[test]
    fn the_code_is_for_one_request_and_some_minutes() {
        let header = signed().headers()[FORWARDED].clone();
        for (method, target) in [
            ("POST", "/api/turn-credentials?ttl=60"),
            ("GET", "/api/turn-credentials?ttl=61"),
            ("GET", "/api/turn-credentials"),
        ] {
            let mut other = request(method, target);
            other.headers_mut().insert(FORWARDED, header.clone());
            assert_eq!(key().check(&other, NOON), Forwarded::No, "{method} {target}");
        }
        for (minutes, expected) in [
            (5, Forwarded::From(HOP)),
            (-5, Forwarded::From(HOP)),
            (6, Forwarded::Skewed(6)),
            (-6, Forwarded::Skewed(6)),
        ] {
            let now = Timestamp::from_millis(NOON.as_millis() + minutes * 60_000);
            assert_eq!(key().check(&signed(), now), expected, "{minutes}");
        }
    }

    #[test]
    fn a_header_that_was_made_or_changed_by_somebody_else_is_ignored() {
        let text = signed().headers()[FORWARDED].to_str().unwrap().to_owned();
        let forged = text.replace("203.0.113.9", "203.0.113.8");
        for header in ["", " ", "1 2 3 4", "28949040 203.0.113.9 ::1 AAAA", &forged, &text[1..]] {
            let mut request = request("GET", "/api/turn-credentials?ttl=60");
            request.headers_mut().insert(FORWARDED, HeaderValue::from_str(header).unwrap());
            assert_eq!(key().check(&request, NOON), Forwarded::No, "{header}");
        }
        let mut twice = signed();
        twice.headers_mut().append(FORWARDED, HeaderValue::from_str(&text).unwrap());
        assert_eq!(key().check(&twice, NOON), Forwarded::No, "two lines");
        assert_eq!(key().check(&request("GET", "/"), NOON), Forwarded::No);
    }
}
