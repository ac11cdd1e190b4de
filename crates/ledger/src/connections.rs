//! The table of open connections. Tests: `src/connections/tests`.
//! Every open connection has exactly one due instant in the queue, so a connection that stops reporting is closed without a scan. The size
//! of the table is bounded, and so are the connections of one grant, of one client and of one server key. A part of the table is kept for
//! app servers and another one for clients, so that each of them finds room when the other has many connections. Each call notes its
//! changes for the ledger, in order.

mod stored;

use std::ops::RangeInclusive;

use crate::connection::{Changes, Connection, Name, Owner, Report};
use crate::grants::{GrantRow, Grants};
use crate::person::{NamesPerson, Person};
use crate::prelude::*;
use crate::reports::{Caller, Closed, OpenError, Opened, Outcome, ReportError};
use crate::spending::{ConnectionCharge, Limited};

/// The table has this many equal parts, of which one is kept for connections that app servers open.
const SERVERS_SHARE: usize = 10;
/// The table has this many equal parts, of which one is kept for clients. One server key holds no more than one such part.
const QUARTER: usize = 4;
/// Heartbeats after which a silent connection is closed. So a connection is charged no more time than this between two checks of the limit
/// of its server key, because each report has a check.
const MISSED_MAX: u32 = 3;

/// See the module's invariant.
#[derive(Debug)]
pub struct Connections {
    /// How connections are charged.
    pub rules: UsageRules,
    rows_max: usize,
    /// The source of a connection without a grant.
    default_source: IceSource,
    rows: BTreeMap<Name, Box<Connection>>,
    /// Rows that clients have opened with a grant.
    of_clients: usize,
    /// What each server key holds. A key without rows has no entry.
    of_servers: BTreeMap<Label, ServerRows>,
    /// [`Connection::due_at`] of every row.
    queue: BTreeSet<(Timestamp, Name)>,
    dirty: Dirty<Name>,
}

/// The open connections of one server key.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct ServerRows {
    open: usize,
    /// Open connections that are not reported as direct, and so are charged.
    charged: usize,
}

impl NamesPerson for Connections {
    /// In the connections that app servers have opened for the user.
    fn forget(&mut self, who: &mut Person) {
        for (name, connection) in &mut self.rows {
            if let Some(spender) = connection.spender.as_deref().and_then(|of| who.removed_from(of)) {
                connection.spender = spender.known();
                self.dirty.note(name.clone());
            }
        }
    }
}

