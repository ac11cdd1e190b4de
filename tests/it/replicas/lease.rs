//! What a leader does not do once its lease has ended: another replica may lead then, and knows more.

use turn_broker::alert::ServiceFacts;
use turn_broker::alert::dispatcher::Outbox;
use turn_broker::app;
use turn_broker::app::process::Process;
use turn_broker::lead::Lead;
use turn_broker::lead::lease::Lease;

use super::{LEASE, TestReplica, pair};
use crate::support::prelude::*;

#[tokio::test]
async fn a_leader_without_a_lease_ends_no_session_at_coturn() {
    let coturn = FakeCoturnCli::start().await;
    let address = coturn.config().address;
    let settings = [("COTURN_CLI", &*address), ("COTURN_CLI_PASSWORD", PASSWORD), ("TURN_TTL_SECONDS", "60")];
    let (database, leader, _standby) = pair(&settings).await;
    let minted = leader.mint().await.json();
    let user = minted["iceServers"][0]["username"].as_str().unwrap();
    coturn.set_sessions([FakeSession::new(1, user)]);
    let count = |name: &str| coturn.commands().iter().filter(|command| command.starts_with(name)).count();

    database.set_cut_off(&leader.url, true);
    leader.clock.advance(Duration::from_secs(61));
    let listed = count("ps");
    eventually("it lists the sessions on", async || count("ps") > listed + 1).await;
    assert_eq!(count("cs "), 0);
    database.set_cut_off(&leader.url, false);
    eventually("the same leader goes on", async || count("cs ") > 0).await;
}

/// Calls the SFU through a replica.
async fn call_sfu(replica: &TestReplica, method: Method, call: &str, body: &Value) -> Value {
    let request = replica.request(method, &format!("/partytracks/sessions/{call}"));
    let body = if body.is_null() { String::new() } else { body.to_string() };
    let answer = Answer::of(request.body(body)).await;
    assert!(answer.status.is_success(), "{}", answer.text);
    answer.json()
}

#[tokio::test]
async fn a_leader_without_a_lease_closes_no_session_of_the_sfu() {
    let sfu = FakeSfu::start().await;
    let url = sfu.url();
    let of_test = [
        ("SFU_LOCK", "off"),
        ("SFU_MBPS_PER_CLIENT", "10000"),
        // One track has 80 Mbps, so it takes 100 s.
        ("ESTIMATED_MBPS_PER_CONNECTION", "80"),
        ("BANDWIDTH_LIMIT_GB", "1"),
    ];
    let (database, leader, _standby) = pair(&[&sfu_at(&url)[..], &of_test].concat()).await;
    let mut sessions = vec![];
    for _ in 0..2 {
        let opened = call_sfu(&leader, Method::POST, "new?correlationId=r", &Value::Null).await;
        sessions.push(opened["sessionId"].as_str().unwrap().to_owned());
    }
    let [from, to] = &sessions[..] else { unreachable!() };
    let pushed = json!({"tracks": [{"location": "local", "trackName": "video", "mid": "0"}]});
    call_sfu(&leader, Method::POST, &format!("{from}/tracks/new"), &pushed).await;
    let pulled = json!({"tracks": [{"location": "remote", "sessionId": from, "trackName": "video"}]});
    call_sfu(&leader, Method::POST, &format!("{to}/tracks/new"), &pulled).await;
    let connected = json!({"sessionDescription": {"type": "answer", "sdp": "v=0"}});
    call_sfu(&leader, Method::PUT, &format!("{to}/renegotiate"), &connected).await;
    let is_charged =
        async || leader.operator("/metrics").await.text.contains("turn_broker_sfu_pulled_tracks 1\n");
    eventually("the SFU reports it active", is_charged).await;

    database.set_cut_off(&leader.url, true);
    let looks = || sfu.history().iter().filter(|request| request.method == Method::GET).count();
    for _ in 0..2 {
        let before = looks();
        leader.clock.advance(Duration::from_secs(60));
        eventually("it looks at the sessions on", async || looks() > before).await;
    }
    assert_eq!(leader.status().await["status"], "LIMIT_EXCEEDED");
    assert!(sfu.requests("/tracks/close").is_empty());
    database.set_cut_off(&leader.url, false);
    eventually("the same leader goes on", async || sfu.tracks(to) == 0).await;
}

#[tokio::test]
async fn a_leader_without_a_lease_raises_and_delivers_no_alert() {
    let clock = Arc::new(ManualClock::at(START));
    let lead = Arc::new(Lead::new(1, "http://127.0.0.1:1".into(), Lease::new(LEASE, Duration::ZERO), None));
    let pairs = COTURN.into_iter().chain([("OPERATOR_TOKEN", OPERATOR)]);
    let config = Config::from_env(&Environment::from_pairs(pairs)).unwrap();
    let process = Process::new(config, clock.clone(), LostLines::default()).unwrap();
    let app = app::build_leading(&process, None, Some(Arc::clone(&lead))).unwrap();
    // How many alerts were raised, and whether one can be delivered.
    let raise = async |is_up: bool| {
        let facts = ServiceFacts { provider_down: (!is_up).then(String::new), ..ServiceFacts::default() };
        app.account.evaluate_alerts(facts, &app.config, true).await;
        (app.account.latest_alerts().len(), !Outbox::waiting(&*app.account).await.is_empty())
    };
    assert_eq!(raise(false).await, (1, true));
    clock.advance(LEASE);
    assert_eq!(raise(true).await, (1, false));
    lead.lease.renew(LEASE);
    assert_eq!(raise(true).await, (1, true), "it must be over for a minute");
    let minute = Duration::from_secs(60);
    clock.advance(minute);
    lead.lease.renew(LEASE + minute);
    assert_eq!(raise(true).await, (2, true));
}

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
