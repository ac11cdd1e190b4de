//! Access settings: allowed origins and hosts, rate limit, trusted proxies and bearer tokens.

use std::num::{NonZeroU32, NonZeroUsize};
use std::sync::Arc;

use axum::http::HeaderName;
use axum::http::header::FORWARDED;
use ipnet::{IpNet, Ipv4Net};

use super::form::visible;
use super::host::{self, AllowedHosts};
use super::origin::{self, AllowedOrigins};
use super::prelude::*;
use super::public_url::PublicUrl;
use turn_base::TrustedProxies;

/// The lengths of a bearer token: nobody types one, and it must fit in a header line.
const TOKEN_CHARS: RangeInclusive<usize> = 32..=1_024;
/// A network with such a prefix has addresses of strangers. The widest network of private addresses is `fc00::/7`.
const WIDEST_PREFIX: u8 = 6;
/// The bits of an IPv4-mapped address before the IPv4 address.
const MAPPED_PREFIX: u8 = 96;

/// Origins that are rarely meant: a development server has a port.
const WITHOUT_PORT: [&str; 3] = ["http://localhost", "http://127.0.0.1", "http://[::1]"];

/// Access settings.
#[derive(Clone, Debug)]
pub struct AccessConfig {
    /// Origins of the pages that may call. `CLIENT_URL`, comma-separated, also as `https://*.example.com`, or `*`; `http://localhost:5173`
    /// when unset. The origin of `PUBLIC_URL` is allowed, too.
    pub origins: AllowedOrigins,
    /// Hosts that a request may name. `ALLOWED_HOSTS`, names and addresses, comma-separated, and the host of `PUBLIC_URL`; any host when
    /// `ALLOWED_HOSTS` is unset.
    pub hosts: AllowedHosts,
    /// The rate limit of one client address.
    pub rate: RateLimitConfig,
    /// Proxies whose headers about the client are read. Their networks are canonical: host bits are zero, IPv4-mapped ones are IPv4.
    /// `TRUSTED_PROXIES`, CIDRs and bare addresses, comma-separated; none when unset. The header in which they name the client:
    /// `CLIENT_ADDRESS_HEADER`; `X-Forwarded-For` when unset.
    pub trusted_proxies: TrustedProxies,
    /// Authorizes operator calls, which answer 404 if this is unset. 32 to 1,024 visible ASCII characters, different from the
    /// reporter's. `OPERATOR_TOKEN`; none when unset.
    pub operator_token: Option<SecretString>,
    /// Lets an app server report connections without a grant. Same form as the operator's. `REPORTER_TOKEN`; none when
    /// unset.
    pub reporter_token: Option<SecretString>,
    /// Authorizes `/metrics` alone, as the operator's token does. Same form as the operator's. `METRICS_TOKEN`; none when unset.
    pub metrics_token: Option<SecretString>,
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
    /// The most clients with a row of their own, half of them for IPv4 and half for IPv6, 1 to 10,000,000. In addition,
    /// wide IPv6 prefixes have as many rows as IPv6 clients. `RATE_LIMIT_MAX_CLIENTS`; 100,000 when unset.
    pub clients_max: NonZeroUsize,
}

