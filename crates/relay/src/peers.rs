//! The peer policy: the addresses with which the relay exchanges packets. Pure. It protects the machine of the relay. A relay that listens
//! on loopback has peers on loopback only. Any other relay has peers in private networks, where its clients are, and its own allocations.

use crate::prelude::*;

/// The relay's addresses. They decide which peers are allowed.
#[derive(Clone, Copy, Debug)]
pub(crate) struct PeerPolicy {
    /// The address it listens on.
    pub(crate) listen: SocketAddr,
    /// The address that its clients use.
    pub(crate) public_ip: IpAddr,
}

impl PeerPolicy {
    /// Whether the relay exchanges packets with this peer. `is_relayed`: whether a port belongs to an allocation here.
    pub(crate) fn admits(&self, peer: SocketAddr, is_relayed: impl FnOnce(u16) -> bool) -> bool {
        // Packets that the relay sends to itself would loop.
        if peer.port() == 0 || peer.port() == self.listen.port() {
            return false;
        }
        if self.listen.ip().is_loopback() {
            // This refuses the IPv4-mapped form of a loopback address.
            return peer.ip().is_loopback();
        }
        if peer.ip() == self.public_ip {
            return is_relayed(peer.port());
        }
        // If clients use a loopback address although the relay listens elsewhere, as in a container with a published port, then no network
        // is served. A packet to the address of `listen` would reach this machine itself.
        !self.public_ip.is_loopback() && peer.ip() != self.listen.ip() && is_private(peer.ip())
    }
}

/// Link-local addresses are left out: clouds have their metadata there.
fn is_private(ip: IpAddr) -> bool {
    match ip {
        IpAddr::V4(ip) => ip.is_private(),
        IpAddr::V6(ip) => ip.is_unique_local(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PRIVATE: [&str; 5] = ["10.0.0.8", "172.16.0.1", "192.168.255.255", "fc00::1", "fd00::8"];
    const OTHERS: &str =
        "0.0.0.0 127.0.0.2 172.32.0.1 169.254.169.254 1.1.1.1 :: fe80::1 ::ffff:10.0.0.8 2606:4700::1";

    fn policy(listen: &str, public_ip: &str) -> PeerPolicy {
        PeerPolicy { listen: listen.parse().unwrap(), public_ip: public_ip.parse().unwrap() }
    }

    fn peer(ip: &str, port: u16) -> SocketAddr {
        SocketAddr::new(ip.parse().unwrap(), port)
    }

    #[test]
    fn on_loopback_only_loopback_is_a_peer() {
        for listen in ["127.0.0.1:3478", "[::1]:3478"] {
            let policy = policy(listen, "127.0.0.1");
            for ip in ["127.0.0.1", "127.1.2.3", "::1"] {
                assert!(policy.admits(peer(ip, 40_000), |_| false), "{ip}");
                assert!(!policy.admits(peer(ip, 3_478), |_| true), "its own listener");
                assert!(!policy.admits(peer(ip, 0), |_| true));
            }
            for ip in ["::ffff:127.0.0.1", "1.1.1.1"].into_iter().chain(PRIVATE) {
                assert!(!policy.admits(peer(ip, 40_000), |_| true), "{ip}");
            }
        }
    }

    #[test]
    fn elsewhere_private_hosts_and_its_own_allocations_are_peers() {
        for (policy, own) in [
            (policy("10.0.0.7:3478", "10.0.0.7"), "10.0.0.7"),
            (policy("[fd00::7]:3478", "fd00::7"), "fd00::7"),
            (policy("0.0.0.0:3478", "127.0.0.1"), "127.0.0.1"),
        ] {
            let is_relayed = |port| port == 40_000;
            assert!(policy.admits(peer(own, 40_000), is_relayed), "{policy:?}");
            for port in [40_001, 53, 3_478, 0] {
                assert!(!policy.admits(peer(own, port), is_relayed), "{port} of {policy:?}");
            }
            for ip in PRIVATE {
                assert_eq!(
                    policy.admits(peer(ip, 40_000), |_| false),
                    own != "127.0.0.1",
                    "{ip} of {policy:?}"
                );
            }
            for ip in OTHERS.split(' ') {
                assert!(!policy.admits(peer(ip, 40_000), |_| true), "{ip} of {policy:?}");
            }
        }
    }
}
