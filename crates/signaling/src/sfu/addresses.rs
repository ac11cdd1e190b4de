//! How many sessions one address may open and have. The bounds of an IPv6 /48 are four times those of an address. An address
//! without sessions is forgotten once its rate allowance is full.

use std::collections::{BTreeSet, HashMap};
use std::time::Duration;

use turn_ledger::ClientKey;

use super::SessionId;
use super::fault::Fault;
use crate::allowance::{Allowance, MessageRate};

/// Sessions of one address. A page has one, so this is a large office.
pub const PER_ADDRESS_MAX: usize = 64;
/// New sessions of one address. A page that cannot connect asks again after 0.25 to 10 s.
pub const NEW_SESSIONS: MessageRate = MessageRate { per_second: 1, burst: 20 };
/// Addresses in the table.
pub const ADDRESSES_MAX: usize = 65_536;

/// What one address, or one group of addresses, has.
#[derive(Clone, Debug, Default)]
struct Row {
    sessions: BTreeSet<SessionId>,
    /// Sessions that are being opened.
    reserved: usize,
    new_sessions: Allowance,
}

impl Row {
    fn is_unused(&self, now: Duration) -> bool {
        self.sessions.is_empty() && self.reserved == 0 && self.new_sessions.is_full(now)
    }
}

/// All addresses.
#[derive(Clone, Debug, Default)]
pub(super) struct Addresses(HashMap<ClientKey, Row>);

impl Addresses {
    /// Charges one new session to the rate of an address and of its group.
    pub(super) fn charge(&mut self, address: ClientKey, now: Duration) -> Result<(), Fault> {
        for key in address.with_wider() {
            let MessageRate { per_second, burst } = NEW_SESSIONS;
            let factor = key.factor();
            let rate = MessageRate { per_second: per_second * factor, burst: burst * factor };
            if self.0.len() >= ADDRESSES_MAX && !self.0.contains_key(&key) {
                return Err(Fault::Full);
            }
            if !self.0.entry(key).or_default().new_sessions.take(rate, now) {
                return Err(Fault::TooManySessions { retry_in: Duration::from_secs(1) });
            }
        }
        Ok(())
    }

    /// The key of the address or its group that has as many sessions as it may; `None` if there is room.
    pub(super) fn full(&self, address: ClientKey) -> Option<ClientKey> {
        address.with_wider().find(|key| {
            let max = PER_ADDRESS_MAX.saturating_mul(usize::try_from(key.factor()).unwrap_or(1));
            self.0.get(key).is_some_and(|row| row.sessions.len().saturating_add(row.reserved) >= max)
        })
    }

    /// The sessions of an address or a group.
    pub(super) fn sessions(&self, key: ClientKey) -> impl Iterator<Item = &SessionId> {
        self.0.get(&key).into_iter().flat_map(|row| &row.sessions)
    }

    pub(super) fn reserve(&mut self, address: ClientKey) {
        self.each(address, |row| row.reserved = row.reserved.saturating_add(1));
    }

    pub(super) fn release(&mut self, address: ClientKey) {
        self.each(address, |row| row.reserved = row.reserved.saturating_sub(1));
    }

    pub(super) fn insert(&mut self, address: ClientKey, session: &SessionId) {
        self.each(address, |row| {
            row.sessions.insert(session.clone());
        });
    }

    pub(super) fn remove(&mut self, address: ClientKey, session: &SessionId) {
        self.each(address, |row| {
            row.sessions.remove(session);
        });
    }

    /// Forgets addresses that are not used.
    pub(super) fn sweep(&mut self, now: Duration) {
        self.0.retain(|_, row| !row.is_unused(now));
    }

    #[cfg(test)]
    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    fn each(&mut self, address: ClientKey, change: impl Fn(&mut Row)) {
        for key in address.with_wider() {
            change(self.0.entry(key).or_default());
        }
    }
}
