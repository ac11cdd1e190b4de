//! The bytes of coturn's sessions, per grant and in total, from successive listings. The sums never decrease and are
//! never less than the counts that coturn has shown. Bytes that coturn does not show yet are estimated from earlier
//! ones. coturn (4.6.1, measured) updates a session's counts after each 2,048 packets between relay and client; before
//! the first 2,048, also on each request other than a send. When a session ends, its unshown packets are lost. So:
//!
//! - While a session lives, up to 2,047 packets are hidden: 0.2 MB with packets of 100 bytes, 2.5 MB with packets of
//!   1,200. They are charged at the session's last rate, but never more than 2,047 packets of its last mean size.
//! - A session that has ended is charged in the same way, and at its last rate until the look that misses it or until
//!   our cut, for 10 minutes at most. If its counts had not changed for a while, it counts as idle.
//! - A session without a measured rate is charged `guess` from the time that it has a channel to a peer, up to 2,047
//!   packets of 1,200 bytes. With permissions only it is charged nothing: browsers open many such sessions and never
//!   use them.
//! - An estimate is charged once: nothing is added until the counts exceed it. So a session is overcharged by at most
//!   one estimate, however long it lives.
//!
//! At worst, these bytes are not charged: sessions that began and ended between two looks, a session with permissions
//! only (2,047 packets), and traffic above the last rate just before a session ends.
#![cfg_attr(not(test), warn(clippy::arithmetic_side_effects))]

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::listing::{Listing, Reach, SESSIONS_MAX, Session, SessionId};
use crate::allowance::RELAY_RATE_MAX;
use crate::dirty::Dirty;
use crate::token::GrantId;
use crate::traffic::Traffic;
use crate::units::{BitRate, Timestamp};

/// Most packets of a session that coturn does not show (4.6.1, measured).
pub const HIDDEN_PACKETS_MAX: u64 = 2_047;
/// Bytes of a packet if none was measured: a full packet of video or of a data channel.
const PACKET_BYTES: u64 = 1_200;
/// Fewest packets that give a rate. Fewer are the handshake, which coturn shows separately.
const MEASURE_PACKETS: u64 = 1_024;
/// coturn shows ages in whole seconds, rounded down. No measured stretch counts as shorter than this.
const AGE_UNIT: Duration = Duration::from_secs(1);
/// The longest time for which a session that ended between two looks is charged at its last rate. coturn ends an
/// allocation that is not refreshed after 10 minutes.
pub const UNWATCHED_MAX: Duration = Duration::from_secs(600);
/// A session that is still listed so long after its cut was not cut.
pub const CUT_TIME: Duration = Duration::from_secs(10);
/// A session whose age decreased by at most this is still the same one, because coturn's clock may have been set.
const AGE_SLACK: Duration = Duration::from_secs(5);

/// coturn's sessions that are not known to have ended, and the sums over all sessions.
#[derive(Clone, Debug, Default)]
pub struct Sessions {
    sums: SessionSums,
    /// At most [`SESSIONS_MAX`] after each look.
    rows: BTreeMap<SessionId, SessionRow>,
    dirty: Dirty<SessionId>,
}

/// The stored sums over all sessions.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct SessionSums {
    total: Traffic,
    looked_at: Option<Timestamp>,
    /// The time of the last look that showed all sessions.
    complete_at: Timestamp,
}

impl SessionSums {
    /// The time of the last look that showed all sessions; 1970 before the first.
    #[must_use]
    pub fn complete_at(&self) -> Timestamp {
        self.complete_at
    }
}

/// The charges of one look.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SessionDelta {
    /// All charges since the ledger was created, including other users' sessions on the same coturn. Never decreases.
    pub total: Traffic,
    /// The charges of this look by grant; `None` holds other users' sessions. No row is zero.
    pub added: BTreeMap<Option<GrantId>, Traffic>,
    /// Sessions that are not known to have ended.
    pub live: usize,
    /// Sessions that had ended by this look and were last seen longer than [`UNWATCHED_MAX`] ago, because the broker
    /// was not running or coturn did not answer. They may have carried more than was charged.
    pub ended_unwatched: usize,
    /// Whether a session is listed although coturn accepted the command to end it longer than [`CUT_TIME`] ago.
    pub is_uncut: bool,
}

