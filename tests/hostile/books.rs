//! Helpers for attacks on the books: a broker with a manual clock that mints without a provider, and the figures of its public
//! status.

use serde_json::Value;

use crate::support::TestBroker;

/// A metered source that is never called.
pub(crate) const COTURN: [(&str, &str); 3] = [
    ("ICE_SOURCES", "coturn"),
    ("COTURN_URLS", "turn:relay.example:3478"),
    ("COTURN_SECRET", "fixture-coturn-secret"),
];

/// A broker behind a trusted proxy on loopback. The attacker itself keeps to the default rate of mints in the books' time,
/// because the broker's limiter may use real time.
pub(crate) async fn broker(settings: &[(&str, &str)]) -> TestBroker {
    TestBroker::start(&[&COTURN, settings].concat()).await
}

/// Bytes charged in this period.
pub(crate) async fn used(broker: &TestBroker) -> u64 {
    broker.status().await["usedBytes"].as_u64().unwrap()
}

/// A figure of the status that is a text with two decimals.
pub(crate) fn gigabytes(status: &Value, field: &str) -> f64 {
    status[field].as_str().unwrap().parse().unwrap()
}

/// Megabits per second.
pub(crate) fn mbps(bytes: u64, seconds: u64) -> u64 {
    (bytes * 8).div_ceil(seconds * 1_000_000)
}

/// Bytes as GB with two decimals.
pub(crate) fn as_gb(bytes: u64) -> String {
    let hundredths = bytes.div_ceil(10_000_000);
    format!("{}.{:02} GB", hundredths / 100, hundredths % 100)
}
