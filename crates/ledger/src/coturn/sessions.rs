//! The bytes of coturn's sessions, per grant and in total, from successive listings. The sums never decrease and are
//! never less than the counts that coturn has shown. Bytes that coturn does not show yet are estimated from earlier
//! ones. coturn (4.6.1, measured) updates a session's counts after each 2,048 packets between relay and client; before
//! the first 2,048, also on each request other than a send. When a session ends, its unshown packets are lost. So:
//!
//! - While a session lives, up to 2,047 packets are hidden: 0.2 MB with packets of 100 bytes, 2.5 MB with packets of
//!   1,200. They are charged at the session's last rate, but never more than 2,047 packets of its last mean size.
//! - A session that has ended is charged in the same way, and at its last rate until the listing that misses it or until
//!   our cut, for 10 minutes at most. If its counts had not changed for a while, it counts as idle.
//! - A session without a measured rate is charged `default_rate` from the time that it has a channel to a peer, up to 2,047
//!   packets of 1,200 bytes. With permissions only it is charged nothing: browsers open many such sessions and never
//!   use them.
//! - An estimate is charged once: nothing is added until the counts exceed it. So a session is overcharged by at most
//!   one estimate, however long it lives.
//!
//! At worst, these bytes are not charged: sessions that began and ended between two listings, a session with permissions
//! only (2,047 packets), and traffic above the last rate just before a session ends.
#![cfg_attr(not(test), warn(clippy::arithmetic_side_effects))]

mod row;

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::listing::{Listing, SESSIONS_MAX, Session, SessionId};
use crate::{BitRate, Dirty, GrantId, Timestamp, Traffic};

pub use row::SessionRow;

/// Most packets of a session that coturn does not show (4.6.1, measured).
pub const HIDDEN_PACKETS_MAX: u64 = 2_047;
/// The longest time for which a session that ended between two listings is charged at its last rate. coturn ends an
/// allocation that is not refreshed after 10 minutes.
pub const UNWATCHED_MAX: Duration = Duration::from_secs(600);
/// coturn's sessions that are not known to have ended, and the sums over all sessions.
#[derive(Clone, Debug, Default)]
pub struct Sessions {
    sums: SessionSums,
    /// At most [`SESSIONS_MAX`] after each listing.
    rows: BTreeMap<SessionId, SessionRow>,
    dirty: Dirty<SessionId>,
}

/// The stored sums over all sessions.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct SessionSums {
    total: Traffic,
    looked_at: Option<Timestamp>,
    /// The time of the last listing that showed all sessions.
    complete_at: Timestamp,
}

impl SessionSums {
    /// The time of the last listing that showed all sessions; 1970 before the first.
    #[must_use]
    pub fn complete_at(&self) -> Timestamp {
        self.complete_at
    }
}

/// The charges of one listing.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SessionDelta {
    /// All charges since the ledger was created, including other users' sessions on the same coturn. Never decreases.
    pub total: Traffic,
    /// The charges of this listing by grant; `None` holds other users' sessions. No row is zero.
    pub added: BTreeMap<Option<GrantId>, Traffic>,
    /// What coturn has newly shown of our sessions. The rest of the charges is estimated.
    pub shown: Traffic,
    /// Sessions that are not known to have ended.
    pub live: usize,
    /// Sessions that had ended by this listing and were last seen longer than [`UNWATCHED_MAX`] ago, because the broker
    /// was not running or coturn did not answer. They may have carried more than was charged.
    pub ended_unwatched: usize,
}

impl Sessions {
    /// The sessions as stored. From here on, changes are recorded.
    #[must_use]
    pub fn restore(sums: SessionSums, stored: BTreeMap<SessionId, SessionRow>) -> Self {
        let mut rows = stored;
        for row in rows.values_mut() {
            // The row of an unchanged session is not stored again. The last complete listing showed it too.
            row.seen_at = row.seen_at.max(sums.complete_at);
        }
        Self { sums, rows, dirty: Dirty::tracking() }
    }

    /// Sessions that have changed since the last call; `None` for one that has ended.
    pub fn take_changes(&mut self) -> BTreeMap<SessionId, Option<SessionRow>> {
        let changed = self.dirty.take().into_keys();
        changed.map(|id| (id, self.rows.get(&id).cloned())).collect()
    }

    /// The sums over all sessions, for storing.
    #[must_use]
    pub fn sums(&self) -> SessionSums {
        self.sums
    }

