//! What `/metrics` reports. Each broker has its own registry and there are no globals, so two brokers in one process (as in
//! the tests) never mix their counts. Label values come from closed sets: no client can add a time series.

use std::collections::BTreeMap;
use std::sync::atomic::AtomicU64;
use std::time::Duration;

use prometheus_client::encoding::{EncodeLabelSet, text};
use prometheus_client::metrics::counter::{ConstCounter, Counter};
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::{ConstGauge, Gauge};
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::metrics::info::Info;
use prometheus_client::registry::{Metric, Registry};

/// The media type of [`Metrics::render`].
pub const OPENMETRICS: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";
/// The media type of [`prometheus_text`].
pub const PROMETHEUS: &str = "text/plain; version=0.0.4; charset=utf-8";

/// A text of [`Metrics::render`] in the older form: there a counter is described under the name of its series, no metric has a
/// unit, and a value that only informs is a gauge.
pub fn prometheus_text(text: &str) -> String {
    let kinds: BTreeMap<_, _> =
        text.lines().filter_map(|line| line.strip_prefix("# TYPE ")?.split_once(' ')).collect();
    let mut old = String::with_capacity(text.len());
    for line in text.lines() {
        let described = ["# HELP ", "# TYPE "].iter().find_map(|head| {
            line.strip_prefix(head).map(|rest| (*head, rest.split_once(' ').unwrap_or((rest, ""))))
        });
        let Some((head, (name, rest))) = described else {
            if !line.starts_with('#') {
                old.extend([line, "\n"]);
            }
            continue;
        };
        let (suffix, kind) = match kinds.get(name) {
            Some(&"counter") => ("_total", "counter"),
            Some(&"info") => ("_info", "gauge"),
            kind => ("", kind.copied().unwrap_or("untyped")),
        };
        let rest = if head == "# TYPE " { kind } else { rest };
        old.extend([head, name, suffix, " ", rest, "\n"]);
    }
    old
}

/// The commit that this program was built from, if the build was told.
const REVISION: Option<&str> = option_env!("BROKER_REVISION");

/// The beginning of every name except `process_start_time_seconds`, a name that dashboards expect.
const PREFIX: &str = "turn_broker";
/// Seconds: from a tenth of a millisecond to 4 s, within which every request is answered.
const LATENCY_BUCKETS: [f64; 12] = [0.0001, 0.0005, 0.001, 0.005, 0.01, 0.05, 0.1, 0.25, 0.5, 1.0, 2.0, 4.0];

/// The figures that other parts of the broker keep, as one scrape has read them.
#[derive(Debug, Default)]
pub struct ScrapedFigures(Registry);

impl ScrapedFigures {
    /// Adds a value that can rise and fall.
    pub fn gauge(&mut self, name: &str, help: &str, value: impl TryInto<u64>) {
        let gauge = ConstGauge::new(value.try_into().unwrap_or(u64::MAX));
        self.0.sub_registry_with_prefix(PREFIX).register(name, help, gauge);
    }

    /// Adds the instant at which the process started, under the name that all programs use.
    pub fn process_start(&mut self, seconds: u64) {
        let help = "Start of the process, seconds since 1970";
        self.0.register("process_start_time_seconds", help, ConstGauge::new(seconds));
    }

    /// Adds a value that only rises.
    pub fn counter(&mut self, name: &str, help: &str, value: u64) {
        self.0.sub_registry_with_prefix(PREFIX).register(name, help, ConstCounter::new(value));
    }
}

/// One HTTP response.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct RequestLabels {
    /// The route's pattern, or `unmatched`.
    pub route: String,
    /// The method, or `other`.
    pub method: &'static str,
    /// The status code.
    pub status: u16,
}

