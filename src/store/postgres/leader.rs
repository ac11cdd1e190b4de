//! The session of the replica that leads: the election, and the writes. A write changes nothing unless the row of `shard` has the epoch and
//! the session of this replica, and the number of its last write. Each batch is applied once, whatever happens to its answer.

use tokio_postgres::Statement;
use tokio_postgres::types::{ToSql, Type};
use turn_base::Throttle;
use turn_base::backoff::step;

use super::connect::{Connection, Database, DatabaseError, Values, within};
use super::loss;
use super::rows::{RowBatch, commit};
use super::takeovers::Takeovers;
use crate::store::prelude::*;
use crate::store::rows::is_readable;
use turn_store::{Answer, Shard, Step, Term};

/// The pause after a failure, before the row is read again and before a write is sent again. It doubles up to [`PAUSE_MAX`].
const PAUSE_MIN: Duration = Duration::from_millis(50);
const PAUSE_MAX: Duration = Duration::from_secs(1);

/// Ends the session of the leader that was seen, so that a write that hangs in it does not hold the row.
const END_SESSION: &str = "SELECT pg_terminate_backend(pid) FROM shard JOIN pg_stat_activity USING (pid) \
    WHERE id = 1 AND epoch = $1 AND seq = $2 AND application_name = sessions[1]";
/// Takes the lead if the row of `shard` is as it was seen. `began` and `sessions` list the last 16 takeovers.
const STAND: &str = "UPDATE shard SET epoch = epoch + 1, seq = seq + 1, held = true, leader = $3, pid = pg_backend_pid(), \
    began = (seq || began)[1:16], sessions = ($4 || sessions)[1:16], settings = $5, version = $6, \
    written_at = clock_timestamp() \
    WHERE id = 1 AND epoch = $1 AND seq = $2 RETURNING epoch, seq, format";
/// One statement and one round trip. No part of it changes anything unless `fence` has changed the row of `shard`.
const WRITE: &str = "
    WITH fence AS (UPDATE shard SET seq = $2 + 1, held = $4, pid = pg_backend_pid(), written_at = clock_timestamp()
                    WHERE id = 1 AND epoch = $1 AND seq = $2 AND sessions[1] = $3 RETURNING 1),
     put AS (INSERT INTO item SELECT * FROM unnest($5::smallint[], $6::bytea[], $7::bytea[]) WHERE EXISTS (TABLE fence)
                ON CONFLICT (kind, key) DO UPDATE SET row = EXCLUDED.row),
     gone AS (DELETE FROM item USING unnest($8::smallint[], $9::bytea[]) AS old (kind, key)
                WHERE item.kind = old.kind AND item.key = old.key AND EXISTS (TABLE fence))
    SELECT count(*) FROM fence";
/// The rows of an earlier format are replaced in the same transaction.
const MIGRATE: &str =
    "UPDATE shard SET format = $4 WHERE id = 1 AND sessions[1] = $3 AND epoch = $1 AND seq = $2";
/// `FOR UPDATE` waits for a write that was sent before and still runs.
const READ: &str = "SELECT seq, began, sessions FROM shard WHERE id = 1 FOR UPDATE";

pub(super) const VERSION: &str = env!("CARGO_PKG_VERSION");

/// This replica.
#[derive(Clone, Debug)]
pub(super) struct Node {
    /// Where the others reach it.
    pub(super) url: String,
    /// The digest of its settings that decide figures.
    pub(super) settings: String,
}

/// The writer of one epoch.
#[derive(Debug)]
pub(super) struct Leader {
    database: Arc<Database>,
    session: Option<(Connection, Statement)>,
    term: Term,
    pub(super) format: i32,
    /// Limits the log lines about writes whose outcome is unknown.
    unknown_writes: Throttle,
    /// Why the write in progress has not succeeded yet.
    pub(super) failure: Failure,
}

