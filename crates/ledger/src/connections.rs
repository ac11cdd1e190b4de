//! The table of open connections. Tests: `src/connections/tests`.
//! Every open connection has exactly one due instant in the queue, so a connection that stops reporting is closed without a scan. The size
//! of the table is bounded, and so are the connections of one grant and of one client. A part of the table is kept for the reporter, so
//! clients cannot fill it for an app server. Calls apply their changes to the ledger, in order.
#![cfg_attr(not(test), warn(clippy::arithmetic_side_effects))]

mod stored;

use std::collections::{BTreeMap, BTreeSet};
use std::ops::RangeInclusive;

use crate::connection::{Changes, Connection, Name, Report};
use crate::dirty::Dirty;
use crate::grants::Grants;
use crate::grants::row::GrantRow;
use crate::grants::spent::ConnectionCharge;
use crate::ledger::Ledger;
use crate::reports::{Caller, Closed, OpenError, Opened, Outcome, ReportError};
use crate::source::IceSource;
use crate::spender::Spender;
use crate::token::GrantId;
use crate::units::{ByteCount, Timestamp};
use crate::usage_rules::UsageRules;

/// One part in this many of the table is kept for connections that the reporter opens.
const REPORTER_SHARE: usize = 10;

/// See the module's invariant.
#[derive(Debug)]
pub struct Connections {
    rules: UsageRules,
    rows_max: usize,
    /// The source of a connection without a grant.
    default_source: IceSource,
    rows: BTreeMap<Name, Box<Connection>>,
    /// Rows that clients have opened with a grant.
    of_clients: usize,
    /// [`Connection::due_at`] of every row.
    queue: BTreeSet<(Timestamp, Name)>,
    dirty: Dirty<Name>,
}

impl Connections {
    /// An empty table of at most `rows_max` connections.
    pub fn new(rules: UsageRules, rows_max: usize, default_source: IceSource) -> Self {
        Self {
            rules,
            rows_max,
            default_source,
            rows: BTreeMap::new(),
            of_clients: 0,
            queue: BTreeSet::new(),
            dirty: Dirty::default(),
        }
    }

    /// How connections are charged.
    pub fn rules(&self) -> &UsageRules {
        &self.rules
    }

    /// The next instant at which time alone changes something, if it is not after `until`.
    pub fn next_due(&self, until: Timestamp) -> Option<Timestamp> {
        self.queue.first().map(|(due, _)| *due).filter(|due| *due <= until)
    }

    /// Handles the first connection in the queue. Returns it if it was given up.
    pub(crate) fn elapse(&mut self, grants: &mut Grants, ledger: &mut Ledger) -> Option<Closed> {
        let (due, name) = self.queue.pop_first()?;
        let connection = self.rows.get_mut(&name)?;
        let before = noted(grants, connection, &self.rules);
        let mut allowances = grants.allowances(connection.name.grant(), due, &self.rules);
        let (changes, is_given_up) = connection.elapse(&self.rules, &mut allowances);
        apply(ledger, connection, changes);
        if is_given_up {
            return self.remove(grants, &name, before, due, true);
        }
        self.queue.insert((connection.due_at(&self.rules), name.clone()));
        self.dirty.note(name);
        None
    }

    /// Opens a connection, or takes a report of one that is open.
    pub(crate) fn open(
        &mut self,
        grants: &mut Grants,
        ledger: &mut Ledger,
        caller: Caller,
        id: &str,
        relayed: Option<bool>,
        now: Timestamp,
    ) -> Result<Outcome<Opened>, OpenError> {
        let name = caller.names(id);
        if self.rows.contains_key(&name) {
            let report = Report { relayed, ..Report::default() };
            let clamped = self.report(grants, ledger, caller, &name, report, now);
            return Ok(Outcome { value: Opened::Already, clamped });
        }
        if caller.grant().is_some_and(|grant| grant.is_expired(now)) {
            return Err(OpenError::GrantExpired);
        }
        // The members of a call stay on the first grant of their chain: they cannot take another credential.
        if let Caller::Grant(grant) = caller
            && grants.was_renewed(grant.id)
        {
            return Err(OpenError::GrantRenewed);
        }
        if !self.has_room_for(caller) {
            return Err(OpenError::TableFull);
        }
        let source = caller.grant().map_or(self.default_source, |grant| grant.source);
        let row = caller.grant().and_then(|grant| grants.get(grant.id));
        let owner = row.map_or(source.into(), GrantRow::owner);
        if let Some(grant) = caller.grant() {
            grants.open_connection(ledger, &grant, now, &self.rules)?;
        }
        let mut allowances = grants.allowances(name.grant(), now, &self.rules).vouched(caller.is_vouched());
        let (connection, opening) = Connection::open(name, owner, relayed, now, &self.rules, &mut allowances);
        let clamped = allowances.was_clamped();
        count_clamped(ledger, clamped);
        apply(ledger, &connection, opening);
        self.insert(connection);
        Ok(Outcome { value: Opened::New, clamped })
    }

