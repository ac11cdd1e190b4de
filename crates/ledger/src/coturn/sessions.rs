//! From successive listings to bytes, per grant and in all. The sums never fall, are never less than what coturn has
//! shown, and count what it has not shown yet by what it showed before. coturn (4.6.1, measured) updates a session's
//! figures with each 2,048 packets of its client leg (and, until the first of these, when the client asks for
//! something else than to send); a session that ends takes what was not shown with it. So:
//!
//! - While a session lives, up to 2,047 packets are hidden: 0.2 MB in packets of 100 bytes, 2.5 MB in such of 1,200.
//!   They are charged at the session's last rate, and never more than 2,047 packets of its last mean size.
//! - For one that has ended, that and its last rate up to the look that misses it, or to our own cut, for 10 minutes at
//!   most. Where its figures had not moved for a while, it is taken to have been at rest.
//! - A session that was not measured yet is taken to carry `guess`, up to 2,047 packets of 1,200 bytes, from when it
//!   has a channel to a peer; with permissions only, the many that a browser opens and never uses, it carries nothing.
//! - An estimate is charged once: as the figures come to it, nothing is added until they are past it. So a session is
//!   over-charged by one estimate at most, however long it lives.
//!
//! What remains uncharged at worst: sessions that began and ended between two looks, a session with permissions only
//! (2,047 packets), and what flowed faster than the last rate before an end.
#![cfg_attr(not(test), warn(clippy::arithmetic_side_effects))]

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::listing::{Listing, Reach, SESSIONS_MAX, Session, SessionId};
use crate::allowance::RELAY_RATE_MAX;
use crate::dirty::Dirty;
use crate::token::GrantId;
use crate::traffic::Traffic;
use crate::units::{BitRate, Timestamp};

/// Packets of a session that coturn does not show, at most.
pub const HIDDEN_PACKETS_MAX: u64 = 2_047;
/// Bytes of a packet, where none was measured: a full one of video or of a data channel.
const PACKET_BYTES: u64 = 1_200;
/// Packets from which on a stretch is a measure: fewer are the handshake, which is shown by itself.
const MEASURE_PACKETS: u64 = 1_024;
/// coturn tells ages in whole seconds, rounded down. No stretch is taken to be shorter than that.
const AGE_UNIT: Duration = Duration::from_secs(1);
/// What a session can have carried unwatched before it ended is charged for so long at most; coturn ends an allocation
/// that nobody refreshes after 10 minutes.
pub const UNWATCHED_MAX: Duration = Duration::from_secs(600);
/// A session that is still listed so long after its cut was not cut.
pub const CUT_TIME: Duration = Duration::from_secs(10);
/// A session's age only grows; this much less is still the same session, since coturn's clock may be set.
const AGE_SLACK: Duration = Duration::from_secs(5);

/// The sessions of a coturn that are not known to have ended, and the sums of what all sessions have carried.
#[derive(Clone, Debug, Default)]
pub struct Sessions {
    sums: SessionSums,
    /// At most [`SESSIONS_MAX`] after each look.
    rows: BTreeMap<SessionId, SessionRow>,
    dirty: Dirty<SessionId>,
}

/// What is stored beside the sessions themselves.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct SessionSums {
    total: Traffic,
    looked_at: Option<Timestamp>,
    /// The last look that showed all sessions.
    complete_at: Timestamp,
}

impl SessionSums {
    /// The last look that showed all sessions; 1970 before the first.
    #[must_use]
    pub fn complete_at(&self) -> Timestamp {
        self.complete_at
    }
}

/// What one look has added.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SessionDelta {
    /// All that was charged since the book began, sessions of others on the same relay included. Never falls.
    pub total: Traffic,
    /// What this look has added to `total`, by grant; under `None` the sessions of others. No row is zero.
    pub added: BTreeMap<Option<GrantId>, Traffic>,
    /// Sessions that are not known to have ended.
    pub live: usize,
    /// Sessions that ended in this look and had not been seen for longer than [`UNWATCHED_MAX`], because the broker
    /// was away or coturn could not be asked: what they carried in the end is not known and may be more than was
    /// charged.
    pub ended_unwatched: usize,
    /// Whether a session is listed although coturn accepted the command to end it longer than [`CUT_TIME`] ago.
    pub is_uncut: bool,
}

