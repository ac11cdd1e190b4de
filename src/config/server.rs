//! Settings of the listener and the log.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use tracing_subscriber::EnvFilter;

use super::names::{HOST, LOG_FORMAT, PORT, RUST_LOG};
use super::settings::{Read, Settings};

/// The listener.
#[derive(Clone, Debug)]
pub struct ServerConfig {
    /// The address of the listener; `::` accepts IPv4 too on most systems. `HOST`; `0.0.0.0` when unset.
    pub host: IpAddr,
    /// The port of the listener, 0 to 65535; 0 lets the system pick one. `PORT`; 3001 when unset.
    pub port: u16,
}

/// The log.
#[derive(Clone, Debug)]
pub struct LogConfig {
    /// `text` or `json`. `LOG_FORMAT`; when unset, text on a terminal, else JSON.
    pub format: LogFormat,
    /// Valid directives of `tracing_subscriber::EnvFilter`. `RUST_LOG`; `info` when unset.
    pub filter: String,
}

/// The format of a log line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LogFormat {
    /// For humans.
    Text,
    /// One JSON object per line, for log collectors.
    Json,
}

const LOG_FORMATS: &[(&str, LogFormat)] = &[("text", LogFormat::Text), ("json", LogFormat::Json)];

impl ServerConfig {
    pub(super) fn read(settings: &mut Settings<'_>) -> Read<Self> {
        let host =
            settings.required(HOST, "an IP address such as 0.0.0.0, 127.0.0.1 or ::", |t| t.parse().ok());
        let port = settings.number(PORT, 0..=u16::MAX);
        Ok(Self { host: host?, port: port? })
    }

    /// The address at which this machine reaches the listener.
    #[must_use]
    pub fn reachable(&self) -> SocketAddr {
        reachable(SocketAddr::new(self.host, self.port))
    }
}

/// The address at which this machine reaches a listener: loopback for one on all addresses.
#[must_use]
pub fn reachable(listener: SocketAddr) -> SocketAddr {
    match listener.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => (Ipv4Addr::LOCALHOST, listener.port()).into(),
        IpAddr::V6(ip) if ip.is_unspecified() => (Ipv6Addr::LOCALHOST, listener.port()).into(),
        _ => listener,
    }
}

impl LogConfig {
    pub(super) fn read(settings: &mut Settings<'_>) -> Read<Self> {
        let by_default = if settings.is_terminal() { LogFormat::Text } else { LogFormat::Json };
        let format = settings.optional_word(LOG_FORMAT, LOG_FORMATS);
        let filter =
            settings.required(RUST_LOG, "log directives such as info or turn_broker=debug,warn", |text| {
                EnvFilter::try_new(text).ok().map(|_| text.to_owned())
            });
        Ok(Self { format: format?.unwrap_or(by_default), filter: filter? })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::testing::{assert_refused, load};
    use crate::config::{Config, Environment};

    #[test]
    fn the_listener_accepts_any_address_and_port_0() {
        let server = load([("HOST", "::1"), ("PORT", "0")]).server;
        assert_eq!((server.host, server.port), ("::1".parse().unwrap(), 0));
    }

    #[test]
    fn the_log_is_text_on_a_terminal_and_json_elsewhere_by_default() {
        for (is_terminal, written, format) in [
            (true, "", LogFormat::Text),
            (false, "", LogFormat::Json),
            (true, "json", LogFormat::Json),
            (false, "Text", LogFormat::Text),
        ] {
            let environment = Environment::from_pairs([("LOG_FORMAT", written)]).with_terminal(is_terminal);
            assert_eq!(
                Config::from_env(&environment).unwrap().log.format,
                format,
                "{is_terminal} {written:?}"
            );
        }
    }

    #[test]
    fn a_listener_on_all_addresses_is_reached_on_loopback() {
        for (host, reached) in
            [("0.0.0.0", "127.0.0.1:3001"), ("::", "[::1]:3001"), ("192.0.2.1", "192.0.2.1:3001")]
        {
            assert_eq!(load([("HOST", host)]).server.reachable().to_string(), reached);
        }
    }

    #[test]
    fn each_bad_value_is_refused_with_what_was_expected() {
        let number = "PORT: expected a number from 0 to 65535";
        for (name, value, line) in [
            ("PORT", "abc", number),
            ("PORT", "65536", number),
            ("PORT", "-1", number),
            ("PORT", "3001.0", number),
            ("HOST", "localhost", "HOST: expected an IP address such as 0.0.0.0, 127.0.0.1 or ::"),
            ("HOST", "0.0.0.0:3001", "HOST: expected an IP address such as 0.0.0.0, 127.0.0.1 or ::"),
            ("LOG_FORMAT", "xml", "LOG_FORMAT: expected text or json"),
            ("RUST_LOG", "a=b=c", "RUST_LOG: expected log directives such as info or turn_broker=debug,warn"),
        ] {
            assert_refused([(name, value)], &[&format!("{line}, found {value:?}")]);
        }
    }
}
