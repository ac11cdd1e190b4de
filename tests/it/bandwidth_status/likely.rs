//! The figure and the hint of what is likely: usage at the rate that counts have shown.

use crate::measured::probe::count_probes;
use crate::measured::{meter, read, read_twice, with_analytics};
use crate::support::prelude::*;

const MB: u64 = 1_000_000;

#[tokio::test]
async fn the_likely_overshoot_continues_the_highest_hourly_average() {
    let settings = [("TURN_TTL_SECONDS", "3600"), ("BANDWIDTH_LIMIT_GB", "1")];
    let (cloudflare, broker) = with_analytics(&settings).await;
    assert_eq!(broker.status().await["likelyOvershootGB"], Value::Null, "nothing is counted");
    read(&broker).await.unwrap();
    for _ in 0..2 {
        broker.mint().await;
    }
    let status = broker.status().await;
    let figures = |status: &Value| (status["overshootBoundGB"].clone(), status["likelyOvershootGB"].clone());
    assert_eq!(figures(&status), (json!("4.55"), json!("0.00")), "no count has shown a rate");
    assert!(!hint_codes(&status).contains(&"BOUND_ABOVE_LIMIT"));

    // One of the two credentials relays at the assumed rate: 1 Mbps for each on average. By the provider's clock, which is behind, it has
    // begun two minutes before.
    let minutes =
        (58..60).map(|minute| format!("11:{minute}")).chain((0..20).map(|minute| format!("12:{minute:02}")));
    for minute in minutes {
        cloudflare.analytics().relay("key-id", &format!("2025-01-15T{minute}:00Z"), 15 * MB, 0);
    }
    broker.advance(1_740);
    read_twice(&broker).await;
    let status = broker.status().await;
    // 22 minutes are counted. Both relay 7.5 MB in each of the 163 others, until 15:03.
    assert_eq!(json!([status["likelyOvershootGB"], status["observedMbpsPerGrant"]]), json!(["1.78", 1]));
    let hints = status["hints"].as_array().unwrap();
    let message = hints.iter().find(|hint| hint["code"] == "BOUND_ABOVE_LIMIT").unwrap();
    let expected = "Usage can pass the limit. Live credentials take it 1.78 GB past the limit if each relays 1 Mbps, the average of one in the busiest hour of this period. A shorter TURN_TTL_SECONDS lowers it. Wait until some credentials have ended, or raise the limit.";
    assert_eq!(message["message"], expected);
}

#[tokio::test]
async fn the_likely_overshoot_is_never_above_the_bound() {
    let settings = [("TURN_TTL_SECONDS", "14400"), ("BANDWIDTH_LIMIT_GB", "1")];
    let (cloudflare, broker) = with_analytics(&settings).await;
    read(&broker).await.unwrap();
    broker.mint().await;
    // An hour at 3 Mbps, more than is assumed; then nothing.
    for minute in 0..60 {
        cloudflare.analytics().relay("key-id", &format!("2025-01-15T12:{minute:02}:00Z"), 45 * MB / 2, 0);
    }
    for seconds in [4_200, 4_200, 3_600] {
        broker.advance(seconds);
        read(&broker).await.unwrap();
    }
    let status = broker.status().await;
    assert!(status["boundAssumes"].as_str().unwrap().starts_with("2 Mbps per grant"), "{status}");
    assert_eq!(status["likelyOvershootGB"], status["overshootBoundGB"]);
}

/// The settings of docs/OPERATE.md without those whose value the reader has to find.
fn production() -> Vec<(&'static str, &'static str)> {
    const PAGE: &str = include_str!("../../../docs/OPERATE.md");
    let (_, block) = PAGE.split_once("```ini\n").unwrap();
    let (block, _) = block.split_once("```").unwrap();
    let settings: Vec<_> = block.lines().filter_map(|line| line.trim().split_once('=')).collect();
    assert!(settings.len() > 8, "{settings:?}");
    settings.into_iter().filter(|(_, value)| !value.starts_with("the ")).collect()
}

#[tokio::test]
async fn the_production_settings_give_no_hint_with_300_idle_callers_a_day() {
    let state = StateDir::on_disk();
    let settings = [&production()[..], &[("STATE_DIR", state.path()), ("RELAY_PROBE", "on")]].concat();
    let (cloudflare, broker) = with_analytics(&settings).await;
    let relay = TurnServer::start(RELAYED, cloudflare.history()).await;
    cloudflare.relays_at(&[relay.url()]);
    let mut counted = BTreeSet::new();
    let mut total = MeterState::default();
    // Half a day, in which the first credentials and their tails end.
    for caller in 0..150 {
        let minted = broker.mint().await.json();
        assert_eq!(minted["source"], "cloudflare", "caller {caller}");
        count_probes(&cloudflare, "key-id", &mut counted);
        meter(&broker).read(&mut total).await.unwrap();
        meter(&broker).read_by_grant(PageBounds::default()).await.unwrap();
        let status = broker.status().await;
        assert_eq!(status["hints"], json!([]), "caller {caller}");
        assert_eq!(status["overshootBoundGB"], "0.00", "caller {caller}: TURN_TTL_SECONDS is short");
        broker.advance(288);
    }
    assert!(counted.len() > 20, "one each half hour: {counted:?}");
}
