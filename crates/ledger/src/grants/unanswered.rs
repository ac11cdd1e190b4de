//! Revoked grants whose source has not answered yet whether it has ended them. A grant is in both fields or in none.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use crate::token::GrantId;
use crate::units::Timestamp;

/// The pause before a source that has not answered is asked again for the same grant. A request to revoke a grant asks by itself, and
/// has ended by then.
pub const ASK_PAUSE: Duration = Duration::from_secs(10);

/// See the module's description.
#[derive(Debug, Default)]
pub(super) struct Unanswered {
    /// From when the source of each is to be asked. 1970: at once, before all others.
    from: BTreeMap<GrantId, Timestamp>,
    in_order: BTreeSet<(Timestamp, GrantId)>,
}

impl Unanswered {
    pub(super) fn insert(&mut self, id: GrantId, from: Timestamp) {
        self.remove(id);
        self.from.insert(id, from);
        self.in_order.insert((from, id));
    }

    pub(super) fn remove(&mut self, id: GrantId) {
        if let Some(from) = self.from.remove(&id) {
            self.in_order.remove(&(from, id));
        }
    }

    pub(super) fn len(&self) -> usize {
        self.from.len()
    }

    /// Those whose source is to be asked now, at most `most`. Each is returned again after [`ASK_PAUSE`], so one that fails again and again
    /// keeps no other waiting.
    pub(super) fn take(&mut self, now: Timestamp, most: usize) -> Vec<GrantId> {
        let due = self.in_order.iter().take(most).take_while(|(from, _)| *from <= now);
        let ids: Vec<_> = due.map(|(_, id)| *id).collect();
        for id in &ids {
            self.insert(*id, now.plus(ASK_PAUSE));
        }
        ids
    }
}
