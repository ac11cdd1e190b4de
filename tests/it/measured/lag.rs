//! When a count is settled: by Cloudflare's clock and ours, after a lag that is tested and doubled.

use crate::support::manual_clock::timestamp;
use crate::support::{AnalyticsFault, COTURN, TestBroker, hint_codes, sources};
use serde_json::{Value, json};
use turn_ledger::ReadingOutcome;

use super::{GB, meter, read, with_analytics};

#[tokio::test]
async fn a_count_is_settled_by_cloudflares_clock_and_not_only_by_ours() {
    // The newest minute that is asked for ends at 11:50. A lag of 600 s and a tolerance of 5 s apply. After a count that has not settled,
    // the broker asks by Cloudflare's clock.
    for (date, as_of) in [
        ("Wed, 15 Jan 2025 11:59:54 GMT", Some("11:49")),
        ("Wed, 15 Jan 2025 11:58:00 GMT", Some("11:48")),
        ("Wed, 15 Jan 2025 11:51:00 GMT", Some("11:41")),
        ("Wed, 15 Jan 2025 10:51:00 GMT", Some("10:41")),
        ("today", None),
    ] {
        let (cloudflare, broker) = with_analytics(&[]).await;
        cloudflare.analytics().set_fault(AnalyticsFault::Dated(date));
        assert_eq!(read(&broker).await.unwrap_err().outcome(), "unsettled", "{date}");
        let again = read(&broker).await.map_err(|error| error.outcome().to_owned());
        assert_eq!(again, as_of.map(|_| ReadingOutcome::Taken).ok_or("unsettled".to_owned()), "{date}");
        // The days before have settled by each of these clocks.
        let shown = format!("2025-01-15T{}:00.000Z", as_of.unwrap_or("00:00"));
        assert!(date == "today" || broker.status().await["asOf"] == shown, "{date}");
    }
    let (cloudflare, broker) = with_analytics(&[]).await;
    cloudflare.analytics().set_fault(AnalyticsFault::Dated("Wed, 15 Jan 2025 11:59:55 GMT"));
    assert_eq!(read(&broker).await.unwrap(), ReadingOutcome::Taken);
    assert_eq!(broker.status().await["asOf"], "2025-01-15T11:50:00.000Z");
}

#[tokio::test]
async fn counts_are_asked_for_by_cloudflares_clock_while_the_wall_clock_is_ahead() {
    let (cloudflare, broker) = with_analytics(&[]).await;
    cloudflare.analytics().relay("key-id", "2025-01-15T11:30:00Z", 3 * GB, 0);
    cloudflare.set_date("Wed, 15 Jan 2025 12:00:00 GMT");
    for wall in ["2025-01-15T13:00:00Z", "2199-01-15T12:00:00Z"] {
        broker.set_wall(wall);
        assert_eq!(read(&broker).await.unwrap(), ReadingOutcome::Taken, "{wall}");
        let status = broker.status().await;
        assert_eq!(status["bandwidthUsedGB"], "3.00");
        assert_eq!(status["asOf"], "2025-01-15T11:50:00.000Z");
        assert!(!hint_codes(&status).contains(&"ANALYTICS_STALE"));
    }
    broker.advance(301);
    assert_eq!(broker.status().await["periodStart"], "2025-01-01T00:00:00.000Z");
}

#[tokio::test]
async fn a_provider_is_asked_by_its_own_clock_or_by_the_books_and_never_by_the_wall_clock() {
    let broker = TestBroker::start(&COTURN).await;
    let asked_at = || broker.app.account.time_of_provider();
    broker.status().await;
    broker.set_wall("2025-01-15T13:00:00Z");
    assert_eq!(asked_at(), timestamp("2025-01-15T12:00:00Z"), "the books do not follow");
    for (date, expected) in [("11:30", "11:30"), ("12:01", "12:00")] {
        broker.app.account.observe_date(timestamp(&format!("2025-01-15T{date}:00Z")));
        assert_eq!(asked_at(), timestamp(&format!("2025-01-15T{expected}:00Z")), "{date}");
    }
}

