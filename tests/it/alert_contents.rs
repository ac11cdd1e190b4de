//! What the alerts of a running broker contain: who spends, what it costs, and a link that leads to a part of the dashboard.

use serde_json::{Value, json};
use turn_broker::alert::AlertKind;

use crate::support::fake_webhook::FakeWebhook;
use crate::support::{REPORTER, TestBroker, finished};

const MB: u64 = 1_000_000;

/// Opens a connection of this user.
async fn open(broker: &TestBroker, user: &str) {
    let opened = json!({"connectionId": user, "user": user, "label": "room-1"});
    assert!(broker.post(REPORTER, "/api/connections", opened).await.status.is_success());
}

/// The connection of this user has relayed so many MB.
async fn relay(broker: &TestBroker, user: &str, mb: u64) {
    let path = format!("/api/connections/{user}/heartbeat");
    let counted = json!({"bytesReceived": mb * MB, "relayed": true});
    assert!(broker.post(REPORTER, &path, counted).await.status.is_success());
}

/// The body of the first alert of a broker with a limit of 1 GB, of which four users relay 960 MB.
async fn first_alert(more: &[(&str, &str)]) -> (TestBroker, Value) {
    let receiver = FakeWebhook::start(&[]).await;
    let url = receiver.url();
    let settings = [
        ("ALERT_WEBHOOK_URL", url.as_str()),
        ("BANDWIDTH_LIMIT_GB", "1"),
        ("PRICE_PER_GB", "0.5"),
        ("FREE_GB", "0"),
        ("CURRENCY", "EUR"),
    ];
    let broker = TestBroker::start(&[&settings, more].concat()).await;
    let users = [("dave", 50), ("carol", 100), ("bob", 200), ("ann", 610)];
    for (user, _) in users {
        open(&broker, user).await;
    }
    // At 100 Mbps a connection relays 610 MB in 49 s.
    broker.advance(60);
    for (user, mb) in users {
        relay(&broker, user, mb).await;
    }
    finished("an alert", receiver.wait_for(1)).await;
    let body = receiver.history()[0].json();
    (broker, body)
}

#[tokio::test]
async fn an_alert_names_the_three_largest_users_the_cost_and_where_to_act() {
    let (_broker, body) = first_alert(&[("PUBLIC_URL", "https://turn.example.com/relay")]).await;
    assert_eq!(body["event"], "budget.used_95");
    assert_eq!(body["spendersBy"], "user");
    let expected = json!([
        {"key": "ann", "bytes": 610 * MB, "percentage": 63.54},
        {"key": "bob", "bytes": 200 * MB, "percentage": 20.83},
        {"key": "carol", "bytes": 100 * MB, "percentage": 10.42},
    ]);
    assert_eq!(body["spenders"], expected);
    assert_eq!(body["cost"], json!({"currency": "EUR", "soFar": "0.48", "forecast": null}));
    assert_eq!(body["link"], "https://turn.example.com/relay/dashboard#spenders");
    let text = body["text"].as_str().unwrap();
    for line in [
        "Largest users: \"ann\" 0.61 GB (64 %), \"bob\" 0.20 GB (21 %), \"carol\" 0.10 GB (10 %).",
        "Cost: 0.48 EUR so far.",
        "https://turn.example.com/relay/dashboard#spenders",
    ] {
        assert!(text.lines().any(|l| l == line), "{line} is missing in\n{text}");
    }
}

#[tokio::test]
async fn no_metric_names_a_spender() {
    let (broker, body) = first_alert(&[]).await;
    assert_eq!(body["link"], Value::Null);
    let metrics = broker.operator("/metrics").await.text;
    for name in ["ann", "carol", "room-1"] {
        let is_word = |c: char| c.is_ascii_alphanumeric() || c == '-';
        assert!(!metrics.split(|c| !is_word(c)).any(|word| word == name), "{name}");
    }
}

#[tokio::test]
async fn every_link_leads_to_a_part_of_the_dashboard() {
    let broker = TestBroker::start(&[]).await;
    let page = broker.get("/dashboard").await.text;
    for kind in AlertKind::all() {
        let id = format!("id=\"{}\"", kind.section());
        assert!(page.contains(&id), "{}: {id}", kind.name());
    }
}
