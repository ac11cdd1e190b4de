//! The bytes of coturn's sessions, per grant and in total, from successive listings. Tests: `src/coturn/sessions_tests.rs`.
//! The sums never decrease and are never less than the counts that coturn has shown. Bytes that coturn does not show yet are estimated from
//! earlier ones. coturn (4.6.1, measured) updates a session's counts after each 2,048 packets between relay and client; before the first
//! 2,048, also on each request other than a send. When a session ends, its unshown packets are lost. So:
//!
//! - While a session lives, up to 2,047 packets are hidden: 0.2 MB with packets of 100 bytes, 2.5 MB with packets of
//!   1,200. They are charged at the session's last rate, but never more than 2,047 packets of its last mean size.
//! - A session that has ended is charged in the same way, and at its last rate until the listing that misses it or until
//!   our cut, for 10 minutes at most. If its counts had not changed for a while, it counts as idle.
//! - A session without a measured rate is charged `default_rate` from the time that it has a channel to a peer, up to 2,047
//!   packets of 1,200 bytes. With permissions only it is charged nothing: browsers open many such sessions and never
//!   use them.
//! - An estimate is charged once a day: nothing is added until the counts exceed it. So a session is overcharged by at most one
//!   estimate on each day that it lives.
//!
//! At worst, these bytes are not charged: those of sessions that began and ended between two listings, those of a session with permissions
//! only (2,047 packets), those by which packets are larger than the estimate assumes (16 KB each at most to a client), and those above the
//! last rate just before a session ends. To assume 16 KB for each hidden packet would charge each idle session of a browser for 33.5 MB:
//! at 2 Mbps, after 134 s.
//!
//! After a restart of coturn, the new session of a client can be taken for its old one: if the old one was older by at most 5 s, and the
//! new one gets the same number and has relayed more by the next listing. Then the old bytes are subtracted from the new ones.

mod row;

pub use row::*;

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use turn_budget::{BitRate, CountOwner, Dirty, GrantId, Interval, Timestamp, Traffic};

use super::{Listing, Session, SessionId};

/// A session among those of all relays: each relay numbers its sessions from 1.
pub type SessionKey = (CountOwner, SessionId);

/// The sessions of one coturn that are not known to have ended.
#[derive(Clone, Debug, Default)]
pub struct Sessions {
    /// At most [`SESSIONS_MAX`](super::listing::SESSIONS_MAX).
    rows: BTreeMap<SessionId, SessionRow>,
    dirty: Dirty<SessionId>,
}

/// The charges of one listing.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SessionDelta {
    /// The charges by grant, without those before `reset`. No row is zero.
    pub added: BTreeMap<GrantId, Traffic>,
    /// What coturn has newly shown of our sessions, without any estimate, by grant.
    pub shown: BTreeMap<GrantId, Traffic>,
    /// The charges before `reset`, of all sessions.
    pub before: Traffic,
    /// The reset since the listing before, at which the charges are divided.
    reset: Option<Timestamp>,
}

impl Sessions {
    /// The sessions as stored. From here on, changes are recorded. `complete_at`: the time of the last listing that showed all of them.
    pub fn restore(complete_at: Timestamp, mut rows: BTreeMap<SessionId, SessionRow>) -> Self {
        for row in rows.values_mut() {
            // The row of an unchanged session is not stored again. The last complete listing showed it too.
            row.seen_at = row.seen_at.max(complete_at);
        }
        Self { rows, dirty: Dirty::default() }
    }

    /// Sessions that have changed since the last call; `None` for one that has ended.
    pub fn take_changes(&mut self) -> BTreeMap<SessionId, Option<SessionRow>> {
        let changed = self.dirty.take().into_keys();
        changed.map(|id| (id, self.rows.get(&id).cloned())).collect()
    }

