//! The journal: what keeps the books on disk. A grant's record is on disk before its answer leaves (one sync for all who
//! wait together); everything else follows within [`FLUSH_INTERVAL`]. One thread writes, fed by a bounded queue; while
//! the disk fails, nothing that must be recorded is answered, and what could not be written is written when it can.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use tokio::sync::mpsc::{Receiver, Sender, channel};
use tokio::sync::oneshot;

mod file;
pub mod inspect;
mod migration;
mod pruning;
pub mod store;
mod tables;

use store::{FILE_NAME, OpenError, Store, StoreError, survive};
use turn_ledger::changes::{BooksChanges, Recovered};

/// How far what is not a grant may be behind on disk.
pub const FLUSH_INTERVAL: Duration = Duration::from_secs(1);
/// Batches that may wait for the disk.
const QUEUE_MAX: usize = 1_024;
/// Batches that are written with one sync.
const GROUP_MAX: usize = 512;
/// For one commit in all; a disk that takes longer is down.
const COMMIT_TIMEOUT: Duration = Duration::from_secs(2);

/// The sending side. Cheap to share.
#[derive(Debug)]
pub struct Journal {
    queue: Sender<Batch>,
    disk: Arc<Disk>,
}

/// What is known of the disk.
#[derive(Debug, Default)]
struct Disk {
    /// The last write failed.
    is_failing: AtomicBool,
    /// Somebody has waited too long for a write, and none has ended since.
    is_stalled: AtomicBool,
}

/// Changes that are written together, and who waits for them. Without changes it asks whether the disk is back.
#[derive(Debug)]
struct Batch {
    changes: Option<BooksChanges>,
    done: Option<oneshot::Sender<bool>>,
    /// Whether they are kept to be written later when they cannot be written now.
    is_kept: bool,
}

/// What became of a commit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Written {
    /// It is on disk.
    Yes,
    /// It is not, and never will be.
    No,
    /// Nobody knows yet; it may still come to be.
    Unknown,
}

/// Resolves when it is known what became of a commit.
#[derive(Debug)]
#[must_use]
pub struct Pending {
    done: oneshot::Receiver<bool>,
    disk: Arc<Disk>,
}

impl Journal {
    /// Opens the ledger in this directory, or makes one where there is none, and starts the writer.
    pub fn open(directory: PathBuf) -> Result<(Self, Recovered), OpenError> {
        let read = || {
            let store = Store::open(&directory)?;
            let recovered = store.load()?;
            Ok((store, recovered))
        };
        let broken = |broken| Err(OpenError::damaged(&directory.join(FILE_NAME), &broken));
        let (store, recovered) = survive(read).unwrap_or_else(broken)?;
        let (queue, mut batches) = channel(QUEUE_MAX);
        let disk = Arc::new(Disk::default());
        let writer = Writer { store: Some(store), directory, backlog: vec![], disk: Arc::clone(&disk) };
        std::thread::Builder::new()
            .name("ledger".into())
            .spawn(move || writer.run(&mut batches))
            .map_err(OpenError::Thread)?;
        Ok((Self { queue, disk }, recovered))
    }

    /// Queues changes that somebody waits for. `None`: the queue is full, nothing was queued.
    #[must_use]
    pub fn commit(&self, changes: BooksChanges) -> Option<Pending> {
        let (done, pending) = self.pending();
        let batch = Batch { changes: Some(changes), done: Some(done), is_kept: false };
        self.queue.try_send(batch).is_ok().then_some(pending)
    }

    /// As [`Self::flush`], and somebody waits for it. `None`: the changes stay where they are, and go with a later flush.
    #[must_use]
    pub fn record(&self, take: impl FnOnce() -> BooksChanges) -> Option<Pending> {
        let room = self.queue.try_reserve().ok().filter(|_| !self.is_failing())?;
        let (done, pending) = self.pending();
        room.send(Batch { changes: Some(take()), done: Some(done), is_kept: true });
        Some(pending)
    }

    /// Queues all that has changed. `take` is called only when there is room and the disk takes it; otherwise the changes
    /// stay where they are, and a failing disk is tried again.
    pub fn flush(&self, take: impl FnOnce() -> BooksChanges) {
        let Ok(room) = self.queue.try_reserve() else { return };
        let changes = (!self.is_failing()).then(take);
        room.send(Batch { changes, done: None, is_kept: true });
    }

    /// Whether the last write failed, takes too long, or nobody writes any more.
    #[must_use]
    pub fn is_failing(&self) -> bool {
        let Disk { is_failing, is_stalled } = &*self.disk;
        is_failing.load(Ordering::Relaxed) || is_stalled.load(Ordering::Relaxed) || self.queue.is_closed()
    }

