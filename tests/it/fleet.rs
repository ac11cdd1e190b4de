//! Several relays of the operator's own: a credential names one of them, and each has its own listing.

use turn_broker::meter::coturn::CoturnMeter;

use turn_broker::ice::fleet::OwnRelay;

use crate::support::prelude::*;

const URLS: (&str, &str) = ("COTURN_URLS", "turn:a.test,turn:b.test:3479,turns:b.test:443");

const MANUAL: (&str, &str) =
    ("MANUAL_ICE_SERVERS", r#"[{"urls": "turn:m.test", "username": "name", "credential": "fixture"}]"#);

struct Fleet {
    a: FakeCoturnCli,
    b: FakeCoturnCli,
    broker: TestBroker,
    _reports: [FakeCoturnReports; 2],
}

impl Fleet {
    async fn start(settings: &[(&str, &str)]) -> Self {
        let (a, b) = (FakeCoturnCli::start().await, FakeCoturnCli::start().await);
        Self::of(a, b, settings).await
    }

    /// A broker with these relays.
    async fn of(a: FakeCoturnCli, b: FakeCoturnCli, settings: &[(&str, &str)]) -> Self {
        let cli = format!("a.test={},b.test={}", a.config().address, b.config().address);
        let base = [
            ("ICE_SOURCES", "coturn"),
            URLS,
            ("COTURN_SECRET", "coturn-fixture-secret"),
            ("COTURN_CLI", &cli),
            ("COTURN_CLI_PASSWORD", PASSWORD),
        ];
        let first = FakeCoturnReports::start(0);
        let second = FakeCoturnReports::to(first.address.parse().unwrap(), 1);
        let broker = TestBroker::start(&[&base, &first.settings()[..], settings].concat()).await;
        all_connected(&broker.app).await;
        let fleet = Self { a, b, broker, _reports: [first, second] };
        fleet.look().await;
        fleet
    }

    /// Lists the sessions of each relay once, after so many seconds.
    async fn look_after(&self, seconds: u64) {
        self.broker.advance(seconds);
        self.look().await;
    }

    async fn look(&self) {
        for meter in &self.broker.app.coturn_meters {
            let _ = CoturnMeter::look(meter).await;
        }
    }
}

/// The sets of URLs that so many new credentials name.
async fn named(broker: &TestBroker, count: usize) -> Vec<String> {
    let mut named = BTreeSet::new();
    for _ in 0..count {
        named.insert(broker.mint().await.json()["iceServers"][0]["urls"].to_string());
    }
    named.into_iter().collect()
}

#[tokio::test]
async fn a_credential_names_the_urls_of_one_relay() {
    let fleet = Fleet::start(&[]).await;
    let named = named(&fleet.broker, 40).await;
    assert_eq!(named, [r#"["turn:a.test"]"#, r#"["turn:b.test:3479","turns:b.test:443"]"#]);
}

#[tokio::test]
async fn each_relay_is_counted_and_cut_over_its_own_command_line() {
    let fleet = Fleet::start(&[("TURN_TTL_SECONDS", "60")]).await;
    let answer = fleet.broker.mint().await.json();
    let name = answer["iceServers"][0]["username"].as_str().unwrap();
    for (relay, sent) in [(&fleet.a, 1_000_000_000), (&fleet.b, 2_000_000_000)] {
        relay.set_sessions([FakeSession { sent, packets: 2_048, ..FakeSession::new(1, name) }]);
    }
    fleet.look_after(10).await;
    let used = fleet.broker.used().await;
    assert!((3_000_000_000..=6_000_000_000).contains(&used), "{used}");
    fleet.look_after(60).await;
    for relay in [&fleet.a, &fleet.b] {
        assert!(relay.commands().contains(&"cs 000000000000000001".to_owned()), "{:?}", relay.commands());
    }
}

#[tokio::test]
async fn a_relay_whose_listings_have_stopped_gets_no_credentials_while_another_one_serves() {
    for mode in ["strict", "estimate"] {
        let fleet = Fleet::start(&[("BUDGET_MODE", mode)]).await;
        fleet.b.set_fault(Some(CliFault::OtherService));
        fleet.look_after(31).await;
        assert_eq!(named(&fleet.broker, 12).await, [r#"["turn:a.test"]"#], "{mode}");
        let hint = async || {
            fleet.broker.hint("ASSUMPTION_BROKEN").await.is_some_and(|hint| hint.contains("b.test: "))
        };
        eventually("the hint names the relay", hint).await;
        assert_eq!(fleet.broker.status().await["boundHolds"], false);
        fleet.a.set_fault(Some(CliFault::OtherService));
        fleet.broker.advance(31);
        let answer = fleet.broker.mint().await.json();
        let reason = if mode == "strict" { json!("PROVIDER_UNAVAILABLE") } else { Value::Null };
        assert_eq!(answer["reason"], reason, "{mode}");
    }
}

#[tokio::test]
async fn a_relay_without_a_command_line_is_unseen_and_named() {
    let listed = FakeCoturnCli::start().await;
    let cli = format!("a.test={}", listed.config().address);
    let broker = TestBroker::start(&[
        ("ICE_SOURCES", "coturn"),
        URLS,
        ("COTURN_SECRET", "coturn-fixture-secret"),
        ("COTURN_CLI", &cli),
        ("COTURN_CLI_PASSWORD", PASSWORD),
    ])
    .await;
    assert_eq!(broker.mint().await.status, 200);
    let status = broker.status().await;
    assert_eq!(status["boundHolds"], false);
    assert_eq!(status["boundAssumes"], "2 Mbps per grant until 7200 s after expiry");
    let hint = broker.hint("SESSIONS_UNSEEN").await.unwrap();
    assert!(hint.contains("coturn at b.test"), "{hint}");
}

/// Takes so many outcomes of probes of a relay.
fn probed(broker: &TestBroker, host: &str, outcomes: &[Result<(), &str>]) {
    let relays = &broker.app.mint.fleet().unwrap().0;
    let relay: &OwnRelay = relays.iter().find(|relay| relay.host == host).unwrap();
    for outcome in outcomes {
        relay.note(outcome.map_err(str::to_owned), &*broker.app.clock);
    }
}

#[tokio::test]
async fn a_relay_that_fails_two_probes_is_left_out_until_two_are_good_and_if_all_fail_the_next_source_serves()
{
    const FAILED: Result<(), &str> = Err("no answer in time");
    let fleet = Fleet::start(&[("ICE_SOURCES", "coturn,manual"), MANUAL]).await;
    let broker = &fleet.broker;
    probed(broker, "a.test", &[FAILED]);
    assert_eq!(named(broker, 12).await.len(), 2, "one probe says nothing");
    probed(broker, "a.test", &[FAILED]);
    assert_eq!(named(broker, 12).await, [r#"["turn:b.test:3479","turns:b.test:443"]"#]);
    let hint = broker.hint("RELAY_DOWN").await.unwrap();
    assert!(
        hint.contains("a.test since 2025-01-15T12:00:00") && hint.contains("no answer in time"),
        "{hint}"
    );
    eventually("an alert says the same", async || {
        let (what, _first_step) = hint.rsplit_once(" Start it, or open its UDP ports").unwrap();
        let alert = broker.alert("relay.down").await;
        alert.is_some_and(|alert| alert["what"].as_str().unwrap().starts_with(what))
    })
    .await;
    assert_eq!(broker.get("/ready").await.json()["provider"], Value::Null);

    probed(broker, "b.test", &[FAILED, FAILED]);
    let answer = broker.mint().await.json();
    assert_eq!(json!([answer["source"], answer["degraded"]]), json!(["manual", true]), "{answer}");
    let ready = broker.operator("/ready").await.json();
    assert_eq!(json!([ready["provider"], ready["minting"]["code"]]), json!(["down", "PROVIDER_UNAVAILABLE"]));
    let message = ready["minting"]["message"].as_str().unwrap();
    assert!(message.contains("a.test since") && message.contains("b.test since"), "{message}");

    probed(broker, "a.test", &[Ok(())]);
    assert_eq!(broker.mint().await.json()["source"], "manual");
    probed(broker, "a.test", &[Ok(())]);
    assert_eq!(named(broker, 12).await, [r#"["turn:a.test"]"#]);
}

/// Fails the probes of both relays.
fn fail_probes(broker: &TestBroker) {
    for host in ["a.test", "b.test"] {
        probed(broker, host, &[Err("no answer in time"), Err("no answer in time")]);
    }
}

/// The source of an answer, and why it is degraded.
fn source_and_reason(answer: &Value) -> [&str; 2] {
    ["source", "reason"].map(|field| answer[field].as_str().unwrap_or_default())
}

#[tokio::test]
async fn where_nothing_else_serves_a_relay_that_fails_the_probes_is_handed_out_degraded_and_promised() {
    for mode in ["strict", "estimate"] {
        let fleet = Fleet::start(&[("ICE_SOURCES", "coturn,stun"), ("BUDGET_MODE", mode)]).await;
        let broker = &fleet.broker;
        fail_probes(broker);
        let reserved = async || broker.status().await["reservedGB"].clone();
        let before = reserved().await;
        let answer = broker.mint().await.json();
        assert_eq!(source_and_reason(&answer), ["coturn", "PROVIDER_UNAVAILABLE"], "{mode} {answer}");
        assert_eq!(answer["degraded"], true);
        assert_ne!(reserved().await, before, "it is promised");
        let minted = r#"turn_broker_credentials_total{source="coturn",reason="PROVIDER_UNAVAILABLE"}"#;
        assert_eq!(broker.metric(minted).await, Some(1));

        assert_eq!(broker.status().await["minting"]["on"], true, "{mode}");
        let ready = broker.get("/ready").await.json();
        assert_eq!(json!([ready["provider"], ready["minting"]["on"]]), json!(["down", true]), "{ready}");
        let hint = broker.hint("RELAY_DOWN").await.unwrap();
        let said = "A relay fails the broker's probes: callers get it, marked degraded, only while nothing else serves. a.test since ";
        assert!(hint.starts_with(said), "{hint}");
        assert!(broker.has_hint("PROVIDER_DOWN").await);

        probed(broker, "b.test", &[Ok(()), Ok(())]);
        assert_eq!(minted_at(broker, "").await, ("b.test".to_owned(), Value::Null));
    }
}

#[tokio::test]
async fn a_relay_that_fails_the_probes_is_not_handed_out_if_it_is_drained_spent_or_uncut_in_strict_mode() {
    let settings = [("ICE_SOURCES", "coturn,stun"), ("BUDGET_MODE", "strict"), ("COTURN_LIMITS", "b.test=1")];
    let fleet = Fleet::start(&settings).await;
    let broker = &fleet.broker;
    fail_probes(broker);
    fleet.b.set_sessions([FakeSession { sent: 1_000_000_000, ..FakeSession::new(1, "somebody-else") }]);
    fleet.look_after(2).await;
    assert_eq!(named(broker, 12).await, [r#"["turn:a.test"]"#]);
    let drain = async |method| broker.order(method, "/api/relays/a.test/drain").await;
    drain(Method::POST).await;
    assert_eq!(source_and_reason(&broker.mint().await.json()), ["stun", "BUDGET_EXHAUSTED"]);
    drain(Method::DELETE).await;
    assert_eq!(broker.mint().await.json()["source"], "coturn");
    fleet.a.set_fault(Some(CliFault::OtherService));
    fleet.look_after(31).await;
    assert_eq!(source_and_reason(&broker.mint().await.json()), ["stun", "PROVIDER_UNAVAILABLE"]);
    assert_eq!(broker.status().await["minting"]["code"], "PROVIDER_UNAVAILABLE");
}

#[tokio::test]
async fn a_relay_that_fails_the_probes_comes_after_each_other_source() {
    let settings = [("ICE_SOURCES", "coturn,cloudflare"), URLS, ("COTURN_SECRET", "coturn-fixture-secret")];
    let (cloudflare, broker) = with_cloudflare_and(&settings).await;
    fail_probes(&broker);
    let minted = async || broker.mint().await.json();
    assert_eq!(source_and_reason(&minted().await), ["cloudflare", "PROVIDER_UNAVAILABLE"]);
    cloudflare.require_token("another");
    assert_eq!(source_and_reason(&minted().await), ["coturn", "PROVIDER_UNAVAILABLE"]);
    assert_eq!(cloudflare.history().mints(), 2, "each source is asked once");
    assert_eq!(broker.status().await["minting"]["on"], true);
}

/// Nothing answers at one address; the other one is where no packet leaves this machine for.
#[tokio::test]
async fn the_broker_probes_each_relay_itself() {
    let silent = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
    let silent = format!("turn:127.0.0.1:{}", silent.local_addr().unwrap().port());
    for urls in [silent.as_str(), "turns:127.0.0.1:1"] {
        let broker = TestBroker::start(&[
            ("ICE_SOURCES", "coturn"),
            ("COTURN_URLS", urls),
            ("COTURN_SECRET", "coturn-fixture-secret"),
            ("RELAY_PROBE", "on"),
        ])
        .await;
        let has_failed = async || broker.app.mint.fleet().unwrap().0[0].health.lock().failure.is_some();
        eventually("a probe has failed", has_failed).await;
        assert!(!broker.app.mint.fleet().unwrap().0[0].health.lock().is_down, "one says nothing");
    }
}

#[tokio::test]
async fn new_credentials_go_where_less_is_carried_and_a_renewal_stays_where_the_call_is() {
    let fleet = Fleet::start(&[]).await;
    let broker = &fleet.broker;
    let named_before = broker.mint().await.json();
    let host_of = |answer: &Value| answer["iceServers"][0]["urls"][0].as_str().unwrap()[5..11].to_owned();
    let at = host_of(&named_before);
    // The relay of the call carries 10 MB a second, the other one nothing.
    let (busy, idle) = if at == "a.test" { (&fleet.a, "b.test") } else { (&fleet.b, "a.test") };
    for seconds in 1..=4_u64 {
        let sent = seconds * 20_000_000;
        busy.set_sessions([FakeSession {
            sent,
            seconds: 2 * seconds,
            ..FakeSession::new(1, "somebody-else")
        }]);
        fleet.look_after(2).await;
    }
    assert_eq!(named(broker, 12).await.iter().filter(|urls| urls.contains(idle)).count(), 1);
    fleet.look_after(70_000).await;
    let renewed = broker.mint_with(named_before["grant"].as_str().unwrap()).await.json();
    assert_eq!(host_of(&renewed), at);
}

#[tokio::test]
async fn the_overview_and_the_metrics_have_a_row_for_each_relay() {
    let fleet = Fleet::start(&[]).await;
    fleet.b.set_sessions([FakeSession::new(1, "somebody-else"), FakeSession::new(2, "another")]);
    fleet.look_after(2).await;
    probed(&fleet.broker, "a.test", &[Err("no answer in time"), Err("no answer in time")]);
    let overview = fleet.broker.get_as(OPERATOR, "/api/overview").await.json();
    let [a, b] = [0, 1].map(|index| &overview["relays"][index]);
    let start = json!("2025-01-15T12:00:02.000Z");
    assert_eq!(json!([a["host"], a["state"], a["since"]]), json!(["a.test", "down", start]), "{a}");
    assert_eq!(json!([a["failure"], a["sessions"], a["used"]]), json!(["no answer in time", 0, 0]));
    assert_eq!(json!([b["host"], b["state"], b["since"]]), json!(["b.test", "up", null]), "{b}");
    assert_eq!(b["sessions"], 2);
    assert!(b["used"].as_u64().unwrap() >= 2 * 2_464_588 && b["bytesPerSecond"].as_u64().unwrap() > 0, "{b}");
    let metrics = fleet.broker.get_as(OPERATOR, "/metrics").await.text;
    for line in [r#"turn_broker_relay_up{relay="a.test"} 0"#, r#"turn_broker_relay_up{relay="b.test"} 1"#] {
        assert!(metrics.lines().any(|found| found == line), "{line}");
    }
    assert!(metrics.contains(&format!(r#"turn_broker_relay_bytes{{relay="b.test"}} {}"#, b["used"])));
}

#[tokio::test]
async fn a_relay_that_is_drained_or_not_listed_is_up_by_its_metric() {
    let fleet = Fleet::start(&[]).await;
    fleet.b.set_fault(Some(CliFault::OtherService));
    assert_eq!(fleet.broker.order(Method::POST, "/api/relays/a.test/drain").await.status, 200);
    fleet.look_after(31).await;
    let overview = fleet.broker.get_as(OPERATOR, "/api/overview").await.json();
    let states = [0, 1].map(|index| overview["relays"][index]["state"].clone());
    assert_eq!(states, [json!("draining"), json!("unlisted")]);
    let metrics = fleet.broker.get_as(OPERATOR, "/metrics").await.text;
    assert_eq!(metrics.matches(r#".test"} 1"#).count(), 2, "{metrics}");
}

/// Where a credential names a relay, with what the answer says of it.
async fn minted_at(broker: &TestBroker, query: &str) -> (String, Value) {
    let answer = broker.get(&format!("/api/turn-credentials?{query}")).await.json();
    let url = answer["iceServers"][0]["urls"][0].as_str().unwrap_or_default();
    (url.split(':').nth(1).unwrap_or_default().to_owned(), answer["reason"].clone())
}

const NAMED: (&str, &str) = ("COTURN_URLS", "eu=turn:a.test,us=turn:b.test:3479,us=turns:b.test:443");

#[tokio::test]
async fn a_region_names_its_relay_or_if_that_is_dead_or_used_up_another_one_degraded() {
    let fleet = Fleet::start(&[NAMED, ("COTURN_LIMITS", "b.test=1")]).await;
    let broker = &fleet.broker;
    let unavailable = json!("PROVIDER_UNAVAILABLE");
    for (region, host) in [("eu", "a.test"), ("us", "b.test"), ("A.TEST", "a.test"), ("b.test", "b.test")] {
        for _ in 0..4 {
            let expected = (host.to_owned(), Value::Null);
            assert_eq!(minted_at(broker, &format!("region={region}")).await, expected, "{region}");
        }
    }
    for unknown in ["EU", "c.test", "eu%20"] {
        let refused = broker.get(&format!("/api/turn-credentials?region={unknown}")).await;
        assert_eq!(refused.error(), (400, "INVALID_REQUEST"), "{unknown}");
    }
    probed(broker, "a.test", &[Err("no answer in time"), Err("no answer in time")]);
    assert_eq!(minted_at(broker, "region=eu").await, ("b.test".to_owned(), unavailable.clone()));
    probed(broker, "a.test", &[Ok(()), Ok(())]);
    fleet.b.set_sessions([FakeSession { sent: 1_000_000_000, ..FakeSession::new(1, "somebody-else") }]);
    fleet.look_after(2).await;
    assert_eq!(minted_at(broker, "region=us").await, ("a.test".to_owned(), unavailable));
    assert_eq!(minted_at(broker, "").await, ("a.test".to_owned(), Value::Null));
}

#[tokio::test]
async fn a_relay_at_its_limit_gets_no_credentials_its_sessions_end_and_the_next_source_is_not_degraded() {
    let limits = ("COTURN_LIMITS", "a.test=1,b.test=2.5");
    let fleet = Fleet::start(&[("ICE_SOURCES", "coturn,manual"), MANUAL, limits]).await;
    let broker = &fleet.broker;
    let ours = broker.mint().await.json()["iceServers"][0]["username"].as_str().unwrap().to_owned();
    let sessions = [
        FakeSession { sent: 1_000_000_000, ..FakeSession::new(1, "somebody-else") },
        FakeSession::new(2, ours),
    ];
    fleet.a.set_sessions(sessions.clone());
    fleet.b.set_sessions(sessions);
    fleet.look_after(2).await;
    assert_eq!((fleet.a.session_ids(), fleet.b.session_ids()), (vec![], vec![1, 2]));
    assert_eq!(named(broker, 12).await, [r#"["turn:b.test:3479","turns:b.test:443"]"#]);
    let relays = broker.overview().await["relays"].clone();
    assert_eq!(json!([relays[0]["state"], relays[0]["limit"]]), json!(["used up", 1_000_000_000]));
    fleet.b.set_sessions([FakeSession { sent: 9_000_000_000, ..FakeSession::new(1, "somebody-else") }]);
    fleet.look_after(2).await;
    let answer = broker.mint().await.json();
    assert_eq!(json!([answer["source"], answer["degraded"]]), json!(["manual", false]), "{answer}");
    assert!(broker.used().await >= 10_000_000_000, "all bytes count against the limit of all");
    let minting = broker.status().await["minting"].clone();
    assert_eq!(
        json!([minting["code"], minting["until"]]),
        json!(["BUDGET_EXHAUSTED", "2025-02-01T00:00:00.000Z"])
    );
    broker.advance_to("2025-02-01T00:00:01Z");
    assert_eq!(broker.mint().await.json()["source"], "coturn", "a new period");
}

#[tokio::test]
async fn where_all_relays_are_used_up_and_nothing_follows_the_answer_says_so() {
    let fleet = Fleet::start(&[("COTURN_LIMITS", "a.test=1,b.test=1")]).await;
    for relay in [&fleet.a, &fleet.b] {
        relay.set_sessions([FakeSession { sent: 1_000_000_000, ..FakeSession::new(1, "somebody-else") }]);
    }
    fleet.look_after(2).await;
    let answer = fleet.broker.mint().await.json();
    assert_eq!(json!([answer["source"], answer["reason"]]), json!(["stun", "BUDGET_EXHAUSTED"]), "{answer}");
}

/// Where no relay works, what the budget says comes first, as in the status.
#[tokio::test]
async fn a_spent_budget_is_said_also_where_no_relay_works() {
    for (mode, action) in [("estimate", "refuse"), ("strict", "refuse"), ("strict", "fallback")] {
        let fleet = Fleet::start(&[("BUDGET_MODE", mode), ("LIMIT_ACTION", action)]).await;
        let broker = &fleet.broker;
        let committed = broker.overview().await["status"]["reservedGB"].clone();
        fail_probes(broker);
        let code = async || broker.status().await["minting"]["code"].clone();
        broker.set_limit(0).await;
        let answer = broker.mint().await;
        assert_eq!(code().await, "BUDGET_EXHAUSTED", "{mode}");
        if action == "refuse" {
            assert_eq!(answer.error(), (429, "BUDGET_EXHAUSTED"), "{mode}");
        } else {
            assert_eq!(answer.json()["reason"], "BUDGET_EXHAUSTED");
        }
        assert_eq!(broker.status().await["reservedGB"], committed, "nothing stays reserved");
    }
}

#[tokio::test]
async fn a_drained_relay_gets_no_credentials_also_after_a_restart_and_its_calls_go_on() {
    let state = StateDir::new();
    let settings = [NAMED, ("STATE_DIR", state.path()), ("TURN_TTL_SECONDS", "3600")];
    let fleet = Fleet::start(&settings).await;
    let answer = fleet.broker.get("/api/turn-credentials?region=us").await.json();
    let (grant, user) = (&answer["grant"], answer["iceServers"][0]["username"].as_str().unwrap());
    fleet.b.set_sessions([FakeSession::new(1, user)]);
    fleet.look_after(2).await;
    let drained = fleet.broker.order(Method::POST, "/api/relays/b.test/drain").await.json();
    assert_eq!(json!([drained["relay"], drained["sessions"]]), json!(["b.test", 1]), "{drained}");
    let Fleet { a, b, broker, .. } = fleet;
    broker.finish().await;
    let fleet = Fleet::of(a, b, &settings).await;
    let broker = &fleet.broker;
    assert_eq!(named(broker, 12).await, [r#"["turn:a.test"]"#]);
    assert_eq!(broker.overview().await["relays"][1]["state"], "draining");
    assert_eq!(broker.status().await["draining"], json!([{"relay": "b.test", "sessions": 1}]));
    assert_eq!(fleet.b.session_ids(), [1], "its call goes on");
    broker.advance(2_800);
    let renewed = broker.mint_with(grant.as_str().unwrap()).await.json();
    assert_eq!(renewed["iceServers"][0]["urls"], json!(["turn:a.test"]), "a renewal moves the call");
    fleet.b.set_sessions([]);
    fleet.look().await;
    assert_eq!(broker.status().await["draining"], json!([{"relay": "b.test", "sessions": 0}]));
    let ended = broker.order(Method::DELETE, "/api/relays/us/drain").await.json();
    assert_eq!(json!([ended["relay"], ended["draining"]]), json!(["b.test", false]));
    assert_eq!((named(broker, 12).await.len(), &broker.status().await["draining"]), (2, &Value::Null));
    let unknown = broker.order(Method::POST, "/api/relays/c.test/drain").await;
    assert_eq!(unknown.error(), (404, "NOT_FOUND"));
}

#[tokio::test]
async fn a_page_that_could_not_use_a_relay_is_given_another_one_while_that_works() {
    let fleet = Fleet::start(&[]).await;
    let broker = &fleet.broker;
    for failed in ["a.test", "turn:A.test", "turn:a.test:3478?transport=tcp"] {
        for _ in 0..4 {
            let (host, reason) = minted_at(broker, &format!("failed={failed}")).await;
            assert_eq!((&*host, reason), ("b.test", Value::Null));
        }
    }
    probed(broker, "b.test", &[Err("no answer in time"), Err("no answer in time")]);
    assert_eq!(minted_at(broker, "failed=a.test").await.0, "a.test");
    assert!(!minted_at(broker, "failed=%20nothing").await.0.is_empty());
}

/// Nobody gets the new credential: the allocation of the first one goes on where it is.
#[tokio::test]
async fn the_renewal_of_a_member_stays_at_its_relay_whatever_the_state_of_that() {
    let fleet = Fleet::start(&[("TURN_TTL_SECONDS", "60")]).await;
    let broker = &fleet.broker;
    let grant = broker.mint().await;
    let host = grant.json()["iceServers"][0]["urls"][0].as_str().unwrap()[5..11].to_owned();
    let id =
        broker.operator("/api/grants").await.json()["grants"][0]["id"].as_str().unwrap().parse().unwrap();
    probed(broker, &host, &[Err("no answer in time"), Err("no answer in time")]);
    broker.order(Method::POST, &format!("/api/relays/{host}/drain")).await;
    fleet.look_after(50).await;
    broker.app.mint.renew_member(id, Duration::from_secs(60)).await;
    let relay = broker.app.mint.fleet().unwrap().0.iter().find(|relay| relay.host == host).unwrap().owner;
    let owners = broker
        .app
        .account
        .read(|books| books.grants().iter().map(|(_, row)| row.owner()).collect::<Vec<_>>());
    assert_eq!(owners, [relay, relay]);
}

#[tokio::test]
async fn a_program_that_knows_the_secret_has_users_with_a_limit_and_blocks() {
    const GB: u64 = 1_000_000_000;
    let fleet = Fleet::start(&[("USER_LIMIT_GB", "3")]).await;
    let (a, broker) = (&fleet.a, &fleet.broker);
    // The number, the user name and the GB of each session.
    let carry = async |sessions: &[(u64, &str, u64)]| {
        let new =
            |(id, user, gb): &(u64, &str, u64)| FakeSession { sent: gb * GB, ..FakeSession::new(*id, *user) };
        a.set_sessions(sessions.iter().map(new));
        fleet.look_after(2).await;
        a.session_ids()
    };
    let left = carry(&[(1, "1736949600:ann", 1), (2, "1736949600:eve", 2), (3, "carol", 1)]).await;
    assert_eq!(left, [1, 2, 3]);
    let spenders = broker.operator("/api/spenders?by=user").await.json();
    let row = |name: &str| {
        spenders["spenders"].as_array().unwrap().iter().find(|row| row["key"] == name).unwrap().clone()
    };
    assert!(
        row("relay:eve")["measuredBytes"].as_u64().unwrap() >= 2_000_000_000
            && row("relay:carol")["live"] == 1,
        "{spenders}"
    );
    assert_eq!((&spenders["unknownBytes"], &row("relay:ann")["evidence"]), (&json!(0), &json!("measured")));
    let grants = broker.operator("/api/grants?user=relay:ann").await.json();
    assert_eq!(json!([grants["grants"][0]["kind"], grants["grants"][0]["live"]]), json!(["session", true]));
    assert!(!broker.has_hint("UNKNOWN_BYTES").await && !broker.has_hint("ASSUMPTION_BROKEN").await);

    // Somebody of the same name who signs in is another user.
    broker.order(Method::POST, "/api/users/ann/block").await;
    let left = carry(&[(1, "1736949600:ann", 1), (2, "1736949600:eve", 4), (3, "carol", 1)]).await;
    assert_eq!(left, [1, 3], "eve has passed the limit of each user");
    broker.order(Method::POST, "/api/users/relay:carol/block").await;
    let left = carry(&[(1, "1736949600:ann", 1), (3, "carol", 1)]).await;
    assert_eq!(left, [1], "carol is blocked");
    broker.order(Method::POST, "/api/revoke?user=relay:ann").await;
    assert_eq!(carry(&[(1, "1736949600:ann", 1)]).await, [0; 0], "that credential is revoked");
    assert_eq!(carry(&[(4, "1736953200:ann", 0)]).await, [4], "and another one is not");
    broker.set_limit(1).await;
    assert_eq!(carry(&[(4, "1736953200:ann", 0)]).await, [0; 0], "the limit is reached");
}
