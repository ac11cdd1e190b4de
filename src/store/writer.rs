//! The writer of the stored books. A grant is stored before its response is sent, and so is each other change for which a response waits.
//! All further changes follow within [`FLUSH_INTERVAL`]. One thread writes. When it is free, it takes one batch from the books for all
//! requests in a bounded queue. While the disk fails, no grant is issued. Batches that could not be written are kept and written first once
//! the disk works again.

use std::fmt::Debug;
use std::sync::atomic::{AtomicBool, Ordering};

use tokio::sync::mpsc::{Permit, Receiver, Sender, channel};
use tokio::sync::{oneshot, watch};
use tokio::time::{Instant, timeout_at};

use super::storage::closed;
use turn_base::{Clock, SystemClock};
use turn_ledger::Written;

use crate::store::prelude::*;

/// A change for which no response waits is written within this time.
pub const FLUSH_INTERVAL: Duration = Duration::from_secs(1);
/// Requests that may wait for the disk.
const QUEUE_MAX: usize = 1_024;
/// The longest time of one write, from its own beginning. A slower disk counts as failing.
const COMMIT_TIMEOUT: Duration = Duration::from_secs(2);

/// The side that asks for writes. It can be shared.
#[derive(Debug)]
pub struct Store {
    queue: Sender<WriteRequest>,
    disk: Arc<Disk>,
    lost: watch::Receiver<Option<Lost>>,
    /// Copies the ledger.
    pub copier: Arc<dyn CopyLedger>,
}

/// The disk's state.
#[derive(Debug, Default)]
struct Disk {
    /// Whether the last write failed.
    is_failing: AtomicBool,
    /// Whether a commit has timed out, and no write has ended since.
    is_stalled: AtomicBool,
    /// When the latest write began.
    began: Mutex<Option<Instant>>,
    failure: Failure,
}

/// Called after each write that has succeeded, with its beginning as the time since boot, and with its duration.
pub type NoteWrite = Box<dyn Fn(Duration, Duration) + Send>;

/// Where the writer takes a batch when it is free.
pub trait ChangeSource: Debug + Send + Sync {
    /// Takes everything that has changed since the last batch.
    fn take(&self) -> Changes;
    /// Notes that these changes are on disk.
    fn note_written(&self, changes: &Changes);
}

/// A request to write all changes, and the caller that waits for it. Without a source, the writer only writes what it has kept.
#[derive(Default)]
struct WriteRequest {
    source: Option<Arc<dyn ChangeSource>>,
    /// Gets whether the write has succeeded.
    done: Option<oneshot::Sender<bool>>,
    /// Whether to release the ledger after this write. A file that was not closed is repaired at the next start.
    is_last: bool,
}

/// Reserved room in the queue for one request.
#[derive(Debug)]
pub struct QueueSlot<'a> {
    permit: Permit<'a, WriteRequest>,
    disk: &'a Arc<Disk>,
}

/// Resolves to the outcome of a write.
#[derive(Debug)]
#[must_use]
pub struct Pending {
    done: oneshot::Receiver<bool>,
    disk: Arc<Disk>,
}

impl Store {
    /// Reads the ledger, and starts the writer.
    pub fn open<S: Storage>(storage: S) -> Result<(Self, Contents), OpenError> {
        Self::open_noted(storage, Arc::new(SystemClock), Box::new(|_, _| ()))
    }

    /// Like [`Self::open`]. `note` learns of each write that has succeeded, with times of `clock`.
    pub fn open_noted<S: Storage>(
        mut storage: S,
        clock: Arc<dyn Clock>,
        note: NoteWrite,
    ) -> Result<(Self, Contents), OpenError> {
        let stored = storage.load(clock.now())?;
        let (store, mut requests, writer) = Self::new(storage, clock, note);
        std::thread::Builder::new()
            .name("ledger".into())
            .spawn(move || writer.run(&mut requests))
            .map_err(OpenError::Thread)?;
        Ok((store, stored))
    }

