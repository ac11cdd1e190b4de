//! Who leads, what a replica says of itself, and what a change of the lead keeps.

use turn_broker::lead::Replica;

use super::{LEASE, TestReplica, pair};
use crate::support::prelude::*;

#[tokio::test]
async fn one_replica_leads_and_both_serve() {
    let (_database, leader, standby) = pair(&[]).await;
    for (replica, role) in [(&leader, "leader"), (&standby, "standby")] {
        assert_eq!(replica.get("/health").await.json()["role"], role);
        assert_eq!(replica.get("/ready").await.status, 200, "{role}");
        assert_eq!(replica.mint().await.status, 200, "{role}");
    }
    assert_eq!(leader.get("/leader").await.json(), json!({"role": "leader"}));
    assert_eq!(standby.get("/leader").await.error(), (503, "NO_LEADER"));
    for (replica, leads, issued) in [(&leader, "1", true), (&standby, "0", false)] {
        let metrics = replica.operator("/metrics").await.text;
        assert!(metrics.contains(&format!("turn_broker_leads {leads}\n")), "{metrics}");
        assert_eq!(metrics.contains("turn_broker_used_bytes"), issued, "figures are the leader's");
    }
    assert_eq!(standby.get("/metrics").await.error(), (401, "UNAUTHORIZED"));
    let listed = async || {
        let replicas = standby.operator("/api/overview").await.json()["replicas"].clone();
        let named = |url: &str, leads: bool| {
            let seen =
                json!({"url": url, "version": "1.2.3", "leads": leads, "seenAt": "1970-01-01T00:00:00.000Z"});
            replicas.as_array().unwrap().contains(&seen)
        };
        named(&leader.url, true) && named(&standby.url, false)
    };
    eventually("the overview lists both", listed).await;
}

#[tokio::test]
async fn after_a_kill_the_standby_leads_with_all_that_was_answered() {
    let (database, leader, standby) = pair(&[]).await;
    let grant = leader.mint().await.grant();
    standby.mint().await;
    assert_eq!(leader.open(&grant, "c").await.status, 201);
    let figures = |status: serde_json::Value| {
        ["reservedGB", "grants", "activeConnections"].map(|field| status[field].clone())
    };
    let seen = database.row().seq;
    eventually("the connection is stored", async || database.row().seq > seen + 1).await;
    let before = figures(standby.status().await);
    leader.kill().await;
    standby.takes_over().await;
    assert_eq!(figures(standby.status().await), before);
    let beat = standby.heartbeat(&grant, "c", json!({"bytesReceived": 5})).await;
    assert_eq!(beat.status, 200, "a grant of the former leader");
    assert_eq!(database.row().epoch, 2);
    let is_hinted = async || hint_codes(&standby.status().await).contains(&"LEADER_LOST");
    assert!(is_hinted().await);
    let latest = async || standby.operator("/api/alerts").await.json()["alerts"][0]["event"].clone();
    eventually("the operator learns it", async || latest().await == "leader.lost").await;
    standby.clock.advance(Duration::from_secs(600));
    assert!(!is_hinted().await, "it has led for ten minutes");
}

#[tokio::test]
async fn a_shutdown_hands_the_lead_over_without_a_lease_and_refuses_nothing() {
    let (database, leader, standby) = pair(&[]).await;
    let grant = leader.mint().await.grant();
    leader.shutdown.soft.cancel();
    // These come while one replica ends and the other has not begun.
    let open = |id: &'static str| standby.open(&grant, id);
    let (opened, minted, ended) = tokio::join!(open("a"), standby.mint(), leader.ended());
    assert_eq!((ended, opened.status.as_u16(), minted.status.as_u16()), (Ended::Drained, 201, 200));
    standby.until_it_leads().await;
    assert_eq!(database.row().epoch, 2);
    let status = standby.status().await;
    assert_eq!(status["grants"]["issued"], 2);
    assert!(!hint_codes(&status).contains(&"LEADER_LOST"), "it has ended as it should");
}

#[tokio::test]
async fn a_mint_that_takes_longer_than_the_handover_is_answered_by_the_next_leader() {
    for limit_action in ["refuse", "fallback"] {
        mint_during_a_handover(limit_action).await;
    }
}

