//! The rotation of the TURN key by the replica that leads.

use std::time::Duration;

use serde_json::{Value, json};

use super::{TestReplica, pair};
use crate::support::{FakeCloudflare, eventually};

const DAY: Duration = Duration::from_secs(86_400);
const API_TOKEN: &str = "rest-fixture-token";

async fn rotation(replica: &TestReplica) -> Value {
    replica.operator("/api/overview").await.json()["provider"]["rotation"].take()
}

/// Waits until the leader mints with this created key.
async fn mints_with(replica: &TestReplica, key: &str) {
    eventually(key, async || rotation(replica).await["key"] == key).await;
}

#[tokio::test]
async fn the_next_leader_goes_on_with_the_keys_that_the_leader_has_created() {
    let cloudflare = FakeCloudflare::start().await;
    cloudflare.turn_keys().require_token(API_TOKEN);
    let base = cloudflare.base_url();
    let settings = [
        ("DATABASE_URL", "postgres://db.example/turn"),
        ("ICE_SOURCES", "cloudflare"),
        ("CLOUDFLARE_API_BASE", base.as_str()),
        ("CLOUDFLARE_REST_BASE", base.as_str()),
        ("CLOUDFLARE_ACCOUNT_ID", "account"),
        ("CLOUDFLARE_API_TOKEN", API_TOKEN),
        ("KEY_ROTATION_DAYS", "1"),
    ];
    let (_database, leader, standby) = pair(&settings).await;
    mints_with(&leader, "auto-1").await;
    leader.kill().await;
    standby.takes_over().await;
    assert_eq!(rotation(&standby).await["key"], "auto-1");
    assert_eq!(standby.mint().await.json()["source"], "cloudflare");
    assert_eq!(cloudflare.turn_keys().made(), 1, "its secret is in the ledger");

    standby.clock.advance(DAY);
    mints_with(&standby, "auto-2").await;
    assert_eq!((cloudflare.turn_keys().made(), rotation(&standby).await["failures"].clone()), (2, json!(0)));
}
