//! Delivery of alerts to a webhook: content, retries, giving up, and that URL and key never leak.

use std::collections::VecDeque;
use std::error::Error;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;
use tokio_util::sync::CancellationToken;
use turn_base::backoff::RetryPolicy;
use turn_base::http_client::{CallError, Network, http_client};
use turn_broker::alert::dispatcher::{AlertDispatcher, Outbox};
use turn_broker::alert::webhook::Webhook;
use turn_broker::alert::{Alert, AlertKind, BudgetFigures, Spending};
use turn_broker::config::{Config, Environment};
use turn_broker::telemetry::metrics::{Metrics, ScrapedFigures};
use turn_ledger::ByteCount;

use crate::support::fake_webhook::{FakeWebhook, PATH, Received, Reply};
use crate::support::log::Log;
use crate::support::manual_clock::{ManualClock, timestamp};
use crate::support::{HeldPort, eventually, finished};

const START: &str = "2025-01-15T12:00:00Z";
const SECRET: &str = "hush-signing-fixture";

fn webhook(url: &str, secret: Option<&str>) -> Webhook {
    webhook_with(http_client(&Network::DIRECT).unwrap(), url, secret)
}

fn webhook_with(client: reqwest::Client, url: &str, secret: Option<&str>) -> Webhook {
    let settings = [("ALERT_WEBHOOK_URL", url), ("ALERT_WEBHOOK_SECRET", secret.unwrap_or_default())];
    let config = Config::from_env(&Environment::from_pairs(settings)).unwrap();
    Webhook::new(client, &config.alert.unwrap(), config.public_url)
}

/// The alerts of a budget of 1,000 GB whose usage rises to so many percent.
fn alerts(percent: u8) -> Vec<Alert> {
    let (at, gb) = (timestamp(START), |gb| ByteCount::new(gb * 1_000_000_000));
    let [limit, overshoot_bound] = [1_000, 0].map(gb);
    let budget = |used| BudgetFigures {
        used,
        limit,
        overshoot_bound,
        uncut_overshoot: overshoot_bound,
        likely_overshoot: None,
        reset: at,
    };
    let alert = |percent: u8| Alert {
        id: format!("2025-01-01/budget-used-{percent}/1000000000000"),
        kind: AlertKind::Used(percent),
        ..Alert::test(at, budget(gb(u64::from(percent) * 10)), Spending::default())
    };
    [50, 80].into_iter().filter(|step| *step <= percent).map(alert).collect()
}

fn alert() -> Alert {
    alerts(50).remove(0)
}

/// Verifies the signature like a receiver, from headers and bytes.
fn verifies(received: &Received) -> bool {
    let header = |name| received.header(name).unwrap();
    let mac = Hmac::<Sha256>::new_from_slice(SECRET.as_bytes()).unwrap();
    let head = format!("{}.{}.", header("webhook-id"), header("webhook-timestamp"));
    let mac = mac.chain_update(head).chain_update(&received.body).finalize().into_bytes();
    header("webhook-signature") == format!("v1,{}", STANDARD.encode(mac))
}

/// Every text form of an error.
fn everything_of(error: &CallError) -> String {
    let mut text = format!("{error} {error:?}");
    let mut cause = error.source();
    while let Some(error) = cause {
        text = format!("{text} {error} {error:?}");
        cause = error.source();
    }
    text
}

async fn send(plan: &[Reply]) -> (Result<(), CallError>, Vec<Received>) {
    let receiver = FakeWebhook::start(plan).await;
    let sent = webhook(&receiver.url(), Some(SECRET)).send(&alert(), timestamp(START)).await;
    (sent, receiver.history())
}

#[tokio::test]
async fn an_alert_arrives_complete_with_a_valid_signature() {
    let (sent, history) = send(&[]).await;
    sent.unwrap();
    let [received] = history.try_into().unwrap();
    assert_eq!((received.method.as_str(), received.path.as_str()), ("POST", PATH));
    assert_eq!(received.header("content-type"), Some("application/json"));
    assert!(received.header("user-agent").unwrap().starts_with("turn-broker/"));
    assert_eq!(received.header("webhook-id"), Some("2025-01-01/budget-used-50/1000000000000"));
    assert_eq!(received.header("webhook-timestamp"), Some("1736942400"));
    assert!(verifies(&received));
    let body = received.json();
    assert_eq!((&body["event"], &body["percentage"]), (&"budget.used_50".into(), &50.into()));
    let forged = Received { body: [&received.body[..], b" "].concat().into(), ..received };
    assert!(!verifies(&forged));
}

