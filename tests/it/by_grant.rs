//! Tests of the bytes of each grant by Cloudflare's count: what a poll counts, what is final, and that a failure leaves the
//! total as it is.

use turn_ledger::{GrantCounts, Traffic};

use super::measured::{meter, read, with_analytics};
use crate::support::prelude::*;

const NOON: &str = "2025-01-15T12:00:00Z";

/// Mints; returns the grant's id as the provider knows it.
async fn mint(cloudflare: &FakeCloudflare, broker: &TestBroker) -> GrantId {
    assert_eq!(broker.mint().await.status, 200);
    latest_grant(cloudflare)
}

fn latest_grant(cloudflare: &FakeCloudflare) -> GrantId {
    let minted = cloudflare.history().requests().pop().unwrap();
    minted.custom_identifier.unwrap().parse().unwrap()
}

async fn poll(broker: &TestBroker) -> Vec<GrantCounts> {
    poll_pages(broker, PageBounds::default()).await
}

async fn poll_pages(broker: &TestBroker, bounds: PageBounds) -> Vec<GrantCounts> {
    meter(broker).read_by_grant(bounds).await.unwrap()
}

/// A poll that counts one span.
async fn one_span(broker: &TestBroker, bounds: PageBounds) -> GrantCounts {
    let [counts] = poll_pages(broker, bounds).await.try_into().expect("one span");
    counts
}

/// How often a count had this outcome.
async fn counted(broker: &TestBroker, outcome: &str) -> Option<u64> {
    broker
        .metric(&format!("turn_broker_grant_counts_total{{source=\"cloudflare\",outcome=\"{outcome}\"}}"))
        .await
}

fn span(counts: &GrantCounts) -> (String, String, bool) {
    let minute = |at: turn_ledger::Timestamp| at.to_utc().format("%H:%M").to_string();
    (minute(counts.from), minute(counts.until), counts.is_final)
}

fn spans(taken: &[GrantCounts]) -> Vec<(String, String, bool)> {
    taken.iter().map(span).collect()
}

fn grouped_queries(cloudflare: &FakeCloudflare) -> usize {
    let is_grouped = |body: &Value| body["query"].as_str().unwrap().contains("customIdentifier");
    cloudflare.analytics().queries().iter().filter(|asked| is_grouped(&asked.body)).count()
}

#[tokio::test]
async fn the_bytes_of_each_grant_arrive_under_its_id() {
    let (cloudflare, broker) = with_analytics(&[]).await;
    let (one, two) = (mint(&cloudflare, &broker).await, mint(&cloudflare, &broker).await);
    let analytics = cloudflare.analytics();
    analytics.relay_as("key-id", &one.to_string(), "2025-01-15T12:01:00Z", 500, 5);
    analytics.relay_as("key-id", &one.to_string(), "2025-01-15T12:02:00Z", 70, 7);
    analytics.relay_as("key-id", &two.to_string(), "2025-01-15T12:02:00Z", 9, 1);
    analytics.relay_as("another-key", &two.to_string(), "2025-01-15T12:02:00Z", 1_000, 1_000);
    analytics.relay_as("key-id", "a-guest", "2025-01-15T12:02:00Z", 20, 2);
    analytics.relay("key-id", "2025-01-15T12:02:00Z", 3, 0);
    assert!(poll(&broker).await.is_empty(), "no whole minute has settled");

    broker.advance(600 + 180);
    let counts = one_span(&broker, PageBounds::default()).await;
    assert_eq!(span(&counts), ("11:58".into(), "12:03".into(), false));
    assert_eq!(counts.by_grant, [(one, Traffic::new(12, 570)), (two, Traffic::new(1, 9))].into());
    assert_eq!((counts.other, counts.is_complete), (Traffic::new(2, 23), true));
    assert_eq!(counted(&broker, "open").await, Some(1));
}

