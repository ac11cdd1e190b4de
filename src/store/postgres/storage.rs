//! The ledger of the replica that leads.

use tokio::sync::mpsc::Receiver;
use tokio::time::timeout;

use super::blocking::Blocking;
use super::connect::{Database, DatabaseError};
use super::leader::{Leader, Node};
use super::rows::{RowBatch, Snapshot};
use crate::store::contradictions::missing;
use crate::store::prelude::*;
use crate::store::rows::{self as ledger_rows, Pruned};
use crate::store::storage::GROUP_MAX;

/// The pause before an idle leader connects again if that has failed.
const CONNECT_PAUSE: Duration = Duration::from_millis(100);

/// The ledger of the replica that leads. Its functions block, so it belongs to a thread of its own.
#[derive(Debug)]
pub struct PostgresStorage {
    runtime: Blocking,
    database: Arc<Database>,
    leader: Leader,
    pruned: Pruned,
}

impl PostgresStorage {
    /// Takes the lead. `None` if the row of `shard` has changed since `seen`.
    pub(super) fn stand(
        database: Arc<Database>,
        node: &Node,
        seen: &Observation,
    ) -> Result<Option<Self>, DatabaseError> {
        let runtime = Blocking::new()?;
        let leader = runtime.get().block_on(Leader::stand(Arc::clone(&database), node, seen))?;
        Ok(leader.map(|leader| Self { runtime, database, leader, pruned: Pruned::default() }))
    }

    /// Writes the rows that `fill` makes. `is_held`: `false` if this replica releases the ledger with this write.
    fn write_rows<T>(
        &mut self,
        is_held: bool,
        fill: impl FnOnce(&mut RowBatch) -> Result<T, StoreError>,
    ) -> Result<T, WriteError> {
        let mut rows = RowBatch::default();
        let filled = fill(&mut rows)?;
        self.runtime.get().block_on(self.leader.write(&rows, is_held))?;
        Ok(filled)
    }
}

impl Storage for PostgresStorage {
    /// Reads everything that earlier leaders have committed. The election is committed, so no earlier leader can write any more.
    fn read(&mut self) -> Result<Contents, OpenError> {
        let (was_written, format) = (self.leader.was_written(), self.leader.format);
        let runtime = self.runtime.get();
        let (connection, _) = runtime.block_on(self.leader.session())?;
        let snapshot = Snapshot::begin(runtime, &connection.client)?;
        if ledger_rows::is_moved(&snapshot).map_err(OpenError::of_database)? {
            return Err(OpenError::MovedToFile);
        }
        let rows = Migrated { rows: snapshot, format };
        let contents = ledger_rows::read(&rows, &mut Err).map_err(OpenError::of_database)?;
        let mut migrated = RowBatch::default();
        if rows.format < FORMAT {
            ledger_rows::copy(&rows, &mut migrated).map_err(OpenError::of_database)?;
        }
        rows.rows.end()?;
        if let Some(missing) = missing(&contents.books, was_written) {
            return Err(OpenError::damaged_database(&missing));
        }
        if !migrated.rows.is_empty() {
            runtime.block_on(self.leader.migrate(&migrated))?;
        }
        self.pruned = Pruned::of(&contents.books);
        Ok(contents)
    }

    fn put_keys(&mut self, keys: &TokenKeys, stored: &Stored) -> Result<(), OpenError> {
        let written = self.write_rows(true, |rows| ledger_rows::keys::write_keys(rows, keys, stored));
        written.map_err(|error| match error {
            WriteError::Failed(error) => OpenError::of_database(error),
            WriteError::Lost(lost) => OpenError::Database(lost.into()),
        })
    }

    fn write(&mut self, batch: &Changes, is_last: bool) -> Result<(), WriteError> {
        let pruned = self.pruned.clone();
        self.pruned = self.write_rows(!is_last, |rows| ledger_rows::write(rows, batch, &pruned))?;
        Ok(())
    }

    /// A leader whose session has broken opens another session at once, because half a second without a session costs it the lead.
    fn wait<T: Send>(&mut self, requests: &mut Receiver<T>, group: &mut Vec<T>) -> usize {
        let leader = &mut self.leader;
        self.runtime.get().block_on(async {
            loop {
                tokio::select! {
                    biased;
                    count = requests.recv_many(group, GROUP_MAX) => return count,
                    () = leader.broken() => {}
                }
                // An empty batch opens a session, and stores its process id in `shard`.
                let pause = match leader.write(&RowBatch::default(), true).await {
                    Ok(()) => continue,
                    Err(WriteError::Failed(_)) => CONNECT_PAUSE,
                    // Wait for a request. Its write returns the loss.
                    Err(WriteError::Lost(_)) => Duration::MAX,
                };
                if let Ok(count) = timeout(pause, requests.recv_many(group, GROUP_MAX)).await {
                    return count;
                }
            }
        })
    }

    fn copier(&self) -> Arc<dyn CopyLedger> {
        Arc::<Database>::clone(&self.database)
    }

    fn failure(&self) -> Failure {
        Arc::clone(&self.leader.failure)
    }
}
