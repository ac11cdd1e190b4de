//! Tests of `turn-broker ledger`, which reads the ledger of a stopped service.

use redb::{Database, ReadableDatabase, TableDefinition};

use turn_broker::store::rows::FORMAT;
use turn_ledger::MinuteRow;

use crate::support::prelude::*;

/// Settings of a broker that needs no provider.
fn settings(state: &StateDir) -> Vec<(&str, &str)> {
    let own = [("STATE_DIR", state.path()), ("BANDWIDTH_LIMIT_GB", "500"), far_billing_day()];
    [&COTURN[..], &own, &[("OPERATOR_TOKEN", OPERATOR), ("REPORTER_TOKEN", REPORTER)]].concat()
}

/// The commands can read a file, such as a backup, also where the service keeps its ledger in a database.
const DATABASE: (&str, &str) = ("DATABASE_URL", "postgres://nobody@127.0.0.1:1/none");

fn ledger(state: &StateDir, what: &str) -> Output {
    run(&["ledger", what], &[&settings(state)[..], &[DATABASE]].concat())
}

fn text(output: &[u8]) -> String {
    String::from_utf8(output.to_vec()).unwrap()
}

fn start(state: &StateDir) -> Process {
    Process::start(&settings(state))
}

/// Lets a real process write a ledger: two grants, one of them with a connection, and an override of the limit. Returns the
/// responses with the grants.
async fn written(state: &StateDir) -> [Value; 2] {
    let process = start(state);
    let minted = [process.mint().await, process.mint().await];
    assert_eq!(process.open(&minted[0].grant(), "call-9").await.status, 201);
    assert_eq!(process.set_limit(250).await.status, 200);
    process.signal("-TERM");
    assert_eq!(process.finish().1, Some(0));
    minted.map(|answer| answer.json())
}

#[tokio::test]
async fn show_summarizes_the_ledger_as_of_the_last_write() {
    let state = StateDir::new();
    written(&state).await;
    let before = std::fs::read(state.file()).unwrap();
    let output = ledger(&state, "show");
    let shown = text(&output.stdout);
    assert_eq!(output.status.code(), Some(0), "{}", text(&output.stderr));
    for line in [
        &format!("Format       {FORMAT}"),
        "Limit        250 GB",
        "Measured     nothing in this period",
        "Grants       2 issued, 1 reported, 2 live",
        "Connections  1 open, 1 opened in this period",
        "Overrides    a limit of 250 GB instead of 500",
        "Alerts       0 to be delivered",
    ] {
        assert!(shown.lines().any(|shown| shown == line), "{line:?} is missing in\n{shown}");
    }
    assert!(shown.contains(state.path()) && shown.contains("the lines below show that time"), "{shown}");
    assert_eq!(std::fs::read(state.file()).unwrap(), before, "the command does not change the file");
}

#[tokio::test]
async fn export_contains_everything_except_secrets() {
    let state = StateDir::new();
    let minted = written(&state).await;
    let output = ledger(&state, "export");
    let exported = text(&output.stdout);
    assert_eq!(output.status.code(), Some(0), "{}", text(&output.stderr));
    let document: Value = serde_json::from_str(&exported).unwrap();
    assert_eq!(document["format"], FORMAT);
    assert_eq!(document["counts"]["counts"]["issued"], 2);
    assert_eq!(document["connections"][0]["id"], Value::Null);
    assert_eq!(document["issued"].as_array().unwrap().len(), 2);
    assert_eq!(document["renewals"], 0);
    assert!(document["sources"]["coturn"]["minutes"].is_array(), "{exported}");

    let mut secrets = vec![COTURN[2].1.to_owned(), OPERATOR.into(), REPORTER.into()];
    for answer in &minted {
        let server = answer["iceServers"].as_array().unwrap().last().unwrap();
        secrets.extend(["username", "credential"].map(|field| server[field].as_str().unwrap().to_owned()));
        secrets.push(answer["grant"].as_str().unwrap().to_owned());
    }
    for secret in secrets {
        assert!(!exported.contains(&secret), "{secret} is in the export");
    }
    assert!(!exported.contains("\"username\""), "{exported}");
}