/// The provider answers after the ledger was released.
async fn mint_during_a_handover(limit_action: &str) {
    let cloudflare = FakeCloudflare::start().await;
    let base = cloudflare.base_url();
    let settings = [
        ("ICE_SOURCES", "cloudflare"),
        ("CLOUDFLARE_API_BASE", base.as_str()),
        ("CLOUDFLARE_TURN_KEY_ID", "key-id"),
        ("CLOUDFLARE_TURN_API_TOKEN", API_TOKEN),
        ("LIMIT_ACTION", limit_action),
    ];
    let (database, leader, standby) = pair(&settings).await;
    let probed = async || cloudflare.history().probes() > 0;
    eventually("the leader has tried its key", probed).await;
    let before = cloudflare.history().mints();
    cloudflare.next(Fault::Latency(Duration::from_millis(1_500)));
    let shut_down = async {
        eventually("the provider is asked", async || cloudflare.history().mints() > before).await;
        // So that the old leader has refused the credential before there is a new one.
        database.set_cut_off(&standby.url, true);
        leader.shutdown.soft.cancel();
        leader.ended().await;
        database.set_cut_off(&standby.url, false);
        standby.until_it_leads().await;
    };
    let (minted, ()) = tokio::join!(standby.mint(), shut_down);
    assert_eq!(
        (minted.status.as_u16(), &minted.json()["source"]),
        (200, &json!("cloudflare")),
        "{}",
        minted.text
    );
    assert_eq!(standby.status().await["grants"]["issued"], 1, "the first one was not recorded");
    assert_eq!(database.row().epoch, 2);
}

#[tokio::test]
async fn a_leader_that_is_cut_off_stops_minting_before_another_one_leads_and_then_ends() {
    let (database, leader, standby) = pair(&[("SIGNALING", "yjs")]).await;
    let mut socket = SocketClient::open(leader.address, "/yjs", &[]).await.unwrap();
    database.set_cut_off(&leader.url, true);
    leader.clock.advance(LEASE * 4 / 5 + Duration::from_millis(1));
    for replica in [&leader, &standby] {
        assert_eq!(replica.get("/ready").await.error(), (503, "LEDGER_UNAVAILABLE"));
    }
    assert_eq!(leader.get("/leader").await.error(), (503, "NO_LEADER"));
    let refused = leader.mint().await;
    assert_eq!(refused.error(), (503, "LEDGER_UNAVAILABLE"));
    let minting = leader.status().await["minting"].clone();
    assert_eq!(minting["code"], "LEDGER_UNAVAILABLE");
    // A caller is not told about the replicas.
    assert!(minting["message"].as_str().unwrap().contains("not sure that it still leads"), "{minting}");
    assert!(!refused.text.contains("not sure that it still leads"), "{}", refused.text);
    assert_eq!(leader.get("/api/bandwidth-status").await.status, 200, "what is not stored is answered");
    assert_eq!(leader.set_limit(7).await.error(), (503, "NO_LEADER"));
    assert_eq!(leader.status().await["bandwidthLimitGB"], 1_000, "nothing was changed");
    assert!(!standby.leads().await, "its lease has not passed");
    standby.takes_over().await;
    assert_eq!(standby.mint().await.status, 200);

    database.set_cut_off(&leader.url, false);
    assert_eq!(socket.closed().await.0, 1012);
    assert_eq!(leader.ended().await, Ended::Lost);
    assert_eq!(standby.status().await["grants"]["issued"], 1);
}

#[tokio::test]
async fn the_leader_alone_sends_alerts() {
    let webhook = FakeWebhook::start(&[]).await;
    let url = webhook.url();
    let (_database, leader, standby) =
        pair(&[("ALERT_WEBHOOK_URL", url.as_str()), ("BANDWIDTH_LIMIT_GB", "0.01")]).await;
    let opened =
        standby.post(REPORTER, "/api/connections", json!({"connectionId": "c", "relayed": true})).await;
    assert_eq!(opened.status, 201, "{}", opened.text);
    leader.clock.advance(Duration::from_secs(1));
    let counted = json!({"bytesReceived": 12_000_000, "relayed": true});
    assert_eq!(standby.heartbeat(REPORTER, "c", counted).await.status, 200);
    webhook.wait_for(1).await;
    let events: Vec<_> = webhook.history().iter().map(|alert| alert.json()["event"].clone()).collect();
    assert_eq!(events, ["budget.used_100"]);
    leader.kill().await;
    standby.takes_over().await;
    let known = standby.operator("/api/alerts").await.json();
    let sent = &webhook.history()[0].json()["id"];
    let is_known = known["alerts"].as_array().unwrap().iter().any(|alert| alert["id"] == *sent);
    assert!(is_known, "it is stored before it is sent: {known}");
}

