//! Access settings: allowed origins and hosts, rate limit, trusted proxies and bearer tokens.

use std::num::{NonZeroU32, NonZeroUsize};
use std::ops::RangeInclusive;
use std::sync::Arc;
use std::time::Duration;

use ipnet::{IpNet, Ipv4Net};
use secrecy::{ExposeSecret, SecretString};

use super::form::{form, number, seconds, visible};
use super::host::{self, AllowedHosts};
use super::origin::{self, AllowedOrigins};
use super::settings::Settings;

/// The lengths of a bearer token: 16 random characters cannot be guessed over a network, and it must fit in a header line.
const TOKEN_CHARS: RangeInclusive<usize> = 16..=1_024;
/// The bits of an IPv4-mapped address before the IPv4 address.
const MAPPED_PREFIX: u8 = 96;

/// Origins that are rarely meant: a development server has a port.
const WITHOUT_PORT: [&str; 3] = ["http://localhost", "http://127.0.0.1", "http://[::1]"];

/// Access settings.
#[derive(Clone, Debug)]
pub struct AccessConfig {
    /// Origins of the pages that may call. `CLIENT_URL`, comma-separated, also as `https://*.example.com`, or `*`; `http://localhost:5173` when unset.
    pub origins: AllowedOrigins,
    /// Hosts that a request may name. `ALLOWED_HOSTS`, names and addresses, comma-separated; any when unset.
    pub hosts: AllowedHosts,
    /// The rate limit of one client address.
    pub rate: RateLimitConfig,
    /// Networks of proxies whose `X-Forwarded-For` is read. Canonical: host bits are zero, IPv4-mapped ones are IPv4.
    /// `TRUSTED_PROXIES`, CIDRs and bare addresses, comma-separated; none when unset.
    pub trusted_proxies: Arc<[IpNet]>,
    /// Authorizes operator calls, which answer 404 without it. 16 to 1,024 visible ASCII characters, different from the
    /// reporter's. `OPERATOR_TOKEN`; none when unset.
    pub operator_token: Option<SecretString>,
    /// Lets an app server report connections without a grant. Same form as the operator's. `REPORTER_TOKEN`; none when
    /// unset.
    pub reporter_token: Option<SecretString>,
}

/// The rate limit of one client address.
#[derive(Clone, Debug)]
pub struct RateLimitConfig {
    /// Requests per `window`, also as one burst, 1 to 10,000. `RATE_LIMIT_REQUESTS`; 10 when unset.
    pub requests: NonZeroU32,
    /// Renewals per `window`, also as one burst, 1 to 10,000. They do not count against `requests`. `RATE_LIMIT_RENEWALS`; 40
    /// when unset.
    pub renewals: NonZeroU32,
    /// The time in which `requests` and `renewals` refill, 1 s to 24 h. `RATE_LIMIT_WINDOW_SECONDS`; 300 s when unset.
    pub window: Duration,
    /// The prefix length that identifies one IPv6 client, 1 to 128. `RATE_LIMIT_IPV6_PREFIX`; 64 when unset.
    pub ipv6_prefix: u8,
    /// The most clients with a row of their own, half of them for IPv4 and half for IPv6, 1 to 10,000,000. Wide IPv6 prefixes
    /// have as many rows as IPv6, in addition. `RATE_LIMIT_MAX_CLIENTS`; 100,000 when unset.
    pub clients_max: NonZeroUsize,
}

impl AccessConfig {
    pub(super) fn read(settings: &mut Settings<'_>) -> Self {
        let host = form("host names or addresses such as turn.example, without a scheme", host::parse_entry);
        let hosts = settings.list("ALLOWED_HOSTS", None, host);
        let access = Self {
            origins: read_origins(settings),
            hosts: hosts.map_or(AllowedHosts::Any, AllowedHosts::List),
            rate: RateLimitConfig::read(settings),
            trusted_proxies: read_trusted_proxies(settings),
            operator_token: settings.secret("OPERATOR_TOKEN", visible(TOKEN_CHARS)),
            reporter_token: settings.secret("REPORTER_TOKEN", visible(TOKEN_CHARS)),
        };
        if let (Some(operator), Some(reporter)) = (&access.operator_token, &access.reporter_token)
            && operator.expose_secret() == reporter.expose_secret()
        {
            settings.refuse("REPORTER_TOKEN", "expected a token other than OPERATOR_TOKEN's");
        }
        access
    }
}

