//! A database that has lost what was written: a leader, or a replica that has seen more, notices and says so, and the next leader knows.

use super::store::{
    NOON, assert_lost, batch, batch_at, lead, loaded, replica, seq, stored, with_leader, written,
};
use crate::support::postgres::TestDatabase;
use turn_broker::lead::campaign::Electorate;
use turn_broker::store::storage::Lost;

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
