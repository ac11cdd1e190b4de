//! The meter of coturn: the ledger counts coturn's bytes, and sessions end when their grant expires or is revoked, or when
//! the budget is spent.

use crate::support::prelude::*;

const GB: u64 = 1_000_000_000;

struct Relay {
    coturn: FakeCoturnCli,
    address: String,
    reports: FakeCoturnReports,
}

impl Relay {
    async fn start() -> Self {
        let coturn = FakeCoturnCli::start().await;
        let address = coturn.config().address;
        Self { coturn, address, reports: FakeCoturnReports::start(0) }
    }

    /// A broker that mints for this coturn and reads its CLI.
    async fn broker(&self, settings: &[(&str, &str)]) -> TestBroker {
        let broker =
            TestBroker::start(&[&self.settings(), &self.reports.settings()[..], settings].concat()).await;
        all_connected(&broker.app).await;
        look(&broker).await;
        broker
    }

    fn settings(&self) -> [(&str, &str); 5] {
        [
            ("ICE_SOURCES", "coturn"),
            ("COTURN_URLS", "turn:127.0.0.1:3478"),
            ("COTURN_SECRET", "coturn-fixture-secret"),
            ("COTURN_CLI", &self.address),
            ("COTURN_CLI_PASSWORD", PASSWORD),
        ]
    }

    /// Sets one session that has relayed this many bytes to its client.
    fn carries(&self, user: &str, sent: u64) {
        // So many packets that the listing hides nothing of an idle session.
        self.coturn.set_sessions([FakeSession {
            sent,
            received: 7,
            packets: 2_048,
            ..FakeSession::new(1, user)
        }]);
    }

    fn was_cut(&self) -> bool {
        self.coturn.commands().iter().any(|command| command.starts_with("cs "))
    }
}

/// Lists sessions once, besides the regular listings of the broker.
async fn look(broker: &TestBroker) {
    broker.app.coturn_meters[0].look().await.unwrap();
}

/// Mints a credential; returns its user name and grant token.
async fn minted(broker: &TestBroker) -> (String, String) {
    let answer = broker.mint().await.json();
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    (text(&answer["iceServers"][0]["username"]), text(&answer["grant"]))
}

#[tokio::test]
async fn the_ledger_counts_the_bytes_that_coturn_lists() {
    let relay = Relay::start().await;
    let rates = [("ESTIMATED_MBPS_PER_CONNECTION", "0.000001"), ("LIABILITY_MBPS_PER_GRANT", "9000")];
    let broker = relay.broker(&rates).await;
    let (user, _) = minted(&broker).await;
    relay.carries(&user, 5 * GB);
    broker.advance(10);
    look(&broker).await;
    let status = broker.status().await;
    assert_eq!(
        json!([status["source"], status["asOf"]]),
        json!(["measured+estimate", "2025-01-15T12:00:10.000Z"])
    );
    assert_eq!(status["boundAssumes"], "9000 Mbps per grant until 30 s after expiry");
    assert!(status["hints"].as_array().unwrap().iter().all(|hint| hint["code"] != "NO_REPORTS"));
    // Bytes that coturn may not list yet are claimed: at most 2,047 packets of 1,200 bytes.
    let bytes = broker.used().await;
    assert!((5 * GB..=5 * GB + 2_047 * 1_200).contains(&bytes), "{bytes}");
    assert!(!relay.was_cut());
    let overview = broker.get_as(OPERATOR, "/api/overview").await.json();
    assert_eq!(overview["cost"]["soFar"], "0.00", "an own relay costs nothing");
}

#[tokio::test]
async fn an_own_relay_costs_what_its_price_says() {
    let relay = Relay::start().await;
    let broker = relay.broker(&[("PRICE_PER_GB", "0.05,coturn=1"), ("FREE_GB", "1000,coturn=3")]).await;
    let (user, _) = minted(&broker).await;
    relay.carries(&user, 5 * GB);
    broker.advance(10);
    look(&broker).await;
    let cost = broker.get_as(OPERATOR, "/api/overview").await.json()["cost"].clone();
    // Two GB above the free ones, and a claim of some MB.
    assert_eq!(json!([cost["soFar"], cost["bySource"][0]["cost"]]), json!(["2.01", "2.01"]), "{cost}");
    assert_eq!(cost["bySource"][0]["source"], "coturn");
}

