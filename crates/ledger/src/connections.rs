//! The table of open connections. Every open connection has exactly one due instant in the queue, so time alone closes
//! what nobody speaks for, without scanning. The table, the connections of one grant and the grants that are
//! remembered are all bounded. Calls return changes; the caller applies them to the ledger in order.
#![cfg_attr(not(test), warn(clippy::arithmetic_side_effects))]

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use slab::Slab;

use crate::allowance::Allowance;
use crate::connection::{Changes, Connection, Elapsed, Name, Owner, Report, UsageRules};
use crate::dirty::Dirty;
use crate::minute_usage::Basis;
use crate::reported_grants::{Coverage, GrantRow, Grants};
use crate::reports::{Caller, Closed, Entry, OpenError, Opened, UnknownConnection};
use crate::source::IceSource;
use crate::token::{Grant, GrantId};
use crate::units::Timestamp;
use crate::usage_change::{ChangeKind, UsageChange};

/// How large the tables may grow.
#[derive(Clone, Copy, Debug)]
pub struct Bounds {
    /// Open connections; real deployments have a few thousand. About 400 bytes each.
    pub connections: usize,
    /// Grants with a report, remembered until they expire. About 100 bytes each.
    pub grants: usize,
}

impl Default for Bounds {
    fn default() -> Self {
        Self { connections: 200_000, grants: 500_000 }
    }
}

/// A connection, with the allowance that is its own where it has no grant.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct StoredConnection {
    connection: Connection,
    own_allowance: Allowance,
}

impl StoredConnection {
    /// Its name.
    #[must_use]
    pub fn name(&self) -> Name {
        self.connection.name()
    }

    /// The grant that it was opened with.
    #[must_use]
    pub fn grant(&self) -> Option<GrantId> {
        self.connection.grant()
    }
}

#[derive(Debug)]
struct Row {
    connection: Connection,
    due: Timestamp,
    /// The allowance of a connection without a grant.
    own_allowance: Allowance,
    /// Whether a connection of that name may be on disk. Where none is, its end needs no word there.
    is_stored: bool,
}

/// What has changed since the last time; `None` is what is gone.
#[derive(Clone, Debug, Default)]
pub struct TableChanges {
    /// Connections.
    pub connections: Vec<(Name, Option<StoredConnection>)>,
    /// Grants that have reported.
    pub grants: Vec<(GrantId, Option<GrantRow>)>,
}

/// Where a connection's bytes are charged.
#[derive(Clone, Copy, Debug)]
struct Payer {
    source: IceSource,
    basis: Basis,
}

/// See the module's invariant.
#[derive(Debug)]
pub struct Estimator {
    rules: UsageRules,
    connections_max: usize,
    /// Whom a connection without a grant belongs to.
    default_source: IceSource,
    rows: Slab<Row>,
    by_name: BTreeMap<Name, usize>,
    queue: BTreeSet<(Timestamp, usize)>,
    grants: Grants,
    unstored: Dirty<Name>,
}

impl Estimator {
    /// An empty table.
    #[must_use]
    pub fn new(rules: UsageRules, bounds: Bounds, coverage: Coverage, default_source: IceSource) -> Self {
        Self {
            rules,
            connections_max: bounds.connections,
            default_source,
            rows: Slab::new(),
            by_name: BTreeMap::new(),
            queue: BTreeSet::new(),
            grants: Grants::new(bounds.grants, coverage),
            unstored: Dirty::default(),
        }
    }

    /// As it was stored, and with changes remembered to be stored again. The changes start the ledger's clock for those
    /// connections for which it ran.
    pub fn restore(
        &mut self,
        connections: Vec<StoredConnection>,
        grants: Vec<(GrantId, GrantRow)>,
    ) -> Vec<UsageChange> {
        self.unstored = Dirty::tracking();
        self.grants.restore(grants);
        let mut changes = vec![];
        for StoredConnection { connection, own_allowance } in connections {
            let Payer { source, basis } = Payer::of(&connection);
            if connection.is_charged_by_time() {
                changes.push(UsageChange { source, basis, change: ChangeKind::StartClock });
            }
            let name = connection.name();
            let row = Row { connection, due: Timestamp::default(), own_allowance, is_stored: true };
            let slot = self.rows.insert(row);
            self.by_name.insert(name, slot);
            self.schedule(slot);
        }
        changes
    }

