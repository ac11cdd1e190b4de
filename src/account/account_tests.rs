use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use super::*;
use crate::journal::store::{OpenError, StoreError};
use crate::journal::{Storage, WriteError};
use turn_base::clock::SystemClock;

const PARTS: usize = 8;

/// A slow disk that counts its writes, or a full one.
struct Disk {
    written: Arc<AtomicUsize>,
    is_full: bool,
}

impl Storage for Disk {
    fn load(&mut self) -> Result<Contents, OpenError> {
        Ok(Contents::default())
    }

    fn write(&mut self, _: &Changes) -> Result<(), WriteError> {
        if self.is_full {
            let full = redb::StorageError::Io(std::io::ErrorKind::StorageFull.into());
            return Err(StoreError::from(full).into());
        }
        std::thread::sleep(Duration::from_millis(5));
        self.written.fetch_add(1, Ordering::Relaxed);
        Ok(())
    }

    fn recover(&mut self) -> Result<(), WriteError> {
        Ok(())
    }

    fn release(&mut self, _: &Changes) -> Result<(), WriteError> {
        Ok(())
    }

    fn view(&self) -> Result<StoredView, StoreError> {
        unreachable!("no copy is made")
    }
}

fn account(disk: Disk) -> Arc<Account> {
    let (journal, _) = Journal::open(disk).unwrap();
    testing::account_with(Some(journal), Arc::new(SystemClock))
}

/// A batch has all that has changed since the last one, so a part that did not wait would make it large.
#[tokio::test]
async fn each_part_is_on_disk_before_the_next_one() {
    let written = Arc::new(AtomicUsize::new(0));
    let account = account(Disk { written: Arc::clone(&written), is_full: false });
    let mut begun = 0;
    let parts = account.change_in_parts(|_| {
        assert_eq!(written.load(Ordering::Relaxed), begun, "a part began before the one before was on disk");
        begun += 1;
        (begun > PARTS).then_some(begun)
    });
    assert_eq!(parts.await, PARTS + 1);
}

/// The first write after an outage has all that has changed meanwhile.
#[tokio::test]
async fn while_nothing_can_be_written_few_parts_change() {
    let account = account(Disk { written: Arc::default(), is_full: true });
    let mut begun = 0;
    let parts = account.change_in_parts(|_| {
        begun += 1;
        (begun > PARTS).then_some(())
    });
    let ended = tokio::time::timeout(FLUSH_INTERVAL / 4, parts).await;
    assert!(ended.is_err() && begun <= 2, "{begun} parts");
}
