//! Credentials of pages whose session was refused. The next attempt of such a page gets the same one.

use std::sync::Arc;
use std::time::Duration;

use turn_ledger::{Call, ClientKey, GrantId, User};

use super::SfuProxy;
use crate::ice::server::IceServerList;

/// Who asks for a credential. Nobody else gets it again.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Asker {
    /// The client's address.
    pub address: ClientKey,
    /// The user, by a token.
    pub user: Option<User>,
    /// The origin of the page.
    pub origin: Option<Arc<str>>,
    /// The call that the credential belongs to.
    pub call: Option<Call>,
}

/// A credential with what it depends on.
#[derive(Clone, Debug)]
pub(super) struct UnusedCredential {
    servers: IceServerList,
    grant: GrantId,
    asker: Asker,
}

impl SfuProxy {
    /// A credential that was minted for the same page less than `age_max` ago, that no session uses, and that was not revoked.
    /// `None` while nothing would be minted.
    pub fn unused_credential(&self, asker: &Asker, age_max: Duration) -> Option<IceServerList> {
        let snapshot = self.account.snapshot();
        if snapshot.figures.is_spent() || snapshot.frozen {
            return None;
        }
        let is_valid = |credential: &UnusedCredential| {
            self.account.read(|books| books.grants().valid(credential.grant).is_some())
        };
        let fits = |credential: &UnusedCredential| credential.asker == *asker && is_valid(credential);
        let credential = self.lock().unused.take(asker.address, age_max, self.now(), fits)?;
        Some(credential.servers)
    }

    /// A new credential is handed out to a page.
    pub fn handed_out(&self, asker: Asker, servers: IceServerList, grant: GrantId) {
        let (address, now) = (asker.address, self.now());
        self.lock().unused.add(address, UnusedCredential { servers, grant, asker }, now);
    }

    /// The time since the start.
    pub(super) fn now(&self) -> Duration {
        self.clock.instant().saturating_duration_since(self.started)
    }
}
