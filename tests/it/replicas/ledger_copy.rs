//! `turn-broker ledger copy`: a ledger moves between `STATE_DIR` and a database, with everything in it.

use turn_ledger::TokenKeys;

use super::store::{NOON, batch_at, blocking, lead, loaded, replica, stored, with_leader};
use crate::support::prelude::*;

fn copy(direction: &str, state: &StateDir, database: &TestDatabase) -> Output {
    let url = database.url();
    let settings =
        [("STATE_DIR", state.path()), ("DATABASE_URL", &url), ("DATABASE_SCHEMA", &database.schema)];
    run(&["ledger", "copy", direction], &settings)
}

#[track_caller]
fn assert_says(output: &Output, code: i32, words: &[&str]) {
    let said = String::from_utf8_lossy(&output.stdout) + String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(code), "{said}");
    assert!(words.iter().all(|word| said.contains(word)), "{said}");
}

/// How many sessions of the leader there are.
const SESSION: &str = "SELECT count(*) FROM shard JOIN pg_stat_activity ON application_name = sessions[1]";

async fn ledger_on_disk(state: &StateDir) -> Option<TokenKeys> {
    let path = state.file();
    blocking(move || {
        let mut store = once_free(|| FileStorage::open(path.parent().unwrap())).unwrap();
        let key = store.load(Timestamp::default()).unwrap().books.keys;
        store.write(&batch_at(NOON), true).unwrap();
        key
    })
    .await
}

#[tokio::test]
async fn a_ledger_moves_to_a_database_and_back() {
    let Some(database) = TestDatabase::new() else { return };
    let (state, back) = (StateDir::new(), StateDir::new());
    let key = ledger_on_disk(&state).await;
    assert_says(&copy("--to-database", &state, &database), 0, &["rows of", &database.schema, "move it away"]);
    // It could not listen at this address either.
    let start = run(&[], &[("STATE_DIR", state.path()), ("HOST", "192.0.2.1")]);
    assert_says(&start, 78, &["Set DATABASE_URL in place of STATE_DIR"]);
    assert_says(
        &copy("--to-database", &state, &database),
        1,
        &["has a ledger already", "Set DATABASE_SCHEMA"],
    );

    let mut one = replica(&database.config(), 1);
    let (storage, found) = loaded(lead(&mut one).await).await;
    assert_eq!(found.books.keys, key);
    assert_eq!(found.books.sources[&IceSource::Coturn.into()].minutes.len(), 1);
    assert!(!found.books.is_copy, "nothing was lost on the way");
    assert_says(&copy("--from-database", &back, &database), 1, &["Stop every replica"]);
    drop(storage);
    eventually("the leader's session has ended", async || database.number(SESSION).await == 0).await;
    database.run("UPDATE node SET seen_at = clock_timestamp() + interval '1 minute'").await;
    assert_says(&copy("--from-database", &back, &database), 1, &["Stop every replica"]);
    database.run("UPDATE node SET seen_at = clock_timestamp() - interval '6 s'").await;
    assert_says(&copy("--from-database", &back, &database), 0, &[back.path(), "drop it"]);
    assert_says(&copy("--from-database", &back, &database), 1, &["is there already", "Move it away"]);
    let row = database.row("SELECT epoch, held, sessions[1] FROM shard").await;
    let row: (i64, bool, Option<String>) = (row.get(0), row.get(1), row.get(2));
    // The leader before can write no more.
    assert_eq!(row, (3, false, Some("turn-broker ledger copy".into())));
    let path = back.file();
    let found = blocking(move || {
        once_free(|| FileStorage::open(path.parent().unwrap()))
            .unwrap()
            .load(Timestamp::default())
            .unwrap()
            .books
    })
    .await;
    assert_eq!((found.keys, found.sources.len(), found.is_copy), (key, 1, false));
    assert_eq!(found.head.unwrap().now, batch_at(NOON).books.head.now);
    let storage = lead(&mut one).await;
    let error = blocking(move || {
        let mut storage = storage;
        storage.load(Timestamp::default()).unwrap_err()
    })
    .await;
    assert!(error.to_string().contains("Set STATE_DIR in place of DATABASE_URL"), "{error}");
}

#[tokio::test]
async fn a_backup_that_moves_to_a_database_still_says_that_it_is_one() {
    let Some(database) = TestDatabase::new() else { return };
    let (state, backup) = (StateDir::new(), StateDir::new());
    ledger_on_disk(&state).await;
    let (from, to) = (state.file(), backup.file());
    blocking(move || {
        let store = once_free(|| FileStorage::open(from.parent().unwrap())).unwrap();
        let mut copy = store.copier().copy().unwrap();
        std::io::copy(&mut copy.file, &mut std::fs::File::create(to).unwrap()).unwrap();
    })
    .await;
    assert_says(&copy("--to-database", &backup, &database), 0, &["rows of"]);
    let mut one = replica(&database.config(), 1);
    assert!(loaded(lead(&mut one).await).await.1.books.is_copy);
}