    /// Takes a report of an open connection.
    pub(crate) fn heartbeat(
        &mut self,
        grants: &mut Grants,
        ledger: &mut Ledger,
        caller: Caller,
        id: &str,
        report: Report,
        now: Timestamp,
    ) -> Result<Outcome<()>, ReportError> {
        let name = self.find(caller, id).ok_or(ReportError::Unknown)?;
        let clamped = self.report(grants, ledger, caller, &name, report, now);
        Ok(Outcome { value: (), clamped })
    }

    /// Closes a connection. `None` if it is not open: closing twice is harmless. To a grant, another grant's connection is unknown.
    /// What others hold under the same name changes nothing for the reporter, and what the reporter holds nothing for a grant.
    pub(crate) fn close(
        &mut self,
        grants: &mut Grants,
        ledger: &mut Ledger,
        caller: Caller,
        id: &str,
        now: Timestamp,
    ) -> Result<Option<Outcome<Closed>>, ReportError> {
        let Some(name) = self.find(caller, id) else {
            let mut named = self.rows.range(named(id));
            let is_anothers = caller != Caller::Reporter && named.any(|(name, _)| name.grant().is_some());
            return if is_anothers { Err(ReportError::Unknown) } else { Ok(None) };
        };
        Ok(self.end(grants, ledger, &name, now))
    }

    /// Closes all connections of these grants. Reads every row, so it is for an operator's calls only.
    pub(crate) fn close_all_of(
        &mut self,
        grants: &mut Grants,
        ledger: &mut Ledger,
        is_over: impl Fn(&Grants, GrantId) -> bool,
        now: Timestamp,
    ) -> Vec<Closed> {
        let is_one = |name: &&Name| name.grant().is_some_and(|grant| is_over(grants, grant));
        let names: Vec<_> = self.rows.keys().filter(is_one).cloned().collect();
        let ended = names.iter().filter_map(|name| self.end(grants, ledger, name, now));
        ended.map(|outcome| outcome.value).collect()
    }

    /// Stops clocks of clients' connections until those that run fit into the allowances. For allowances that have become
    /// smaller. What was saved is dropped.
    pub(crate) fn shrink_claims(&mut self, grants: &mut Grants, ledger: &mut Ledger, now: Timestamp) {
        for name in self.rows.keys().cloned().collect::<Vec<_>>() {
            let Some(connection) = self.rows.get_mut(&name) else { continue };
            let mut allowances = grants.allowances(connection.name.grant(), now, &self.rules);
            allowances.forfeit();
            if !allowances.fits_clocks(0) {
                let due = connection.due_at(&self.rules);
                let changes = connection.pause(now, &mut allowances);
                apply(ledger, connection, changes);
                count_clamped(ledger, true);
                self.schedule(&name, due);
            }
        }
    }

    /// The open connections, in the order of their names.
    pub fn iter(&self) -> impl Iterator<Item = &Connection> {
        self.rows.values().map(|row| &**row)
    }

    /// How many connections are open.
    pub fn open_count(&self) -> usize {
        self.rows.len()
    }

    /// Whether the caller has a connection of that name open.
    pub fn has(&self, caller: Caller, id: &str) -> bool {
        self.rows.contains_key(&caller.names(id))
    }

    /// Notes who spends what a connection of the reporter relays.
    pub(crate) fn report_spender(&mut self, id: &str, by_reporter: Spender) {
        let name = Name::new(id, None);
        let Some(connection) = self.rows.get_mut(&name) else { return };
        connection.spender = by_reporter.known();
        self.dirty.note(name);
    }

    /// The row that the caller may report on: a client on its own, the reporter on its own or, if only one grant uses
    /// the name, on that grant's. What the reporter says of its own connection after its end is never said of a
    /// grant's that was open then.
    fn find(&self, caller: Caller, id: &str) -> Option<Name> {
        let own = Some(caller.names(id)).filter(|name| self.rows.contains_key(name));
        own.or_else(|| {
            let mut named = self.rows.range(named(id)).filter(|_| caller == Caller::Reporter);
            let (name, row) = named.next().filter(|_| named.next().is_none())?;
            if row.outlived_reporters { None } else { Some(name.clone()) }
        })
    }

    /// Takes a report. Returns whether it was clamped.
    fn report(
        &mut self,
        grants: &mut Grants,
        ledger: &mut Ledger,
        caller: Caller,
        name: &Name,
        report: Report,
        now: Timestamp,
    ) -> bool {
        let Some(connection) = self.rows.get_mut(name) else { return false };
        let due = connection.due_at(&self.rules);
        let before = noted(grants, connection, &self.rules);
        let (counted_until, last_seen) = (connection.counted_until, connection.last_seen);
        let grant = connection.name.grant();
        let mut allowances = grants.allowances(grant, now, &self.rules).vouched(caller.is_vouched());
        let billed = self.rules.billed;
        let vouched = caller.is_vouched().then(|| connection.vouched_growth(report, now, billed)).flatten();
        let changes = connection.report(report, now, &self.rules, &mut allowances);
        let clamped = allowances.was_clamped();
        count_clamped(ledger, clamped);
        apply(ledger, connection, changes);
        // A count replaces all that was charged by time since the last one.
        let from = if connection.counted_until > counted_until { counted_until } else { last_seen };
        let after = noted(grants, connection, &self.rules);
        let charge = ConnectionCharge { before, after, from, at: now };
        note_charge(grants, connection, &charge);
        if let (Some(id), Some((growth, from))) = (grant, vouched) {
            grants.vouch(ledger, id, growth, from, now);
        }
        self.schedule(name, due);
        clamped
    }