impl AccessConfig {
    /// `public_url`: where this broker is reached.
    pub(super) fn read(settings: &mut Settings<'_>, public_url: Option<&PublicUrl>) -> Self {
        let host = form("host names or addresses such as turn.example, without a scheme", host::parse_entry);
        let mut hosts = settings.list("ALLOWED_HOSTS", None, host);
        if let Some(hosts) = &mut hosts {
            hosts.extend(public_url.and_then(PublicUrl::host));
        }
        let access = Self {
            origins: read_origins(settings, public_url),
            hosts: hosts.map_or(AllowedHosts::Any, AllowedHosts::List),
            rate: RateLimitConfig::read(settings),
            trusted_proxies: TrustedProxies {
                networks: read_trusted_proxies(settings),
                client_header: settings.get("CLIENT_ADDRESS_HEADER", "X-Forwarded-For", client_header),
            },
            operator_token: settings.secret("OPERATOR_TOKEN", own_secret(random_token)),
            reporter_token: settings.secret("REPORTER_TOKEN", own_secret(random_token)),
            metrics_token: settings.secret("METRICS_TOKEN", own_secret(random_token)),
        };
        if let (Some(url), Some(_)) = (public_url, &access.operator_token) {
            url.warn_of_cleartext(settings);
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

/// The origins of `CLIENT_URL`, with that of `PUBLIC_URL`.
fn read_origins(settings: &mut Settings<'_>, public_url: Option<&PublicUrl>) -> AllowedOrigins {
    let expected = "origins as scheme://host[:port] without a path, https://*.example.com for any one label below a domain of your own, null for pages without an \
                    origin, or * alone";
    let parse = |text: &str| if text == "*" { Some(text.to_owned()) } else { origin::parse_entry(text) };
    let listed = settings.list("CLIENT_URL", Some("http://localhost:5173"), form(expected, parse));
    let mut origins = listed.unwrap_or_default();
    origins.sort_unstable();
    origins.dedup();
    if origins == ["*"] {
        settings.warn("CLIENT_URL=* lets the pages of every site ask for credentials");
        return AllowedOrigins::Any;
    }
    let has_all = origins.iter().any(|origin| origin == "*");
    settings.refuse_if("CLIENT_URL", has_all, "expected * alone, found other origins beside it");
    if let Some(origin) = origins.iter().find(|origin| WITHOUT_PORT.contains(&origin.as_str())) {
        settings.warn(format!("Add the port of your development server to CLIENT_URL, such as {origin}:5173: {origin} allows pages on port 80 only"));
    }
    origins.extend(public_url.and_then(PublicUrl::origin));
    AllowedOrigins::List(origins)
}

fn read_trusted_proxies(settings: &mut Settings<'_>) -> Arc<[IpNet]> {
    let network = form("addresses or CIDRs such as 10.0.0.0/8", parse_network);
    let mut networks = settings.list("TRUSTED_PROXIES", None, network).unwrap_or_default();
    networks.sort_unstable();
    networks.dedup();
    let is_wide = IpNet::aggregate(&networks).iter().any(|network| network.prefix_len() <= WIDEST_PREFIX);
    let risk = "TRUSTED_PROXIES trusts addresses of the whole internet: any client there can choose the address that its rate limit uses";
    settings.warn_if(is_wide, risk);
    networks.into()
}

/// A token that the operator has made with a program.
fn random_token(text: &str) -> Formed<SecretString> {
    visible(TOKEN_CHARS)(text)
        .map_err(|expected| format!("{expected}, such as those of openssl rand -hex 32"))
}

/// The name of a header whose values are only addresses. `Forwarded` is refused, because its values have names and other fields, too.
fn client_header(text: &str) -> Formed<HeaderName> {
    let expected =
        "X-Forwarded-For, or the name of a header with one address such as X-Real-IP or CF-Connecting-IP";
    form(expected, |text| text.parse().ok().filter(|name| *name != FORWARDED))(text)
}

/// Parses a CIDR, or a bare address as a single host. Clears host bits and converts IPv4-mapped IPv6 to IPv4.
fn parse_network(text: &str) -> Option<IpNet> {
    let network: IpNet = match text.parse() {
        Ok(network) => network,
        Err(_) => IpNet::from(text.parse::<std::net::IpAddr>().ok()?),
    };
    Some(without_mapping(network).trunc())
}

/// An IPv4-mapped network as IPv4. Any other network stays as it is.
fn without_mapping(network: IpNet) -> IpNet {
    let IpNet::V6(v6) = network else { return network };
    let as_v4 = |prefix| Ipv4Net::new(v6.addr().to_ipv4_mapped()?, prefix).ok();
    v6.prefix_len().checked_sub(MAPPED_PREFIX).and_then(as_v4).map_or(network, IpNet::V4)
}