    /// What has changed since the last call.
    pub fn take_unstored(&mut self) -> TableChanges {
        let connections = self.unstored.take().into_iter().map(|name| {
            let row = self.by_name.get(&name).and_then(|slot| self.rows.get_mut(*slot));
            let stored = row.map(|row| {
                row.is_stored = true;
                StoredConnection {
                    connection: row.connection.clone(),
                    own_allowance: row.own_allowance.clone(),
                }
            });
            (name, stored)
        });
        TableChanges { connections: connections.collect(), grants: self.grants.take_unstored() }
    }

    /// The rules in force.
    #[must_use]
    pub fn rules(&self) -> &UsageRules {
        &self.rules
    }

    /// The next instant at which time alone changes something, if it is not after `until`.
    #[must_use]
    pub fn next_due(&self, until: Timestamp) -> Option<Timestamp> {
        self.queue.first().map(|(due, _)| *due).filter(|due| *due <= until)
    }

    /// Handles the first thing that is due; `value` is a connection that was given up.
    pub fn elapse(&mut self) -> Option<Entry<Option<Closed>>> {
        let (due, slot) = *self.queue.first()?;
        let row = self.rows.get_mut(slot)?;
        let payer = Payer::of(&row.connection);
        match row.connection.elapse(&self.rules) {
            Elapsed::ClockStopped(changes) => {
                self.schedule(slot);
                Some(entry(None, payer, changes, false))
            }
            Elapsed::GivenUp(changes) => {
                let closed = self.remove(slot, due, true)?;
                Some(entry(Some(closed), payer, changes, false))
            }
        }
    }

    /// Opens a connection, or hears from one that is open.
    pub fn open(
        &mut self,
        caller: Caller,
        id: &str,
        relayed: Option<bool>,
        now: Timestamp,
    ) -> Result<Entry<Opened>, OpenError> {
        let name = (Arc::<str>::from(id), caller.owner());
        if let Caller::Grant(grant) = caller
            && grant.is_expired(now)
        {
            return Err(OpenError::GrantExpired);
        }
        if let Some(slot) = self.by_name.get(&name) {
            let heard = self.hear(*slot, Report { relayed, ..Report::default() }, now);
            return Ok(heard.with(Opened::Already));
        }
        let mut changes = self.admit(caller, now)?;
        let source = match caller {
            Caller::Grant(grant) => grant.source,
            Caller::Reporter => self.default_source,
        };
        let (connection, opening) =
            Connection::open(Arc::clone(&name.0), name.1, source, relayed, now, &self.rules);
        changes.extend(opening);
        let payer = Payer::of(&connection);
        let mut own_allowance = Allowance::default();
        own_allowance.open(now);
        let is_stored = self.unstored.contains(&name);
        let slot = self.rows.insert(Row { connection, due: Timestamp::default(), own_allowance, is_stored });
        self.by_name.insert(name, slot);
        self.schedule(slot);
        Ok(entry(Opened::New, payer, changes, false))
    }

    /// Takes a report of an open connection.
    pub fn heartbeat(
        &mut self,
        caller: Caller,
        id: &str,
        report: Report,
        now: Timestamp,
    ) -> Result<Entry<()>, UnknownConnection> {
        let slot = self.find(caller, id).ok_or(UnknownConnection)?;
        Ok(self.hear(slot, report, now))
    }

    /// Closes a connection. `None` when it is not open: closing twice is no fault. Another grant's is unknown.
    pub fn close(
        &mut self,
        caller: Caller,
        id: &str,
        now: Timestamp,
    ) -> Result<Option<Entry<Closed>>, UnknownConnection> {
        let Some(slot) = self.find(caller, id) else {
            let somebody_elses = self.named(id).next().is_some();
            return if somebody_elses { Err(UnknownConnection) } else { Ok(None) };
        };
        let Some(row) = self.rows.get_mut(slot) else { return Ok(None) };
        let payer = Payer::of(&row.connection);
        let changes = row.connection.close(now);
        Ok(self.remove(slot, now, false).map(|closed| entry(closed, payer, changes, false)))
    }

    /// Forgets grants that can have no further effect.
    pub fn forget_expired_grants(&mut self, now: Timestamp) {
        self.grants.forget_expired(now);
    }

