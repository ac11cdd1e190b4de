//! What `/metrics` counts. One registry for each broker, no globals, so that two brokers in one process (as in the
//! tests) never mix their counts. Label values come from closed sets: nobody outside can add a time series.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use prometheus_client::encoding::text;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::Registry;

pub use super::labels::{AlertLabels, CredentialLabels, OutcomeLabels, ReadingLabels, RequestLabels};
use super::provider_calls::ProviderCalls;

/// The media type that goes with [`Metrics::render`].
pub const CONTENT_TYPE: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// Seconds: from a tenth of a millisecond to the 4 s in which everything answers.
const LATENCY_BUCKETS: [f64; 12] = [0.0001, 0.0005, 0.001, 0.005, 0.01, 0.05, 0.1, 0.25, 0.5, 1.0, 2.0, 4.0];

type UnsignedGauge = Gauge<u64, AtomicU64>;

/// What is read off the ledger at the moment of the scrape.
#[derive(Clone, Copy, Debug, Default)]
pub struct LedgerGauges {
    /// Best figure of this period.
    pub used_bytes: u64,
    /// Worst case of this period.
    pub committed_bytes: u64,
    /// How far past the limit the live credentials can take us.
    pub overshoot_bound_bytes: u64,
    /// The limit.
    pub limit_bytes: u64,
    /// What providers themselves have counted.
    pub measured_bytes: u64,
    /// Up to when, seconds since 1970; 0 without a count.
    pub measured_as_of_seconds: u64,
    /// 1 while a count that is to be read is too old.
    pub measured_stale: u64,
    /// 0 while the data contradict what the bound assumes.
    pub bound_holds: u64,
    /// 1 while nothing is minted by order.
    pub frozen: u64,
    /// Grants alive, tail included.
    pub grants_live: u64,
    /// Open connections.
    pub connections_open: u64,
    /// Rows of the rate limiter's table.
    pub rate_limit_clients: u64,
    /// 0 closed, 1 half-open, 2 open.
    pub breaker_state: u64,
    /// Credentials minted ahead that lie ready.
    pub pool_ready: u64,
    /// Those that were taken for a caller, since the start.
    pub pool_handed_out: u64,
    /// Those that were thrown away, since the start.
    pub pool_wasted: u64,
    /// Log lines that were dropped.
    pub log_lines_lost: u64,
    /// 1 while the ledger cannot be written.
    pub ledger_failing: u64,
}

/// All counters. Cheap to clone parts of; increments are atomic.
#[derive(Debug)]
pub struct Metrics {
    registry: Registry,
    /// Answers, by route, method and status.
    pub requests: Family<RequestLabels, Counter>,
    request_seconds: Histogram,
    /// Answers with ICE servers, by source and reason.
    pub credentials: Family<CredentialLabels, Counter>,
    /// Calls to the provider, by outcome.
    pub provider_calls: Family<OutcomeLabels, Counter>,
    provider_seconds: Histogram,
    pool_ready: UnsignedGauge,
    pool_handed_out: Counter,
    pool_wasted: Counter,
    /// The same for people: the latest times, and outcomes that can be listed.
    pub provider_latest: ProviderCalls,
    /// Mints refused because the budget is spent.
    pub budget_refusals: Counter,
    /// Requests over the per-client rate.
    pub rate_limited: Counter,
    /// Requests whose client shared a row because the limiter's table was full.
    pub rate_limit_overflow: Counter,
    /// Requests with a foreign origin.
    pub origins_refused: Counter,
    /// Requests shed because too many were under way.
    pub shed: Counter,
    /// Panics caught in handlers.
    pub panics: Counter,
    /// Connections opened.
    pub connections_opened: Counter,
    /// Connections ended: `closed` by a call, `given_up` after three missed heartbeats.
    pub connections_ended: Family<OutcomeLabels, Counter>,
    /// Byte claims that were cut to what a relay can carry.
    pub claims_clamped: Counter,
    /// Sessions of a coturn that were ended.
    pub sessions_cut: Counter,
    relay_allocations: UnsignedGauge,
    relay_ends: Family<OutcomeLabels, Counter>,
    relay_refusals: Family<OutcomeLabels, Counter>,
    relay_drops: Family<OutcomeLabels, Counter>,
    /// Questions for a provider's own count, by source and what came of them.
    pub readings: Family<ReadingLabels, Counter>,
    /// Alerts that are over, by kind: `delivered`; `failed`, the receiver refused it; `given_up` after too many attempts;
    /// `dropped` because too many waited.
    pub alerts: Family<AlertLabels, Counter>,
    ledger: LedgerGaugeSet,
}

