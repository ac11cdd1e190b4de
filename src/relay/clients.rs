//! The table of clients that have an allocation, by address. A row exists as long as the TURN library has the allocation,
//! to within a second. Data of a client without a row is dropped. The bound on allocations bounds the table.

use std::collections::{HashMap, HashSet};
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::auth::Username;
use super::rate::RequestRate;
use super::sockets::ClientSocket;
use turn_ledger::token::GrantId;

/// One client address.
pub(super) struct Client {
    /// The user name as the client sent it.
    pub(super) name: String,
    /// The same, parsed.
    pub(super) user: Username,
    pub(super) socket: Arc<ClientSocket>,
    pub(super) requests: RequestRate,
}

/// The table.
#[derive(Default)]
pub(super) struct Clients(Mutex<HashMap<SocketAddr, Client>>);

impl Clients {
    fn lock(&self) -> MutexGuard<'_, HashMap<SocketAddr, Client>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn insert(&self, address: SocketAddr, client: Client) {
        self.lock().insert(address, client);
    }

    pub(super) fn remove(&self, address: SocketAddr) -> Option<Client> {
        self.lock().remove(&address)
    }

    pub(super) fn socket(&self, address: SocketAddr) -> Option<Arc<ClientSocket>> {
        self.lock().get(&address).map(|client| Arc::clone(&client.socket))
    }

    /// Spends one request of this client; whether it may be handled.
    pub(super) fn admits_request(&self, address: SocketAddr) -> bool {
        self.lock().get(&address).is_none_or(|client| client.requests.admit())
    }

    /// Whether this address has an allocation with this user name.
    pub(super) fn has(&self, address: SocketAddr, name: &str) -> bool {
        self.lock().get(&address).is_some_and(|client| client.name == name)
    }

    /// The number of allocations of one grant.
    pub(super) fn of_grant(&self, grant: GrantId) -> usize {
        self.lock().values().filter(|client| client.user.grant == grant).count()
    }

    /// The number of all allocations.
    pub(super) fn len(&self) -> usize {
        self.lock().len()
    }

    /// The user names that have allocations.
    pub(super) fn users(&self) -> HashMap<String, Username> {
        self.lock().values().map(|client| (client.name.clone(), client.user)).collect()
    }

    /// Removes the rows of a user name.
    pub(super) fn take_of(&self, name: &str) -> Vec<Client> {
        self.lock().extract_if(|_, client| client.name == name).map(|(_, client)| client).collect()
    }

    /// Removes the rows of all addresses but these.
    pub(super) fn take_all_but(&self, present: &HashSet<SocketAddr>) -> Vec<Client> {
        self.lock().extract_if(|address, _| !present.contains(address)).map(|(_, client)| client).collect()
    }
}
