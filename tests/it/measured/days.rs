//! The days of a period: each is asked for until it is counted to its end, and again in turn.

use crate::support::{AnalyticsFault, StateDir};
use serde_json::json;
use turn_ledger::ReadingOutcome;

use super::{GB, meter, read, with_analytics};

#[tokio::test]
async fn only_the_open_day_and_one_of_the_others_are_asked_for_again() {
    let (cloudflare, broker) = with_analytics(&[]).await;
    cloudflare.analytics().set_fault(AnalyticsFault::WiderThan(1));
    for day in ["01T00:00", "07T23:59", "08T00:00", "14T12:00", "15T11:49"] {
        cloudflare.analytics().relay("key-id", &format!("2025-01-{day}:00Z"), GB, 0);
    }
    let meter = meter(&broker);
    let mut state = meter.initial_state();
    assert_eq!(meter.read(&mut state).await.unwrap(), ReadingOutcome::Taken);
    assert_eq!(broker.status().await["bandwidthUsedGB"], "5.00");
    let asked = cloudflare.analytics().asked();
    // Bytes that are counted late.
    cloudflare.analytics().relay("key-id", "2025-01-01T12:00:00Z", 40 * GB, 0);
    broker.advance(60);
    assert_eq!(meter.read(&mut state).await.unwrap(), ReadingOutcome::Taken);
    assert_eq!(cloudflare.analytics().asked(), asked + 2);
    assert_eq!(broker.status().await["bandwidthUsedGB"], "5.00", "the last day of December was asked for");
    broker.advance(60);
    assert_eq!(meter.read(&mut state).await.unwrap(), ReadingOutcome::Taken);
    assert_eq!(broker.status().await["bandwidthUsedGB"], "45.00");
}

#[tokio::test]
async fn another_billing_day_moves_the_days_to_their_periods() {
    let directory = StateDir::new();
    let settings = |day| [("STATE_DIR", directory.path()), ("BILLING_DAY", day)];
    let (cloudflare, broker) = with_analytics(&settings("15")).await;
    cloudflare.analytics().relay("key-id", "2025-01-03T12:00:00Z", 3 * GB, 0);
    cloudflare.analytics().relay("key-id", "2024-12-20T12:00:00Z", 5 * GB, 0);
    cloudflare.analytics().relay("key-id", "2025-01-15T10:00:00Z", GB, 0);
    assert_eq!(read(&broker).await.unwrap(), ReadingOutcome::Taken);
    assert_eq!(broker.status().await["bandwidthUsedGB"], "1.00");
    broker.finish().await;
    let (cloudflare, broker) = with_analytics(&settings("1")).await;
    assert_eq!(broker.status().await["bandwidthUsedGB"], "1.00", "what is known of its days");
    cloudflare.analytics().relay("key-id", "2025-01-03T12:00:00Z", 3 * GB, 0);
    cloudflare.analytics().relay("key-id", "2025-01-15T10:00:00Z", GB, 0);
    assert_eq!(read(&broker).await.unwrap(), ReadingOutcome::Taken);
    assert_eq!(broker.status().await["bandwidthUsedGB"], "4.00");
    broker.finish().await;
    let (_cloudflare, broker) = with_analytics(&settings("15")).await;
    assert_eq!(broker.status().await["bandwidthUsedGB"], "1.00");
    let past = broker.operator("/api/usage").await.json()["pastPeriods"].clone();
    assert_eq!(
        (&past[0]["start"], &past[0]["usedBytes"]),
        (&json!("2024-12-15T00:00:00.000Z"), &json!(3 * GB))
    );
    assert_eq!(past[1], json!(null), "nothing is known of it");
}
