//! Every outcome of a write: whatever happens to the answer, the batch is stored once, and only a completed commit is answered.

use turn_broker::store::{Standby, WriteError};

use super::store::{assert_lost, batch, blocking, lead, loaded, replica, seq, stored_batches, written};
use crate::support::prelude::*;

/// A leader behind a proxy, and another replica that sees the database directly.
struct Leader {
    database: TestDatabase,
    proxy: Proxy,
    storage: Option<PostgresStorage>,
    other: Standby,
    /// The number of the last write.
    seq: i64,
}

impl Leader {
    async fn start() -> Option<Self> {
        Some(Self::start_on(TestDatabase::new()?).await)
    }

    async fn start_on(database: TestDatabase) -> Self {
        let proxy = Proxy::start(database.address()).await;
        let mut one = replica(&database.config_at(&url_at(proxy.port)), 1);
        let (storage, _) = loaded(lead(&mut one).await).await;
        let other = replica(&database.config(), 2);
        let seq = seq(&database).await;
        Self { database, proxy, storage: Some(storage), other, seq }
    }

    /// Runs this when the next transaction that changes the row of `shard` commits, after its result was computed.
    async fn at_next_commit(&self, body: &str) {
        let function = format!(
            "CREATE SEQUENCE calls;
             CREATE FUNCTION at_commit() RETURNS trigger LANGUAGE plpgsql SET search_path = {} AS
                $$ BEGIN IF nextval('calls') = 1 THEN {body}; END IF; RETURN NULL; END $$;
             CREATE CONSTRAINT TRIGGER at_commit AFTER UPDATE ON shard DEFERRABLE INITIALLY DEFERRED FOR EACH ROW
                EXECUTE FUNCTION at_commit();",
            self.database.schema
        );
        self.database.run(&function).await;
    }

    fn begin(&mut self) -> JoinHandle<(PostgresStorage, Result<(), WriteError>)> {
        tokio::spawn(written(self.storage.take().unwrap(), batch()))
    }

    async fn committed(&self) {
        let committed = self.seq + 1;
        eventually("the write is committed", async || seq(&self.database).await == committed).await;
    }

    /// The batch is stored once, after so many writes.
    async fn assert_once(&self, result: Result<(), WriteError>, writes: i64) {
        result.unwrap();
        assert_eq!((stored_batches(&self.database).await, seq(&self.database).await), (1, self.seq + writes));
    }
}

#[tokio::test]
async fn a_write_whose_answer_is_lost_is_confirmed_by_a_further_one() {
    let Some(mut leader) = Leader::start().await else { return };
    leader.proxy.harm_open(Harm::DropAnswers);
    let writing = leader.begin();
    leader.committed().await;
    leader.proxy.harm_open(Harm::Cut);
    let (storage, result) = writing.await.unwrap();
    leader.assert_once(result, 2).await;
    written(storage, batch()).await.1.unwrap();
    assert_eq!(stored_batches(&leader.database).await, 2, "the next write goes on");
}

/// As with a full disk. A standby would take a session that comes and goes for a leader that has ended.
#[tokio::test]
async fn a_write_that_the_database_refuses_is_sent_again_after_pauses_in_the_same_session() {
    let Some(mut leader) = Leader::start().await else { return };
    let refuse = format!(
        "CREATE SEQUENCE attempts;
         CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql SET search_path = {} AS
            $$ BEGIN PERFORM nextval('attempts'); RAISE EXCEPTION 'no' USING ERRCODE = '53100'; END $$;
         CREATE TRIGGER refuse BEFORE UPDATE ON shard FOR EACH ROW EXECUTE FUNCTION refuse();",
        leader.database.schema
    );
    leader.database.run(&refuse).await;
    let session = "SELECT pid FROM pg_stat_activity WHERE application_name = (SELECT sessions[1] FROM shard)";
    let before = leader.database.number(session).await;
    let clock = "SELECT extract(epoch FROM clock_timestamp()) * 1000";
    let began = leader.database.number(clock).await;
    let writing = leader.begin();
    let attempts = async || leader.database.number("SELECT last_value FROM attempts").await;
    eventually("some attempts", async || attempts().await > 4).await;
    let pauses = 50 + 100 + 200 + 400;
    assert!(leader.database.number(clock).await - began >= pauses, "a slow machine only adds to the pauses");
    assert_eq!(leader.database.number(session).await, before);
    leader.database.run("DROP TRIGGER refuse ON shard").await;
    leader.assert_once(writing.await.unwrap().1, 1).await;
}

