//! The books: budget, grants, connections, overrides and coturn's sessions as one value behind one lock. Tests: `src/books/tests.rs`.
//! Only [`Books::advance`] moves the books' time. It applies everything that is due, in order of time. A method returns only after its
//! changes are applied to all parts, so no caller reads a figure half-way through a change.

mod blocks;
mod commit;
mod coturn;
mod operator;
mod readings;
mod sfu;
mod snapshot;
mod spending;

use readings::Tails;
pub use {blocks::*, commit::*, snapshot::*, spending::*};

use std::collections::VecDeque;

use crate::changes::{Batch, Head, Stored};
use crate::connection::Report;
use crate::connections::Connections;
use crate::cost::{Money, Tariff, Tariffs};
use crate::coturn::CoturnUsage;
use crate::grants::{GrantRow, Grants, TAIL_MAX};
use crate::lacking::Lacking;
use crate::prelude::*;
use crate::reports::{Caller, Closed, OpenError, Opened, Outcome, ReportError};
use crate::spending::{Limited, Named};

/// See the module's invariant.
#[derive(Debug)]
pub struct Books {
    budget: Budget,
    connections: Connections,
    grants: Grants,
    overrides: Overrides,
    coturn: BTreeMap<CountOwner, CoturnUsage>,
    lacking: Lacking,
    blocks: Blocks,
    /// Sources whose sessions may outlive every promise unnoticed, because one of the settings in `SourceFacts::seen_with` is missing.
    unseen: Vec<IceSource>,
    /// The limit in the configuration.
    configured_limit: ByteCount,
    /// The clocks as they were read last.
    moment: Moment,
    /// What is stored of the clocks, of a jump of the time, and of the relay in this process.
    standing: Standing,
    /// The relays whose sessions should be cut and are not cut now. Each promise at such a relay has the long tail.
    uncut: BTreeSet<CountOwner>,
    /// The groups whose promises are being changed, in steps: [`Self::tidy`].
    tails: VecDeque<(CountOwner, Walk, Tails)>,
    /// The limit, [`Budget::excess`] and [`Grants::unknown_bytes`] at the last call of [`Self::raise_rates`]; `None` once a source has shown
    /// more since.
    judged_excess: Option<[ByteCount; 3]>,
    /// The relays that get no new credentials, so that their calls come to an end.
    draining: BTreeSet<CountOwner>,
    /// Connections that stopped reporting since the last [`Self::take_given_up`].
    given_up: Vec<Closed>,
    /// What each period costs.
    tariffs: Tariffs,
}

