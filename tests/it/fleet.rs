//! Several relays of the operator's own: a credential names one of them, and each has its own listing.

use std::collections::BTreeMap;

use serde_json::{Value, json};
use turn_broker::meter::coturn::CoturnMeter;

use turn_broker::ice::fleet::OwnRelay;

use crate::support::fake_coturn_cli::{CliFault, FakeCoturnCli, FakeSession, PASSWORD};
use crate::support::{OPERATOR, TestBroker, eventually};

const URLS: (&str, &str) = ("COTURN_URLS", "turn:a.test,turn:b.test:3479,turns:b.test:443");

const MANUAL: (&str, &str) =
    ("MANUAL_ICE_SERVERS", r#"[{"urls": "turn:m.test", "username": "name", "credential": "fixture"}]"#);

struct Fleet {
    a: FakeCoturnCli,
    b: FakeCoturnCli,
    broker: TestBroker,
}

impl Fleet {
    async fn start(settings: &[(&str, &str)]) -> Self {
        let (a, b) = (FakeCoturnCli::start().await, FakeCoturnCli::start().await);
        let cli = format!("a.test={},b.test={}", a.config().address, b.config().address);
        let base = [
            ("ICE_SOURCES", "coturn"),
            URLS,
            ("COTURN_SECRET", "coturn-fixture-secret"),
            ("COTURN_CLI", &cli),
            ("COTURN_CLI_PASSWORD", PASSWORD),
        ];
        let broker = TestBroker::start(&[&base, settings].concat()).await;
        let fleet = Self { a, b, broker };
        fleet.look().await;
        fleet
    }

    /// Lists the sessions of each relay once.
    async fn look(&self) {
        for meter in &self.broker.app.coturn_meters {
            let _ = CoturnMeter::look(meter).await;
        }
    }
}

/// Mints so many credentials; returns how many name each set of URLs.
async fn named(broker: &TestBroker, count: usize) -> BTreeMap<String, usize> {
    let mut named = BTreeMap::new();
    for _ in 0..count {
        let answer = broker.mint().await.json();
        *named.entry(answer["iceServers"][0]["urls"].to_string()).or_default() += 1;
    }
    named
}

#[tokio::test]
async fn a_credential_names_the_urls_of_one_relay() {
    let fleet = Fleet::start(&[]).await;
    let named = named(&fleet.broker, 40).await;
    let urls: Vec<_> = named.keys().map(String::as_str).collect();
    assert_eq!(urls, [r#"["turn:a.test"]"#, r#"["turn:b.test:3479","turns:b.test:443"]"#], "{named:?}");
}

#[tokio::test]
async fn each_relay_is_counted_and_cut_over_its_own_command_line() {
    let fleet = Fleet::start(&[("TURN_TTL_SECONDS", "60")]).await;
    let answer = fleet.broker.mint().await.json();
    let name = answer["iceServers"][0]["username"].as_str().unwrap();
    for (relay, sent) in [(&fleet.a, 1_000_000_000), (&fleet.b, 2_000_000_000)] {
        relay.set_sessions([FakeSession { sent, packets: 2_048, ..FakeSession::new(1, name) }]);
    }
    fleet.broker.advance(10);
    fleet.look().await;
    let used = fleet.broker.used().await;
    assert!((3_000_000_000..=6_000_000_000).contains(&used), "{used}");
    fleet.broker.advance(60);
    fleet.look().await;
    for relay in [&fleet.a, &fleet.b] {
        assert!(relay.commands().contains(&"cs 000000000000000001".to_owned()), "{:?}", relay.commands());
    }
}

#[tokio::test]
async fn a_relay_whose_listings_have_stopped_gets_no_credentials_while_another_one_serves() {
    for mode in ["strict", "estimate"] {
        let fleet = Fleet::start(&[("BUDGET_MODE", mode)]).await;
        fleet.b.set_fault(Some(CliFault::OtherService));
        fleet.broker.advance(31);
        fleet.look().await;
        assert_eq!(
            named(&fleet.broker, 12).await.into_keys().collect::<Vec<_>>(),
            [r#"["turn:a.test"]"#],
            "{mode}"
        );
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
    let only = async || named(broker, 12).await.into_keys().collect::<Vec<_>>();
    probed(broker, "a.test", &[FAILED]);
    assert_eq!(only().await.len(), 2, "one probe says nothing");
    probed(broker, "a.test", &[FAILED]);
    assert_eq!(only().await, [r#"["turn:b.test:3479","turns:b.test:443"]"#]);
    let hint = broker.hint("RELAY_DOWN").await.unwrap();
    assert!(
        hint.contains("a.test since 2025-01-15T12:00:00") && hint.contains("no answer in time"),
        "{hint}"
    );
    assert_eq!(broker.get("/ready").await.json()["provider"], Value::Null);

    probed(broker, "b.test", &[FAILED, FAILED]);
    let answer = broker.mint().await.json();
    assert_eq!((&answer["source"], &answer["degraded"]), (&json!("manual"), &json!(true)), "{answer}");
    let ready = broker.get("/ready").await.json();
    assert_eq!(
        (&ready["provider"], &ready["minting"]["code"]),
        (&json!("down"), &json!("PROVIDER_UNAVAILABLE"))
    );
    let message = ready["minting"]["message"].as_str().unwrap();
    assert!(message.contains("a.test since") && message.contains("b.test since"), "{message}");

    probed(broker, "a.test", &[Ok(())]);
    assert_eq!(broker.mint().await.json()["source"], "manual");
    probed(broker, "a.test", &[Ok(())]);
    assert_eq!(only().await, [r#"["turn:a.test"]"#]);
}

/// Nothing answers at one address; the other one is where no packet leaves this machine for.
#[tokio::test]
async fn the_broker_probes_each_relay_itself() {
    let silent = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
    let urls = format!("turn:127.0.0.1:{}", silent.local_addr().unwrap().port());
    let broker = TestBroker::start(&[
        ("ICE_SOURCES", "coturn"),
        ("COTURN_URLS", &urls),
        ("COTURN_SECRET", "coturn-fixture-secret"),
        ("RELAY_PROBE", "on"),
    ])
    .await;
    let has_failed = async || broker.app.mint.fleet().unwrap().0[0].health.lock().failure().is_some();
    eventually("a probe has failed", has_failed).await;
    assert!(broker.app.mint.fleet().unwrap().0[0].health.lock().is_up(), "one says nothing");
}

#[tokio::test]
async fn new_credentials_go_where_less_is_carried_and_a_renewal_stays_where_the_call_is() {
    let fleet = Fleet::start(&[]).await;
    let broker = &fleet.broker;
    let named_before = broker.mint().await.json();
    let host_of = |answer: &Value| answer["iceServers"][0]["urls"][0].as_str().unwrap()[5..11].to_owned();
    let at = host_of(&named_before);
    // The relay of the call carries 1 MB a second, the other one nothing.
    let (busy, idle) = if at == "a.test" { (&fleet.a, "b.test") } else { (&fleet.b, "a.test") };
    for seconds in 1..=4_u64 {
        let sent = seconds * 2_000_000;
        busy.set_sessions([FakeSession {
            sent,
            seconds: 2 * seconds,
            ..FakeSession::new(1, "somebody-else")
        }]);
        broker.advance(2);
        fleet.look().await;
    }
    assert_eq!(named(broker, 12).await.into_keys().filter(|urls| urls.contains(idle)).count(), 1);
    broker.advance(70_000);
    fleet.look().await;
    let renewed = broker.mint_with(named_before["grant"].as_str().unwrap()).await.json();
    assert_eq!(host_of(&renewed), at);
}

#[tokio::test]
async fn the_overview_and_the_metrics_have_a_row_for_each_relay() {
    let fleet = Fleet::start(&[]).await;
    fleet.b.set_sessions([FakeSession::new(1, "somebody-else"), FakeSession::new(2, "another")]);
    fleet.broker.advance(2);
    fleet.look().await;
    probed(&fleet.broker, "a.test", &[Err("no answer in time"), Err("no answer in time")]);
    let overview = fleet.broker.get_as(OPERATOR, "/api/overview").await.json();
    let [a, b] = [0, 1].map(|index| &overview["relays"][index]);
    let start = json!("2025-01-15T12:00:02.000Z");
    assert_eq!((&a["host"], &a["state"], &a["since"]), (&json!("a.test"), &json!("down"), &start), "{a}");
    assert_eq!(
        (&a["failure"], &a["sessions"], &a["used"]),
        (&json!("no answer in time"), &json!(0), &json!(0))
    );
    assert_eq!((&b["host"], &b["state"], &b["since"]), (&json!("b.test"), &json!("up"), &Value::Null), "{b}");
    assert_eq!(b["sessions"], 2);
    assert!(b["used"].as_u64().unwrap() >= 2 * 2_464_588 && b["bytesPerSecond"].as_u64().unwrap() > 0, "{b}");
    let metrics = fleet.broker.get_as(OPERATOR, "/metrics").await.text;
    for line in [r#"turn_broker_relay_up{relay="a.test"} 0"#, r#"turn_broker_relay_up{relay="b.test"} 1"#] {
        assert!(metrics.lines().any(|found| found == line), "{line}");
    }
    assert!(metrics.contains(&format!(r#"turn_broker_relay_bytes{{relay="b.test"}} {}"#, b["used"])));
}
