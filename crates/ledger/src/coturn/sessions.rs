//! The bytes of coturn's sessions, per grant and in total, from successive listings and from coturn's reports of their ends.
//! Tests: `src/coturn/sessions_tests.rs`.
//!
//! Only what coturn has shown is counted. coturn (4.6.1, measured) updates a session's counts after each 2,048 packets between relay and
//! client; before the first 2,048, also on each request other than a send. When a session ends, coturn reports its exact total to a Redis.
//! What no figure shows yet is a claim:
//!
//! - While a session lives, up to 2,047 packets are hidden. Those of all sessions of a grant together are claimed at the grant's assumed
//!   rate, since the earliest of their last figures.
//! - A session that two listings in a row miss, and whose end was not reported, ended unseen. Its claim stays promised.
//!
//! At worst, these bytes are not claimed: those of a session with permissions only (2,047 packets), and those by which packets are larger
//! than 1,200 bytes (16 KB each at most to a client). RFC 6062 allocations over TCP can hide any number, so `no-tcp-relay` has to be set.
//!
//! After a restart of coturn, the new session of a client can be taken for its old one: if the old one was older by at most 5 s, and the
//! new one gets the same number and has relayed more by the next listing. Then the old bytes are subtracted from the new ones.

use super::SessionId;
use crate::coturn::{Reach, Session};
use crate::prelude::*;

/// A session among those of all relays: each relay numbers its sessions from 1.
pub type SessionKey = (CountOwner, SessionId);

/// The sessions of one coturn that are not known to have ended.
#[derive(Clone, Debug, Default)]
pub struct Sessions {
    /// At most [`SESSIONS_MAX`](super::usage::SESSIONS_MAX).
    rows: BTreeMap<SessionId, SessionRow>,
    dirty: Dirty<SessionId>,
}

/// What one listing adds.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SessionDelta {
    /// The new bytes by grant, without those before `reset`. No row is zero.
    pub added: BTreeMap<GrantId, Traffic>,
    /// The new bytes before `reset`, of all sessions.
    pub before: Traffic,
    /// What sessions that ended unseen may have relayed beyond their figures.
    pub lost: Traffic,
    /// The reset since the listing before, at which the bytes are divided.
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

    /// Takes the complete listing at `at`, which is not before the last one's time, and the sessions that have ended since the last one.
    /// A session that no earlier listing showed is counted from its own start. `rate`: what is assumed of a grant in each direction.
    /// `reset`: a reset since the last listing, at which each session's new bytes are divided in proportion to the time.
    pub fn take(
        &mut self,
        [sessions, ended]: [&[Session]; 2],
        at: Timestamp,
        rate: BitRate,
        reset: Option<Timestamp>,
    ) -> SessionDelta {
        let mut delta = SessionDelta { reset, ..SessionDelta::default() };
        let mut listed = BTreeSet::new();
        for session in sessions {
            listed.insert(session.id);
            self.update(session, at, rate, &mut delta);
        }
        for session in ended {
            self.update(session, at, rate, &mut delta);
            if let Some(row) = self.rows.get_mut(&session.id) {
                row.has_ended = true;
                self.dirty.note(session.id);
            }
        }
        let missing: Vec<_> = self.rows.keys().filter(|id| !listed.contains(id)).copied().collect();
        for id in missing {
            self.miss(id, at, rate, &mut delta);
        }
        delta
    }

    /// The most that the running sessions can have relayed by `at` beyond their figures, in both directions.
    pub(crate) fn hidden(&self, at: Timestamp, rate: BitRate) -> Traffic {
        let mut grants = BTreeMap::<GrantId, (Traffic, u64)>::new();
        for row in self.rows.values() {
            let (hidden, millis) = grants.entry(row.grant).or_default();
            *hidden = hidden.plus(row.hidden_max());
            *millis = (*millis).max(at.millis_since(row.shown_at));
        }
        let of_grant = |(hidden, millis): &(Traffic, u64)| hidden.min(Traffic::of_rate(rate, *millis));
        grants.values().map(of_grant).fold(Traffic::ZERO, Traffic::plus)
    }

    /// Removes sessions that were not seen for longer than `longest`.
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

    /// The grants of our sessions that the last complete listing showed.
    pub(crate) fn grants(&self) -> BTreeSet<GrantId> {
        self.listed().filter(|grant| !grant.is_foreign()).collect()
    }

    /// Whether some sessions are of other programs that know the relay's secret.
    pub(crate) fn has_foreign(&self) -> bool {
        self.listed().any(|grant| grant.is_foreign())
    }

    fn listed(&self) -> impl Iterator<Item = GrantId> {
        self.rows.values().filter(|row| !row.has_ended && !row.is_missing).map(|row| row.grant)
    }

    /// Takes one session as coturn shows it. A row of another session with its number is removed before.
    fn update(&mut self, session: &Session, at: Timestamp, rate: BitRate, delta: &mut SessionDelta) {
        if self.rows.get(&session.id).is_some_and(|row| !row.is_of(session)) {
            self.remove(session.id, at, rate, delta);
        }
        let earlier = self.rows.get(&session.id).cloned();
        let row = self.rows.entry(session.id).or_insert_with(|| SessionRow::new(session, at));
        let since = row.seen_at;
        let added = row.update(session, at);
        match earlier {
            None => self.dirty.note_added(session.id),
            Some(before) if row.has_changed_since(&before) => self.dirty.note(session.id),
            Some(_) => {}
        }
        delta.add(session.grant, added, Interval::new(since, at));
    }

    /// Takes that the listing at `at` misses a session. The report of its end may still be on its way, so only the next listing that misses
    /// it, too, shows that it ended unseen.
    fn miss(&mut self, id: SessionId, at: Timestamp, rate: BitRate, delta: &mut SessionDelta) {
        match self.rows.get_mut(&id) {
            Some(row) if !row.has_ended && !row.is_missing => {
                row.is_missing = true;
                self.dirty.note(id);
            }
            _ => self.remove(id, at, rate, delta),
        }
    }

    /// Removes a session. What it can have relayed by `at` beyond its figures is lost; nothing if its end was reported.
    fn remove(&mut self, id: SessionId, at: Timestamp, rate: BitRate, delta: &mut SessionDelta) {
        let Some(row) = self.rows.remove(&id) else { return };
        self.dirty.note_removed(id);
        let at_rate = Traffic::of_rate(rate, at.millis_since(row.shown_at));
        delta.lost = delta.lost.plus(row.hidden_max().min(at_rate));
    }
}