/// One session.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SessionRow {
    user: String,
    grant: Option<GrantId>,
    age: Option<Duration>,
    reach: Reach,
    seen_at: Timestamp,
    /// As coturn shows it.
    packets: u64,
    traffic: Traffic,
    /// The figures where the stretch that is being measured began, and when.
    mark: Baseline,
    /// The last stretch that was measured.
    measured: Option<Stretch>,
    /// What was charged, at least `traffic`.
    charged: Traffic,
    /// When coturn was told to end it, and has not shown it since.
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
    /// The look that showed these figures.
    at: Timestamp,
    /// The look before it: what is hidden may have begun to flow then.
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
    /// As stored. From here on, changes are recorded.
    #[must_use]
    pub fn restore(sums: SessionSums, stored: BTreeMap<SessionId, SessionRow>) -> Self {
        let mut rows = stored;
        for row in rows.values_mut() {
            // A look that changes nothing else of a session is not stored with it. A complete one showed all of them.
            row.seen_at = row.seen_at.max(sums.complete_at);
        }
        Self { sums, rows, dirty: Dirty::tracking() }
    }

    /// Sessions that have changed since the last call; `None` for one that has ended.
    pub fn take_changes(&mut self) -> BTreeMap<SessionId, Option<SessionRow>> {
        let changed = self.dirty.take().into_keys();
        changed.map(|id| (id, self.rows.get(&id).cloned())).collect()
    }

    /// What is stored beside the sessions.
    #[must_use]
    pub fn sums(&self) -> SessionSums {
        self.sums
    }

    /// Takes what coturn lists at `at`. Looks are taken in their order; an earlier `at` counts as the last one. A session
    /// that is there at the first look is charged from its own beginning. `guess` is what a session carries in each
    /// direction as long as nothing was measured of it.
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
        // Rows that nobody lists and nobody is known to have ended must not gather for ever.
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

    /// coturn has accepted the command to end these sessions at `at`. If the next listing misses them, they carried
    /// nothing after that.
    pub fn cut(&mut self, ids: &[SessionId], at: Timestamp) {
        for id in ids {
            if let Some(row) = self.rows.get_mut(id) {
                row.cut_at = Some(at);
                row.first_cut_at.get_or_insert(at);
                self.dirty.note(*id);
            }
        }
    }

    /// One session is listed. Returns what is charged for it now.
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
            user: session.user.clone(),
            grant: session.grant,
            age: session.age,
            reach: session.reach,
            // No look has seen it before the one that follows.
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

    /// Whether it is this row's session, and not one that got its id after coturn began again.
    fn is_of(&self, session: &Session) -> bool {
        let has_fallen = session.packets < self.packets || session.traffic.min(self.traffic) != self.traffic;
        let is_younger =
            self.age.zip(session.age).is_some_and(|(was, is)| is.saturating_add(AGE_SLACK) < was);
        self.user == session.user && !has_fallen && !is_younger
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

    /// What has likely flowed by `at`, with the session alive, beyond what is shown.
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

    /// What it has likely carried in all, given that it was gone at `at`.
    fn at_its_end(&self, at: Timestamp, guess: BitRate) -> Traffic {
        let unwatched = at.since(self.seen_at).min(UNWATCHED_MAX);
        let Some(measured) = self.measured else {
            return self.traffic.plus(self.hidden(self.seen_at.plus(unwatched), guess));
        };
        self.traffic.plus(self.hidden(self.seen_at, guess)).plus(self.since_seen(measured, unwatched))
    }

    /// What has likely flowed from the last look on. A session that was at rest then is taken to have stayed so.
    fn since_seen(&self, measured: Stretch, unwatched: Duration) -> Traffic {
        let at_last_rate = measured.over(millis(unwatched));
        let rested = self.seen_at.millis_since(self.mark.at);
        if rested == 0 {
            return at_last_rate;
        }
        let carried = self.traffic.minus(self.mark.traffic).plus(measured.hidden_max());
        at_last_rate.min(carried.scaled(millis(unwatched), rested))
    }

    /// Raises what was charged to `sum`, if that is more, and returns the difference.
    fn charge(&mut self, sum: Traffic) -> Traffic {
        let added = sum.minus(self.charged);
        self.charged = self.charged.plus(added);
        added
    }
}

impl Stretch {
    /// What flows at its rate in so long; no faster than any relay is taken to carry. The stretch was seen to end up to
    /// 2,047 packets after it did, and these are counted in: the rate is too high by that much at most, and by what a young
    /// session's age was rounded down, and never too low.
    fn over(&self, millis: u64) -> Traffic {
        let with_hidden = self.traffic.plus(self.hidden_max());
        with_hidden.scaled(millis, self.millis).min(Traffic::of_rate(RELAY_RATE_MAX, millis))
    }

    /// As many packets as coturn hides, of the mean size of these.
    fn hidden_max(&self) -> Traffic {
        self.traffic.scaled(HIDDEN_PACKETS_MAX, self.packets)
    }
}

/// So long before `at`; not before 1970.
fn before(at: Timestamp, span: Duration) -> Timestamp {
    let epoch = Timestamp::from_millis(0);
    epoch.plus_millis(at.millis_since(epoch.plus(span)))
}

fn millis(span: Duration) -> u64 {
    u64::try_from(span.as_millis()).unwrap_or(u64::MAX)
}

/// The sessions to end: those of ours that are dead, and whoever makes the listing unreadable with a grant of ours.
/// Sessions whose name is not ours are never among them.
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
