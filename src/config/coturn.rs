//! Settings of the operator's own relays: coturn servers with one secret, and the command line of each.

use std::net::SocketAddr;

use url::Host;

use super::budget::read_limits;
use super::form::{parse_number, password};
use super::ice_urls::read_urls;
use super::prelude::*;
use super::server::reachable;
use crate::ice::key_name::KeyName;
use crate::ice::rest::{RestSecret, RestServer};
use crate::ice::url::IceUrl;
use turn_ledger::{CountOwner, IdDigest};

/// The most relays. Each one is a time series and a row of the overview.
pub const RELAYS_MAX: usize = 16;

/// A coturn with `use-auth-secret`. URLs of one host are one relay.
#[derive(Clone, Debug)]
pub struct CoturnRelay {
    /// The host of its URLs, in lower case. It identifies the relay in counts.
    pub host: String,
    /// The name before its URLs; relays of one name are a region. `COTURN_URLS`.
    pub name: Option<KeyName>,
    /// What it may relay in a period, above 0. `COTURN_LIMITS`.
    pub limit: Option<ByteCount>,
    /// Its URLs, the STUN URLs of hosts without a relay, and its `static-auth-secret`: `COTURN_SECRET`.
    pub server: RestServer,
}

/// The command line of a coturn, which lists and ends sessions.
#[derive(Clone, Debug)]
pub struct CoturnCliConfig {
    /// The host of the relay. `None` if there are no relays.
    pub host: Option<String>,
    /// `host:port`, IPv6 in brackets. `COTURN_CLI`.
    pub address: String,
    /// Its `cli-password`. `COTURN_CLI_PASSWORD`.
    pub password: SecretString,
}

/// Where coturns report their sessions.
#[derive(Clone, Debug)]
pub struct CoturnStatsConfig {
    /// The address of the listener. `COTURN_STATS_LISTEN`.
    pub listen: SocketAddr,
    /// What each coturn authenticates with, without quotes or spaces. `COTURN_STATS_PASSWORD`.
    pub password: SecretString,
}

impl CoturnStatsConfig {
    pub(super) fn read(settings: &mut Settings<'_>) -> Option<Self> {
        let expected = "address:port, such as 127.0.0.1:6390";
        let is_named = |listen: &SocketAddr| listen.port() > 0;
        let parse = |text: &str| text.parse().ok().filter(is_named);
        let listen = settings.about_money().optional("COTURN_STATS_LISTEN", form(expected, parse));
        // It stands in a list of words in quotes.
        let word = |text: &str| {
            if text.contains([' ', '"', '\'']) {
                return Err("expected text without spaces and quotes".to_owned());
            }
            password(text)
        };
        let password = settings.secret("COTURN_STATS_PASSWORD", own_secret(word));
        settings.both_or_neither("COTURN_STATS_LISTEN", "COTURN_STATS_PASSWORD");
        let lacks_cli = settings.is_set("COTURN_STATS_LISTEN") && !settings.is_set("COTURN_CLI");
        settings.refuse_if("COTURN_CLI", lacks_cli, "expected a value because COTURN_STATS_LISTEN is set");
        Some(Self { listen: listen?, password: password? })
    }

    /// What an operator may set.
    pub fn example() -> Self {
        Self { listen: SocketAddr::from(([127, 0, 0, 1], 6_390)), password: SecretString::default() }
    }

    /// The line for turnserver.conf of the relay with this place in `COTURN_URLS`, as coturn reaches the broker on the same machine.
    pub fn line(&self, place: usize) -> String {
        let listen = reachable(self.listen);
        format!(
            "redis-statsdb=\"ip={} dbname={place} password=COTURN_STATS_PASSWORD port={} connect_timeout=5\"",
            listen.ip(),
            listen.port()
        )
    }
}

impl CoturnRelay {
    /// The owner of the counts of what this relay relays.
    pub fn owner(&self) -> CountOwner {
        owner_of(Some(&self.host))
    }
}

impl CoturnCliConfig {
    /// The owner of the counts that its listings give.
    pub fn owner(&self) -> CountOwner {
        owner_of(self.host.as_deref())
    }

