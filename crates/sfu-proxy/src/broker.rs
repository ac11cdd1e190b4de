//! What the proxy needs of the broker.

use async_trait::async_trait;
use turn_base::Broker;

use crate::prelude::*;
use turn_ledger::NotAdmitted;

/// The broker, for the proxy. Its ledger charges what sessions take.
#[async_trait]
pub trait SfuBroker: Broker {
    /// The grant of a grant token, and the grant's user. `None` unless the token is valid.
    fn holder(&self, token: &str) -> Option<(GrantId, Option<User>)>;

    /// Whether two grants are the same one, or one of them renews the other one, directly or through further renewals.
    fn are_of_one_chain(&self, one: GrantId, other: GrantId) -> bool;

    /// Whether a browser may get the ICE servers of this grant again: the grant is valid and of this spender, and a mint would be possible.
    fn may_reuse(&self, grant: GrantId, spender: Option<&Spender>) -> bool;

    /// Whether the operator has stopped minting.
    fn is_frozen(&self) -> bool;

    /// Promises that a session takes so many kbit/s more. The caller waits until that is [recorded](Self::recorded), and then asks the SFU.
    fn pull(&self, session: &str, more_kbps: u32) -> Result<(), NotAdmitted>;

    /// Whether every change up to now is on disk. Waits for the write.
    async fn recorded(&self) -> bool;

    /// Replaces the row of a session, and charges the session up to now. `row` makes the row at a time of the books, `None` if the session
    /// has ended. `is_found`: a look has found the session, so what it takes is promised for longer. Returns `false` if nothing was done,
    /// because nobody knows how much time has passed.
    fn remember(&self, id: &Arc<str>, row: &dyn Fn(Timestamp) -> Option<SfuSession>, is_found: bool) -> bool;

    /// Whether this broker may still act as the leader. If not, another broker may know more of the sessions, and closes them.
    fn holds_lease(&self) -> bool;

    /// The sessions that take something and must stop: without budget, over the limit of their user, revoked, or of a blocked user.
    fn to_close(&self) -> Vec<Arc<str>>;
}
