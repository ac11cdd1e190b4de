//! Readings in strict mode: the reservations that they release, and those for the sampling error.

use serde_json::json;
use turn_ledger::ReadingOutcome;

use super::{GB, read, with_analytics};

#[tokio::test]
async fn strict_mode_reserves_the_sampling_error() {
    let settings = [("BUDGET_MODE", "strict"), ("ANALYTICS_MARGIN_PERCENT", "20")];
    let (cloudflare, broker) = with_analytics(&settings).await;
    cloudflare.analytics().sfu("2025-01-10T00:00:00Z", 8 * GB, 0);
    assert_eq!(read(&broker).await.unwrap(), ReadingOutcome::Taken);
    let status = broker.status().await;
    assert_eq!((&status["bandwidthUsedGB"], &status["reservedGB"]), (&json!("8.00"), &json!("2.00")));
}
