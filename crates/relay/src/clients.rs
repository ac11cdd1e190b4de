//! The table of clients that have an allocation, by address. A row exists as long as the TURN library has the allocation,
//! to within a second. Data of a client without a row is dropped. The bound on allocations bounds the table.

use std::collections::{BTreeMap, HashMap};
use std::net::SocketAddr;
use std::sync::Arc;

use parking_lot::Mutex;

use crate::allocation_rules::{ExistingAllocations, Username};
use crate::sockets::ClientSocket;
use turn_ledger::{GrantId, Traffic};

/// One client address.
pub(crate) struct Client {
    /// The user name as the client sent it.
    pub(crate) name: String,
    /// The same, parsed.
    pub(crate) user: Username,
    pub(crate) socket: Arc<ClientSocket>,
    /// The part of its traffic that the ledger has.
    reported: Mutex<Traffic>,
}

impl Client {
    pub(crate) fn new(name: String, user: Username, socket: Arc<ClientSocket>) -> Self {
        Self { name, user, socket, reported: Mutex::default() }
    }

    /// Its traffic since the last call.
    fn take_traffic(&self) -> Traffic {
        let mut reported = self.reported.lock();
        let all = self.socket.traffic();
        let new = all.minus(*reported);
        *reported = all;
        new
    }
}

/// The table.
#[derive(Default)]
pub(crate) struct Clients {
    rows: Mutex<HashMap<SocketAddr, Client>>,
    /// What clients that have left carried since [`Self::take_traffic`].
    left: Mutex<BTreeMap<GrantId, Traffic>>,
}

impl Clients {
    /// Keeps the last bytes of a client whose allocation has ended until they are taken.
    pub(crate) fn keep_traffic(&self, client: &Client) {
        add(&mut self.left.lock(), client);
    }

    pub(crate) fn insert(&self, address: SocketAddr, client: Client) {
        self.rows.lock().insert(address, client);
    }

    pub(crate) fn remove(&self, address: SocketAddr) -> Option<Client> {
        self.rows.lock().remove(&address)
    }

    pub(crate) fn socket(&self, address: SocketAddr) -> Option<Arc<ClientSocket>> {
        self.rows.lock().get(&address).map(|client| Arc::clone(&client.socket))
    }

    /// The allocations that exist, seen by one client with this user name.
    pub(crate) fn held(&self, address: SocketAddr, name: &str, grant: GrantId) -> ExistingAllocations {
        let clients = self.rows.lock();
        ExistingAllocations {
            is_its_own: clients.get(&address).is_some_and(|client| client.name == name),
            of_grant: clients.values().filter(|client| client.user.grant == grant).count(),
        }
    }

    /// The number of all allocations.
    pub(crate) fn len(&self) -> usize {
        self.rows.lock().len()
    }

    /// The user names that have allocations.
    pub(crate) fn users(&self) -> HashMap<String, Username> {
        self.rows.lock().values().map(|client| (client.name.clone(), client.user)).collect()
    }

    /// The traffic of each grant since the last call, also of clients that have left since.
    pub(crate) fn take_traffic(&self) -> BTreeMap<GrantId, Traffic> {
        let mut by_grant = std::mem::take(&mut *self.left.lock());
        self.rows.lock().values().for_each(|client| add(&mut by_grant, client));
        by_grant.retain(|_, traffic| *traffic != Traffic::ZERO);
        by_grant
    }

    /// Removes the rows for which `is_taken` is true, and returns their clients.
    pub(crate) fn take_where(&self, is_taken: impl Fn(SocketAddr, &Client) -> bool) -> Vec<Client> {
        let mut rows = self.rows.lock();
        rows.extract_if(|address, client| is_taken(*address, client)).map(|(_, client)| client).collect()
    }
}

fn add(by_grant: &mut BTreeMap<GrantId, Traffic>, client: &Client) {
    let sum = by_grant.entry(client.user.grant).or_default();
    *sum = sum.plus(client.take_traffic());
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::count::Limit;
    use turn_ledger::{BilledDirections, Timestamp};

    /// A client with a grant and a name of this number, which has received 100 bytes.
    async fn client(number: u8) -> Client {
        let listen = Arc::new(tokio::net::UdpSocket::bind("127.0.0.1:0").await.unwrap());
        let limit = Arc::new(Limit::new(BilledDirections::Both));
        let socket = ClientSocket::new(listen, limit, Arc::new(|_| {}));
        assert!(socket.receive(100), "no allocation, so nothing limits it");
        let user = Username { expires_at: Timestamp::default(), grant: GrantId::new([number; 16]) };
        Client::new(number.to_string(), user, Arc::new(socket))
    }

    /// They wait for the count of all clients. A count of one alone would say that everything before it is counted.
    #[tokio::test]
    async fn the_last_bytes_of_a_client_that_has_left_are_taken_once_with_those_of_the_others() {
        let address = |number: u8| SocketAddr::from(([192, 0, 2, number], 1));
        let clients = Clients::default();
        for number in [1, 2] {
            clients.insert(address(number), client(number).await);
        }
        let left = clients.remove(address(1)).unwrap();
        clients.keep_traffic(&left);
        let taken = [1, 2].map(|number| (GrantId::new([number; 16]), Traffic::new(100, 0)));
        assert_eq!(clients.take_traffic(), taken.into());
        assert_eq!(clients.take_traffic(), BTreeMap::new());
    }
}
