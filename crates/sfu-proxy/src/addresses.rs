//! How many sessions and tracks one address may open and have. The bounds of an IPv6 /48 are four times those of an address.

use std::collections::BTreeSet;
use std::time::Duration;

use turn_ledger::ClientKey;
use turn_limits::{Bucket, Held, PerAddress, Rate};

use super::SessionId;
use super::fault::Fault;

/// Sessions of one address. A page has one, so this is a large office.
pub(crate) const PER_ADDRESS_MAX: usize = 64;
/// Tracks and data channels of all sessions.
pub(crate) const TRACKS_MAX: usize = 131_072;
/// Tracks and data channels of the sessions of one address: a sixteenth of those of all.
pub(crate) const TRACKS_PER_ADDRESS_MAX: usize = TRACKS_MAX / 16;
/// New sessions of one address. A page that cannot connect asks again after 0.25 to 10 s.
pub(crate) const NEW_SESSIONS: Rate = Rate::per_second(20, 1);
/// Addresses that have a rate of their own, half for each address family.
pub(crate) const ADDRESSES_MAX: usize = 65_536;

/// The sessions of one address, or of one group of addresses.
#[derive(Clone, Debug, Default)]
struct AddressRow {
    sessions: BTreeSet<SessionId>,
    /// Sessions that are being opened.
    reserved: usize,
}

/// All addresses. One without sessions has no row.
#[derive(Clone, Debug)]
pub(super) struct Addresses {
    held: Held<AddressRow>,
    new_sessions: PerAddress<Bucket>,
}

impl Default for Addresses {
    fn default() -> Self {
        Self { held: Held::default(), new_sessions: PerAddress::new(ADDRESSES_MAX) }
    }
}

impl Addresses {
    /// Charges one new session to the rate of an address and of its group.
    pub(super) fn charge(&mut self, address: ClientKey, now: Duration) -> Result<(), Fault> {
        let taken = self.new_sessions.take(address, NEW_SESSIONS, now);
        taken.map_err(|_| Fault::TooManySessions { retry_in: Duration::from_secs(1) })
    }

    /// The key of the address or its group that has as many sessions as it may; `None` if there is room.
    pub(super) fn full(&self, address: ClientKey) -> Option<ClientKey> {
        let is_full = |row: &AddressRow, factor| {
            row.sessions.len().saturating_add(row.reserved) >= PER_ADDRESS_MAX.saturating_mul(factor)
        };
        self.held.full(address, is_full)
    }

    /// The sessions of an address or a group.
    pub(super) fn sessions(&self, key: ClientKey) -> impl Iterator<Item = &SessionId> {
        self.held.get(key).into_iter().flat_map(|row| &row.sessions)
    }

    /// Whether the sessions of an address, or of its group, have room for so many more tracks.
    pub(super) fn has_room(
        &self,
        address: ClientKey,
        more: usize,
        tracks_of: impl Fn(&SessionId) -> usize,
    ) -> bool {
        let is_full = |row: &AddressRow, factor| {
            let tracks: usize = row.sessions.iter().map(&tracks_of).sum();
            tracks.saturating_add(more) > TRACKS_PER_ADDRESS_MAX.saturating_mul(factor)
        };
        self.held.full(address, is_full).is_none()
    }

    pub(super) fn reserve(&mut self, address: ClientKey) {
        self.change(address, |row| row.reserved = row.reserved.saturating_add(1));
    }

    pub(super) fn release(&mut self, address: ClientKey) {
        self.change(address, |row| row.reserved = row.reserved.saturating_sub(1));
    }

    pub(super) fn insert(&mut self, address: ClientKey, session: &SessionId) {
        self.change(address, |row| {
            row.sessions.insert(session.clone());
        });
    }

    pub(super) fn remove(&mut self, address: ClientKey, session: &SessionId) {
        self.change(address, |row| {
            row.sessions.remove(session);
        });
    }

    /// Forgets addresses whose rate is not used.
    pub(super) fn sweep(&mut self, now: Duration) {
        self.new_sessions.sweep(now);
    }

    #[cfg(test)]
    pub(super) fn is_empty(&self) -> bool {
        self.held.is_empty() && self.new_sessions.is_empty()
    }

    fn change(&mut self, address: ClientKey, change: impl Fn(&mut AddressRow)) {
        self.held.change(address, |row| {
            change(row);
            !row.sessions.is_empty() || row.reserved > 0
        });
    }
}