impl SessionDelta {
    /// Adds what was relayed in a span: the share of the time before the reset to `before`, the rest to the grant.
    fn add(&mut self, grant: GrantId, relayed: Traffic, span: Interval) {
        let before = match self.reset {
            Some(reset) if span.from < reset => relayed.scaled(span.before(reset).millis(), span.millis()),
            _ => Traffic::ZERO,
        };
        self.before = self.before.plus(before);
        let added = relayed.minus(before);
        if added != Traffic::ZERO {
            let sum = self.added.entry(grant).or_default();
            *sum = sum.plus(added);
        }
    }
}

// One coturn session: what coturn has shown of it, and the most that it can have relayed since. Tests: `src/coturn/sessions_tests.rs`.

/// Most packets of a session that coturn does not show (4.6.1, measured).
pub const HIDDEN_PACKETS_MAX: u64 = 2_047;

/// Bytes of a packet that is not shown: a full packet of video or of a data channel.
const PACKET_BYTES: u64 = 1_200;

/// coturn shows ages in whole seconds, rounded down.
const AGE_UNIT: Duration = Duration::from_secs(1);

/// A session whose age decreased by at most this is still the same one, because coturn's clock may have been set.
const AGE_SLACK: Duration = Duration::from_secs(5);

/// One session.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SessionRow {
    user: Arc<str>,
    grant: GrantId,
    /// As coturn showed it last, in whole seconds; `None` if coturn never did.
    age: Option<Duration>,
    /// The furthest reach that a listing has shown.
    reach: Reach,
    /// The time of the last listing that showed it. In a new row: the earliest instant at which it can have begun.
    seen_at: Timestamp,
    /// Packets as coturn shows them.
    packets: u64,
    traffic: Traffic,
    /// The time of the last listing that showed other counts. Hidden packets may have flowed since.
    shown_at: Timestamp,
    /// Whether coturn has reported its end: the counts are exact.
    has_ended: bool,
    /// Whether the last complete listing missed it, and its end was not reported yet.
    is_missing: bool,
}

/// The first fields of a stored [`SessionRow`], up to `traffic`. A migration finds by them what comes later.
pub type SessionRowUpToTraffic = (Box<str>, GrantId, Option<Duration>, Reach, Timestamp, u64, Traffic);

impl SessionRow {
    fn new(session: &Session, at: Timestamp) -> Self {
        let age = session.age.unwrap_or_default().saturating_add(AGE_UNIT);
        // No earlier listing showed this session. It did not begin before 1970.
        let earliest = at.minus(age).max(Timestamp::default());
        Self {
            user: session.user.as_str().into(),
            grant: session.grant,
            age: session.age,
            reach: session.reach,
            seen_at: earliest,
            packets: 0,
            traffic: Traffic::ZERO,
            shown_at: earliest,
            has_ended: false,
            is_missing: false,
        }
    }

    /// Whether more has changed than `seen_at` and `age`, which each listing changes. A row is not stored again for these alone.
    fn has_changed_since(&self, before: &Self) -> bool {
        Self { seen_at: self.seen_at, age: self.age, ..before.clone() } != *self
    }

    /// Whether this is the row's session, and not a new one with the same id after a restart of coturn. A listing can still show a session
    /// whose end coturn has just reported.
    fn is_of(&self, session: &Session) -> bool {
        // `min` compares each direction. While no bytes have fallen, the lower of the two counts is the row's in both directions.
        let has_fallen = session.packets < self.packets || session.traffic.min(self.traffic) != self.traffic;
        let is_younger =
            self.age.zip(session.age).is_some_and(|(was, is)| is.saturating_add(AGE_SLACK) < was);
        *self.user == *session.user && (self.has_ended || !has_fallen) && !is_younger
    }

    /// Takes the session as a listing or the report of its end shows it. Returns the bytes that are new.
    fn update(&mut self, session: &Session, at: Timestamp) -> Traffic {
        if session.packets != self.packets {
            self.shown_at = self.seen_at;
        }
        let added = session.traffic.minus(self.traffic);
        self.age = session.age.or(self.age);
        self.reach = self.reach.max(session.reach);
        self.packets = self.packets.max(session.packets);
        self.traffic = self.traffic.plus(added);
        self.seen_at = at;
        self.is_missing = false;
        added
    }

    /// The most that it can have relayed beyond its counts; nothing without a channel to a peer. Browsers begin many such sessions and never
    /// use them.
    fn hidden_max(&self) -> Traffic {
        if self.has_ended || self.reach < Reach::Bound {
            return Traffic::ZERO;
        }
        let bytes = HIDDEN_PACKETS_MAX.saturating_mul(PACKET_BYTES);
        Traffic::new(bytes, bytes)
    }
}

#[cfg(test)]
#[path = "sessions_tests.rs"]
mod tests;
