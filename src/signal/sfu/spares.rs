//! Credentials of pages whose session was refused, which their next attempt gets.

use std::sync::Arc;
use std::time::Duration;

use turn_ledger::client::ClientKey;
use turn_ledger::spender::{Call, User};
use turn_ledger::token::GrantId;

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
pub(super) struct Spare {
    servers: IceServerList,
    grant: GrantId,
    asker: Asker,
}

impl SfuProxy {
    /// A credential that was minted for the same page less than `age_max` ago and that no session uses. None while a credential
    /// would not be minted, and none that was revoked.
    #[must_use]
    pub fn spare(&self, asker: &Asker, age_max: Duration) -> Option<IceServerList> {
        self.check_budget().ok()?;
        let is_valid = |spare: &Spare| !self.account.expiries(&[spare.grant]).is_empty();
        let fits = |spare: &Spare| spare.asker == *asker && is_valid(spare);
        let spare = self.lock().spares.take(asker.address, age_max, self.now(), fits)?;
        Some(spare.servers)
    }

    /// A credential was minted for a page.
    pub fn minted(&self, asker: Asker, servers: IceServerList, grant: GrantId) {
        let (address, now) = (asker.address, self.now());
        self.lock().spares.mint(address, Spare { servers, grant, asker }, now);
    }

    /// The time since the start.
    pub(super) fn now(&self) -> Duration {
        self.clock.instant().saturating_duration_since(self.started)
    }
}
