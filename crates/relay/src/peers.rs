//! The peer policy: the addresses with which the relay exchanges packets. Pure. It protects the network around the relay:
//! peers are single hosts of the public internet, and other allocations of this relay. A relay on loopback serves loopback
//! only. Every IPv6 address that embeds an IPv4 address is refused.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use ipnet::{Ipv4Net, Ipv6Net};

/// IPv4 networks without single public hosts: IANA's special-purpose registry, multicast and reserved addresses.
const REFUSED_V4: [Ipv4Net; 16] = [
    v4([0, 0, 0, 0], 8),        // this network; unspecified
    v4([10, 0, 0, 0], 8),       // private
    v4([100, 64, 0, 0], 10),    // carrier-grade NAT; 100.100.100.200 is a cloud's metadata
    v4([127, 0, 0, 0], 8),      // loopback
    v4([168, 63, 129, 16], 32), // a cloud's metadata, on a public address
    v4([169, 254, 0, 0], 16),   // link-local; 169.254.169.254 is the metadata of most clouds
    v4([172, 16, 0, 0], 12),    // private
    v4([192, 0, 0, 0], 24),     // protocol assignments; 192.0.0.192 is a cloud's metadata
    v4([192, 0, 2, 0], 24),     // documentation
    v4([192, 88, 99, 0], 24),   // 6to4 relays
    v4([192, 168, 0, 0], 16),   // private
    v4([198, 18, 0, 0], 15),    // benchmarks
    v4([198, 51, 100, 0], 24),  // documentation
    v4([203, 0, 113, 0], 24),   // documentation
    v4([224, 0, 0, 0], 4),      // multicast
    v4([240, 0, 0, 0], 4),      // reserved; broadcast
];

/// The public hosts of IPv6. It contains no loopback, unspecified, link-local, site-local, unique local, multicast,
/// IPv4-mapped, IPv4-compatible or NAT64 address.
const PUBLIC_V6: Ipv6Net = v6([0x2000, 0, 0, 0], 3);

/// Networks in [`PUBLIC_V6`] without single public hosts.
const REFUSED_V6: [Ipv6Net; 4] = [
    v6([0x2001, 0, 0, 0], 23),     // protocol assignments; Teredo, which carries IPv4
    v6([0x2001, 0xdb8, 0, 0], 32), // documentation
    v6([0x2002, 0, 0, 0], 16),     // 6to4, which carries IPv4
    v6([0x3fff, 0, 0, 0], 20),     // documentation
];

/// The relay's addresses. They decide which peers are allowed.
#[derive(Clone, Copy, Debug)]
pub(crate) struct PeerPolicy {
    /// The address it listens on.
    pub(crate) listen: SocketAddr,
    /// Its public address.
    pub(crate) public_ip: IpAddr,
}

impl PeerPolicy {
    /// Whether the relay exchanges packets with this peer. `is_relayed`: whether a port belongs to an allocation here.
    pub(crate) fn admits(&self, peer: SocketAddr, is_relayed: impl FnOnce(u16) -> bool) -> bool {
        let ip = peer.ip();
        if peer.port() == 0 || self.is_own_listener(peer) {
            return false;
        }
        if self.listen.ip().is_loopback() {
            // False for the IPv4-mapped form of a loopback address.
            return ip.is_loopback();
        }
        // For clients on this machine that reach it through a published port. Others may reach that port too.
        if self.public_ip.is_loopback() {
            return ip == self.public_ip && is_relayed(peer.port());
        }
        // A packet to the unspecified address goes to this machine.
        if ip == self.public_ip || (ip == self.listen.ip() && !ip.is_unspecified()) {
            return is_relayed(peer.port());
        }
        is_public_host(ip)
    }

    /// Packets that the relay sends to itself would loop.
    fn is_own_listener(&self, peer: SocketAddr) -> bool {
        let is_own = peer.ip() == self.listen.ip() || peer.ip() == self.public_ip;
        is_own && peer.port() == self.listen.port()
    }
}

/// Whether this is the address of a single public host.
fn is_public_host(ip: IpAddr) -> bool {
    match ip {
        IpAddr::V4(ip) => !REFUSED_V4.iter().any(|net| net.contains(&ip)),
        IpAddr::V6(ip) => PUBLIC_V6.contains(&ip) && !REFUSED_V6.iter().any(|net| net.contains(&ip)),
    }
}

