//! Tests of the ledger on disk. Every issued grant is on disk, a restart changes no figure, and a file that cannot be read
//! is never overwritten.

use crate::support::prelude::*;
use turn_broker::store::{LedgerCopy, OpenError, Store};
use turn_ledger::{Grant, GrantRow, Head, MinuteRow, SourceRows};

const META: redb::TableDefinition<'_, &[u8], &[u8]> = redb::TableDefinition::new("meta");

/// The status fields that a restart must not change.
fn lasting(status: &Value) -> Vec<Value> {
    ["bandwidthUsedGB", "reservedGB", "overshootBoundGB", "grants", "activeConnections", "durable"]
        .iter()
        .map(|field| status[*field].clone())
        .collect()
}

#[tokio::test]
async fn a_ledger_in_memory_of_the_machine_is_not_durable_and_the_hint_names_its_file_system() {
    let state = tempfile::tempdir_in("/dev/shm").unwrap();
    let (_cloudflare, broker) = with_cloudflare_and(&[("STATE_DIR", state.path().to_str().unwrap())]).await;
    assert_eq!(broker.status().await["durable"], false);
    let hint = broker.hint("NOT_DURABLE").await.unwrap();
    assert!(hint.contains("tmpfs"), "{hint}");
}

#[tokio::test]
async fn a_restart_keeps_grants_usage_and_connections() {
    let state = StateDir::on_disk();
    let settings =
        [("STATE_DIR", state.path()), ("ESTIMATED_MBPS_PER_CONNECTION", "800"), ("HEARTBEAT_SECONDS", "600")];
    let (before, grant) = {
        let (_cloudflare, broker) = with_cloudflare_and(&settings).await;
        let grant = broker.grant().await;
        broker.mint().await;
        broker.open(&grant, "c").await;
        broker.open(REPORTER, "counted").await;
        broker.advance(10);
        let report = json!({"bytesReceived": 70_000_000, "relayed": true});
        broker.heartbeat(REPORTER, "counted", report).await;
        let status = broker.status().await;
        broker.finish().await;
        (status, grant)
    };
    assert_eq!(before["bandwidthUsedGB"], "1.07");
    // The clock of the new process is ten seconds behind the stored time, and time continues from the stored one.
    let (_cloudflare, broker) = with_cloudflare_and(&settings).await;
    let after = broker.status().await;
    assert_eq!(lasting(&after), lasting(&before));
    assert!(after["hints"].as_array().unwrap().iter().all(|hint| hint["code"] != "NOT_DURABLE"));

    let beat = broker.heartbeat(&grant, "c", json!({"bytesReceived": 5_000_000})).await;
    assert_eq!(beat.status, 200, "the grant's token is still valid");
    let again = json!({"bytesReceived": 80_000_000, "relayed": true});
    broker.heartbeat(REPORTER, "counted", again).await;
    // Counts continue from the stored values.
    assert_eq!(broker.metric("turn_broker_used_bytes").await, Some(85_000_000));
}

fn open(directory: &Path) -> OpenError {
    once_free(|| FileStorage::open(directory)).and_then(Store::open).map(|_| ()).unwrap_err()
}

#[test]
fn a_file_that_is_no_ledger_is_named_in_the_error_and_not_changed() {
    for content in [&b""[..], b"not a ledger at all", &[0; 8_192]] {
        let state = StateDir::new();
        std::fs::write(state.file(), content).unwrap();
        let error = open(state.path().as_ref());
        assert!(matches!(error, OpenError::Damaged { .. }), "{error}");
        assert!(error.to_string().contains(FILE_NAME) && error.to_string().contains("backup"), "{error}");
        assert_eq!(std::fs::read(state.file()).unwrap(), content, "the file is not overwritten");
    }
}

/// redb does not check the pages of what it only reads, and panics at a page of an unknown type. At the last byte, the first key in the page
/// of a table ends. Without that end, the key is what follows it, too: other keys and rows.
#[test]
fn damage_that_makes_redb_panic_or_a_key_longer_is_an_error_that_names_the_file_and_not_the_key() {
    let key_is_longer = r#"cannot be read as a ledger (row "?" of "meta" has a broken key). Restore it"#;
    let pages_are_broken = "its pages are broken";
    for (at, said) in [(4_096, pages_are_broken), (4_098, pages_are_broken), (4_100, key_is_longer)] {
        let state = StateDir::new();
        drop(FileStorage::open(state.path().as_ref()).unwrap());
        let mut content = std::fs::read(state.file()).unwrap();
        content[at] ^= 0xff;
        std::fs::write(state.file(), &content).unwrap();
        let inspected =
            once_free(|| LedgerCopy::take(state.path().as_ref())).and_then(|snapshot| snapshot.stored());
        let text = inspected.unwrap_err().to_string();
        assert!(text.contains(FILE_NAME) && text.contains(said), "{at}: {text}");
        let text = open(state.path().as_ref()).to_string();
        assert!(text.contains(FILE_NAME) && text.contains("Restore it from a backup"), "{at}: {text}");
        assert_eq!(std::fs::read(state.file()).unwrap(), content, "the file is not changed");
    }
}