/// One session.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SessionRow {
    user: Arc<str>,
    grant: Option<GrantId>,
    age: Option<Duration>,
    reach: Reach,
    seen_at: Timestamp,
    /// Packets as coturn shows them.
    packets: u64,
    traffic: Traffic,
    /// The counts at the start of the stretch that is being measured.
    mark: Baseline,
    /// The last stretch that was measured.
    measured: Option<Stretch>,
    /// The charges so far, at least `traffic`.
    charged: Traffic,
    /// When coturn accepted the command to end it; `None` if a later listing shows it.
    #[serde(default)]
    cut_at: Option<Timestamp>,
    /// When coturn first accepted the command to end it.
    #[serde(default)]
    first_cut_at: Option<Timestamp>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Baseline {
    packets: u64,
    traffic: Traffic,
    /// The time of the look that showed these counts.
    at: Timestamp,
    /// The time of the look before it. Hidden packets may have begun to flow then.
    hidden_since: Timestamp,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Stretch {
    packets: u64,
    traffic: Traffic,
    /// At least [`AGE_UNIT`].
    millis: u64,
}

impl Sessions {
    /// The sessions as stored. From here on, changes are recorded.
    #[must_use]
    pub fn restore(sums: SessionSums, stored: BTreeMap<SessionId, SessionRow>) -> Self {
        let mut rows = stored;
        for row in rows.values_mut() {
            // The row of an unchanged session is not stored again. The last complete look showed it too.
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

    /// Takes the listing at `at`. An `at` before the last look counts as the last look's time. A session in the first
    /// look is charged from its own start. `guess` is the rate in each direction of a session without a measured rate.
    pub fn take(&mut self, listing: &Listing, at: Timestamp, guess: BitRate) -> SessionDelta {
        let at = self.sums.looked_at.map_or(at, |last| last.max(at));
        self.sums.looked_at = Some(at);
        let mut delta = SessionDelta::default();
        let mut listed = BTreeSet::new();
        for session in &listing.sessions {
            listed.insert(session.id);
            let reused = self.rows.get(&session.id).is_some_and(|row| !row.is_of(session));
            if reused {
                self.end(session.id, at, guess, &mut delta);
            }
            let added = self.look(session, at, guess);
            delta.is_uncut |= self.rows.get(&session.id).is_some_and(|row| row.is_uncut(at));
            self.add(session.grant, added, &mut delta);
        }
        // Rows of sessions that are neither listed nor known to have ended must not accumulate.
        if listing.is_complete || self.rows.len() > SESSIONS_MAX {
            let missing: Vec<_> = self.rows.keys().filter(|id| !listed.contains(id)).copied().collect();
            for id in missing {
                self.end(id, at, guess, &mut delta);
            }
        }
        if listing.is_complete {
            self.sums.complete_at = at;
        }
        delta.total = self.sums.total;
        delta.live = self.rows.len();
        delta
    }

    /// Notes that coturn accepted the command to end these sessions at `at`. If the next listing misses them, they are
    /// charged nothing after that.
    pub fn cut(&mut self, ids: &[SessionId], at: Timestamp) {
        for id in ids {
            if let Some(row) = self.rows.get_mut(id) {
                row.cut_at = Some(at);
                row.first_cut_at.get_or_insert(at);
                self.dirty.note(*id);
            }
        }
    }

    /// Takes one listed session. Returns its new charges.
    fn look(&mut self, session: &Session, at: Timestamp, guess: BitRate) -> Traffic {
        let stored = self.rows.get(&session.id).cloned();
        let row = self.rows.entry(session.id).or_insert_with(|| SessionRow::new(session, at));
        row.look(session, at);
        let added = row.charge(row.traffic.plus(row.hidden(at, guess)));
        match stored.map(|stored| SessionRow { seen_at: at, age: row.age, ..stored }) {
            None => self.dirty.note_added(session.id),
            Some(unchanged) if unchanged != *row => self.dirty.note(session.id),
            Some(_) => {}
        }
        added
    }

    fn end(&mut self, id: SessionId, at: Timestamp, guess: BitRate, delta: &mut SessionDelta) {
        let Some(mut row) = self.rows.remove(&id) else { return };
        self.dirty.note_removed(id);
        let at = row.cut_at.map_or(at, |cut| cut.min(at));
        let added = row.charge(row.at_its_end(at, guess));
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

impl SessionRow {
    fn new(session: &Session, at: Timestamp) -> Self {
        let age = session.age.unwrap_or_default();
        let (latest, earliest) = (before(at, age), before(at, age.saturating_add(AGE_UNIT)));
        Self {
            user: session.user.as_str().into(),
            grant: session.grant,
            age: session.age,
            reach: session.reach,
            // No earlier look showed this session.
            seen_at: earliest,
            packets: 0,
            traffic: Traffic::ZERO,
            mark: Baseline { packets: 0, traffic: Traffic::ZERO, at: latest, hidden_since: earliest },
            measured: None,
            charged: Traffic::ZERO,
            cut_at: None,
            first_cut_at: None,
        }
    }

    /// Whether it should have ended by `at`.
    fn is_uncut(&self, at: Timestamp) -> bool {
        self.first_cut_at.is_some_and(|cut| at.since(cut) > CUT_TIME)
    }

    /// Whether this is the row's session, and not a new one with the same id after a restart of coturn.
    fn is_of(&self, session: &Session) -> bool {
        let has_fallen = session.packets < self.packets || session.traffic.min(self.traffic) != self.traffic;
        let is_younger =
            self.age.zip(session.age).is_some_and(|(was, is)| is.saturating_add(AGE_SLACK) < was);
        *self.user == *session.user && !has_fallen && !is_younger
    }

    fn look(&mut self, session: &Session, at: Timestamp) {
        let before = self.seen_at;
        self.age = session.age.or(self.age);
        self.reach = self.reach.max(session.reach);
        self.packets = session.packets;
        self.traffic = session.traffic;
        self.seen_at = at;
        self.cut_at = None;
        let packets = self.packets.saturating_sub(self.mark.packets);
        if packets >= MEASURE_PACKETS {
            let traffic = self.traffic.minus(self.mark.traffic);
            let millis = millis(at.since(self.mark.at).max(AGE_UNIT));
            self.measured = Some(Stretch { packets, traffic, millis });
            self.mark = Baseline { packets: self.packets, traffic: self.traffic, at, hidden_since: before };
        }
    }

    /// The estimated traffic by `at` of a live session, beyond the shown counts.
    fn hidden(&self, at: Timestamp, guess: BitRate) -> Traffic {
        let millis = at.millis_since(self.mark.hidden_since);
        let Some(measured) = self.measured else {
            return self.unmeasured(millis, guess);
        };
        measured.over(millis).min(measured.hidden_max())
    }

    fn unmeasured(&self, millis: u64, guess: BitRate) -> Traffic {
        if self.reach < Reach::Bound {
            return Traffic::ZERO;
        }
        let hidden = HIDDEN_PACKETS_MAX.saturating_sub(self.packets).saturating_mul(PACKET_BYTES);
        Traffic::of_rate(guess, millis).min(Traffic::new(hidden, hidden))
    }

    /// The estimated total of a session that had ended by `at`.
    fn at_its_end(&self, at: Timestamp, guess: BitRate) -> Traffic {
        let unwatched = at.since(self.seen_at).min(UNWATCHED_MAX);
        let Some(measured) = self.measured else {
            return self.traffic.plus(self.hidden(self.seen_at.plus(unwatched), guess));
        };
        self.traffic.plus(self.hidden(self.seen_at, guess)).plus(self.since_seen(measured, unwatched))
    }

    /// The estimated traffic since the last look. A session that was idle then is assumed to have stayed idle.
    fn since_seen(&self, measured: Stretch, unwatched: Duration) -> Traffic {
        let at_last_rate = measured.over(millis(unwatched));
        let idle = self.seen_at.millis_since(self.mark.at);
        if idle == 0 {
            return at_last_rate;
        }
        let carried = self.traffic.minus(self.mark.traffic).plus(measured.hidden_max());
        at_last_rate.min(carried.scaled(millis(unwatched), idle))
    }

    /// Raises the charges to `sum` if that is more. Returns the difference.
    fn charge(&mut self, sum: Traffic) -> Traffic {
        let added = sum.minus(self.charged);
        self.charged = self.charged.plus(added);
        added
    }
}

impl Stretch {
    /// Traffic at this stretch's rate over `millis`, at most at [`RELAY_RATE_MAX`]. The rate includes up to 2,047
    /// hidden packets, so it is never too low. It is too high by at most these packets and the rounding of a young
    /// session's age.
    fn over(&self, millis: u64) -> Traffic {
        let with_hidden = self.traffic.plus(self.hidden_max());
        with_hidden.scaled(millis, self.millis).min(Traffic::of_rate(RELAY_RATE_MAX, millis))
    }

    /// [`HIDDEN_PACKETS_MAX`] packets of this stretch's mean size.
    fn hidden_max(&self) -> Traffic {
        self.traffic.scaled(HIDDEN_PACKETS_MAX, self.packets)
    }
}

/// `at` minus `span`, not before 1970.
fn before(at: Timestamp, span: Duration) -> Timestamp {
    let epoch = Timestamp::from_millis(0);
    epoch.plus_millis(at.millis_since(epoch.plus(span)))
}

fn millis(span: Duration) -> u64 {
    u64::try_from(span.as_millis()).unwrap_or(u64::MAX)
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