    fn new<S: Storage>(
        storage: S,
        clock: Arc<dyn Clock>,
        note: NoteWrite,
    ) -> (Self, Receiver<WriteRequest>, Writer<S>) {
        let (queue, requests) = channel(QUEUE_MAX);
        let (announce, lost) = watch::channel(None);
        let disk = Arc::new(Disk { failure: storage.failure(), ..Disk::default() });
        let copier = storage.copier();
        let writer = Writer {
            storage: Some(storage),
            has_failed: false,
            unwritten: None,
            disk: Arc::clone(&disk),
            lost: None,
            announce,
            clock,
            note,
        };
        (Self { queue, disk, lost, copier }, requests, writer)
    }

    /// Resolves once this process may never write the ledger again. By then every caller that waits for a write has its answer.
    pub async fn lost(&self) -> Lost {
        let found = self.lost.clone().wait_for(Option::is_some).await.ok().and_then(|lost| *lost);
        match found {
            Some(lost) => lost,
            // The writer has ended after the last write.
            None => std::future::pending().await,
        }
    }

    /// Reserves room for a request. `None`: the queue is full or the disk fails, so changes must stay in the books.
    pub fn room(&self) -> Option<QueueSlot<'_>> {
        let permit = self.queue.try_reserve().ok()?;
        if self.is_failing() { None } else { Some(QueueSlot { permit, disk: &self.disk }) }
    }

    /// Asks for another attempt to write what the writer has kept, unless the queue is full.
    pub fn try_again(&self) {
        if let Ok(permit) = self.queue.try_reserve() {
            permit.send(WriteRequest::default());
        }
    }

    /// Why the ledger cannot be written now, if that is known.
    pub fn failure(&self) -> Option<String> {
        self.disk.failure.lock().clone()
    }

    /// Whether the last write failed, a write takes too long, or the writer is gone.
    pub fn is_failing(&self) -> bool {
        let Disk { is_failing, is_stalled, .. } = &*self.disk;
        is_failing.load(Ordering::Relaxed) || is_stalled.load(Ordering::Relaxed) || self.queue.is_closed()
    }
}

impl QueueSlot<'_> {
    /// Asks for a write without waiting for it.
    pub fn send(self, source: Arc<dyn ChangeSource>) {
        self.permit.send(WriteRequest { source: Some(source), ..WriteRequest::default() });
    }

    /// Asks for a write; the caller waits for the result. After the last write, the writer releases the ledger and ends.
    pub fn commit(self, source: Arc<dyn ChangeSource>, is_last: bool) -> Pending {
        let (notify, done) = oneshot::channel();
        self.permit.send(WriteRequest { source: Some(source), done: Some(notify), is_last });
        Pending { done, disk: Arc::clone(self.disk) }
    }
}

impl Pending {
    /// Waits for the write in progress and then for this one, for [`COMMIT_TIMEOUT`] each. If one takes longer, the disk counts as failing.
    pub async fn wait(self) -> Written {
        self.wait_for(COMMIT_TIMEOUT).await
    }

    async fn wait_for(mut self, timeout: Duration) -> Written {
        let mut until = clock::deadline(timeout);
        loop {
            match timeout_at(until, &mut self.done).await {
                Ok(Ok(true)) => return Written::Yes,
                Ok(Ok(false)) => return Written::No,
                // The writer is gone.
                Ok(Err(_)) => return Written::Unknown,
                // The time is over.
                Err(_) => {}
            }
            // If a write has begun since this wait began, that write has its own time.
            let until_of_latest = self.disk.began.lock().map(|began| began + timeout);
            match until_of_latest.filter(|later| *later > until) {
                Some(later) => until = later,
                None => break,
            }
        }
        if !self.disk.is_stalled.swap(true, Ordering::Relaxed) {
            tracing::error!("writing the ledger takes too long: no grants are issued until a write ends");
        }
        Written::Unknown
    }
}

