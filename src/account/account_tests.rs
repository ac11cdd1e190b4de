use super::*;
use crate::store::testing::MemoryStorage;
use turn_base::clock::SystemClock;

const PARTS: usize = 8;

fn account(disk: &MemoryStorage) -> Arc<Account> {
    let (store, _) = Store::open(disk.clone()).unwrap();
    testing::account_with(Some(store), Arc::new(SystemClock))
}

/// A batch has all that has changed since the last one, so a part that did not wait would make it large.
#[tokio::test]
async fn each_part_is_on_disk_before_the_next_one() {
    let disk = MemoryStorage::default();
    let account = account(&disk);
    let mut begun = 0;
    let parts = account.change_in_parts(|_| {
        assert_eq!(disk.disk().written.len(), begun, "a part began before the one before was on disk");
        begun += 1;
        (begun > PARTS).then_some(begun)
    });
    assert_eq!(parts.await, PARTS + 1);
}

/// The first write after an outage has all that has changed meanwhile.
#[tokio::test]
async fn while_nothing_can_be_written_few_parts_change() {
    let disk = MemoryStorage::default();
    disk.disk().fails = true;
    let account = account(&disk);
    let mut begun = 0;
    let parts = account.change_in_parts(|_| {
        begun += 1;
        (begun > PARTS).then_some(())
    });
    let ended = tokio::time::timeout(FLUSH_INTERVAL / 4, parts).await;
    assert!(ended.is_err() && begun <= 2, "{begun} parts");
}
