//! What a leader does not do once its lease has ended: another replica may lead then, and knows more.

use std::time::Duration;

use serde_json::json;

use super::{LEASE, TestReplica, pair};

#[tokio::test]
async fn a_leader_without_a_lease_says_that_its_bound_does_not_hold() {
    let (database, leader, standby) = pair(&[]).await;
    let held = async |replica: &TestReplica| {
        let metrics = replica.operator("/metrics").await.text;
        let gauge = metrics.lines().find_map(|line| line.strip_prefix("turn_broker_bound_holds "));
        let gauge = gauge.map(|value| value == "1");
        let overview = replica.operator("/api/overview").await.json();
        (replica.status().await["boundHolds"].clone(), overview["status"]["boundHolds"].clone(), gauge)
    };
    assert_eq!(held(&leader).await, (json!(true), json!(true), Some(true)));
    database.set_cut_off(&leader.url, true);
    leader.clock.advance(LEASE * 4 / 5 + Duration::from_millis(1));
    assert_eq!(held(&leader).await, (json!(false), json!(false), Some(false)));
    standby.takes_over().await;
    assert_eq!(held(&leader).await, (json!(false), json!(false), Some(false)), "it does not know yet");
}