/// The writing side: one thread.
struct Writer<S> {
    /// `None` once the ledger is closed.
    storage: Option<S>,
    /// Whether the last write failed, so that the state of the storage is unknown.
    has_failed: bool,
    /// Changes that could not be written yet. They are one batch, so their size is bounded like that of the books.
    unwritten: Option<Changes>,
    disk: Arc<Disk>,
    /// Set once this process may never write the ledger again. `None` also after an orderly end.
    lost: Option<Lost>,
    announce: watch::Sender<Option<Lost>>,
    clock: Arc<dyn Clock>,
    note: NoteWrite,
}

impl<S: Storage> Writer<S> {
    fn run(mut self, requests: &mut Receiver<WriteRequest>) {
        let mut group = Vec::new();
        while let Some(storage) = &mut self.storage
            && storage.wait(requests, &mut group) > 0
        {
            if self.write(std::mem::take(&mut group)) {
                break;
            }
        }
        requests.close();
        while let Ok(request) = requests.try_recv() {
            request.done.map(|done| done.send(false));
        }
        if let Some(lost) = self.lost {
            self.announce.send_replace(Some(lost));
        }
    }

    /// Writes one batch for a group. If that fails, the callers get the failure and the batch is kept for the next attempt.
    /// Returns whether no write can follow.
    fn write(&mut self, group: Vec<WriteRequest>) -> bool {
        *self.disk.began.lock() = Some(clock::timer_now());
        let is_last = group.iter().any(|request| request.is_last);
        let (mut waiting, mut books) = (vec![], None);
        // All sources are the same books, and one batch has all their changes.
        for WriteRequest { source, done, .. } in group {
            waiting.extend(done);
            books = source.or(books);
        }
        match (&mut self.unwritten, books.as_ref().map(|source| source.take())) {
            (Some(unwritten), Some(batch)) => unwritten.append(batch),
            (None, Some(batch)) => self.unwritten = Some(batch),
            (_, None) => {}
        }
        let written = self.try_write(is_last);
        if written.is_ok()
            && let (Some(batch), Some(books)) = (self.unwritten.take(), books)
        {
            books.note_written(&batch);
        }
        if let Err(WriteError::Lost(lost)) = written {
            self.lost = Some(lost);
        }
        let is_over = is_last || self.lost.is_some();
        if is_over {
            self.storage = None;
        }
        *self.disk.failure.lock() = written.as_ref().err().map(ToString::to_string);
        let was_failing = self.disk.is_failing.swap(written.is_err(), Ordering::Relaxed);
        let was_stalled = self.disk.is_stalled.swap(false, Ordering::Relaxed);
        match &written {
            Ok(()) if was_failing || was_stalled => tracing::info!("the ledger can be written again"),
            Err(WriteError::Lost(lost)) => tracing::error!("nothing more is written here: {lost}"),
            Err(error) if !was_failing => {
                tracing::error!(%error, "the ledger cannot be written: no grants are issued until a write succeeds");
            }
            _ => {}
        }
        for done in waiting {
            // A caller that no longer waits has not sent its credential. What is reserved for the credential shrinks as time passes.
            let _ = done.send(written.is_ok());
        }
        is_over
    }

    fn try_write(&mut self, is_last: bool) -> Result<(), WriteError> {
        let Some(storage) = &mut self.storage else { return Err(closed().into()) };
        // `has_failed` stays true if this attempt returns early.
        if std::mem::replace(&mut self.has_failed, true) {
            storage.recover()?;
        }
        if let Some(batch) = &self.unwritten {
            let (began, started) = (self.clock.since_boot(), self.clock.instant());
            storage.write(batch, is_last)?;
            (self.note)(began, self.clock.instant().saturating_duration_since(started));
        }
        self.has_failed = false;
        Ok(())
    }
}

#[cfg(test)]
#[path = "writer_tests.rs"]
mod tests;