#[tokio::test]
async fn counts_that_settle_later_than_the_lag_double_it_and_void_the_bound_for_an_hour() {
    let (cloudflare, broker) = with_analytics(&[]).await;
    let lag = "turn_broker_analytics_lag_seconds";
    let meter = meter(&broker);
    let mut state = meter.initial_state();
    let mut read = async || {
        assert_eq!(meter.read(&mut state).await.unwrap(), ReadingOutcome::Taken);
        broker.status().await
    };
    cloudflare.analytics().relay("another-key", "2025-01-15T11:05:00Z", 10 * GB, 0);
    assert_eq!(read().await["boundHolds"], true);
    assert_eq!(broker.metric(lag).await, Some(600));
    cloudflare.analytics().relay("another-key", "2025-01-15T11:48:00Z", GB, 0);
    broker.advance(3_600);
    let status = read().await;
    assert_eq!((&status["boundHolds"], &status["asOf"]), (&json!(false), &json!("2025-01-15T12:50:00.000Z")));
    assert!(
        hint_codes(&status).contains(&"COUNTS_LATE") && !hint_codes(&status).contains(&"ASSUMPTION_BROKEN")
    );
    assert_eq!(broker.metric(lag).await, Some(1_200));
    assert_eq!(broker.metric("turn_broker_bound_holds").await, Some(0));
    broker.app.account.evaluate_alerts(sources(None), &broker.app.config, false).await;
    let alerts = broker.app.account.latest_alerts();
    assert!(alerts.iter().any(|kept| kept.alert.kind.name() == "counts.late"), "{alerts:?}");

    // Until later minutes have settled, the same ones are counted again.
    cloudflare.analytics().relay("another-key", "2025-01-15T12:49:00Z", GB, 0);
    cloudflare.analytics().relay("another-key", "2025-01-15T12:50:00Z", 100 * GB, 0);
    broker.advance(300);
    let status = read().await;
    assert_eq!(status["bandwidthUsedGB"], "12.00");
    assert_eq!((&status["boundHolds"], &status["asOf"]), (&json!(false), &json!("2025-01-15T12:50:00.000Z")));
    broker.advance(3_300);
    let status = read().await;
    assert_eq!((&status["boundHolds"], &status["asOf"]), (&json!(true), &json!("2025-01-15T13:40:00.000Z")));
    assert!(!hint_codes(&status).contains(&"COUNTS_LATE"));
    assert_eq!(broker.metric(lag).await, Some(1_200));
}

#[tokio::test]
async fn a_day_whose_settled_count_grows_doubles_the_lag_and_voids_the_bound() {
    let (cloudflare, broker) = with_analytics(&[]).await;
    let meter = meter(&broker);
    let mut state = meter.initial_state();
    meter.read(&mut state).await.unwrap();
    cloudflare.analytics().relay("another-key", "2025-01-10T11:05:00Z", 2 * GB, 0);
    let days = broker.status().await["asOf"].as_str().unwrap()[8..10].parse::<u32>().unwrap();
    for _ in 0..=days {
        meter.read(&mut state).await.unwrap();
    }
    let status = broker.status().await;
    assert_eq!((&status["boundHolds"], &status["bandwidthUsedGB"]), (&json!(false), &json!("2.00")));
    assert!(hint_codes(&status).contains(&"COUNTS_LATE"), "{status}");
    assert_eq!(broker.metric("turn_broker_analytics_lag_seconds").await, Some(1_200));
}

/// The settings may have changed: with `BILLED_DIRECTIONS=both`, each day has more bytes.
#[tokio::test]
async fn a_day_that_grows_after_a_restart_shows_nothing_of_the_lag() {
    let (cloudflare, broker) = with_analytics(&[]).await;
    read(&broker).await.unwrap();
    cloudflare.analytics().relay("another-key", "2025-01-10T11:05:00Z", 2 * GB, 0);
    read(&broker).await.unwrap();
    let status = broker.status().await;
    assert_eq!((&status["boundHolds"], &status["bandwidthUsedGB"]), (&json!(true), &json!("2.00")));
    assert_eq!(broker.metric("turn_broker_analytics_lag_seconds").await, Some(600));
}

#[tokio::test]
async fn a_failed_test_of_the_lag_does_not_void_the_reading() {
    let (cloudflare, broker) = with_analytics(&[]).await;
    // The days of the reading are answered, and the hour of the test is not.
    cloudflare.analytics().set_fault(AnalyticsFault::NarrowerThan(2));
    assert_eq!(read(&broker).await.unwrap(), ReadingOutcome::Taken);
    assert_eq!(
        cloudflare.analytics().asked(),
        19,
        "the first query, the sixteen days of the reading, the test, and the time before the ledger began"
    );
    assert_ne!(broker.status().await["asOf"], Value::Null);
}