impl Books {
    /// The stored books, advanced to the moment. From here on, changes are recorded for the disk.
    pub(crate) fn restore(
        mut budget: Budget,
        mut connections: Connections,
        mut grants: Grants,
        stored: Stored,
        moment: Moment,
        unseen: &[IceSource],
        tariff: &Tariff,
    ) -> Self {
        // `stored_at`: the books' time as stored; in a new budget, the present time.
        let Figures { limit: configured_limit, now: stored_at, .. } = budget.figures();
        let lacks_grants = stored.lacks_grants();
        let lacking = match &stored.head {
            Some(head) => head.lacking,
            None => Lacking::of_new(moment.now),
        };
        let head = stored.head.unwrap_or_default();
        grants.dropped = head.dropped;
        grants.raised = budget.raised_rates();
        // Grants of one minute follow each other, and most of their promises are equal. Equal promises in a row are added in one step.
        // `equal`: the latest promise, and how many grants in a row have it. A different promise, or `None` at the end, adds the latest
        // promise to the budget.
        let mut equal: Option<(OwnedTime, i64)> = None;
        let mut restore_promise = |next: Option<OwnedTime>| match &mut equal {
            Some((promise, count)) if Some(*promise) == next => *count = count.saturating_add(1),
            last => {
                if let Some((promise, count)) = std::mem::replace(last, next.map(|promise| (promise, 1))) {
                    budget.restore_promises(promise, count);
                }
            }
        };
        grants.today.begin(Day::of(stored_at));
        grants.restore(stored.grants, stored.spenders, |promise| restore_promise(Some(promise)));
        restore_promise(None);
        // The process before this one, with its relay, had ended by this instant.
        let ended_by = stored_at.plus(UNWRITTEN_MAX).min(moment.now).max(stored_at);
        let relayed_until = head.standing.is_relaying.then_some(ended_by);
        grants.restore_counts(head.counted, budget.groups(), stored_at, relayed_until);
        // With another billing day, the stored bytes under unknown identifiers are of another period.
        let (stored_period, _) = head.counts;
        if stored_period.start != budget.period.start {
            grants.forget_unknown();
        }
        connections.restore(&mut grants, stored.connections, stored_at);
        grants.start_sfu_clocks();
        budget.terms.limit = head.overrides.limit(configured_limit);
        let is_relaying = budget.is_read(IceSource::Relay);
        let mut books = Self {
            budget,
            connections,
            grants,
            overrides: head.overrides,
            coturn: coturn::restored(head.coturn_at, stored.sessions),
            lacking,
            blocks: Blocks { rows: stored.blocks, ..Blocks::default() },
            unseen: unseen.to_vec(),
            configured_limit,
            moment: stored_at.into(),
            standing: Standing { is_relaying, ..head.standing },
            uncut: BTreeSet::new(),
            tails: VecDeque::new(),
            judged_excess: None,
            draining: head.draining,
            given_up: Vec::new(),
            tariffs: head.tariffs,
        };
        books.apply_effects();
        books.restore_hidden();
        books.set_claim_rate();
        books.budget.set_lacks_until(lacking.until);
        books.advance(moment);
        books.tariffs.begin(tariff, books.budget.period);
        if let Some(until) = relayed_until {
            books.budget.with(IceSource::Relay.into(), |timeline| timeline.count_lost(until));
        }
        // If the configured limit has changed, an override of the limit has ended. It is dropped, so that it does not come back with the
        // earlier configured limit.
        books.overrides.drop_outdated(configured_limit);
        books.extend_tails();
        while !books.go_on_with_tails() {}
        // This comes after `extend_tails`, because a longer tail changes what was promised for the time that is counted.
        books.budget.begin_readings();
        if lacks_grants {
            books.lack_grants();
        }
        books
    }

    /// Notes an orderly end of this process: its relay relays nothing after the next batch. While a jump of the time is in doubt, nothing
    /// is noted, because the last bytes of the relay cannot be counted now. The next start counts these bytes as after a crash.
    pub fn finish(&mut self) {
        self.standing.is_relaying &= !self.may_count();
    }

    /// Whether bytes that the broker itself counts may be taken now. While a jump of the time is in doubt, nobody knows in which period
    /// these bytes have flowed, so the bytes wait.
    pub fn may_count(&self) -> bool {
        !self.moment.in_doubt
    }

    /// Takes all changes that are not stored yet.
    pub fn take_batch(&mut self) -> Batch {
        let Figures { now, period, .. } = self.budget.figures();
        let changed_sessions = self.coturn.iter_mut().flat_map(|(relay, usage)| {
            let changes = usage.sessions.take_changes().into_iter();
            changes.map(|(id, row)| ((*relay, id), row))
        });
        let sessions = changed_sessions.collect();
        Batch {
            head: Head {
                now,
                standing: self.standing,
                counts: (period, self.budget.counts),
                overrides: self.overrides,
                lacking: self.lacking,
                coturn_at: self.coturn.iter().map(|(relay, usage)| (*relay, usage.complete_at)).collect(),
                counted: self.grants.counted.clone(),
                dropped: self.grants.dropped.clone(),
                draining: self.draining.clone(),
                grants: self.grants.rows.len(),
                tariffs: self.tariffs.clone(),
            },
            sources: self.budget.take_changes(),
            grants: self.grants.take_changes(),
            spenders: self.grants.left.take_changes(),
            blocks: self.blocks.take_changes(),
            connections: self.connections.take_changes(),
            sessions,
        }
    }

