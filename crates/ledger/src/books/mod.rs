//! Ledger and estimator as one: every call first brings both to `now`, in the order in which things fell due, and
//! applies every charge before it returns. So no figure is ever read half-way. Pure.

use std::time::Duration;

mod operator;
mod sessions;

use crate::alert_rules::AlertRules;
use crate::changes::{BooksChanges, Recovered};
use crate::connection::{Connection, Report, UsageRules};
use crate::connections::{Estimator, TableChanges};
use crate::coturn::usage::CoturnBook;
use crate::issued::{Issued, IssuedTable};
use crate::kept::Kept;
use crate::ledger::{Commit, Hold, Ledger, MeasuredUsage, PeriodCounts};
use crate::overrides::{Overrides, in_words};
use crate::period::Period;
use crate::reading::{Reading, ReadingOutcome};
use crate::reading_history::ReadingHistory;
use crate::renewals::Renewals;
use crate::reports::{Caller, Closed, Entry, OpenError, Opened, UnknownConnection};
use crate::source::{IceSource, MINT_SLACK};
use crate::timeline::Slice;
use crate::token::{Grant, GrantId};
use crate::units::{ByteCount, Timestamp};
use crate::verdict::{Figures, Refusal};

/// See the module's invariant.
#[derive(Debug)]
pub struct Books {
    ledger: Ledger,
    estimator: Estimator,
    renewals: Renewals,
    issued: IssuedTable,
    overrides: Kept<Overrides>,
    alerts: Kept<AlertRules>,
    coturn: Kept<CoturnBook>,
    /// The limit as the configuration has it.
    configured_limit: ByteCount,
    /// Connections that were given up since somebody last asked.
    given_up: Vec<Closed>,
}

/// Everything that is known at one instant; log, metrics and answers are readings of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Statement {
    /// The ledger's sums.
    pub figures: Figures,
    /// What the providers' own counts say.
    pub measured: MeasuredUsage,
    /// What happened in this period.
    pub counts: PeriodCounts,
    /// The limit that holds where none is ordered.
    pub configured_limit: ByteCount,
    /// Whether the operator has ordered that nothing is minted.
    pub frozen: bool,
    /// Whether strict mode has no room for another credential, though the budget is not spent.
    pub promised_in_full: bool,
    /// Grants alive now, tail included.
    pub live_grants: u64,
    /// Open connections.
    pub open_connections: usize,
}

impl Statement {
    /// What the operator's overrides change, in words; `None` where nothing is ordered.
    #[must_use]
    pub fn overrides_in_words(&self) -> Option<String> {
        in_words(self.figures.limit, self.configured_limit, self.frozen)
    }
}

/// A call's result, and whether a claim in it was cut.
pub struct Heard<T> {
    /// The result.
    pub value: T,
    /// A claim was cut to what a relay can carry.
    pub clamped: bool,
}

impl Books {
    /// Empty books.
    #[must_use]
    pub fn new(ledger: Ledger, estimator: Estimator) -> Self {
        Self {
            configured_limit: ledger.figures().limit,
            ledger,
            estimator,
            renewals: Renewals::default(),
            issued: IssuedTable::default(),
            overrides: Kept::default(),
            alerts: Kept::default(),
            coturn: Kept::default(),
            given_up: Vec::new(),
        }
    }

    /// As they were stored.
    #[must_use]
    pub fn restore(ledger: Ledger, estimator: Estimator, recovered: Recovered) -> Self {
        let mut books = Self::new(ledger, estimator);
        for charge in books.estimator.restore(recovered.connections, recovered.grants) {
            books.ledger.apply(charge);
        }
        books.renewals = Renewals::restore(recovered.renewals);
        books.issued = IssuedTable::restore(recovered.issued);
        books.overrides = Kept::restore(recovered.overrides);
        books.alerts = Kept::restore(recovered.alerts);
        books.coturn = Kept::restore(recovered.coturn);
        books.ledger.set_limit(books.overrides.get().limit(books.configured_limit));
        books
    }

