//! The table of clients that have an allocation, by address, and the decision who may be a client. A row exists while the TURN library has
//! the allocation, to within a second. Data of a client without a row is dropped. The bound on allocations bounds the table.

use std::collections::HashMap;

use turn::auth::{AuthHandler, generate_auth_key};

use crate::allocation_rules::ALLOCATIONS_PER_GRANT_MAX;
use crate::prelude::*;
use crate::sockets::ClientSocket;

/// One client address.
pub(crate) struct Client {
    /// The user name as the client sent it.
    pub(crate) name: String,
    /// The same, parsed.
    pub(crate) user: Username,
    pub(crate) socket: Arc<ClientSocket>,
}

/// The table. It gives the library the key of a user name if that user may make or use an allocation.
pub(crate) struct Clients {
    pub(crate) rows: Mutex<HashMap<SocketAddr, Client>>,
    pub(crate) broker: Arc<dyn RelayBroker>,
    pub(crate) note: Note,
}

impl Clients {
    pub(crate) fn socket(&self, address: SocketAddr) -> Option<Arc<ClientSocket>> {
        self.rows.lock().get(&address).map(|client| Arc::clone(&client.socket))
    }

    /// The user names that have allocations, each with its parsed form.
    pub(crate) fn users(&self) -> HashMap<String, Username> {
        self.rows.lock().values().map(|client| (client.name.clone(), client.user)).collect()
    }

    /// Removes the rows for which `is_taken` is true, and returns their clients.
    pub(crate) fn take_where(&self, is_taken: impl Fn(SocketAddr, &Client) -> bool) -> Vec<Client> {
        let mut rows = self.rows.lock();
        rows.extract_if(|address, client| is_taken(*address, client)).map(|(_, client)| client).collect()
    }

    /// Whether a client may make or use an allocation. A client that has an allocation may use it until the relay ends the allocation.
    fn admit(&self, name: &str, client: SocketAddr) -> Result<(), &'static str> {
        let user = Username::parse(name).ok_or("unknown")?;
        if self.rows.lock().get(&client).is_some_and(|client| client.name == name) {
            return Ok(());
        }
        if let Some(end) = self.broker.grant_end(&user) {
            return Err(end.into());
        }
        let of_grant = self.rows.lock().values().filter(|client| client.user.grant == user.grant).count();
        if of_grant >= ALLOCATIONS_PER_GRANT_MAX { Err("grant_full") } else { Ok(()) }
    }
}

impl AuthHandler for Clients {
    fn auth_handle(&self, name: &str, realm: &str, client: SocketAddr) -> Result<Vec<u8>, turn::Error> {
        if let Err(refused) = self.admit(name, client) {
            (self.note)(Event::Refused(refused));
            return Err(turn::Error::Other(refused.to_owned()));
        }
        Ok(generate_auth_key(name, realm, &self.broker.password(name)))
    }
}
