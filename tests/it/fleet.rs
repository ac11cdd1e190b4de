//! Several relays of the operator's own: a credential names one of them, and each has its own listing.

use std::collections::BTreeMap;

use serde_json::{Value, json};
use turn_broker::meter::coturn::CoturnMeter;

use crate::support::fake_coturn_cli::{CliFault, FakeCoturnCli, FakeSession, PASSWORD};
use crate::support::{TestBroker, eventually};

const URLS: (&str, &str) = ("COTURN_URLS", "turn:a.test,turn:b.test:3479,turns:b.test:443");

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
    let user = answer["iceServers"][0]["username"].as_str().unwrap();
    for (relay, sent) in [(&fleet.a, 1_000_000_000), (&fleet.b, 2_000_000_000)] {
        relay.set_sessions([FakeSession { sent, packets: 2_048, ..FakeSession::new(1, user) }]);
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
