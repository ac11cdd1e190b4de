use super::super::storage::GROUP_MAX;
use super::super::testing::MemoryStorage;
use super::*;
use std::sync::atomic::AtomicI64;
use turn_ledger::{Batch, Head};

/// Books whose time is one second later each time a batch is taken from them.
#[derive(Debug, Default)]
struct TickingBooks {
    taken: AtomicI64,
    written: AtomicI64,
}

impl ChangeSource for TickingBooks {
    fn take(&self) -> Changes {
        let now = Timestamp::from_millis(1_000 * (1 + self.taken.fetch_add(1, Ordering::Relaxed)));
        Batch { head: Head { now, ..Head::default() }, ..Batch::default() }.into()
    }

    fn note_written(&self, _: &Changes) {
        self.written.fetch_add(1, Ordering::Relaxed);
    }
}

fn books() -> Arc<dyn ChangeSource> {
    Arc::<TickingBooks>::default()
}

/// A store whose writer runs only when the test calls it.
fn store() -> (Store, Receiver<WriteRequest>, Writer<MemoryStorage>, MemoryStorage) {
    let storage = MemoryStorage::default();
    let (store, requests, writer) = Store::new(storage.clone(), Arc::new(SystemClock), Box::new(|_, _| ()));
    (store, requests, writer, storage)
}

#[tokio::test]
async fn a_write_that_takes_too_long_counts_as_a_failing_disk_until_it_ends() {
    let (store, mut requests, mut writer, _) = store();
    let pending = store.room().unwrap().commit(books(), false);
    assert!(!store.is_failing());
    assert_eq!(pending.wait_for(Duration::from_millis(1)).await, Written::Unknown);
    assert!(store.is_failing());
    assert!(store.room().is_none(), "no batch is queued after it");
    writer.write(vec![requests.recv().await.unwrap()]);
    assert!(!store.is_failing() && store.room().is_some());
    drop(requests);
    assert!(store.is_failing(), "without a writer the disk counts as failing");
}

#[tokio::test]
async fn a_write_has_its_time_from_its_own_beginning() {
    let (store, mut requests, mut writer, _) = store();
    let pending = store.room().unwrap().commit(books(), false);
    // The one before has ended, and its own begins only now.
    *writer.disk.began.lock() = Some(clock::deadline(Duration::from_secs(10)));
    let write = async {
        tokio::time::sleep(Duration::from_millis(50)).await;
        assert!(!store.is_failing());
        writer.write(vec![requests.recv().await.unwrap()]);
    };
    assert_eq!(tokio::join!(pending.wait_for(Duration::from_millis(1)), write).0, Written::Yes);
}

#[tokio::test]
async fn with_a_full_queue_all_changes_stay_in_the_books() {
    let (store, _requests, _writer, _) = store();
    for _ in 0..QUEUE_MAX {
        store.room().unwrap().send(books());
    }
    assert!(store.room().is_none());
    store.try_again();
}

#[tokio::test]
async fn unwritten_batches_are_written_first_once_the_disk_works_again() {
    let (store, mut requests, mut writer, storage) = store();
    storage.disk().fails = true;
    let books = Arc::<TickingBooks>::default();
    let pending = store.room().unwrap().commit(books.clone(), false);
    writer.write(vec![requests.recv().await.unwrap()]);
    assert_eq!((pending.wait().await, books.written.load(Ordering::Relaxed)), (Written::No, 0));
    assert!(store.is_failing() && store.room().is_none());
    storage.disk().fails = false;
    store.try_again();
    writer.write(vec![requests.recv().await.unwrap()]);
    assert!(!store.is_failing());
    let disk = storage.disk();
    assert_eq!((&disk.written[..], disk.recovered), (&[1][..], 1));
}

#[tokio::test]
async fn one_batch_is_taken_and_written_for_all_that_wait_together() {
    let (store, mut requests, mut writer, storage) = store();
    let books = Arc::<TickingBooks>::default();
    let pending: Vec<_> = (0..3).map(|_| store.room().unwrap().commit(books.clone(), false)).collect();
    let mut group = vec![];
    requests.recv_many(&mut group, GROUP_MAX).await;
    writer.write(group);
    for pending in pending {
        assert_eq!(pending.wait().await, Written::Yes);
    }
    assert_eq!(
        (&storage.disk().written[..], books.written.load(Ordering::Relaxed)),
        (&[1][..], 1),
        "one batch"
    );
}

#[tokio::test]
async fn the_ledger_is_released_with_the_last_batch() {
    let (store, mut requests, mut writer, storage) = store();
    let pending = store.room().unwrap().commit(books(), true);
    assert!(writer.write(vec![requests.recv().await.unwrap()]), "the writer ends");
    assert_eq!(pending.wait().await, Written::Yes);
    assert!(writer.storage.is_none() && storage.disk().is_released);
}

#[tokio::test]
async fn all_that_wait_are_refused_once_the_ledger_is_lost() {
    let (store, mut requests, writer, storage) = store();
    storage.disk().is_lost = true;
    let pending: Vec<_> = (0..=GROUP_MAX).map(|_| store.room().unwrap().commit(books(), false)).collect();
    let lost = store.lost();
    std::thread::spawn(move || writer.run(&mut requests)).join().unwrap();
    for pending in pending {
        assert_eq!(pending.wait().await, Written::No);
    }
    assert_eq!(lost.await, Lost::Fenced);
    assert!(store.is_failing() && store.room().is_none(), "nothing is written any more");
    assert!(storage.disk().written.is_empty());
}
