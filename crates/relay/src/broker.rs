//! What the relay asks the broker, and what it reports to the broker and to the metrics.

use std::collections::BTreeMap;

use turn_budget::{Carried, GrantEnd};

use crate::prelude::*;

/// The broker, as the relay sees it.
#[async_trait]
pub trait RelayBroker: Send + Sync {
    /// The password of a user name.
    fn password(&self, username: &str) -> String;

    /// Why nothing more may be relayed for this user name; `None` while its grant may relay.
    fn grant_end(&self, user: &Username) -> Option<GrantEnd>;

    /// The instant up to which a count that is made now is complete. `None` while it is unknown how much time has passed; meanwhile
    /// no count is reported.
    fn may_count_until(&self) -> Option<Timestamp>;

    /// Takes what was carried since the last call, in total and for each grant.
    fn carry(&self, carried: &Carried, by_grant: &BTreeMap<GrantId, Traffic>);

    /// Waits until the counts that were reported are on disk. `false` if the write fails.
    async fn recorded(&self) -> bool;

    /// What is left of the budget.
    fn remaining(&self) -> ByteCount;

    /// Says that only these grants have an allocation. So every other grant of the relay that has ended relays nothing more.
    fn release_all_but(&self, present: &[GrantId]);
}

/// Counts an event in the metrics.
pub type Note = Arc<dyn Fn(Event) + Send + Sync>;

/// What is counted in the metrics.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Event {
    /// The number of allocations now.
    Allocations(u64),
    /// An allocation has ended, for this reason.
    Ended(&'static str),
    /// An allocation was refused, for this reason.
    Refused(&'static str),
    /// A packet was dropped, for this reason.
    Dropped(&'static str),
}