#[tokio::test]
async fn one_grant_that_relays_more_beside_idle_ones_is_asked_for_alone_and_raises_its_own_promise() {
    let settings = [("RATE_LIMIT_REQUESTS", "200"), ("BANDWIDTH_LIMIT_GB", "100")];
    let (cloudflare, broker) = with_analytics(&settings).await;
    let fast = mint(&cloudflare, &broker).await;
    for _ in 0..100 {
        mint(&cloudflare, &broker).await;
    }
    for minute in 0..10 {
        let at = format!("2025-01-15T12:{minute:02}:00Z");
        cloudflare.analytics().relay_as("key-id", &fast.to_string(), &at, 750 * MB, 0);
    }
    broker.advance(600 + 600);
    assert_eq!(read(&broker).await.unwrap(), ReadingOutcome::Taken);
    let status = broker.status().await;
    assert_eq!(status["boundHolds"], true, "all together relay less than is assumed");
    poll(&broker).await;
    broker.advance(60);
    let status = broker.status().await;
    assert_eq!(status["boundHolds"], true, "one answer about it alone");
    poll(&broker).await;

    let asked: Vec<_> = cloudflare.analytics().queries().into_iter().map(|asked| asked.body).collect();
    let alone = json!([fast.to_string()]);
    assert!(asked.iter().any(|body| body["variables"]["grants"] == alone), "{asked:?}");
    let reserved = |status: &Value| status["reservedGB"].as_str().unwrap().parse::<f64>().unwrap();
    let before = reserved(&status);
    broker.advance(1);
    let status = broker.status().await;
    assert_eq!(status["boundHolds"], false, "7.4 % of the limit");
    let raised = reserved(&status) - before;
    assert!(raised > 5.0 && raised < before / 10.0, "{before}, {}", status["reservedGB"]);
    // One client says nothing of others.
    assert!(status["boundAssumes"].as_str().unwrap().starts_with("2 Mbps"));
    assert_eq!(broker.hint("ASSUMPTION_RAISED").await, None);
    assert!(broker.has_hint("ASSUMPTION_BROKEN").await);
    assert_eq!(broker.metric("turn_broker_bound_holds").await, Some(0));
}

#[tokio::test]
async fn the_present_rate_and_who_spends_now_are_the_counts_if_those_show_more_than_the_reports() {
    let settings =
        [("BANDWIDTH_LIMIT_GB", "9"), ("LIABILITY_MBPS_PER_GRANT", "100"), ("ALERT_PERCENTS", "50")];
    let (cloudflare, broker) = with_analytics(&settings).await;
    let leaked = mint(&cloudflare, &broker).await;
    let honest = json!({"connectionId": "ann", "user": "ann", "relayed": true});
    assert_eq!(broker.post(REPORTER, "/api/connections", honest).await.status, 201);
    for minute in 1..=20 {
        if minute <= 10 {
            let at = format!("2025-01-15T12:{:02}:00Z", minute - 1);
            cloudflare.analytics().relay_as("key-id", &leaked.to_string(), &at, 150 * MB, 0);
        }
        broker.advance(60);
        broker.heartbeat(REPORTER, "ann", json!({"bytesReceived": minute * MB})).await;
        read(&broker).await.unwrap();
    }
    poll(&broker).await;
    let rate = broker.overview().await["rate"].clone();
    assert_eq!(json!([rate["mbps"], rate["until"]]), json!([20, "2025-01-15T12:10:00.000Z"]));
    broker.app.account.change(|books| books.override_limit(Some(ByteCount::new(2_000 * MB))));
    broker.app.account.evaluate_alerts(facts(&broker, true), &broker.app.config, true).await;
    let alert = broker.app.account.latest_alerts().remove(0).alert;
    assert_eq!(alert.severity().name(), "critical", "a limit that is reached in minutes");
    let text = alert.text(None);
    for expected in [
        "Now: 20.0 Mbps (counted up to 2025-01-15T12:10Z), which reaches the limit in ",
        "First: Stop address \"127.0.0.1\", who used 99 % in the last 5 minutes, as counted up to 2025-01-15T12:10Z, ",
        "Command: turn-broker block --address=127.0.0.1 --for 1h; turn-broker revoke --address=127.0.0.1",
    ] {
        assert!(text.contains(expected), "{expected} is missing in\n{text}");
    }
    assert!(!text.contains("ann"), "who has 1 % of it\n{text}");
    // The status, the dashboard's hero and its column, and the command have the same figures.
    let status = broker.status().await;
    assert_eq!((&status["rateGBPerHour"], &status["rateUntil"]), (&json!("9.00"), &rate["until"]));
    let reached = broker.overview().await["rate"]["limitAt"].clone();
    assert!(reached.is_string() && status["limitReachedAt"] == reached, "{reached} {status}");
    // A count is up to a minute older than the lag: then the first of its five minutes are not known any more.
    for _ in 0..2 {
        for by in ["address", "grant"] {
            let page = broker.operator(&format!("/api/spenders?by={by}&since=5m")).await.json();
            let [bytes, seconds] =
                [&page["spenders"][0]["bytes"], &page["seconds"]].map(|it| it.as_f64().unwrap());
            let thief = bytes * 8.0 / 1e6 / seconds;
            assert!((19.0..=21.0).contains(&thief), "{thief} Mbps: {page}");
            assert_eq!(page["countedUntil"], "2025-01-15T12:10:00.000Z");
        }
        broker.advance(90);
    }
}

