//! The requests whose body is still coming, by client. Behind a proxy, one client could otherwise hold all sockets to the proxy with
//! bodies that come slowly.

use std::collections::BTreeMap;
use std::sync::Arc;

use parking_lot::Mutex;
use tokio::sync::Notify;
use turn_budget::ClientKey;
use turn_limits::Held;

/// The most such requests of one client: a sixteenth of all sockets. An IPv6 /48 has four times as many.
pub const COMING_PER_CLIENT_MAX: usize = 512;

/// The requests. Clones share them.
#[derive(Clone, Debug, Default)]
pub struct Coming(Arc<Mutex<Table>>);

#[derive(Debug, Default)]
struct Table {
    begun: u64,
    /// The requests of each share by number, so in the order in which they began.
    rows: Held<BTreeMap<u64, Row>>,
}

#[derive(Clone, Debug)]
struct Row {
    client: ClientKey,
    ended: Arc<Notify>,
}

/// One request. Dropping it frees its place.
#[derive(Debug)]
pub struct ComingBody {
    coming: Coming,
    number: u64,
    row: Row,
}

impl Coming {
    /// A body of a client begins to come. In a full share of the client, the oldest request ends.
    pub fn begin(&self, client: ClientKey) -> ComingBody {
        let row = Row { client, ended: Arc::default() };
        let mut table = self.0.lock();
        table.begun += 1;
        let number = table.begun;
        while let Some((oldest, row)) = table.oldest_of_full(client) {
            table.remove(oldest, row.client);
            row.ended.notify_one();
        }
        table.rows.change(client, |rows| rows.insert(number, row.clone()).is_none());
        ComingBody { coming: self.clone(), number, row }
    }

    /// How many there are.
    pub fn count(&self) -> usize {
        let table = self.0.lock();
        table.rows.iter().filter(|(share, _)| share.factor() == 1).map(|(_, rows)| rows.len()).sum()
    }
}

impl Table {
    /// The oldest request in a full share of a client. `None` if all its shares have room.
    fn oldest_of_full(&self, client: ClientKey) -> Option<(u64, Row)> {
        let is_full = |rows: &BTreeMap<u64, Row>, factor| rows.len() >= COMING_PER_CLIENT_MAX * factor;
        let full = self.rows.full(client, is_full)?;
        self.rows.get(&full)?.first_key_value().map(|(number, row)| (*number, row.clone()))
    }

    fn remove(&mut self, number: u64, client: ClientKey) {
        self.rows.change(client, |rows| {
            rows.remove(&number);
            !rows.is_empty()
        });
    }
}

impl ComingBody {
    /// Returns once the request must end, to make room for a newer one.
    pub async fn must_end(&self) {
        self.row.ended.notified().await;
    }
}

impl Drop for ComingBody {
    fn drop(&mut self) {
        self.coming.0.lock().remove(self.number, self.row.client);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn client(text: &str) -> ClientKey {
        ClientKey::of(text.parse().unwrap())
    }

    async fn has_ended(body: &ComingBody) -> bool {
        tokio::time::timeout(std::time::Duration::ZERO, body.must_end()).await.is_ok()
    }

    #[tokio::test]
    async fn at_a_full_share_the_oldest_request_ends_and_other_clients_keep_theirs() {
        let coming = Coming::default();
        let other = coming.begin(client("192.0.2.2"));
        let mut bodies: Vec<_> =
            (0..COMING_PER_CLIENT_MAX).map(|_| coming.begin(client("192.0.2.1"))).collect();
        assert!(!has_ended(&bodies[0]).await);
        bodies.push(coming.begin(client("192.0.2.1")));
        assert!(has_ended(&bodies[0]).await && !has_ended(&bodies[1]).await && !has_ended(&other).await);
        bodies.truncate(2);
        bodies.push(coming.begin(client("192.0.2.1")));
        assert!(!has_ended(&bodies[1]).await, "what is over has left its place");
        assert_eq!(coming.count(), 3);
        drop((bodies, other));
        assert!(coming.0.lock().rows.is_empty());
    }

    #[tokio::test]
    async fn a_48_has_four_shares_and_its_oldest_request_ends() {
        let coming = Coming::default();
        let bodies: Vec<_> = (0..4 * COMING_PER_CLIENT_MAX)
            .map(|n| coming.begin(client(&format!("2001:db8:1:{:x}::1", n % 8))))
            .collect();
        assert!(!has_ended(&bodies[0]).await);
        let _newest = coming.begin(client("2001:db8:1:ff::1"));
        assert!(has_ended(&bodies[0]).await && !has_ended(&bodies[1]).await);
    }
}