impl RateLimitConfig {
    fn read(settings: &mut Settings<'_>) -> Self {
        Self {
            requests: settings.get("RATE_LIMIT_REQUESTS", "10", number(1..=10_000)),
            renewals: settings.get("RATE_LIMIT_RENEWALS", "40", number(1..=10_000)),
            window: settings.get("RATE_LIMIT_WINDOW_SECONDS", "300", seconds(1..=86_400)),
            ipv6_prefix: settings.get("RATE_LIMIT_IPV6_PREFIX", "64", number(1..=128)),
            clients_max: settings.get("RATE_LIMIT_MAX_CLIENTS", "100000", number(1..=10_000_000)),
        }
    }
}

fn read_origins(settings: &mut Settings<'_>) -> AllowedOrigins {
    let expected =
        "origins as scheme://host[:port] without a path, https://*.example.com for any one label, or * alone";
    let is_any = settings.is_written("CLIENT_URL", "*");
    let parse = |text: &str| if is_any { Some(text.to_owned()) } else { origin::parse_entry(text) };
    let listed = settings.list("CLIENT_URL", Some("http://localhost:5173"), form(expected, parse));
    if is_any {
        settings.warn("CLIENT_URL=* lets the pages of every site ask for credentials");
        return AllowedOrigins::Any;
    }
    let mut origins = listed.unwrap_or_default();
    origins.sort_unstable();
    origins.dedup();
    if let Some(origin) = origins.iter().find(|origin| WITHOUT_PORT.contains(&origin.as_str())) {
        settings.warn(format!("Add the port of your development server to CLIENT_URL, such as {origin}:5173: {origin} allows pages on port 80 only"));
    }
    AllowedOrigins::List(origins)
}

fn read_trusted_proxies(settings: &mut Settings<'_>) -> Arc<[IpNet]> {
    let network = form("addresses or CIDRs such as 10.0.0.0/8", parse_network);
    let mut networks = settings.list("TRUSTED_PROXIES", None, network).unwrap_or_default();
    networks.sort_unstable();
    networks.dedup();
    if networks.iter().any(|network| network.prefix_len() == 0) {
        settings.warn(
            "TRUSTED_PROXIES trusts every address: any client can choose the address that its rate limit uses",
        );
    }
    networks.into()
}

/// Parses a CIDR, or a bare address as a single host. Clears host bits and converts IPv4-mapped IPv6 to IPv4.
fn parse_network(text: &str) -> Option<IpNet> {
    let network: IpNet = match text.parse() {
        Ok(network) => network,
        Err(_) => IpNet::from(text.parse::<std::net::IpAddr>().ok()?),
    };
    Some(without_mapping(network).trunc())
}

