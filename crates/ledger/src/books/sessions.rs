//! What a coturn lists, and which of its sessions are to end.

use std::time::Duration;

use super::Books;
use crate::coturn::listing::{Listing, SessionId};
use crate::coturn::sessions::to_cut;
use crate::grant_end::GrantEnd;
use crate::source::IceSource;
use crate::units::Timestamp;

/// A coturn that could not be asked for so long ends no sessions any more, as far as we are concerned.
const UNSEEN_TOLERATED: Duration = Duration::from_secs(15);

impl Books {
    /// Takes what a coturn lists, and says which of its sessions are to end: those whose grant is over or revoked, and all of
    /// ours when the budget is spent.
    pub fn take_sessions(&mut self, listing: &Listing, now: Timestamp) -> Vec<SessionId> {
        let now = self.advance(now);
        let period = self.ledger.figures().period;
        let used = self.ledger.used_of(IceSource::Coturn);
        let reading = self.coturn.get_mut().take(listing, now, period, used, self.estimator.rules());
        if let Some(reading) = reading {
            let _ = self.ledger.take_reading(IceSource::Coturn, &reading);
        }
        self.ledger.set_cutting(IceSource::Coturn, true);
        let is_spent = self.ledger.figures().is_spent();
        to_cut(listing, |grant, session| {
            GrantEnd::of(self.issued.get(grant), session.expires_at, is_spent, now).is_some()
        })
    }

    /// A coturn has taken the order to end these sessions.
    pub fn cut_sessions(&mut self, ids: &[SessionId], now: Timestamp) {
        let now = self.advance(now);
        self.coturn.get_mut().cut(ids, now);
    }

    /// A coturn could not be asked. Once that lasts, nobody is there who ends its sessions.
    pub fn miss_sessions(&mut self, now: Timestamp) {
        let now = self.advance(now);
        if now.since(self.coturn.get().looked_at()) > UNSEEN_TOLERATED {
            self.ledger.set_cutting(IceSource::Coturn, false);
        }
    }
}
