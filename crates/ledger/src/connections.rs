//! The table of open connections. Every open connection has exactly one due instant in the queue, so a connection that
//! stops reporting is closed without a scan. The size of the table and the connections of one grant are bounded. Calls
//! return usage changes, which the caller applies to the ledger in order.
#![cfg_attr(not(test), warn(clippy::arithmetic_side_effects))]

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use slab::Slab;

use crate::allowance::Allowance;
use crate::connection::{Changes, Connection, Elapsed, Name, Owner, Report, UsageRules};
use crate::dirty::Dirty;
use crate::grants::Grants;
use crate::minute_usage::Basis;
use crate::reports::{Caller, Closed, Entry, OpenError, Opened, UnknownConnection};
use crate::source::IceSource;
use crate::token::GrantId;
use crate::units::Timestamp;
use crate::usage_change::{ChangeKind, UsageChange};

/// How large the tables may grow.
#[derive(Clone, Copy, Debug)]
pub struct Bounds {
    /// Most open connections. About 400 bytes each; real deployments have a few thousand.
    pub connections: usize,
    /// Most grants. They are kept until they expire. About 200 bytes each.
    pub grants: usize,
}

impl Default for Bounds {
    fn default() -> Self {
        Self { connections: 200_000, grants: 500_000 }
    }
}

/// A connection, with its own cap on claims, which is used if it has no grant.
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

    /// The source that is charged for it.
    #[must_use]
    pub fn source(&self) -> IceSource {
        self.connection.source
    }

    /// The grant that it was opened with.
    #[must_use]
    pub fn grant(&self) -> Option<GrantId> {
        self.connection.grant()
    }
}

#[derive(Debug)]
struct Row {
    stored: StoredConnection,
    due: Timestamp,
}

/// Which source and basis a connection's bytes are charged to.
#[derive(Clone, Copy, Debug)]
struct Payer {
    source: IceSource,
    basis: Basis,
}

/// See the module's invariant.
#[derive(Debug)]
pub struct Connections {
    rules: UsageRules,
    rows_max: usize,
    /// The source that is charged for a connection without a grant.
    default_source: IceSource,
    rows: Slab<Row>,
    by_name: BTreeMap<Name, usize>,
    queue: BTreeSet<(Timestamp, usize)>,
    dirty: Dirty<Name>,
}

impl Connections {
    /// An empty table of at most `rows_max` connections.
    #[must_use]
    pub fn new(rules: UsageRules, rows_max: usize, default_source: IceSource) -> Self {
        Self {
            rules,
            rows_max,
            default_source,
            rows: Slab::new(),
            by_name: BTreeMap::new(),
            queue: BTreeSet::new(),
            dirty: Dirty::default(),
        }
    }

    /// Restores the stored connections. From here on, changes are recorded. The returned changes restart the ledger's
    /// clock for the connections that were charged by time.
    pub fn restore(&mut self, connections: impl IntoIterator<Item = StoredConnection>) -> Vec<UsageChange> {
        let mut changes = vec![];
        for stored in connections {
            let Payer { source, basis } = Payer::of(&stored.connection);
            if stored.connection.is_charged_by_time() {
                changes.push(UsageChange { source, basis, kind: ChangeKind::StartClock });
            }
            self.insert(stored);
        }
        self.dirty = Dirty::tracking();
        changes
    }

    /// Connections that have changed since the last call; `None` for one that was closed.
    pub fn take_changes(&mut self) -> BTreeMap<Name, Option<StoredConnection>> {
        let changed = self.dirty.take().into_keys();
        let row = |name: &Name| self.by_name.get(name).and_then(|slot| self.rows.get(*slot));
        changed.map(|name| (name.clone(), row(&name).map(|row| row.stored.clone()))).collect()
    }

    /// How connections are charged.
    #[must_use]
    pub fn rules(&self) -> &UsageRules {
        &self.rules
    }

    /// The next instant at which time alone changes something, if it is not after `until`.
    #[must_use]
    pub fn next_due(&self, until: Timestamp) -> Option<Timestamp> {
        self.queue.first().map(|(due, _)| *due).filter(|due| *due <= until)
    }

    /// Handles the first connection in the queue. `value` is set if the connection was given up.
    pub fn elapse(&mut self, grants: &mut Grants) -> Option<Entry<Option<Closed>>> {
        let (due, slot) = *self.queue.first()?;
        let row = self.rows.get_mut(slot)?;
        let payer = Payer::of(&row.stored.connection);
        match row.stored.connection.elapse(&self.rules) {
            Elapsed::ClockStopped(changes) => {
                self.schedule(slot);
                Some(entry(None, payer, changes, false))
            }
            Elapsed::GivenUp(changes) => {
                let closed = self.remove(grants, slot, due, true)?;
                Some(entry(Some(closed), payer, changes, false))
            }
        }
    }

