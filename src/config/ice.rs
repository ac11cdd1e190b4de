//! Settings of the ICE sources. A source that `ICE_SOURCES` names has its settings, or the service does not start. There
//! are two exceptions: without Cloudflare's settings STUN answers in its place, and the relay in this process has defaults.

use std::net::{IpAddr, SocketAddr};

use super::coturn::{CoturnRelay, read_relays};
use super::http_ice::HttpIceConfig;
use super::ice_urls::read_urls;
use super::prelude::*;
use super::turn_keys::{TurnKeyConfig, read_keys};
use crate::bounds::TTL_MIN;
use crate::ice::{IceServerList, IceServersError, IceUrl, OnBadUrl, OwnKey, RawIceServer, UrlChoice};
use turn_ledger::SourceSettings;

const URL_CHOICES: &[(&str, UrlChoice)] = &[("short", UrlChoice::Short), ("all", UrlChoice::All)];

/// Settings of all ICE sources.
#[derive(Clone, Debug)]
pub struct IceConfig {
    /// The kill switch: with `false` every response is STUN only. `TURN_ENABLED`; true when unset.
    pub enabled: bool,
    /// The order of attempts, each source once. `ICE_SOURCES`; cloudflare, then stun when unset.
    pub sources: Vec<IceSource>,
    /// How many URLs of a source a response has. `ICE_URLS`; short when unset.
    pub urls: UrlChoice,
    /// The longest and usual lifetime of a credential, 60 s to 48 h. `TURN_TTL_SECONDS`; 24 h when unset.
    pub ttl_max: Duration,
    /// The servers of a degraded response: 1 to 64 `stun:` or `stuns:` URLs, none twice, none on port 53. `STUN_URLS`; two of Google's
    /// when unset.
    pub stun: Vec<IceUrl>,
    /// Cloudflare's TURN keys; `None` when no key is set.
    pub cloudflare: Option<CloudflareConfig>,
    /// The operator's own relays; empty when neither URLs nor secret are set. Their URLs: at most 64, none twice, none on port 53, at least
    /// one `turn:` or `turns:`. `COTURN_URLS`.
    pub coturn: Vec<CoturnRelay>,
    /// Any other provider; `None` when its URL is not set.
    pub http: Option<HttpIceConfig>,
    /// The relay in this process; `None` when `ICE_SOURCES` does not name it.
    pub relay: Option<RelayConfig>,
    /// A fixed list. `MANUAL_ICE_SERVERS`, a JSON list of `RTCIceServer`; none when unset.
    pub manual: Option<IceServerList>,
}

/// Cloudflare's TURN keys and API.
#[derive(Clone, Debug)]
pub struct CloudflareConfig {
    /// The keys. `CLOUDFLARE_TURN_KEYS`, or the one of `CLOUDFLARE_TURN_KEY_ID` and `CLOUDFLARE_TURN_API_TOKEN`.
    pub keys: Vec<TurnKeyConfig>,
    /// The base of the API, `http:` or `https:`; its path ends in `/`, so that `join` appends. `CLOUDFLARE_API_BASE`;
    /// `https://rtc.live.cloudflare.com/` when unset.
    pub api_base: Url,
}

impl IceConfig {
    /// The TURN keys at Cloudflare.
    pub fn turn_keys(&self) -> impl Iterator<Item = &TurnKeyConfig> {
        self.cloudflare.iter().flat_map(|cloudflare| &cloudflare.keys)
    }

    pub(super) fn read(settings: &mut Settings<'_>) -> Self {
        let choices: Vec<_> = IceSource::named().map(|source| (source.name(), source)).collect();
        let sources = settings.about_money().words("ICE_SOURCES", Some("cloudflare,stun"), &choices);
        let relay = RelayConfig::read(settings);
        let ice = Self {
            enabled: settings.about_money().get("TURN_ENABLED", "true", switch),
            relay: sources.contains(&IceSource::Relay).then_some(relay),
            sources,
            urls: settings.get("ICE_URLS", "short", one_of(URL_CHOICES)),
            ttl_max: settings.get("TURN_TTL_SECONDS", "86400", seconds(TTL_MIN.get().as_secs()..=172_800)),
            stun: read_stun(settings),
            cloudflare: CloudflareConfig::read(settings),
            coturn: read_relays(settings),
            http: HttpIceConfig::read(settings),
            manual: read_manual(settings),
        };
        check_sources(settings, &ice.sources);
        let omitted: usize = ice.coturn.iter().map(|relay| left_out(&relay.server.urls, ice.urls)).sum();
        let hint = format!("ICE_URLS=short leaves out {omitted} of COTURN_URLS: ICE_URLS=all sends them all");
        settings.warn_if(omitted > 0, hint);
        ice
    }
}

impl CloudflareConfig {
    /// The ids of the keys. The bytes of every other key of the account are not counted as ours.
    pub fn own_keys(&self) -> Vec<OwnKey> {
        self.keys.iter().map(|key| OwnKey::of(&key.id)).collect()
    }

