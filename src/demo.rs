//! `turn-broker demo`: the whole service on this machine, for the first look. Its configuration is made here and not
//! read, so that it is the same on every machine; only where it listens and what it logs may be said. The operator's
//! token is a fresh one, and is printed once, in the page's address, behind the `#` that browsers send to nobody.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener};

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

use crate::config::{Config, ConfigErrors, Environment};
use crate::random::{self, NoRandomness};

/// What of the environment counts.
pub const SETTINGS: [&str; 4] = ["HOST", "PORT", "LOG_FORMAT", "RUST_LOG"];

/// For `turn-broker demo --help`.
pub const HELP: &str = "\
turn-broker demo: the broker with a TURN server in the process, and a page on which two ends call each other through
it while a chart shows what the call uses, how far the limit could be passed, and the limit. It needs no account, reads
no `.env`, keeps nothing, and asks nobody on the internet.

Usage: turn-broker demo [--port N]

Options:
      --port N  listen there; unless said, on 3001, or where that is taken on a port that the system picks
  -h, --help    print this

Environment:
  HOST        127.0.0.1 unless set: this machine alone. With another address of this machine (192.168.1.10, say) the
              relay is there too, and a phone in that network can open the page
  PORT        as --port, which goes before it
  LOG_FORMAT  text (unless set) or json
  RUST_LOG    unless set, warnings only, so that the page's address stays in sight

No other variable counts. The demo has a limit of 0.25 GB, credentials that live for two minutes, and no per-client rate
to speak of; a limit that was reached can be raised on the page.";

/// Where it listens if nobody says otherwise and nobody else does.
const PORT: u16 = 3001;
/// Warnings, but none about what the demo is meant to be: a relay that is no production relay, a ledger in memory.
const QUIET: &str = "warn,turn_broker::relay=error,turn_broker::telemetry::startup=error";

/// Beside the addresses and the token. A call that uses 7 Mbps both ways together spends this budget in five minutes, and
/// what two credentials are assumed to relay in their two minutes is over half of it: so one sees the bound rise before
/// the limit is reached.
const FIXED: [(&str, &str); 6] = [
    ("ICE_SOURCES", "relay,stun"),
    ("BANDWIDTH_LIMIT_GB", "0.25"),
    ("TURN_TTL_SECONDS", "120"),
    ("LIABILITY_MBPS_PER_GRANT", "4"),
    ("HEARTBEAT_SECONDS", "5"),
    ("RATE_LIMIT_REQUESTS", "10000"),
];

/// A demo that is ready to be served.
pub struct Demo {
    /// Made for it.
    pub config: Config,
    /// Where its page is served; it does not block.
    pub listener: TcpListener,
    /// For the terminal, once it is served. It holds the operator's token, so it is for no log.
    pub greeting: String,
}