#[tokio::test]
async fn the_key_in_a_database_is_replaced_while_no_replica_uses_it() {
    let Some((database, mut one, storage)) = with_leader().await else { return };
    let (storage, before) = loaded(stored(storage, [batch_at(NOON)]).await).await;
    let settings = [("DATABASE_URL", database.url()), ("DATABASE_SCHEMA", database.schema.clone())];
    let settings = settings.each_ref().map(|(name, value)| (*name, value.as_str()));
    assert_says(&run(&["ledger", "rotate-key"], &settings), 1, &["Stop every replica"]);
    drop(storage);
    eventually("the leader's session has ended", async || database.number(SESSION).await == 0).await;
    database.run("UPDATE node SET seen_at = clock_timestamp() - interval '6 s'").await;
    assert_says(&run(&["ledger", "rotate-key"], &settings), 0, &["A new key signs"]);
    let (_storage, found) = loaded(lead(&mut one).await).await;
    let (before, after) = (before.books.keys.unwrap(), found.books.keys.unwrap());
    assert_ne!(after.signing, before.signing);
    assert_eq!(after.earlier.first().map(|earlier| earlier.key), Some(before.signing));
    assert!(!found.books.is_copy && found.books.head.is_some());
}

#[tokio::test]
async fn a_copy_that_fails_leaves_both_places_as_they_are() {
    let Some(database) = TestDatabase::new() else { return };
    let state = StateDir::new();
    assert_says(&copy("--to-database", &state, &database), 1, &["is not there"]);
    ledger_on_disk(&state).await;
    replica(&database.config(), 1).observe().await.unwrap();
    database.run("ALTER TABLE item ADD CHECK (kind <> 1)").await;
    assert_says(&copy("--to-database", &state, &database), 1, &["the database: "]);
    let counts = "SELECT (SELECT count(*) FROM item) + (SELECT epoch FROM shard)";
    assert_eq!(database.number(counts).await, 0);
    let output = run(&["ledger", "copy", "--to-database"], &[("STATE_DIR", state.path())]);
    assert_says(&output, 78, &["DATABASE_URL is not set"]);
}

#[tokio::test]
async fn a_copy_whose_commit_fails_is_to_be_made_again() {
    let Some(database) = TestDatabase::new() else { return };
    let state = StateDir::new();
    ledger_on_disk(&state).await;
    replica(&database.config(), 1).observe().await.unwrap();
    let function = "CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS \
        $$ BEGIN RAISE EXCEPTION 'no commit'; END $$";
    let at_commit = "CREATE CONSTRAINT TRIGGER refused AFTER INSERT ON item DEFERRABLE INITIALLY DEFERRED \
        FOR EACH ROW EXECUTE FUNCTION refuse()";
    for statement in [function, at_commit] {
        database.run(statement).await;
    }
    let said = ["no commit", "Run this command again"];
    assert_says(&copy("--to-database", &state, &database), 1, &said);
    database.run("ALTER TABLE item DISABLE TRIGGER refused").await;
    assert_says(&copy("--to-database", &state, &database), 0, &["rows of"]);
    let back = StateDir::new();
    database
        .run("ALTER TABLE item ENABLE TRIGGER refused; UPDATE node SET seen_at = now() - interval '6 s'")
        .await;
    assert_says(&copy("--from-database", &back, &database), 1, &said);
    assert!(!back.file().exists(), "two ledgers would mint");
    database.run("ALTER TABLE item DISABLE TRIGGER refused").await;
    assert_says(&copy("--from-database", &back, &database), 0, &["drop it"]);
    assert!(back.file().exists());
}

#[tokio::test]
async fn a_database_that_this_version_cannot_read_is_not_copied() {
    let Some(database) = TestDatabase::new() else { return };
    let (state, back) = (StateDir::new(), StateDir::new());
    ledger_on_disk(&state).await;
    assert_says(&copy("--to-database", &state, &database), 0, &["rows of"]);
    database.run("INSERT INTO item VALUES (1, '\\x09', '\\x00')").await;
    assert_says(&copy("--from-database", &back, &database), 1, &[r#"row "?" of "minutes" has a broken key"#]);
    database.run("UPDATE shard SET format = format + 1").await;
    assert_says(&copy("--from-database", &back, &database), 1, &[format!("to {FORMAT}").as_str()]);
    assert!(!back.file().exists());
}