#[tokio::test]
async fn a_session_counts_exactly_once_coturn_reports_its_end() {
    let relay = Relay::start().await;
    let broker = relay.broker(&[("BUDGET_MODE", "strict")]).await;
    let (user, _) = minted(&broker).await;
    relay.carries(&user, 1_000);
    broker.advance(2);
    look(&broker).await;
    relay.coturn.set_sessions([]);
    // One that no listing has shown, and one of another program.
    let ended = [(1, &*user, 5_000_000), (2, &*user, 1_900), (3, "1799999999:talk/ann", 7)];
    for (id, user, sent) in ended {
        relay.reports.end(id, user, 7, sent);
    }
    let counted = async || broker.used().await == 5_001_907;
    eventually("the ends are counted, without the advance of any clock", counted).await;
    let status = broker.status().await;
    assert_eq!(json!([status["boundHolds"], status["overshootBoundGB"]]), json!([true, "0.00"]));
}

#[tokio::test]
async fn while_coturn_reports_nothing_strict_mode_mints_nothing_and_the_bound_does_not_hold() {
    let relay = Relay::start().await;
    let settings = [&relay.settings()[..], &relay.reports.settings(), &[("BUDGET_MODE", "strict")]].concat();
    let broker = TestBroker::start(&settings).await;
    all_connected(&broker.app).await;
    look(&broker).await;
    assert_eq!(broker.mint().await.status, 200);
    let counted_until = broker.status().await["asOf"].clone();
    let Relay { reports, coturn: _listing, .. } = relay;
    drop(reports);
    broker.advance(31);
    eventually("the doubt", async || broker.status().await["boundHolds"] == false).await;
    let named =
        async || broker.hint("ASSUMPTION_BROKEN").await.is_some_and(|hint| hint.contains("redis-statsdb"));
    eventually("a hint that names the line", named).await;
    assert!(broker.app.coturn_meters[0].look().await.is_err(), "the listing alone shows no ends");
    assert_eq!(broker.status().await["asOf"], counted_until);
    assert_eq!(broker.mint().await.json()["source"], "stun");
}

#[tokio::test]
async fn without_reports_the_bound_does_not_hold_and_the_hint_has_the_line() {
    let relay = Relay::start().await;
    let broker = TestBroker::start(&relay.settings()).await;
    assert_eq!(broker.mint().await.status, 200);
    assert_eq!(broker.status().await["boundHolds"], false);
    let hint = broker.hint("SESSIONS_HIDDEN").await.unwrap();
    assert!(hint.contains("redis-statsdb=\"ip=127.0.0.1 dbname=0 "), "{hint}");
}

#[tokio::test]
async fn a_session_of_an_expired_grant_is_ended_and_a_foreign_one_is_not() {
    let relay = Relay::start().await;
    let broker = relay.broker(&[("TURN_TTL_SECONDS", "60")]).await;
    let (user, _) = minted(&broker).await;
    relay.coturn.set_sessions([FakeSession::new(1, user), FakeSession::new(2, "somebody-else")]);
    broker.advance(59);
    look(&broker).await;
    assert!(!relay.was_cut());
    broker.advance(1);
    look(&broker).await;
    let cuts: Vec<_> =
        relay.coturn.commands().into_iter().filter(|command| command.starts_with("cs ")).collect();
    assert!(cuts.iter().all(|cut| cut == "cs 000000000000000001") && !cuts.is_empty(), "{cuts:?}");
}

#[tokio::test]
async fn a_revoked_grants_sessions_are_ended() {
    let relay = Relay::start().await;
    let broker = relay.broker(&[]).await;
    let (user, grant) = minted(&broker).await;
    relay.carries(&user, GB);
    let revoked = broker.revoke(&grant).await.json();
    assert_eq!(revoked["provider"], "cut");
    assert!(revoked["message"].as_str().unwrap().contains("stay reserved"), "{revoked}");
    look(&broker).await;
    assert!(relay.was_cut());
}