#[tokio::test]
async fn export_has_alerts_without_the_names_in_them() {
    let state = StateDir::new();
    let broker = TestBroker::start(&settings(&state)).await;
    let named = json!({"connectionId": "c", "user": "ann-of-the-export"});
    assert_eq!(broker.post(REPORTER, "/api/connections", named).await.status, 201);
    broker.advance(60);
    broker.heartbeat(REPORTER, "c", json!({"bytesReceived": 500_000_000})).await;
    broker.set_limit(0.1).await;
    broker.advance(30);
    let is_named = async || broker.operator("/api/alerts").await.text.contains("ann-of-the-export");
    eventually("an alert names who spends", is_named).await;
    broker.finish().await;
    let exported = text(&ledger(&state, "export").stdout);
    assert!(exported.contains("budget.used_"), "{exported}");
    assert!(!exported.contains("ann-of-the-export"), "{exported}");
}

#[tokio::test]
async fn export_with_people_has_who_spends_and_who_is_blocked() {
    let state = StateDir::new();
    let broker = TestBroker::start(&settings(&state)).await;
    assert_eq!(broker.get("/api/turn-credentials?label=room").await.status, 200);
    let call = json!({"connectionId": "call-9", "user": "bob"});
    assert_eq!(broker.post(REPORTER, "/api/connections", call).await.status, 201);
    broker.advance(60);
    broker.heartbeat(REPORTER, "call-9", json!({"bytesReceived": 500})).await;
    broker.order(Method::POST, "/api/block?user=eve").await;
    broker.finish().await;
    let command = |options: &[&str]| run(&[&["ledger", "export"], options].concat(), &settings(&state));
    let document: Value = serde_json::from_slice(&command(&["--people"]).stdout).unwrap();
    let names = ["/issued/0/spender/label", "/connections/0/id", "/spenders/0/key", "/blocked/0/key"];
    let found = names.map(|at| document.pointer(at).cloned().unwrap_or_default());
    assert_eq!(found, ["room", "call-9", "bob", "eve"], "{document:#}");
    let without = text(&command(&[]).stdout);
    for name in ["room", "call-9", "bob", "eve"] {
        assert!(!without.contains(&format!("\"{name}\"")), "{name} in {without}");
    }
}

#[tokio::test]
async fn a_ledger_is_sound_after_a_shutdown_and_after_a_kill() {
    let state = StateDir::new();
    for signal in ["-KILL", "-TERM"] {
        let process = start(&state);
        assert_eq!(process.mint().await.status, 200);
        process.signal(signal);
        process.finish();
        let output = ledger(&state, "verify");
        assert_eq!(output.status.code(), Some(0), "{signal}: {}", text(&output.stdout));
        assert_eq!(text(&output.stdout), format!("{}: sound\n", state.file().display()));
    }
}

/// Writes rows (table, key, content) into the file directly.
fn damage(state: &StateDir, rows: &[(&str, &[u8], &[u8])]) {
    let database = once_free(|| Database::open(state.file())).unwrap();
    let transaction = database.begin_write().unwrap();
    for (table, key, row) in rows {
        let table = TableDefinition::<&[u8], &[u8]>::new(table);
        transaction.open_table(table).unwrap().insert(*key, *row).unwrap();
    }
    transaction.commit().unwrap();
}