    /// Takes the listing at `at`. An `at` before the last listing counts as the last listing's time. A session in the first
    /// listing is charged from its own start. `default_rate` is the rate in each direction of a session without a measured rate.
    pub fn take(&mut self, listing: &Listing, at: Timestamp, default_rate: BitRate) -> SessionDelta {
        let at = self.sums.looked_at.map_or(at, |last| last.max(at));
        self.sums.looked_at = Some(at);
        let mut delta = SessionDelta::default();
        let mut listed = BTreeSet::new();
        for session in &listing.sessions {
            listed.insert(session.id);
            let reused = self.rows.get(&session.id).is_some_and(|row| !row.is_of(session));
            if reused {
                self.end(session.id, at, default_rate, &mut delta);
            }
            let before = self.rows.get(&session.id).map_or(Traffic::ZERO, |row| row.traffic);
            if session.grant.is_some() {
                delta.shown = delta.shown.plus(session.traffic.minus(before));
            }
            let added = self.update(session, at, default_rate);
            self.add(session.grant, added, &mut delta);
        }
        // Rows of sessions that are neither listed nor known to have ended must not accumulate.
        if listing.is_complete || self.rows.len() > SESSIONS_MAX {
            let missing: Vec<_> = self.rows.keys().filter(|id| !listed.contains(id)).copied().collect();
            for id in missing {
                self.end(id, at, default_rate, &mut delta);
            }
        }
        if listing.is_complete {
            self.sums.complete_at = at;
        }
        delta.total = self.sums.total;
        delta.live = self.rows.len();
        delta
    }

    /// Removes sessions that were not seen for so long.
    pub fn forget_unseen(&mut self, now: Timestamp, longest: Duration) {
        let dirty = &mut self.dirty;
        self.rows.retain(|id, row| {
            let is_unseen = now.since(row.seen_at) > longest;
            if is_unseen {
                dirty.note_removed(*id);
            }
            !is_unseen
        });
    }

    /// Notes that coturn accepted the command to end these sessions at `at`. If the next listing misses them, they are
    /// charged nothing after that.
    pub fn cut(&mut self, ids: &[SessionId], at: Timestamp) {
        for id in ids {
            if let Some(row) = self.rows.get_mut(id) {
                row.cut_at = Some(at);
                self.dirty.note(*id);
            }
        }
    }

    /// Takes one listed session. Returns its new charges.
    fn update(&mut self, session: &Session, at: Timestamp, default_rate: BitRate) -> Traffic {
        let stored = self.rows.get(&session.id).cloned();
        let row = self.rows.entry(session.id).or_insert_with(|| SessionRow::new(session, at));
        row.update(session, at);
        let added = row.charge(row.traffic.plus(row.hidden(at, default_rate)));
        match stored {
            None => self.dirty.note_added(session.id),
            Some(before) if row.has_changed_since(&before) => self.dirty.note(session.id),
            Some(_) => {}
        }
        added
    }

    fn end(&mut self, id: SessionId, at: Timestamp, default_rate: BitRate, delta: &mut SessionDelta) {
        let Some(mut row) = self.rows.remove(&id) else { return };
        self.dirty.note_removed(id);
        let at = row.cut_at.map_or(at, |cut| cut.min(at));
        let added = row.charge(row.at_its_end(at, default_rate));
        if at.since(row.seen_at) > UNWATCHED_MAX {
            delta.ended_unwatched = delta.ended_unwatched.saturating_add(1);
        }
        self.add(row.grant, added, delta);
    }

    fn add(&mut self, grant: Option<GrantId>, added: Traffic, delta: &mut SessionDelta) {
        if added != Traffic::ZERO {
            self.sums.total = self.sums.total.plus(added);
            let sum = delta.added.entry(grant).or_default();
            *sum = sum.plus(added);
        }
    }
}

/// The sessions to end: ours for which `is_dead` holds, and a forger with a grant of ours. Other users' sessions are
/// never included.
#[must_use]
pub fn to_cut(listing: &Listing, is_dead: impl Fn(GrantId, &Session) -> bool) -> Vec<SessionId> {
    let dead = |session: &&Session| session.grant.is_some_and(|grant| is_dead(grant, session));
    let dead = listing.sessions.iter().filter(dead);
    let forger = listing.forger.filter(|forger| forger.grant.is_some());
    dead.map(|session| session.id).chain(forger.map(|forger| forger.id)).collect()
}

#[cfg(test)]
#[path = "sessions_tests.rs"]
mod tests;