    /// A process begins with them at `now`.
    pub fn begin(&mut self, now: Timestamp) {
        self.advance(now);
        self.ledger.begin_readings();
    }

    /// Whether the limit is held in the worst case.
    #[must_use]
    pub fn is_strict(&self) -> bool {
        self.ledger.is_strict()
    }

    /// What is to be on disk before a new grant is handed out.
    #[must_use]
    pub fn grant_changes(&self, commit: &Commit, grant: GrantId, renewed: Option<&Grant>) -> BooksChanges {
        BooksChanges {
            lanes: vec![commit.changes()],
            table: TableChanges::default(),
            renewals: renewed.map(|grant| (grant.id, Some(grant.expires_at))).into_iter().collect(),
            issued: self.issued.get(grant).map(|issued| (grant, Some(issued.clone()))).into_iter().collect(),
            overrides: None,
            alerts: None,
            coturn: None,
            counts: (self.ledger.figures().period, self.ledger.counts()),
            now: None,
        }
    }

    /// All that is to be on disk.
    pub fn take_changes(&mut self) -> BooksChanges {
        BooksChanges {
            lanes: self.ledger.take_unstored(),
            table: self.estimator.take_unstored(),
            renewals: self.renewals.take_unstored(),
            issued: self.issued.take_unstored(),
            overrides: self.overrides.take_unstored(),
            alerts: self.alerts.take_unstored(),
            coturn: self.coturn.take_unstored(),
            counts: (self.ledger.figures().period, self.ledger.counts()),
            now: Some(self.ledger.figures().now),
        }
    }

    /// Undoes a commit that could not be stored: the credential was not handed out.
    pub fn undo(&mut self, commit: &Commit, grant: GrantId) {
        self.ledger.undo(commit);
        self.issued.remove(grant);
    }

    /// Brings everything to `now`, or to the latest instant seen if that is later, and says which it is.
    pub fn advance(&mut self, now: Timestamp) -> Timestamp {
        let now = now.max(self.ledger.figures().now);
        while let Some(due) = self.estimator.next_due(now) {
            self.ledger.advance(due);
            let Some(elapsed) = self.estimator.elapse() else { break };
            if let Some(closed) = self.apply(elapsed).value {
                self.given_up.push(closed);
            }
        }
        self.ledger.advance(now);
        now
    }

    /// Holds room for a credential of that life, or of a shorter one, that may be made up to `slack` from now.
    pub fn reserve(
        &mut self,
        source: IceSource,
        life: Duration,
        slack: Duration,
        now: Timestamp,
    ) -> Result<Hold, Refusal> {
        self.advance(now);
        self.ledger.try_admit(source, life, slack)
    }

    /// Makes a hold final. A grant that renews another which was heard from is not unreported: its call goes on there.
    pub fn commit(
        &mut self,
        hold: Hold,
        grant: &Grant,
        username: Option<&str>,
        renews: Option<GrantId>,
        now: Timestamp,
    ) -> Commit {
        self.advance(now);
        if grant.source.is_metered() {
            self.issued.add(grant, username);
        }
        let was_reported = renews.is_some_and(|renewed| self.estimator.inherit_reported(renewed, grant));
        self.ledger.commit(hold, (!was_reported).then_some(grant.expires_at))
    }

    /// Takes a grant's right to renew, if it has it now.
    pub fn take_renewal(&mut self, grant: &Grant, now: Timestamp) -> bool {
        let now = self.advance(now);
        !self.issued.is_revoked(grant.id) && self.renewals.take(grant, now)
    }

    /// Gives a right to renew back.
    pub fn give_renewal_back(&mut self, grant: GrantId) {
        self.renewals.give_back(grant);
    }

    /// Gives a hold back.
    pub fn release(&mut self, hold: Hold, now: Timestamp) {
        self.advance(now);
        self.ledger.release(hold);
    }