const fn v4([a, b, c, d]: [u8; 4], prefix: u8) -> Ipv4Net {
    Ipv4Net::new_assert(Ipv4Addr::new(a, b, c, d), prefix)
}

/// The first four of eight groups; the others are zero.
const fn v6([a, b, c, d]: [u16; 4], prefix: u8) -> Ipv6Net {
    Ipv6Net::new_assert(Ipv6Addr::new(a, b, c, d, 0, 0, 0, 0), prefix)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const PUBLIC: [&str; 9] = [
        "1.1.1.1",
        "8.8.8.8",
        "100.63.255.255",
        "100.128.0.0",
        "172.15.255.255",
        "172.32.0.0",
        "223.255.255.255",
        "2606:4700::1111",
        "2a00::1",
    ];

    const REFUSED: [&str; 44] = [
        // unspecified, this network
        "0.0.0.0",
        "0.255.255.255",
        "::",
        // loopback
        "127.0.0.1",
        "127.255.255.255",
        "::1",
        // link-local and site-local
        "169.254.0.1",
        "fe80::1",
        "febf::1",
        "fec0::1",
        // private: RFC 1918, ULA, CGNAT
        "10.0.0.0",
        "10.255.255.255",
        "172.16.0.0",
        "172.31.255.255",
        "192.168.0.0",
        "192.168.255.255",
        "fc00::1",
        "fdff:ffff::1",
        "100.64.0.0",
        "100.127.255.255",
        // multicast, broadcast, reserved
        "224.0.0.1",
        "239.255.255.255",
        "240.0.0.1",
        "255.255.255.255",
        "ff02::1",
        "ff0e::1",
        "4000::1",
        "100::1",
        // metadata
        "169.254.169.254",
        "100.100.100.200",
        "192.0.0.192",
        "168.63.129.16",
        "fd00:ec2::254",
        // an IPv4 address embedded in an IPv6 address: mapped, compatible, NAT64, 6to4, Teredo
        "::ffff:8.8.8.8",
        "::ffff:127.0.0.1",
        "::8.8.8.8",
        "::127.0.0.1",
        "64:ff9b::8.8.8.8",
        "64:ff9b:1::8.8.8.8",
        "2002:808:808::1",
        "2001:0:808:808::1",
        // documentation and benchmarks
        "198.18.0.1",
        "2001:db8::1",
        "3fff::1",
    ];

    fn policy(listen: &str, public_ip: &str) -> PeerPolicy {
        PeerPolicy { listen: listen.parse().unwrap(), public_ip: public_ip.parse().unwrap() }
    }

    fn peer(ip: &str) -> SocketAddr {
        SocketAddr::new(ip.parse().unwrap(), 40_000)
    }

    /// Relays that do not listen on loopback.
    fn not_on_loopback() -> [PeerPolicy; 5] {
        [
            policy("45.0.0.7:3478", "45.0.0.7"),
            policy("0.0.0.0:3478", "45.0.0.7"),
            policy("10.0.0.7:3478", "45.0.0.7"),
            policy("[2a01::7]:3478", "2a01::7"),
            policy("[::]:3478", "2a01::7"),
        ]
    }

    #[test]
    fn only_public_hosts_are_peers() {
        for policy in not_on_loopback() {
            for ip in PUBLIC {
                assert!(policy.admits(peer(ip), |_| false), "{ip} from {policy:?}");
                assert!(!policy.admits(SocketAddr::new(ip.parse().unwrap(), 0), |_| true), "port 0");
            }
            for ip in REFUSED {
                assert!(!policy.admits(peer(ip), |_| true), "{ip} from {policy:?}");
            }
        }
    }

    #[test]
    fn a_relay_for_this_machine_on_all_interfaces_reaches_only_its_own_allocations() {
        let policy = policy("0.0.0.0:3478", "127.0.0.1");
        for ip in PUBLIC.into_iter().chain(REFUSED) {
            let is_own = ip == "127.0.0.1";
            assert_eq!(policy.admits(peer(ip), |_| true), is_own, "{ip}");
            assert!(!policy.admits(peer(ip), |_| false), "{ip}");
        }
    }

    #[test]
    fn on_loopback_only_loopback_is_a_peer() {
        for (policy, listener) in [
            (policy("127.0.0.1:3478", "127.0.0.1"), "127.0.0.1:3478"),
            (policy("[::1]:3478", "::1"), "[::1]:3478"),
        ] {
            for ip in PUBLIC.into_iter().chain(REFUSED) {
                let is_loopback = ip.parse::<IpAddr>().unwrap().is_loopback();
                assert_eq!(policy.admits(peer(ip), |_| false), is_loopback, "{ip} from {policy:?}");
            }
            assert!(!policy.admits(listener.parse().unwrap(), |_| true), "its own listener");
        }
    }

    #[test]
    fn on_its_own_addresses_only_allocations_are_peers() {
        for policy in not_on_loopback() {
            for ip in [policy.public_ip, policy.listen.ip()].into_iter().filter(|ip| !ip.is_unspecified()) {
                let is_relayed = |port| port == 40_000;
                let ask = |port| policy.admits(SocketAddr::new(ip, port), is_relayed);
                assert!(ask(40_000), "{ip} of {policy:?}");
                assert!(!ask(40_001) && !ask(53) && !ask(3_478), "{ip} of {policy:?}");
            }
        }
    }

    /// Tests the first and last address of each network, and the addresses next to them.
    #[test]
    fn each_network_contains_its_edges_and_not_their_neighbors() {
        let is_refused = |ip: Ipv4Addr| REFUSED_V4.iter().any(|net| net.contains(&ip));
        for net in REFUSED_V4 {
            assert_eq!(net, net.trunc(), "written as its first address");
            let (first, last) = (u32::from(net.network()), u32::from(net.broadcast()));
            assert!(is_refused(first.into()) && is_refused(last.into()), "{net}");
            let outside = [first.checked_sub(1), last.checked_add(1)];
            for outside in outside.into_iter().flatten().map(Ipv4Addr::from) {
                let neighbour = REFUSED_V4.iter().any(|other| *other != net && other.contains(&outside));
                assert_eq!(is_refused(outside), neighbour, "{net}");
            }
        }
        for net in REFUSED_V6 {
            assert_eq!(net, net.trunc(), "written as its first address");
            assert!(PUBLIC_V6.contains(&net), "{net} is outside PUBLIC_V6");
        }
    }

    proptest! {
        #[test]
        fn no_address_that_the_standard_library_calls_special_is_a_peer(bits: u32, wide: u128) {
            let policy = policy("45.0.0.7:3478", "45.0.0.7");
            let v4 = Ipv4Addr::from(bits);
            let is_special = v4.is_private() || v4.is_loopback() || v4.is_link_local() || v4.is_multicast()
                || v4.is_broadcast() || v4.is_unspecified() || v4.is_documentation();
            let v4_peer = SocketAddr::new(v4.into(), 40_000);
            prop_assert!(!(is_special && policy.admits(v4_peer, |_| false)), "{v4}");
            let v6 = Ipv6Addr::from(wide);
            let is_special = v6.is_loopback() || v6.is_multicast() || v6.is_unspecified() || v6.is_unique_local()
                || v6.is_unicast_link_local() || v6.to_ipv4().is_some();
            prop_assert!(!(is_special && policy.admits(SocketAddr::new(v6.into(), 40_000), |_| false)), "{v6}");
        }

        #[test]
        fn no_ipv6_address_that_embeds_an_ipv4_address_is_a_peer(bits: u32) {
            let policy = policy("45.0.0.7:3478", "45.0.0.7");
            let v4 = Ipv4Addr::from(bits);
            let [a, b] = [bits >> 16, bits & 0xffff].map(|half| u16::try_from(half).unwrap());
            for v6 in [
                v4.to_ipv6_mapped(),
                v4.to_ipv6_compatible(),
                Ipv6Addr::new(0x64, 0xff9b, 0, 0, 0, 0, a, b),
                Ipv6Addr::new(0x64, 0xff9b, 1, 0, 0, 0, a, b),
                Ipv6Addr::new(0x2002, a, b, 0, 0, 0, 0, 1),
                Ipv6Addr::new(0x2001, 0, a, b, 0, 0, 0, 1),
            ] {
                prop_assert!(!policy.admits(SocketAddr::new(v6.into(), 40_000), |_| true), "{v6}");
            }
        }
    }
}
