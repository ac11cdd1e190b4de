//! coturn's sessions: their usage, and which of them must end. Tests: `src/books/coturn_tests.rs`.

use std::time::Duration;

use super::Books;
use crate::coturn::listing::{Listing, SessionId};
use crate::coturn::sessions::to_cut;
use crate::grants::row::GrantEnd;
use crate::lacking::LackCause;
use crate::source::{IceSource, MINT_SLACK};
use crate::token::GrantId;
use crate::units::Timestamp;
use crate::units::slot::Minute;

/// A session whose credential expired this long before a complete listing must be missing from the next one. Else sessions are not cut.
const CUT_TIME: Duration = Duration::from_secs(10);

impl Books {
    /// Applies a coturn's session list. Returns the sessions that must end: those whose grant has expired or was revoked, and
    /// all of ours when the budget is spent. `asked_at`: when coturn was asked. A session that began while the listing was on its way may
    /// be missing from it, so only what was relayed before counts as seen.
    pub fn take_sessions(&mut self, mut listing: Listing, asked_at: Timestamp) -> Vec<SessionId> {
        let now = self.now();
        listing.is_complete &= self.may_count();
        let listing = &listing;
        let seen_at = self.coturn.complete_at;
        if listing.is_complete && self.coturn.has_gap(asked_at) {
            // coturn lets a session go on as long as its client refreshes it. One that ended meanwhile is not shown any more.
            for grant in self.coturn.sessions.grants() {
                self.grants.extend_promise(grant, Minute::from_end(asked_at));
            }
        }
        self.settle();
        let reset = self.ledger.period().start;
        let rules = self.connections.rules();
        if let Some((carried, by_grant)) = self.coturn.take(listing, asked_at, rules, reset) {
            if carried.is_after_gap {
                let counted = |id, _| by_grant.get(&id).map(|bytes| u128::from(bytes.get()));
                self.grants.assume(IceSource::Coturn, seen_at, asked_at, counted);
            }
            self.ledger.carry(IceSource::Coturn, &carried);
            self.grants.add_counts(IceSource::Coturn, &by_grant, asked_at);
            self.judge_all(IceSource::Coturn);
            if self.is_cut(listing, seen_at) {
                self.ledger.set_cut_until(IceSource::Coturn, now);
                self.follow_cutting();
            }
        }
        to_cut(listing, |grant, session| self.grant_end(grant, session.expires_at).is_some())
    }

    /// Notes that a coturn accepted the command to end these sessions.
    pub fn cut_sessions(&mut self, ids: &[SessionId]) {
        let now = self.now();
        self.coturn.sessions.cut(ids, now);
    }

    /// Whether a listing shows that sessions were cut: it has none whose credential had expired more than [`CUT_TIME`] before the
    /// previous complete listing, at `seen_at`. A session of a revoked grant shows nothing. Its holder can begin another one after each
    /// cut until the credential expires, so its promise lasts until then.
    fn is_cut(&self, listing: &Listing, seen_at: Timestamp) -> bool {
        let has_expired = |grant, expiry: Option<Timestamp>| {
            let expiry = self.grants.expiry_of(grant, expiry);
            expiry.is_none_or(|expiry| expiry.plus(CUT_TIME) < seen_at)
        };
        let mut ours =
            listing.sessions.iter().filter_map(|session| Some((session.grant?, session.expires_at)));
        !ours.any(|(grant, expiry)| has_expired(grant, expiry))
    }

    /// Raises every promise at coturn to the long tail once its sessions are not cut any more, before anything else acts on the time:
    /// also at a start, and after the machine was suspended. None is lowered again. What was over when sessions were last seen cut stays
    /// over.
    pub(super) fn follow_cutting(&mut self) {
        let source = IceSource::Coturn;
        let is_uncut = self.ledger.cut_tail(source).is_some() && !self.ledger.is_cut(source);
        if is_uncut && !self.is_uncut {
            self.raise_tails(source, self.ledger.long_tail(source), self.ledger.cut_until(source));
        }
        self.is_uncut = is_uncut;
    }

    /// Extends every grant whose tail is shorter than the one that its source has now, also one whose tail is over: the settings may
    /// have changed. coturn's sessions were cut until a known time, so what was over then stays over.
    pub(super) fn extend_tails(&mut self) {
        for (source, tail) in self.ledger.tails() {
            self.raise_tails(source, tail, self.ledger.cut_until(source));
        }
    }

    /// Raises every promise of a source that is less than it would be now, unless it was over at `since`.
    pub(super) fn raise_tails(&mut self, source: IceSource, tail: Duration, since: Timestamp) {
        let (after_expiry, per_minute) =
            (tail.saturating_add(MINT_SLACK), self.ledger.assumed_rate().per_minute());
        self.grants.raise_tails(source, after_expiry, per_minute, since);
        self.settle();
        self.lack_dropped(source, tail, since);
    }

    /// With this tail, grants may relay that have left the table, and were not over at `since`.
    fn lack_dropped(&mut self, source: IceSource, tail: Duration, since: Timestamp) {
        let may_relay = self.grants.may_relay_until(source, tail.saturating_add(MINT_SLACK), since);
        if let Some(until) = may_relay.filter(|until| *until > self.now()) {
            self.lack_until(until, LackCause::Restored);
        }
    }

    /// Whether and why nothing more is relayed for a grant. `expiry`: the expiry in its credential.
    pub fn grant_end(&self, grant: GrantId, expiry: Option<Timestamp>) -> Option<GrantEnd> {
        let figures = self.ledger.figures();
        self.grants.end_of(grant, expiry, figures.is_spent(), figures.now)
    }
}

#[cfg(test)]
#[path = "coturn_tests.rs"]
mod tests;
