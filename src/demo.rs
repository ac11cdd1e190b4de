//! `turn-broker demo`: the whole service on this machine, to try it out. Its configuration is fixed, so it is the same on
//! every machine; only the listener and the log can be set. The operator's token is generated, and printed once, on standard
//! error, in the fragment of the page's URL, which browsers never send.

use std::io;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

use crate::config::{AllowedHosts, Config, ConfigErrors, Environment, RelayConfig, reachable};
use turn_base::random::{self, NoRandomness};

/// The variables that the demo reads.
pub const SETTINGS: [&str; 4] = ["HOST", "PORT", "LOG_FORMAT", "RUST_LOG"];

/// What `turn-broker demo --help` says after the options.
pub const HELP: &str = "\
The broker with a TURN server in the process, and a page. Two windows of it find each other through the broker's own signaling
(Ayame) and call each other through its relay. A chart shows the usage, the worst case and the limit; the dashboard shows the call
with its cost, and can end it. It needs no account, reads no `.env`, stores nothing, and connects to nothing on the internet.

Environment:
  HOST        by default 127.0.0.1: only this machine. With another address of this machine, such as 192.168.1.10,
              the relay listens there too, and a phone in that network can be the second window. With 0.0.0.0 or ::, as in
              the container image, publish the port under its own number for TCP and UDP, and open the page at
              127.0.0.1. Requests that name another host or port than the demo's own, localhost or loopback are refused
  PORT        the same as --port, which takes precedence
  LOG_FORMAT  text (the default) or json
  RUST_LOG    by default warnings only, so that the page's address stays visible

Other variables have no effect. The demo has a limit of 0.25 GB, a price of 0.05 USD a GB, credentials that live for
three minutes, and practically no rate limit. The limit can be raised on the page.";

/// The default port.
const PORT: u16 = 3001;
/// The default log: warnings, except about the demo's relay and its ledger in memory, which are intended.
const QUIET: &str = "warn,turn_relay=error,turn_broker::telemetry::startup=error";

/// The fixed settings besides addresses and token. A call with 7 Mbps in both directions together spends this budget in
/// five minutes. Credentials last three minutes, so the overshoot bound rises visibly before the limit is reached. Every byte has a price.
const FIXED: [(&str, &str); 10] = [
    ("ICE_SOURCES", "relay,stun"),
    ("SIGNALING", "ayame"),
    ("BANDWIDTH_LIMIT_GB", "0.25"),
    ("PRICE_PER_GB", "0.05,relay=0.05"),
    ("FREE_GB", "0"),
    ("TURN_TTL_SECONDS", "180"),
    ("LIABILITY_MBPS_PER_GRANT", "4"),
    ("HEARTBEAT_SECONDS", "5"),
    ("RATE_LIMIT_REQUESTS", "10000"),
    ("RATE_LIMIT_RENEWALS", "10000"),
];

/// A demo that is ready to run.
pub struct Demo {
    /// Its configuration.
    pub config: Config,
    /// The listener of its page, non-blocking.
    pub listener: TcpListener,
    /// The text for the person at the terminal once it runs. It contains the operator's token, so it must not reach the log.
    pub greeting: String,
}

