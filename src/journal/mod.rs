//! The journal: the books on disk. A grant is on disk before its response leaves, with one sync for all that wait together.
//! Everything else follows within [`FLUSH_INTERVAL`]. One thread writes, fed by a bounded queue. While the disk fails, no
//! grant is given out, and what could not be written is kept and written first when the disk is back.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use tokio::sync::mpsc::{Permit, Receiver, Sender, channel};
use tokio::sync::oneshot;

mod file;
mod format_2;
pub mod inspect;
mod migration;
mod pruning;
pub mod store;
mod tables;

use store::{FILE_NAME, OpenError, StoreError, catch_panic};
use turn_ledger::books::Written;
use turn_ledger::changes::{Batch, Stored};

/// Where a ledger is stored.
pub trait Storage: Sized + Send + 'static {
    /// Opens the ledger of a directory, or makes one.
    fn open(directory: &Path) -> Result<Self, OpenError>;
    /// Everything that is stored, with the key that signs grant tokens.
    fn load(&self) -> Result<Stored, OpenError>;
    /// Writes a batch, all of it synced to the disk or nothing.
    fn write(&self, batch: &Batch) -> Result<(), StoreError>;
    /// Opens the ledger again after a failed write.
    fn reopen(directory: &Path) -> Result<Self, StoreError>;
}

/// How far what is not a grant may be behind on disk.
pub const FLUSH_INTERVAL: Duration = Duration::from_secs(1);
/// Batches that may wait for the disk.
const QUEUE_MAX: usize = 1_024;
/// Batches that are written with one sync.
const GROUP_MAX: usize = 512;
/// For one commit in all. A disk that takes longer is down.
const COMMIT_TIMEOUT: Duration = Duration::from_secs(2);

/// The sending side. Cheap to share.
#[derive(Debug)]
pub struct Journal {
    queue: Sender<Order>,
    disk: Arc<Disk>,
}

/// What is known of the disk.
#[derive(Debug, Default)]
struct Disk {
    /// The last write failed.
    is_failing: AtomicBool,
    /// A write took too long for a commit, and none has ended since.
    is_stalled: AtomicBool,
}

/// A batch to write, and who waits for it. Without a batch it tries whether the disk is back.
#[derive(Debug)]
struct Order {
    batch: Option<Batch>,
    done: Option<oneshot::Sender<bool>>,
    /// Whether the file is closed after it. A file that is not closed is repaired at the next start.
    is_last: bool,
}

/// Room in the queue for one batch. Changes that are taken out of the books after this cannot be lost on their way.
#[derive(Debug)]
pub struct Room<'a> {
    permit: Permit<'a, Order>,
    disk: &'a Arc<Disk>,
}

/// Resolves when it is known what happened to a batch.
#[derive(Debug)]
#[must_use]
pub struct Pending {
    done: oneshot::Receiver<bool>,
    disk: Arc<Disk>,
}

impl Journal {
    /// Opens the ledger in this directory, or makes one, and starts the writer.
    pub fn open<S: Storage>(directory: PathBuf) -> Result<(Self, Stored), OpenError> {
        let read = || {
            let store = S::open(&directory)?;
            let stored = store.load()?;
            Ok((store, stored))
        };
        let broken = |broken| Err(OpenError::damaged(&directory.join(FILE_NAME), &broken));
        let (store, stored) = catch_panic(read).unwrap_or_else(broken)?;
        let (queue, mut orders) = channel(QUEUE_MAX);
        let disk = Arc::new(Disk::default());
        let writer = Writer { store: Some(store), directory, unwritten: None, disk: Arc::clone(&disk) };
        std::thread::Builder::new()
            .name("ledger".into())
            .spawn(move || writer.run(&mut orders))
            .map_err(OpenError::Thread)?;
        Ok((Self { queue, disk }, stored))
    }