/// Counts of one kind of event by the values of `N` labels.
#[derive(Debug)]
pub struct Counts<const N: usize> {
    labels: [&'static str; N],
    counts: Family<[(&'static str, &'static str); N], Counter>,
}

impl<const N: usize> Counts<N> {
    /// Counts one event.
    pub fn count(&self, values: [&'static str; N]) {
        self.add(values, 1);
    }

    /// Counts some events.
    pub fn add(&self, values: [&'static str; N], count: u64) {
        self.counts.get_or_create(&self.series(values)).inc_by(count);
    }

    /// How many events had these values.
    pub fn get(&self, values: [&'static str; N]) -> u64 {
        self.counts.get(&self.series(values)).map_or(0, |count| count.get())
    }

    /// Each label with its value, which identifies a time series.
    fn series(&self, values: [&'static str; N]) -> [(&'static str, &'static str); N] {
        std::array::from_fn(|at| (self.labels[at], values[at]))
    }
}

/// Makes [`Metrics`] of a table: for each metric its help text, field, type, and the function that registers it under its name, with its
/// labels.
macro_rules! metrics {
    ($($(#[doc = $help:literal])+ $visibility:vis $field:ident: $type:ty = $make:ident($name:literal $(, $labels:expr)?),)*) => {
        /// All counters. Increments are atomic.
        #[derive(Debug)]
        pub struct Metrics {
            registry: Registry,
            $($(#[doc = $help])+ $visibility $field: $type,)*
        }

        /// A registry with every plain counter at zero. A series with labels appears when its first event is counted. If an alert rule asks
        /// for the increase of a series, the part that counts it adds the series at zero when it starts: an increase needs a value before
        /// the first event.
        impl Default for Metrics {
            fn default() -> Self {
                let mut registry = Registry::with_prefix(PREFIX);
                registry.register("build", "The program; `revision` if its build was told", Info::new(build_labels()));
                $(let $field = $make(&mut registry, $name, concat!($($help),+) $(, $labels)?);)*
                Self { registry, $($field,)* }
            }
        }
    };
}

metrics! {
    /// Responses; `route` is `unmatched` for an unknown path.
    requests: Family<RequestLabels, Counter> = add("http_requests"),
    /// Time to respond, all routes together.
    request_seconds: Histogram = seconds("http_request_duration_seconds"),
    /// Responses with ICE servers; `reason` is `none` if the first source served.
    pub credentials: Counts<2> = counts("credentials", ["source", "reason"]),
    /// Mints that a provider was asked for: `minted`, `connect`, `timeout`, `broken`, `status_4xx`, `status_5xx`, `status_other`,
    /// `bad_body`, `breaker_open`, `paused`.
    pub provider_calls: Counts<1> = counts("provider_requests", ["outcome"]),
    /// Time of a provider's response to a mint.
    provider_seconds: Histogram = seconds("provider_request_duration_seconds"),
    /// Mints that got no response with ICE servers, by the code of the error.
    pub mint_refusals: Counts<1> = counts("mint_refusals", ["code"]),
    /// Mints that the budget refused; also with `LIMIT_ACTION=fallback`.
    pub budget_refusals: Counter = add("budget_refusals"),
    /// Mints of an address or user that has reserved its share: many people behind one address, or a loop.
    pub address_refusals: Counter = add("address_refusals"),
    /// Mints that `USER_LIMIT_GB` refused.
    pub user_refusals: Counter = add("user_refusals"),
    /// Mints and reports that `SERVER_KEY_LIMITS` refused.
    pub key_refusals: Counter = add("key_refusals"),
    /// Mints, and requests to P2PCF, over the rate of their client. A jump: `TRUSTED_PROXIES` is missing, or the rate is too low.
    pub rate_limited: Counter = add("rate_limited"),
    /// Requests whose client shared a row, because the table of `RATE_LIMIT_MAX_CLIENTS` was full.
    pub rate_limit_overflow: Counter = add("rate_limit_overflow"),
    /// Mints, and requests to P2PCF, of a page whose origin is not in `CLIENT_URL`.
    pub origins_refused: Counter = add("origins_refused"),
    /// Wrong tokens of an `operator`, `reporter` or `server`; the log names the client.
    pub wrong_tokens: Counts<1> = counts("wrong_tokens", ["role"]),
    /// Responses with status 401, by the kind of route: `mint`, `connections`, `operator`, or the protocol of signaling.
    pub unauthorized: Counts<1> = counts("unauthorized", ["kind"]),
    /// Requests refused because 1,024 were in progress.
    pub shed: Counter = add("requests_shed"),
    /// Sockets of a crowded address: an idle one `closed_idle`, the new one `refused`; `closed_unread`: 8 MB of responses were not read.
    pub sockets_limited: Counts<1> = counts("sockets_limited", ["outcome"]),
    /// Connections that do not speak HTTP/1.1: `proxy_header`, `tls`, `http2`, `unknown`.
    pub not_http: Counts<1> = counts("not_http", ["kind"]),
    /// Bytes of request bodies that came after the response and were thrown away.
    pub discarded_bytes: Counter = add("discarded_bytes"),
    /// Panics in request handlers.
    pub panics: Counter = add("panics"),
    /// Connections opened.
    pub connections_opened: Counter = add("connections_opened"),
    /// Connections `closed` by a call, or `given_up` after three missed heartbeats.
    pub connections_ended: Counts<1> = counts("connections_ended", ["outcome"]),
    /// Connections not opened: the `grant` has 64, the `address` 256, or the `table` is full.
    pub connections_refused: Counts<1> = counts("connections_refused", ["outcome"]),
    /// Signaling sockets that were `refused`, or closed as `too_slow`, `unfinished` or `memory`; webhooks and mints that had `no_task`.
    pub signaling_limited: Counts<1> = counts("signaling_sockets_limited", ["outcome"]),
    /// What bounds of signaling have dropped. Sockets: `flood`, `too_long`, `subscription`, `old_socket`. Messages: `not_kept`,
    /// `expired`, `fan_out`. Newcomers: `no_place`. Requests: `quota`. Rows: `forgotten`.
    pub signaling_dropped: Counts<2> = counts("signaling_dropped", ["protocol", "reason"]),
    /// Reports of Orange's page: `written`, `posted`, `dropped` (the file is full), `failed`.
    pub page_reports: Counts<1> = counts("page_reports", ["outcome"]),
    /// Reports of bytes that were clamped to an allowance: false ones, or many people behind one address.
    pub claims_clamped: Counter = add("claims_clamped"),
    /// Sessions that the broker ended at coturn.
    pub sessions_cut: Counter = add("sessions_cut"),
    /// Allocations of the built-in relay, 1,280 at most.
    pub relay_allocations: Gauge<u64, AtomicU64> = add("relay_allocations"),
    /// Allocations that were `closed` by their client, or ended by the relay: `expired`, `revoked`, `spent`, `shutdown`.
    pub relay_ends: Counts<1> = counts("relay_allocations_ended", ["outcome"]),
    /// Allocations refused: `unknown`, `expired`, `revoked`, `spent`, `grant_full`, `full`.
    pub relay_refusals: Counts<1> = counts("relay_refusals", ["outcome"]),
    /// Packets dropped: `peer` (not an allowed one), `spent`.
    pub relay_drops: Counts<1> = counts("relay_dropped", ["outcome"]),
    /// Requests for a source's own count: `taken`, not believed (`older`, `fell`, `doubted`, `unproven`), or how they failed.
    pub readings: Counts<2> = counts("readings", ["source", "outcome"]),
    /// Counts of the bytes of each grant: `open` (counted again later), `final`, `incomplete` (some bytes have no grant), `skipped` (more
    /// than a week ago), `ignored` (no second answer yet, or the period ended), or how they failed.
    pub grant_counts: Counts<2> = counts("grant_counts", ["source", "outcome"]),
    /// Egress bytes in final counts: of a `grant`, or `other`: another program uses the TURN key.
    pub grant_count_bytes: Counts<1> = counts("grant_count_bytes", ["outcome"]),
    /// Calls for the keys of `AUTH_JWKS_URL`: `ok`, or how they failed.
    pub key_fetches: Counts<1> = counts("key_fetches", ["outcome"]),
    /// Bytes of each TURN key in this period, as Cloudflare counted.
    turn_key_bytes: Family<[(&'static str, String); 1], Gauge<u64, AtomicU64>> = add("turn_key_bytes"),
    /// 0 while your relay fails the broker's probes.
    relay_up: Family<[(&'static str, String); 1], Gauge<u64, AtomicU64>> = add("relay_up"),
    /// Bytes of your relay in this period.
    relay_bytes: Family<[(&'static str, String); 1], Gauge<u64, AtomicU64>> = add("relay_bytes"),
    /// Mints of each server key: `minted`, `stun`, `refused`.
    pub server_key_mints: Family<[(&'static str, String); 2], Counter> = add("server_key_mints"),
    /// Used bytes of each server key in this period.
    server_key_bytes: Family<[(&'static str, String); 1], Gauge<u64, AtomicU64>> = add("server_key_bytes"),
    /// Places that callers have taken, by kind.
    places_taken: Family<[(&'static str, &'static str); 1], Gauge<u64, AtomicU64>> = add("places_taken"),
    /// How many places there are ([table](OPERATE.md#memory-and-places)).
    places: Family<[(&'static str, &'static str); 1], Gauge<u64, AtomicU64>> = add("places"),
    /// Time to write to the database. Mints fail above 2 s or 2/5 of `LEASE_SECONDS`.
    pub ledger_write_seconds: Histogram = seconds("ledger_write_seconds"),
    /// Requests for the leader: `answered`; `held` until it was reached; refused as `not_held`, `late` or `sent` (`NO_LEADER`).
    pub forwarded: Counts<1> = counts("forwarded_requests", ["outcome"]),
    /// Alerts `delivered`, `failed` (refused), `given_up` (too many attempts) or `dropped` (too many waited).
    pub alerts: Counts<2> = counts("alerts", ["event", "outcome"]),
}

impl Metrics {
    /// Counts one HTTP response.
    pub fn request(&self, labels: &RequestLabels, took: Duration) {
        self.requests.get_or_create(labels).inc();
        self.request_seconds.observe(took.as_secs_f64());
    }

    /// Counts one call to the provider.
    pub fn provider_call(&self, outcome: &'static str, took: Duration) {
        self.provider_calls.count([outcome]);
        self.provider_seconds.observe(took.as_secs_f64());
    }

    /// Sets the bytes of each TURN key. The series of a key that `usage` lacks is removed.
    pub fn key_usage<'a>(&self, usage: impl Iterator<Item = (&'a str, u64)>) {
        self.turn_key_bytes.clear();
        for (key, bytes) in usage {
            self.turn_key_bytes.get_or_create(&[("key", key.to_owned())]).set(bytes);
        }
    }

    /// Sets whether one of the operator's own relays works, and its bytes.
    pub fn relay(&self, host: &str, is_up: bool, bytes: u64) {
        let label = [("relay", host.to_owned())];
        self.relay_up.get_or_create(&label).set(is_up.into());
        self.relay_bytes.get_or_create(&label).set(bytes);
    }

    /// Sets how many places of a kind are taken, and how many there are.
    pub fn place(&self, place: &'static str, taken: usize, most: usize) {
        for (family, count) in [(&self.places_taken, taken), (&self.places, most)] {
            family.get_or_create(&[("place", place)]).set(u64::try_from(count).unwrap_or(u64::MAX));
        }
    }

    /// Counts a mint of a server key.
    pub fn server_key_mint(&self, key: &str, outcome: &'static str) {
        let labels = [("key", key.to_owned()), ("outcome", outcome.to_owned())];
        self.server_key_mints.get_or_create(&labels).inc();
    }

    /// Sets the used bytes of a server key.
    pub fn server_key_use(&self, key: &str, bytes: u64) {
        self.server_key_bytes.get_or_create(&[("key", key.to_owned())]).set(bytes);
    }

    /// All counters and the scraped figures as text.
    pub fn render(&self, scraped: &ScrapedFigures) -> Result<String, std::fmt::Error> {
        let mut out = String::new();
        text::encode_registry(&mut out, &scraped.0)?;
        text::encode(&mut out, &self.registry)?;
        Ok(out)
    }
}

/// The labels of `build_info`. `revision` only if it is known.
fn build_labels() -> Vec<(&'static str, &'static str)> {
    let revision = REVISION.filter(|revision| !revision.is_empty()).map(|revision| ("revision", revision));
    [("version", env!("CARGO_PKG_VERSION"))].into_iter().chain(revision).collect()
}

fn counts<const N: usize>(
    registry: &mut Registry,
    name: &str,
    help: &str,
    labels: [&'static str; N],
) -> Counts<N> {
    Counts { labels, counts: add(registry, name, help) }
}

fn seconds(registry: &mut Registry, name: &str, help: &str) -> Histogram {
    register(registry, name, help, Histogram::new(LATENCY_BUCKETS))
}

fn add<M: Metric + Clone + Default>(registry: &mut Registry, name: &str, help: &str) -> M {
    register(registry, name, help, M::default())
}

/// The registry adds the full stop of a help text itself.
fn register<M: Metric + Clone>(registry: &mut Registry, name: &str, help: &str, metric: M) -> M {
    registry.register(name, help.trim().trim_end_matches('.'), metric.clone());
    metric
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counters_have_the_prefix_and_the_suffix_that_prometheus_expects() {
        let metrics = Metrics::default();
        metrics.claims_clamped.inc();
        metrics.credentials.count(["stun", "NOT_CONFIGURED"]);
        metrics.alerts.count(["budget.used_80", "delivered"]);
        let mut now = ScrapedFigures::default();
        now.gauge("used_bytes", "Billed bytes", 7);
        now.counter("pool_wasted", "Credentials discarded", 8);
        now.process_start(9);
        metrics.unauthorized.count(["operator"]);
        let text = metrics.render(&now).unwrap();
        for line in [
            "turn_broker_claims_clamped_total 1",
            "turn_broker_credentials_total{source=\"stun\",reason=\"NOT_CONFIGURED\"} 1",
            "turn_broker_alerts_total{event=\"budget.used_80\",outcome=\"delivered\"} 1",
            "turn_broker_used_bytes 7",
            "turn_broker_pool_wasted_total 8",
            "process_start_time_seconds 9",
            "turn_broker_unauthorized_total{kind=\"operator\"} 1",
            concat!("turn_broker_build_info{version=\"", env!("CARGO_PKG_VERSION"), "\"} 1"),
        ] {
            assert!(text.lines().any(|l| l == line), "{line} is missing in\n{text}");
        }
        assert!(text.ends_with("# EOF\n") && text.matches("# EOF").count() == 1, "{text}");
    }
}