#[tokio::test]
async fn without_a_secret_alerts_are_unsigned() {
    let receiver = FakeWebhook::start(&[]).await;
    webhook(&receiver.url(), None).send(&alert(), timestamp(START)).await.unwrap();
    let [request] = receiver.history().try_into().unwrap();
    assert_eq!(request.header("webhook-signature"), None);
    assert_eq!(request.header("webhook-id"), Some(&*alert().id), "repeats are still recognizable");
}

#[tokio::test]
async fn an_endless_response_is_not_read() {
    let (sent, _) = send(&[Reply::EndlessBody]).await;
    sent.unwrap();
}

#[tokio::test]
async fn a_redirect_is_not_followed() {
    let (sent, history) = send(&[Reply::Redirect]).await;
    assert_eq!(sent.unwrap_err().status(), Some(307));
    assert_eq!(history.len(), 1);
}

#[tokio::test]
async fn a_receiver_that_hangs_is_abandoned_at_the_deadline() {
    let receiver = FakeWebhook::start(&[Reply::Hang]).await;
    let patient = webhook_with(crate::support::http_client(), &receiver.url(), None);
    let (alert, at) = (alert(), timestamp(START));
    let sent = finished("an end", patient.send(&alert, at)).await;
    assert!(matches!(sent, Err(CallError::Timeout)), "the client alone would wait forever");
}

#[tokio::test]
async fn a_receiver_may_request_a_wait() {
    let (sent, _) = send(&[Reply::TooManyRequests { retry_after: "7" }]).await;
    assert_eq!(sent.unwrap_err().retry_after(), Some(Duration::from_secs(7)));
}

#[tokio::test]
async fn errors_and_debug_forms_contain_neither_url_nor_key() {
    let port = HeldPort::new();
    let closed = format!("http://{}{PATH}", port.address());
    let refused = webhook(&closed, Some(SECRET)).send(&alert(), timestamp(START)).await.unwrap_err();
    assert!(matches!(refused, CallError::Connect(_)), "{refused:?}");
    let receiver = FakeWebhook::start(&[]).await;
    let tls = receiver.url().replace("http:", "https:");
    let tls = webhook(&tls, Some(SECRET)).send(&alert(), timestamp(START)).await.unwrap_err();
    let mut errors = vec![refused, tls];
    for status in [302, 400, 401, 403, 404, 410, 500, 503] {
        errors.push(send(&[Reply::Status(status)]).await.0.unwrap_err());
    }
    let bad_id = Alert { id: "a\nb".into(), ..alert() };
    let unsendable =
        webhook(&receiver.url(), Some(SECRET)).send(&bad_id, timestamp(START)).await.unwrap_err();
    assert!(matches!(unsendable, CallError::Unsendable) && !unsendable.is_temporary());
    errors.push(unsendable);
    for error in &errors {
        let text = everything_of(error);
        assert!(!text.contains("hush"), "{text}");
    }
    let shown = format!("{:?}", webhook(&receiver.url(), Some(SECRET)));
    assert!(shown.contains("127.0.0.1") && !shown.contains("hush"), "{shown}");
}

#[tokio::test]
async fn the_log_shows_the_outcome_of_an_alert_and_neither_url_nor_key() {
    let (log, logging) = Log::of_this_thread();
    let plan = [Reply::Status(503), Reply::Status(200), Reply::Status(410)];
    Round::start(&plan, alerts(80)).await.finish().await;
    drop(logging);
    let text = log.text();
    for expected in ["alert not delivered yet: ", "alert delivered ", "alert not delivered: ", "127.0.0.1"] {
        assert!(text.contains(expected), "{expected:?} is missing in\n{text}");
    }
    assert!(text.contains("TRACE"), "the log contains the client's own lines");
    assert!(!text.contains("hush"), "{text}");
}

/// A running dispatcher and its outbox.
struct Round {
    receiver: FakeWebhook,
    outbox: Arc<TestOutbox>,
    metrics: Arc<Metrics>,
    clock: Arc<ManualClock>,
    end: CancellationToken,
    work: tokio::task::JoinHandle<()>,
}

#[derive(Default)]
struct TestOutbox(Mutex<VecDeque<Alert>>);

impl Outbox for TestOutbox {
    async fn next(&self) -> Option<Alert> {
        self.0.lock().unwrap().front().cloned()
    }

    fn remove(&self, id: &str) {
        self.0.lock().unwrap().retain(|alert| alert.id != id);
    }
}

impl TestOutbox {
    fn ids(&self) -> Vec<String> {
        self.0.lock().unwrap().iter().map(|alert| alert.id.clone()).collect()
    }
}

