//! Who asks for a credential, and what the row of its grant says of them. Tests: `src/books/tests/commits.rs`.

use std::net::Ipv6Addr;
use std::sync::Arc;

use crate::client::ClientKey;
use crate::owner::IdDigest;
use crate::spender::{Spender, User};
use crate::token::GrantId;

/// Who asks for a credential.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Requester {
    /// The client. `None` for one whose requests are vouched for: no allowance of an address applies.
    pub client: Option<ClientKey>,
    /// The grant that the credential renews.
    pub renews: Option<GrantId>,
    /// Who spends what the credential relays.
    pub spender: Option<Arc<Spender>>,
    /// The client's whole IPv6 address, if it is kept.
    pub address: Option<Ipv6Addr>,
    /// The TURN key that minted the credential, once it is minted.
    pub turn_key: Option<IdDigest>,
}

impl Requester {
    /// The user who spends.
    pub fn user(&self) -> Option<&User> {
        self.spender.as_deref()?.user.as_ref()
    }
}