#[tokio::test]
async fn bytes_under_identifiers_of_others_break_the_bound_above_a_hundredth_of_the_limit() {
    let (cloudflare, broker) = with_analytics(&[("BANDWIDTH_LIMIT_GB", "100")]).await;
    mint(&cloudflare, &broker).await;
    for (minute, holds) in [(1, true), (2, false)] {
        let at = format!("2025-01-15T12:{minute:02}:00Z");
        cloudflare.analytics().relay_as("key-id", "a-guest", &at, 600 * MB, 0);
        broker.advance(if minute == 1 { 600 + 120 } else { 60 });
        poll(&broker).await;
        let status = broker.status().await;
        assert_eq!((&status["boundHolds"], minute), (&json!(holds), minute), "{}", status["hints"]);
        assert!(status["hints"].to_string().contains("UNKNOWN_BYTES"), "{}", status["hints"]);
    }
}

const MB: u64 = 1_000_000;

#[tokio::test]
async fn more_than_the_broker_relays_itself_is_unknown_under_its_own_identifiers_too() {
    for (bytes, is_known) in [(20 * MB, true), (60_000 * MB, false)] {
        let (cloudflare, broker) = with_analytics(&[]).await;
        let at = "2025-01-15T12:01:00Z";
        cloudflare.analytics().relay_as("key-id", "turn-broker-doctor", at, bytes, 0);
        broker.advance(600 + 180);
        assert_eq!(read(&broker).await.unwrap(), ReadingOutcome::Taken);
        poll(&broker).await;
        let status = broker.status().await;
        assert_eq!(
            (hint_codes(&status).contains(&"UNKNOWN_BYTES"), &status["boundHolds"]),
            (!is_known, &json!(is_known)),
            "{status}"
        );
    }
}

#[tokio::test]
async fn identifiers_are_read_page_by_page_until_there_are_too_many() {
    let (cloudflare, broker) = with_analytics(&[]).await;
    let ids: Vec<_> = (0..6).map(|number| GrantId::new([number; 16])).collect();
    for id in &ids {
        cloudflare.analytics().relay_as("key-id", &id.to_string(), NOON, 10, 0);
    }
    broker.advance(600 + 60);
    let before = grouped_queries(&cloudflare);
    let counts = one_span(&broker, PageBounds { rows: 2, pages: 4 }).await;
    assert_eq!((counts.by_grant.len(), counts.is_complete), (6, true));
    assert_eq!(grouped_queries(&cloudflare) - before, 4, "three full pages and an empty one");

    cloudflare.analytics().relay_as("key-id", "zzz", NOON, 1, 0);
    let counts = one_span(&broker, PageBounds { rows: 2, pages: 3 }).await;
    assert_eq!((counts.by_grant.len(), counts.is_complete, counts.other), (6, false, Traffic::ZERO));
    assert_eq!(counted(&broker, "incomplete").await, Some(1));

    // In another order, the grants between the pages would be left out. A single page has no such place.
    cloudflare.analytics().set_grouped_fault(AnalyticsFault::Reversed);
    for (rows, expected) in [(2, (2, false)), (100, (6, true))] {
        let counts = one_span(&broker, PageBounds { rows, pages: 4 }).await;
        assert_eq!((counts.by_grant.len(), counts.is_complete), expected);
    }
    assert_eq!(counted(&broker, "incomplete").await, Some(2));
}