#[derive(Debug, Default)]
struct LedgerGaugeSet {
    used: UnsignedGauge,
    committed: UnsignedGauge,
    overshoot_bound: UnsignedGauge,
    limit: UnsignedGauge,
    measured: UnsignedGauge,
    measured_as_of: UnsignedGauge,
    measured_stale: UnsignedGauge,
    bound_holds: UnsignedGauge,
    frozen: UnsignedGauge,
    grants_live: UnsignedGauge,
    connections_open: UnsignedGauge,
    rate_limit_clients: UnsignedGauge,
    breaker_state: UnsignedGauge,
    log_lines_lost: UnsignedGauge,
    ledger_failing: UnsignedGauge,
}

impl Metrics {
    /// A registry with every plain counter at zero; series with labels appear when they are first counted.
    #[must_use]
    pub fn new() -> Self {
        let mut metrics = Self {
            registry: Registry::with_prefix("turn_broker"),
            requests: Family::default(),
            request_seconds: Histogram::new(LATENCY_BUCKETS),
            credentials: Family::default(),
            provider_calls: Family::default(),
            provider_seconds: Histogram::new(LATENCY_BUCKETS),
            pool_ready: UnsignedGauge::default(),
            pool_handed_out: Counter::default(),
            pool_wasted: Counter::default(),
            provider_latest: ProviderCalls::default(),
            budget_refusals: Counter::default(),
            rate_limited: Counter::default(),
            rate_limit_overflow: Counter::default(),
            origins_refused: Counter::default(),
            shed: Counter::default(),
            panics: Counter::default(),
            connections_opened: Counter::default(),
            connections_ended: Family::default(),
            claims_clamped: Counter::default(),
            sessions_cut: Counter::default(),
            relay_allocations: UnsignedGauge::default(),
            relay_ends: Family::default(),
            relay_refusals: Family::default(),
            relay_drops: Family::default(),
            readings: Family::default(),
            alerts: Family::default(),
            ledger: LedgerGaugeSet::default(),
        };
        metrics.register_counters();
        metrics.register_gauges();
        metrics
    }