    fn pending(&self) -> (oneshot::Sender<bool>, Pending) {
        let (tell, done) = oneshot::channel();
        (tell, Pending { done, disk: Arc::clone(&self.disk) })
    }
}

impl Pending {
    /// Waits for the disk, but not for ever.
    pub async fn wait(self) -> Written {
        self.wait_for(COMMIT_TIMEOUT).await
    }

    async fn wait_for(self, patience: Duration) -> Written {
        match tokio::time::timeout(patience, self.done).await {
            Ok(Ok(true)) => Written::Yes,
            Ok(Ok(false)) => Written::No,
            Ok(Err(_)) => Written::Unknown,
            Err(_) => {
                if !self.disk.is_stalled.swap(true, Ordering::Relaxed) {
                    tracing::error!("the ledger is written too slowly: no grant is given out until it is");
                }
                Written::Unknown
            }
        }
    }
}

/// The writing side: one thread.
struct Writer {
    /// `None` after a failure, until it can be opened again.
    store: Option<Store>,
    directory: PathBuf,
    /// What could not be written yet and is not given up.
    backlog: Vec<BooksChanges>,
    disk: Arc<Disk>,
}

impl Writer {
    fn run(mut self, batches: &mut Receiver<Batch>) {
        let mut group = Vec::new();
        while batches.blocking_recv_many(&mut group, GROUP_MAX) > 0 {
            self.write(std::mem::take(&mut group));
        }
    }

    /// Writes a group with one sync. On failure those who wait are told, and the rest is kept.
    fn write(&mut self, group: Vec<Batch>) {
        let written = self.try_write(&group);
        let was_failing = self.disk.is_failing.swap(written.is_err(), Ordering::Relaxed);
        let was_stalled = self.disk.is_stalled.swap(false, Ordering::Relaxed);
        match &written {
            Ok(()) if was_failing || was_stalled => tracing::info!("the ledger is written again"),
            Err(error) if !was_failing => {
                tracing::error!(%error, "the ledger cannot be written: no grant is given out until it can");
            }
            _ => {}
        }
        for Batch { changes, done, is_kept } in group {
            if is_kept && written.is_err() {
                self.backlog.extend(changes);
            }
            if let Some(done) = done {
                // Whoever waited may have given up: then nobody holds the credential, and its record only melts.
                let _ = done.send(written.is_ok());
            }
        }
    }

    fn try_write(&mut self, group: &[Batch]) -> Result<(), StoreError> {
        let store = match self.store.take() {
            Some(store) => store,
            None => Store::reopen(&self.directory)?,
        };
        let waiting = group.iter().filter_map(|batch| batch.changes.as_ref());
        store.write(self.backlog.iter().chain(waiting))?;
        self.backlog.clear();
        // After a failed write the store is not trusted: it is dropped above, and opened again for the next one.
        self.store = Some(store);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use turn_ledger::connections::TableChanges;
    use turn_ledger::ledger::PeriodCounts;
    use turn_ledger::period::BillingDay;
    use turn_ledger::units::Timestamp;

    fn changes() -> BooksChanges {
        let period = BillingDay::new(1).unwrap().period_at(Timestamp::default());
        BooksChanges {
            lanes: vec![],
            table: TableChanges::default(),
            renewals: vec![],
            issued: vec![],
            overrides: None,
            alerts: None,
            coturn: None,
            counts: (period, PeriodCounts::default()),
            now: None,
        }
    }

    #[tokio::test]
    async fn a_write_that_takes_too_long_counts_as_a_failing_disk_until_it_has_ended() {
        let directory = std::env::temp_dir().join(format!("turn-broker-stall-{}", std::process::id()));
        let (queue, mut batches) = channel(QUEUE_MAX);
        let journal = Journal { queue, disk: Arc::default() };
        // Nobody writes yet.
        let pending = journal.commit(changes()).unwrap();
        assert!(!journal.is_failing());
        assert_eq!(pending.wait_for(Duration::from_millis(1)).await, Written::Unknown);
        assert!(journal.is_failing());
        assert!(journal.record(changes).is_none(), "an order is not queued behind it");

        let disk = Arc::clone(&journal.disk);
        let store = Store::open(&directory).unwrap();
        let mut writer = Writer { store: Some(store), directory: directory.clone(), backlog: vec![], disk };
        writer.write(vec![batches.recv().await.unwrap()]);
        assert!(!journal.is_failing());
        assert!(journal.record(changes).is_some());
        drop(batches);
        assert!(journal.is_failing(), "a writer that is gone writes nothing");
        let _ = std::fs::remove_dir_all(directory);
    }
}
