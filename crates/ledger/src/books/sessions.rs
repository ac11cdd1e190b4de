//! Sessions of a relay: what coturn lists, and which sessions must end.

use std::time::Duration;

use super::{Books, Whole};
use crate::coturn::listing::{Listing, SessionId};
use crate::coturn::sessions::to_cut;
use crate::grants::GrantEnd;
use crate::source::IceSource;
use crate::token::GrantId;
use crate::units::Timestamp;

/// A coturn that could not be asked for so long does not cut sessions. The same grace holds after the start of the process:
/// a compose file starts both at once.
pub const UNSEEN_TOLERATED: Duration = Duration::from_secs(15);

impl Books {
    /// Takes what a coturn lists, and returns the sessions that must end: those whose grant is over or revoked, and all of
    /// ours when the budget is spent.
    pub fn take_sessions(&mut self, listing: &Listing) -> Vec<SessionId> {
        let (now, period) = (self.now(), self.ledger.figures().period);
        let used = self.ledger.used_of(IceSource::Coturn);
        let reading = self.coturn.take(listing, now, period, used, self.connections.rules());
        self.dirty.note(Whole::Coturn);
        if let Some(reading) = reading {
            let _ = self.ledger.take_reading(IceSource::Coturn, &reading);
        }
        self.ledger.set_cutting(IceSource::Coturn, true);
        to_cut(listing, |grant, session| self.grant_end(grant, session.expires_at).is_some())
    }

    /// A coturn has accepted the command to end these sessions.
    pub fn cut_sessions(&mut self, ids: &[SessionId]) {
        let now = self.now();
        self.coturn.cut(ids, now);
    }

    /// A coturn could not be asked. After [`UNSEEN_TOLERATED`], its sessions count as not cut.
    pub fn miss_sessions(&mut self) {
        let seen_at = self.coturn.complete_at().max(self.opened_at);
        if self.now().since(seen_at) > UNSEEN_TOLERATED {
            self.ledger.set_cutting(IceSource::Coturn, false);
        }
    }

    /// Whether and why nothing more is relayed for a grant. `said`: the expiry in its credential.
    #[must_use]
    pub fn grant_end(&self, grant: GrantId, said: Option<Timestamp>) -> Option<GrantEnd> {
        let figures = self.ledger.figures();
        self.grants.end_of(grant, said, figures.is_spent(), figures.now)
    }
}
