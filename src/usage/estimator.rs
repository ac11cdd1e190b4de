//! The table of open connections. Every open connection has exactly one due instant in the queue, so time alone closes
//! what nobody speaks for, without scanning. The table, the connections of one grant and the grants that are
//! remembered are all bounded. Calls return charges; the caller applies them to the ledger in order.
#![cfg_attr(not(test), warn(clippy::arithmetic_side_effects))]

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use slab::Slab;

use super::allowance::Allowance;
use super::connection::{Changes, Connection, Elapsed, Owner, Report, UsageRules};
use crate::budget::charge::{Change, Charge};
use crate::budget::grant::{Grant, GrantId};
use crate::budget::timeline::Basis;
use crate::ice::IceSource;
use crate::units::{ByteCount, Timestamp};

/// Open connections of one grant: a mesh of that many peers.
pub const CONNECTIONS_PER_GRANT_MAX: u32 = 64;

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

/// How long after its expiry a grant of each source is counted as alive by itself. A source that is not named here has
/// grants that are never kept alive by being heard from.
pub type Coverage = Vec<(IceSource, Duration)>;

/// Who is speaking.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Caller {
    /// A client with this grant.
    Grant(Grant),
    /// The app server.
    Reporter,
}

impl Caller {
    fn owner(self) -> Owner {
        match self {
            Self::Grant(grant) => Owner::Grant(grant.id),
            Self::Reporter => Owner::Reporter,
        }
    }
}

/// What `open` found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Opened {
    /// A new connection.
    New,
    /// It was open already; this was a sign of life.
    Already,
}

/// Why a connection cannot be opened.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum OpenError {
    /// The grant's life is over.
    #[error("the grant has expired")]
    GrantExpired,
    /// Too many for one grant.
    #[error("{CONNECTIONS_PER_GRANT_MAX} connections are open on this grant")]
    TooManyOnGrant,
    /// The table is full.
    #[error("the table of connections is full")]
    TableFull,
}

/// No connection of that name that the caller may speak for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("no such connection")]
pub struct UnknownConnection;

/// A connection that has ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Closed {
    /// Its name.
    pub id: Arc<str>,
    /// What it was charged in all.
    pub charged: ByteCount,
    /// Whether it was given up because nobody spoke for it.
    pub given_up: bool,
}

/// What a call came to: a value for the caller, and charges for the ledger.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry<T> {
    /// The answer.
    pub value: T,
    /// To be applied in order, at the time of the call.
    pub charges: Vec<Charge>,
    /// Whether a claim was cut.
    pub clamped: bool,
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
        (Arc::clone(&self.connection.id), self.connection.owner)
    }
}

#[derive(Debug)]
struct Row {
    connection: Connection,
    due: Timestamp,
    /// The allowance of a connection without a grant.
    own_allowance: Allowance,
}

/// A connection's name: its id and who opened it.
pub type Name = (Arc<str>, Owner);

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

/// What is remembered of a grant that has reported, until it expires.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct GrantRow {
    allowance: Allowance,
    expires_at: Timestamp,
    /// Up to where the ledger counts it as alive, a whole minute; `None` where that is not extended.
    alive_until: Option<Timestamp>,
}

/// See the module's invariant.
#[derive(Debug)]
pub struct Estimator {
    rules: UsageRules,
    bounds: Bounds,
    coverage: Coverage,
    /// Whom a connection without a grant belongs to.
    default_source: IceSource,
    rows: Slab<Row>,
    by_name: BTreeMap<(Arc<str>, Owner), usize>,
    queue: BTreeSet<(Timestamp, usize)>,
    grants: HashMap<GrantId, GrantRow>,
    /// What has changed since it was last taken to be stored; `None` where nothing is stored.
    unstored: Option<Unstored>,
}

#[derive(Debug, Default)]
struct Unstored {
    connections: BTreeSet<Name>,
    grants: BTreeSet<GrantId>,
}

impl Estimator {
    /// An empty table.
    #[must_use]
    pub fn new(rules: UsageRules, bounds: Bounds, coverage: Coverage, default_source: IceSource) -> Self {
        Self {
            rules,
            bounds,
            coverage,
            default_source,
            rows: Slab::new(),
            by_name: BTreeMap::new(),
            queue: BTreeSet::new(),
            grants: HashMap::new(),
            unstored: None,
        }
    }

    /// As it was stored, and with changes remembered to be stored again. The charges start the ledger's clock for those
    /// connections for which it ran.
    pub fn restore(
        &mut self,
        connections: Vec<StoredConnection>,
        grants: Vec<(GrantId, GrantRow)>,
    ) -> Vec<Charge> {
        self.unstored = Some(Unstored::default());
        self.grants = grants.into_iter().collect();
        let mut charges = vec![];
        for StoredConnection { connection, own_allowance } in connections {
            let Payer { source, basis } = Payer::of(&connection);
            if connection.is_charged_by_time() {
                charges.push(Charge { source, basis, change: Change::StartClock });
            }
            let name = (Arc::clone(&connection.id), connection.owner);
            let slot = self.rows.insert(Row { connection, due: Timestamp::default(), own_allowance });
            self.by_name.insert(name, slot);
            self.schedule(slot);
        }
        charges
    }