/// A ledger of some batches, closed properly.
fn closed_ledger(state: &StateDir) {
    const BATCHES: i64 = 12;
    let mut storage = FileStorage::open(state.path().as_ref()).unwrap();
    storage.load(Timestamp::default()).unwrap();
    for minute in 0..BATCHES {
        let now = Timestamp::from_millis((28_949_040 + minute) * 60_000);
        let mut rows = SourceRows::default();
        rows.minutes
            .insert(Minute::of(now), MinuteRow { live: minute.unsigned_abs(), ..MinuteRow::default() });
        let id = GrantId::new([minute.to_le_bytes()[0]; 16]);
        let grant = Grant { id, source: IceSource::Coturn, issued_at: now, expires_at: now };
        let batch = Batch {
            head: Head { now, grants: usize::try_from(minute).unwrap() + 1, ..Head::default() },
            sources: [(IceSource::Coturn.into(), rows)].into(),
            grants: [(id, Some(Box::new(GrantRow::new(&grant, None, None))))].into(),
            ..Batch::default()
        };
        storage.write(&batch.into(), minute + 1 == BATCHES).unwrap();
    }
}

#[test]
fn a_flipped_bit_of_a_ledger_that_was_closed_is_refused_or_changes_nothing() {
    let state = StateDir::new();
    closed_ledger(&state);
    let whole = std::fs::read(state.file()).unwrap();
    let read = || {
        let opened = once_free(|| FileStorage::open(state.path().as_ref()));
        opened
            .and_then(|mut storage| storage.load(Timestamp::default()))
            .map(|contents| format!("{contents:?}"))
    };
    let sound = read().unwrap();
    // Bits of the file's head, each one of its flags, and of the pages that have anything in them.
    let head = (10..320).step_by(3).map(|at| (at, at % 8)).chain((0..8).map(|bit| (9, bit)));
    let used =
        (1..whole.len() / 4_096).filter(|page| whole[page * 4_096..][..4_096].iter().any(|byte| *byte != 0));
    let used: Vec<_> = used.flat_map(|page| (0..4_096).map(move |at| page * 4_096 + at)).collect();
    let pages = used.iter().step_by(used.len() / 150).map(|at| (*at, at % 8));
    let mut refused = 0;
    for (at, bit) in head.chain(pages) {
        let mut flipped = whole.clone();
        flipped[at] ^= 1 << bit;
        std::fs::write(state.file(), &flipped).unwrap();
        match read() {
            Ok(found) => assert_eq!(found, sound, "bit {bit} of byte {at}"),
            Err(error) => {
                refused += 1;
                let text = error.to_string();
                assert!(
                    text.contains(FILE_NAME) && text.contains("backup"),
                    "bit {bit} of byte {at}: {text}"
                );
                let unchanged = std::fs::read(state.file()).unwrap() == flipped;
                assert!(unchanged, "bit {bit} of byte {at}: a second start would find something else");
            }
        }
    }
    assert!(refused > 20, "{refused}");
}

#[test]
fn a_ledger_that_is_damaged_or_of_another_format_ends_the_start_for_good() {
    let state = StateDir::new();
    closed_ledger(&state);
    let mut content = std::fs::read(state.file()).unwrap();
    // The row may have been moved, and the old ones stay in pages that nothing uses.
    let rows: Vec<_> = (0..content.len()).filter(|at| content[*at..].starts_with(b"token-key")).collect();
    for at in rows {
        content[at] ^= 1;
    }
    std::fs::write(state.file(), &content).unwrap();
    let output = run(&[], &[&COTURN[..], &[("STATE_DIR", state.path())]].concat());
    let text = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(78), "{text}");
    assert!(text.contains(FILE_NAME) && text.contains("Restore it from a backup"), "{text}");
}

fn remove(state: &StateDir, table: &str, keys: &[&[u8]]) {
    let database = once_free(|| redb::Database::open(state.file())).unwrap();
    let transaction = database.begin_write().unwrap();
    let mut rows = transaction.open_table(redb::TableDefinition::<&[u8], &[u8]>::new(table)).unwrap();
    for key in keys {
        rows.remove(*key).unwrap().unwrap();
    }
    drop(rows);
    transaction.commit().unwrap();
}

