//! The trials of the tail: with a relay that relays on after the expiry, and a count that says until when it was billed.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use crate::support::manual_clock::ManualClock;
use crate::support::test_broker::{START, config};
use crate::support::turn_server::RELAYED;
use crate::support::{AnalyticsFault, FakeCloudflare, StateDir, TestBroker, TurnServer, hint_codes};
use chrono::SecondsFormat;
use serde_json::{Value, json};
use strum::IntoEnumIterator as _;
use turn_broker::doctor::{self, Options, Progress};
use turn_broker::meter::cloudflare::analytics::by_grant::PageBounds;
use turn_broker::meter::trials::{MakesTrials as _, Trials};
use turn_ledger::{CountOwner, CredentialEnd, IceSource, IdDigest, Minute, TailTrial};

use super::{meter, with_analytics};

const PROBES: (&str, &str) = ("RELAY_PROBE", "on");
/// The minutes of a trial are final so long after it: the lag, an hour, and what may be beside them.
const FINAL_AFTER: u64 = 5_000;
const HOURS: u64 = 3_600;

fn owner() -> CountOwner {
    CountOwner { source: IceSource::Cloudflare, issuer: Some(IdDigest::of("key-id")) }
}

/// The trial that waits for its count.
fn uncounted(broker: &TestBroker, end: CredentialEnd) -> Option<TailTrial> {
    broker.app.account.read(|books| books.ledger().uncounted_trial(owner(), end).cloned())
}

async fn step(broker: &TestBroker, trials: &mut Trials, seconds: u64) {
    broker.advance(seconds);
    meter(broker).step_trials(trials).await;
}

/// Trials of both ends, of which data come back for two minutes after the expiry.
async fn relay_for_three_minutes(broker: &TestBroker, relay: &TurnServer, trials: &mut Trials) {
    step(broker, trials, 0).await;
    for seconds in [30, 30, 60] {
        step(broker, trials, seconds).await;
    }
    relay.refuse_all().await;
    for _ in 0..3 {
        step(broker, trials, 60).await;
    }
    relay.accept();
}

/// The provider counts 100 kB of each of these minutes after 12:00, under the identifier of a trial.
fn bill(cloudflare: &FakeCloudflare, identifier: &str, minutes: impl IntoIterator<Item = i64>) {
    for minute in minutes {
        let at = Minute::new(28_949_040 + minute).start().to_utc().to_rfc3339_opts(SecondsFormat::Secs, true);
        cloudflare.analytics().relay_as("key-id", identifier, &at, 100_000, 100_000);
    }
}

/// The same trial shows the same again, so often.
fn repeat(broker: &TestBroker, trial: &TailTrial, minutes: impl IntoIterator<Item = i64>, times: usize) {
    let billed: BTreeSet<_> = minutes.into_iter().map(|minute| Minute::new(28_949_040 + minute)).collect();
    broker.app.account.change(|books| {
        for _ in 0..times {
            books.note_trial(owner(), CredentialEnd::Expiry, trial.clone());
            books.count_trial(owner(), CredentialEnd::Expiry, Some(&billed));
        }
    });
}

fn trials_of<'a>(overview: &'a Value, end: &str) -> &'a Value {
    overview["tails"].as_array().unwrap().iter().find(|tails| tails["end"] == end).unwrap()
}

