//! coturn's sessions: their usage, and which of them must end. Tests: `src/books/coturn_tests.rs`.

use super::Books;
use super::readings::Tails;
use crate::coturn::{
    CoturnUsage, ListedBytes, Listing, RelayLoad, Session, SessionId, SessionKey, SessionRow,
};
use crate::grants::GrantRow;
use crate::prelude::*;
use crate::spending::{Limited, Named, SpenderKey};

/// A session whose credential expired more than this before a complete listing must be missing from the next complete listing. Otherwise
/// the sessions of the relay do not count as cut.
const CUT_TIME: Duration = Duration::from_secs(10);

/// The row of a credential of another program lives at least this long after the first listing that shows the credential.
const FOREIGN_LIFE_MIN: Duration = Duration::from_secs(3_600);

/// The sessions of each coturn as stored, with the time of its last complete listing.
pub(super) fn restored(
    complete_at: BTreeMap<CountOwner, Timestamp>,
    rows: BTreeMap<SessionKey, SessionRow>,
) -> BTreeMap<CountOwner, CoturnUsage> {
    let mut sessions = BTreeMap::<_, BTreeMap<_, _>>::new();
    for ((relay, id), row) in rows {
        sessions.entry(relay).or_default().insert(id, row);
    }
    let restore =
        |(relay, at)| (relay, CoturnUsage::restore(at, sessions.remove(&relay).unwrap_or_default()));
    complete_at.into_iter().map(restore).collect()
}

impl Books {
    /// Applies a listing of a relay. Returns the sessions that must end: ours whose grant has expired; those whose grant was revoked; those
    /// of other programs whose user is blocked or over its limit; and all once the budget or the relay's limit is spent. `asked_at`: when
    /// coturn was asked. A session that began while the listing was on its way may be missing from the listing, so only what was relayed
    /// before `asked_at` counts as seen. A listing that is not complete, or that comes while a jump of the time is in doubt, adds
    /// nothing to the counts.
    pub fn take_sessions(
        &mut self,
        relay: impl Into<CountOwner>,
        mut listing: Listing,
        asked_at: Timestamp,
    ) -> Vec<SessionId> {
        let (relay, now) = (relay.into(), self.now());
        listing.is_complete &= self.may_count();
        let listing = &listing;
        let usage = self.coturn.entry(relay).or_default();
        // The time of the complete listing before this one, and the grants whose sessions it showed.
        let (seen_at, listed_before) = (usage.complete_at, usage.sessions.grants());
        if usage.collect(listing, asked_at) && listing.is_complete {
            // coturn lets a session go on as long as its client refreshes it. So each session of the previous listing may have relayed past
            // the end of its promise, also a session that has ended in the gap and that no listing shows any more.
            for grant in &listed_before {
                self.grants.extend_promise(*grant, Minute::from_end(asked_at));
            }
        }
        self.take_up_foreign(relay, listing);
        self.apply_effects();
        let usage = self.coturn.entry(relay).or_default();
        let reset = self.budget.period.start;
        let source = relay.source;
        let (billed, rate) = (self.connections.rules.billed.of(source), self.budget.rate_at(source));
        if let Some(ListedBytes { carried, by_grant }) = usage.take(listing, asked_at, billed, rate, reset) {
            let listed = usage.sessions.grants();
            if carried.is_after_gap && self.grants.terms.counts_promises() {
                // Nobody saw the gap, so in strict mode the limits are charged what was promised in it, not only what coturn shows.
                let counted = by_grant.clone();
                self.change_tails(relay, Tails::Assumed { from: seen_at, until: asked_at, counted });
            }
            self.carry(relay, &carried);
            self.carry_rest(relay, carried.is_after_gap);
            self.grants.add_counts(relay, &by_grant, asked_at);
            self.judge_all(relay.source);
            if self.is_cut(listing, seen_at) {
                self.budget.with(relay, |timeline| timeline.state.cut_until = now);
                // If the sessions were not cut until now, every promise at this relay has the long tail. Otherwise only a gap can have made
                // promises longer, those of `listed_before`. These promises get the short tail again, except where the grant still has a
                // session.
                let was_uncut = self.uncut.contains(&relay);
                self.follow_cutting();
                let after_expiry = self.budget.tail(relay).saturating_add(MINT_SLACK);
                if was_uncut {
                    self.change_tails(relay, Tails::Lowered { after_expiry, listed, asked_at });
                } else {
                    let gone = listed_before.into_iter().filter(|id| !listed.contains(id));
                    gone.for_each(|id| self.grants.lower_tail(id, after_expiry, asked_at));
                    self.apply_effects();
                }
            }
        }
        let ends_all = self.budget.ends_calls(relay.source) || self.budget.ends_calls_of(relay);
        let to_end = listing.sessions.iter().filter(|session| ends_all || self.must_end(session));
        to_end.map(|session| session.id).collect()
    }

    /// After a start, what coturn's sessions may have relayed beyond their last figures is claimed as before.
    pub(super) fn restore_hidden(&mut self) {
        for (relay, usage) in &self.coturn {
            let source = relay.source;
            let (billed, rate) = (self.connections.rules.billed.of(source), self.budget.rate_at(source));
            let hidden = usage.sessions.hidden(usage.complete_at, rate).billed(billed);
            self.budget.with(*relay, |timeline| timeline.minutes.hidden = hidden);
        }
    }

