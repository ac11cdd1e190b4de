//! What clients, members of calls and the operator do to grants and connections.

use super::prelude::*;

use super::minting::client_of;

impl<D: Disk> Broker<D> {
    /// A client asks for its renewal. A grant has one at a time, and none once it is revoked.
    pub(super) fn take_renewal(&mut self, grant: &Grant) -> bool {
        let is_revoked = self.books.grants().is_revoked(grant.id);
        let was_renewed = self.books.grants().get(grant.id).is_some_and(|row| row.extra().renewed);
        let is_taken = self.books.take_renewal(grant);
        let is_right = !is_taken || !(is_revoked || was_renewed);
        self.expect(is_right, || format!("a renewal is taken of {grant:?}"));
        is_taken
    }

    /// The operator revokes a grant.
    pub(super) fn revoke(&mut self, id: GrantId) {
        if self.books.revoke(id).is_some() {
            self.check_revoked(id);
        }
    }

    /// The operator revokes all that a user has.
    pub(super) fn revoke_user(&mut self, user: &User) {
        let _ = self.books.revoke_all_of(&SpenderKey::User(user.clone()));
        let now = self.books.now();
        let is_theirs =
            |row: &&GrantRow| row.user() == Some(user) && row.expires_at > now && !row.has_ended();
        let theirs: Vec<_> =
            self.books.grants().iter().filter(|(_, row)| is_theirs(row)).map(|(id, _)| *id).collect();
        for id in theirs {
            self.check_revoked(id);
        }
    }

    /// A grant that is revoked has no connection.
    pub(super) fn check_revoked(&mut self, id: GrantId) {
        let is_open = self.books.connections().iter().any(|connection| connection.name.grant() == Some(id));
        let is_right = self.books.grants().is_revoked(id) && !is_open;
        self.expect(is_right, || format!("{id:?} is not revoked, or has a connection"));
    }

    /// The relay has no session of revoked grants, except for these. What is promised for them is released, and nothing is used by that.
    pub(super) fn release_gone(&mut self, late: &BTreeSet<GrantId>) {
        let before = self.books.snapshot().figures;
        let _ = self.books.release_gone(IceSource::Relay, |id| late.contains(&id));
        let after = self.books.snapshot().figures;
        let is_right = after.used == before.used
            && after.committed <= before.committed
            && after.committed_next <= before.committed_next;
        self.expect(is_right, || format!("{before:?} became {after:?} when grants were released"));
    }

    /// Notes the address of a client, as each of its calls does.
    fn note_client(&mut self, caller: Caller<'_>) {
        let Caller::Grant(grant) = caller else { return };
        if self.settings.has_addresses {
            let nth = u64::from(grant.id.as_bytes().iter().fold(0_u8, |sum, byte| sum.wrapping_add(*byte)));
            self.books.note_client(caller, client_of(nth));
        }
    }

    /// A client, a member or the reporter opens a connection.
    pub(super) fn open(&mut self, caller: Caller<'_>, id: &str, relayed: Option<bool>) {
        self.note_client(caller);
        let was_revoked = self.is_revoked(caller);
        let opened = self.books.open(caller, id, relayed).map(|opened| opened.value);
        let is_right = opened.is_err() || (!was_revoked && self.books.connections().has(caller, id));
        self.expect(is_right, || format!("opening {id} under {caller:?}: {opened:?}"));
    }

    /// They report on it. Returns whether it is open.
    pub(super) fn beat(&mut self, caller: Caller<'_>, id: &str, report: Report) -> bool {
        self.note_client(caller);
        let was_revoked = self.is_revoked(caller);
        let begun = self.begun_before_reset(caller, id, report);
        let refused = self.books.heartbeat(caller, id, report).err();
        self.expect_part_of(begun);
        self.check_refusal(was_revoked, refused);
        refused.is_none()
    }

    /// They close it. It was charged what the listing said, or more: a report at the end also counts for a time of silence.
    pub(super) fn close(&mut self, caller: Caller<'_>, id: &str) {
        let was_revoked = self.is_revoked(caller);
        let (now, rules) = (self.books.now(), self.books.connections().rules.clone());
        let is_it =
            |it: &&Connection| it.name.id() == id && it.name.grant() == caller.grant().map(|grant| grant.id);
        let before = self.books.connections().iter().find(is_it).map(|it| it.charged(now, &rules));
        let closed = self.books.close(caller, id, Report::default());
        self.check_refusal(was_revoked, closed.as_ref().err().copied());
        let charged = closed.ok().and_then(|outcome| outcome.value).map(|closed| closed.charged);
        if let Some((before, charged)) = before.zip(charged) {
            self.expect(before <= charged, || format!("{id} is charged {charged:?}, and {before:?} before"));
        }
    }

    fn is_revoked(&self, caller: Caller<'_>) -> bool {
        caller.grant().is_some_and(|grant| self.books.grants().is_revoked(grant.id))
    }

    /// A grant that was revoked reports nothing, and any other one does.
    fn check_refusal(&mut self, was_revoked: bool, refused: Option<ReportError>) {
        let is_right = was_revoked == (refused == Some(ReportError::GrantRevoked));
        self.expect(is_right, || format!("{refused:?} of a report, revoked: {was_revoked}"));
    }
}
