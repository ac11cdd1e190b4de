//! What sessions take from each other is charged, and is closed by force when the budget is spent.

use super::{Page, start};
use crate::measured::{read, read_twice, with_analytics};
use crate::support::prelude::*;
use turn_ledger::Books;

/// One track has 80 Mbps, which are 10 MB a second.
pub(super) const RATE: (&str, &str) = ("ESTIMATED_MBPS_PER_CONNECTION", "80");
pub(super) const MB: u64 = 1_000_000;

pub(super) async fn pulled(broker: &TestBroker) -> u64 {
    broker.metric("turn_broker_sfu_pulled_tracks").await.unwrap()
}

/// Two pages of one room, the second of which takes a track from the first.
pub(super) async fn call(broker: &TestBroker) -> (Page<'_>, Page<'_>) {
    let [a, b] = Page::of_room(broker, "r").await;
    assert_eq!(a.push().await.status, 200);
    assert_eq!(b.pull(&a).await.status, 200);
    assert_eq!(pulled(broker).await, 1);
    (a, b)
}

#[tokio::test]
async fn pulled_tracks_are_charged_by_time_until_a_look_does_not_find_them() {
    let (_sfu, broker) = start(&[RATE]).await;
    let (a, b) = call(&broker).await;
    broker.advance(10);
    assert_eq!(broker.used().await, 100 * MB, "what the first page sends is not billed");
    assert_eq!(b.pull(&a).await.status, 200);
    assert_eq!(pulled(&broker).await, 2);
    broker.advance(10);
    assert_eq!(broker.used().await, 300 * MB);
    let both = json!({ "tracks": [{ "mid": "0" }, { "mid": "1" }] });
    assert_eq!(b.call(Method::PUT, "/tracks/close", &both).await.status, 200);
    broker.advance(30);
    eventually("a look", async || pulled(&broker).await == 0).await;
    assert_eq!(broker.used().await, 900 * MB, "what the SFU was asked for may have come into effect late");
    broker.advance(10);
    assert_eq!(broker.used().await, 900 * MB);
}

/// The app is in another account, or its data set has an outage, while TURN is counted.
#[tokio::test]
async fn an_empty_data_set_of_the_sfu_releases_nothing_that_its_sessions_took_in_strict_mode() {
    let sfu = FakeSfu::start().await;
    let url = sfu.url();
    let of_test = [("SFU_MBPS_PER_CLIENT", "10000"), ("BUDGET_MODE", "strict")];
    let settings = [&sfu_at(&url)[..], &of_test].concat();
    let (cloudflare, broker) = with_analytics(&settings).await;
    assert_eq!(broker.mint().await.json()["source"], "cloudflare");
    let [a, b] = Page::of_room(&broker, "r").await;
    assert_eq!(a.push().await.status, 200);
    // 40 Mbps are 300 MB a minute. The credential is promised 15 MB a minute.
    assert_eq!(b.pull_many(&a, 20).await.status, 200);
    broker.advance(60);
    let tracks: Vec<_> = (0..20).map(|mid| json!({ "mid": mid.to_string() })).collect();
    assert_eq!(b.call(Method::PUT, "/tracks/close", &json!({ "tracks": tracks })).await.status, 200);
    broker.advance(30);
    eventually("a look", async || pulled(&broker).await == 0).await;
    broker.advance_to("2025-01-15T12:30:00Z");
    assert_eq!(broker.used().await, 450 * MB);
    let figures = || broker.app.account.read(Books::snapshot).figures;
    let before = figures();

    let analytics = cloudflare.analytics();
    analytics.relay("key-id", "2025-01-15T12:05:00Z", 10 * MB, 0);
    analytics.sfu("another-app", "2025-01-15T12:05:00Z", 20 * MB, 0);
    assert_eq!(read_twice(&broker).await, ReadingOutcome::Unproven);
    assert_eq!(broker.used().await, 480 * MB);
    let released = before.committed.plus(figures().used).minus(before.used).minus(figures().committed).get();
    assert!(released.abs_diff(20 * 15 * MB) < 50 * MB, "{released}: the minutes of the TURN key alone");
    analytics.relay("key-id", "2025-01-15T13:15:00Z", 10 * MB, 0);
    broker.advance_to("2025-01-15T13:30:00Z");
    assert_eq!(read(&broker).await.unwrap(), ReadingOutcome::Unproven);
    assert_eq!((broker.used().await, &broker.status().await["boundHolds"]), (490 * MB, &json!(false)));
    let hint = broker.hint("COUNTS_MISSING").await.unwrap();
    assert!(hint.contains("the account of CALLS_APP_ID"), "{hint}");

    analytics.sfu(SFU_APP, "2025-01-15T12:01:00Z", 300 * MB, 0);
    assert_eq!(read(&broker).await.unwrap(), ReadingOutcome::Taken);
    assert_eq!((broker.used().await, &broker.status().await["boundHolds"]), (340 * MB, &json!(true)));
}