/// Why the demo cannot start.
#[derive(Debug, thiserror::Error)]
pub enum DemoError {
    /// One of its settings is invalid.
    #[error("the configuration is invalid:\n{0}")]
    Config(#[from] ConfigErrors),
    /// The requested address or port cannot be used.
    #[error("cannot listen on {address} (HOST, PORT, --port): {cause}")]
    Listen {
        /// The address.
        address: SocketAddr,
        /// The system's error.
        #[source]
        cause: io::Error,
    },
    /// The operating system did not provide random numbers.
    #[error(transparent)]
    Random(#[from] NoRandomness),
}

impl Demo {
    /// Binds the port and builds the configuration. `environment` contains only [`SETTINGS`].
    pub fn prepare(environment: Environment, port: Option<u16>) -> Result<Self, DemoError> {
        let environment = port.iter().fold(environment, |made, port| made.with("PORT", port.to_string()));
        let is_port_set = environment.is_set("PORT");
        let environment = environment
            .with_default("HOST", "127.0.0.1")
            .with_default("LOG_FORMAT", "text")
            .with_default("RUST_LOG", QUIET);
        let server = Config::from_env(&environment)?.server;
        // The relay of the demo has an IPv4 address.
        let host = if server.host.is_unspecified() { Ipv4Addr::UNSPECIFIED.into() } else { server.host };
        let wanted = SocketAddr::new(host, if is_port_set { server.port } else { PORT });
        let (listener, address) =
            listen(wanted, !is_port_set).map_err(|cause| DemoError::Listen { address: wanted, cause })?;
        let token = URL_SAFE_NO_PAD.encode(random::bytes::<24>()?);
        let mut config = Config::from_env(&settings(environment, address, &token))?;
        config.is_demo = true;
        let page = reachable(address);
        // Only names of this machine, and the address on which the demo was told to listen, are allowed as the host of a request. Otherwise
        // a page elsewhere could make its own name resolve to this machine, and would have the same origin as the demo. Print the port too,
        // because only then an IPv6 address is in brackets.
        let own = page.to_string();
        config.access.hosts = AllowedHosts::at_port(&["localhost", "127.0.0.1", "[::1]", &own], page.port());
        // If the demo listens on all addresses, the relay has the UDP port with the page's number. A container then needs one number only,
        // and the credentials name the address at which its host publishes that port.
        if address.ip().is_unspecified() {
            config.ice.relay = Some(RelayConfig { listen: address, public_ip: page.ip() });
        }
        let moved = (!is_port_set && address.port() != PORT).then_some(PORT);
        let greeting = greeting(&format!("http://{page}/demo#token={token}"), moved);
        Ok(Self { config, listener, greeting })
    }
}

/// Binds the page's port. `or_any`: use any free port if this one is in use.
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

/// All settings of the demo.
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

/// The text for the terminal. `moved`: the default port, if it was in use.
fn greeting(page: &str, moved: Option<u16>) -> String {
    let moved = moved.map_or(String::new(), |port| format!("  (port {port} is in use)\n"));
    format!(
        "
  turn-broker demo: a call between two windows, and its budget. Everything runs on this machine; nothing is stored.

  Open this page:  {page}
{moved}
  - Open a second window: the two find each other through the broker's signaling, and send video through its relay.
  - The chart shows the usage, measured at the relay, and how far it can still exceed the limit. The dashboard shows the
    call with its cost, and can end it.
  - After 0.25 GB (some five minutes; `Lower the limit: 10 MB left` takes seconds) the relay ends the call, and no
    credential is issued. Raise the limit, and start again.

  Press Ctrl-C to stop.
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
    fn on_all_addresses_the_relay_has_the_number_of_the_page_and_clients_reach_both_on_loopback() {
        let settings = [("HOST", "::"), ("PORT", "0")];
        let demo = Demo::prepare(Environment::from_pairs(settings), None).unwrap();
        let address = demo.listener.local_addr().unwrap();
        let relay = demo.config.ice.relay.unwrap();
        assert_eq!((relay.listen, relay.public_ip.to_string().as_str()), (address, "127.0.0.1"));
        let page = format!("http://127.0.0.1:{}/demo#token=", address.port());
        assert!(page_of(&demo).starts_with(&page), "{}", demo.greeting);
        assert!(demo.config.access.hosts.allows(&format!("127.0.0.1:{}", address.port())));
    }

    #[test]
    fn each_run_has_its_own_token_and_debug_output_does_not_show_it() {
        let demos = [(); 2].map(|()| Demo::prepare(Environment::from_pairs(NONE), Some(0)).unwrap());
        let [first, second] = demos.each_ref().map(|demo| page_of(demo).split_once('=').unwrap().1);
        assert_ne!(first, second);
        assert!(first.len() >= 32, "{first}");
        assert!(!format!("{:?}", demos[0].config).contains(first));
    }

    #[test]
    fn a_used_port_is_replaced_only_if_it_is_the_default() {
        let other = TcpListener::bind("127.0.0.1:0").unwrap();
        let used = other.local_addr().unwrap();
        let (_, address) = listen(used, true).unwrap();
        assert_ne!(address, used);
        assert!(greeting("http://x", Some(3001)).contains("(port 3001 is in use)"));
        let refused = Demo::prepare(Environment::from_pairs(NONE), Some(used.port())).err().unwrap();
        assert!(refused.to_string().starts_with(&format!("cannot listen on {used}")), "{refused}");
    }

    #[test]
    fn listener_and_log_can_be_set() {
        let settings = [("PORT", "0"), ("HOST", "::1"), ("LOG_FORMAT", "json"), ("RUST_LOG", "debug")];
        // Not every machine has IPv6.
        if TcpListener::bind("[::1]:0").is_ok() {
            let demo = Demo::prepare(Environment::from_pairs(settings), None).unwrap();
            assert_eq!(demo.config.log.filter, "debug");
            assert_eq!(demo.config.ice.relay.unwrap().listen.to_string(), "[::1]:0");
        }
        let refused = Demo::prepare(Environment::from_pairs([("HOST", "localhost")]), None).err().unwrap();
        assert!(refused.to_string().contains("HOST: expected an IP address"), "{refused}");
    }
}