    /// `grant` renews another; whether that one has been heard from, as far as it is remembered.
    pub fn inherit_reported(&mut self, renewed: GrantId, grant: &Grant) -> bool {
        self.grants.inherit_reported(renewed, grant)
    }

    /// The open connections, in the order of their names.
    pub fn connections(&self) -> impl Iterator<Item = &Connection> {
        self.by_name.values().filter_map(|slot| self.rows.get(*slot)).map(|row| &row.connection)
    }

    /// How many connections are open.
    #[must_use]
    pub fn open_count(&self) -> usize {
        self.rows.len()
    }

    /// Checks the bounds and counts the connection on its grant.
    fn admit(&mut self, caller: Caller, now: Timestamp) -> Result<Changes, OpenError> {
        if self.rows.len() >= self.connections_max {
            return Err(OpenError::TableFull);
        }
        match caller {
            Caller::Grant(grant) => Ok(self.grants.open(&grant, now)?.into_iter().collect()),
            Caller::Reporter => Ok(vec![]),
        }
    }

    /// The row that the caller may speak for: a client for its own, the reporter for its own or, if only one grant
    /// uses the name, for that grant's.
    fn find(&self, caller: Caller, id: &str) -> Option<usize> {
        let own = self.by_name.get(&(Arc::<str>::from(id), caller.owner())).copied();
        own.or_else(|| {
            let mut named = self.named(id).filter(|_| caller == Caller::Reporter);
            named.next().filter(|_| named.next().is_none())
        })
    }

    /// The rows of that name, whoever owns them.
    fn named(&self, id: &str) -> impl Iterator<Item = usize> {
        let first = (Arc::<str>::from(id), Owner::Grant(GrantId::new([0; 16])));
        let last = (Arc::<str>::from(id), Owner::Reporter);
        self.by_name.range(first..=last).map(|(_, slot)| *slot)
    }

    fn hear(&mut self, slot: usize, report: Report, now: Timestamp) -> Entry<()> {
        let Some(row) = self.rows.get_mut(slot) else {
            return Entry { value: (), changes: vec![], clamped: false };
        };
        let grant = row.connection.grant();
        let allowance = grant.and_then(|id| self.grants.hear(id)).unwrap_or(&mut row.own_allowance);
        let mut outcome = row.connection.report(report, now, &self.rules, allowance);
        if let Some(id) = grant.filter(|_| !row.connection.is_direct()) {
            outcome.changes.extend(self.grants.relays_until(id, now.plus(self.rules.heartbeat)));
        }
        let payer = Payer::of(&row.connection);
        self.schedule(slot);
        entry((), payer, outcome.changes, outcome.clamped)
    }

    fn schedule(&mut self, slot: usize) {
        let Some(row) = self.rows.get_mut(slot) else { return };
        self.queue.remove(&(row.due, slot));
        row.due = row.connection.due_at(&self.rules);
        self.queue.insert((row.due, slot));
        self.unstored.note(row.connection.name());
    }

    fn remove(&mut self, slot: usize, now: Timestamp, given_up: bool) -> Option<Closed> {
        let row = self.rows.try_remove(slot)?;
        let connection = row.connection;
        self.queue.remove(&(row.due, slot));
        self.by_name.remove(&connection.name());
        if row.is_stored {
            self.unstored.note(connection.name());
        } else {
            self.unstored.clear(&connection.name());
        }
        if let Some(id) = connection.grant() {
            let lived_until = connection.last_seen.plus(self.rules.heartbeat).min(now);
            self.grants.close(id, if given_up { lived_until } else { now });
        }
        let charged = connection.charged(now, &self.rules);
        Some(Closed { id: connection.id, charged, given_up })
    }
}

fn entry<T>(value: T, payer: Payer, changes: Changes, clamped: bool) -> Entry<T> {
    let charge = |change| UsageChange { source: payer.source, basis: payer.basis, change };
    Entry { value, changes: changes.into_iter().map(charge).collect(), clamped }
}

impl Payer {
    fn of(connection: &Connection) -> Self {
        let basis = match connection.owner {
            Owner::Grant(_) => Basis::Granted,
            Owner::Reporter => Basis::Ungranted,
        };
        Self { source: connection.source, basis }
    }
}

#[cfg(test)]
#[path = "connections_tests.rs"]
mod tests;
