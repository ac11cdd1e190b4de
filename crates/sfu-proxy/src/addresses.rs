//! How many sessions and tracks one address or user may open and have. The bounds of an IPv6 /48 are four times those of an address, and
//! those of the users of an address ten times.

use std::collections::BTreeSet;
use std::time::Duration;

use turn_ledger::ClientKey;
use turn_limits::{Held, Holder, PerHolder, Rate, SHARES, Share};

use super::fault::Fault;
use super::session_id::SessionId;

/// Sessions of one address or user. A page has one, so this is a large office.
pub(crate) const PER_ADDRESS_MAX: usize = 64;
/// Tracks and data channels of all sessions.
pub(crate) const TRACKS_MAX: usize = SHARES * TRACKS_PER_ADDRESS_MAX;
/// Tracks and data channels of the sessions of one address or user.
pub(crate) const TRACKS_PER_ADDRESS_MAX: usize = 8_192;
/// New sessions of one address or user. A page that cannot connect asks again after 0.25 to 10 s.
pub(crate) const NEW_SESSIONS: Rate = Rate::per_second(20, 1);
/// Addresses that have a rate of their own, half for each address family.
pub(crate) const ADDRESSES_MAX: usize = 65_536;

/// The sessions that count in one share.
#[derive(Clone, Debug, Default)]
struct ShareRow {
    sessions: BTreeSet<SessionId>,
    /// Sessions that are being opened.
    reserved: usize,
}

/// All holders. One without sessions has no row.
#[derive(Clone, Debug)]
pub(super) struct Addresses {
    held: Held<ShareRow>,
    new_sessions: PerHolder,
}

impl Default for Addresses {
    fn default() -> Self {
        Self { held: Held::default(), new_sessions: PerHolder::new(NEW_SESSIONS, ADDRESSES_MAX) }
    }
}

impl Addresses {
    /// Charges one new session to the rate of a holder.
    pub(super) fn charge(&mut self, holder: &Holder, now: Duration) -> Result<(), Fault> {
        let taken = self.new_sessions.take(holder, 1, now);
        taken.map_err(|_| Fault::TooManySessions { retry_in: Duration::from_secs(1) })
    }

    /// The share that has as many sessions as it may; `None` if there is room.
    pub(super) fn full(&self, holder: &Holder) -> Option<Share> {
        let is_full = |row: &ShareRow, factor| {
            row.sessions.len().saturating_add(row.reserved) >= PER_ADDRESS_MAX.saturating_mul(factor)
        };
        self.held.full(holder, is_full)
    }

    /// The sessions of a share.
    pub(super) fn sessions(&self, share: &Share) -> impl Iterator<Item = &SessionId> + use<'_> {
        self.held.get(share).into_iter().flat_map(|row| &row.sessions)
    }

    /// The sessions of an address, those of its users too.
    pub(super) fn sessions_at(&self, address: ClientKey) -> impl Iterator<Item = &SessionId> {
        [Share::Client(address), Share::UsersOf(address)].into_iter().flat_map(|share| self.sessions(&share))
    }

    /// Whether the sessions of a holder have room for so many more tracks.
    pub(super) fn has_room(
        &self,
        holder: &Holder,
        more: usize,
        tracks_of: impl Fn(&SessionId) -> usize,
    ) -> bool {
        let is_full = |row: &ShareRow, factor| {
            let tracks: usize = row.sessions.iter().map(&tracks_of).sum();
            tracks.saturating_add(more) > TRACKS_PER_ADDRESS_MAX.saturating_mul(factor)
        };
        self.held.full(holder, is_full).is_none()
    }

    pub(super) fn reserve(&mut self, holder: &Holder) {
        self.change(holder, |row| row.reserved = row.reserved.saturating_add(1));
    }

    pub(super) fn release(&mut self, holder: &Holder) {
        self.change(holder, |row| row.reserved = row.reserved.saturating_sub(1));
    }

    pub(super) fn insert(&mut self, holder: &Holder, session: &SessionId) {
        self.change(holder, |row| {
            row.sessions.insert(session.clone());
        });
    }

    pub(super) fn remove(&mut self, holder: &Holder, session: &SessionId) {
        self.change(holder, |row| {
            row.sessions.remove(session);
        });
    }

    /// Forgets those whose rate is not used.
    pub(super) fn sweep(&mut self, now: Duration) {
        self.new_sessions.sweep(now);
    }

    #[cfg(test)]
    pub(super) fn is_empty(&self) -> bool {
        self.held.is_empty() && self.new_sessions.is_empty()
    }

    fn change(&mut self, holder: &Holder, change: impl Fn(&mut ShareRow)) {
        self.held.change(holder, |row| {
            change(row);
            !row.sessions.is_empty() || row.reserved > 0
        });
    }
}
