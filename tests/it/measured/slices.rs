//! Spans that the API refuses, which are queried in slices.

use crate::support::AnalyticsFault;
use turn_ledger::reading::ReadingOutcome;

use super::{GB, meter, with_analytics};

#[tokio::test]
async fn a_span_that_the_api_refuses_is_queried_in_slices() {
    let (cloudflare, broker) = with_analytics(&[]).await;
    cloudflare.analytics().set_fault(AnalyticsFault::WiderThan(8));
    for day in ["01T00:00", "07T23:59", "08T00:00", "14T12:00", "15T11:49"] {
        cloudflare.analytics().relay("key-id", &format!("2025-01-{day}:00Z"), GB, 0);
    }
    let meter = meter(&broker);
    let mut state = meter.initial_state();
    assert_eq!(meter.read(&mut state).await.unwrap(), ReadingOutcome::Taken);
    assert_eq!(broker.status().await["bandwidthUsedGB"], "5.00");
    let asked = cloudflare.analytics().asked();
    broker.advance(60);
    assert_eq!(meter.read(&mut state).await.unwrap(), ReadingOutcome::Taken);
    assert_eq!(
        cloudflare.analytics().asked(),
        asked + 1,
        "finished slices are not queried with each reading"
    );
    assert_eq!(broker.status().await["bandwidthUsedGB"], "5.00");
}

#[tokio::test]
async fn finished_slices_are_queried_again_each_hour_and_keep_their_higher_count() {
    let (cloudflare, broker) = with_analytics(&[]).await;
    cloudflare.analytics().set_fault(AnalyticsFault::WiderThan(7));
    cloudflare.analytics().relay("key-id", "2025-01-15T11:49:00Z", GB, 0);
    let meter = meter(&broker);
    let mut state = meter.initial_state();
    meter.read(&mut state).await.unwrap();
    cloudflare.analytics().relay("key-id", "2025-01-07T12:00:00Z", 40 * GB, 0);
    broker.advance(3_599);
    meter.read(&mut state).await.unwrap();
    assert_eq!(broker.status().await["bandwidthUsedGB"], "1.00");
    broker.advance(1);
    meter.read(&mut state).await.unwrap();
    assert_eq!(broker.status().await["bandwidthUsedGB"], "41.00", "bytes that were counted late");
    cloudflare.analytics().set_fault(AnalyticsFault::Falling(50));
    broker.advance(3_600);
    assert_eq!(meter.read(&mut state).await.unwrap(), ReadingOutcome::Taken, "only the open slice fell");
    assert_eq!(broker.status().await["bandwidthUsedGB"], "41.00");
}
