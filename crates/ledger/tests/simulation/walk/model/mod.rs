//! What the books must say. A second, naive account of the grants: a list of all of them with what is promised for each, changed by
//! plain rules at each operation. Nothing of it is computed by the ledger's own arithmetic, so an error there is a difference here.
//!
//! The account exists three times: as of now, as of the last batch, and as of the last write. A crash goes back to the last write.

pub(super) mod allowances;
mod chains;
pub(super) mod claims;
mod coturn;
mod days;
pub(super) mod figures;
mod flows;
mod pages;
mod rows;
mod spending;
mod standing;
mod tails;
mod trial;

use std::collections::{BTreeMap, BTreeSet};

use turn_ledger::{
    Books, ClientKey, Day, DayCount, Grant, GrantId, IceSource, Period, PromisedTime, SessionId, Timestamp,
};

use allowances::{Group, Saved};
use claims::{Reported, Rules};
use coturn::Relayed;
use flows::Flow;
use spending::{Claims, Counted};

/// Milliseconds of a minute.
const MINUTE: i64 = 60_000;
/// A process writes what its relay has carried after this time at the latest, in milliseconds: the value of the service.
const UNWRITTEN: i64 = 4_000;
/// The provider may create a credential so much later than it was asked for, in milliseconds: the value of the service.
const SLACK: i64 = 4_000;

/// A grant, and what is promised for it. Minutes are numbered since 1970.
#[derive(Clone, Debug)]
#[expect(clippy::struct_excessive_bools, reason = "each is a fact of its own")]
pub(super) struct Known {
    pub(super) id: GrantId,
    pub(super) source: IceSource,
    issued_at: i64,
    expires_at: i64,
    /// How far the wall clock was ahead when it was issued.
    ahead: i64,
    from: i64,
    reserved_from: i64,
    chain_before: u16,
    until: i64,
    /// The latest end that was ever promised by this process. Then its row must have ended.
    due: i64,
    /// It counts as a grant of a day that begins in here, once it has left the table. While it has a row: of its period from its issue.
    days: (i64, i64),
    counted: Counted,
    /// What its connections were charged in this period. Time that a count reversed may belong to an earlier one.
    charged: i64,
    claims: Claims,
    per_minute: u64,
    pub(super) user: Option<u64>,
    client: Option<ClientKey>,
    was_renewed: bool,
    renewed_by: Option<GrantId>,
    revoked_at: Option<i64>,
    is_settled: bool,
    is_released: bool,
    /// Whether its row was that of a live grant, and whether there was one, when the rows were last compared.
    is_live: bool,
    has_row: bool,
    /// Whether its client has reported a connection.
    is_reported: bool,
}

/// The account at one time.
#[derive(Clone, Debug, Default)]
#[expect(clippy::struct_excessive_bools, reason = "each is a fact of its own")]
pub(super) struct Facts {
    pub(super) grants: Vec<Known>,
    /// Bytes of this period under identifiers that the ledger does not know: counted for good, and the most so far.
    unknown: (u64, u64),
    trial: trial::Trial,
    /// What the provider has counted of the days of the period.
    counts: BTreeMap<Day, DayCount>,
    /// Until when each source has counted all its grants, perhaps not for good.
    seen_until: BTreeMap<IceSource, i64>,
    /// The counts that are in doubt, by day.
    doubts: BTreeMap<Day, u64>,
    connections: Vec<Reported>,
    /// What connections were charged in this period and the one before, apart from what a later count reverses.
    flows: Vec<Flow>,
    saved: BTreeMap<Group, Saved>,
    /// Whether it is not known what an address has saved.
    pub(super) is_rough: bool,
    /// Whether another billing day has brought days back whose minutes are not known any more.
    is_reopened: bool,
    /// The time of the books.
    pub(super) time: i64,
    /// What the operator has ordered.
    pub(super) is_frozen: bool,
    pub(super) blocked: BTreeSet<u64>,
    /// The period of the counts, and what happened in it: credentials issued, connections opened, grants that reported one.
    period: Option<Period>,
    issued: u64,
    opened: u64,
    reported: u64,
    /// Until when credentials may relay that the ledger does not know.
    lacks_until: i64,
    /// Whether it is a copy, and no process has written to it yet.
    pub(super) is_copy: bool,
    /// Until when grants may relay beyond what is promised, because the time has jumped.
    jumped_until: i64,
    /// The last listing of coturn that showed that sessions are cut, and the last complete one.
    cut_until: i64,
    complete_at: i64,
    /// The sessions of coturn.
    sessions: BTreeMap<SessionId, Relayed>,
    /// The sessions of the SFU.
    sessions_of_pages: Vec<pages::Session>,
    /// Whether all grants of coturn have the long tail.
    is_raised: bool,
    /// Whether the relay was configured, and whether the process that wrote this has ended in order.
    had_relay: bool,
    is_closed: bool,
    /// Until when the relay has counted its grants.
    relayed_until: i64,
}

/// See the module's description.
#[derive(Debug, Default)]
pub(super) struct Model {
    pub(super) now: Facts,
    taken: Facts,
    written: Facts,
    /// What the copy contains.
    copied: Facts,
    /// The first thing that is not as it must be.
    pub(super) wrong: Option<String>,
    /// Whether grants that the account lacks may appear, because a copy was restored.
    lacks: bool,
    /// How connections are charged.
    pub(super) rules: Rules,
}

/// The first minute that does not begin before this time.
fn minute_from(millis: i64) -> i64 {
    (millis + MINUTE - 1).div_euclid(MINUTE)
}

