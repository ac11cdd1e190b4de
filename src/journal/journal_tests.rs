use super::*;
use std::sync::Mutex;
use std::sync::atomic::AtomicI64;
use turn_ledger::{Batch, Head, Timestamp};

/// A disk in memory that can fail.
#[derive(Default)]
struct MemoryDisk {
    written: Vec<Timestamp>,
    fails: bool,
}

static DISKS: Mutex<Vec<(PathBuf, MemoryDisk)>> = Mutex::new(vec![]);

/// A storage on the memory disk of its directory.
struct MemoryStorage(PathBuf);

fn with_disk<T>(directory: &Path, change: impl FnOnce(&mut MemoryDisk) -> T) -> T {
    let mut disks = DISKS.lock().unwrap();
    if disks.iter().all(|(of, _)| of != directory) {
        disks.push((directory.to_owned(), MemoryDisk::default()));
    }
    change(&mut disks.iter_mut().find(|(of, _)| of == directory).unwrap().1)
}

impl Storage for MemoryStorage {
    fn open(directory: &Path) -> Result<Self, OpenError> {
        Ok(Self(directory.to_owned()))
    }

    fn load(&self) -> Result<Contents, OpenError> {
        Ok(Contents::default())
    }

    fn write(&self, batch: &Changes) -> Result<(), StoreError> {
        with_disk(&self.0, |disk| {
            if disk.fails {
                return Err(redb::StorageError::Io(std::io::ErrorKind::StorageFull.into()).into());
            }
            disk.written.push(batch.books.head.now);
            Ok(())
        })
    }

    fn reopen(directory: &Path) -> Result<Self, StoreError> {
        Ok(Self(directory.to_owned()))
    }

    fn view(&self) -> Result<StoredView, StoreError> {
        Err(redb::StorageError::Io(std::io::ErrorKind::Unsupported.into()).into())
    }
}

/// Books whose time is one second later each time a batch is taken from them.
#[derive(Debug, Default)]
struct TickingBooks(AtomicI64);

impl ChangeSource for TickingBooks {
    fn take(&self) -> Changes {
        let now = Timestamp::from_millis(1_000 * (1 + self.0.fetch_add(1, Ordering::Relaxed)));
        Batch { head: Head { now, ..Head::default() }, ..Batch::default() }.into()
    }
}

fn books() -> Arc<dyn ChangeSource> {
    Arc::<TickingBooks>::default()
}

/// A journal whose writer runs only when the test calls it.
fn journal(directory: &str) -> (Journal, Receiver<WriteRequest>, Writer<MemoryStorage>) {
    let (queue, requests) = channel(QUEUE_MAX);
    let journal = Journal { queue, disk: Arc::default() };
    let store = MemoryStorage(directory.into());
    let disk = Arc::clone(&journal.disk);
    (journal, requests, Writer { store: Some(store), directory: directory.into(), unwritten: None, disk })
}

fn written(directory: &str) -> Vec<i64> {
    with_disk(Path::new(directory), |disk| disk.written.iter().map(|at| at.as_secs()).collect())
}

#[tokio::test]
async fn a_write_that_takes_too_long_counts_as_a_failing_disk_until_it_ends() {
    let (journal, mut requests, mut writer) = journal("stall");
    let pending = journal.room().unwrap().commit(books());
    assert!(!journal.is_failing());
    assert_eq!(pending.wait_for(Duration::from_millis(1)).await, Written::Unknown);
    assert!(journal.is_failing());
    assert!(journal.room().is_none(), "no batch is queued after it");
    writer.write(vec![requests.recv().await.unwrap()]);
    assert!(!journal.is_failing() && journal.room().is_some());
    drop(requests);
    assert!(journal.is_failing(), "without a writer the disk counts as failing");
}

#[tokio::test]
async fn with_a_full_queue_all_changes_stay_in_the_books() {
    let (journal, _requests, _writer) = journal("full");
    for _ in 0..QUEUE_MAX {
        journal.room().unwrap().send(books());
    }
    assert!(journal.room().is_none());
    journal.try_again();
}

#[tokio::test]
async fn unwritten_batches_are_written_first_once_the_disk_works_again() {
    let (journal, mut requests, mut writer) = journal("fails");
    with_disk(Path::new("fails"), |disk| disk.fails = true);
    let pending = journal.room().unwrap().commit(books());
    writer.write(vec![requests.recv().await.unwrap()]);
    assert_eq!(pending.wait().await, Written::No);
    assert!(journal.is_failing() && journal.room().is_none());
    with_disk(Path::new("fails"), |disk| disk.fails = false);
    journal.try_again();
    writer.write(vec![requests.recv().await.unwrap()]);
    assert!(!journal.is_failing());
    assert_eq!(written("fails"), [1]);
}

#[tokio::test]
async fn one_batch_is_taken_and_written_for_all_that_wait_together() {
    let (journal, mut requests, mut writer) = journal("group");
    let books = books();
    let pending: Vec<_> = (0..3).map(|_| journal.room().unwrap().commit(Arc::clone(&books))).collect();
    let mut group = vec![];
    requests.recv_many(&mut group, GROUP_MAX).await;
    writer.write(group);
    for pending in pending {
        assert_eq!(pending.wait().await, Written::Yes);
    }
    assert_eq!(written("group"), [1], "one batch");
}

#[tokio::test]
async fn the_file_is_closed_after_the_last_batch() {
    let (journal, mut requests, mut writer) = journal("last");
    let pending = journal.room().unwrap().close(books());
    assert!(writer.write(vec![requests.recv().await.unwrap()]), "the writer ends");
    assert_eq!(pending.wait().await, Written::Yes);
    assert!(writer.store.is_none());
}