    /// Opens a connection, or takes a report of one that is open.
    pub fn open(
        &mut self,
        grants: &mut Grants,
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
            let heard = self.report(grants, *slot, Report { relayed, ..Report::default() }, now);
            return Ok(heard.with(Opened::Already));
        }
        if self.rows.len() >= self.rows_max {
            return Err(OpenError::TableFull);
        }
        let (source, first) = match caller {
            Caller::Grant(grant) => (grant.source, grants.open_connection(&grant, now)?),
            Caller::Reporter => (self.default_source, None),
        };
        let (connection, opening) =
            Connection::open(Arc::clone(&name.0), name.1, source, relayed, now, &self.rules);
        let changes = first.into_iter().chain(opening).collect();
        let payer = Payer::of(&connection);
        let mut own_allowance = Allowance::default();
        own_allowance.open(now);
        self.insert(StoredConnection { connection, own_allowance });
        Ok(entry(Opened::New, payer, changes, false))
    }

    /// Takes a report of an open connection.
    pub fn heartbeat(
        &mut self,
        grants: &mut Grants,
        caller: Caller,
        id: &str,
        report: Report,
        now: Timestamp,
    ) -> Result<Entry<()>, UnknownConnection> {
        let slot = self.find(caller, id).ok_or(UnknownConnection)?;
        Ok(self.report(grants, slot, report, now))
    }

    /// Closes a connection. `None` if it is not open: closing twice is harmless. Another grant's connection is unknown.
    pub fn close(
        &mut self,
        grants: &mut Grants,
        caller: Caller,
        id: &str,
        now: Timestamp,
    ) -> Result<Option<Entry<Closed>>, UnknownConnection> {
        let Some(slot) = self.find(caller, id) else {
            let is_anothers = self.named(id).next().is_some();
            return if is_anothers { Err(UnknownConnection) } else { Ok(None) };
        };
        let Some(row) = self.rows.get_mut(slot) else { return Ok(None) };
        let payer = Payer::of(&row.stored.connection);
        let changes = row.stored.connection.close(now);
        Ok(self.remove(grants, slot, now, false).map(|closed| entry(closed, payer, changes, false)))
    }

    /// The open connections, in the order of their names.
    pub fn iter(&self) -> impl Iterator<Item = &Connection> {
        self.by_name.values().filter_map(|slot| self.rows.get(*slot)).map(|row| &row.stored.connection)
    }

    /// How many connections are open.
    #[must_use]
    pub fn open_count(&self) -> usize {
        self.rows.len()
    }

    /// The row that the caller may report on: a client on its own, the reporter on its own or, if only one grant uses
    /// the name, on that grant's.
    fn find(&self, caller: Caller, id: &str) -> Option<usize> {
        let own = self.by_name.get(&(Arc::<str>::from(id), caller.owner())).copied();
        own.or_else(|| {
            let mut named = self.named(id).filter(|_| caller == Caller::Reporter);
            named.next().filter(|_| named.next().is_none())
        })
    }

    /// The rows of that name, of any owner.
    fn named(&self, id: &str) -> impl Iterator<Item = usize> {
        let first = (Arc::<str>::from(id), Owner::Grant(GrantId::new([0; 16])));
        let last = (Arc::<str>::from(id), Owner::Reporter);
        self.by_name.range(first..=last).map(|(_, slot)| *slot)
    }

    fn report(&mut self, grants: &mut Grants, slot: usize, report: Report, now: Timestamp) -> Entry<()> {
        let Some(row) = self.rows.get_mut(slot) else {
            return Entry { value: (), changes: vec![], clamped: false };
        };
        let StoredConnection { connection, own_allowance } = &mut row.stored;
        let grant = connection.grant();
        let allowance = grant.and_then(|id| grants.claims(id)).unwrap_or(own_allowance);
        let mut outcome = connection.report(report, now, &self.rules, allowance);
        if let Some(id) = grant.filter(|_| !connection.is_direct()) {
            outcome.changes.extend(grants.extend(id, now.plus(self.rules.heartbeat)));
        }
        let payer = Payer::of(connection);
        self.schedule(slot);
        entry((), payer, outcome.changes, outcome.clamped)
    }

    fn insert(&mut self, stored: StoredConnection) {
        let name = stored.name();
        self.dirty.note_added(name.clone());
        let slot = self.rows.insert(Row { stored, due: Timestamp::default() });
        self.by_name.insert(name, slot);
        self.schedule(slot);
    }

    fn schedule(&mut self, slot: usize) {
        let Some(row) = self.rows.get_mut(slot) else { return };
        self.queue.remove(&(row.due, slot));
        row.due = row.stored.connection.due_at(&self.rules);
        self.queue.insert((row.due, slot));
        self.dirty.note(row.stored.name());
    }

    fn remove(&mut self, grants: &mut Grants, slot: usize, now: Timestamp, given_up: bool) -> Option<Closed> {
        let row = self.rows.try_remove(slot)?;
        let connection = row.stored.connection;
        let name = connection.name();
        self.queue.remove(&(row.due, slot));
        self.by_name.remove(&name);
        self.dirty.note_removed(name);
        if let Some(id) = connection.grant() {
            let lived_until = connection.last_seen.plus(self.rules.heartbeat).min(now);
            grants.close_connection(id, if given_up { lived_until } else { now });
        }
        let charged = connection.charged(now, &self.rules);
        Some(Closed { id: connection.id, charged, given_up })
    }
}

fn entry<T>(value: T, payer: Payer, changes: Changes, clamped: bool) -> Entry<T> {
    let change = |kind| UsageChange { source: payer.source, basis: payer.basis, kind };
    Entry { value, changes: changes.into_iter().map(change).collect(), clamped }
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
