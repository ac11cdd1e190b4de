//! Settings of the listener, the log and the wire formats.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::time::Duration;

use tracing_subscriber::filter::{LevelFilter, Targets};

use super::form::{form, is_at_or_below, number, one_of, parsed, seconds};
use super::settings::Settings;

/// The listener.
#[derive(Clone, Debug)]
pub struct ServerConfig {
    /// The address of the listener; `::` accepts IPv4 too, and is `0.0.0.0` where there is no IPv6. `HOST`; `::` when unset.
    pub host: IpAddr,
    /// The port of the listener, 0 to 65535; 0 lets the system pick one. `PORT`; 3001 when unset.
    pub port: u16,
    /// How long a connection may be idle between requests, 1 s to 2 h. `KEEP_ALIVE_SECONDS`; 620 s when unset, which is more than the
    /// 600 s of the large balancers: they must close first.
    pub keep_alive: Duration,
}

/// The log.
#[derive(Clone, Debug)]
pub struct LogConfig {
    /// Whether each line is a JSON object, for log collectors. `LOG_FORMAT`, text or json; when unset, text on a terminal, else JSON.
    pub is_json: bool,
    /// Valid directives of `tracing_subscriber::filter::Targets`. `RUST_LOG`; `info` when unset.
    pub filter: String,
}

/// Another response format of the same mint, with a route of its own. Each is off until `DOORS` names it, because each adds
/// a way to spend the budget.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WireFormat {
    /// `GET /turn`, the TURN REST draft.
    Turn,
    /// `GET /_matrix/client/v3/voip/turnServer`.
    Matrix,
    /// `GET /ice`, the format of stunner.
    Ice,
    /// `GET /link`, the `Link` headers of WHIP and WHEP.
    Link,
    /// `GET /api/v1/turn/credentials`, the format of Metered.
    Metered,
    /// `POST /v1/turn/keys/…`, the API of Cloudflare. For server keys alone.
    Cloudflare,
}

/// The words of `DOORS`, with the paths at or below which each format is served.
const WIRE_FORMATS: [(&str, WireFormat, &str); 6] = [
    ("turn", WireFormat::Turn, "/turn"),
    ("matrix", WireFormat::Matrix, "/_matrix"),
    ("ice", WireFormat::Ice, "/ice"),
    ("link", WireFormat::Link, "/link"),
    ("metered", WireFormat::Metered, "/api/v1/turn/credentials"),
    ("cloudflare", WireFormat::Cloudflare, "/v1/turn/keys"),
];

impl ServerConfig {
    pub(super) fn read(settings: &mut Settings<'_>) -> Self {
        let address = parsed("an IP address such as 0.0.0.0, 127.0.0.1 or ::");
        Self {
            host: settings.get("HOST", "::", address),
            port: settings.get("PORT", "3001", number(0..=65_535)),
            keep_alive: settings.get("KEEP_ALIVE_SECONDS", "620", seconds(1..=7_200)),
        }
    }

    /// The address at which this machine reaches the listener.
    pub fn reachable(&self) -> SocketAddr {
        reachable(SocketAddr::new(self.host, self.port))
    }
}

/// The address at which this machine reaches a listener: loopback for one on all addresses.
pub fn reachable(listener: SocketAddr) -> SocketAddr {
    let ip = listener.ip();
    // A listener on `::` accepts IPv4 too, and where IPv6 is off, only IPv4.
    SocketAddr::new(if ip.is_unspecified() { Ipv4Addr::LOCALHOST.into() } else { ip }, listener.port())
}

impl LogConfig {
    pub(super) fn read(settings: &mut Settings<'_>) -> Self {
        let by_default = if settings.environment.is_terminal { "text" } else { "json" };
        let expected = "log directives such as info or turn_broker=debug,warn: each is off, error, warn, info, debug or trace, or target=level with _ for each - in the target";
        let directives = form(expected, |text| {
            let is_good = keeps_log_on(text) && text.parse::<Targets>().is_ok();
            is_good.then(|| text.to_owned())
        });
        Self {
            is_json: settings.get("LOG_FORMAT", by_default, one_of(&[("text", false), ("json", true)])),
            filter: settings.get("RUST_LOG", "info", directives),
        }
    }
}

/// Whether the log stays on with these directives. Beside a level for all targets, such as `info`, directives may name any target. Without
/// such a level, a typing error would turn the log off. So a word must then begin like our modules, and a target must be a possible name of
/// a module.
fn keeps_log_on(text: &str) -> bool {
    let directives = || text.split(',');
    let is_level = |directive: &str| directive.parse::<LevelFilter>().is_ok();
    let may_match = |directive: &str| match directive.split_once('=') {
        Some((target, _)) => !target.contains('-'),
        None => directive.starts_with("turn_"),
    };
    directives().all(|directive| !directive.is_empty() && !directive.contains(' '))
        && (directives().any(is_level) || directives().all(may_match))
}

impl WireFormat {
    /// The wire formats that are served, each once. `DOORS`, comma-separated; none when unset.
    pub(super) fn read(settings: &mut Settings<'_>) -> Vec<Self> {
        let formats = settings.words("DOORS", None, &WIRE_FORMATS.map(|(name, format, _)| (name, format)));
        let lacks_keys = formats.contains(&Self::Cloudflare) && !settings.is_set("SERVER_KEYS");
        settings.refuse_if("DOORS", lacks_keys, "expected SERVER_KEYS to be set because it names cloudflare");
        formats
    }

    /// The word that `DOORS` lacks to serve `path`. `None` if no wire format that is off would serve it.
    pub fn off_at(served: &[Self], path: &str) -> Option<&'static str> {
        let mut off = WIRE_FORMATS.iter().filter(|(_, format, _)| !served.contains(format));
        off.find(|(.., root)| is_at_or_below(path, root)).map(|(name, ..)| *name)
    }
}

#[cfg(test)]
mod tests {
    use crate::config::testing::load;
    use crate::config::{Config, Environment};

    #[test]
    fn the_log_is_text_on_a_terminal_unless_it_is_set() {
        for (written, is_json) in [("", false), ("json", true)] {
            let mut environment = Environment::from_pairs([("LOG_FORMAT", written)]);
            environment.is_terminal = true;
            assert_eq!(Config::from_env(&environment).unwrap().log.is_json, is_json);
        }
    }

    #[test]
    fn a_listener_on_all_addresses_is_reached_on_loopback() {
        for (host, reached) in [
            ("0.0.0.0", "127.0.0.1:3001"),
            ("::", "127.0.0.1:3001"),
            ("::1", "[::1]:3001"),
            ("192.0.2.1", "192.0.2.1:3001"),
        ] {
            assert_eq!(load([("HOST", host)]).server.reachable().to_string(), reached);
        }
    }
}