    /// Whether a session must end for a reason of its own, even if the budget is not spent.
    fn must_end(&self, session: &Session) -> bool {
        if !session.grant.is_foreign() {
            return self.grant_end(session.grant, session.expires_at).is_some();
        }
        // A session of another program may go on after its credential has expired: coturn allows that, and nothing is promised for it.
        let row = self.grants.any(session.grant);
        let is_blocked = |user: &User| self.is_blocked(&SpenderKey::User(user.clone()));
        let is_over = |user: &User| is_blocked(user) || self.grants.is_over_limit_of(user);
        self.grants.is_revoked(session.grant) || row.and_then(GrantRow::user).is_some_and(is_over)
    }

    /// Gives a row, if there is room, to each listed credential of another program that knows the relay's secret. Nothing is promised for
    /// the credential, because the program does not ask the broker. The user of the row [is of the relay](User::at_relay), named as the part of
    /// the session's user name after the first colon, or by the whole name if there is no such part. The row has no user if the sums of users have no room for one.
    fn take_up_foreign(&mut self, relay: CountOwner, listing: &Listing) {
        let now = self.now();
        let sessions = listing.sessions.iter().chain(&listing.ended);
        for session in sessions.filter(|session| session.grant.is_foreign()) {
            if self.grants.knows(session.grant) || !self.grants.has_room_for_free() {
                continue;
            }
            let name = session.user.split_once(':').map_or("", |(_, name)| name);
            let user = User::at_relay(if name.is_empty() { &session.user } else { name });
            let user = user.filter(|user| {
                self.grants.has_room_for(&Limited::User(user.clone()), Named::WithoutMint, now)
            });
            let named_expiry = session.expires_at.unwrap_or_default();
            let expires_at = named_expiry.clamp(now.plus(FOREIGN_LIFE_MIN), now.plus(LIFE_MAX));
            let grant = Grant { id: session.grant, source: relay.source, issued_at: now, expires_at };
            let spender = Spender { user, ..Spender::default() }.known();
            self.grants.take_up(&grant, None, relay.issuer, spender);
        }
    }

    /// Counts what belongs to none of several relays: what is reported without a grant. Listings show none of these bytes, so the count is
    /// zero, except that the estimates of a gap stay. The count ends at the instant up to which every relay is counted. The instant of a
    /// relay without a complete listing is `None`, the smallest value, so then nothing is counted.
    fn carry_rest(&mut self, relay: CountOwner, is_after_gap: bool) {
        let relays = self.budget.cut_groups().into_iter().filter(|other| other.issuer.is_some());
        let counted_until = relays.map(|relay| self.coturn.get(&relay).map(|usage| usage.complete_at));
        if let Some(Some(as_of)) = counted_until.min() {
            let nothing = Carried { as_of, is_after_gap, ..Carried::default() };
            self.budget.carry_rest(relay.source, &nothing);
        }
    }

    /// Whether a listing shows that sessions were cut: it has no session of ours whose credential had expired more than [`CUT_TIME`] before
    /// the previous complete listing, at `seen_at`. A session whose grant was revoked plays no part before its credential has expired:
    /// until then the client can begin another session after each cut. So the promise of a revoked grant lasts until the expiry, too.
    fn is_cut(&self, listing: &Listing, seen_at: Timestamp) -> bool {
        let has_expired = |grant, expiry| match self.grants.expiry_of(grant, expiry) {
            Some(expiry) => expiry.plus(CUT_TIME) < seen_at,
            // A credential without a known expiry counts as expired, as in `grant_end`.
            None => true,
        };
        let is_ours = |session: &&Session| !session.grant.is_foreign();
        !listing.sessions.iter().filter(is_ours).any(|session| has_expired(session.grant, session.expires_at))
    }

    /// Sets whether a relay gets no new credentials because the operator wants its calls to come to an end.
    pub fn set_draining(&mut self, relay: CountOwner, is_draining: bool) {
        if is_draining {
            self.draining.insert(relay);
        } else {
            self.draining.remove(&relay);
        }
    }

    /// Whether the operator lets the calls of a relay come to an end.
    pub fn is_draining(&self, relay: CountOwner) -> bool {
        self.draining.contains(&relay)
    }

    /// What a relay carries, by its listings.
    pub fn relay_load(&self, relay: impl Into<CountOwner>) -> RelayLoad {
        self.coturn.get(&relay.into()).map(|usage| usage.load).unwrap_or_default()
    }

    /// Whether the sessions of a relay are not cut now, although its command line is set.
    pub fn is_uncut(&self, relay: impl Into<CountOwner>) -> bool {
        self.uncut.contains(&relay.into())
    }

    /// Why nothing more may be relayed for a grant; `None` while the grant may relay. `expiry`: the expiry in its credential.
    pub fn grant_end(&self, grant: GrantId, expiry: Option<Timestamp>) -> Option<GrantEnd> {
        let source = self.grants.any(grant).map_or(IceSource::Relay, |row| row.source);
        self.grants.end_of(grant, expiry, self.budget.ends_calls(source), self.now())
    }
}

#[cfg(test)]
#[path = "coturn_tests.rs"]
mod tests;
