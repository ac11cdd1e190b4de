//! A failover of a real database to its streaming standby, by a URL with both servers. Nothing is simulated.

use turn_broker::store::Standby;

use super::store::{assert_lost, batch, lead, loaded, replica, seq, stored, stored_batches, written};
use crate::support::prelude::*;

struct Servers {
    primary: TestDatabase,
    standby: TestDatabase,
}

impl Servers {
    async fn start() -> Option<Self> {
        let primary = TestDatabase::alone()?;
        let standby = primary.standby().await;
        Some(Self { primary, standby })
    }

    fn config(&self) -> DatabaseConfig {
        let [one, two] = [&self.primary, &self.standby].map(|server| server.address().1);
        let hosts = format!("127.0.0.1:{one},127.0.0.1:{two}");
        let options = "sslmode=disable&target_session_attrs=read-write";
        self.primary.config_at(&format!("postgres://turn@{hosts}/postgres?{options}"))
    }

    /// Waits until the standby has everything.
    async fn replicated(&self) {
        let has_all = async || {
            let name = format!("SELECT count(*) FROM pg_namespace WHERE nspname = '{}'", self.primary.schema);
            self.standby.number(&name).await == 1 && seq(&self.standby).await == seq(&self.primary).await
        };
        eventually("the standby has everything", has_all).await;
    }

    async fn fail_over(&self) {
        self.primary.stop().await;
        self.standby.run("SELECT pg_promote()").await;
    }
}

#[tokio::test]
async fn a_failover_to_a_synchronous_standby_loses_nothing_and_the_same_leader_goes_on() {
    let Some(servers) = Servers::start().await else { return };
    servers.primary.run("ALTER SYSTEM SET synchronous_standby_names = '*'").await;
    servers.primary.run("SELECT pg_reload_conf()").await;
    let synchronous = "SELECT count(*) FROM pg_stat_replication WHERE sync_state = 'sync'";
    eventually("it is synchronous", async || servers.primary.number(synchronous).await == 1).await;
    let mut one = replica(&servers.config(), 1);
    let (storage, _) = loaded(lead(&mut one).await).await;
    let storage = stored(storage, [batch(), batch()]).await;
    servers.fail_over().await;
    let _storage = stored(storage, [batch(), batch()]).await;
    assert_eq!(stored_batches(&servers.standby).await, 4);
    let (_storage, found) = loaded(lead(&mut replica(&servers.config(), 2)).await).await;
    assert!(!found.books.is_copy, "nothing is missing");
}

#[tokio::test]
async fn writes_that_a_failover_has_lost_are_noticed_and_stated() {
    let Some(servers) = Servers::start().await else { return };
    let mut one = replica(&servers.config(), 1);
    let (storage, _) = loaded(lead(&mut one).await).await;
    let storage = stored(storage, [batch(), batch()]).await;
    servers.replicated().await;
    servers.standby.run("ALTER SYSTEM SET primary_conninfo = ''").await;
    servers.standby.run("SELECT pg_reload_conf()").await;
    let streams = "SELECT count(*) FROM pg_stat_replication";
    eventually("the standby gets nothing more", async || servers.primary.number(streams).await == 0).await;
    let storage = stored(storage, [batch(), batch()]).await;
    servers.fail_over().await;
    assert_lost(written(storage, batch()).await.1, Lost::Writes(2));
    assert_eq!(stored_batches(&servers.standby).await, 2);
    let (_storage, found) = loaded(lead(&mut replica(&servers.config(), 2)).await).await;
    assert!(found.books.is_copy, "grants may be missing");
}

#[tokio::test]
async fn an_old_primary_that_returns_is_left_for_the_one_that_has_replaced_it() {
    let Some(servers) = Servers::start().await else { return };
    let mut one = replica(&servers.config(), 1);
    drop(stored(loaded(lead(&mut one).await).await.0, [batch()]).await);
    servers.replicated().await;
    servers.fail_over().await;
    let can_write = async || servers.standby.number("SELECT pg_is_in_recovery()::int").await == 0;
    eventually("the standby is promoted", can_write).await;
    let storage = stored(loaded(lead(&mut one).await).await.0, [batch()]).await;
    drop(storage);
    // It is the first one of the URL.
    servers.primary.restart(0).await;
    drop(stored(lead_beside_old(&mut one).await, [batch()]).await);
    assert_eq!((stored_batches(&servers.standby).await, stored_batches(&servers.primary).await), (3, 1));
    let mut started_again = replica(&servers.config(), 2);
    let _storage = stored(lead_beside_old(&mut started_again).await, [batch()]).await;
    assert_eq!((stored_batches(&servers.standby).await, stored_batches(&servers.primary).await), (4, 1));
}

/// Leads, after some attempts that reach the old primary.
async fn lead_beside_old(replica: &mut Standby) -> PostgresStorage {
    for _ in 0..50 {
        let Ok(seen) = replica.observe().await else { continue };
        match replica.stand(&seen).await {
            Ok(Some(storage)) => return loaded(storage).await.0,
            Ok(None) => {}
            Err(error) => assert!(error.to_string().starts_with("Stop the old primary"), "{error}"),
        }
    }
    panic!("the new primary was never reached");
}
