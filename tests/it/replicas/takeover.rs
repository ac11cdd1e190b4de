//! What the next leader knows of clients and of what an operator has set through any replica, and which requests wait for it.

use super::{LEASE, STEP, TestReplica, pair};
use crate::support::prelude::*;

#[tokio::test]
async fn a_client_has_one_fresh_rate_allowance_after_a_takeover() {
    let (_database, leader, standby) = pair(&[("RATE_LIMIT_REQUESTS", "2")]).await;
    let statuses = async || {
        let mut statuses = vec![];
        for _ in 0..3 {
            statuses.push(standby.mint_from("203.0.113.9").await.status.as_u16());
        }
        statuses
    };
    assert_eq!(statuses().await, [200, 200, 429]);
    leader.kill().await;
    standby.takes_over().await;
    assert_eq!(statuses().await, [200, 200, 429]);
}

#[tokio::test]
async fn what_an_operator_sets_through_a_standby_is_kept_after_a_takeover() {
    let (_database, leader, standby) = pair(&[USERS]).await;
    let mint_as = async |user: &str| standby.mint_with(&user_token(user)).await;
    for (path, body) in [
        ("/api/users/ann/block", json!({})),
        ("/api/budget/limit", json!({"limitGB": 7})),
        ("/api/budget/freeze", json!({"frozen": true})),
    ] {
        assert_eq!(standby.post(OPERATOR, path, body).await.status, 200, "{path}");
    }
    assert_eq!(standby.open(REPORTER, "call-1").await.status, 201);
    leader.kill().await;
    standby.takes_over().await;
    assert_eq!(standby.open(REPORTER, "call-1").await.status, 200, "an open connection");
    let status = standby.status().await;
    assert_eq!(json!([status["bandwidthLimitGB"], status["frozen"]]), json!([7, true]));
    assert_eq!(standby.freeze(false).await.status, 200);
    assert_eq!(mint_as("ann").await.error(), (403, "USER_BLOCKED"));
    assert_eq!(mint_as("bob").await.status, 200);
}

#[tokio::test]
async fn what_a_leader_that_is_cut_off_refuses_waits_for_the_next_one() {
    let (database, leader, standby) = pair(&[]).await;
    database.set_cut_off(&leader.url, true);
    leader.clock.advance(LEASE * 4 / 5 + STEP);
    assert_eq!(standby.mint().await.error(), (503, "LEDGER_UNAVAILABLE"), "all may be cut off");
    // It sees no write.
    standby.has_looked().await;
    for _ in 0..2 {
        standby.step().await;
    }
    assert_eq!(standby.open("x", "c").await.status, 401, "what is answered is passed on");
    let held = async || standby.metric("turn_broker_forwarded_requests_total{outcome=\"held\"}").await;
    let before = held().await;
    let take_over = async {
        eventually("the mint waits", async || held().await > before).await;
        standby.takes_over().await;
    };
    let (minted, ()) = tokio::join!(standby.mint(), take_over);
    assert_eq!(minted.status, 200);
    assert_eq!(standby.status().await["grants"]["issued"], 1, "the one that was answered");
}

/// A replica that the others do not reach: nobody listens at this address.
async fn start_behind_firewall(database: &FakeDatabase, advertised: &str) -> TestReplica {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    TestReplica::start_as(advertised, listener, database, &[])
}

/// A leader that the others do not reach.
async fn unreached_leader(database: &FakeDatabase) -> TestReplica {
    let leader = start_behind_firewall(database, "http://127.0.0.1:1").await;
    leader.until_it_leads().await;
    eventually("the leader writes", async || database.row().seq > 1).await;
    leader
}

/// Waits until a standby has said that it does not reach the leader, and until the leader has read that.
async fn says_that_it_does_not_reach(database: &FakeDatabase, standby: &TestReplica) {
    let says = async || {
        standby.clock.advance(STEP);
        database.unreached() == 1
    };
    eventually("it says so", says).await;
    let looks = database.looks("http://127.0.0.1:1") + 3;
    eventually("the leader looks", async || database.looks("http://127.0.0.1:1") >= looks).await;
}

#[tokio::test]
async fn a_leader_whom_no_other_replica_reaches_gives_up_the_lead() {
    let database = FakeDatabase::new();
    let leader = unreached_leader(&database).await;
    let standby = TestReplica::start(&database, &[]).await;
    standby.takes_over().await;
    assert_eq!(leader.ended().await, Ended::Lost);
    assert_eq!(database.row().takeovers.latest(), Some(&*format!("{} 1", standby.url)), "it was released");
}

#[tokio::test]
async fn a_leader_that_answers_clients_of_its_own_keeps_the_lead_for_the_lease() {
    let database = FakeDatabase::new();
    let leader = unreached_leader(&database).await;
    let standby = TestReplica::start(&database, &[]).await;
    assert_eq!(leader.mint().await.status, 200);
    says_that_it_does_not_reach(&database, &standby).await;
    for path in ["/ready", "/api/bandwidth-status"] {
        leader.clock.advance(LEASE * 3 / 10);
        assert_eq!(leader.get(path).await.status, 200, "not of a client, and it leads");
    }
    leader.clock.advance(2 * STEP);
    assert_eq!(leader.ended().await, Ended::Lost);
}

#[tokio::test]
async fn a_replica_that_nobody_has_reached_does_not_oust_an_idle_leader() {
    let database = FakeDatabase::new();
    let leader = unreached_leader(&database).await;
    let standby = start_behind_firewall(&database, "http://127.0.0.2:2").await;
    says_that_it_does_not_reach(&database, &standby).await;
    assert!(leader.leads().await);
    let names_the_port = async || {
        leader.clock.advance(STEP);
        leader.status().await["hints"].to_string().contains("port 2 of 127.0.0.2 is closed for 127.0.0.1")
    };
    eventually("it names the port", names_the_port).await;
}

#[tokio::test]
async fn what_was_held_while_a_large_ledger_was_read_is_not_refused() {
    let (database, leader, standby) = pair(&[]).await;
    database.set_slow_read(Arc::clone(&standby.clock), 2 * LEASE);
    leader.shutdown.soft.cancel();
    assert_eq!(standby.mint().await.status, 200);
}
