//! The probe: a count without bytes is believed only if it shows what the broker relayed to itself.

use crate::support::prelude::*;
use chrono::SecondsFormat;

use super::{meter, with_analytics};

async fn read(broker: &TestBroker, state: &mut MeterState) -> ReadingOutcome {
    meter(broker).read(state).await.unwrap()
}

/// A broker with a live credential, whose count has settled twenty minutes later and shows no bytes.
async fn idle() -> (FakeCloudflare, TestBroker) {
    let (cloudflare, broker) = with_analytics(&[("RELAY_PROBE", "on")]).await;
    broker.mint().await;
    broker.advance(1_200);
    (cloudflare, broker)
}

/// A probe may end in the next minute, and the provider's clock may be two minutes ahead.
const LABELLED_LATER: u64 = 200_000;

/// The provider counts each probe that was made with this TURN key, once.
pub(crate) fn count_probes(cloudflare: &FakeCloudflare, key_id: &str, counted: &mut BTreeSet<String>) {
    let requests = cloudflare.history().requests().into_iter();
    for request in requests.filter(|request| request.key_id.as_deref() == Some(key_id)) {
        let Some(identifier) = request.custom_identifier else { continue };
        let minute = identifier.strip_prefix("turn-broker-probe-").and_then(|minute| minute.parse().ok());
        if let Some(minute) = minute.filter(|_| !counted.contains(&identifier)) {
            let at = Minute::new(minute).start().plus_millis(LABELLED_LATER);
            let at = at.to_utc().to_rfc3339_opts(SecondsFormat::Secs, true);
            cloudflare.analytics().relay_as(key_id, &identifier, &at, 300_000, 300_000);
            counted.insert(identifier);
        }
    }
}

fn counted_until(status: &Value) -> &str {
    status["asOf"].as_str().unwrap_or_default()
}

#[tokio::test]
async fn a_count_without_bytes_releases_nothing_until_it_shows_the_probe() {
    let (cloudflare, broker) = idle().await;
    let relay = TurnServer::start(RELAYED, cloudflare.history()).await;
    cloudflare.relays_at(&[relay.url()]);
    let mut state = MeterState::default();
    let reserved = broker.status().await["reservedGB"].clone();
    assert_eq!(read(&broker, &mut state).await, ReadingOutcome::Unproven);
    let status = broker.status().await;
    assert_eq!(json!([status["reservedGB"], status["usedBytes"]]), json!([reserved, 300_000]));
    assert_eq!(json!([status["boundHolds"], status["stale"]]), json!([true, false]));
    assert!(!hint_codes(&status).contains(&"NO_PROBE"));
    // 12:20 of that day.
    let probe = "turn-broker-probe-28949060";
    let asked = cloudflare.history().requests();
    // Its credential has its own name.
    assert!(asked.iter().any(|request| request.custom_identifier.as_deref() == Some(probe)));

    broker.advance(840);
    assert_eq!(read(&broker, &mut state).await, ReadingOutcome::Unproven, "it is not counted");
    assert_eq!(cloudflare.history().mints(), 2, "and no second one is made within half an hour");
    count_probes(&cloudflare, "key-id", &mut BTreeSet::new());
    assert_eq!(read(&broker, &mut state).await, ReadingOutcome::Taken);
    let status = broker.status().await;
    assert_eq!(counted_until(&status), "2025-01-15T12:24:00.000Z");
    assert_eq!(json!([status["usedBytes"], status["boundHolds"]]), json!([300_000, true]));
    assert_eq!(broker.app.account.read(|books| books.grants().unknown_bytes().get()), 0);
}

#[tokio::test]
async fn a_probe_is_named_by_cloudflares_clock_while_the_wall_clock_is_ahead() {
    let (cloudflare, broker) = idle().await;
    let relay = TurnServer::start(RELAYED, cloudflare.history()).await;
    cloudflare.relays_at(&[relay.url()]);
    cloudflare.set_date("Wed, 15 Jan 2025 12:20:00 GMT");
    broker.set_wall("2025-01-15T13:20:00Z");
    let mut state = MeterState::default();
    assert_eq!(read(&broker, &mut state).await, ReadingOutcome::Unproven);
    let asked = cloudflare.history().requests();
    let probe = Some("turn-broker-probe-28949060");
    assert!(asked.iter().any(|request| request.custom_identifier.as_deref() == probe), "12:20 of that day");
}

#[tokio::test]
async fn without_a_way_for_udp_a_count_is_believed_and_the_status_says_so() {
    let (cloudflare, broker) = idle().await;
    cloudflare.relays_at(&["turns:turn.example.com:443?transport=tcp".into()]);
    let mut state = MeterState::default();
    assert_eq!(read(&broker, &mut state).await, ReadingOutcome::Unproven, "the way is tried first");
    assert_eq!(read(&broker, &mut state).await, ReadingOutcome::Taken);
    let status = broker.status().await;
    assert_eq!(counted_until(&status), "2025-01-15T12:10:00.000Z");
    let assumed = "2 Mbps per grant until 7200 s after expiry, and that counts without bytes are right";
    assert_eq!(json!([status["boundAssumes"], status["boundHolds"]]), json!([assumed, true]));
    assert!(hint_codes(&status).contains(&"NO_PROBE"));

    broker.advance(1_800);
    read(&broker, &mut state).await;
    // No further probe is charged that relays nothing.
    assert_eq!(broker.status().await["usedBytes"], 300_000);

    // Half an hour later there is a way.
    let relay = TurnServer::start(RELAYED, cloudflare.history()).await;
    cloudflare.relays_at(&[relay.url()]);
    broker.advance(1_800);
    read(&broker, &mut state).await;
    assert!(!broker.has_hint("NO_PROBE").await);
    assert_eq!(broker.status().await["usedBytes"], 600_000);
}
