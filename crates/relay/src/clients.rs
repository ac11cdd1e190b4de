//! The table of clients that have an allocation, by address. A row exists as long as the TURN library has the allocation,
//! to within a second. Data of a client without a row is dropped. The bound on allocations bounds the table.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use stun_types::message::MessageIntegrityCredentials;

use crate::allocation_rules::{ExistingAllocations, Username};
use crate::datagram::is_signed_by;
use crate::rate::REQUESTS;
use crate::sockets::ClientSocket;
use turn_ledger::{ClientKey, GrantId, Traffic};
use turn_limits::Bucket;

/// One client address.
pub(crate) struct Client {
    /// The user name as the client sent it.
    pub(crate) name: String,
    /// The same, parsed.
    pub(crate) user: Username,
    pub(crate) socket: Arc<ClientSocket>,
    requests: Bucket,
    /// The key that its requests are signed with.
    pub(crate) signer: MessageIntegrityCredentials,
    /// The part of its traffic that the ledger has.
    noted: Mutex<Traffic>,
}

impl Client {
    pub(crate) fn new(
        name: String,
        user: Username,
        socket: Arc<ClientSocket>,
        signer: MessageIntegrityCredentials,
    ) -> Self {
        Self { name, user, socket, requests: Bucket::default(), signer, noted: Mutex::default() }
    }

    /// Its traffic since the last call.
    fn take_traffic(&self) -> Traffic {
        let mut noted = self.noted.lock();
        let all = self.socket.traffic();
        let new = all.minus(*noted);
        *noted = all;
        new
    }
}

/// Whose rate a request counts against.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Payer {
    /// The client that signed it. `true` if the client is within its rate.
    Client(bool),
    /// No known client. Anybody can send an unsigned request from a forged address.
    Unknown,
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

    /// Charges a request to the client that signed it.
    pub(crate) fn charge(&self, address: SocketAddr, request: &[u8], now: Duration) -> Payer {
        match self.rows.lock().get_mut(&address) {
            Some(client) if is_signed_by(request, &client.signer) => {
                Payer::Client(client.requests.take(REQUESTS, now))
            }
            _ => Payer::Unknown,
        }
    }

    /// The allocations that exist, seen by one client with this user name.
    pub(crate) fn held(&self, address: SocketAddr, name: &str, grant: GrantId) -> ExistingAllocations {
        let clients = self.rows.lock();
        let of = |key: ClientKey| {
            let around =
                clients.keys().filter(|other| ClientKey::of(other.ip()).with_wider().any(|of| of == key));
            around.count() / usize::try_from(key.factor()).unwrap_or(1)
        };
        ExistingAllocations {
            is_its_own: clients.get(&address).is_some_and(|client| client.name == name),
            of_grant: clients.values().filter(|client| client.user.grant == grant).count(),
            of_address: ClientKey::of(address.ip()).with_wider().map(of).max().unwrap_or(0),
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

    /// Removes the rows of a user name.
    pub(crate) fn take_of(&self, name: &str) -> Vec<Client> {
        self.rows.lock().extract_if(|_, client| client.name == name).map(|(_, client)| client).collect()
    }

    /// Removes the rows of all addresses but these.
    pub(crate) fn take_all_but(&self, present: &HashSet<SocketAddr>) -> Vec<Client> {
        self.rows
            .lock()
            .extract_if(|address, _| !present.contains(address))
            .map(|(_, client)| client)
            .collect()
    }
}

fn add(by_grant: &mut BTreeMap<GrantId, Traffic>, client: &Client) {
    let sum = by_grant.entry(client.user.grant).or_default();
    *sum = sum.plus(client.take_traffic());
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::allocation_rules::{ALLOCATIONS_MAX, ALLOCATIONS_PER_ADDRESS_MAX, judge};
    use crate::count::Limit;
    use crate::datagram::signer;
    use turn_ledger::{BilledDirections, Timestamp};

    /// A client with a grant and a name of this number, which has received 100 bytes.
    async fn client(number: u8) -> Client {
        let listen = Arc::new(tokio::net::UdpSocket::bind("127.0.0.1:0").await.unwrap());
        let limit = Arc::new(Limit::new(BilledDirections::Both));
        let socket = ClientSocket::new(listen, limit, Arc::new(|_| {}));
        assert!(socket.receive(100), "no allocation, so nothing limits it");
        let user = Username { expires_at: Timestamp::default(), grant: GrantId::new([number; 16]) };
        let name = number.to_string();
        let signer = signer(&name, String::new(), "realm");
        Client::new(name, user, Arc::new(socket), signer)
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

    #[tokio::test]
    async fn allocations_count_for_their_64_and_a_fourth_of_them_for_their_48() {
        let clients = Clients::default();
        for (number, net) in
            (1..).zip(["a:1", "a:1", "a:2", "a:3", "a:4", "a:5", "a:6", "a:7", "a:8", "a:9", "a:a", "a:b"])
        {
            let address = format!("[2001:db8:{net}::1]:{number}");
            clients.insert(address.parse().unwrap(), client(number).await);
        }
        let of_address =
            |address: &str| clients.held(address.parse().unwrap(), "", GrantId::new([0; 16])).of_address;
        let places = ["[2001:db8:a:2::9]:1", "[2001:db8:a:ff::9]:1", "[2001:db8:b:1::9]:1", "192.0.2.1:1"];
        assert_eq!(places.map(of_address), [3, 3, 0, 0]);
        clients.insert("[2001:db8:b:1::1]:1".parse().unwrap(), client(20).await);
        assert_eq!(of_address("[2001:db8:b:1::9]:1"), 1);
    }

    #[tokio::test]
    async fn four_48s_leave_allocations_for_others() {
        let clients = Clients::default();
        let one = client(1).await;
        let same = || Client::new(one.name.clone(), one.user, Arc::clone(&one.socket), one.signer.clone());
        for n in 0..2 * ALLOCATIONS_MAX {
            let address = format!("[2001:db8:{}:{}::1]:{}", n % 4, n % 64, n + 1).parse().unwrap();
            if judge(clients.held(address, "", GrantId::new([9; 16])), None).is_ok() {
                clients.insert(address, same());
            }
        }
        assert_eq!(clients.len(), 16 * ALLOCATIONS_PER_ADDRESS_MAX);
        assert_eq!(ALLOCATIONS_MAX - clients.len(), 4 * ALLOCATIONS_PER_ADDRESS_MAX);
    }
}