    /// What has changed since the last call.
    pub fn take_unstored(&mut self) -> TableChanges {
        let Some(unstored) = self.unstored.as_mut().map(std::mem::take) else {
            return TableChanges::default();
        };
        let connections = unstored.connections.into_iter().map(|name| {
            let row = self.by_name.get(&name).and_then(|slot| self.rows.get(*slot));
            let stored = row.map(|row| StoredConnection {
                connection: row.connection.clone(),
                own_allowance: row.own_allowance.clone(),
            });
            (name, stored)
        });
        let grants = unstored.grants.into_iter().map(|id| (id, self.grants.get(&id).cloned()));
        TableChanges { connections: connections.collect(), grants: grants.collect() }
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
        let slot = self.rows.insert(Row { connection, due: Timestamp::default(), own_allowance });
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

    /// Forgets grants that have expired and have no open connection. Nothing is lost: they cannot open another.
    pub fn forget_expired_grants(&mut self, now: Timestamp) {
        let unstored = &mut self.unstored;
        self.grants.retain(|id, row| {
            let stays = row.expires_at > now || row.allowance.open_count() > 0;
            if let Some(unstored) = unstored.as_mut().filter(|_| !stays) {
                unstored.grants.insert(*id);
            }
            stays
        });
    }

    /// `grant` renews another: if that one has been heard from, this one counts as heard from too, and is not heard from
    /// a first time later. `false` when nobody has spoken for the other one, as far as it is remembered.
    pub fn inherit_word(&mut self, renewed: GrantId, grant: &Grant) -> bool {
        let was_heard = self.grants.contains_key(&renewed) && self.grants.len() < self.bounds.grants;
        if was_heard {
            let row = self.new_row(grant);
            self.grants.insert(grant.id, row);
            if let Some(unstored) = &mut self.unstored {
                unstored.grants.insert(grant.id);
            }
        }
        was_heard
    }

    /// What is remembered of a grant from its first word on.
    fn new_row(&self, grant: &Grant) -> GrantRow {
        let covered = self.coverage.iter().find(|(source, _)| *source == grant.source);
        GrantRow {
            allowance: Allowance::default(),
            expires_at: grant.expires_at,
            alive_until: covered.map(|(_, after)| grant.expires_at.plus(*after).minute_end()),
        }
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
        if self.rows.len() >= self.bounds.connections {
            return Err(OpenError::TableFull);
        }
        let Caller::Grant(grant) = caller else { return Ok(vec![]) };
        if !self.grants.contains_key(&grant.id) && self.grants.len() >= self.bounds.grants {
            // Expired ones are forgotten from time to time; looking for them here would cost a walk for each refusal.
            return Err(OpenError::TableFull);
        }
        let mut changes = vec![];
        let new_row = self.new_row(&grant);
        let row = self.grants.entry(grant.id).or_insert_with(|| {
            changes.push(Change::HeardFromGrant { expires_at: grant.expires_at });
            new_row
        });
        if row.allowance.open_count() >= CONNECTIONS_PER_GRANT_MAX {
            return Err(OpenError::TooManyOnGrant);
        }
        row.allowance.open(now);
        Ok(changes)
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
            return Entry { value: (), charges: vec![], clamped: false };
        };
        let mut grant = match row.connection.owner {
            Owner::Grant(id) => self.grants.get_mut(&id),
            Owner::Reporter => None,
        };
        let kept = grant.as_mut().and_then(|grant| grant.keep_alive(now.plus(self.rules.heartbeat)));
        let allowance = grant.map_or(&mut row.own_allowance, |grant| &mut grant.allowance);
        let mut outcome = row.connection.report(report, now, &self.rules, allowance);
        outcome.changes.extend(kept);
        let payer = Payer::of(&row.connection);
        self.schedule(slot);
        entry((), payer, outcome.changes, outcome.clamped)
    }

    fn schedule(&mut self, slot: usize) {
        let Some(row) = self.rows.get_mut(slot) else { return };
        self.queue.remove(&(row.due, slot));
        row.due = row.connection.due_at(&self.rules);
        self.queue.insert((row.due, slot));
        if let Some(unstored) = &mut self.unstored {
            unstored.note(&row.connection);
        }
    }

    fn remove(&mut self, slot: usize, now: Timestamp, given_up: bool) -> Option<Closed> {
        let row = self.rows.try_remove(slot)?;
        let connection = row.connection;
        if let Some(unstored) = &mut self.unstored {
            unstored.note(&connection);
        }
        self.queue.remove(&(row.due, slot));
        self.by_name.remove(&(Arc::clone(&connection.id), connection.owner));
        if let Owner::Grant(id) = connection.owner
            && let Some(grant) = self.grants.get_mut(&id)
        {
            let lived_until = connection.last_seen.plus(self.rules.heartbeat).min(now);
            grant.allowance.close(if given_up { lived_until } else { now });
        }
        let charged = connection.charged(now, &self.rules);
        Some(Closed { id: connection.id, charged, given_up })
    }
}

impl Unstored {
    fn note(&mut self, connection: &Connection) {
        self.connections.insert((Arc::clone(&connection.id), connection.owner));
        if let Owner::Grant(id) = connection.owner {
            self.grants.insert(id);
        }
    }
}

impl GrantRow {
    /// Counts the grant as alive up to `until`, if it is not already.
    fn keep_alive(&mut self, until: Timestamp) -> Option<Change> {
        let alive_until = self.alive_until.as_mut()?;
        let from = *alive_until;
        *alive_until = from.max(until.minute_end());
        (*alive_until > from).then_some(Change::KeepGrant { from, until: *alive_until })
    }
}

impl<T> Entry<T> {
    fn with<U>(self, value: U) -> Entry<U> {
        Entry { value, charges: self.charges, clamped: self.clamped }
    }
}

fn entry<T>(value: T, payer: Payer, changes: Changes, clamped: bool) -> Entry<T> {
    let charge = |change| Charge { source: payer.source, basis: payer.basis, change };
    Entry { value, charges: changes.into_iter().map(charge).collect(), clamped }
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
#[path = "estimator_tests.rs"]
mod tests;