impl Leader {
    /// Takes the lead. `None` if the row of `shard` has changed since `seen`.
    pub(super) async fn stand(
        database: Arc<Database>,
        node: &Node,
        seen: &Observation,
    ) -> Result<Option<Self>, DatabaseError> {
        if !is_readable(seen.format) {
            return Err(DatabaseError::OtherFormat(seen.format));
        }
        let session = format!("turn-broker {:016x}", u64::from_be_bytes(random::bytes()?));
        let (connection, write) = open(&database, &session).await?;
        connection.check_server().await?;
        // This fails without the right to end another session. Then the row stays locked until a write that hangs in that session ends by
        // itself.
        let view: Values<'_> = &[(&seen.epoch, Type::INT8), (&seen.seq, Type::INT8)];
        if let Err(error) = connection.execute(END_SESSION, view).await {
            tracing::debug!(%error, "the session of the leader before was not ended");
        }
        let values: Values<'_> = &[
            (&seen.epoch, Type::INT8),
            (&seen.seq, Type::INT8),
            (&node.url, Type::TEXT),
            (&session, Type::TEXT),
            (&node.settings, Type::TEXT),
            (&VERSION, Type::TEXT),
        ];
        let Some(row) = connection.row(STAND, values).await? else { return Ok(None) };
        let (term, format) = (Term::new(row.get(0), row.get(1), session), row.get(2));
        let (session, failure) = (Some((connection, write)), Failure::default());
        Ok(Some(Self { database, session, term, format, unknown_writes: Throttle::default(), failure }))
    }

    /// Whether a leader has written before the election. A takeover raises epoch and `seq`, a write only `seq`. A ledger that was copied
    /// from a file has equal numbers until a leader writes.
    pub(super) const fn was_written(&self) -> bool {
        self.term.seq > self.term.epoch
    }

    /// Replaces rows of an earlier format by these. Fails if another replica leads now.
    pub(super) async fn migrate(&mut self, rows: &RowBatch) -> Result<(), DatabaseError> {
        let Term { epoch, seq, session, .. } = self.term.clone();
        let (connection, _) = self.session().await?;
        connection.run("BEGIN").await?;
        let leads: Values<'_> =
            &[(&epoch, Type::INT8), (&seq, Type::INT8), (&session, Type::TEXT), (&FORMAT, Type::INT4)];
        if connection.execute(MIGRATE, leads).await? != 1 {
            return Err(DatabaseError::Refused("another replica leads".into()));
        }
        rows.put(connection).await?;
        commit(connection).await?;
        self.format = FORMAT;
        Ok(())
    }

    /// Writes a batch once. Returns when its outcome is known. `is_held`: `false` if this replica releases the ledger with this write.
    pub(super) async fn write(&mut self, rows: &RowBatch, is_held: bool) -> Result<(), WriteError> {
        self.term.begin()?;
        // Without a session nothing is sent, so it is certain that nothing of the batch is stored. After this line only this batch may be
        // sent with this number, because a statement that was sent may still arrive late.
        self.session().await.map_err(StoreError::from)?;
        let empty = RowBatch::default();
        let (mut rows, mut next, mut failures) = (rows, Step::Send, 0);
        loop {
            next = match next {
                Step::Send => self.send(rows, is_held).await,
                // The batch was committed, so send an empty batch from now on.
                Step::Confirm => {
                    rows = &empty;
                    self.send(rows, is_held).await
                }
                Step::Read => {
                    let shard = self.read().await;
                    // Pause, because the next step may send the same write again.
                    tokio::time::sleep(step(PAUSE_MIN, failures, PAUSE_MAX)).await;
                    failures += 1;
                    self.term.after_read(shard.as_ref())
                }
                Step::Done => return Ok(()),
                Step::End(lost) => {
                    self.state_loss(lost).await;
                    return Err(lost.into());
                }
            };
        }
    }

    /// Resolves once the session is over; at once without a session.
    pub(super) async fn broken(&mut self) {
        if let Some((connection, _)) = &mut self.session {
            connection.broken().await;
        }
    }

    /// The session, opened again if it has ended.
    pub(super) async fn session(&mut self) -> Result<&(Connection, Statement), DatabaseError> {
        let is_open = self.session.as_ref().is_some_and(|(connection, _)| !connection.client.is_closed());
        if !is_open {
            self.session = None;
            self.session = Some(open(&self.database, &self.term.session).await?);
        }
        Ok(self.session.as_ref().expect("it was just opened"))
    }

    /// Sends the batch once, and returns what to do next. If it is unknown whether the batch was committed, the session is dropped, because
    /// the statement may still run in it. If the database has refused the statement, the statement does not run any more. Then the session
    /// is kept, because a standby would take a leader without a session for dead.
    async fn send(&mut self, rows: &RowBatch, is_held: bool) -> Step {
        let sent = self.try_send(rows, is_held).await;
        let answer = match &sent {
            Ok((changed, is_unconfirmed)) => Answer::of(Some(*changed), *is_unconfirmed),
            Err(_) => Answer::of(None, false),
        };
        if answer == Answer::Unknown {
            if !matches!(sent, Err(DatabaseError::Refused(_))) {
                self.session = None;
            }
            let error = sent.err().map(|error| error.to_string());
            self.failure.lock().clone_from(&error);
            if let Some(held_back) = self.unknown_writes.pass(clock::timer_now().into_std()) {
                tracing::warn!(
                    error,
                    held_back,
                    "it is unknown whether a write of the ledger was committed: the database is asked"
                );
            }
        }
        self.term.after_answer(answer, is_held)
    }

    /// Sends the batch. Returns the number of changed rows of `shard`, and whether the commit may be missing on the synchronous standby.
    async fn try_send(&mut self, batch: &RowBatch, is_held: bool) -> Result<(i64, bool), DatabaseError> {
        let Term { epoch, seq, session, .. } = self.term.clone();
        let (connection, write) = self.session().await?;
        connection.take_unconfirmed();
        let values: &[&(dyn ToSql + Sync)] = &[
            &epoch,
            &seq,
            &session,
            &is_held,
            &batch.kinds,
            &batch.keys,
            &batch.rows,
            &batch.gone_kinds,
            &batch.gone_keys,
        ];
        let row = within(connection.client.query_one(write, values)).await?;
        Ok((row.get(0), connection.take_unconfirmed()))
    }

    /// Reads the row of `shard`, and tries again until that succeeds. `None`: there is no row.
    async fn read(&mut self) -> Option<Shard> {
        let mut failures = 0;
        loop {
            match self.try_read().await {
                Ok(shard) => return shard,
                Err(error) => {
                    self.session = None;
                    *self.failure.lock() = Some(error.to_string());
                }
            }
            tokio::time::sleep(step(PAUSE_MIN, failures, PAUSE_MAX)).await;
            failures += 1;
        }
    }

    async fn try_read(&mut self) -> Result<Option<Shard>, DatabaseError> {
        let (connection, _) = self.session().await?;
        let row = connection.row(READ, &[]).await?;
        Ok(row.map(|row| Shard { seq: row.get(0), takeovers: Takeovers::new(row.get(1), row.get(2)) }))
    }

    /// If the database has lost writes, stores that for the next leader.
    async fn state_loss(&mut self, lost: Lost) {
        let Lost::Writes(_) = lost else { return };
        let seq = self.term.seq;
        let stated = async {
            let (connection, _) = self.session().await?;
            loss::state(connection, seq).await
        };
        if let Err(error) = stated.await {
            tracing::error!(%error, "the next leader does not learn that the database has lost writes");
        }
    }
}

/// Opens a session of this name that can write.
async fn open(database: &Database, name: &str) -> Result<(Connection, Statement), DatabaseError> {
    let connection = database.connect(name).await?;
    let write = within(connection.client.prepare(WRITE)).await?;
    Ok((connection, write))
}
