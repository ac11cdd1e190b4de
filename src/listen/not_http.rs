//! What arrives at the listener and is not HTTP/1: the header of the PROXY protocol, TLS, HTTP/2. The client gets a bare 400, so the log
//! and a metric say what has arrived.

use std::net::SocketAddr;

use super::prelude::*;
use crate::telemetry::metrics::Metrics;

/// How many of the first bytes are kept and logged: enough to see what they are, and too few for a secret.
pub(super) const FIRST_BYTES: usize = 12;
/// At most one line is logged in this time.
const NOT_HTTP_WINDOW: Duration = Duration::from_secs(60);

/// What can arrive: its first bytes, its name in the metric, and what the operator can do.
const KINDS: [(&[u8], &str, &str); 4] = [
    (b"PROXY ", "proxy_header", NO_PROXY_HEADER),
    (b"\r\n\r\n\0\r\nQUIT\n", "proxy_header", NO_PROXY_HEADER),
    (b"\x16\x03", "tls", "use http: for this port, or put a proxy with TLS in front of it"),
    (b"PRI * HTTP/2", "http2", "let the proxy or the client use HTTP/1.1 for this port"),
];
const NO_PROXY_HEADER: &str =
    "turn off the PROXY protocol at the balancer; the client's address is read from CLIENT_ADDRESS_HEADER";

/// Counts and logs what is not HTTP.
pub(super) struct NotHttp {
    clock: Arc<dyn Clock>,
    metrics: Arc<Metrics>,
    log: Throttle,
}

impl NotHttp {
    pub(super) fn new(clock: Arc<dyn Clock>, metrics: Arc<Metrics>) -> Self {
        Self { clock, metrics, log: Throttle::every(NOT_HTTP_WINDOW) }
    }

    /// Counts and logs that a peer has sent these first bytes.
    pub(super) fn report(&self, peer: SocketAddr, first: &[u8]) {
        let (kind, remedy) = kind_of(first);
        self.metrics.not_http.count([kind]);
        if let Some(held_back) = self.log.pass(self.clock.instant()) {
            let first_bytes = first.escape_ascii();
            tracing::warn!(kind, %first_bytes, held_back, "what a client sends is not HTTP: {remedy}");
            tracing::info!(%peer, kind, "a client does not speak HTTP");
        }
    }
}

/// The name in the metric of what begins with these bytes, and what the operator can do.
fn kind_of(first: &[u8]) -> (&'static str, &'static str) {
    let known = KINDS.iter().find(|(begin, ..)| first.starts_with(begin));
    known.map_or(("unknown", "check what connects to this port"), |(_, kind, remedy)| (*kind, *remedy))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_kind_is_known_by_its_first_bytes() {
        for (first, kind) in [
            (&b"PROXY TCP4 1"[..], "proxy_header"),
            (b"\r\n\r\n\0\r\nQUIT\n", "proxy_header"),
            (b"\x16\x03\x01\x02\x00\x01", "tls"),
            (b"PRI * HTTP/2", "http2"),
            (b"SSH-2.0-Open", "unknown"),
            (b"PR", "unknown"),
        ] {
            assert!(first.len() <= FIRST_BYTES);
            assert_eq!(kind_of(first).0, kind, "{}", first.escape_ascii());
        }
    }
}