    fn register_counters(&mut self) {
        let registry = &mut self.registry;
        let mut add =
            |name: &str, help: &str, metric: &Counter| registry.register(name, help, metric.clone());
        add("budget_refusals", "Mints refused because the budget is spent", &self.budget_refusals);
        add("rate_limited", "Requests over the per-client rate", &self.rate_limited);
        add("rate_limit_overflow", "Requests whose client shared a limiter row", &self.rate_limit_overflow);
        add("origins_refused", "Requests from an origin that is not allowed", &self.origins_refused);
        add("requests_shed", "Requests refused because too many were under way", &self.shed);
        add("panics", "Panics caught in request handlers", &self.panics);
        add("connections_opened", "Connections opened", &self.connections_opened);
        add("sessions_cut", "Sessions of a coturn that were ended", &self.sessions_cut);
        add(
            "pool_handed_out",
            "Credentials minted ahead that were taken for a caller",
            &self.pool_handed_out,
        );
        add("pool_wasted", "Credentials minted ahead that were thrown away", &self.pool_wasted);
        add("claims_clamped", "Byte claims cut to what a relay can carry", &self.claims_clamped);
        registry.register("http_requests", "HTTP answers", self.requests.clone());
        registry.register("http_request_duration_seconds", "Time to answer", self.request_seconds.clone());
        registry.register("credentials", "Answers with ICE servers", self.credentials.clone());
        registry.register("provider_requests", "Mint calls to the provider", self.provider_calls.clone());
        registry.register(
            "provider_request_duration_seconds",
            "Time of a mint",
            self.provider_seconds.clone(),
        );
        registry.register(
            "relay_allocations_ended",
            "Allocations of the relay that ended",
            self.relay_ends.clone(),
        );
        registry.register(
            "relay_refusals",
            "Requests for an allocation that the relay refused",
            self.relay_refusals.clone(),
        );
        registry.register("relay_dropped", "Packets that the relay dropped", self.relay_drops.clone());
        registry.register("readings", "Questions for a provider's own count", self.readings.clone());
        registry.register("connections_ended", "Connections ended", self.connections_ended.clone());
        registry.register("alerts", "Alerts to the operator that are over", self.alerts.clone());
    }

    fn register_gauges(&mut self) {
        let registry = &mut self.registry;
        let ledger = &self.ledger;
        let mut add =
            |name: &str, help: &str, metric: &UnsignedGauge| registry.register(name, help, metric.clone());
        add("used_bytes", "Billed bytes of this period, best figure", &ledger.used);
        add("committed_bytes", "Billed bytes of this period, worst case", &ledger.committed);
        add("overshoot_bound_bytes", "Bytes by which the limit can be passed", &ledger.overshoot_bound);
        add("limit_bytes", "Bytes that may be used in a period", &ledger.limit);
        add("measured_bytes", "What providers themselves have counted in this period", &ledger.measured);
        add(
            "measured_as_of_timestamp_seconds",
            "Up to when they have counted; 0 without a count",
            &ledger.measured_as_of,
        );
        add("measured_stale", "1 while a count that is to be read is too old", &ledger.measured_stale);
        add("bound_holds", "0 while the data contradict what the bound assumes", &ledger.bound_holds);
        add("frozen", "1 while the operator has stopped all minting", &ledger.frozen);
        add("grants_live", "Grants alive, tail included", &ledger.grants_live);
        add("relay_allocations", "Allocations of the relay in this process", &self.relay_allocations);
        add("pool_ready", "Credentials minted ahead that lie ready", &self.pool_ready);
        add("connections_open", "Open connections", &ledger.connections_open);
        add("rate_limit_clients", "Rows of the rate limiter's table", &ledger.rate_limit_clients);
        add("ledger_failing", "1 while the ledger cannot be written", &ledger.ledger_failing);
        add("log_lines_lost", "Log lines dropped because they were read too slowly", &ledger.log_lines_lost);
        add(
            "breaker_state",
            "Provider circuit breaker: 0 closed, 1 half-open, 2 open",
            &ledger.breaker_state,
        );
    }

    /// Counts one HTTP answer.
    pub fn request(&self, labels: &RequestLabels, took: Duration) {
        self.requests.get_or_create(labels).inc();
        self.request_seconds.observe(took.as_secs_f64());
    }

    /// Counts one answer with ICE servers.
    pub fn credential(&self, source: &'static str, reason: &'static str) {
        self.credentials.get_or_create(&CredentialLabels { source, reason }).inc();
    }

    /// Counts one call to the provider.
    pub fn provider_call(&self, outcome: &'static str, took: Duration) {
        self.provider_calls.get_or_create(&OutcomeLabels { outcome }).inc();
        self.provider_seconds.observe(took.as_secs_f64());
        self.provider_latest.count(outcome, Some(took));
    }

    /// Counts a call to the provider that was not made.
    pub fn provider_skipped(&self, outcome: &'static str) {
        self.provider_calls.get_or_create(&OutcomeLabels { outcome }).inc();
        self.provider_latest.count(outcome, None);
    }

