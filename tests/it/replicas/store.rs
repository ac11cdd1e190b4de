//! The ledger in a real `PostgreSQL`: what is written is read back, who leads, and what a lost lead may do.

use std::sync::atomic::{AtomicI64, Ordering};

use turn_base::SystemClock;
use turn_broker::store::{Changes, Observation, Standby, WriteError};
use turn_ledger::{Block, ClaimedUsage, Head, MinuteRow, SourceRows, SpenderKey, User};

use crate::support::prelude::*;

/// 2025-01-15T12:00:00Z
pub(super) const NOON: i64 = 28_949_040;
/// The longest period, in minutes.
const PERIOD_MAX: i64 = 31 * 1_440;

pub(super) fn replica(config: &DatabaseConfig, port: u16) -> Standby {
    Standby::new(config, port, "digest".into(), Arc::new(SystemClock))
}

/// Takes the lead of what is there now. A leader may write between the look and the attempt, which then fails.
pub(super) async fn lead(replica: &mut Standby) -> PostgresStorage {
    for _ in 0..10 {
        let seen = replica.observe().await.unwrap();
        if let Some(storage) = replica.stand(&seen).await.unwrap() {
            return storage;
        }
    }
    panic!("somebody else stands");
}

/// Runs what blocks in a thread of its own.
pub(super) async fn blocking<T: Send + 'static>(run: impl FnOnce() -> T + Send + 'static) -> T {
    tokio::task::spawn_blocking(run).await.unwrap()
}

/// Reads everything.
pub(super) async fn loaded(mut storage: PostgresStorage) -> (PostgresStorage, Contents) {
    blocking(move || {
        let contents = storage.load(Timestamp::default()).unwrap();
        (storage, contents)
    })
    .await
}

/// A database, and a leader that has read its ledger.
pub(super) async fn with_leader() -> Option<(TestDatabase, Standby, PostgresStorage)> {
    let database = TestDatabase::new()?;
    let mut one = replica(&database.config(), 1);
    let (storage, _) = loaded(lead(&mut one).await).await;
    Some((database, one, storage))
}

/// Writes a batch.
pub(super) async fn written(
    mut storage: PostgresStorage,
    batch: Changes,
) -> (PostgresStorage, Result<(), WriteError>) {
    blocking(move || {
        let result = storage.write(&batch, false);
        (storage, result)
    })
    .await
}

/// Writes batches, each of which is stored.
pub(super) async fn stored(
    mut storage: PostgresStorage,
    batches: impl IntoIterator<Item = Changes>,
) -> PostgresStorage {
    for batch in batches {
        let (again, result) = written(storage, batch).await;
        result.unwrap();
        storage = again;
    }
    storage
}

/// A batch with this minute and one blocked user.
pub(super) fn batch_at(minute: i64) -> Changes {
    let mut rows = SourceRows::default();
    let granted = ClaimedUsage { connection_millis: 1, claimed: 2 };
    let row = MinuteRow { live: 1, per_minute: 5, granted, ..MinuteRow::default() };
    rows.minutes.insert(Minute::new(minute), row);
    Batch {
        head: Head { now: Minute::new(minute).start(), ..Head::default() },
        sources: [(IceSource::Coturn.into(), rows)].into(),
        blocks: [(SpenderKey::User(User::new("eve").unwrap()), Some(Block::default()))].into(),
        ..Batch::default()
    }
    .into()
}

/// Each call is of another minute.
pub(super) fn batch() -> Changes {
    static NEXT: AtomicI64 = AtomicI64::new(NOON);
    batch_at(NEXT.fetch_add(1, Ordering::Relaxed))
}

/// How many batches are stored.
pub(super) async fn stored_batches(database: &TestDatabase) -> i64 {
    database.number("SELECT count(*) FROM item WHERE kind = 1").await
}

pub(super) async fn seq(database: &TestDatabase) -> i64 {
    database.number("SELECT seq FROM shard").await
}