impl ServerRows {
    /// What one connection adds to the rows of its server key.
    fn of_one(connection: &Connection) -> Self {
        Self { open: 1, charged: usize::from(!connection.is_direct()) }
    }
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
            of_servers: BTreeMap::new(),
            queue: BTreeSet::new(),
            dirty: Dirty::default(),
        }
    }

    /// The next instant at which time alone changes something, if it is not after `until`.
    pub fn next_due(&self, until: Timestamp) -> Option<Timestamp> {
        self.queue.first().map(|(due, _)| *due).filter(|due| *due <= until)
    }

    /// Handles the due instant of the first connection in the queue. Returns the connection if it was given up.
    pub(crate) fn elapse(&mut self, grants: &mut Grants) -> Option<Closed> {
        let (due, name) = self.queue.pop_first()?;
        let connection = self.rows.get_mut(&name)?;
        let before = charged_at_report(grants, connection, &self.rules);
        let mut allowances = grants.allowances(connection.name.grant(), due, &self.rules);
        let (changes, is_given_up) = connection.elapse(&self.rules, &mut allowances);
        note_changes(grants, connection, changes);
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
        caller: Caller<'_>,
        id: &str,
        relayed: Option<bool>,
        now: Timestamp,
    ) -> Result<Outcome<Opened>, OpenError> {
        let name = caller.names(id);
        if !self.has_limit_for(grants, caller, &name, relayed, now) {
            return Err(OpenError::KeyLimitReached);
        }
        if self.rows.contains_key(&name) {
            let report = Report { relayed, ..Report::default() };
            let clamped = self.report(grants, caller, &name, report, now);
            return Ok(Outcome { value: Opened::Already, clamped });
        }
        if caller.grant().is_some_and(|grant| grant.is_expired(now)) {
            return Err(OpenError::GrantExpired);
        }
        // A client opens connections on its newest grant only. The members of a call cannot take another credential, so they stay on their
        // first grant.
        if let Caller::Grant(grant) = caller
            && grants.was_renewed(grant.id)
        {
            return Err(OpenError::GrantRenewed);
        }
        self.check_room_for(caller)?;
        let source = caller.grant().map_or(self.default_source, |grant| grant.source);
        let row = caller.grant().and_then(|grant| grants.get(grant.id));
        let counted_by = row.map_or(source.into(), GrantRow::owner);
        if let Some(grant) = caller.grant() {
            grants.open_connection(&grant, now, &self.rules)?;
        }
        let mut allowances =
            grants.allowances(name.grant(), now, &self.rules).vouched(caller.is_vouched(), None);
        let (connection, opening) =
            Connection::open(name, counted_by, relayed, now, &self.rules, &mut allowances);
        let clamped = allowances.clamped;
        count_clamped(grants, clamped);
        note_changes(grants, &connection, opening);
        self.insert(connection);
        Ok(Outcome { value: Opened::New, clamped })
    }

    /// Takes a report of an open connection.
    pub(crate) fn heartbeat(
        &mut self,
        grants: &mut Grants,
        caller: Caller<'_>,
        id: &str,
        report: Report,
        now: Timestamp,
    ) -> Result<Outcome<()>, ReportError> {
        let name = self.find(grants, caller, id).ok_or(ReportError::Unknown)?;
        if !self.has_limit_for(grants, caller, &name, report.relayed, now) {
            return Err(ReportError::KeyLimitReached);
        }
        let clamped = self.report(grants, caller, &name, report, now);
        Ok(Outcome { value: (), clamped })
    }

    /// Closes the connection that the caller reports on ([`Self::find`]). If `find` returns none, the result is `None`, because closing
    /// twice is harmless, but [`ReportError::Unknown`] if a connection of this id is open on which the caller may not report. A client is
    /// not told of connections of app servers, so a client gets `None` if only app servers have connections of this id.
    pub(crate) fn close(
        &mut self,
        grants: &mut Grants,
        caller: Caller<'_>,
        id: &str,
        now: Timestamp,
    ) -> Result<Option<Outcome<Closed>>, ReportError> {
        let Some(name) = self.find(grants, caller, id) else {
            let may_know = |name: &Name| caller.is_vouched() || name.grant().is_some();
            let known = self.rows.range(named(id)).filter(|(name, _)| may_know(name));
            let own: Vec<_> =
                known.map(|(name, _)| caller.reports_on(name, |id| grants.minted_by(id))).collect();
            // Of several, nobody knows which one has ended.
            let is_unknown = own.len() > 1 || own.contains(&false);
            return if is_unknown { Err(ReportError::Unknown) } else { Ok(None) };
        };
        Ok(self.end(grants, &name, now))
    }

    /// Closes all connections of the grants for which `is_over` is true. Reads every row.
    pub(crate) fn close_all_of(
        &mut self,
        grants: &mut Grants,
        is_over: impl Fn(&Grants, GrantId) -> bool,
        now: Timestamp,
    ) -> Vec<Closed> {
        let has_grant_over = |name: &&Name| name.grant().is_some_and(|grant| is_over(grants, grant));
        let names: Vec<_> = self.rows.keys().filter(has_grant_over).cloned().collect();
        let ended = names.iter().filter_map(|name| self.end(grants, name, now));
        ended.map(|outcome| outcome.value).collect()
    }

    /// Adapts the table to allowances that have become smaller. Drops what was saved for claims, and stops clocks of clients' connections
    /// until the clocks that still run fit into the allowances.
    pub(crate) fn shrink_claims(&mut self, grants: &mut Grants, now: Timestamp) {
        for name in self.rows.keys().cloned().collect::<Vec<_>>() {
            let Some(connection) = self.rows.get_mut(&name) else { continue };
            let mut allowances = grants.allowances(connection.name.grant(), now, &self.rules);
            allowances.forfeit();
            if !allowances.fits_clocks(0) {
                let due = connection.due_at(&self.rules);
                let changes = connection.pause(now, &mut allowances);
                note_changes(grants, connection, changes);
                count_clamped(grants, true);
                self.schedule(&name, due);
            }
        }
    }

    /// The open connections, in the order of their names.
    pub fn iter(&self) -> impl Iterator<Item = &Connection> {
        self.rows.values().map(|row| &**row)
    }

    /// How many connections are open, and the most.
    pub fn row_counts(&self) -> (usize, usize) {
        (self.rows.len(), self.rows_max)
    }

    /// Whether the caller itself has opened a connection of this id that is still open.
    pub fn has(&self, caller: Caller<'_>, id: &str) -> bool {
        self.rows.contains_key(&caller.names(id))
    }

    /// Notes who spends what a connection of an app server relays.
    pub(crate) fn report_spender(&mut self, caller: Caller<'_>, id: &str, by_reporter: Spender) {
        let name = caller.names(id);
        let Some(connection) = self.rows.get_mut(&name) else { return };
        connection.spender = by_reporter.known();
        self.dirty.note(name);
    }

    /// The name of the connection with this id that the caller reports on: the caller's own. For an app server without an own one, that is
    /// the connection of somebody else on which the app server may report. `None` if there is none or several, or if an app server's
    /// connection of the same id has ended while that one was open, because the report may be about the ended one.
    fn find(&self, grants: &Grants, caller: Caller<'_>, id: &str) -> Option<Name> {
        let own = caller.names(id);
        if self.rows.contains_key(&own) {
            return Some(own);
        }
        let reports_on = |name: &Name| caller.reports_on(name, |id| grants.minted_by(id));
        let mut others = self.rows.range(named(id)).filter(|(name, _)| reports_on(name));
        let (name, row) = others.next()?;
        let is_only = others.next().is_none();
        if is_only && !row.outlived_servers { Some(name.clone()) } else { None }
    }

    /// Whether the limit of a server key has room for what its app server says of a connection; `true` for a caller without a limit. A
    /// connection that begins to be charged needs room for itself and for all charged connections of the key, even if none of them reports
    /// again and each is charged until it is closed. In any other case, and if no other connection is charged, any rest of the limit is
    /// enough.
    fn has_limit_for(
        &self,
        grants: &mut Grants,
        caller: Caller<'_>,
        name: &Name,
        relayed: Option<bool>,
        now: Timestamp,
    ) -> bool {
        let Some(left) = limit_left(grants, caller, name.grant(), now) else { return true };
        let is_charged = self.rows.get(name).is_some_and(|connection| !connection.is_direct());
        let others = self.of_server(caller).charged;
        if left == ByteCount::ZERO || is_charged || relayed == Some(false) || others == 0 {
            return left > ByteCount::ZERO;
        }
        let silent = self.rules.heartbeat.saturating_mul(MISSED_MAX).as_millis();
        let each = self.rules.estimated_rate.over_millis(silent);
        let all = u128::try_from(others).unwrap_or(u128::MAX).saturating_add(1);
        each.saturating_mul(all) <= u128::from(left.get())
    }

    /// The open connections of a caller with a server key; none for another caller.
    fn of_server(&self, caller: Caller<'_>) -> ServerRows {
        let Caller::Server(key) = caller else { return ServerRows::default() };
        self.of_servers.get(key).copied().unwrap_or_default()
    }

    /// Takes a report. Returns whether it was clamped.
    fn report(
        &mut self,
        grants: &mut Grants,
        caller: Caller<'_>,
        name: &Name,
        report: Report,
        now: Timestamp,
    ) -> bool {
        let limit_left = limit_left(grants, caller, name.grant(), now);
        let Some(connection) = self.rows.get_mut(name) else { return false };
        let due = connection.due_at(&self.rules);
        let before = charged_at_report(grants, connection, &self.rules);
        let (counted_before, seen_before) = (connection.counted_until, connection.last_seen);
        let grant = connection.name.grant();
        let is_vouched = caller.is_vouched();
        let mut allowances = grants.allowances(grant, now, &self.rules).vouched(is_vouched, limit_left);
        let billed = self.rules.billed.of(connection.counted_by.source);
        let vouched =
            is_vouched.then(|| connection.vouched_growth(report, limit_left, now, billed)).flatten();
        let row_before = ServerRows::of_one(connection);
        let changes = connection.report(report, now, &self.rules, &mut allowances);
        let clamped = allowances.clamped;
        count_clamped(grants, clamped);
        note_changes(grants, connection, changes);
        // A report with bytes changes what was charged since the previous report with bytes; any other report, since the previous report.
        let from = if connection.counted_until > counted_before { counted_before } else { seen_before };
        let after = charged_at_report(grants, connection, &self.rules);
        let charge = ConnectionCharge { before, after, from, at: now };
        note_charge(grants, connection, &charge);
        if let (Some(id), Some((growth, began))) = (grant, vouched) {
            grants.vouch(id, growth, began, now);
        }
        let row_now = ServerRows::of_one(connection);
        self.count_of_server(name, row_before, row_now);
        self.schedule(name, due);
        clamped
    }

    /// Closes a connection at `now`.
    fn end(&mut self, grants: &mut Grants, name: &Name, now: Timestamp) -> Option<Outcome<Closed>> {
        let connection = self.rows.get_mut(name)?;
        self.queue.remove(&(connection.due_at(&self.rules), name.clone()));
        let before = charged_at_report(grants, connection, &self.rules);
        let mut allowances = grants.allowances(connection.name.grant(), now, &self.rules);
        let changes = connection.close(now, &self.rules, &mut allowances);
        let clamped = allowances.clamped;
        count_clamped(grants, clamped);
        note_changes(grants, connection, changes);
        self.remove(grants, name, before, now, false).map(|value| Outcome { value, clamped })
    }

    /// Checks that the table has room for one more row of this caller. Clients may use all rows except those that are kept for app servers.
    /// App servers may use all rows except those that are kept for clients. One server key may use a quarter of the table.
    fn check_room_for(&self, caller: Caller<'_>) -> Result<(), OpenError> {
        let of_servers = self.rows.len().saturating_sub(self.of_clients);
        let (used, parts) =
            if caller.is_vouched() { (of_servers, QUARTER) } else { (self.of_clients, SERVERS_SHARE) };
        let kept_for_others = self.rows_max.checked_div(parts).unwrap_or(0);
        if used >= self.rows_max.saturating_sub(kept_for_others) || self.rows.len() >= self.rows_max {
            return Err(OpenError::TableFull);
        }
        if self.of_server(caller).open >= self.rows_max.div_ceil(QUARTER) {
            return Err(OpenError::TooManyOnClient);
        }
        Ok(())
    }

    /// Counts a change of a row for its server key, if it has one. `before` and `after`: what this row alone adds to the counts.
    fn count_of_server(&mut self, name: &Name, before: ServerRows, after: ServerRows) {
        let Owner::Server(key) = name.owner() else { return };
        let rows = self.of_servers.entry(key.clone()).or_default();
        rows.open = rows.open.saturating_add(after.open).saturating_sub(before.open);
        rows.charged = rows.charged.saturating_add(after.charged).saturating_sub(before.charged);
        if rows.open == 0 {
            self.of_servers.remove(key);
        }
    }

    fn insert(&mut self, connection: Connection) {
        let name = connection.name.clone();
        self.count_of_server(&name, ServerRows::default(), ServerRows::of_one(&connection));
        self.of_clients = self.of_clients.saturating_add(usize::from(connection.name.grant().is_some()));
        self.dirty.note_added(name.clone());
        self.queue.insert((connection.due_at(&self.rules), name.clone()));
        self.rows.insert(name, Box::new(connection));
    }

    /// Notes a change of a row, and moves it in the queue. `due_before`: when it was due before the change.
    fn schedule(&mut self, name: &Name, due_before: Timestamp) {
        let Some(connection) = self.rows.get(name) else { return };
        self.queue.remove(&(due_before, name.clone()));
        self.queue.insert((connection.due_at(&self.rules), name.clone()));
        self.dirty.note(name.clone());
    }

    /// Removes a row, and notes for its spender what was charged since its last report. The row is not in the queue any more. `before`: as
    /// in [`charged_at_report`]. `given_up`: the row is removed because nothing was reported for too long.
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
        self.count_of_server(name, ServerRows::of_one(&connection), ServerRows::default());
        if name.grant().is_none() {
            // A later report of the app server under this id may still be about this connection, and not about another one of the same id.
            for (other, row) in self.rows.range_mut(named(name.id())) {
                row.outlived_servers = true;
                self.dirty.note(other.clone());
            }
        }
        self.of_clients = self.of_clients.saturating_sub(usize::from(connection.name.grant().is_some()));
        let silent_from = connection.last_seen.plus(self.rules.heartbeat).min(now);
        let mut allowances = grants.allowances(connection.name.grant(), now, &self.rules);
        allowances.close(if given_up { silent_from } else { now });
        let charged = connection.charged(now, &self.rules);
        let after = connection.charged_without(grants.period.start, now, &self.rules);
        let charge = ConnectionCharge { before, after, from: connection.last_seen, at: now };
        note_charge(grants, &connection, &charge);
        Some(Closed { id: connection.name.id().into(), charged, given_up })
    }
}