    /// Takes the complete listing at `at`, which is not before the last one's time. A session that no earlier listing showed is charged
    /// from its own start. `default_rate` is the rate in each direction of a session without a measured rate. `reset`: a reset since the
    /// last listing, at which each session's charges are divided in proportion to the time.
    pub fn take(
        &mut self,
        listing: &Listing,
        at: Timestamp,
        default_rate: BitRate,
        reset: Option<Timestamp>,
    ) -> SessionDelta {
        let mut delta = SessionDelta { reset, ..SessionDelta::default() };
        let mut listed = BTreeSet::new();
        for session in &listing.sessions {
            listed.insert(session.id);
            let reused = self.rows.get(&session.id).is_some_and(|row| !row.is_of(session));
            if reused {
                self.end(session.id, at, default_rate, &mut delta);
            }
            let before = self.rows.get(&session.id).map_or(Traffic::ZERO, |row| row.traffic);
            if !session.grant.is_foreign() {
                let shown = delta.shown.entry(session.grant).or_default();
                *shown = shown.plus(session.traffic.minus(before));
            }
            self.update(session, at, default_rate, &mut delta);
        }
        let missing: Vec<_> = self.rows.keys().filter(|id| !listed.contains(id)).copied().collect();
        for id in missing {
            self.end(id, at, default_rate, &mut delta);
        }
        delta
    }

    /// Begins a day. The estimates of the day before cover nothing of this one: packets that coturn shows from now on are charged in full.
    /// Removes sessions that were not seen for longer than `longest`.
    pub fn begin_day(&mut self, now: Timestamp, longest: Duration) {
        let dirty = &mut self.dirty;
        self.rows.retain(|id, row| {
            let is_unseen = now.since(row.seen_at) > longest;
            if is_unseen {
                dirty.note_removed(*id);
            } else if row.forget_estimate() {
                dirty.note(*id);
            }
            !is_unseen
        });
    }

    /// Notes that coturn accepted the command to end these sessions at `at`. If the next listing misses them, they are charged nothing
    /// after `at`.
    pub fn cut(&mut self, ids: &[SessionId], at: Timestamp) {
        for id in ids {
            if let Some(row) = self.rows.get_mut(id) {
                row.cut_at = Some(at);
                self.dirty.note(*id);
            }
        }
    }

    /// The grants of our sessions that the last complete listing showed.
    pub(crate) fn grants(&self) -> BTreeSet<GrantId> {
        self.rows.values().map(|row| row.grant).filter(|grant| !grant.is_foreign()).collect()
    }

    /// Whether some sessions are of other programs that know the relay's secret.
    pub(crate) fn has_foreign(&self) -> bool {
        self.rows.values().any(|row| row.grant.is_foreign())
    }

    /// Takes one listed session.
    fn update(&mut self, session: &Session, at: Timestamp, default_rate: BitRate, delta: &mut SessionDelta) {
        let earlier = self.rows.get(&session.id).cloned();
        let row = self.rows.entry(session.id).or_insert_with(|| SessionRow::new(session, at));
        let since = row.seen_at;
        row.update(session, at);
        let added = row.charge(row.traffic.plus(row.hidden(at, default_rate)));
        match earlier {
            None => self.dirty.note_added(session.id),
            Some(before) if row.has_changed_since(&before) => self.dirty.note(session.id),
            Some(_) => {}
        }
        delta.add(session.grant, added, Interval::new(since, at));
    }

    /// Charges a session that had ended by `at`, and removes it.
    fn end(&mut self, id: SessionId, at: Timestamp, default_rate: BitRate, delta: &mut SessionDelta) {
        let Some(mut row) = self.rows.remove(&id) else { return };
        self.dirty.note_removed(id);
        let ended_at = row.cut_at.map_or(at, |cut| cut.min(at));
        let added = row.charge(row.at_its_end(ended_at, default_rate));
        let seen_until = ended_at.min(row.seen_at.plus(UNWATCHED_MAX));
        delta.add(row.grant, added, Interval::new(row.seen_at, seen_until));
    }
}

impl SessionDelta {
    /// Adds what was charged for a span: the share of the time before the reset to `before`, the rest to the grant.
    fn add(&mut self, grant: GrantId, charged: Traffic, span: Interval) {
        let before = match self.reset {
            Some(reset) if span.from < reset => charged.scaled(span.before(reset).millis(), span.millis()),
            _ => Traffic::ZERO,
        };
        self.before = self.before.plus(before);
        let added = charged.minus(before);
        if added != Traffic::ZERO {
            let sum = self.added.entry(grant).or_default();
            *sum = sum.plus(added);
        }
    }
}

#[cfg(test)]
#[path = "sessions_tests.rs"]
mod tests;
