//! When a count is settled: by Cloudflare's clock and ours, after the lag.

use crate::support::prelude::*;

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
async fn a_settled_day_that_grows_voids_the_bound_for_a_day() {
    let (cloudflare, broker) = with_analytics(&[]).await;
    let meter = meter(&broker);
    let mut state = MeterState::default();
    let mut read_all = async || {
        for _ in 0..=16 {
            broker.advance(60);
            assert_eq!(meter.read(&mut state).await.unwrap(), ReadingOutcome::Taken);
        }
        broker.status().await
    };
    read_all().await;
    assert_eq!(read_all().await["boundHolds"], true);
    cloudflare.analytics().relay("another-key", "2025-01-10T11:05:00Z", 2 * GB, 0);
    read_all().await;
    let status = read_all().await;
    assert_eq!(json!([status["boundHolds"], status["bandwidthUsedGB"]]), json!([false, "2.00"]));
    assert!(
        hint_codes(&status).contains(&"COUNTS_LATE") && !hint_codes(&status).contains(&"ASSUMPTION_BROKEN")
    );
    assert_eq!(broker.metric("turn_broker_bound_holds").await, Some(0));
    broker.app.account.evaluate_alerts(facts(&broker, true), &broker.app.config, false).await;
    let alerts = broker.app.account.latest_alerts();
    assert!(alerts.iter().any(|kept| kept.alert.kind.name() == "counts.late"), "{alerts:?}");

    broker.advance(43_200);
    assert_eq!(read_all().await["boundHolds"], false);
    broker.advance(43_200);
    let status = read_all().await;
    assert_eq!(status["boundHolds"], true, "{status}");
    assert!(!hint_codes(&status).contains(&"COUNTS_LATE"));
}

#[tokio::test]
async fn late_bytes_of_the_open_day_are_said_once_two_polls_show_them() {
    let (cloudflare, broker) = with_analytics(&[]).await;
    let (meter, mut state) = (meter(&broker), MeterState::default());
    meter.read(&mut state).await.unwrap();
    for (at, is_late) in [("11:55", false), ("11:05", true)] {
        cloudflare.analytics().relay("another-key", &format!("2025-01-15T{at}:00Z"), 2 * GB, 0);
        broker.advance(600);
        meter.read(&mut state).await.unwrap();
        assert!(!broker.has_hint("COUNTS_LATE").await, "one answer may be wrong");
        broker.advance(60);
        meter.read(&mut state).await.unwrap();
        assert_eq!(broker.has_hint("COUNTS_LATE").await, is_late, "{at}");
    }
}

/// The settings may have changed: with `BILLED_DIRECTIONS=both`, each day has more bytes.
#[tokio::test]
async fn a_day_that_grows_after_a_restart_is_not_late() {
    let (cloudflare, broker) = with_analytics(&[]).await;
    read(&broker).await.unwrap();
    cloudflare.analytics().relay("another-key", "2025-01-10T11:05:00Z", 2 * GB, 0);
    read(&broker).await.unwrap();
    let status = broker.status().await;
    assert_eq!(json!([status["boundHolds"], status["bandwidthUsedGB"]]), json!([true, "2.00"]));
}
