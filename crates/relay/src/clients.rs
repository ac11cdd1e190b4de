//! The table of clients that have an allocation, by address. A row exists while the TURN library has the allocation, to within a second.
//! Data of a client without a row is dropped. The bound on allocations bounds the table.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::Arc;

use parking_lot::Mutex;

use crate::allocation_rules::Username;
use crate::sockets::ClientSocket;
use turn_budget::GrantId;

/// One client address.
pub(crate) struct Client {
    /// The user name as the client sent it.
    pub(crate) name: String,
    /// The same, parsed.
    pub(crate) user: Username,
    pub(crate) socket: Arc<ClientSocket>,
}

/// The table.
#[derive(Default)]
pub(crate) struct Clients(Mutex<HashMap<SocketAddr, Client>>);

impl Clients {
    pub(crate) fn insert(&self, address: SocketAddr, client: Client) {
        self.0.lock().insert(address, client);
    }

    pub(crate) fn socket(&self, address: SocketAddr) -> Option<Arc<ClientSocket>> {
        self.0.lock().get(&address).map(|client| Arc::clone(&client.socket))
    }

    /// Whether a client has an allocation with this user name.
    pub(crate) fn has(&self, address: SocketAddr, name: &str) -> bool {
        self.0.lock().get(&address).is_some_and(|client| client.name == name)
    }

    /// The number of allocations of a grant.
    pub(crate) fn of_grant(&self, grant: GrantId) -> usize {
        self.0.lock().values().filter(|client| client.user.grant == grant).count()
    }

    /// The number of all allocations.
    pub(crate) fn len(&self) -> usize {
        self.0.lock().len()
    }

    /// The user names that have allocations, each with its parsed form.
    pub(crate) fn users(&self) -> HashMap<String, Username> {
        self.0.lock().values().map(|client| (client.name.clone(), client.user)).collect()
    }

    /// Removes the rows for which `is_taken` is true, and returns their clients.
    pub(crate) fn take_where(&self, is_taken: impl Fn(SocketAddr, &Client) -> bool) -> Vec<Client> {
        let mut rows = self.0.lock();
        rows.extract_if(|address, client| is_taken(*address, client)).map(|(_, client)| client).collect()
    }
}
