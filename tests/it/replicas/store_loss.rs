//! A database that has lost what was written: a leader, or a replica that has seen more, notices and says so, and the next leader knows.

use super::store::{
    NOON, assert_lost, batch, batch_at, blocking, lead, loaded, replica, seq, stored, with_leader, written,
};
use crate::support::prelude::*;
use turn_ledger::{Grant, GrantRow};

#[tokio::test]
async fn a_database_without_its_latest_writes_is_noticed_and_the_next_leader_knows() {
    let Some((database, _one, storage)) = with_leader().await else { return };
    let mut two = replica(&database.config(), 2);
    let storage = stored(storage, (0..5).map(|minute| batch_at(NOON + minute))).await;
    let written_seq = seq(&database).await;
    database.run("UPDATE shard SET seq = seq - 3").await;
    let (storage, result) = written(storage, batch()).await;
    assert_lost(result, Lost::Writes(3));
    assert_lost(written(storage, batch()).await.1, Lost::Writes(3));
    let seen = two.observe().await.unwrap();
    assert!(
        !seen.is_held && seen.epoch == 2 && seen.seq > written_seq,
        "nobody sees a number fall: {seen:?}"
    );
    let (storage, found) = loaded(lead(&mut two).await).await;
    assert!(found.books.is_copy, "grants may be missing");
    written(storage, batch()).await.1.unwrap();
    assert_eq!(database.number("SELECT count(*) FROM item WHERE key = 'copy'").await, 0);
}

#[tokio::test]
async fn a_leader_of_the_state_before_is_replaced_by_the_one_that_knows_more() {
    let Some((database, mut one, storage)) = with_leader().await else { return };
    let mut two = replica(&database.config(), 2);
    let storage = stored(storage, [batch()]).await;
    database.run("UPDATE shard SET seq = seq - 1").await;
    let (other, found) = loaded(lead(&mut two).await).await;
    assert!(!found.books.is_copy, "this one cannot know");
    let other = stored(other, [batch(), batch(), batch()]).await;
    assert_lost(written(storage, batch()).await.1, Lost::Writes(1));
    assert_lost(written(other, batch()).await.1, Lost::Fenced);
    assert!(loaded(lead(&mut one).await).await.1.books.is_copy);
}

#[tokio::test]
async fn a_loss_is_stated_once_and_ends_the_lead() {
    let Some((database, _one, storage)) = with_leader().await else { return };
    let mut two = replica(&database.config(), 2);
    let storage = stored(storage, [batch()]).await;
    let lost = seq(&database).await + 5;
    for _ in 0..2 {
        two.state_loss(lost).await.unwrap();
        let seen = two.observe().await.unwrap();
        assert_eq!((seen.is_held, seen.epoch, seen.seq), (false, 2, lost + 1));
    }
    assert_lost(written(storage, batch()).await.1, Lost::Fenced);
    assert!(loaded(lead(&mut two).await).await.1.books.is_copy);
    two.state_loss(lost + 9).await.unwrap();
    assert_eq!(seq(&database).await, lost + 10, "more is lost");
}

#[tokio::test]
async fn an_emptied_database_has_lost_everything() {
    let Some(database) = TestDatabase::new() else { return };
    let mut one = replica(&database.config(), 1);
    let storage = lead(&mut one).await;
    database.run("DELETE FROM shard").await;
    assert_lost(written(storage, batch()).await.1, Lost::Writes(1));
}

/// The statement of docs/OPERATE.md, for operators.
#[tokio::test]
async fn a_restored_database_that_was_marked_lacks_grants() {
    let Some((database, _one, storage)) = with_leader().await else { return };
    written(storage, batch()).await.1.unwrap();
    let (_, mark) = include_str!("../../../docs/OPERATE.md").split_once("-c \"INSERT").unwrap();
    let mark = format!("INSERT{}", mark.split_once('"').unwrap().0);
    for _ in 0..2 {
        database.run(&mark.replace("turn_broker.", "")).await;
    }
    let mut two = replica(&database.config(), 2);
    assert!(loaded(lead(&mut two).await).await.1.books.is_copy);
}

/// What an operator or a restore has removed while no replica ran. `None`: the ledger is refused.
async fn after_loss(loss: &str) -> Option<Result<Contents, String>> {
    let (database, mut one, storage) = with_leader().await?;
    let mut batch = batch_at(NOON);
    let grant = |seed| Grant {
        id: GrantId::new([seed; 16]),
        source: IceSource::Coturn,
        issued_at: batch.books.head.now,
        expires_at: batch.books.head.now,
    };
    let rows = [1, 2].map(grant).map(|grant| (grant.id, Some(Box::new(GrantRow::new(&grant, None, None)))));
    (batch.books.grants, batch.books.head.grants) = (rows.into(), 2);
    drop(stored(storage, [batch]).await);
    database.run(loss).await;
    let mut storage = lead(&mut one).await;
    Some(blocking(move || storage.load(Timestamp::default()).map_err(|error| error.to_string())).await)
}

#[tokio::test]
async fn a_database_that_has_lost_rows_lacks_grants() {
    for (loss, lacks) in [
        ("DELETE FROM item WHERE kind = 4 AND key = (SELECT key FROM item WHERE kind = 4 LIMIT 1)", true),
        ("DELETE FROM item WHERE kind = 4", true),
        ("SELECT 1", false),
    ] {
        let Some(found) = after_loss(loss).await else { return };
        let stored = found.unwrap().books;
        assert!(stored.lacks_grants() == lacks && !stored.is_copy, "{loss}");
    }
}

#[tokio::test]
async fn a_database_without_key_or_head_is_refused_and_gets_no_new_key() {
    for (loss, missing) in [
        ("TRUNCATE item", "the key of grant tokens is missing"),
        ("DELETE FROM item WHERE kind <> 0 OR key <> 'head'", "the key of grant tokens is missing"),
        ("DELETE FROM item WHERE key = 'token-key'", "the key of grant tokens is missing"),
        ("DELETE FROM item WHERE key = 'head'", "what is written with each batch is missing"),
    ] {
        let Some(found) = after_loss(loss).await else { return };
        let error = found.unwrap_err();
        assert!(error.contains(missing) && error.contains("Restore the database from a backup"), "{error}");
    }
}

#[tokio::test]
async fn a_database_that_was_marked_gets_a_key_of_its_own_once() {
    let Some((database, mut one, storage)) = with_leader().await else { return };
    let (storage, original) = loaded(stored(storage, [batch()]).await).await;
    drop(storage);
    database.run("INSERT INTO item VALUES (0, 'copy', '')").await;
    let (storage, copy) = loaded(lead(&mut one).await).await;
    drop(storage);
    let (_storage, again) = loaded(lead(&mut one).await).await;
    let [original, copy, again] = [original, copy, again].map(|contents| contents.books.keys.unwrap());
    assert_ne!(copy.signing, original.signing);
    assert_eq!(copy.earlier.iter().map(|earlier| earlier.key).collect::<Vec<_>>(), [original.signing]);
    assert_eq!(again, copy, "a crash before the first batch changes nothing");
}
