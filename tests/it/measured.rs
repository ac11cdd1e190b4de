//! Tests of readings from Cloudflare's analytics: the estimates that they replace, the assumption that they check, and operation
//! without them.

mod lag;
mod new_ledger;
mod owners;
pub(crate) mod probe;

use crate::support::prelude::*;
use turn_broker::meter::cloudflare::CloudflareMeter;
use turn_broker::meter::cloudflare::analytics::AnalyticsError;
use turn_broker::mint::ending::EndingState;

const GB: u64 = 1_000_000_000;

pub(crate) const ANALYTICS: [(&str, &str); 3] = [
    ("CLOUDFLARE_ACCOUNT_ID", "account"),
    ("CLOUDFLARE_ANALYTICS_TOKEN", "analytics-fixture-token"),
    ("CLOUDFLARE_ANALYTICS_INTERVAL_SECONDS", "3600"),
];

/// A broker at 2025-01-15T12:00 that reads analytics only when the test asks for it, because its own first query failed.
pub(crate) async fn with_analytics(settings: &[(&str, &str)]) -> (FakeCloudflare, TestBroker) {
    let cloudflare = FakeCloudflare::start().await;
    cloudflare.analytics().require_account("account");
    let broker = with_analytics_at(&cloudflare, settings, Arc::new(ManualClock::at(START))).await;
    (cloudflare, broker)
}

/// The same with this provider and the clock of an earlier process.
async fn with_analytics_at(
    cloudflare: &FakeCloudflare,
    settings: &[(&str, &str)],
    clock: Arc<ManualClock>,
) -> TestBroker {
    cloudflare.analytics().require_token("analytics-fixture-token");
    cloudflare.analytics().set_fault(AnalyticsFault::ServerErrorHtml(503));
    let broker = broker_with(cloudflare, &[&ANALYTICS, settings].concat(), clock).await;
    let failed = "turn_broker_readings_total{source=\"cloudflare\",outcome=\"status_5xx\"}";
    eventually("the first query", async || broker.metric(failed).await == Some(1)).await;
    cloudflare.analytics().heal();
    broker
}

pub(crate) async fn read(broker: &TestBroker) -> Result<ReadingOutcome, AnalyticsError> {
    let meter = meter(broker);
    meter.read(&mut MeterState::default()).await
}

/// Two answers, a minute apart, of which the last one is read now. They agree.
pub(crate) async fn read_twice(broker: &TestBroker) -> ReadingOutcome {
    let (meter, mut state) = (meter(broker), MeterState::default());
    let _ = meter.read(&mut state).await.unwrap();
    broker.advance(60);
    meter.read(&mut state).await.unwrap()
}

pub(crate) fn meter(broker: &TestBroker) -> &CloudflareMeter {
    broker.app.cloudflare_meter.as_ref().unwrap()
}

#[tokio::test]
async fn a_reading_of_turn_and_sfu_replaces_the_estimate_of_the_time_it_covers() {
    let settings = [("ESTIMATED_MBPS_PER_CONNECTION", "800"), ("HEARTBEAT_SECONDS", "3600")];
    let (cloudflare, broker) = with_analytics(&settings).await;
    let before = broker.status().await;
    assert_eq!(json!([before["source"], before["asOf"]]), json!(["estimate", null]));
    assert!(!hint_codes(&before).contains(&"NO_ANALYTICS"), "a reading is expected");

    broker.open(REPORTER, "c").await;
    broker.advance(1_200);
    assert_eq!(broker.status().await["bandwidthUsedGB"], "120.00");
    cloudflare.analytics().relay("key-id", "2025-01-15T12:05:00Z", 3 * GB, 100 * GB);
    cloudflare.analytics().relay("another-key", "2025-01-02T00:00:00Z", 5 * GB, 0);
    cloudflare.analytics().sfu("an-app", "2025-01-03T00:00:00Z", 7 * GB, 0);
    cloudflare.analytics().relay("key-id", "2025-01-15T12:15:00Z", 1_000 * GB, 0);
    cloudflare.analytics().relay("key-id", "2024-12-31T23:59:00Z", 90 * GB, 0);
    assert_eq!(read(&broker).await.unwrap(), ReadingOutcome::Taken);
    let status = broker.status().await;
    assert_eq!(status["source"], "measured+estimate");
    assert_eq!(status["asOf"], "2025-01-15T12:10:00.000Z", "up to the last settled minute");
    assert_eq!(status["stale"], false);
    // The estimate of the last ten minutes remains.
    assert_eq!(status["bandwidthUsedGB"], "75.00");
    broker.advance(60);
    assert_eq!(broker.status().await["bandwidthUsedGB"], "81.00", "it rises between readings");
}