    /// Advances everything to the moment, or to the latest time seen so far if that is later. Returns the books' time.
    pub fn advance(&mut self, moment: impl Into<Moment>) -> Timestamp {
        self.moment = moment.into();
        let now = self.moment.now.max(self.now());
        self.standing
            .advance(&self.moment, self.budget.now, || self.grants.alive_until().max(self.lacking.until));
        self.budget.set_latest(self.moment.wall.max(now));
        self.follow_cutting();
        loop {
            // `sfu_due`: when a session of the SFU is due. At the same instant, it comes before a connection.
            let (connection_due, sfu_due) = (self.connections.next_due(now), self.grants.next_session(now));
            let Some(due) = connection_due.into_iter().chain(sfu_due).min() else { break };
            self.step_to(due);
            if sfu_due == Some(due) {
                self.go_on_with_sfu_sessions();
                continue;
            }
            self.given_up.extend(self.connections.elapse(&mut self.grants));
            self.apply_effects();
        }
        self.step_to(now);
        self.raise_rates();
        self.date_lack();
        now
    }

    /// Applies to the ledger what grants and connections have changed.
    fn apply_effects(&mut self) {
        while let Some(effect) = self.grants.effects.take() {
            // A chain may have shown a higher rate although the sum of all excess is the same.
            if matches!(effect, Effect::Excess(..)) {
                self.judged_excess = None;
            }
            self.budget.apply(effect);
        }
    }

    /// Moves the ledger to `now`. With each day, sessions of coturn that nobody has seen for long are forgotten.
    fn step_to(&mut self, now: Timestamp) {
        let (day, period) = (Day::of(self.now()), self.budget.period);
        self.budget.advance(now);
        self.grants.today.begin(Day::of(self.now()));
        if Day::of(self.now()) != day {
            let longest = LIFE_MAX.saturating_add(TAIL_MAX);
            self.coturn.values_mut().for_each(|usage| usage.sessions.forget_unseen(now, longest));
        }
        if self.budget.period != period {
            self.grants.begin_period(self.budget.period);
            self.apply_effects();
        }
    }

    /// The books' time.
    pub fn now(&self) -> Timestamp {
        self.budget.now
    }

    /// The books' time and the wall clock.
    pub fn moment(&self) -> Moment {
        Moment { now: self.now(), ..self.moment }
    }

    /// Opens a connection, or takes a report of one that is open.
    pub fn open(
        &mut self,
        caller: Caller<'_>,
        id: &str,
        relayed: Option<bool>,
    ) -> Result<Outcome<Opened>, OpenError> {
        self.recognize(caller.grant().as_ref());
        if self.is_revoked(caller) {
            return Err(OpenError::GrantRevoked);
        }
        let now = self.now();
        let result = self.connections.open(&mut self.grants, caller, id, relayed, now);
        self.apply_effects();
        let opened = result?;
        if opened.value == Opened::New {
            self.budget.counts.connections = self.budget.counts.connections.saturating_add(1);
        }
        Ok(opened)
    }

    /// Notes the client of a caller whose grant has no row, or a row that names no client. A grant without a row gets one. The service does
    /// this before it applies the caller's request, so that the request counts for this client.
    pub fn note_client(&mut self, caller: Caller<'_>, client: ClientKey) {
        self.recognize(caller.grant().as_ref());
        // A report for a member of a call comes from the broker itself, not from the member's address.
        if let Caller::Grant(grant) = caller {
            let now = self.now();
            self.grants.adopt(&grant, client, now, &self.connections.rules);
            self.apply_effects();
        }
    }

    /// Notes who spends what a connection relays, as its app server says. A client cannot say this. A client's connection with the same id
    /// stays as it is, because any client can open a connection with this id. A user for whom the sums have no room is not noted, because
    /// no limit would hold for this user. An app server may name anybody, so such names fill no more than half of the room.
    pub fn report_spender(&mut self, caller: Caller<'_>, id: &str, mut by_reporter: Spender) {
        if !caller.is_vouched() || by_reporter == Spender::default() {
            return;
        }
        let now = self.now();
        by_reporter
            .user
            .take_if(|user| !self.grants.has_room_for(&Limited::User(user.clone()), Named::WithoutMint, now));
        self.connections.report_spender(caller, id, by_reporter);
    }