/// A pause of the process: the time since boot passes, its own timers do not.
#[tokio::test]
async fn the_lease_runs_while_the_machine_sleeps_and_whatever_the_wall_clock_says() {
    let (database, leader, _standby) = pair(&[]).await;
    database.set_cut_off(&leader.url, true);
    leader.clock.set_wall("2025-01-15T18:00:00Z");
    assert_eq!(leader.get("/leader").await.status, 200);
    let hints = async || hint_codes(&leader.status().await).join(" ");
    assert!(!hints().await.contains("NOT_LEADING"));
    leader.clock.suspend(LEASE);
    assert_eq!(leader.get("/leader").await.status, 503);
    assert!(hints().await.contains("NOT_LEADING"));
    database.set_cut_off(&leader.url, false);
    leader.until_it_leads().await;
    assert!(!hints().await.contains("NOT_LEADING"));
    assert_eq!(database.row().epoch, 1, "the same one goes on");
}

#[tokio::test]
async fn the_lease_counts_from_the_start_of_a_write() {
    let (database, leader, _standby) = pair(&[]).await;
    database.set_slow(Arc::clone(&leader.clock), LEASE * 4 / 5 + Duration::from_millis(1));
    let seq = database.row().seq;
    eventually("a write", async || database.row().seq > seq).await;
    for _ in 0..10 {
        assert_eq!(leader.get("/leader").await.status, 503);
    }
    database.set_slow(Arc::clone(&leader.clock), LEASE * 3 / 4);
    leader.until_it_leads().await;
}

#[tokio::test]
async fn a_standby_whose_wall_clock_is_ahead_continues_the_time_of_the_books() {
    let (database, leader, standby) = pair(&[]).await;
    let seq = database.row().seq;
    eventually("the standby sees a write", async || database.row().seq > seq + 1).await;
    standby.clock.set_wall("2025-01-15T13:00:00Z");
    leader.kill().await;
    standby.takes_over().await;
    let overview = standby.operator("/api/overview").await.json();
    assert!(overview["at"].as_str().unwrap() < "2025-01-15T12:05", "{overview}");
    let mut of_clock = hint_codes(&overview["status"]);
    of_clock.retain(|code| *code != "LEADER_LOST");
    assert_eq!(of_clock, ["CLOCK_WRONG", "CLOCK_DISAGREES"]);
    assert_eq!(overview["status"]["boundHolds"], false, "nobody knows which clock is right");
    let told = standby.hint("CLOCK_DISAGREES").await.unwrap();
    assert!(told.contains("jumped ahead"), "the standby followed the leader's time: {told}");
}

