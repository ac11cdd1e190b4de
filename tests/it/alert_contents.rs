//! What the alert of a running broker contains: who spends, what it costs, and a link that leads to a part of the dashboard. The unit tests
//! of the rules, texts and bodies have the rest.

use crate::support::prelude::*;

const MB: u64 = 1_000_000;

#[tokio::test]
async fn an_alert_names_the_three_largest_users_the_cost_and_where_to_act_and_no_metric_names_a_user() {
    let receiver = FakeWebhook::start(&[]).await;
    let url = receiver.url();
    let settings = [
        ("ALERT_WEBHOOK_URL", url.as_str()),
        ("BANDWIDTH_LIMIT_GB", "1"),
        ("PRICE_PER_GB", "0.5"),
        ("FREE_GB", "0"),
        ("CURRENCY", "EUR"),
        ("PUBLIC_URL", "https://turn.example.com/relay"),
    ];
    let broker = TestBroker::start(&settings).await;
    let post = async |path: &str, body: Value| {
        assert!(broker.post(REPORTER, &format!("/api/connections{path}"), body).await.status.is_success());
    };
    let users = [("dave", 50), ("carol", 100), ("bob", 200), ("ann", 610)];
    for (user, _) in users {
        post("", json!({"connectionId": user, "user": user, "label": "room-1"})).await;
    }
    assert_eq!(broker.order(Method::POST, "/api/users/bob/block").await.status, 200);
    // At 100 Mbps a connection relays 610 MB in 49 s.
    broker.advance(60);
    for list in ["by=user", "by=user&since=5m"] {
        let path = format!("/api/spenders?{list}");
        assert_eq!(broker.operator(&path).await.status, 200, "it is kept for ten seconds");
    }
    for (user, mb) in users {
        post(&format!("/{user}/heartbeat"), json!({"bytesReceived": mb * MB, "relayed": true})).await;
    }
    finished("an alert", receiver.wait_for(1)).await;
    let body = receiver.history()[0].json();
    assert_eq!(json!([body["event"], body["spendersBy"]]), json!(["budget.used_95", "user"]));
    let expected = json!([
        {"key": "ann", "bytes": 610 * MB, "percentage": 63.54},
        {"key": "bob", "bytes": 200 * MB, "percentage": 20.83},
        {"key": "carol", "bytes": 100 * MB, "percentage": 10.42},
    ]);
    assert_eq!(body["spenders"], expected);
    assert_eq!(body["spenderNow"], json!({"by": "user", "key": "ann", "percentage": 63.54}));
    let text = body["text"].as_str().unwrap();
    assert!(text.contains("First: Stop user \"ann\", who used 64 % in the last 5 minutes, "), "{text}");
    assert!(text.contains("\"bob\" (blocked since 2025-01-15T12:00Z) "), "{text}");
    assert_eq!(body["command"], "turn-broker block ann; turn-broker revoke --user=ann");
    assert_eq!(body["cost"], json!({"currency": "EUR", "soFar": "0.48", "forecast": null}));
    assert_eq!(body["link"], "https://turn.example.com/relay/dashboard#by-user=ann");
    let metrics = broker.operator("/metrics").await.text;
    let is_word = |c: char| c.is_ascii_alphanumeric() || c == '-';
    for name in ["ann", "carol", "room-1"] {
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