/// All names with this id, in the order of their [`Owner`]s: the reporter comes first, and the grant with the highest id last.
fn named(id: &str) -> RangeInclusive<Name> {
    Name::new(id, Owner::Reporter)..=Name::new(id, Owner::Grant(GrantId::new([u8::MAX; 16])))
}

/// The bytes that the limit of a server key leaves for a connection. `grant`: the grant of the connection, if it has one. `None` for a
/// caller without a limit.
fn limit_left(
    grants: &mut Grants,
    caller: Caller<'_>,
    grant: Option<GrantId>,
    now: Timestamp,
) -> Option<ByteCount> {
    let Caller::Server(key) = caller else { return None };
    let of = Limited::Server(key.clone());
    let (limit, promises) = (grants.terms.limit_of(&of)?, grants.promises_of(&of, now));
    // A grant's connection uses up what is promised for the grant, so only used bytes count. A connection without a grant relays beside the
    // promises. In strict mode the promises have reserved their part of the limit, so they count, too.
    let is_beside = grant.is_none() && grants.terms.is_strict;
    let taken = if is_beside { promises.committed(|_, minutes| minutes.bytes) } else { promises.used };
    Some(limit.minus(taken))
}

/// Notes for the ledger what a connection's charges have changed, in order.
fn note_changes(grants: &mut Grants, connection: &Connection, changes: Changes) {
    for kind in changes {
        grants.effects.note(Effect::Usage(connection.usage_change(kind)));
    }
}

/// Counts a report that an allowance has clamped. Nothing is counted if `clamped` is false.
fn count_clamped(grants: &mut Grants, clamped: bool) {
    if clamped {
        grants.effects.note(Effect::Clamped);
    }
}

/// What a connection was charged as of its last report, without the time before this period whose charge reported bytes can still reverse:
/// so the reversal takes nothing of an earlier period from the spender.
fn charged_at_report(grants: &Grants, connection: &Connection, rules: &UsageRules) -> ByteCount {
    connection.charged_without(grants.period.start, connection.last_seen, rules)
}

/// Notes a charge for whoever spends what the connection relays.
fn note_charge(grants: &mut Grants, connection: &Connection, charge: &ConnectionCharge) {
    match (connection.name.grant(), &connection.spender) {
        (Some(id), _) => grants.charge(id, charge),
        (None, Some(spender)) => grants.charge_ungranted(spender, charge),
        (None, None) => {}
    }
}

#[cfg(test)]
mod tests;