    fn read(settings: &mut Settings<'_>) -> Option<Self> {
        let keys = read_keys(settings);
        let api_base = settings.base_url("CLOUDFLARE_API_BASE", "https://rtc.live.cloudflare.com");
        (!keys.is_empty()).then_some(Self { keys, api_base })
    }
}

/// How many of a server's URLs are in no response.
fn left_out(urls: &[IceUrl], choice: UrlChoice) -> usize {
    let all = IceServerList::of_turn(urls.to_vec(), String::new(), String::new());
    urls.len() - all.choose(choice).urls().count()
}

/// Refuses `ICE_SOURCES` if it names a source that requires settings, and none of these settings is set. Warns if settings of a source are
/// set that `ICE_SOURCES` does not name.
fn check_sources(settings: &mut Settings<'_>, sources: &[IceSource]) {
    for source in IceSource::ALL {
        let (names, is_required) = match source.facts().settings {
            SourceSettings::Shared => continue,
            SourceSettings::Optional(names) => (names, false),
            SourceSettings::Required(names) => (names, true),
        };
        let set: Vec<&str> = names.iter().copied().filter(|name| settings.is_set(name)).collect();
        let is_named = sources.contains(&source);
        if is_named && set.is_empty() && is_required {
            let names = names.join(" and ");
            settings.refuse("ICE_SOURCES", format!("expected {names} to be set because it names {source}"));
        } else if !is_named && !set.is_empty() {
            let set = set.join(" and ");
            settings.warn(format!("add {source} to ICE_SOURCES: without it there is no effect of {set}"));
        }
    }
}

fn read_stun(settings: &mut Settings<'_>) -> Vec<IceUrl> {
    let default = "stun:stun.l.google.com:19302,stun:stun1.l.google.com:19302";
    let parse = |text: &str| Some(((), IceUrl::parse(text).ok().filter(|url| !url.relays())?));
    let urls = read_urls(settings, "STUN_URLS", Some(default), form("stun: or stuns: URLs", parse));
    urls.unwrap_or_default().into_iter().map(|((), url)| url).collect()
}

/// The relay in this process, for demos, development and tests.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RelayConfig {
    /// An address of loopback or of a private network, and a UDP port; port 0 lets the system pick one. `RELAY_LISTEN`; `127.0.0.1:3478`
    /// when unset. Only the demo listens on all addresses.
    pub listen: SocketAddr,
    /// The address that clients use. Only the demo in a container has another one than that of `listen`.
    pub public_ip: IpAddr,
}

impl RelayConfig {
    /// Also read if `ICE_SOURCES` does not name the relay, so that mistakes are found early.
    fn read(settings: &mut Settings<'_>) -> Self {
        let expected =
            "address:port on loopback or a private network, such as 127.0.0.1:3478 or [fd00::1]:3478";
        let listen = settings.get("RELAY_LISTEN", "127.0.0.1:3478", form(expected, parse_listen));
        Self { listen, public_ip: listen.ip() }
    }
}

fn parse_listen(text: &str) -> Option<SocketAddr> {
    let is_not_public = |listen: &SocketAddr| match listen.ip() {
        IpAddr::V4(ip) => ip.is_loopback() || ip.is_private() || ip.is_link_local(),
        IpAddr::V6(ip) => ip.is_loopback() || ip.is_unique_local() || ip.is_unicast_link_local(),
    };
    text.parse().ok().filter(is_not_public)
}

/// Reads the fixed list, with a warning if URLs are left out.
fn read_manual(settings: &mut Settings<'_>) -> Option<IceServerList> {
    let (list, count) = settings.secret("MANUAL_ICE_SERVERS", parse_manual)?;
    let hint = format!("MANUAL_ICE_SERVERS leaves {count} of its URLs out: browsers block port 53");
    settings.warn_if(count > 0, hint);
    Some(list)
}

/// The list, and how many URLs are left out because browsers block them. All bad entries are one problem, which states the numbers of the
/// entries. It never repeats the text, because the text has passwords.
fn parse_manual(text: &str) -> Formed<(IceServerList, usize)> {
    let servers: Vec<RawIceServer> = serde_json::from_str(text).map_err(|error| {
        let (line, column) = (error.line(), error.column());
        format!("expected a JSON list of RTCIceServer objects, unreadable at line {line}, column {column}")
    })?;
    let problem = |(server, number): (&RawIceServer, u32)| {
        let error = IceServerList::clean(vec![server.clone()], OnBadUrl::Refuse).err()?;
        // An entry without a usable URL is no problem if another entry has one.
        (error != IceServersError::Empty).then(|| format!("entry {number}: {error}"))
    };
    let problems: Vec<String> = servers.iter().zip(1..).filter_map(problem).collect();
    if !problems.is_empty() {
        return Err(problems.join("; "));
    }
    let is_blocked = |url: &&String| IceUrl::parse(url).is_ok_and(|url| url.is_blocked_by_browsers());
    let blocked_count = servers.iter().flat_map(RawIceServer::urls).filter(is_blocked).count();
    let list = IceServerList::clean(servers, OnBadUrl::Refuse).map_err(|error| error.to_string())?;
    Ok((list, blocked_count))
}