    /// The member of a call that has this grant, as a caller. `None` if the table has no live grant with this id.
    pub fn member_with(&self, id: GrantId) -> Option<Caller<'static>> {
        let GrantRow { source, issued_at, expires_at, .. } = *self.grants.get(id)?;
        Some(Caller::Member(Grant { id, source, issued_at, expires_at }))
    }

    /// Adds a metered grant that this ledger does not know, with a promise. The service has checked the grant's token, so the broker has
    /// issued the grant: the ledger was restored from an older copy or has lost writes, and may lack other grants, too. That is noted also
    /// if the table is full and the grant is not added. Does nothing for an expired grant.
    pub(super) fn recognize(&mut self, grant: Option<&Grant>) {
        let now = self.now();
        let Some(grant) = grant.filter(|grant| !grant.is_expired(now)) else { return };
        if !grant.source.is_metered() || self.grants.knows(grant.id) {
            return;
        }
        self.lack_grants();
        if self.grants.is_full() {
            return;
        }
        let until = Minute::from_end(grant.expires_at.plus(self.budget.tail(grant.source)).plus(MINT_SLACK));
        let per_minute = self.budget.bytes_per_minute(grant.source);
        let time = PromisedTime::new(self.budget.counted_from(grant.source), until, per_minute);
        self.grants.take_up(grant, Some(time), self.budget.first_owner(grant.source).issuer, None);
        self.apply_effects();
    }

    fn is_revoked(&self, caller: Caller<'_>) -> bool {
        caller.grant().is_some_and(|grant| self.grants.is_revoked(grant.id))
    }

    /// Applies a connection's report.
    pub fn heartbeat(
        &mut self,
        caller: Caller<'_>,
        id: &str,
        report: Report,
    ) -> Result<Outcome<()>, ReportError> {
        if self.is_revoked(caller) {
            return Err(ReportError::GrantRevoked);
        }
        let now = self.now();
        let reported = self.connections.heartbeat(&mut self.grants, caller, id, report, now);
        self.apply_effects();
        reported
    }

    /// Applies a connection's last report and closes the connection. `None` if it was not open.
    pub fn close(
        &mut self,
        caller: Caller<'_>,
        id: &str,
        last: Report,
    ) -> Result<Outcome<Option<Closed>>, ReportError> {
        if self.is_revoked(caller) {
            return Err(ReportError::GrantRevoked);
        }
        let now = self.now();
        // The last report is applied first, unless it is empty. If the report is refused, the connection is closed all the same.
        let is_last_clamped = last != Report::default()
            && self.heartbeat(caller, id, last).is_ok_and(|outcome| outcome.clamped);
        let result = self.connections.close(&mut self.grants, caller, id, now);
        self.apply_effects();
        let closed = result?;
        let clamped = is_last_clamped || closed.as_ref().is_some_and(|outcome| outcome.clamped);
        Ok(Outcome { value: closed.map(|outcome| outcome.value), clamped })
    }

    /// Takes the connections that stopped reporting since the last call.
    pub fn take_given_up(&mut self) -> Vec<Closed> {
        std::mem::take(&mut self.given_up)
    }

    /// One step of tidying the table of grants: changes the promises whose tail or rate has changed, updates figures after a reset, ends
    /// grants that can have no further effect, and removes old ones. `false` if there is more to do.
    pub fn tidy(&mut self) -> bool {
        self.go_on_with_tails() && self.grants.forget_expired(self.now())
    }

    /// Whether grants have changed since the last batch.
    pub fn has_changed_grants(&self) -> bool {
        !self.grants.dirty.is_empty()
    }

    /// The budget.
    pub fn budget(&self) -> &Budget {
        debug_assert!(self.grants.effects.is_empty(), "a method of the books has not applied its effects");
        &self.budget
    }

    /// What the bytes of this period or of an earlier one cost, and the tariff of that period.
    pub fn cost_of(&self, period: Period) -> (Money, Tariff) {
        let tariff = self.tariffs.of(period).cloned().unwrap_or_default();
        (tariff.cost_of(&self.budget.used_by_source(period)), tariff)
    }

    /// The grants.
    pub fn grants(&self) -> &Grants {
        &self.grants
    }

    /// The open connections.
    pub fn connections(&self) -> &Connections {
        &self.connections
    }
}

#[cfg(test)]
mod tests;