#[tokio::test]
async fn the_reason_why_analytics_fails_is_shown_at_once() {
    let (_cloudflare, broker) = with_analytics(&[]).await;
    let expected = "The provider's own count of usage cannot be read, so the newest usage is only an estimate. Cloudflare's analytics: answered 503 Service Unavailable: wait; if it stays, see https://www.cloudflarestatus.com. Run turn-broker doctor. Do what the line analytics says; if that is ok for an hour, restart the service.";
    assert_eq!(broker.hint("ANALYTICS_STALE").await.as_deref(), Some(expected));
    assert_eq!(read(&broker).await.unwrap(), ReadingOutcome::Taken);
    assert!(!broker.has_hint("ANALYTICS_STALE").await);
}

#[tokio::test]
async fn the_broker_reads_analytics_from_the_start() {
    let (cloudflare, broker) = with_cloudflare_and(&ANALYTICS).await;
    eventually("a reading", async || broker.status().await["asOf"] != Value::Null).await;
    let taken = "turn_broker_readings_total{source=\"cloudflare\",outcome=\"taken\"}";
    eventually("the metric", async || broker.metric(taken).await == Some(1)).await;
    let status = broker.status().await;
    // The last day of the period before, fifteen of this one, and the time before the ledger began.
    assert_eq!(cloudflare.analytics().asked(), 17);
    assert_eq!(
        json!([status["asOf"], status["bandwidthUsedGB"]]),
        json!(["2025-01-15T11:50:00.000Z", "0.00"])
    );
}

#[tokio::test]
async fn what_an_app_server_vouches_for_above_the_count_counts_and_breaks_the_bound() {
    for (reported, holds) in [(11 * GB, true), (12 * GB, false)] {
        let (cloudflare, broker) = with_analytics(&[("HEARTBEAT_SECONDS", "3600")]).await;
        broker.open(REPORTER, "c").await;
        broker.advance(1_200);
        let report = json!({"bytesReceived": reported, "relayed": true});
        broker.heartbeat(REPORTER, "c", report).await;
        broker.advance(600);
        cloudflare.analytics().relay("another-key", "2025-01-15T12:05:00Z", GB, 0);
        assert_eq!(read(&broker).await.unwrap(), ReadingOutcome::Taken);
        let status = broker.status().await;
        // Everything that was reported is counted, and 5 % of the counted GB may be missing.
        assert_eq!(json!([status["usedBytes"], status["boundHolds"]]), json!([reported, holds]));
        let hints = status["hints"].to_string();
        assert_eq!(hints.contains("App servers reported 10.95 GB more on one day"), !holds, "{hints}");
    }
}

#[tokio::test]
async fn what_an_app_server_reports_without_a_grant_is_compared_with_the_counts_of_each_key() {
    let (cloudflare, broker) = with_analytics(&[("HEARTBEAT_SECONDS", "3600")]).await;
    broker.open(REPORTER, "c").await;
    broker.advance(1_200);
    broker.heartbeat(REPORTER, "c", json!({"bytesReceived": 11 * GB, "relayed": true})).await;
    broker.advance(600);
    cloudflare.analytics().relay("key-id", "2025-01-15T12:05:00Z", GB, 0);
    assert_eq!(read(&broker).await.unwrap(), ReadingOutcome::Taken);
    assert_eq!(broker.used().await, 11 * GB, "the counted bytes are among those that were reported");
}

