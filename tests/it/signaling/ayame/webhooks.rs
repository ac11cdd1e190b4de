//! The application's webhooks.

use super::*;
use crate::support::prelude::*;

/// A broker with both webhooks.
async fn with_webhooks(
    plan: &[Reply],
    settings: &[(&str, &str)],
) -> (FakeCloudflare, TestBroker, FakeWebhook, FakeWebhook) {
    let (authn, disconnect) = (FakeWebhook::start(plan).await, FakeWebhook::start(&[]).await);
    let urls = [authn.url(), disconnect.url()];
    let own = [("AUTHN_WEBHOOK_URL", &*urls[0]), ("DISCONNECT_WEBHOOK_URL", &*urls[1])];
    let (cloudflare, broker) = with_ayame(&[&own, settings].concat()).await;
    (cloudflare, broker, authn, disconnect)
}

/// What the application is told of a socket.
fn about(webhook: &Received) -> [String; 3] {
    let body = webhook.json();
    ["roomId", "clientId", "connectionId"].map(|field| body[field].as_str().unwrap().to_owned())
}

const INTERNAL: &str = r#"{"reason":"InternalServerError","type":"reject"}"#;

#[tokio::test]
async fn the_application_is_asked_and_told_with_copied_headers() {
    let copied = ("COPY_WEBSOCKET_HEADER_NAMES", "X-Session, cookie,x-absent");
    let metadata = r#"{"allowed":true,"authzMetadata":{"z": 1.0,"a":null}}"#;
    let (_cloudflare, broker, authn, disconnect) = with_webhooks(&[Reply::Text(metadata)], &[copied]).await;
    let headers = [("x-session", "s 1"), ("cookie", "c=2"), ("x-other", "3")];
    let mut socket = SocketClient::open(broker.address, PATH, &headers).await.unwrap();
    let given = json!({"type": "register", "roomId": "r", "clientId": "ann", "key": "k", "authnMetadata": {"m": [1]},
        "ayameClient": "sdk"});
    socket.send_json(&given).await;
    let Got::Text(accept) = socket.next().await else { panic!() };
    assert!(accept.contains(r#""authzMetadata":{"z": 1.0,"a":null}"#), "{accept}");
    let accept: Value = serde_json::from_str(&accept).unwrap();
    assert!(accept["iceServers"].is_array(), "the webhook gives none, so the broker mints");
    socket.close().await;
    disconnect.wait_for(1).await;

    let (asked, told) = (&authn.history()[0], &disconnect.history()[0]);
    let expected = json!({"roomId": "r", "clientId": "ann", "connectionId": accept["connectionId"], "signalingKey": "k",
        "authnMetadata": {"m": [1]}, "ayameClient": "sdk"});
    assert_eq!(asked.json(), expected);
    assert_eq!(about(told), about(asked));
    for webhook in [asked, told] {
        assert_eq!(webhook.method, "POST");
        let header = |name| webhook.header(name);
        assert_eq!(
            [header("x-session"), header("cookie"), header("x-other")],
            [Some("s 1"), Some("c=2"), None]
        );
        assert_eq!(header("content-type"), Some("application/json"));
    }
}

#[tokio::test]
async fn a_refusal_and_every_failure_are_a_reject_without_a_mint() {
    let plan = [
        Reply::Text(r#"{"allowed":false,"reason":"not today"}"#),
        Reply::Text(r#"{"allowed":false}"#),
        Reply::Text("garbage"),
        Reply::Text("{}"),
        Reply::Status(500),
        Reply::Status(204),
        Reply::Redirect,
        Reply::EndlessBody,
        Reply::Hang,
    ];
    let (cloudflare, broker, authn, _disconnect) =
        with_webhooks(&plan, &[("WS_PING_INTERVAL_SEC", "30")]).await;
    for (n, _) in plan.iter().enumerate() {
        let mut socket = open(&broker).await;
        socket.send_json(&register("r")).await;
        let reason = if n == 0 { r#"{"reason":"not today","type":"reject"}"# } else { INTERNAL };
        assert_eq!(socket.next().await, text(reason), "{n}");
        assert_eq!(socket.closed().await.0, 1000, "{n}");
    }
    assert_eq!(authn.history().len(), plan.len(), "no redirect is followed, and nothing is asked twice");
    assert_eq!(cloudflare.history().mints(), 0);
}

#[tokio::test]
async fn any_success_of_the_webhook_that_is_told_is_good_and_any_other_status_is_logged() {
    let (log, _logging) = Log::of_this_thread();
    let disconnect = FakeWebhook::start(&[Reply::Status(204), Reply::Status(202), Reply::Status(500)]).await;
    let url = disconnect.url();
    let (_cloudflare, broker) = with_ayame(&[("DISCONNECT_WEBHOOK_URL", &*url)]).await;
    for _ in 0..3 {
        open(&broker).await.close().await;
    }
    disconnect.wait_for(3).await;
    broker.finish().await;
    let text = log.text();
    let failed: Vec<_> = text.lines().filter(|line| line.contains("a signaling webhook failed")).collect();
    assert!(failed.len() == 1 && failed[0].contains("answered 500"), "{failed:?}");
}

#[tokio::test]
async fn a_drain_ends_after_the_application_has_been_told() {
    let disconnect = FakeWebhook::start(&[Reply::Hang]).await;
    let url = disconnect.url();
    let settings = [("DISCONNECT_WEBHOOK_URL", &*url)];
    let (_cloudflare, broker) = with_ayame(&settings).await;
    let mut socket = open(&broker).await;
    let app = Arc::clone(&broker.app);
    let client = async { [socket.next().await, socket.next().await] };
    let ((), got) = tokio::join!(broker.finish(), client);
    assert_eq!(got, [closed(1001, "shutting down"), Got::Gone]);
    assert_eq!(disconnect.history().len(), 1);
    assert!(app.signaling.tasks.is_empty(), "the call has ended, here by its time limit");
}