#[tokio::test]
async fn a_standby_that_ends_closes_what_it_forwards() {
    let (_database, leader, standby) = pair(&[("SIGNALING", "yjs")]).await;
    let mut socket = SocketClient::open(standby.address, "/yjs", &[]).await.unwrap();
    socket.send(r#"{"type":"subscribe","topics":["t"]}"#).await;
    let mut other = SocketClient::open(leader.address, "/yjs", &[]).await.unwrap();
    let long = format!(r#"{{"type":"publish","topic":"t","data":"{}"}}"#, "x".repeat(2_000));
    other.send(&long).await;
    assert!(matches!(socket.next().await, Got::Text(_)), "so that a frame with a long header was passed on");
    standby.shutdown.soft.cancel();
    assert_eq!(socket.closed().await.0, 1001);
    assert_eq!(standby.ended().await, Ended::Drained);
    assert!(leader.leads().await);
}

#[tokio::test]
async fn writes_that_the_database_has_lost_are_stated() {
    let (database, leader, standby) = pair(&[]).await;
    leader.mint().await;
    let seen = database.row().seq;
    eventually("some writes", async || database.row().seq > seen + 2).await;
    assert!(!standby.has_hint("LEDGER_LOST_WRITES").await);
    // So that the standby is the one that notices.
    database.set_cut_off(&leader.url, true);
    standby.has_looked().await;
    database.lose_writes(2);
    standby.until_it_leads().await;
    let status = standby.status().await;
    assert!(hint_codes(&status).contains(&"LEDGER_LOST_WRITES"), "{status}");
    database.set_cut_off(&leader.url, false);
    assert_eq!(leader.ended().await, Ended::Lost);
    // It is stored, so the next leader knows it too.
    let next = TestReplica::start(&database, &[]).await;
    next.until_it_forwards().await;
    standby.shutdown.soft.cancel();
    next.until_it_leads().await;
    assert!(next.has_hint("LEDGER_LOST_WRITES").await);
}

#[tokio::test]
async fn a_version_that_is_too_old_forwards_says_so_and_does_not_lead() {
    let (database, leader, standby) = pair(&[]).await;
    database.change_row(|row| row.format += 1);
    let warns = async || {
        let warning = standby.operator("/ready").await.json()["warning"].clone();
        warning.as_str().is_some_and(|text| text.starts_with("Upgrade this replica"))
    };
    eventually("it says so", warns).await;
    assert_eq!(standby.mint().await.status, 200);
    leader.shutdown.soft.cancel();
    assert_eq!(leader.ended().await, Ended::Drained);
    standby.has_looked().await;
    standby.clock.advance(Duration::from_secs(9));
    standby.has_looked().await;
    let (seen, told) = (standby.get("/ready").await, standby.operator("/ready").await.json());
    assert_eq!(seen.error(), (503, "NO_LEADER"));
    assert_eq!(seen.json()["message"], "Run turn-broker doctor with the settings of this replica.");
    assert!(told["message"].as_str().unwrap().starts_with("Upgrade this replica"), "{told}");
    assert_eq!(database.row().epoch, 1);
}

#[tokio::test]
async fn a_standby_with_other_settings_says_so() {
    let database = FakeDatabase::new();
    let leader = TestReplica::start(&database, &[]).await;
    leader.until_it_leads().await;
    let version = Some(env!("CARGO_PKG_VERSION").to_owned());
    database.change_row(|row| (row.settings, row.version) = (Some("another digest".into()), version));
    let standby = TestReplica::start(&database, &[]).await;
    standby.until_it_forwards().await;
    let ready = standby.operator("/ready").await.json();
    assert!(ready["warning"].as_str().unwrap().starts_with("Give all replicas the same settings"), "{ready}");
    database.add_replica(Replica {
        url: "http://10.0.0.9:3001".into(),
        version: env!("CARGO_PKG_VERSION").into(),
        settings: Some("that of another deployment".into()),
        seen_at: Timestamp::default(),
        clock_ahead_millis: 0,
        is_live: true,
        unreached: None,
        gave_up: false,
        was_reached: true,
    });
    let says = async || hint_codes(&leader.status().await).contains(&"REPLICAS_DIFFER");
    eventually("the leader says so, too", says).await;
}

#[tokio::test]
async fn a_setting_that_cannot_work_ends_the_process_before_it_stands() {
    let database = FakeDatabase::new();
    let relay = [("ICE_SOURCES", "relay"), ("RELAY_LISTEN", "10.255.255.254:1")];
    let settings = [&COTURN[1..], &relay[..]].concat();
    let mut replica = TestReplica::start(&database, &settings).await;
    assert!((&mut replica.service).await.is_err());
    assert_eq!(database.row().epoch, 0);
}

#[tokio::test]
async fn a_replica_that_does_not_reach_the_database_says_why() {
    let database = FakeDatabase::new();
    let message = async |replica: &TestReplica| {
        let message = replica.operator("/ready").await.json()["message"].clone();
        message.as_str().unwrap_or_default().to_owned()
    };
    let standby = TestReplica::start_cut_off(&database, &[]).await;
    let said = "Run turn-broker doctor with the settings of this replica: cut off by the test.";
    eventually("the standby says it", async || message(&standby).await.starts_with(said)).await;
    let leader = TestReplica::start(&database, &[]).await;
    leader.until_it_leads().await;
    database.set_cut_off(&leader.url, true);
    let said = "The last write failed: cut off by the test.";
    eventually("the leader says it", async || message(&leader).await.contains(said)).await;
    assert!(!leader.mint().await.json()["message"].as_str().unwrap().contains(said), "not to everybody");
}