    /// The entries of `COTURN_CLI`: at most one for each of `relays`. If there is only one relay or none, the entry needs no host.
    pub(super) fn read(settings: &mut Settings<'_>, relays: &[CoturnRelay]) -> Vec<Self> {
        let expected = "host:port, such as 127.0.0.1:5766, for several relays turn-host=host:port";
        let listed = settings.about_money().list("COTURN_CLI", None, form(expected, parse_entry));
        let password = settings.secret("COTURN_CLI_PASSWORD", own_secret(password));
        settings.both_or_neither("COTURN_CLI", "COTURN_CLI_PASSWORD");
        let (Some(entries), Some(password)) = (listed, password) else { return vec![] };
        let mut addresses = BTreeMap::new();
        for (host, address) in entries {
            let is_known = host.as_ref().is_none_or(|host| relays.iter().any(|relay| relay.host == *host));
            if !is_known || host.is_none() && relays.len() > 1 {
                let found = host.unwrap_or(address);
                settings
                    .refuse("COTURN_CLI", format!("expected a host of COTURN_URLS before =, found {found}"));
                continue;
            }
            // The only relay, or none: COTURN_URLS may be unset.
            let host = host.or_else(|| relays.first().map(|relay| relay.host.clone()));
            let is_repeated = addresses.insert(host, address).is_some();
            settings.refuse_if("COTURN_CLI", is_repeated, "expected one entry for each host of COTURN_URLS");
        }
        let distinct: BTreeSet<_> = addresses.values().collect();
        let expected =
            "expected an address of its own for each host: the sessions of one coturn would count twice";
        settings.refuse_if("COTURN_CLI", distinct.len() < addresses.len(), expected);
        let config = |(host, address)| Self { host, address, password: password.clone() };
        addresses.into_iter().map(config).collect()
    }
}

/// The relay's host takes the place of the TURN key in the owner.
fn owner_of(host: Option<&str>) -> CountOwner {
    CountOwner { source: IceSource::Coturn, issuer: host.map(IdDigest::of) }
}

/// The relays of `COTURN_URLS`, in their order. Empty without good URLs, and without a good secret.
pub(super) fn read_relays(settings: &mut Settings<'_>) -> Vec<CoturnRelay> {
    let urls = read_urls(settings, "COTURN_URLS", None, named_url);
    let limits = read_limits(settings, "COTURN_LIMITS", "turn-host", |host| Some(host_in(host)));
    let secret = settings.secret("COTURN_SECRET", own_secret(password));
    settings.both_or_neither("COTURN_URLS", "COTURN_SECRET");
    let Some(urls) = urls else {
        settings.warn_if(!limits.is_empty(), "COTURN_LIMITS has no effect: COTURN_URLS is not set");
        return vec![];
    };
    let host_of = |url: &IceUrl| url.host.to_ascii_lowercase();
    let mut hosts: Vec<String> = vec![];
    let mut names = BTreeMap::new();
    for (name, url) in urls.iter().filter(|(_, url)| url.relays()) {
        let host = host_of(url);
        if !hosts.contains(&host) {
            hosts.push(host.clone());
        }
        let expected = format!("expected one name for all URLs of {host}");
        let has_other_name = name.is_some_and(|name| *names.entry(host).or_insert(name) != name);
        settings.refuse_if("COTURN_URLS", has_other_name, expected);
    }
    for other in limits.keys().filter(|host| !hosts.contains(host)) {
        settings.refuse("COTURN_LIMITS", format!("expected hosts of COTURN_URLS, found {other}"));
    }
    settings.refuse_if("COTURN_URLS", hosts.is_empty(), "expected at least one turn: or turns: URL");
    let too_many = format!("expected at most {RELAYS_MAX} hosts, found {}", hosts.len());
    settings.refuse_if("COTURN_URLS", hosts.len() > RELAYS_MAX, too_many);
    let Some(secret) = secret.map(RestSecret) else { return vec![] };
    let relay = |host: &String| {
        let is_for_relay = |url: &&IceUrl| host_of(url) == *host || !hosts.contains(&host_of(url));
        let urls = urls.iter().map(|(_, url)| url).filter(is_for_relay).cloned().collect();
        CoturnRelay {
            host: host.clone(),
            name: names.get(host).copied(),
            limit: limits.get(host).copied(),
            server: RestServer { urls, secret: secret.clone() },
        }
    };
    hosts.iter().map(relay).collect()
}

/// The name before a URL, if there is one, and the URL: `eu=turn:…`. What stands before the `=` of `?transport=` is no name.
fn named_url(text: &str) -> Formed<(Option<KeyName>, IceUrl)> {
    let named = text.split_once('=').and_then(|(name, url)| Some((KeyName::new(name.trim())?, url.trim())));
    let (name, url) = named.map_or((None, text), |(name, url)| (Some(name), url));
    IceUrl::parse(url).map(|url| (name, url)).map_err(|error| error.to_string())
}

/// A host in lower case, without the brackets that an IPv6 address has in a URL.
fn host_in(text: &str) -> String {
    text.trim().trim_matches(['[', ']']).to_ascii_lowercase()
}

/// The host of a relay, if it is named, and `host:port` with a port above 0.
fn parse_entry(text: &str) -> Option<(Option<String>, String)> {
    let (relay, address) =
        text.split_once('=').map_or((None, text), |(relay, address)| (Some(relay), address));
    let (host, port) = address.trim().rsplit_once(':')?;
    let host = Host::parse(host).ok().filter(|_| !host.is_empty())?;
    let port = parse_number::<u16>(port, &(1..=65_535))?;
    Some((relay.map(host_in), format!("{host}:{port}")))
}
