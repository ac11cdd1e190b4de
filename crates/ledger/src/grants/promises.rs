//! What is promised for the grants in the table. Tests: `src/books/tests/promises.rs`.
//! A row states its own promise. Every change of a promise goes through [`Grants::replace_promise`], which changes the sums of its user and
//! server key, the share of its client, and the minutes of its source in the ledger.
//!
//! The promise of a revoked grant is released when its source has no session of the grant and refuses new ones. The present minute stays
//! promised, because its bytes may not be counted yet. Where trials have proven for how long a revoked credential relays, the promise ends
//! so long after the revocation. A renewed grant is released only after its renewal. It is assumed that one of the two relays at a time, so
//! the renewal does not reserve the minutes that are promised for the renewed grant.

use std::time::Duration;

use super::Grants;
use super::row::{GrantRow, GrantState, RevocationAnswer};
use crate::clients::{Clients, Holder};
use crate::owner::CountOwner;
use crate::promise::{Promise, PromisedTime};
use crate::source::IceSource;
use crate::spenders::limited::Limited;
use crate::token::GrantId;
use crate::units::Timestamp;
use crate::units::slot::Minute;

impl GrantRow {
    /// Whether its promise can be released once it has no session: it was revoked, and its source ends its sessions and refuses new ones.
    pub(super) fn may_be_released(&self) -> bool {
        self.extra().revoked_at.is_some() && self.source.refuses_revoked() && self.state == GrantState::Live
    }

    /// Whether its source has revoked its credential, and its promise therefore ends no later than the credential would expire.
    pub(super) fn ends_by_revocation(&self) -> bool {
        let is_over_at_expiry = |time: PromisedTime| time.until.start() <= self.latest_expiry();
        self.extra().revocation_answer == Some(RevocationAnswer::Revoked)
            && self.promised.is_some_and(is_over_at_expiry)
    }
}

impl Grants {
    /// Replaces a promise by another one: the only place where what is promised changes.
    pub(crate) fn replace_promise(&mut self, before: Option<&Promise>, after: Option<&Promise>) {
        self.change_promised(before, after);
        self.effects.note_promise(before, after);
    }

    /// Replaces a promise, but leaves the minutes of its source as they are.
    pub(super) fn change_promised(&mut self, before: Option<&Promise>, after: Option<&Promise>) {
        for (promise, is_added) in [(before, false), (after, true)] {
            let Some(Promise { owner, time, user, server, client }) = promise else { continue };
            let limited =
                user.clone().map(Limited::User).into_iter().chain(server.clone().map(Limited::Server));
            for of in limited {
                if self.terms.limit_of(&of).is_some() {
                    self.limited.promise(&of, owner.source, time, is_added);
                }
            }
            if self.terms.is_strict {
                let change = if is_added { Clients::reserve } else { Clients::release };
                let holder = Holder { client: *client, user: user.as_ref(), ..Holder::default() };
                change(&mut self.clients, holder, time.until, time.reserved_bytes());
            }
        }
    }

    /// Raises the promises of an owner to this tail and rate. A promise that was over at `since` or is released stays as it is. A grant
    /// that has ended can be live again. `trusts_revocations`: a promise that ends by a revocation does not get longer.
    pub(crate) fn raise_tails(
        &mut self,
        owner: CountOwner,
        tail: Duration,
        per_minute: u64,
        since: Timestamp,
        trusts_revocations: bool,
    ) {
        let of_owner = self.rows.iter().filter(|(_, row)| row.owner() == owner && !row.is_released());
        let raised = |(id, row): (&GrantId, &GrantRow)| {
            let before = row.promised.filter(|time| time.until.start() > since)?;
            let until = if trusts_revocations && row.ends_by_revocation() {
                before.until
            } else {
                Minute::from_end(row.latest_expiry().plus(tail)).max(before.until)
            };
            let per_minute = before.per_minute.max(per_minute);
            // Nearly all promises stay as they are.
            let is_raised = (until, per_minute) != (before.until, before.per_minute);
            is_raised.then_some((*id, until, per_minute))
        };
        for (id, until, per_minute) in of_owner.filter_map(raised).collect::<Vec<_>>() {
            self.raise_promise(id, until, per_minute);
        }
    }

    /// Sets the end and the rate of a promise. Callers make sure that neither is lower than before.
    fn raise_promise(&mut self, id: GrantId, until: Minute, per_minute: u64) {
        self.edit(id, |row| {
            // The tail of a grant that has ended turns out to be longer, so the grant is live again.
            if row.state == GrantState::Ended {
                row.state = GrantState::Live;
            }
            row.promised = row.promised.map(|time| PromisedTime { until, per_minute, ..time });
        });
    }

    /// The grants of a group with a promise, in the order of their issue.
    pub(crate) fn promised_at(&self, group: CountOwner) -> Vec<GrantId> {
        let of_group = self.rows.iter().filter(|(_, row)| row.owner().group() == group);
        let mut ids: Vec<_> = of_group.filter(|(_, row)| row.promised.is_some()).map(|(id, _)| *id).collect();
        ids.sort_unstable();
        ids
    }

