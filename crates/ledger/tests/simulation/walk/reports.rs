//! What clients, members of calls and the operator do to grants and connections. Each result is compared with the account of
//! [`super::model`].

use std::collections::BTreeSet;

use turn_ledger::{
    Caller, Grant, GrantId, GrantRow, IceSource, OpenError, Opened, Report, ReportError, User,
};

use super::broker::Broker;
use super::disk::Disk;
use super::minting::client_of;
use super::settings::ONE;

impl<D: Disk> Broker<D> {
    /// A client asks for its renewal.
    pub(super) fn take_renewal(&mut self, grant: &Grant) -> bool {
        let was_known = self.model.now.has(grant.id);
        let is_taken = self.books.take_renewal(grant);
        self.adopt();
        if was_known {
            let is_allowed = self.model.renew(grant.id, self.books.now().as_millis());
            self.model
                .expect(is_taken == is_allowed, || format!("a renewal was taken: {is_taken}: {grant:?}"));
        }
        is_taken
    }

    /// Whether a connection is open on a grant whose source counts it, perhaps not for good.
    pub(super) fn has_counted_claims(&self) -> bool {
        let mut grants = self.books.connections().iter().filter_map(|connection| connection.name.grant());
        let start = self.books.ledger().period().start;
        let is_counted = |row: &GrantRow| {
            self.settings.user_limit.is_some() || self.books.grants().counted_until(row.source) > start
        };
        grants.any(|id| self.books.grants().get(id).is_some_and(is_counted))
    }

    fn is_open(&self, id: GrantId) -> bool {
        self.books.connections().iter().any(|connection| connection.name.grant() == Some(id))
    }

    /// The operator revokes a grant.
    pub(super) fn revoke(&mut self, id: GrantId) {
        let (now, is_open) = (self.books.now().as_millis(), self.is_open(id));
        let is_live = self.books.grants().get(id).is_some();
        let is_revoked = self.books.revoke(id).is_some();
        if self.model.now.has(id) {
            let expected = is_live && self.model.revoke(id, now, is_open);
            self.model.expect(is_revoked == expected, || format!("a grant was revoked: {is_revoked}"));
        }
    }

    /// The operator revokes all that a user has.
    pub(super) fn revoke_user(&mut self, user: &User) {
        let now = self.books.now().as_millis();
        let number = user.as_str().parse().ok();
        let is_live = |id: &GrantId| self.books.grants().get(*id).is_some();
        let theirs = self.model.now.grants.iter().filter(|known| known.user == number && number.is_some());
        let theirs: Vec<_> = theirs.map(|known| known.id).filter(is_live).collect();
        let open: BTreeSet<_> = theirs.iter().copied().filter(|id| self.is_open(*id)).collect();
        let revoked = self.books.revoke_user(user).grants;
        for id in theirs {
            let expected = self.model.revoke(id, now, open.contains(&id));
            let is_revoked = revoked.iter().any(|(it, _)| *it == id);
            self.model.expect(is_revoked == expected, || format!("a user's grant was revoked: {is_revoked}"));
        }
    }

    /// The relay has no session of revoked grants, except for these.
    pub(super) fn release_gone(&mut self, late: &BTreeSet<GrantId>) {
        let live = |id: GrantId| self.books.grants().get(id).is_some();
        self.model.release(self.latest(), |id| late.contains(&id), live);
        let _ = self.books.release_gone(IceSource::Relay, |id| late.contains(&id));
    }

    /// Clients have reported. In estimate mode, that extends what is promised until the next report.
    pub(super) fn note_reports(&mut self) {
        if self.settings.strict {
            return;
        }
        let until =
            self.books.now().as_millis() + i64::try_from(self.settings.heartbeat * 1_000).unwrap_or(0);
        let open: Vec<_> =
            self.books.connections().iter().filter_map(|connection| connection.name.grant()).collect();
        for id in open {
            if let Some(promised) = self.books.grants().get(id).and_then(GrantRow::alive_until) {
                self.model.may_extend(id, promised.number(), until);
            }
        }
    }

    /// Notes the address of a client, as each of its calls does.
    fn note_client(&mut self, caller: Caller) {
        let Caller::Grant(grant) = caller else { return };
        if self.settings.has_addresses {
            let nth = u64::from(grant.id.as_bytes().iter().fold(0_u8, |sum, byte| sum.wrapping_add(*byte)));
            self.books.note_client(caller, client_of(nth));
            self.adopt();
            self.model.note_client(grant.id, client_of(nth), self.books.now().as_millis());
        }
    }