#[tokio::test]
async fn a_file_that_has_lost_grants_says_so_and_one_without_key_or_head_is_refused() {
    for (key, missing) in [
        (&b"token-key"[..], "the key of grant tokens is missing"),
        (b"head", "what is written with each batch is missing"),
    ] {
        let state = StateDir::new();
        closed_ledger(&state);
        remove(&state, "meta", &[key]);
        let error = open(state.path().as_ref()).to_string();
        assert!(error.contains(missing) && error.contains("Restore it from a backup"), "{error}");
    }
    let state = StateDir::new();
    let settings = [("STATE_DIR", state.path())];
    let (_cloudflare, broker) = with_cloudflare_and(&settings).await;
    let token = broker.grant().await;
    let grant = broker.app.mint.grant_keys.verify(&token).unwrap().id;
    broker.mint().await;
    broker.finish().await;
    let (_cloudflare, broker) = with_cloudflare_and(&settings).await;
    assert!(!broker.has_hint("LEDGER_LOST_WRITES").await);
    broker.finish().await;
    remove(&state, "grants", &[grant.as_bytes()]);
    let (_cloudflare, broker) = with_cloudflare_and(&settings).await;
    assert!(broker.has_hint("LEDGER_LOST_WRITES").await);
    assert_eq!(broker.status().await["boundHolds"], false);
}

#[test]
fn a_truncated_ledger_is_refused() {
    let state = StateDir::new();
    drop(Store::open(FileStorage::open(state.path().as_ref()).unwrap()).unwrap());
    // The writer's thread closes the file some time after the store is dropped, and unlocks it.
    let file = std::fs::OpenOptions::new().write(true).open(state.file()).unwrap();
    file.lock().unwrap();
    let length = file.metadata().unwrap().len();
    file.set_len(length / 2).unwrap();
    drop(file);
    let error = open(state.path().as_ref());
    assert!(matches!(error, OpenError::Damaged { .. }), "{error}");
}

#[test]
fn a_directory_that_cannot_be_used_is_named_in_the_error() {
    let state = StateDir::new();
    let file = state.file().with_file_name("a-file");
    std::fs::write(&file, "").unwrap();
    let error = open(&file);
    assert!(matches!(error, OpenError::Directory { .. }), "{error}");
    assert!(error.to_string().contains("STATE_DIR"), "{error}");

    // A file that cannot be opened is named, such as one that was restored as root.
    std::fs::create_dir(state.file()).unwrap();
    std::fs::write(state.file().join("a-file"), "").unwrap();
    let error = open(state.path().as_ref());
    assert!(error.to_string().contains("ledger.redb"), "{error}");
}

#[test]
fn a_ledger_of_another_format_is_refused() {
    let state = StateDir::new();
    drop(FileStorage::open(state.path().as_ref()).unwrap());
    for found in [FORMAT_OLDEST - 1, FORMAT + 1] {
        let database = once_free(|| redb::Database::open(state.file())).unwrap();
        let transaction = database.begin_write().unwrap();
        transaction
            .open_table(META)
            .unwrap()
            .insert(b"format".as_slice(), found.to_be_bytes().as_slice())
            .unwrap();
        transaction.commit().unwrap();
        drop(database);
        let copied = once_free(|| LedgerCopy::take(state.path().as_ref()));
        for error in [open(state.path().as_ref()), copied.unwrap_err()] {
            let said = error.to_string();
            let expected = format!(
                "ledger.redb has format {found}, but this version reads {FORMAT_OLDEST} to {FORMAT}. Run"
            );
            assert!(said.contains(&expected), "{said}");
        }
    }
}

/// Nothing is written into a file that no restart finds.
#[tokio::test]
async fn a_ledger_that_is_moved_away_fails_until_it_is_back() {
    let (state, elsewhere) = (StateDir::new(), StateDir::new());
    let (_cloudflare, broker) = with_cloudflare_and(&[("STATE_DIR", state.path())]).await;
    let [path, away] = [&state, &elsewhere].map(|directory| Path::new(directory.path()).join(FILE_NAME));
    broker.grant().await;
    std::fs::rename(&path, &away).unwrap();
    assert_eq!(broker.mint().await.error(), (503, "LEDGER_UNAVAILABLE"));
    assert!(broker.has_hint("LEDGER_FAILING").await);
    broker.app.account.evaluate_alerts(facts(&broker, true), &broker.app.config, true).await;
    let alerts = broker.app.account.latest_alerts();
    assert!(alerts.iter().any(|kept| kept.alert.kind.name() == "ledger.failing"), "{alerts:?}");
    std::fs::copy(&away, &path).unwrap();
    broker.app.account.flush();
    assert_eq!(broker.mint().await.status, 503, "a copy lacks what was written since");
    std::fs::rename(&away, &path).unwrap();
    eventually("minting resumes", async || {
        broker.app.account.flush();
        broker.mint().await.status == 200
    })
    .await;
    assert!(!broker.has_hint("LEDGER_FAILING").await);
}
