//! The open connections from stored rows, and the rows that must be stored. Tests: `tests/simulation`.
//!
//! A restored connection goes on where it stopped: it keeps its due instant, and is charged by time if it was before.

use super::{Connections, ServerRows};
use crate::connection::{Connection, Name};
use crate::grants::Grants;
use crate::prelude::*;

impl Connections {
    /// Restores the stored connections into the empty table, and starts the ledger's clock again for those whose clock was running.
    pub(crate) fn restore(
        &mut self,
        grants: &mut Grants,
        connections: BTreeMap<Name, Box<Connection>>,
        now: Timestamp,
    ) {
        for connection in connections.values() {
            let mut allowances = grants.allowances(connection.name.grant(), now, &self.rules);
            allowances.open();
            if connection.is_charged_by_time() {
                allowances.count_clock();
                grants.effects.note(Effect::Usage(connection.usage_change(ChangeKind::START_CLOCK)));
            }
        }
        let rules = &self.rules;
        // The queue is collected at once. To insert row by row would take most of the time that the broker needs to start.
        self.queue = connections.values().map(|row| (row.due_at(rules), row.name.clone())).collect();
        self.of_clients = connections.keys().filter(|name| name.grant().is_some()).count();
        for connection in connections.values() {
            self.count_of_server(&connection.name, ServerRows::default(), ServerRows::of_one(connection));
        }
        self.rows = connections;
    }

    /// Connections that have changed since the last call; `None` for one that was closed.
    pub(crate) fn take_changes(&mut self) -> BTreeMap<Name, Option<Box<Connection>>> {
        let changed = self.dirty.take().into_keys();
        let row = |name: &Name| self.rows.get(name).cloned();
        changed.map(|name| (name.clone(), row(&name))).collect()
    }
}
