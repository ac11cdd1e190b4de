//! Readings in strict mode: the reservations that they release, and those for the sampling error.

use crate::support::StateDir;
use serde_json::json;
use turn_ledger::ReadingOutcome;

use super::{GB, read, with_analytics};

#[tokio::test]
async fn in_strict_mode_a_reading_releases_reserved_bytes_that_were_not_relayed() {
    // One hour and its tail at 2 Mbps are a little over 2.7 GB.
    let settings = [("BUDGET_MODE", "strict"), ("BANDWIDTH_LIMIT_GB", "3"), ("TURN_TTL_SECONDS", "300")];
    let (cloudflare, broker) = with_analytics(&settings).await;
    assert_eq!(broker.mint().await.status, 200);
    let refused = broker.mint().await;
    assert_eq!(refused.error(), (429, "BUDGET_EXHAUSTED".into()), "the first grant reserves the budget");
    assert_eq!(refused.header("retry-after"), Some("60"), "the next reading may release some of it");
    broker.advance(3 * 3_600);
    assert_eq!(broker.mint().await.status, 429, "without a reading the reservation may have been used");
    cloudflare.analytics().relay("key-id", "2025-01-15T12:05:00Z", GB / 10, 0);
    assert_eq!(read(&broker).await.unwrap(), ReadingOutcome::Taken);
    let status = broker.status().await;
    assert_eq!(status["bandwidthUsedGB"], "0.10");
    assert_eq!(status["overshootBoundGB"], "0.00");
    assert_eq!(broker.mint().await.status, 200);
}

#[tokio::test]
async fn strict_mode_reserves_the_sampling_error() {
    let settings = [("BUDGET_MODE", "strict"), ("ANALYTICS_MARGIN_PERCENT", "20")];
    let (cloudflare, broker) = with_analytics(&settings).await;
    cloudflare.analytics().sfu("2025-01-10T00:00:00Z", 8 * GB, 0);
    assert_eq!(read(&broker).await.unwrap(), ReadingOutcome::Taken);
    let status = broker.status().await;
    assert_eq!((&status["bandwidthUsedGB"], &status["reservedGB"]), (&json!("8.00"), &json!("2.00")));
}

#[tokio::test]
async fn a_count_keeps_its_margin_when_cloudflare_is_no_longer_a_source() {
    let state = StateDir::new();
    let settings =
        [("STATE_DIR", state.path()), ("BUDGET_MODE", "strict"), ("ANALYTICS_MARGIN_PERCENT", "20")];
    for sources in ["cloudflare,stun", "stun"] {
        let settings = [&settings[..], &[("ICE_SOURCES", sources)]].concat();
        let (cloudflare, broker) = with_analytics(&settings).await;
        cloudflare.analytics().sfu("2025-01-10T00:00:00Z", 8 * GB, 0);
        assert_eq!(read(&broker).await.unwrap(), ReadingOutcome::Taken, "{sources}");
        let status = broker.status().await;
        let figures = (&status["bandwidthUsedGB"], &status["reservedGB"]);
        assert_eq!(figures, (&json!("8.00"), &json!("2.00")), "{sources}");
        let is_assumed = status["boundAssumes"] != "no metered source is configured";
        assert_eq!(is_assumed, sources != "stun", "only a source that mints has an assumption");
        broker.finish().await;
    }
}
