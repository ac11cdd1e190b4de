use super::*;
use crate::store::testing::MemoryStorage;
use turn_base::clock::SystemClock;
use turn_ledger::{Books, Caller, Grant, GrantId, IceSource};

const PARTS: usize = 8;

fn account(disk: &MemoryStorage) -> Arc<Account> {
    let (store, _) = Store::open(disk.clone()).unwrap();
    testing::account_with(Some(store), Arc::new(SystemClock))
}

/// Adds the row of a grant.
fn change(books: &mut Books, begun: usize) {
    let (id, source) = (GrantId::new([u8::try_from(begun).unwrap(); 16]), IceSource::Manual);
    let (issued_at, expires_at) = (books.now(), books.now().plus_millis(60_000));
    let caller = Caller::Grant(Grant { id, source, issued_at, expires_at });
    assert!(books.open(caller, &begun.to_string(), None).is_ok());
}

/// A batch has all that has changed since the last one, so a part that did not wait would make it large.
#[tokio::test]
async fn each_part_is_on_disk_before_the_next_one() {
    let disk = MemoryStorage::default();
    let account = account(&disk);
    let mut begun = 0;
    let parts = account.change_in_parts(|books| {
        assert_eq!(disk.disk().written.len(), begun, "a part began before the one before was on disk");
        change(books, begun);
        begun += 1;
        (begun > PARTS).then_some(begun)
    });
    assert_eq!(parts.await, PARTS + 1);

    account.recorded().await.unwrap();
    let (written, mut looks) = (disk.disk().written.len(), 0);
    let looking = account.change_in_parts(|_| {
        looks += 1;
        (looks > PARTS).then_some(())
    });
    looking.await;
    assert_eq!(disk.disk().written.len(), written, "what changes nothing waits for no write");
}

/// The first write after an outage has all that has changed meanwhile.
#[tokio::test]
async fn while_nothing_can_be_written_few_parts_change() {
    let disk = MemoryStorage::default();
    disk.disk().fails = true;
    let account = account(&disk);
    let mut begun = 0;
    let parts = account.change_in_parts(|books| {
        change(books, begun);
        begun += 1;
        (begun > PARTS).then_some(())
    });
    let ended = tokio::time::timeout(FLUSH_INTERVAL / 4, parts).await;
    assert!(ended.is_err() && begun <= 2, "{begun} parts");
}