#[tokio::test]
async fn a_failing_grouped_query_leaves_the_total_as_it_is() {
    let (cloudflare, broker) = with_analytics(&[]).await;
    cloudflare.analytics().relay("key-id", "2025-01-10T00:00:00Z", 40_000_000_000, 0);
    cloudflare.analytics().relay("key-id", "2025-01-15T12:30:00Z", 1, 0);
    broker.advance(8_000);
    for (fault, outcome) in [
        // The others have the right time again.
        (AnalyticsFault::Dated("Wed, 15 Jan 2025 14:00:00 GMT"), "unsettled"),
        (AnalyticsFault::ErrorsAt200, "query_refused"),
        (AnalyticsFault::ServerErrorHtml(503), "status_5xx"),
        (AnalyticsFault::NullRows, "bad_body"),
        (AnalyticsFault::NoRows, "bad_body"),
    ] {
        cloudflare.analytics().set_grouped_fault(fault);
        let failed = meter(&broker).read_by_grant(PageBounds::default()).await.unwrap_err();
        assert_eq!(failed.outcome(), outcome, "{fault:?}");
    }
    assert_eq!(read(&broker).await.unwrap(), ReadingOutcome::Taken);
    let status = broker.status().await;
    assert_eq!(json!([status["bandwidthUsedGB"], status["stale"]]), json!(["40.00", false]));
    cloudflare.analytics().heal();
    let taken = poll(&broker).await;
    assert_eq!(spans(&taken)[0], ("11:58".into(), "12:58".into(), true), "what failed is asked again");
}

#[tokio::test]
async fn an_hour_that_cannot_be_counted_finally_does_not_hide_the_open_span() {
    let (cloudflare, broker) = with_analytics(&[]).await;
    broker.advance(2 * 86_400);
    cloudflare.analytics().set_grouped_fault(AnalyticsFault::NarrowerThan(24));
    let failed = meter(&broker).read_by_grant(PageBounds::default()).await.unwrap_err();
    assert_eq!(failed.outcome(), "query_refused");
    assert_eq!((counted(&broker, "open").await, counted(&broker, "final").await), (Some(1), None));
    cloudflare.analytics().heal();
    assert_eq!(spans(&poll(&broker).await)[0], ("11:58".into(), "12:58".into(), true));
}

#[tokio::test]
async fn the_broker_polls_by_grant_once_the_total_can_be_read() {
    let cloudflare = FakeCloudflare::start().await;
    cloudflare.analytics().set_fault(AnalyticsFault::ServerErrorHtml(503));
    let settings = [
        ("CLOUDFLARE_ACCOUNT_ID", "account"),
        ("CLOUDFLARE_ANALYTICS_TOKEN", "analytics-fixture-token"),
        ("CLOUDFLARE_ANALYTICS_INTERVAL_SECONDS", "1"),
    ];
    let broker = broker_at(&cloudflare, &settings).await;
    let failed = "turn_broker_readings_total{source=\"cloudflare\",outcome=\"status_5xx\"}";
    eventually("a failed query", async || broker.metric(failed).await.is_some()).await;
    assert_eq!(grouped_queries(&cloudflare), 0);
    broker.advance(600 + 120);
    cloudflare.analytics().heal();
    eventually("a poll", async || counted(&broker, "open").await == Some(1)).await;
}

#[tokio::test]
async fn what_a_grant_relays_after_its_tail_is_in_the_log_and_breaks_the_bound() {
    let settings = [("TURN_TTL_SECONDS", "3600"), ("BANDWIDTH_LIMIT_GB", "100")];
    let (cloudflare, broker) = with_analytics(&settings).await;
    let grant = mint(&cloudflare, &broker).await.to_string();
    // The credential expires at 13:00, and its tail ends at 15:00.
    for (at, bytes) in [("12:55", 1_000), ("13:04", 1_000), ("15:09", 1_500 * MB)] {
        cloudflare.analytics().relay_as("key-id", &grant, &format!("2025-01-15T{at}:00Z"), bytes, 0);
    }
    let (log, _guard) = Log::of_this_thread();
    let says = || log.text().contains("relayed for longer after its expiry than is assumed seconds=7800");
    broker.advance_to("2025-01-15T13:06:00Z");
    poll(&broker).await;
    // The tail of 2 hours and another hour, then the lag and an hour.
    broker.advance_to("2025-01-15T17:10:00Z");
    poll(&broker).await;
    assert!(!says(), "its minutes have not settled");
    assert_eq!(broker.status().await["boundHolds"], true);
    broker.advance_to("2025-01-15T17:11:00Z");
    broker.app.account.tidy().await;
    cloudflare.analytics().set_grouped_fault(AnalyticsFault::ServerErrorHtml(503));
    meter(&broker).read_by_grant(PageBounds::default()).await.unwrap_err();
    cloudflare.analytics().heal();
    poll(&broker).await;
    assert!(says(), "{}", log.text());
    assert_eq!(broker.status().await["boundHolds"], false, "1.5 % of the limit");
    let hint = broker.hint("ASSUMPTION_BROKEN").await.unwrap();
    assert!(hint.contains("relayed for up to 7800 s after their expiry"), "{hint}");
    let asked = grouped_queries(&cloudflare);
    poll(&broker).await;
    assert_eq!(grouped_queries(&cloudflare) - asked, 2, "a closed hour and the open span: no grant twice");
}