#[tokio::test]
async fn the_broker_lists_sessions_regularly() {
    let relay = Relay::start().await;
    let broker = relay.broker(&[("TURN_TTL_SECONDS", "60")]).await;
    let (user, _) = minted(&broker).await;
    relay.carries(&user, GB);
    broker.advance(61);
    eventually("the cut", async || relay.was_cut()).await;
    eventually("its count", async || {
        broker.metric("turn_broker_sessions_cut_total").await.is_some_and(|cut| cut > 0)
    })
    .await;
}

#[tokio::test]
async fn a_coturn_that_no_longer_mints_is_still_counted_and_cut() {
    let state = StateDir::new();
    let relay = Relay::start().await;
    let settings = [("STATE_DIR", state.path()), ("TURN_TTL_SECONDS", "600")];
    let (user, reserved) = {
        let broker = relay.broker(&settings).await;
        let (user, _) = minted(&broker).await;
        let reserved = broker.status().await["reservedGB"].clone();
        broker.finish().await;
        (user, reserved)
    };
    let broker = relay.broker(&[&settings[..], &[("ICE_SOURCES", "stun")]].concat()).await;
    let status = broker.status().await;
    // The short tail.
    assert_eq!(json!([status["reservedGB"], status["boundHolds"]]), json!([reserved, true]));
    relay.carries(&user, GB / 100);
    broker.advance(60);
    look(&broker).await;
    assert!(broker.used().await >= GB / 100);
    relay.coturn.set_fault(Some(CliFault::OtherService));
    broker.advance(31);
    eventually("the doubt", async || broker.status().await["boundHolds"] == false).await;
}

#[tokio::test]
async fn revoking_a_user_says_what_coturn_cuts_and_what_goes_on_while_its_command_line_is_silent() {
    let relay = Relay::start().await;
    let broker = relay.broker(&[USERS]).await;
    assert_eq!(broker.mint_with(&user_token("ann")).await.status, 200);
    let revoke = async || {
        let revoked = broker.post(OPERATOR, "/api/revoke?user=ann", json!({})).await.json();
        let message = revoked["message"].to_string();
        (revoked["cut"].clone(), revoked["left"].clone(), revoked["callsUntil"].is_null(), message)
    };
    let (cut, left, is_all_cut, message) = revoke().await;
    assert_eq!((cut, left, is_all_cut), (1.into(), 0.into(), true), "{message}");
    assert!(message.contains("Calls with 1 of them end within seconds."), "{message}");
    relay.coturn.set_fault(Some(CliFault::OtherService));
    broker.advance(31);
    eventually("the doubt", async || broker.status().await["boundHolds"] == false).await;
    let named = async || broker.hint("ASSUMPTION_BROKEN").await.unwrap().contains("another service");
    eventually("a hint that names the failure", named).await;
    let (cut, left, is_all_cut, message) = revoke().await;
    assert_eq!((cut, left, is_all_cut), (0.into(), 1.into(), false), "{message}");
    assert!(
        message.contains("may go on until 2025-01-16T") && message.contains("is asked again"),
        "{message}"
    );
}

/// Nothing else lists the sessions of this broker.
#[tokio::test]
async fn what_begins_while_a_listing_is_on_its_way_does_not_count_as_seen() {
    let relay = Relay::start().await;
    let clock = Arc::new(ManualClock::at(START));
    let config = Config::from_env(&Environment::from_pairs(relay.settings())).unwrap();
    let app = turn_broker::app::build(&config, clock.clone(), None, LostLines::default()).unwrap();
    relay.coturn.set_fault(Some(CliFault::Late));
    let arrive = async {
        let is_asked = async || relay.coturn.commands().iter().any(|command| command == "ps");
        eventually("the listing is asked for", is_asked).await;
        clock.advance(Duration::from_secs(4));
        relay.coturn.set_fault(None);
    };
    let (looked, ()) = tokio::join!(app.coturn_meters[0].look(), arrive);
    looked.unwrap();
    let snapshot = app.account.snapshot();
    assert_eq!(snapshot.figures.now.since(snapshot.measured.as_of.unwrap()), Duration::from_secs(4));
}