/// The minute that contains this time.
fn minute_of(millis: i64) -> i64 {
    millis.div_euclid(MINUTE)
}

impl Model {
    /// Of a broker whose connections are charged like this.
    pub(super) fn new(rules: Rules, has_relay: bool) -> Self {
        let now = Facts { had_relay: has_relay, ..Facts::default() };
        Self { now, rules, ..Self::default() }
    }

    /// Notes what is wrong, if this is the first such thing.
    pub(super) fn expect(&mut self, is_right: bool, what: impl FnOnce() -> String) {
        if !is_right {
            self.wrong.get_or_insert_with(what);
        }
    }

    /// A batch of all changes was taken.
    pub(super) fn take_batch(&mut self, books: &Books) {
        self.now.is_copy = false;
        self.now.note_counts(books);
        self.taken = self.now.clone();
    }

    /// All batches were written.
    pub(super) fn write(&mut self) {
        self.written = self.taken.clone();
    }

    /// What was not written is lost.
    pub(super) fn crash(&mut self, has_relay: bool, is_limited: bool, now: i64) {
        self.now = self.written.clone();
        self.now.is_raised = false;
        // What a relay may have carried before a crash counts as counted.
        if has_relay && self.now.had_relay && !self.now.is_closed {
            let ended = (self.now.time + UNWRITTEN).min(now).max(self.now.time);
            if is_limited {
                self.now.assume(IceSource::Relay, (self.now.relayed_until, ended), &BTreeMap::new());
            }
            self.now.drop_claims(IceSource::Relay, self.now.time, |_| true);
            self.now.see_until(IceSource::Relay, self.now.time);
            self.now.relayed_until = self.now.relayed_until.max(self.now.time);
        } else if !self.now.had_relay {
            self.now.relayed_until = minute_of(self.now.time) * MINUTE;
        }
        (self.now.had_relay, self.now.is_closed) = (has_relay, false);
        for session in &mut self.now.sessions_of_pages {
            session.restart();
        }
        for known in &mut self.now.grants {
            (known.is_settled, known.due) = (true, known.until);
        }
        for known in &mut self.now.grants {
            known.claims.is_rough |= self.now.connections.iter().any(|it| it.grant() == Some(known.id));
        }
        self.taken = self.now.clone();
        self.now.lose_saved(self.now.time);
        self.now.restore_sessions();
        self.now.set_claim_rate(self.now.time, &self.rules);
    }

    /// The process ends in order, unless something waits to be counted.
    pub(super) fn finish(&mut self, may_count: bool) {
        self.now.is_closed = may_count;
    }

    pub(super) fn copy(&mut self) {
        self.copied = self.written.clone();
    }

    pub(super) fn restore_copy(&mut self) {
        self.written = Facts { is_copy: true, ..self.copied.clone() };
        self.lacks = true;
    }

    pub(super) fn grant(&mut self, id: GrantId) -> Option<&mut Known> {
        self.now.grants.iter_mut().rev().find(|known| known.id == id)
    }
}

/// What is known when a credential has been made. `ahead`: how far the wall clock was ahead when its budget was reserved.
pub(super) struct Issued {
    pub(super) grant: Grant,
    pub(super) held: PromisedTime,
    /// The latest time at which it expires, in the books' time.
    pub(super) expires_by: Timestamp,
    pub(super) ahead: u64,
    /// The tail of its source now.
    pub(super) tail: u64,
    pub(super) user: Option<u64>,
    pub(super) client: Option<ClientKey>,
    pub(super) renews: Option<GrantId>,
}

impl Model {
    /// A credential was put into the books.
    pub(super) fn issue(&mut self, issued: &Issued) {
        let Issued { grant, held, expires_by, ahead, tail, user, client, renews } = *issued;
        let (from, mut reserved_from) = (held.from.number(), held.reserved_from.number());
        if let Some(renewed) = renews.and_then(|id| self.grant(id)) {
            renewed.renewed_by = Some(grant.id);
            reserved_from = reserved_from.min(renewed.until.max(renewed.reserved_from).max(from));
        } else {
            reserved_from = reserved_from.min(from);
        }
        let until = minute_from(expires_by.as_millis() + signed(tail));
        self.now.issued += 1;
        self.now.grants.push(Known {
            id: grant.id,
            source: grant.source,
            issued_at: grant.issued_at.as_millis(),
            expires_at: grant.expires_at.as_millis(),
            ahead: signed(ahead),
            from,
            reserved_from,
            chain_before: held.chain_before,
            until,
            due: until.max(held.until.number()),
            days: (0, 0),
            counted: Counted::default(),
            charged: 0,
            claims: Claims::default(),
            per_minute: held.per_minute,
            user,
            client,
            was_renewed: false,
            renewed_by: None,
            revoked_at: None,
            is_settled: false,
            is_released: false,
            is_live: true,
            has_row: true,
            is_reported: false,
        });
    }

    /// The write of a credential has ended. `is_undone`: it is not on disk and never will be.
    pub(super) fn note_written(&mut self, id: GrantId, is_undone: bool) {
        if is_undone {
            self.now.grants.retain(|known| known.id != id);
            self.now.issued = self.now.issued.saturating_sub(1);
        } else if let Some(known) = self.grant(id) {
            known.is_settled = true;
        }
    }
}

/// As a signed number.
fn signed(millis: u64) -> i64 {
    i64::try_from(millis).unwrap_or(i64::MAX)
}
