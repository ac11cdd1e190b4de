//! What the relay asks of the broker, and what it reports to it and to the metrics.

use std::collections::BTreeMap;
use std::sync::Arc;

use async_trait::async_trait;
use turn_ledger::{ByteCount, Carried, GrantEnd, GrantId, Timestamp, Traffic};

use crate::allocation_rules::Username;

/// What the relay asks of the broker, and reports to it.
#[async_trait]
pub trait RelayBroker: Send + Sync {
    /// The password of a user name.
    fn password(&self, username: &str) -> String;

    /// Whether and why nothing more is relayed for a user name.
    fn grant_end(&self, user: &Username) -> Option<GrantEnd>;

    /// The instant up to which a count that is made now is complete. `None` while it is unknown how much time has passed: then
    /// nothing is counted.
    fn may_count_until(&self) -> Option<Timestamp>;

    /// Takes what was carried since the last call, in all and for each grant.
    fn carry(&self, carried: &Carried, by_grant: &BTreeMap<GrantId, Traffic>);

    /// Whether what was carried is on disk. Waits for the write.
    async fn recorded(&self) -> bool;

    /// What is left of the budget.
    fn remaining(&self) -> ByteCount;

    /// Only these grants have an allocation. All others of the relay that have ended relay nothing more.
    fn release_all_but(&self, present: &[GrantId]);
}

/// Counts an event in the metrics.
pub type Note = Arc<dyn Fn(Event) + Send + Sync>;

/// What is counted in the metrics.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Event {
    /// There are so many allocations now.
    Allocations(u64),
    /// An allocation has ended, for this reason.
    Ended(&'static str),
    /// An allocation was refused, for this reason.
    Refused(&'static str),
    /// A packet was dropped, for this reason.
    Dropped(&'static str),
}