    /// Opens a connection.
    pub fn open(
        &mut self,
        caller: Caller,
        id: &str,
        relayed: Option<bool>,
        now: Timestamp,
    ) -> Result<Opened, OpenError> {
        let now = self.advance(now);
        let entry = self.estimator.open(caller, id, relayed, now)?;
        let opened = self.apply(entry).value;
        if opened == Opened::New {
            self.ledger.count_connection();
        }
        Ok(opened)
    }

    /// Takes a connection's report.
    pub fn heartbeat(
        &mut self,
        caller: Caller,
        id: &str,
        report: Report,
        now: Timestamp,
    ) -> Result<Heard<()>, UnknownConnection> {
        let now = self.advance(now);
        let entry = self.estimator.heartbeat(caller, id, report, now)?;
        Ok(self.apply(entry))
    }

    /// Takes a connection's last report, if it says anything, and closes it; `None` when it was not open.
    pub fn close(
        &mut self,
        caller: Caller,
        id: &str,
        last: Report,
        now: Timestamp,
    ) -> Result<Heard<Option<Closed>>, UnknownConnection> {
        let now = self.advance(now);
        let mut clamped = false;
        // Last counts of a connection that is not open any more have nothing to add to.
        if last != Report::default()
            && let Ok(entry) = self.estimator.heartbeat(caller, id, last, now)
        {
            clamped = self.apply(entry).clamped;
        }
        let entry = self.estimator.close(caller, id, now)?;
        Ok(Heard { value: entry.map(|entry| self.apply(entry).value), clamped })
    }

    /// What is known of a credential that is out.
    #[must_use]
    pub fn issued(&self, grant: GrantId) -> Option<&Issued> {
        self.issued.get(grant)
    }

    /// A source's latest count of this period.
    #[must_use]
    pub fn reading(&self, source: IceSource) -> Option<Reading> {
        self.ledger.reading(source)
    }

    /// Takes a source's own count.
    pub fn take_reading(&mut self, source: IceSource, reading: &Reading, now: Timestamp) -> ReadingOutcome {
        self.advance(now);
        self.ledger.take_reading(source, reading)
    }

    /// Connections that were given up since the last call.
    pub fn take_given_up(&mut self) -> Vec<Closed> {
        std::mem::take(&mut self.given_up)
    }

    /// Forgets what can have no further effect.
    pub fn tidy(&mut self, now: Timestamp) {
        let now = self.advance(now);
        self.estimator.forget_expired_grants(now);
        self.renewals.forget_expired(now);
        self.issued.forget_expired(now);
    }

    /// Everything that is known at the latest instant seen.
    #[must_use]
    pub fn statement(&self) -> Statement {
        Statement {
            figures: self.ledger.figures(),
            measured: self.ledger.measured(),
            configured_limit: self.configured_limit,
            frozen: self.is_frozen(),
            counts: self.ledger.counts(),
            promised_in_full: self.ledger.is_promised_in_full(MINT_SLACK),
            live_grants: self.ledger.live_grants(),
            open_connections: self.estimator.open_count(),
        }
    }

    /// The open connections.
    pub fn connections(&self) -> impl Iterator<Item = &Connection> {
        self.estimator.connections()
    }

    /// How connections are charged.
    #[must_use]
    pub fn rules(&self) -> &UsageRules {
        self.estimator.rules()
    }

    /// What the providers' own counts said in the course of this period.
    #[must_use]
    pub fn history(&self) -> &ReadingHistory {
        self.ledger.history()
    }

    /// Bytes and live grants of a stretch of this period.
    #[must_use]
    pub fn slice(&self, from: Timestamp, to: Timestamp) -> Slice {
        self.ledger.slice(from, to)
    }

    /// What the period before this one came to.
    #[must_use]
    pub fn previous(&self) -> Option<(Period, ByteCount)> {
        self.ledger.previous()
    }

    fn apply<T>(&mut self, entry: Entry<T>) -> Heard<T> {
        for charge in entry.changes {
            self.ledger.apply(charge);
        }
        Heard { value: entry.value, clamped: entry.clamped }
    }
}

#[cfg(test)]
mod tests;
