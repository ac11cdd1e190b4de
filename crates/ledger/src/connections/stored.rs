//! The open connections from stored rows, and the rows that must be stored. Tests: `tests/simulation`.
//!
//! A restored connection goes on where it stopped: it keeps its due instant, and is charged by time if it was before.
#![cfg_attr(not(test), warn(clippy::arithmetic_side_effects))]

use std::collections::BTreeMap;

use super::Connections;
use crate::connection::{Connection, Name};
use crate::grants::Grants;
use crate::grants::spent::ConnectionCharge;
use crate::token::GrantId;
use crate::units::{ByteCount, Timestamp};
use crate::usage_change::{ChangeKind, UsageChange};

impl Connections {
    /// Restores the stored connections into the empty table. The returned changes restart the ledger's clock for the connections that
    /// were charged by time.
    pub(crate) fn restore(
        &mut self,
        grants: &mut Grants,
        connections: BTreeMap<Name, Box<Connection>>,
        now: Timestamp,
    ) -> Vec<UsageChange> {
        let mut changes = vec![];
        for connection in connections.values() {
            let mut allowances = grants.allowances(connection.name.grant(), now, &self.rules);
            allowances.open();
            if connection.is_charged_by_time() {
                allowances.count_clock();
                changes.extend(connection.charges([ChangeKind::START_CLOCK]));
            }
            if let Some((grant, charge)) = self.charge_of(connection) {
                // All of it: the stored row lacks what it was charged before this period, too.
                let from = charge.from.max(grants.period.start);
                grants.charge_row(grant, &ConnectionCharge { from, ..charge });
            }
        }
        let rules = &self.rules;
        // Built at once: a search for each row would take most of a start.
        self.queue = connections.values().map(|row| (row.due_at(rules), row.name.clone())).collect();
        self.of_clients = connections.keys().filter(|name| name.grant().is_some()).count();
        self.rows = connections;
        changes
    }

    /// What the stored connections of grants were charged, all in one.
    pub(crate) fn charges_of(
        &self,
        connections: &BTreeMap<Name, Box<Connection>>,
    ) -> Vec<(GrantId, ConnectionCharge)> {
        connections.values().filter_map(|connection| self.charge_of(connection)).collect()
    }

    fn charge_of(&self, connection: &Connection) -> Option<(GrantId, ConnectionCharge)> {
        let (before, after) = (ByteCount::ZERO, connection.noted(&self.rules));
        let (from, at) = (connection.opened_at, connection.last_seen);
        Some((connection.name.grant()?, ConnectionCharge { before, after, is_last: false, from, at }))
    }

    /// Connections that have changed since the last call; `None` for one that was closed.
    pub(crate) fn take_changes(&mut self) -> BTreeMap<Name, Option<Box<Connection>>> {
        let changed = self.dirty.take().into_keys();
        let row = |name: &Name| self.rows.get(name).cloned();
        changed.map(|name| (name.clone(), row(&name))).collect()
    }
}