    /// Room for a batch. `None`: the queue is full or the disk fails, so changes must stay in the books.
    #[must_use]
    pub fn room(&self) -> Option<Room<'_>> {
        let permit = self.queue.try_reserve().ok().filter(|_| !self.is_failing())?;
        Some(Room { permit, disk: &self.disk })
    }

    /// Tries whether a failing disk is back, unless the queue is full.
    pub fn try_again(&self) {
        if let Ok(permit) = self.queue.try_reserve() {
            permit.send(Order { batch: None, done: None, is_last: false });
        }
    }

    /// Whether the last write failed, a write takes too long, or the writer is gone.
    #[must_use]
    pub fn is_failing(&self) -> bool {
        let Disk { is_failing, is_stalled } = &*self.disk;
        is_failing.load(Ordering::Relaxed) || is_stalled.load(Ordering::Relaxed) || self.queue.is_closed()
    }
}

impl Room<'_> {
    /// Queues a batch that nobody waits for.
    pub fn send(self, batch: Batch) {
        self.permit.send(Order { batch: Some(batch), done: None, is_last: false });
    }

    /// Queues a batch that a caller waits for.
    pub fn commit(self, batch: Batch) -> Pending {
        self.send_and_tell(batch, false)
    }

    /// Queues the last batch. The file is closed after it, and nothing is written any more.
    pub fn close(self, batch: Batch) -> Pending {
        self.send_and_tell(batch, true)
    }

    fn send_and_tell(self, batch: Batch, is_last: bool) -> Pending {
        let (tell, done) = oneshot::channel();
        self.permit.send(Order { batch: Some(batch), done: Some(tell), is_last });
        Pending { done, disk: Arc::clone(self.disk) }
    }
}

impl Pending {
    /// Waits for the disk, at most for [`COMMIT_TIMEOUT`].
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
struct Writer<S> {
    /// `None` after a failure, until it can be opened again.
    store: Option<S>,
    directory: PathBuf,
    /// What could not be written yet. One batch, so it is bounded as the books are.
    unwritten: Option<Batch>,
    disk: Arc<Disk>,
}

impl<S: Storage> Writer<S> {
    fn run(mut self, orders: &mut Receiver<Order>) {
        let mut group = Vec::new();
        while orders.blocking_recv_many(&mut group, GROUP_MAX) > 0 {
            if self.write(std::mem::take(&mut group)) {
                return;
            }
        }
    }

    /// Writes a group as one batch. If that fails, the callers learn it, and the batch is kept for the next attempt.
    /// Returns whether that was the last write.
    fn write(&mut self, group: Vec<Order>) -> bool {
        let is_last = group.iter().any(|order| order.is_last);
        let (batches, waiting): (Vec<_>, Vec<_>) =
            group.into_iter().map(|order| (order.batch, order.done)).unzip();
        for batch in batches.into_iter().flatten() {
            match &mut self.unwritten {
                Some(unwritten) => unwritten.append(batch),
                None => self.unwritten = Some(batch),
            }
        }
        let written = self.try_write();
        if is_last {
            self.store = None;
        }
        let was_failing = self.disk.is_failing.swap(written.is_err(), Ordering::Relaxed);
        let was_stalled = self.disk.is_stalled.swap(false, Ordering::Relaxed);
        match &written {
            Ok(()) if was_failing || was_stalled => tracing::info!("the ledger is written again"),
            Err(error) if !was_failing => {
                tracing::error!(%error, "the ledger cannot be written: no grant is given out until it can");
            }
            _ => {}
        }
        for done in waiting.into_iter().flatten() {
            // A caller that has gone away has not handed its credential out. Its grant shrinks as time passes.
            let _ = done.send(written.is_ok());
        }
        is_last
    }

    fn try_write(&mut self) -> Result<(), StoreError> {
        let store = match self.store.take() {
            Some(store) => store,
            None => S::reopen(&self.directory)?,
        };
        if let Some(batch) = &self.unwritten {
            store.write(batch)?;
            self.unwritten = None;
        }
        // After a failed write the store is not trusted: it was dropped above, and is opened again for the next one.
        self.store = Some(store);
        Ok(())
    }
}

#[cfg(test)]
#[path = "journal_tests.rs"]
mod tests;