#[tokio::test]
async fn verify_names_every_wrong_row_without_its_content() {
    let state = StateDir::new();
    written(&state).await;
    let minute = postcard::to_allocvec(&MinuteRow::default()).unwrap();
    let id: [u8; 16] = std::array::from_fn(|nth| u8::try_from(nth + 1).unwrap());
    damage(
        &state,
        &[
            ("minutes", &slot_key("carrier-pigeon", 5), &minute),
            ("grants", &id, br#"{"allowance":"hush"}"#),
            ("meta", b"head", b"not JSON: hush"),
        ],
    );
    let output = ledger(&state, "verify");
    let found = text(&output.stdout);
    assert_eq!(output.status.code(), Some(1), "{found}");
    for expected in ["carrier-pigeon", "AQIDBAUGBwgJCgsMDQ4PEA", "\"head\""] {
        assert_eq!(found.matches(expected).count(), 1, "{expected} in\n{found}");
    }
    assert!(!found.contains("hush"), "{found}");
    let shown = ledger(&state, "show");
    assert_eq!(shown.status.code(), Some(1), "a ledger with unreadable rows has no summary");
}

#[test]
fn a_pipe_in_place_of_the_ledger_is_an_error_and_is_not_waited_for() {
    let state = StateDir::new();
    assert!(std::process::Command::new("mkfifo").arg(state.file()).status().unwrap().success());
    let output = ledger(&state, "show");
    assert_eq!(output.status.code(), Some(1), "{}", text(&output.stdout));
    assert!(text(&output.stderr).contains("is not a file"), "{}", text(&output.stderr));
}

#[tokio::test]
async fn verify_finds_every_changed_byte_that_matters() {
    let state = StateDir::new();
    written(&state).await;
    let sound = ledger(&state, "export").stdout;
    let whole = std::fs::read(state.file()).unwrap();
    let mut seen = 0;
    for nth in 0..60 {
        let mut bytes = whole.clone();
        let at = (nth * 7_919 * 61) % bytes.len();
        bytes[at] ^= 0x55;
        std::fs::write(state.file(), &bytes).unwrap();
        let output = ledger(&state, "verify");
        assert!(!text(&output.stderr).contains("panicked"), "{}", text(&output.stderr));
        match output.status.code() {
            Some(0) => assert_eq!(ledger(&state, "export").stdout, sound, "byte {at}"),
            Some(1) => seen += 1,
            code => panic!("byte {at}: {code:?} {}", text(&output.stderr)),
        }
    }
    assert!(seen > 0, "verify found no changed byte");
}

#[tokio::test]
async fn while_the_service_runs_the_error_points_to_its_status() {
    let state = StateDir::new();
    let _process = start(&state);
    for what in ["show", "export", "verify"] {
        let output = ledger(&state, what);
        assert_eq!(output.status.code(), Some(1));
        let error = text(&output.stderr);
        assert!(error.contains("in use") && error.contains("/api/bandwidth-status"), "{error}");
        assert!(output.stdout.is_empty());
    }
}

#[test]
fn a_missing_ledger_is_an_error_and_is_not_created() {
    let state = StateDir::new();
    let output = ledger(&state, "show");
    assert_eq!(output.status.code(), Some(1));
    assert!(text(&output.stderr).contains("is not there"), "{}", text(&output.stderr));
    assert!(!state.file().exists());
    let output = run(&["ledger", "show"], &[DATABASE]);
    assert_eq!(output.status.code(), Some(78));
    let error = text(&output.stderr);
    assert!(error.contains("STATE_DIR is not set") && error.contains("DATABASE_URL"), "{error}");
}

#[tokio::test]
async fn after_a_new_key_earlier_tokens_are_good_until_their_grants_have_ended() {
    let state = StateDir::new();
    let output = run(&["ledger", "rotate-key"], &settings(&state));
    assert!(output.status.code() == Some(1) && !state.file().exists(), "no ledger is made");
    let [minted, _] = written(&state).await;
    let earlier = minted["grant"].as_str().unwrap();
    let before = key_row(&state);
    let output = run(&["ledger", "rotate-key"], &settings(&state));
    assert_eq!(output.status.code(), Some(0), "{}", text(&output.stderr));
    assert!(text(&output.stdout).contains("until their grants have ended"));
    let after = key_row(&state);
    assert!(after[..64] != before[..64] && after[64..128] == before[..64]);
    let process = start(&state);
    assert_eq!(process.open(earlier, "call-10").await.status, 201);
    let output = run(&["ledger", "rotate-key"], &settings(&state));
    assert!(output.status.code() == Some(1) && text(&output.stderr).contains("in use"));
}

fn key_row(state: &StateDir) -> Vec<u8> {
    let database = once_free(|| Database::open(state.file())).unwrap();
    let meta =
        database.begin_read().unwrap().open_table(TableDefinition::<&[u8], &[u8]>::new("meta")).unwrap();
    meta.get(&b"token-key"[..]).unwrap().unwrap().value().to_vec()
}
