use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use super::*;
use crate::journal::store::{OpenError, StoreError};
use crate::journal::{Storage, WriteError};
use turn_base::clock::SystemClock;

const PARTS: usize = 8;

/// A slow disk that counts its writes.
struct SlowStorage(Arc<AtomicUsize>);

impl Storage for SlowStorage {
    fn load(&mut self) -> Result<Contents, OpenError> {
        Ok(Contents::default())
    }

    fn write(&mut self, _: &Changes) -> Result<(), WriteError> {
        std::thread::sleep(Duration::from_millis(5));
        self.0.fetch_add(1, Ordering::Relaxed);
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

/// A batch has all that has changed since the last one, so a part that did not wait would make it large.
#[tokio::test]
async fn each_part_is_on_disk_before_the_next_one() {
    let written = Arc::new(AtomicUsize::new(0));
    let (journal, _) = Journal::open(SlowStorage(Arc::clone(&written))).unwrap();
    let account = testing::account_with(Some(journal), Arc::new(SystemClock));
    let mut begun = 0;
    let parts = account.change_in_parts(|_| {
        assert_eq!(written.load(Ordering::Relaxed), begun, "a part began before the one before was on disk");
        begun += 1;
        (begun > PARTS).then_some(begun)
    });
    assert_eq!(parts.await, PARTS + 1);
}