    /// A client, a member or the reporter opens a connection.
    pub(super) fn open(&mut self, caller: Caller, id: &str, relayed: Option<bool>) {
        self.note_client(caller);
        let opened = self.books.open(caller, id, relayed).map(|opened| opened.value);
        self.adopt();
        let (grant, now) = (caller.grant().map(|grant| grant.id), self.books.now().as_millis());
        self.check_opening(caller, id, opened.err());
        match opened {
            Ok(Opened::New) => {
                let source = caller.grant().map_or(self.settings.sources[0], |grant| grant.source);
                self.model.open(id, (grant, source), relayed, caller == Caller::Reporter, now);
            }
            Ok(Opened::Already) => {
                let report = Report { relayed, ..Report::default() };
                self.model.report(id, grant, &report, caller == Caller::Reporter, now);
            }
            Err(_) => {}
        }
        self.note_reports();
    }

    /// They report on it. Returns whether it is open.
    pub(super) fn beat(&mut self, caller: Caller, id: &str, report: Report) -> bool {
        self.note_client(caller);
        let taken = self.books.heartbeat(caller, id, report).map(drop);
        let is_open = taken.is_ok();
        self.adopt();
        self.check_refusal(caller, taken.err());
        if is_open {
            let grant = caller.grant().map_or_else(|| self.model.now.owner_of(id), |grant| Some(grant.id));
            self.model.report(id, grant, &report, caller == Caller::Reporter, self.books.now().as_millis());
        }
        self.note_reports();
        is_open
    }

    /// They close it.
    pub(super) fn close(&mut self, caller: Caller, id: &str) {
        let closed = self.books.close(caller, id, Report::default());
        self.check_refusal(caller, closed.as_ref().err().copied());
        if let Ok(outcome) = closed {
            let (grant, now) = (caller.grant().map(|grant| grant.id), self.books.now().as_millis());
            let expected = self.model.disconnect(id, grant, now);
            let found = outcome.value.map(|closed| closed.charged.get());
            let is_right = found == expected || self.model.now.is_rough;
            self.model
                .expect(is_right, || format!("a closed connection was charged {found:?}, not {expected:?}"));
        }
    }

    /// A connection is opened unless its grant forbids it, or a table is full.
    fn check_opening(&mut self, caller: Caller, name: &str, refused: Option<OpenError>) {
        if caller.grant().is_none_or(|grant| !self.model.now.has(grant.id)) {
            return;
        }
        let is_full = |why: &OpenError| {
            matches!(why, OpenError::TableFull | OpenError::TooManyOnGrant | OpenError::TooManyOnClient)
        };
        let found = refused.filter(|why| !is_full(why));
        let expected = self.model.refuses_open(caller, name, self.books.now().as_millis());
        self.model.expect(found == expected, || format!("opening is refused by {found:?}, not {expected:?}"));
    }

    /// A grant that was revoked reports nothing, and any other one does.
    fn check_refusal(&mut self, caller: Caller, refused: Option<ReportError>) {
        let Some(Grant { id, .. }) = caller.grant().filter(|grant| self.model.now.has(grant.id)) else {
            return;
        };
        let found = refused.filter(|why| *why == ReportError::GrantRevoked);
        let expected = self.model.refuses_report(id);
        self.model
            .expect(found == expected, || format!("a report is refused by {found:?}, not {expected:?}"));
    }

    /// Takes over grants that the ledger has learned of since a copy was restored.
    pub(super) fn adopt(&mut self) {
        if self.model.adopt(&self.books) {
            self.lack_grants();
        }
    }

    /// The ledger lacks grants that may be alive.
    pub(super) fn lack_grants(&mut self) {
        let mint = |source: &IceSource| source.is_metered() && source.issues_credentials();
        let tails = self.books.ledger().sources().filter(mint).map(|source| self.long_tail(source));
        let end = self.books.ledger().period().end.as_millis();
        let lost_until = if self.settings.sources == ONE { 0 } else { end };
        self.model.lack_grants(self.books.now().as_millis(), tails.max().unwrap_or(0), lost_until);
    }
}