impl Round {
    /// Starts with waits of milliseconds instead of seconds, and five attempts.
    async fn start(plan: &[Reply], alerts: Vec<Alert>) -> Self {
        let receiver = FakeWebhook::start(plan).await;
        let outbox = Arc::new(TestOutbox(Mutex::new(alerts.into())));
        let (metrics, clock) = (Arc::new(Metrics::default()), Arc::new(ManualClock::at(START)));
        let end = CancellationToken::new();
        let millis = Duration::from_millis;
        let dispatcher = AlertDispatcher {
            webhook: webhook(&receiver.url(), Some(SECRET)),
            clock: clock.clone(),
            metrics: Arc::clone(&metrics),
            retry: RetryPolicy { first: millis(1), longest: millis(4), attempts_max: 5 },
        };
        let work = tokio::spawn({
            let (outbox, end) = (Arc::clone(&outbox), end.clone());
            async move { dispatcher.deliver(&*outbox, &end).await }
        });
        Self { receiver, outbox, metrics, clock, end, work }
    }

    /// Waits for an empty outbox, ends the dispatcher, and returns what arrived.
    async fn finish(self) -> (Vec<Received>, Arc<Metrics>) {
        eventually("everything is settled", async || self.outbox.next().await.is_none()).await;
        self.end.cancel();
        self.work.await.unwrap();
        (self.receiver.history(), self.metrics)
    }
}

fn counted(metrics: &Metrics, event: AlertKind, outcome: &str) -> bool {
    let line = format!("turn_broker_alerts_total{{event=\"{}\",outcome=\"{outcome}\"}} 1", event.name());
    metrics.render(&ScrapedFigures::default()).unwrap().lines().any(|l| l == line)
}

fn events(history: &[Received]) -> Vec<String> {
    history.iter().map(|received| received.json()["event"].as_str().unwrap().to_owned()).collect()
}

#[tokio::test]
async fn a_temporary_failure_is_retried_with_the_same_id_before_the_next_alert() {
    let plan = [Reply::Status(503), Reply::TooManyRequests { retry_after: "0" }, Reply::Status(200)];
    let (history, metrics) = Round::start(&plan, alerts(80)).await.finish().await;
    let repeated = "budget.used_50";
    assert_eq!(events(&history), [repeated, repeated, repeated, "budget.used_80"]);
    let ids: Vec<_> = history[..3].iter().map(|received| received.header("webhook-id")).collect();
    assert_eq!(ids, [Some(&*alert().id); 3]);
    assert_eq!(history[0].body, history[2].body);
    assert!(history.iter().all(verifies));
    assert!(counted(&metrics, AlertKind::Used(50), "delivered"));
}

#[tokio::test]
#[expect(clippy::disallowed_methods, reason = "a wait that is too short shows in real time only")]
async fn a_requested_wait_is_honoured() {
    let started = std::time::Instant::now();
    let plan = [Reply::TooManyRequests { retry_after: "1" }];
    let (history, _) = Round::start(&plan, alerts(50)).await.finish().await;
    assert_eq!(history.len(), 2);
    assert!(started.elapsed() >= Duration::from_secs(1), "{:?}", started.elapsed());
}

#[tokio::test]
async fn each_attempt_is_signed_at_its_own_time() {
    let round = Round::start(&[Reply::Hang], alerts(50)).await;
    round.receiver.wait_for(1).await;
    round.clock.advance(Duration::from_secs(3_600));
    let (history, _) = round.finish().await;
    let at: Vec<_> = history.iter().map(|received| received.header("webhook-timestamp").unwrap()).collect();
    assert_eq!(at, ["1736942400", "1736946000"], "the first attempt hung until its deadline");
    assert!(history.iter().all(verifies));
}

#[tokio::test]
async fn a_refusal_ends_only_the_attempts_of_that_alert() {
    for status in [400, 401, 403, 404, 410] {
        let (history, metrics) = Round::start(&[Reply::Status(status)], alerts(80)).await.finish().await;
        assert_eq!(events(&history), ["budget.used_50", "budget.used_80"], "{status}");
        assert!(counted(&metrics, AlertKind::Used(50), "failed"), "{status}");
        assert!(counted(&metrics, AlertKind::Used(80), "delivered"), "{status}");
    }
}

#[tokio::test]
async fn an_undeliverable_alert_is_given_up_and_counted() {
    let (history, metrics) = Round::start(&[Reply::Status(500); 5], alerts(80)).await.finish().await;
    assert_eq!(history.len(), 6, "five attempts, then the next alert");
    assert!(counted(&metrics, AlertKind::Used(50), "given_up"));
    assert!(counted(&metrics, AlertKind::Used(80), "delivered"));
}

#[tokio::test]
async fn shutdown_does_not_wait_for_the_receiver_and_keeps_the_alert() {
    let round = Round::start(&[Reply::Hang], alerts(50)).await;
    round.receiver.wait_for(1).await;
    round.end.cancel();
    finished("an end", round.work).await.unwrap();
    assert_eq!(round.outbox.ids(), [alert().id]);
    assert_eq!(round.receiver.history().len(), 1);
}