fn without_mapping(network: IpNet) -> IpNet {
    let IpNet::V6(v6) = network else { return network };
    let as_v4 = |prefix| Ipv4Net::new(v6.addr().to_ipv4_mapped()?, prefix).ok();
    v6.prefix_len().checked_sub(MAPPED_PREFIX).and_then(as_v4).map_or(network, IpNet::V4)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::testing::{assert_refused, load};

    fn proxies(text: &str) -> Vec<String> {
        load([("TRUSTED_PROXIES", text)]).access.trusted_proxies.iter().map(ToString::to_string).collect()
    }

    #[test]
    fn a_bare_address_is_a_single_host_and_each_network_has_one_form() {
        assert_eq!(proxies("10.1.2.3, ::1"), ["10.1.2.3/32", "::1/128"]);
        assert_eq!(proxies("10.1.2.3/8"), ["10.0.0.0/8"]);
        assert_eq!(proxies("2001:DB8::1/32"), ["2001:db8::/32"]);
        assert_eq!(proxies("::ffff:10.0.0.1, ::ffff:10.0.0.0/104, 10.0.0.1"), ["10.0.0.0/8", "10.0.0.1/32"]);
        assert_eq!(
            proxies("::ffff:0:0/95"),
            ["::fffe:0:0/95"],
            "a network larger than the mapped addresses stays IPv6"
        );
        assert!(proxies("").is_empty());
    }

    #[test]
    fn trusting_every_address_gives_a_warning() {
        for text in ["0.0.0.0/0", "::/0", "::ffff:0:0/96"] {
            let warnings = load([("TRUSTED_PROXIES", text)]).warnings;
            assert!(warnings[0].starts_with("TRUSTED_PROXIES trusts every address"), "{text}: {warnings:?}");
        }
    }

    #[test]
    fn origins_are_canonical_and_unique() {
        let origins = load([("CLIENT_URL", "https://B.example:443/, http://a.example ,https://b.example")])
            .access
            .origins;
        assert_eq!(
            origins,
            AllowedOrigins::List(vec!["http://a.example".into(), "https://b.example".into()])
        );
    }

    #[test]
    fn a_star_allows_every_origin_with_a_warning() {
        let config = load([("CLIENT_URL", " * ")]);
        assert_eq!(config.access.origins, AllowedOrigins::Any);
        assert_eq!(config.warnings, ["CLIENT_URL=* lets the pages of every site ask for credentials"]);
    }

    #[test]
    fn a_star_beside_an_origin_is_refused() {
        let line = |entry| {
            format!(
                "CLIENT_URL: expected origins as scheme://host[:port] without a path, https://*.example.com for any one label, or * alone, found {entry:?}"
            )
        };
        assert_refused([("CLIENT_URL", "https://a.example,*,b")], &[&line("*"), &line("b")]);
    }

    #[test]
    fn an_origin_on_this_machine_without_a_port_gets_a_warning() {
        for text in ["http://localhost", "http://localhost:80", "https://app.example,http://127.0.0.1"] {
            let warnings = load([("CLIENT_URL", text)]).warnings;
            assert!(
                warnings[0]
                    .starts_with("Add the port of your development server to CLIENT_URL, such as http://"),
                "{text}: {warnings:?}"
            );
        }
        for text in ["http://localhost:5173", "https://localhost", "http://app.example"] {
            assert!(load([("CLIENT_URL", text)]).warnings.is_empty(), "{text}");
        }
    }

    #[test]
    fn any_host_is_served_until_some_are_listed() {
        assert_eq!(load([("ALLOWED_HOSTS", "")]).access.hosts, AllowedHosts::Any);
        let hosts = load([("ALLOWED_HOSTS", "Turn.Example:443, [::1]")]).access.hosts;
        assert!(hosts.allows("turn.example") && hosts.allows("[::1]:3001") && !hosts.allows("evil.example"));
    }

    #[test]
    fn the_rate_limit_accepts_the_ends_of_its_ranges() {
        for (requests, window, prefix, clients) in
            [("1", "1", "1", "1"), ("10000", "86400", "128", "10000000")]
        {
            let rate = load([
                ("RATE_LIMIT_REQUESTS", requests),
                ("RATE_LIMIT_WINDOW_SECONDS", window),
                ("RATE_LIMIT_IPV6_PREFIX", prefix),
                ("RATE_LIMIT_MAX_CLIENTS", clients),
            ])
            .access
            .rate;
            assert_eq!(rate.requests.to_string(), requests);
            assert_eq!(rate.window.as_secs().to_string(), window);
            assert_eq!(rate.ipv6_prefix.to_string(), prefix);
            assert_eq!(rate.clients_max.to_string(), clients);
        }
    }

    #[test]
    fn operator_and_reporter_must_have_different_tokens() {
        let token = "hush-hush-hush-hush";
        assert_refused(
            [("OPERATOR_TOKEN", token), ("REPORTER_TOKEN", token)],
            &["REPORTER_TOKEN: expected a token other than OPERATOR_TOKEN's"],
        );
    }
}