#[tokio::test]
async fn what_a_grant_relays_after_a_short_tail_takes_the_default_back_until_the_next_start() {
    const SHORT: &str = "2 Mbps per grant until 600 s after expiry";
    let state = StateDir::new();
    let settings =
        [("TURN_TTL_SECONDS", "3600"), ("TURN_EXPIRY_TAIL_SECONDS", "600"), ("STATE_DIR", state.path())];
    let (cloudflare, broker) = with_analytics(&settings).await;
    let grant = mint(&cloudflare, &broker).await.to_string();
    // The credential expires at 13:00. What it relays until 15:00 is looked at once it has settled.
    for at in ["12:55", "14:45"] {
        cloudflare.analytics().relay_as("key-id", &grant, &format!("2025-01-15T{at}:00Z"), 1_000, 0);
    }
    broker.advance_to("2025-01-15T13:06:00Z");
    poll(&broker).await;
    assert!(broker.status().await["boundAssumes"].as_str().unwrap().starts_with(SHORT));
    // With the difference of the clocks.
    assert_eq!(broker.metric("turn_broker_tail_seconds").await, Some(720));
    broker.advance_to("2025-01-15T16:11:00Z");
    broker.app.account.tidy().await;
    poll(&broker).await;
    let status = broker.status().await;
    assert_eq!(status["boundHolds"], true, "{}", status["hints"]);
    let expected = "until 7200 s after expiry (the default: bytes were counted 6360 s after an expiry)";
    let assumes = status["boundAssumes"].as_str().unwrap();
    assert!(assumes.contains(expected), "{assumes}");
    assert_eq!(broker.metric("turn_broker_tail_seconds").await, Some(7_320));
    let hint = broker.hint("ASSUMPTION_RAISED").await.unwrap();
    assert!(hint.contains("TURN_EXPIRY_TAIL_SECONDS") && hint.contains("6360 s at cloudflare"), "{hint}");
    let clock = broker.clock();
    broker.finish().await;
    let broker = broker_with(&cloudflare, &settings, clock).await;
    assert!(broker.status().await["boundAssumes"].as_str().unwrap().starts_with(SHORT));
}

/// The grants of one query expire within an hour, and one poll makes several queries.
#[tokio::test]
async fn one_poll_looks_at_the_tails_of_several_hours() {
    let (cloudflare, broker) = with_analytics(&[("TURN_TTL_SECONDS", "3600")]).await;
    for (minted, relayed, counted) in [("12:00", "12:55", "13:06"), ("14:30", "15:25", "15:36")] {
        let time = |time: &str| format!("2025-01-15T{time}:00Z");
        broker.advance_to(&time(minted));
        let grant = mint(&cloudflare, &broker).await.to_string();
        cloudflare.analytics().relay_as("key-id", &grant, &time(relayed), 1_000, 0);
        broker.advance_to(&time(counted));
        poll(&broker).await;
    }
    broker.advance_to("2025-01-15T20:00:00Z");
    broker.app.account.tidy().await;
    for (tails, queries) in [("of both", 4), ("of none", 2)] {
        let asked = grouped_queries(&cloudflare);
        poll(&broker).await;
        assert_eq!(
            grouped_queries(&cloudflare) - asked,
            queries,
            "a closed hour, the open span, and tails {tails}"
        );
    }
}