/// Why there is no demo.
#[derive(Debug, thiserror::Error)]
pub enum DemoError {
    /// One of the few settings cannot be used.
    #[error("the configuration cannot be used:\n{0}")]
    Config(#[from] ConfigErrors),
    /// The address or the port that was asked for cannot be had.
    #[error("cannot listen on {address} (HOST, PORT, --port): {cause}")]
    Listen {
        /// The address.
        address: SocketAddr,
        /// What the system said.
        #[source]
        cause: io::Error,
    },
    /// No random numbers.
    #[error(transparent)]
    Random(#[from] NoRandomness),
}

impl Demo {
    /// Takes a port and makes the configuration. `environment` holds none but [`SETTINGS`].
    pub fn prepare(environment: Environment, port: Option<u16>) -> Result<Self, DemoError> {
        let asked_for = port.map(|port| port.to_string());
        let environment = match asked_for {
            Some(port) => environment.with("PORT", port),
            None => environment,
        };
        let is_port_asked_for = environment.is_set("PORT");
        let environment = environment
            .with_default("HOST", "127.0.0.1")
            .with_default("LOG_FORMAT", "text")
            .with_default("RUST_LOG", QUIET);
        let server = Config::from_env(&environment)?.server;
        let wanted = SocketAddr::new(server.host, if is_port_asked_for { server.port } else { PORT });
        let (listener, address) = listen(wanted, !is_port_asked_for)
            .map_err(|cause| DemoError::Listen { address: wanted, cause })?;
        let token = URL_SAFE_NO_PAD.encode(random::bytes::<24>()?);
        let config = Config::from_env(&settings(environment, address, &token))?;
        let moved = (!is_port_asked_for && address.port() != PORT).then_some(PORT);
        let page = format!("http://{}/demo#token={token}", reachable(address));
        Ok(Self { config: Config { is_demo: true, ..config }, listener, greeting: greeting(&page, moved) })
    }
}

/// `or_any`: where the port is taken, any other one will do.
fn listen(wanted: SocketAddr, or_any: bool) -> io::Result<(TcpListener, SocketAddr)> {
    let listener = match TcpListener::bind(wanted) {
        Err(error) if or_any && error.kind() == io::ErrorKind::AddrInUse => {
            TcpListener::bind((wanted.ip(), 0))?
        }
        bound => bound?,
    };
    listener.set_nonblocking(true)?;
    let address = listener.local_addr()?;
    Ok((listener, address))
}

/// Every setting that the demo has an opinion on.
fn settings(environment: Environment, address: SocketAddr, token: &str) -> Environment {
    let page = reachable(address);
    let by_name = format!("http://localhost:{}", page.port());
    let environment = FIXED.iter().fold(environment, |made, (name, value)| made.with(name, *value));
    environment
        .with("PORT", address.port().to_string())
        .with("CLIENT_URL", format!("http://{page},{by_name}"))
        .with("RELAY_LISTEN", SocketAddr::new(page.ip(), 0).to_string())
        .with("OPERATOR_TOKEN", token)
}

/// A listener on all addresses is opened from this machine.
fn reachable(address: SocketAddr) -> SocketAddr {
    match address.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => (Ipv4Addr::LOCALHOST, address.port()).into(),
        IpAddr::V6(ip) if ip.is_unspecified() => (Ipv6Addr::LOCALHOST, address.port()).into(),
        _ => address,
    }
}

/// `moved`: the port that was taken.
fn greeting(page: &str, moved: Option<u16>) -> String {
    let moved = moved.map_or(String::new(), |port| format!("  (port {port} is taken)\n"));
    format!(
        "
  turn-broker demo: a call through a relay, and the budget that it spends. All on this machine; nothing is kept.

  Open this page:  {page}
{moved}
  - Start the call: two ends on one page, each with credentials from the broker, video through the relay in this process.
  - The chart shows what the call uses, measured at the relay, and how far the limit could still be passed.
  - After 0.25 GB (some five minutes; `Leave 10 MB` takes seconds) the relay cuts the call, and no credential is given.
    Raise the limit, start again.

  Ctrl-C ends it.
"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    const NONE: [(&str, &str); 0] = [];

    fn page_of(demo: &Demo) -> &str {
        demo.greeting.split_whitespace().find(|word| word.starts_with("http://")).expect("an address")
    }

    #[test]
    fn it_is_on_loopback_and_only_its_own_page_may_ask() {
        let demo = Demo::prepare(Environment::from_pairs(NONE), Some(0)).unwrap();
        let address = demo.listener.local_addr().unwrap();
        assert!(address.ip().is_loopback());
        assert!(page_of(&demo).starts_with(&format!("http://{address}/demo#token=")), "{}", demo.greeting);
        for origin in [format!("http://{address}"), format!("http://localhost:{}", address.port())] {
            assert!(demo.config.access.origins.allows(&origin), "{origin}");
        }
        assert!(!demo.config.access.origins.allows("http://localhost:5173"));
        let relay = demo.config.ice.relay.unwrap();
        assert_eq!((relay.listen.to_string().as_str(), demo.config.is_demo), ("127.0.0.1:0", true));
        assert!(demo.config.budget.state_dir.is_none());
        assert_eq!(demo.config.warnings, Vec::<String>::new());
    }

    #[test]
    fn each_run_has_a_token_of_its_own_and_the_configuration_does_not_show_it() {
        let demos = [(); 2].map(|()| Demo::prepare(Environment::from_pairs(NONE), Some(0)).unwrap());
        let [first, second] = demos.each_ref().map(|demo| page_of(demo).split_once('=').unwrap().1);
        assert_ne!(first, second);
        assert!(first.len() >= 32, "{first}");
        assert!(!format!("{:?}", demos[0].config).contains(first));
    }

    #[test]
    fn a_taken_port_is_left_unless_it_was_asked_for() {
        let other = TcpListener::bind("127.0.0.1:0").unwrap();
        let taken = other.local_addr().unwrap();
        let (_, address) = listen(taken, true).unwrap();
        assert_ne!(address, taken);
        assert!(greeting("http://x", Some(3001)).contains("(port 3001 is taken)"));
        let refused = Demo::prepare(Environment::from_pairs(NONE), Some(taken.port())).err().unwrap();
        assert!(refused.to_string().starts_with(&format!("cannot listen on {taken}")), "{refused}");
    }

    #[test]
    fn what_is_logged_and_where_it_listens_may_be_said() {
        let said = [("PORT", "0"), ("HOST", "::1"), ("LOG_FORMAT", "json"), ("RUST_LOG", "debug")];
        // Not every machine has IPv6.
        if TcpListener::bind("[::1]:0").is_ok() {
            let demo = Demo::prepare(Environment::from_pairs(said), None).unwrap();
            assert_eq!(demo.config.log.filter, "debug");
            assert_eq!(demo.config.ice.relay.unwrap().listen.to_string(), "[::1]:0");
        }
        let refused = Demo::prepare(Environment::from_pairs([("HOST", "localhost")]), None).err().unwrap();
        assert!(refused.to_string().contains("HOST: expected an IP address"), "{refused}");
    }
}