    /// Closes a connection at `now`.
    fn end(
        &mut self,
        grants: &mut Grants,
        ledger: &mut Ledger,
        name: &Name,
        now: Timestamp,
    ) -> Option<Outcome<Closed>> {
        let connection = self.rows.get_mut(name)?;
        self.queue.remove(&(connection.due_at(&self.rules), name.clone()));
        let before = noted(grants, connection, &self.rules);
        let mut allowances = grants.allowances(connection.name.grant(), now, &self.rules);
        let changes = connection.close(now, &mut allowances);
        let clamped = allowances.was_clamped();
        count_clamped(ledger, clamped);
        apply(ledger, connection, changes);
        self.remove(grants, name, before, now, false).map(|value| Outcome { value, clamped })
    }

    /// Whether the table has a row for this caller. The reporter may use all of them, clients all but the reporter's share.
    fn has_room_for(&self, caller: Caller) -> bool {
        let kept = self.rows_max.checked_div(REPORTER_SHARE).unwrap_or(0);
        let is_for_it = caller == Caller::Reporter || self.of_clients < self.rows_max.saturating_sub(kept);
        is_for_it && self.rows.len() < self.rows_max
    }

    fn insert(&mut self, connection: Connection) {
        let name = connection.name.clone();
        self.of_clients = self.of_clients.saturating_add(usize::from(connection.name.grant().is_some()));
        self.dirty.note_added(name.clone());
        self.queue.insert((connection.due_at(&self.rules), name.clone()));
        self.rows.insert(name, Box::new(connection));
    }

    /// Notes a change of a row that was due at `before`.
    fn schedule(&mut self, name: &Name, before: Timestamp) {
        let Some(connection) = self.rows.get(name) else { return };
        self.queue.remove(&(before, name.clone()));
        self.queue.insert((connection.due_at(&self.rules), name.clone()));
        self.dirty.note(name.clone());
    }

    /// Removes a row that is not in the queue any more. `before`: what the connection was charged as of its last report.
    fn remove(
        &mut self,
        grants: &mut Grants,
        name: &Name,
        before: ByteCount,
        now: Timestamp,
        given_up: bool,
    ) -> Option<Closed> {
        let connection = self.rows.remove(name)?;
        self.dirty.note_removed(name.clone());
        if name.grant().is_none() {
            for (other, row) in self.rows.range_mut(named(name.id())) {
                row.outlived_reporters = true;
                self.dirty.note(other.clone());
            }
        }
        self.of_clients = self.of_clients.saturating_sub(usize::from(connection.name.grant().is_some()));
        let lived_until = connection.last_seen.plus(self.rules.heartbeat).min(now);
        let mut allowances = grants.allowances(connection.name.grant(), now, &self.rules);
        allowances.close(if given_up { lived_until } else { now });
        let charged = connection.charged(now, &self.rules);
        let after = connection.charged_without(grants.period.start, now, &self.rules);
        note_charge(
            grants,
            &connection,
            &ConnectionCharge { before, after, from: connection.last_seen, at: now },
        );
        Some(Closed { id: connection.name.id().into(), charged, given_up })
    }
}

/// The names with that id, of any owner.
fn named(id: &str) -> RangeInclusive<Name> {
    Name::new(id, None)..=Name::new(id, Some(GrantId::new([u8::MAX; 16])))
}

/// Applies the changes of a connection, in order.
fn apply(ledger: &mut Ledger, connection: &Connection, changes: Changes) {
    for kind in changes {
        ledger.apply(connection.charge(kind));
    }
}

/// Counts a call that an allowance has clamped.
fn count_clamped(ledger: &mut Ledger, clamped: bool) {
    let counts = ledger.counts_mut();
    counts.clamped = counts.clamped.saturating_add(u64::from(clamped));
}

/// What a connection was charged as of its last report. What was charged for the time before this period stays with its spender.
fn noted(grants: &Grants, connection: &Connection, rules: &UsageRules) -> ByteCount {
    connection.charged_without(grants.period.start, connection.last_seen, rules)
}

/// Notes a charge for who spends it.
fn note_charge(grants: &mut Grants, connection: &Connection, charge: &ConnectionCharge) {
    match (connection.name.grant(), &connection.spender) {
        (Some(id), _) => grants.charge(id, charge),
        (None, Some(spender)) => grants.charge_ungranted(spender, charge),
        (None, None) => {}
    }
}

#[cfg(test)]
mod tests;
