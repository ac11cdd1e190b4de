//! The real program over three rotations under steady mints, killed at every call of a rotation.

use std::collections::BTreeSet;
use std::process::Command;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use serde_json::Value;

use super::API_TOKEN;
use crate::support::fake_cloudflare::Recorded;
use crate::support::process::Process;
use crate::support::{FakeCloudflare, OPERATOR, StateDir, eventually, http_client};

/// How long a key mints, in days: two seconds.
const DAYS: &str = "0.0000232";
/// Created keys after which the test ends.
const ROTATIONS: u64 = 3;

/// The kind of a call of the rotation. `None` for any other request.
fn kind_of(request: &Recorded) -> Option<String> {
    match request.custom_identifier.as_deref() {
        Some("turn-broker-rotation") => Some("proof".into()),
        _ => request.path.contains("/calls/turn_keys").then(|| request.method.clone()),
    }
}

/// Kills the program, once its id is known. An id of 0 would mean all programs of this group.
fn kill(victim: &AtomicU32) {
    let id = loop {
        match victim.load(Ordering::SeqCst) {
            0 => std::thread::sleep(Duration::from_millis(1)),
            id => break id,
        }
    };
    let status = Command::new("sh").args(["-c", &format!("kill -KILL {id}")]).status().unwrap();
    assert!(status.success());
}

/// Each kill happens before the call is answered, so its outcome is never on disk.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_mint_fails_and_no_key_is_orphaned_although_the_program_is_killed_at_every_call() {
    let (cloudflare, state) = (FakeCloudflare::start().await, StateDir::new());
    cloudflare.turn_keys().require_token(API_TOKEN);
    cloudflare.add_key("operators", "token-of-the-operators-key");
    // The process to kill, and the number of the call in its life at which that happens.
    let (victim, calls, kill_at) =
        (Arc::new(AtomicU32::new(0)), Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(1)));
    let killed_at = Arc::new(Mutex::new(BTreeSet::new()));
    {
        let (victim, calls, kill_at) = (victim.clone(), calls.clone(), kill_at.clone());
        let killed_at = killed_at.clone();
        cloudflare.observe(move |request, _| {
            let Some(kind) = kind_of(request) else { return };
            if calls.fetch_add(1, Ordering::SeqCst) + 1 == kill_at.load(Ordering::SeqCst) {
                kill(&victim);
                killed_at.lock().unwrap().insert(kind);
            }
        });
    }
    let base = cloudflare.base_url();
    let settings = [
        ("STATE_DIR", state.path()),
        ("CLOUDFLARE_API_BASE", base.as_str()),
        ("CLOUDFLARE_REST_BASE", base.as_str()),
        ("CLOUDFLARE_ACCOUNT_ID", "account"),
        ("CLOUDFLARE_API_TOKEN", API_TOKEN),
        ("CLOUDFLARE_TURN_KEY_ID", "operators"),
        ("CLOUDFLARE_TURN_API_TOKEN", "token-of-the-operators-key"),
        ("KEY_ROTATION_DAYS", DAYS),
        ("OPERATOR_TOKEN", OPERATOR),
        ("RATE_LIMIT_REQUESTS", "10000"),
        ("TURN_TTL_SECONDS", "60"),
        ("TURN_EXPIRY_TAIL_SECONDS", "0"),
        ("RUST_LOG", "warn,turn_broker::telemetry::startup=info"),
    ];
    let client = http_client();
    // Where the program listens now. 0: nowhere.
    let (port, end, minted) =
        (Arc::new(AtomicU64::new(0)), Arc::new(AtomicBool::new(false)), Arc::new(AtomicU64::new(0)));
    let callers: Vec<_> = (0..4)
        .map(|_| {
            let (client, port, end, minted) = (client.clone(), port.clone(), end.clone(), minted.clone());
            tokio::spawn(async move {
                while !end.load(Ordering::SeqCst) {
                    let url =
                        format!("http://127.0.0.1:{}/api/turn-credentials", port.load(Ordering::SeqCst));
                    // No response: the program was killed. 4 callers mint 500 times a minute.
                    if let Ok(response) = client.get(&url).send().await
                        && let Ok(body) = response.text().await
                    {
                        assert!(body.contains("\"degraded\":false"), "{body}");
                        minted.fetch_add(1, Ordering::SeqCst);
                    }
                    tokio::time::sleep(Duration::from_millis(480)).await;
                }
            })
        })
        .collect();

    // After a start: a list, the deletion of what the life before left, then a creation and a proof.
    for life in [1, 2, 2, 3, 4, 4, 5, 6] {
        calls.store(0, Ordering::SeqCst);
        kill_at.store(life, Ordering::SeqCst);
        victim.store(0, Ordering::SeqCst);
        let process = spawn(&settings, &victim);
        port.store(process.port, Ordering::SeqCst);
        eventually("the kill", async || calls.load(Ordering::SeqCst) >= life).await;
        let _ = process.finish();
        check(&cloudflare);
    }
    let kinds = killed_at.lock().unwrap().iter().cloned().collect::<Vec<_>>();
    assert_eq!(kinds, ["DELETE", "GET", "POST", "proof"], "every kind of call was the last one once");
    calls.store(0, Ordering::SeqCst);
    kill_at.store(usize::MAX, Ordering::SeqCst);
    let process = spawn(&settings, &victim);
    port.store(process.port, Ordering::SeqCst);
    let overview = async || -> Value {
        let request = client.get(process.url("/api/overview")).bearer_auth(OPERATOR);
        serde_json::from_str(&request.send().await.unwrap().text().await.unwrap()).unwrap()
    };
    let before = cloudflare.turn_keys().made();
    eventually("three rotations", async || u64::from(cloudflare.turn_keys().made() - before) > ROTATIONS)
        .await;
    end.store(true, Ordering::SeqCst);
    for caller in callers {
        caller.await.unwrap();
    }
    assert!(minted.load(Ordering::SeqCst) > 20);
    // Every key at the provider is the one that mints, a candidate, or waits for the end of its last grant.
    eventually("no orphan", async || {
        let rotation = overview().await["provider"]["rotation"].take();
        let known = 1 + rotation["retired"].as_u64().unwrap();
        let existing = u64::try_from(cloudflare.turn_keys().names().len()).unwrap();
        rotation["failures"] == 0 && (known..=known + 1).contains(&existing)
    })
    .await;
    let deleted: BTreeSet<_> = cloudflare
        .history()
        .requests()
        .into_iter()
        .filter(|request| request.method == "DELETE")
        .map(|request| request.path)
        .collect();
    assert!(deleted.iter().all(|path| !path.ends_with("/operators")));
}

fn spawn(settings: &[(&str, &str)], victim: &AtomicU32) -> Process {
    let mut all = vec![("HOST", "127.0.0.1"), ("PORT", "0")];
    all.extend_from_slice(settings);
    let process = Process::spawn(&mut crate::support::process::command(&all));
    victim.store(process.id(), Ordering::SeqCst);
    process
}

/// Names are unique, so none was created twice.
fn check(cloudflare: &FakeCloudflare) {
    let names: Vec<String> = cloudflare.turn_keys().names().into_values().collect();
    assert_eq!(names.iter().collect::<BTreeSet<_>>().len(), names.len(), "{names:?}");
}