#[tokio::test]
async fn one_wrong_answer_stops_mints_and_ends_nothing_and_the_next_one_undoes_it() {
    let (cloudflare, broker) = with_analytics(&[("BANDWIDTH_LIMIT_GB", "100")]).await;
    let (meter, mut state) = (meter(&broker), MeterState::default());
    broker.mint().await;
    cloudflare.analytics().relay("key-id", "2025-01-15T11:40:00Z", 81 * GB, 0);
    for answer in 0..10 {
        broker.advance(60);
        cloudflare.analytics().set_fault(AnalyticsFault::Wrong(if answer == 5 { 140 } else { 100 }));
        assert_eq!(meter.read(&mut state).await.unwrap(), ReadingOutcome::Taken);
        broker.app.ending.step(&mut EndingState::default()).await;
        let status = broker.status().await;
        let expected = if answer == 5 { (113_400_000_000, false) } else { (81 * GB, true) };
        let shown = (status["usedBytes"].as_u64().unwrap(), status["minting"]["on"].as_bool().unwrap());
        assert_eq!(shown, expected, "{answer}");
        assert_eq!(cloudflare.history().revoked(), 0, "answer {answer}");
    }
    cloudflare.analytics().relay("key-id", "2025-01-15T11:41:00Z", 20 * GB, 0);
    for is_ended in [false, true] {
        broker.advance(60);
        assert_eq!(meter.read(&mut state).await.unwrap(), ReadingOutcome::Taken);
        broker.app.ending.step(&mut EndingState::default()).await;
        assert_eq!(cloudflare.history().revoked(), usize::from(is_ended), "two answers agree");
    }
}

#[tokio::test]
async fn a_count_without_a_turn_key_has_a_hint() {
    for (key, is_shown) in [("", true), ("key-id", false)] {
        let token = if is_shown { "" } else { "token" };
        let key = [("CLOUDFLARE_TURN_KEY_ID", key), ("CLOUDFLARE_TURN_API_TOKEN", token)];
        let others = [("ICE_SOURCES", "stun"), ("CLOUDFLARE_ANALYTICS_BASE", "http://127.0.0.1:9")];
        let settings = [&ANALYTICS[..], &key, &others].concat();
        let broker = TestBroker::start(&settings).await;
        let hints = broker.status().await["hints"].to_string();
        assert_eq!(hints.contains("It is read without a TURN key"), is_shown, "{hints}");
    }
}

/// The total says at which rate credentials relay on average. It tests no rate: a stranger may have the TURN key.
#[tokio::test]
async fn the_status_shows_the_observed_rate_and_the_total_breaks_no_assumption() {
    let (cloudflare, broker) = with_analytics(&[("LIABILITY_MBPS_PER_GRANT", "2")]).await;
    broker.mint().await;
    broker.advance(600);
    read_twice(&broker).await;
    let status = broker.status().await;
    assert_eq!(json!([status["boundHolds"], status["observedMbpsPerGrant"]]), json!([true, null]));
    cloudflare.analytics().relay("key-id", "2025-01-15T12:05:00Z", 3 * GB, 0);
    cloudflare.analytics().sfu("an-app", "2025-01-15T12:05:00Z", 90 * GB, 0);
    broker.advance(600);
    assert_eq!(read_twice(&broker).await, ReadingOutcome::Taken);
    let status = broker.set_limit(200).await.json();
    assert_eq!(json!([status["boundHolds"], status["observedMbpsPerGrant"]]), json!([true, 36.364]));
    assert!(status["boundAssumes"].as_str().unwrap().starts_with("2 Mbps"), "{}", status["boundAssumes"]);
}

#[tokio::test]
async fn the_bound_is_used_plus_reserved_plus_the_sampling_margin_minus_the_limit() {
    let (cloudflare, broker) = with_analytics(&[("ANALYTICS_MARGIN_PERCENT", "20")]).await;
    cloudflare.analytics().relay("key-id", "2025-01-10T00:00:00Z", 16 * GB, 0);
    read(&broker).await.unwrap();
    let status = broker.set_limit(10).await.json();
    let figures = ["bandwidthUsedGB", "reservedGB", "samplingMarginGB", "overshootBoundGB"];
    // 20 % of 20 GB may be missing.
    assert_eq!(figures.map(|field| status[field].as_str().unwrap()), ["16.00", "0.00", "4.00", "10.00"]);
}
