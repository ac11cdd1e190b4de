//! `GET /api/backup`: a consistent copy of the ledger while the broker serves.

use std::sync::atomic::{AtomicBool, Ordering};

use turn_broker::store::file::inspect::LedgerCopy;

use crate::support::prelude::*;

const SETTINGS: [(&str, &str); 4] = [COTURN[0], COTURN[1], COTURN[2], ("RATE_LIMIT_REQUESTS", "10000")];

async fn start(state: &StateDir) -> TestBroker {
    TestBroker::start(&[&SETTINGS[..], &[("STATE_DIR", state.path())]].concat()).await
}

async fn backup(broker: &TestBroker) -> Vec<u8> {
    let response = broker.request(Method::GET, "/api/backup").bearer_auth(OPERATOR).send().await.unwrap();
    assert_eq!(response.status(), 200);
    let length: usize = response.headers()["content-length"].to_str().unwrap().parse().unwrap();
    let bytes = response.bytes().await.unwrap();
    assert_eq!(bytes.len(), length);
    bytes.to_vec()
}

/// The ids of the grants in a backup, which must be sound.
fn grants_of(bytes: &[u8]) -> BTreeSet<String> {
    let directory = StateDir::new();
    std::fs::write(directory.file(), bytes).unwrap();
    let mut ledger = once_free(|| LedgerCopy::take(directory.path().as_ref())).unwrap();
    assert_eq!(ledger.findings(), Vec::<String>::new());
    ledger.stored().unwrap().books.grants.iter().map(|(id, _)| id.to_string()).collect()
}

/// Mints until `end`, and notes each grant whose response has arrived.
async fn mint_until(broker: Arc<TestBroker>, end: Arc<AtomicBool>) -> Vec<String> {
    let mut minted = vec![];
    while !end.load(Ordering::Relaxed) {
        minted.push(broker.grant().await);
    }
    minted
}

#[tokio::test(flavor = "multi_thread")]
async fn a_backup_under_load_is_sound_and_has_every_grant_that_was_issued_before_it() {
    let state = StateDir::new();
    let broker = Arc::new(start(&state).await);
    let end = Arc::new(AtomicBool::new(false));
    let load: Vec<_> =
        (0..8).map(|_| tokio::spawn(mint_until(Arc::clone(&broker), Arc::clone(&end)))).collect();
    let mut sizes = vec![];
    for nth in 0..5 {
        let before = broker.grant().await;
        let id = broker.app.mint.grant_keys.verify(&before).unwrap().id.to_string();
        broker.open(REPORTER, &format!("c{nth}")).await;
        let copied = grants_of(&backup(&broker).await);
        assert!(copied.contains(&id), "backup {nth} has the grant from before it");
        sizes.push(copied.len());
    }
    end.store(true, Ordering::Relaxed);
    let mut minted = 0;
    for load in load {
        minted += load.await.unwrap().len();
    }
    assert!(sizes.is_sorted() && minted > 0, "{sizes:?}, {minted} minted meanwhile");
    let last = grants_of(&backup(&broker).await);
    assert_eq!(last.len(), minted + sizes.len(), "every mint is in the backup after it");
    assert_eq!(std::fs::read_dir(state.path()).unwrap().count(), 1, "only the ledger is left");
}

#[tokio::test]
async fn a_second_backup_waits_for_the_first() {
    let state = StateDir::new();
    let broker = start(&state).await;
    let slot = Arc::clone(&broker.app.backup_slot).try_acquire_owned().unwrap();
    let refused = broker.operator("/api/backup").await;
    assert_eq!(refused.error(), (503, "OVERLOADED"));
    assert_eq!(refused.header("retry-after"), Some("1"));
    drop(slot);
    assert!(!backup(&broker).await.is_empty());
}

#[tokio::test]
async fn a_client_that_leaves_frees_the_slot() {
    let state = StateDir::new();
    let broker = start(&state).await;
    for _ in 0..3 {
        let request = broker.request(Method::GET, "/api/backup").bearer_auth(OPERATOR);
        drop(request.send().await.unwrap());
        crate::support::eventually("the slot is free", async || {
            broker.app.backup_slot.available_permits() == 1
        })
        .await;
    }
}

#[tokio::test]
async fn only_the_operator_of_a_ledger_on_disk_gets_one() {
    let state = StateDir::new();
    let broker = start(&state).await;
    assert_eq!(
        broker.request(Method::HEAD, "/api/backup").bearer_auth(OPERATOR).send().await.unwrap().status(),
        405
    );
    let in_memory = TestBroker::start(&SETTINGS).await;
    let refused = in_memory.operator("/api/backup").await;
    assert_eq!(refused.error(), (404, "NOT_FOUND"));
    assert!(refused.text.contains("Set STATE_DIR"), "{}", refused.text);
}

/// As in a drill beside production.
#[tokio::test]
async fn to_the_original_a_token_of_its_copy_is_forged_and_the_copy_knows_earlier_tokens() {
    let (state, directory) = (StateDir::new(), StateDir::new());
    let original = start(&state).await;
    let earlier = original.grant().await;
    std::fs::write(directory.file(), backup(&original).await).unwrap();
    let copy = start(&directory).await;
    let own = copy.grant().await;
    assert_eq!(copy.open(&earlier, "c").await.status, 201);
    assert_eq!(original.open(&own, "c").await.error(), (401, "INVALID_GRANT"));
    assert!(!original.has_hint("LEDGER_LOST_WRITES").await);
    assert!(copy.has_hint("LEDGER_LOST_WRITES").await);
    copy.finish().await;
    let copy = start(&directory).await;
    assert_eq!(copy.open(&own, "d").await.status, 201, "the key of a copy is replaced once");
    assert_eq!(copy.heartbeat(&earlier, "c", json!({})).await.status, 200);
}