#[tokio::test]
async fn three_trials_make_a_tail_that_new_promises_take_and_late_bytes_end_it() {
    let state = StateDir::new();
    let (cloudflare, broker) = with_analytics(&[PROBES, ("STATE_DIR", state.path())]).await;
    let relay = TurnServer::start(RELAYED, cloudflare.history()).await;
    cloudflare.relays_at(&[relay.url()]);
    let mut trials = Trials::default();
    relay_for_three_minutes(&broker, &relay, &mut trials).await;
    let requests = cloudflare.history().requests();
    let asked: Vec<_> = requests.iter().filter_map(|request| request.custom_identifier.clone()).collect();
    assert_eq!(asked, ["turn-broker-expiry-28949040", "turn-broker-revocation-28949040"]);
    let lives: Vec<_> = requests.iter().filter_map(|request| request.ttl).collect();
    assert_eq!(lives, [60, 8_100], "its expiry does not end what the revocation does not");
    assert_eq!(cloudflare.history().revoked(), 1);
    let status = broker.status().await;
    assert_eq!((&status["grants"]["issued"], &status["grants"]["live"]), (&json!(0), &json!(0)));
    assert!(status["usedBytes"].as_u64().unwrap() >= 700_000, "its bytes are used: {}", status["usedBytes"]);

    let trial = uncounted(&broker, CredentialEnd::Expiry).expect("it waits for its count");
    bill(&cloudflare, "turn-broker-expiry-28949040", 0..3);
    step(&broker, &mut trials, 600).await;
    assert!(uncounted(&broker, CredentialEnd::Expiry).is_some(), "its minutes are not final");
    step(&broker, &mut trials, FINAL_AFTER).await;
    let overview = broker.overview().await;
    let shown = trials_of(&overview, "expiry");
    assert_eq!((&shown["key"], &shown["seconds"]), (&json!("default"), &Value::Null), "one proof is none");
    let expected = json!({
        "beganAt": "2025-01-15T12:00:00.000Z",
        "billedUntil": "2025-01-15T12:03:00.000Z",
        "relayedUntil": "2025-01-15T12:02:00.000Z",
        "refusedAt": "2025-01-15T12:03:00.000Z",
        "tailSeconds": 120,
    });
    assert_eq!(shown["trials"], json!([expected]));
    let nothing = &trials_of(&overview, "revocation")["trials"][0];
    assert_eq!((&nothing["tailSeconds"], &nothing["billedUntil"]), (&Value::Null, &Value::Null));
    assert_eq!(broker.metric("turn_broker_tail_trials_total{outcome=\"proof\"}").await, Some(1));
    assert_eq!(broker.metric("turn_broker_tail_trials_total{outcome=\"no_proof\"}").await, Some(1));

    let before = reserved_of_a_mint(&broker).await;
    repeat(&broker, &trial, 0..3, 2);
    let status = broker.status().await;
    assert_eq!(
        status["boundAssumes"],
        "2 Mbps per grant until 420 s after expiry (tail 420 s, measured 2025-01-15)"
    );
    assert_eq!(status["boundHolds"], true);
    assert_eq!(trials_of(&broker.overview().await, "expiry")["seconds"], 420);
    // The clocks of both sides may differ by two minutes.
    assert_eq!(broker.metric("turn_broker_tail_seconds").await, Some(540));
    // 2 Mbps for 113 minutes less.
    assert_eq!(before - reserved_of_a_mint(&broker).await, 113 * 15_000_000);

    broker.advance_to("2025-01-15T13:40:00Z");
    assert_eq!(broker.get("/api/turn-credentials?ttl=60").await.status, 200);
    let late = cloudflare.history().requests().pop().unwrap().custom_identifier.unwrap();
    // What is counted between 13:51 and 14:10 may be sampling, which had missed earlier bytes.
    let steps = [("13:41", "14:00", "420"), ("13:42", "14:20", "420"), ("14:15", "14:30", "7200")];
    for (relayed, polled, tail) in steps {
        let [relayed, polled] = [relayed, polled].map(|time| format!("2025-01-15T{time}:00Z"));
        cloudflare.analytics().relay_as("key-id", &late, &relayed, 1_000, 0);
        broker.advance_to(&polled);
        meter(&broker).read_by_grant(PageBounds::default()).await.unwrap();
        let assumes = broker.status().await["boundAssumes"].to_string();
        assert!(assumes.starts_with(&format!("\"2 Mbps per grant until {tail} s after expiry")), "{assumes}");
    }
    assert!(trials_of(&broker.overview().await, "expiry")["contradictedAt"].is_string());
}

#[tokio::test]
async fn after_a_rate_limit_no_count_of_a_trial_is_asked_for_within_five_minutes() {
    let (cloudflare, broker) = with_analytics(&[PROBES]).await;
    let relay = TurnServer::start(RELAYED, cloudflare.history()).await;
    cloudflare.relays_at(&[relay.url()]);
    let mut trials = Trials::default();
    relay_for_three_minutes(&broker, &relay, &mut trials).await;
    cloudflare.analytics().set_fault(AnalyticsFault::TooManyRequests);
    let before = cloudflare.analytics().queries().len();
    for seconds in [600 + FINAL_AFTER, 15, 270] {
        step(&broker, &mut trials, seconds).await;
    }
    assert_eq!(cloudflare.analytics().queries().len(), before + 1);
    cloudflare.analytics().heal();
    step(&broker, &mut trials, 15).await;
    assert!(CredentialEnd::iter().all(|end| uncounted(&broker, end).is_none()));
}

