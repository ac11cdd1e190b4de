//! Revoked credentials whose source has not answered yet, in the order in which it is asked. Tests: `src/books/spending/tests/ending.rs`.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use crate::token::GrantId;
use crate::units::Timestamp;

/// The pause before a source that has not answered is asked again for the same grant. A request to revoke a grant asks by itself, and
/// has ended by then.
pub const ASK_PAUSE: Duration = Duration::from_secs(10);
/// The time for what was just revoked: it comes before all others.
pub(crate) const FIRST: Timestamp = Timestamp::from_millis(0);
/// The time for what was revoked before this process started: it comes next.
pub(super) const NEXT: Timestamp = Timestamp::from_millis(1);

/// See the module's description. A grant is in both fields or in none.
#[derive(Debug, Default)]
pub(super) struct Unanswered {
    /// The earliest time to ask about each.
    from: BTreeMap<GrantId, Timestamp>,
    in_order: BTreeSet<(Timestamp, GrantId)>,
}

impl Unanswered {
    pub(super) fn insert(&mut self, id: GrantId, from: Timestamp) {
        self.remove(&id);
        self.from.insert(id, from);
        self.in_order.insert((from, id));
    }

    pub(super) fn remove(&mut self, id: &GrantId) {
        if let Some(from) = self.from.remove(id) {
            self.in_order.remove(&(from, *id));
        }
    }

    pub(super) fn len(&self) -> usize {
        self.from.len()
    }

    /// Whether each of these is in another index, too.
    pub(super) fn is_part_of(&self, other: &Self) -> bool {
        self.from.keys().all(|id| other.from.contains_key(id))
    }

    /// The first one that is due.
    pub(super) fn first(&self, now: Timestamp) -> Option<GrantId> {
        self.in_order.first().filter(|(from, _)| *from <= now).map(|(_, id)| *id)
    }
}
