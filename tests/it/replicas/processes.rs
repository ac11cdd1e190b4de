//! Two real processes on one database: one is killed, paused or ended, and the other one takes over.

use serde_json::Value;

use crate::support::postgres::TestDatabase;
use crate::support::process::Process;
use crate::support::{Answer, COTURN, OPERATOR, eventually, http_client};

/// The exit status of a replica that has lost its lead.
const LOST: i32 = 75;

/// Starts a replica whose lease is as short as it may be.
fn start(database: &TestDatabase) -> Process {
    let url = database.url();
    let own = [
        ("DATABASE_URL", url.as_str()),
        ("DATABASE_SCHEMA", database.schema.as_str()),
        ("LEASE_SECONDS", "2"),
        ("OPERATOR_TOKEN", OPERATOR),
        ("RUST_LOG", "info"),
    ];
    Process::start(&[&own[..], &COTURN[..]].concat())
}

async fn get(process: &Process, path: &str) -> Answer {
    Answer::of(http_client().get(process.url(path))).await
}

async fn leads(process: &Process) {
    eventually("it leads", async || get(process, "/leader").await.status == 200).await;
}

/// Two replicas of which the first one leads and the second one can serve.
async fn pair(database: &TestDatabase) -> (Process, Process) {
    let first = start(database);
    leads(&first).await;
    let second = start(database);
    eventually("it forwards", async || get(&second, "/api/bandwidth-status").await.status == 200).await;
    (first, second)
}

async fn issued(process: &Process) -> Value {
    get(process, "/api/bandwidth-status").await.json()["grants"]["issued"].clone()
}

#[tokio::test]
async fn what_a_killed_leader_has_answered_is_known_to_the_next_one() {
    let Some(database) = TestDatabase::new() else { return };
    let (first, second) = pair(&database).await;
    assert_eq!(get(&second, "/api/turn-credentials").await.status, 200, "over the standby");
    first.signal("-KILL");
    assert_eq!(get(&second, "/api/turn-credentials").await.status, 200, "it is held until somebody leads");
    assert_eq!((get(&second, "/leader").await.status.as_u16(), issued(&second).await), (200, 2.into()));
    second.signal("-TERM");
    assert_eq!(second.finish().1, Some(0));
}

#[tokio::test]
async fn a_leader_that_was_paused_for_too_long_answers_no_mint_and_ends() {
    let Some(database) = TestDatabase::new() else { return };
    let (first, second) = pair(&database).await;
    first.signal("-STOP");
    assert_eq!(get(&second, "/api/turn-credentials").await.status, 200, "after the lease");
    leads(&second).await;
    first.signal("-CONT");
    let refused = http_client().get(first.url("/api/turn-credentials")).send().await;
    assert!(refused.is_err() || refused.is_ok_and(|answer| answer.status() == 503));
    assert_eq!(first.finish().1, Some(LOST));
    assert_eq!(issued(&second).await, 1);
}

#[tokio::test]
async fn a_leader_that_is_told_to_end_hands_over() {
    let Some(database) = TestDatabase::new() else { return };
    let (first, second) = pair(&database).await;
    assert_eq!(get(&first, "/api/turn-credentials").await.status, 200);
    first.signal("-TERM");
    leads(&second).await;
    assert_eq!((first.finish().1, issued(&second).await), (Some(0), 1.into()));
}