#[tokio::test]
async fn a_commit_that_fails_after_its_result_is_not_answered() {
    for code in ["40001", "53100"] {
        let Some(mut leader) = Leader::start().await else { return };
        leader.at_next_commit(&format!("RAISE EXCEPTION 'no' USING ERRCODE = '{code}'")).await;
        let (_storage, result) = leader.begin().await.unwrap();
        leader.assert_once(result, 1).await;
    }
}

#[tokio::test]
async fn a_commit_that_may_be_missing_on_the_synchronous_standby_is_confirmed_by_a_further_one() {
    let Some(database) = TestDatabase::alone() else { return };
    let mut leader = Leader::start_on(database).await;
    let count = format!(
        "CREATE SEQUENCE minutes;
         CREATE FUNCTION count_minute() RETURNS trigger LANGUAGE plpgsql SET search_path = {} AS
            $$ BEGIN PERFORM nextval('minutes'); RETURN NULL; END $$;
         CREATE TRIGGER count_minute AFTER INSERT OR UPDATE ON item FOR EACH ROW WHEN (NEW.kind = 1)
            EXECUTE FUNCTION count_minute();",
        leader.database.schema
    );
    leader.database.run(&count).await;
    let set_standbys = async |names: &str| {
        leader.database.run(&format!("ALTER SYSTEM SET synchronous_standby_names = '{names}'")).await;
        leader.database.run("SELECT pg_reload_conf()").await;
    };
    set_standbys("nobody").await;
    let in_force =
        "SELECT count(*) FROM pg_settings WHERE name = 'synchronous_standby_names' AND setting <> ''";
    eventually("it is in force", async || leader.database.number(in_force).await == 1).await;
    let writing = tokio::spawn(written(leader.storage.take().unwrap(), batch()));
    let canceled = "SELECT count(*) FROM (SELECT pg_cancel_backend(pid) FROM pg_stat_activity
        WHERE wait_event = 'SyncRep' AND application_name = (SELECT sessions[1] FROM shard)) AS canceled";
    eventually("the wait is canceled", async || leader.database.number(canceled).await == 1).await;
    set_standbys("").await;
    let (_storage, result) = writing.await.unwrap();
    leader.assert_once(result, 2).await;
    let minutes = leader.database.number("SELECT last_value FROM minutes").await;
    assert_eq!(minutes, 1, "the further write has no rows");
}

/// A trigger of the operator, or a database whose transaction ids run out.
#[tokio::test]
async fn any_other_warning_is_logged_once_a_minute_without_the_text_of_a_trigger_and_changes_nothing() {
    let Some(mut leader) = Leader::start().await else { return };
    let warn = "CREATE FUNCTION audit() RETURNS trigger LANGUAGE plpgsql AS
            $$ BEGIN RAISE WARNING 'row %', NEW.row; RETURN NULL; END $$;
         CREATE TRIGGER audit AFTER INSERT OR UPDATE ON item FOR EACH ROW EXECUTE FUNCTION audit()";
    leader.database.run(warn).await;
    let mut storage = leader.storage.take().unwrap();
    // The session runs in the thread that writes.
    let logged = blocking(move || {
        let (log, _guard) = Log::of_this_thread();
        for _ in 0..3 {
            storage.write(&batch(), false).unwrap();
        }
        log.text()
    });
    let logged = logged.await;
    assert_eq!(seq(&leader.database).await, leader.seq + 3, "each batch is one write");
    assert_eq!(logged.matches("the database warns").count(), 1, "{logged}");
    assert!(logged.contains("01000") && logged.contains("exec_stmt_raise"), "{logged}");
    assert!(!logged.contains("row \\x"), "{logged}");
}

#[tokio::test]
async fn a_write_that_hangs_does_not_keep_another_from_leading() {
    let Some(mut leader) = Leader::start().await else { return };
    leader.at_next_commit("PERFORM pg_sleep(600)").await;
    let writing = leader.begin();
    let hangs = "SELECT count(*) FROM pg_stat_activity WHERE wait_event = 'PgSleep' \
        AND application_name = (SELECT sessions[1] FROM shard)";
    eventually("the write hangs", async || leader.database.number(hangs).await == 1).await;
    assert!(!writing.is_finished());
    let _new = lead(&mut leader.other).await;
    assert_lost(writing.await.unwrap().1, Lost::Fenced);
    assert_eq!((stored_batches(&leader.database).await, seq(&leader.database).await), (0, leader.seq + 1));
}
