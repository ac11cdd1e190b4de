//! coturn's sessions: their usage, and which of them must end.

use std::time::Duration;

use super::{Books, Whole};
use crate::coturn::listing::{Listing, SessionId};
use crate::coturn::sessions::to_cut;
use crate::coturn::usage::{LISTING_GAP, ListingRead};
use crate::grants::{GrantEnd, LeastPromise};
use crate::minute::Minute;
use crate::source::{IceSource, MINT_SLACK};
use crate::token::GrantId;
use crate::units::Timestamp;

/// A coturn that has not answered for this long does not cut sessions. The same grace period applies after the start of the
/// process, because a compose file starts both at once.
pub const UNSEEN_TOLERATED: Duration = Duration::from_secs(15);

impl Books {
    /// Applies a coturn's session list. Returns the sessions that must end: those whose grant has expired or was revoked, and
    /// all of ours when the budget is spent.
    pub fn take_sessions(&mut self, listing: &Listing) -> Vec<SessionId> {
        let (now, period) = (self.now(), self.ledger.figures().period);
        let used = self.ledger.used_of(IceSource::Coturn);
        let seen_at = self.coturn.complete_at();
        let read = self.coturn.take(listing, now, period, used, self.connections.rules());
        let by_grant = self.coturn.take_by_grant();
        self.dirty.note(Whole::Coturn);
        self.dirty.note(Whole::Counted);
        let counted_until = read.map(|_| now);
        if let Some(ListingRead { reading, is_after_gap }) = read {
            if is_after_gap || self.clock_ahead() > UNSEEN_TOLERATED {
                self.extend_uncut(seen_at);
                self.ledger.keep_unseen(IceSource::Coturn);
                let counted = |id| by_grant.get(&id).map(|bytes| u128::from(bytes.get()));
                self.grants.assume(IceSource::Coturn, seen_at, now, counted);
            }
            let _ = self.ledger.take_reading(IceSource::Coturn, &reading);
        }
        self.grants.add_counts(IceSource::Coturn, &by_grant, counted_until, now);
        // A listing that does not show all sessions says as little about the others as none.
        if read.is_some() {
            self.set_cutting(self.coturn.cuts_work());
        } else {
            self.miss_sessions();
        }
        to_cut(listing, |grant, session| self.grant_end(grant, session.expires_at).is_some())
    }

    /// Notes that a coturn accepted the command to end these sessions.
    pub fn cut_sessions(&mut self, ids: &[SessionId]) {
        let now = self.now();
        self.coturn.cut(ids, now);
    }

    /// Notes that a coturn did not answer. After [`UNSEEN_TOLERATED`], its sessions count as not cut.
    pub fn miss_sessions(&mut self) {
        let seen_at = self.coturn.complete_at().max(self.opened_at);
        let unseen = self.now().since(seen_at);
        if unseen > UNSEEN_TOLERATED {
            self.set_cutting(false);
        } else if unseen.saturating_add(self.clock_ahead()) > UNSEEN_TOLERATED {
            self.extend_uncut(seen_at);
        }
    }

    /// Ends the short tail after a gap without a complete listing, before anything else acts on the time. A machine that was suspended
    /// cut no sessions, and its grants must not end by the short tail.
    pub(super) fn note_gap(&mut self) {
        let is_gap = self.now().since(self.coturn.complete_at()) > LISTING_GAP;
        if is_gap && self.ledger.is_cutting(IceSource::Coturn) {
            self.set_cutting(!is_gap);
        }
    }

    /// Sets the long tail for every grant whose sessions may not have been cut since `seen_at`: in a gap between listings, or
    /// while a jump of the wall clock is in doubt, which may be a pause of this machine.
    fn extend_uncut(&mut self, seen_at: Timestamp) {
        self.extend_tails(IceSource::Coturn, self.ledger.long_tail(IceSource::Coturn), seen_at);
    }

    /// Sets whether coturn's sessions are cut from now on. When cutting stops, every grant gets the long tail.
    fn set_cutting(&mut self, is_cutting: bool) {
        let stops = self.ledger.is_cutting(IceSource::Coturn) && !is_cutting;
        self.ledger.set_cutting(IceSource::Coturn, is_cutting);
        if stops {
            self.settle_tails_since(self.coturn.complete_at());
        }
    }

    /// Sets the tails of the grants after a start, since the settings may have changed. The short tail of a coturn holds only
    /// while a broker cuts its sessions, so the last listing must not be older than that tail.
    pub(super) fn settle_tails(&mut self) {
        let listed_ago = self.now().since(self.coturn.complete_at());
        if self.ledger.cut_tail(IceSource::Coturn).is_some_and(|tail| listed_ago <= tail) {
            self.ledger.set_cutting(IceSource::Coturn, true);
        }
        self.settle_tails_since(self.coturn.complete_at());
    }

    /// Extends every grant whose tail is shorter than the one that its source has now, also one whose tail is over. coturn's sessions
    /// were cut until `seen_at`, so what was over then stays over.
    fn settle_tails_since(&mut self, seen_at: Timestamp) {
        for (source, tail) in self.ledger.tails() {
            let since =
                if source == IceSource::Coturn { seen_at.min(self.now()) } else { Timestamp::default() };
            self.extend_tails(source, tail, since);
        }
    }

    /// Raises every promise of a source that is less than it would be now, unless it was over at `since`.
    pub(super) fn extend_tails(&mut self, source: IceSource, tail: Duration, since: Timestamp) {
        let per_minute = u64::try_from(self.ledger.assumed_rate().over_millis(Minute::MILLIS.into()));
        let per_minute = per_minute.unwrap_or(u64::MAX);
        let least = LeastPromise { after_expiry: tail + MINT_SLACK, per_minute };
        let raised = self.grants.raise(source, least, since);
        self.ledger.apply_all(raised);
    }

    /// Whether and why nothing more is relayed for a grant. `expiry`: the expiry in its credential.
    #[must_use]
    pub fn grant_end(&self, grant: GrantId, expiry: Option<Timestamp>) -> Option<GrantEnd> {
        let figures = self.ledger.figures();
        self.grants.end_of(grant, expiry, figures.is_spent(), figures.now)
    }
}

#[cfg(test)]
#[path = "sessions_tests.rs"]
mod tests;