    /// Lowers the promise of a grant that has no session in a complete listing. It ends with this tail after the expiry, or with the minute
    /// of the listing, whichever is later.
    pub(crate) fn lower_tail(&mut self, id: GrantId, tail: Duration, listed: Timestamp) {
        if let Some(row) = self.rows.get(&id) {
            self.lower_promise(id, Minute::from_end(row.latest_expiry().plus(tail)).max(Minute::of(listed)));
        }
    }

    /// The source has revoked a grant, so it relays until `until` at most. Nothing changes if the credential expires before `until`: then
    /// the tail after the expiry says until when it relays.
    pub(crate) fn end_by_revocation(&mut self, id: GrantId, until: Minute) {
        if self.rows.get(&id).is_some_and(|row| until.start() <= row.latest_expiry()) {
            self.lower_promise(id, until);
        }
    }

    /// The revoked grants of an owner relay by `added` longer than was assumed, so their promises are extended.
    pub(crate) fn extend_revoked(&mut self, owner: CountOwner, added: Duration, now: Timestamp) {
        let is_revoked = |row: &GrantRow| row.owner() == owner && row.ends_by_revocation();
        let revoked = self.rows.iter().filter(|(_, row)| is_revoked(row));
        let extended = |time: PromisedTime| Minute::from_end(time.until.start().plus(added));
        let later: Vec<_> =
            revoked.filter_map(|(id, row)| Some((*id, row.promised.map(extended)?))).collect();
        for (id, until) in later.into_iter().filter(|(_, until)| until.start() > now) {
            self.extend_promise(id, until);
        }
    }

    /// Sets the end of a promise, if the new end is earlier. The renewal of the grant then reserves the minutes that the promise loses. So
    /// nothing changes while a renewal is under way that has no row yet.
    fn lower_promise(&mut self, id: GrantId, until: Minute) {
        let Some(row) = self.rows.get(&id).filter(|row| !row.has_ended() && !row.is_released()) else {
            return;
        };
        let has_row = |by| self.any(by).is_some();
        let awaits_renewal = row.extra().renewed && !row.extra().renewed_by.is_some_and(has_row);
        if awaits_renewal || row.promised.is_none_or(|before| before.until <= until) {
            return;
        }
        self.edit(id, |row| row.promised = row.promised.map(|time| PromisedTime { until, ..time }));
        self.follow_chain(id);
    }

    /// Lets each renewal of a grant reserve its minutes after those that the chain before it covers. Stops where nothing changes.
    fn follow_chain(&mut self, first: GrantId) {
        let chain: Vec<_> = self.with_renewals(first).collect();
        for pair in chain.windows(2) {
            let end = self.any(pair[0]).and_then(|row| row.promised).map(|time| time.chain_until());
            let (Some(end), Some(time)) = (end, self.any(pair[1]).and_then(|row| row.promised)) else {
                return;
            };
            // No later than it was, and not before the first minute of the promise.
            let reserved_from = time.reserved_from.min(end.max(time.from));
            if reserved_from == time.reserved_from {
                return;
            }
            self.edit(pair[1], |row| row.promised = Some(PromisedTime { reserved_from, ..time }));
        }
    }

    /// Extends the promise of a grant to `until`, because its session may have gone on. A grant that has ended is live again. Nothing
    /// changes if `until` is earlier than before, or if the promise is released.
    pub(crate) fn extend_promise(&mut self, id: GrantId, until: Minute) {
        let promised = self.rows.get(&id).filter(|row| !row.is_released()).and_then(|row| row.promised);
        if let Some(before) = promised.filter(|time| time.until < until) {
            self.raise_promise(id, until, before.per_minute);
        }
    }

    /// The end of the last promise of all grants; 1970 if there is none.
    pub fn alive_until(&self) -> Timestamp {
        self.rows.iter().filter_map(|(_, row)| row.alive_until()).max().unwrap_or_default().start()
    }

    /// Releases the promises of those revoked grants of a source that have no session at `now`. Callers make sure that the source refused
    /// the credentials before it listed its sessions. Returns how many reserved minutes are freed.
    pub(crate) fn release_gone(
        &mut self,
        source: IceSource,
        has_session: impl Fn(GrantId) -> bool,
        now: Timestamp,
    ) -> u64 {
        let is_gone = |id: &GrantId| {
            let row = self.get(*id).filter(|row| row.source == source);
            row.is_some_and(|row| self.no_renewal_relies_on(row)) && !has_session(*id)
        };
        let gone: Vec<_> = self.indexes.releasable.iter().copied().filter(is_gone).collect();
        gone.into_iter().map(|id| self.release_promise(id, now)).fold(0, u64::saturating_add)
    }

    /// Releases the minutes of a promise after the present one. Returns how many of them the grant had reserved.
    fn release_promise(&mut self, id: GrantId, now: Timestamp) -> u64 {
        let end = Minute::of(now).next();
        let promised = self.rows.get(&id).and_then(|row| row.promised);
        self.edit(id, |row| {
            row.state = GrantState::Released;
            row.promised = row.promised.map(|time| PromisedTime { until: time.until.min(end), ..time });
        });
        promised.map_or(0, |before| before.until.since(end.max(before.reserved().start)))
    }
}
