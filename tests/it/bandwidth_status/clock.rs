//! The status while the wall clock is behind, is ahead or jumps. Hints say so.

use crate::support::manual_clock::timestamp;
use crate::support::{COTURN, REPORTER, StateDir, TestBroker, with_cloudflare_and};
use serde_json::json;
use std::time::Duration;

use super::hint_codes;

#[tokio::test]
async fn while_the_wall_clock_is_behind_usage_continues_and_a_hint_says_so() {
    let settings = [("ESTIMATED_MBPS_PER_CONNECTION", "8000"), ("TURN_TTL_SECONDS", "3600")];
    let (_cloudflare, broker) = with_cloudflare_and(&settings).await;
    broker.status().await;
    broker.set_wall("2025-01-15T06:00:00Z");
    let grant = broker.grant().await;
    let opened = broker.post(&grant, "/api/connections", json!({})).await;
    assert_eq!(opened.status, 201, "a new grant is not expired");
    broker.advance(10);
    let status = broker.status().await;
    assert_eq!(status["bandwidthUsedGB"], "10.00");
    assert!(hint_codes(&status).contains(&"CLOCK_BEHIND"));
    broker.set_wall("2025-01-15T12:00:20Z");
    assert!(!hint_codes(&broker.status().await).contains(&"CLOCK_BEHIND"), "the wall clock has caught up");
}

#[tokio::test]
async fn a_wall_clock_that_jumps_a_month_ahead_and_back_changes_nothing() {
    let settings = [("ESTIMATED_MBPS_PER_CONNECTION", "8000"), ("HEARTBEAT_SECONDS", "3600")];
    let (_cloudflare, broker) = with_cloudflare_and(&settings).await;
    broker.post(REPORTER, "/api/connections", json!({})).await;
    broker.advance(10);
    broker.mint().await;
    let before = broker.status().await;
    broker.set_wall("2025-02-15T12:00:10Z");
    broker.advance(60);
    let meanwhile = broker.status().await;
    assert_eq!(meanwhile["periodStart"], before["periodStart"]);
    assert_eq!(meanwhile["bandwidthUsedGB"], "70.00", "usage keeps rising");
    assert!(hint_codes(&meanwhile).contains(&"CLOCK_AHEAD"));
    broker.set_wall("2025-01-15T12:01:10Z");
    let after = broker.status().await;
    assert_eq!((&after["bandwidthUsedGB"], &after["grants"]), (&json!("70.00"), &before["grants"]));
    assert!(!hint_codes(&after).contains(&"CLOCK_AHEAD"));
}

#[tokio::test]
async fn after_a_suspend_the_books_have_the_current_time_at_once() {
    let (_cloudflare, broker) = with_cloudflare_and(&[("TURN_TTL_SECONDS", "3600")]).await;
    broker.mint().await;
    broker.suspend(2 * 3_600);
    broker.mint().await;
    let status = broker.status().await;
    assert!(!hint_codes(&status).contains(&"CLOCK_AHEAD"));
    assert_eq!(status["grants"]["live"], 2, "the first one is in its tail");
    broker.suspend(2 * 3_600);
    assert_eq!(broker.status().await["grants"]["live"], 1);
}

#[tokio::test]
async fn after_a_start_of_the_machine_the_bound_does_not_hold_until_another_clock_or_time_settles_it() {
    for has_reference in [true, false] {
        let state = StateDir::new();
        let settings = [&COTURN[..], &[("BUDGET_MODE", "strict"), ("STATE_DIR", state.path())]].concat();
        let broker = TestBroker::start(&settings).await;
        let hear = |broker: &TestBroker, date| {
            if has_reference {
                broker.app.account.hear_date(timestamp(date));
            }
        };
        hear(&broker, "2025-01-15T12:00:00Z");
        assert_eq!(broker.mint().await.status, 200);
        let clock = broker.clock();
        broker.finish().await;
        clock.reboot(Duration::from_secs(600));

        let broker = TestBroker::start_at(&settings, clock).await;
        let status = broker.status().await;
        assert_eq!(status["boundHolds"], false);
        assert!(hint_codes(&status).contains(&"CLOCK_IN_DOUBT"));
        hear(&broker, "2025-01-15T12:10:00Z");
        broker.advance(300);
        let status = broker.status().await;
        assert!(!hint_codes(&status).contains(&"CLOCK_IN_DOUBT"), "{has_reference}");
        assert_eq!(broker.app.account.snapshot().figures.now, timestamp("2025-01-15T12:15:00Z"));
        // Without another clock, the one of before may have been wrong.
        assert_eq!(status["boundHolds"], has_reference);
        assert_eq!(hint_codes(&status).contains(&"CLOCK_JUMPED"), !has_reference);
        broker.advance(2 * 172_800);
        assert_eq!(broker.status().await["boundHolds"], true);
    }
}