#[tokio::test]
async fn once_the_sfu_is_charged_no_hint_says_that_usage_cannot_be_seen() {
    let (_sfu, broker) = start(&[&[RATE], &COTURN[..]].concat()).await;
    let has_hint = async || broker.status().await["hints"].to_string().contains("NO_REPORTS");
    broker.mint().await;
    broker.advance(600);
    assert!(has_hint().await);
    let (_a, _b) = call(&broker).await;
    broker.advance(10);
    assert!(!has_hint().await);
}

#[tokio::test]
async fn a_spent_budget_closes_what_pulls_by_force_and_a_higher_limit_opens_it_again() {
    let (sfu, broker) = start(&[RATE, ("BANDWIDTH_LIMIT_GB", "1")]).await;
    let (a, b) = call(&broker).await;
    broker.advance(100);
    eventually("it is closed", async || sfu.tracks(&b.session) == 0).await;
    let closed = sfu.requests("/tracks/close");
    assert_eq!(closed.len(), 1, "a session that only sends costs nothing");
    let body: Value = serde_json::from_slice(&closed[0].body).unwrap();
    assert_eq!(body, json!({ "tracks": [{ "mid": "0" }], "force": true }));
    assert_eq!(closed[0].headers["authorization"], format!("Bearer {SFU_SECRET}"));
    eventually("it is noticed", async || pulled(&broker).await == 0).await;

    assert_eq!(b.pull(&a).await.error(), (429, "budget_exhausted"));
    let c = Page::join(&broker, "r").await;
    assert_eq!(c.push().await.status, 200, "a new session may open and send");
    assert_eq!(broker.get("/partytracks/generate-ice-servers").await.status, 200);

    assert_eq!(broker.set_limit(2).await.status, 200);
    assert_eq!(b.pull(&a).await.status, 200);
}

#[tokio::test]
async fn a_close_that_fails_is_tried_again() {
    let settings = [RATE, ("BANDWIDTH_LIMIT_GB", "1"), ("SFU_MBPS_PER_CLIENT", "100")];
    let (sfu, broker) = start(&settings).await;
    let (a, b) = call(&broker).await;
    sfu.next(SfuFault::Json(500));
    broker.advance(100);
    eventually("it was tried", async || sfu.requests("/tracks/close").len() == 1).await;
    assert_eq!((sfu.tracks(&b.session), pulled(&broker).await), (1, 1), "it is still charged");
    let refused = b.pull(&a).await;
    assert_eq!(refused.error(), (429, "budget_exhausted"), "and counts for its client");
    assert!(refused.header("retry-after").is_some());
    broker.advance(5);
    eventually("it is closed", async || sfu.tracks(&b.session) == 0).await;
}

#[tokio::test]
async fn while_minting_is_stopped_running_pulls_go_on_and_new_ones_wait() {
    let (sfu, broker) = start(&[RATE]).await;
    let (a, b) = call(&broker).await;
    assert_eq!(broker.freeze(true).await.status, 200);
    assert_eq!(b.pull(&a).await.error(), (429, "budget_exhausted"));
    assert_eq!((sfu.tracks(&b.session), pulled(&broker).await), (1, 1));
}
