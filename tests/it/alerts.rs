//! Delivery of alerts to a webhook: content, retries, giving up, and that URL and key never leak.

use std::error::Error;

use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;
use tokio_util::sync::CancellationToken;
use turn_base::{CallError, HttpClient, Network, RetryPolicy};
use turn_broker::alert::dispatcher::{AlertDispatcher, Outbox};
use turn_broker::alert::webhook::Webhook;
use turn_broker::alert::{Alert, BudgetFigures, Fault};
use turn_broker::telemetry::metrics::{Metrics, ScrapedFigures};

use crate::support::fake_webhook::PATH;
use crate::support::prelude::*;

const START: &str = "2025-01-15T12:00:00Z";
const SECRET: &str = "hush-signing-fixture";

fn webhook(url: &str) -> Webhook {
    let settings = [("ALERT_WEBHOOK_URL", url), ("ALERT_WEBHOOK_SECRET", SECRET)];
    let config = Config::from_env(&Environment::from_pairs(settings)).unwrap();
    Webhook::new(HttpClient::new(&Network::DIRECT).unwrap(), &config.alert.unwrap(), config.public_url)
}

/// The alerts of a budget of 1,000 GB whose usage rises to so many percent.
fn alerts(percent: u16) -> Vec<Alert> {
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
    let alert = |percent: u16| Alert {
        id: format!("2025-01-01/budget-used-{percent}/1000000000000"),
        kind: AlertKind::Used(percent),
        ..Alert::test(at, budget(gb(u64::from(percent) * 10)))
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

#[tokio::test]
async fn an_alert_arrives_complete_with_a_valid_signature() {
    let receiver = FakeWebhook::start(&[]).await;
    webhook(&receiver.url()).send(&alert(), timestamp(START)).await.unwrap();
    let [alerted] = receiver.history().try_into().unwrap();
    assert_eq!((alerted.method.as_str(), alerted.path.as_str()), ("POST", PATH));
    for (name, value) in [
        ("content-type", "application/json"),
        ("user-agent", "turn-broker/"),
        ("webhook-id", "2025-01-01/budget-used-50/1000000000000"),
        ("webhook-timestamp", "1736942400"),
    ] {
        assert!(alerted.header(name).unwrap().starts_with(value), "{name}");
    }
    assert!(verifies(&alerted));
    let forged = Received { body: [&alerted.body[..], b" "].concat().into(), ..alerted };
    assert!(!verifies(&forged));
}

/// A workflow of Teams answers so.
#[tokio::test]
async fn an_alert_that_is_accepted_with_202_is_delivered() {
    let receiver = FakeWebhook::start(&[Reply::Status(202)]).await;
    webhook(&receiver.url()).send(&alert(), timestamp(START)).await.unwrap();
    assert_eq!(receiver.history().len(), 1);
}

#[tokio::test]
async fn errors_and_debug_forms_contain_neither_url_nor_key() {
    let port = HeldPort::new();
    let receiver = FakeWebhook::start(&[Reply::Status(302), Reply::Status(403), Reply::Status(503)]).await;
    let send = async |url: &str, id: &str| {
        webhook(url).send(&Alert { id: id.into(), ..alert() }, timestamp(START)).await.unwrap_err()
    };
    let closed = send(&format!("http://{}{PATH}", port.address()), "1").await;
    assert!(matches!(closed, CallError::Connect(_)), "{closed:?}");
    let unsendable = send(&receiver.url(), "a\nb").await;
    assert!(matches!(unsendable, CallError::Unsendable) && !unsendable.is_temporary());
    let mut errors = vec![closed, unsendable, send(&receiver.url().replace("http:", "https:"), "2").await];
    for _ in 0..3 {
        errors.push(send(&receiver.url(), "3").await);
    }
    for error in &errors {
        let mut text = format!("{error} {error:?}");
        let mut cause = error.source();
        while let Some(error) = cause {
            text = format!("{text} {error} {error:?}");
            cause = error.source();
        }
        assert!(!text.contains("hush"), "{text}");
    }
}

#[tokio::test]
async fn the_log_shows_the_outcome_of_an_alert_and_neither_url_nor_key() {
    let (log, logging) = Log::of_this_thread();
    let plan = [Reply::Status(503), Reply::Status(200), Reply::Status(410)];
    let (history, metrics) = Round::start(&plan, alerts(80)).await.finish().await;
    // The 410 ends the attempts.
    assert_eq!(events(&history), ["budget.used_50", "budget.used_50", "budget.used_80"]);
    assert!(counted(&metrics, AlertKind::Used(80), "failed"));
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
    async fn waiting(&self) -> Vec<Alert> {
        self.0.lock().unwrap().iter().cloned().collect()
    }

    fn remove(&self, id: &str) {
        self.0.lock().unwrap().retain(|alert| alert.id != id);
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
            webhook: webhook(&receiver.url()),
            clock: clock.clone(),
            metrics: Arc::clone(&metrics),
            retry: RetryPolicy { first: millis(1), longest: millis(4), attempts_max: 5 },
        };
        let work = tokio::spawn({
            let (outbox, end) = (Arc::clone(&outbox), end.clone());
            async move {
                end.run_until_cancelled(dispatcher.deliver(&*outbox)).await;
            }
        });
        Self { receiver, outbox, metrics, clock, end, work }
    }

    /// Waits for an empty outbox, ends the dispatcher, and returns what arrived.
    async fn finish(self) -> (Vec<Received>, Arc<Metrics>) {
        eventually("everything is settled", async || self.outbox.waiting().await.is_empty()).await;
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
#[expect(clippy::disallowed_methods, reason = "a wait that is too short shows in real time only")]
async fn a_temporary_failure_is_retried_with_the_same_id_before_the_next_alert_and_not_too_early() {
    let plan = [Reply::Status(503), Reply::TooManyRequests { retry_after: "1" }, Reply::Status(200)];
    let started = std::time::Instant::now();
    let (history, metrics) = Round::start(&plan, alerts(80)).await.finish().await;
    assert!(started.elapsed() >= Duration::from_secs(1), "the receiver has asked for a wait");
    let repeated = "budget.used_50";
    assert_eq!(events(&history), [repeated, repeated, repeated, "budget.used_80"]);
    let ids: Vec<_> = history[..3].iter().map(|received| received.header("webhook-id")).collect();
    assert_eq!(ids, [Some(&*alert().id); 3]);
    assert_eq!(history[0].body, history[2].body);
    assert!(history.iter().all(verifies));
    assert!(counted(&metrics, AlertKind::Used(50), "delivered"));
}

#[tokio::test]
async fn an_alert_waits_for_no_attempt_of_another_condition_and_no_recovery_comes_before_its_failure() {
    let of = |id: &str, kind| Alert { id: id.into(), kind, ..alert() };
    let (began, ended) = (AlertKind::Began(Fault::ProviderDown), AlertKind::Ended(Fault::ProviderDown));
    let waiting = vec![of("1", began), of("2", ended), of("3", AlertKind::Used(95))];
    let (history, _) = Round::start(&[Reply::Status(503); 2], waiting).await.finish().await;
    let mut events = events(&history);
    assert_eq!(events[..2], ["provider.down", "budget.used_95"]);
    events.retain(|event| event != "budget.used_95");
    assert_eq!(events, ["provider.down", "provider.down", "provider.up"]);
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
    let waiting: Vec<_> = round.outbox.waiting().await.into_iter().map(|alert| alert.id).collect();
    assert_eq!(waiting, [alert().id]);
    assert_eq!(round.receiver.history().len(), 1);
}