#[track_caller]
pub(super) fn assert_lost(result: Result<(), WriteError>, expected: Lost) {
    match result {
        Err(WriteError::Lost(lost)) => assert_eq!(lost, expected),
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn the_next_leader_has_everything_that_was_written() {
    let Some(database) = TestDatabase::new() else { return };
    let mut one = replica(&database.config(), 1);
    let before = one.observe().await.unwrap();
    assert_eq!((before.epoch, before.seq, before.is_held, before.has_session), (0, 0, false, false));
    let (storage, new) = loaded(one.stand(&before).await.unwrap().unwrap()).await;
    let storage = stored(storage, [batch_at(NOON)]).await;
    let seen = one.observe().await.unwrap();
    let expected = Observation {
        epoch: 1,
        seq: 3,
        is_held: true,
        has_session: true,
        has_written: true,
        leader: Some("http://127.0.0.1:1".into()),
        settings: Some("digest".into()),
        version: Some(env!("CARGO_PKG_VERSION").into()),
        books_now: Some(Minute::new(NOON).start()),
        takeovers: seen.takeovers.clone(),
        ..before
    };
    assert_eq!(seen, expected, "the election, the key and the batch");
    blocking(move || {
        let mut storage = storage;
        let last = batch_at(NOON + 1);
        storage.write(&last, true).unwrap();
        assert_lost(storage.write(&last, false), Lost::Fenced);
        assert_lost(storage.write(&last, true), Lost::Fenced);
    })
    .await;
    let seen = one.observe().await.unwrap();
    assert_eq!((seen.seq, seen.is_held), (4, false), "nothing follows a release");
    let mut two = replica(&database.config(), 2);
    let (_storage, found) = loaded(lead(&mut two).await).await;
    assert!(found.books.keys.is_some() && found.books.keys == new.books.keys);
    let signing = *new.books.keys.unwrap().signing.expose();
    assert_eq!(two.key().await.unwrap(), Some(signing));
    let rows = &found.books.sources[&IceSource::Coturn.into()];
    let minutes: Vec<_> = rows.minutes.iter().map(|(minute, row)| (minute.number(), row.live)).collect();
    assert_eq!(minutes, [(NOON, 1), (NOON + 1, 1)]);
    assert!(
        found.books.blocks.keys().eq([&SpenderKey::User(User::new("eve").unwrap())]) && !found.books.is_copy
    );
    let replicas = two.replicas().await.unwrap();
    let urls: Vec<_> = replicas.iter().map(|replica| replica.url.as_str()).collect();
    assert_eq!(urls, ["http://127.0.0.1:1", "http://127.0.0.1:2"]);
    assert!(replicas.iter().all(|replica| replica.clock_ahead_millis.abs() < 60_000), "{replicas:?}");
}

/// As a ledger that is sorted before its first row.
#[tokio::test]
async fn a_row_of_a_large_ledger_may_come_later_than_the_answer_to_a_statement() {
    let Some((database, _one, storage)) = with_leader().await else { return };
    let storage = stored(storage, [batch()]).await;
    let slow = "ALTER TABLE item RENAME TO stored;
        CREATE VIEW item AS SELECT kind, key, row FROM stored WHERE kind <> 1 OR pg_sleep(4.5) IS NOT NULL";
    database.run(slow).await;
    let (_storage, found) = loaded(storage).await;
    assert_eq!(found.books.sources[&IceSource::Coturn.into()].minutes.len(), 1);
}

#[tokio::test]
async fn of_two_that_saw_the_same_one_wins_and_of_an_older_view_nobody() {
    let Some(database) = TestDatabase::new() else { return };
    let (mut one, mut two) = (replica(&database.config(), 1), replica(&database.config(), 2));
    let seen = one.observe().await.unwrap();
    let (first, second) = tokio::join!(one.stand(&seen), two.stand(&seen));
    let winners = [first.unwrap(), second.unwrap()].into_iter().flatten().collect::<Vec<_>>();
    assert_eq!(winners.len(), 1);
    assert!(two.stand(&seen).await.unwrap().is_none());
    let seen = two.observe().await.unwrap();
    let _storage = stored(winners.into_iter().next().unwrap(), [batch()]).await;
    assert!(two.stand(&seen).await.unwrap().is_none(), "the leader wrote meanwhile");
    assert_eq!(two.observe().await.unwrap().epoch, 1);
}

#[tokio::test]
async fn many_replicas_that_start_at_once_make_the_tables_once() {
    let Some(database) = TestDatabase::new() else { return };
    let config = database.config();
    let starts: Vec<_> = (1..=8)
        .map(|port| {
            let mut replica = replica(&config, port);
            tokio::spawn(async move { replica.observe().await.map(|seen| seen.seq) })
        })
        .collect();
    for start in starts {
        assert_eq!(start.await.unwrap().unwrap(), 0);
    }
}

#[tokio::test]
async fn a_leader_that_was_replaced_writes_nothing() {
    let Some(database) = TestDatabase::new() else { return };
    let (mut one, mut two) = (replica(&database.config(), 1), replica(&database.config(), 2));
    let (old, _) = loaded(lead(&mut one).await).await;
    let old = stored(old, [batch()]).await;
    // A takeover by a replica that may not end the session of another one, and a row that the old leader would remove.
    let takeover = "UPDATE shard SET epoch = epoch + 1, seq = seq + 1, began = seq || began, sessions = 'new'::text || sessions;
        INSERT INTO item VALUES (0, 'copy', '')";
    database.run(takeover).await;
    let counts = "SELECT (SELECT count(*) FROM item) * 1000 + (SELECT seq FROM shard)";
    let before = database.number(counts).await;
    let mut far = batch_at(NOON + 7);
    far.books.blocks = [(SpenderKey::User(User::new("mallory").unwrap()), Some(Block::default()))].into();
    let (old, result) = written(old, far.clone()).await;
    assert_lost(result, Lost::Fenced);
    assert_eq!(database.number(counts).await, before, "neither rows nor the number");
    let (new, _) = loaded(lead(&mut two).await).await;
    let _new = stored(new, [batch()]).await;
    assert_lost(written(old, far).await.1, Lost::Fenced);
    assert_eq!(stored_batches(&database).await, 2);
}

/// A lead with the same epoch, after the database was set back and another election followed.
#[tokio::test]
async fn the_number_of_an_epoch_alone_does_not_let_anybody_write() {
    let Some(database) = TestDatabase::new() else { return };
    let mut one = replica(&database.config(), 1);
    let old = lead(&mut one).await;
    database.run("UPDATE shard SET sessions[1] = 'another'").await;
    let (_, result) = written(old, batch()).await;
    assert_lost(result, Lost::Writes(1));
    assert_eq!(stored_batches(&database).await, 0);
}

#[tokio::test]
async fn old_minutes_are_removed_as_in_a_file() {
    let Some((_database, mut one, storage)) = with_leader().await else { return };
    let end = NOON + PERIOD_MAX;
    let storage = stored(storage, [NOON, NOON + 1, NOON + 2, end + 1, end + 90].map(batch_at)).await;
    drop(storage);
    let (storage, _) = loaded(lead(&mut one).await).await;
    written(storage, batch_at(end + 90)).await.1.unwrap();
    let (_storage, found) = loaded(lead(&mut one).await).await;
    let minutes = found.books.sources[&IceSource::Coturn.into()].minutes.keys().map(|minute| minute.number());
    assert_eq!(minutes.collect::<Vec<_>>(), [end + 1, end + 90]);
}

#[tokio::test]
async fn another_format_is_not_led() {
    let Some(database) = TestDatabase::new() else { return };
    let mut one = replica(&database.config(), 1);
    one.observe().await.unwrap();
    database.run("UPDATE shard SET format = format + 1").await;
    let seen = one.observe().await.unwrap();
    let error = one.stand(&seen).await.unwrap_err().to_string();
    assert!(
        error.contains(&format!("format {}", seen.format)) && error.contains("Run the version"),
        "{error}"
    );
    assert_eq!(one.observe().await.unwrap().epoch, 0);
}

#[tokio::test]
async fn a_backup_of_a_database_is_a_file_with_the_same_ledger() {
    let Some((_database, _one, storage)) = with_leader().await else { return };
    let storage = stored(storage, [batch_at(NOON)]).await;
    let directory = crate::support::StateDir::new();
    let file = directory.file();
    blocking(move || {
        let mut copy = storage.copier().copy().unwrap();
        std::io::copy(&mut copy.file, &mut std::fs::File::create(file).unwrap()).unwrap();
        assert!(storage.copier().copy().is_ok(), "nothing is left behind");
    })
    .await;
    let mut ledger = crate::support::once_free(|| {
        turn_broker::store::file::inspect::LedgerCopy::take(directory.path().as_ref())
    })
    .unwrap();
    let sources = ledger.stored().unwrap().books.sources;
    assert_eq!(sources[&IceSource::Coturn.into()].minutes.len(), 1);
    assert!(ledger.stored().unwrap().books.is_copy);
    assert_eq!(ledger.stored().unwrap().books.now(), Some(Timestamp::from_millis(NOON * 60_000)));
    assert_eq!(ledger.findings().len(), 1, "as it was written: {:?}", ledger.findings());
}