/// How much a new credential adds to what is reserved.
async fn reserved_of_a_mint(broker: &TestBroker) -> u64 {
    let committed = || broker.app.account.snapshot().figures.committed.get();
    let before = committed();
    broker.mint().await;
    committed() - before
}

#[tokio::test]
async fn a_trial_is_made_again_after_six_hours_and_none_with_the_settings_that_end_it() {
    let (cloudflare, broker) = with_analytics(&[PROBES]).await;
    cloudflare.relays_at(&["turns:turn.example.com:443?transport=tcp".into()]);
    let mut trials = Trials::default();
    for seconds in [0, 30, 30, 60, 60, 60] {
        step(&broker, &mut trials, seconds).await;
    }
    assert_eq!(cloudflare.history().mints(), 2);
    step(&broker, &mut trials, FINAL_AFTER).await;
    assert_eq!(trials_of(&broker.overview().await, "expiry")["trials"][0]["tailSeconds"], Value::Null);
    step(&broker, &mut trials, 4 * HOURS).await;
    assert_eq!(cloudflare.history().mints(), 2);
    step(&broker, &mut trials, HOURS).await;
    assert_eq!(cloudflare.history().mints(), 4);
    assert!(!hint_codes(&broker.status().await).contains(&"ASSUMPTION_BROKEN"));

    let (cloudflare, broker) = with_analytics(&[]).await;
    meter(&broker).step_trials(&mut Trials::default()).await;
    assert_eq!(cloudflare.history().mints(), 0, "RELAY_PROBE=off");
}

#[tokio::test]
async fn a_configured_tail_is_used_and_trials_are_shown() {
    let (_cloudflare, broker) = with_analytics(&[PROBES, ("TURN_EXPIRY_TAIL_SECONDS", "3600")]).await;
    let began_at = broker.app.account.snapshot().figures.now;
    let mut trial = TailTrial::new(CredentialEnd::Expiry, began_at, Duration::from_secs(60));
    trial.sent(began_at, true, false);
    trial.sent(began_at.plus_millis(120_000), false, true);
    repeat(&broker, &trial, 0..1, 3);
    assert_eq!(broker.status().await["boundAssumes"], "2 Mbps per grant until 3600 s after expiry");
    let overview = broker.overview().await;
    let shown = trials_of(&overview, "expiry");
    assert_eq!((&shown["seconds"], &shown["trials"][2]["tailSeconds"]), (&Value::Null, &json!(60)));
}

#[tokio::test]
async fn doctor_makes_a_trial_at_once_and_prints_it_minute_by_minute() {
    let cloudflare = FakeCloudflare::start().await;
    let relay = TurnServer::start(RELAYED, cloudflare.history()).await;
    cloudflare.relays_at(&[relay.url()]);
    let base = cloudflare.base_url();
    let config = config(&[
        ("CLOUDFLARE_API_BASE", &base),
        ("CLOUDFLARE_TURN_KEY_ID", "key-id"),
        ("CLOUDFLARE_TURN_API_TOKEN", "token"),
    ]);
    let clock = Arc::new(ManualClock::at(START));
    let hurried = Arc::clone(&clock);
    // A step that takes two seconds on a busy machine is a gap of less than ten minutes.
    let hurry = tokio::spawn(async move {
        loop {
            hurried.advance(Duration::from_secs(25));
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    });
    let mut text = Vec::new();
    let options = Options { tail: true, ..Options::default() };
    let report = doctor::run(&config, &options, clock, Progress::new(&mut text, false)).await.unwrap();
    hurry.abort();
    let text = String::from_utf8(text).unwrap();
    let seen: Vec<_> = report.findings.iter().filter(|found| found.check == doctor::Check::Tail).collect();
    let is_seen = |part: &str| seen.iter().any(|found| found.verdict.seen.contains(part));
    assert!(is_seen(" s from the expiry: relays") && is_seen("the credential is revoked"), "{text}");
    assert!(is_seen("relays as long as was looked at after its expiry: 7200 s"), "{text}");
    assert!(is_seen("relays as long as was looked at after its revocation: 7200 s"), "{text}");
}