    /// Counts one connection's end.
    pub fn connection_ended(&self, given_up: bool) {
        let outcome = if given_up { "given_up" } else { "closed" };
        self.connections_ended.get_or_create(&OutcomeLabels { outcome }).inc();
    }

    /// Counts one question for a provider's own count.
    pub fn reading(&self, source: &'static str, outcome: &'static str) {
        self.readings.get_or_create(&ReadingLabels { source, outcome }).inc();
    }

    /// How many allocations the relay has.
    pub fn set_relay_allocations(&self, allocations: u64) {
        self.relay_allocations.set(allocations);
    }

    /// Counts an allocation's end.
    pub fn relay_ended(&self, outcome: &'static str) {
        self.relay_ends.get_or_create(&OutcomeLabels { outcome }).inc();
    }

    /// Counts an allocation that was refused.
    pub fn relay_refused(&self, outcome: &'static str) {
        self.relay_refusals.get_or_create(&OutcomeLabels { outcome }).inc();
    }

    /// Counts a packet that was dropped.
    pub fn relay_dropped(&self, outcome: &'static str) {
        self.relay_drops.get_or_create(&OutcomeLabels { outcome }).inc();
    }

    /// Counts `count` alerts of one kind that are over.
    pub fn alert(&self, event: &'static str, outcome: &'static str, count: u64) {
        self.alerts.get_or_create(&AlertLabels { event, outcome }).inc_by(count);
    }

    /// The whole registry as text, with the ledger's figures of this moment.
    pub fn render(&self, now: &LedgerGauges) -> Result<String, std::fmt::Error> {
        self.ledger.used.set(now.used_bytes);
        self.ledger.committed.set(now.committed_bytes);
        self.ledger.overshoot_bound.set(now.overshoot_bound_bytes);
        self.ledger.limit.set(now.limit_bytes);
        self.ledger.measured.set(now.measured_bytes);
        self.ledger.measured_as_of.set(now.measured_as_of_seconds);
        self.ledger.measured_stale.set(now.measured_stale);
        self.ledger.bound_holds.set(now.bound_holds);
        self.ledger.frozen.set(now.frozen);
        self.ledger.grants_live.set(now.grants_live);
        self.ledger.connections_open.set(now.connections_open);
        self.ledger.rate_limit_clients.set(now.rate_limit_clients);
        self.ledger.breaker_state.set(now.breaker_state);
        self.ledger.log_lines_lost.set(now.log_lines_lost);
        self.ledger.ledger_failing.set(now.ledger_failing);
        self.pool_ready.set(now.pool_ready);
        self.pool_handed_out.inner().store(now.pool_handed_out, Ordering::Relaxed);
        self.pool_wasted.inner().store(now.pool_wasted, Ordering::Relaxed);
        let mut out = String::new();
        text::encode(&mut out, &self.registry)?;
        Ok(out)
    }
}

impl Default for Metrics {
    fn default() -> Self {
        Self::new()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counters_carry_the_prefix_and_the_ending_that_prometheus_expects() {
        let metrics = Metrics::new();
        metrics.claims_clamped.inc();
        metrics.credential("stun", "NOT_CONFIGURED");
        metrics.alert("budget.used_80", "delivered", 1);
        let text = metrics.render(&LedgerGauges { used_bytes: 7, ..LedgerGauges::default() }).unwrap();
        for line in [
            "turn_broker_claims_clamped_total 1",
            "turn_broker_credentials_total{source=\"stun\",reason=\"NOT_CONFIGURED\"} 1",
            "turn_broker_alerts_total{event=\"budget.used_80\",outcome=\"delivered\"} 1",
            "turn_broker_used_bytes 7",
        ] {
            assert!(text.lines().any(|l| l == line), "{line} is missing in\n{text}");
        }
    }
}
