//! The sessions of the SFU: what is promised for each page, and what it takes while media flow.

use turn_ledger::{Books, GrantId, IceSource};

use super::super::sfu::{SOUND, SOUND_KBPS};
use super::figures::Span;
use super::flows::Flow;
use super::{Facts, MINUTE, Model, minute_from, minute_of, signed};

const SFU: IceSource = IceSource::Sfu;
/// What one part of a session takes in a minute, in bytes.
const PART_MINUTE: u64 = SOUND * 60_000;

/// What the books know of a session.
#[derive(Clone, Debug)]
pub(super) struct Session {
    pub(super) id: GrantId,
    pub(super) user: Option<u64>,
    /// How often it was begun: a page whose session is over may go on.
    pub(super) begun: u64,
    /// What it takes, and the part of it on which media flow, as multiples of [`SOUND`].
    tracks: u64,
    active: u64,
    /// Since when so much flows.
    since: i64,
    /// Bytes of this period that are charged to the user, and until when. Another billing day may move them to another period.
    measured: Option<u64>,
    counted_until: i64,
    /// What is promised from a minute on. It is made anew when a minute begins.
    pub(super) promise: Option<Span>,
    /// Whether there was no room when the promise was made anew.
    has_no_room: bool,
    /// What was promised before.
    behind: Vec<Span>,
    /// When media flowed, and how much.
    flowed: Vec<(i64, i64, u64)>,
}

impl Session {
    /// Its tracks were active until now.
    fn flow(&mut self, now: i64) {
        if self.active > 0 && self.since < now {
            match self.flowed.last_mut() {
                Some((_, to, active)) if (*to, *active) == (self.since, self.active) => *to = now,
                _ => self.flowed.push((self.since, now, self.active)),
            }
        }
        self.since = now;
    }

    /// Whether there is room is not stored.
    pub(super) fn restart(&mut self) {
        self.has_no_room = false;
    }

    /// Nothing is charged in a new period.
    pub(super) fn begin_period(&mut self, is_next: bool) {
        self.measured = is_next.then_some(0);
    }

    /// Charges what it took until now. `start`: of the period.
    fn count(&mut self, now: i64, start: i64) {
        let millis = u64::try_from(now - self.counted_until.max(start)).unwrap_or(0);
        self.measured = self.measured.map(|measured| measured + self.active * SOUND * millis);
        self.counted_until = now;
    }

    /// Takes back what is promised from a minute on. A session that takes something has gone on until then.
    fn charge_past(&mut self, minute: i64) -> Option<Span> {
        let promise = self.promise.take()?;
        let until = if self.tracks > 0 { minute } else { promise.until.min(minute) };
        self.behind.extend((promise.from < until).then_some(Span { until, ..promise }));
        Some(promise)
    }

    /// Promises what it takes and so much more from a minute on. Less counts from the next minute on. `until`: as the books say.
    fn promise(&mut self, minute: i64, more: u64, until: i64) {
        let before = self.charge_past(minute);
        let least = before.filter(|before| before.from == minute).map_or(0, |before| before.per_minute);
        let per_minute = ((self.tracks + more) * PART_MINUTE).max(least);
        self.tracks += more;
        self.promise = (per_minute > 0).then_some(Span { from: minute, until, per_minute });
    }

    /// Its promises.
    pub(super) fn spans(&self) -> impl Iterator<Item = Span> {
        self.behind.iter().copied().chain(self.promise)
    }

    /// What is charged for its tracks by time.
    pub(super) fn flows(&self, now: i64) -> impl Iterator<Item = Flow> {
        let running = (self.active > 0).then_some((self.since, now, self.active));
        let times = self.flowed.iter().copied().chain(running);
        times.map(move |(from, to, active)| {
            let bytes = Some(active * SOUND * (to - from).unsigned_abs());
            Flow { source: SFU, is_granted: true, from, to, at: now, bytes }
        })
    }
}

impl Facts {
    fn session(&mut self, id: GrantId) -> Option<&mut Session> {
        self.sessions_of_pages.iter_mut().find(|session| session.id == id)
    }

    /// Time has passed: promises are made anew when the minute begins.
    pub(in super::super) fn renew_sessions(&mut self, books: &Books, before: i64) {
        let (minute, start) = (minute_of(books.now().as_millis()), books.ledger().period().start.as_millis());
        let at = before.max(minute * MINUTE);
        for session in &mut self.sessions_of_pages {
            let is_due = session.promise.is_some_and(|promise| promise.from < minute);
            if books.grants().iter().all(|(id, _)| *id != session.id) {
                session.behind.extend(session.promise.take());
            } else if is_due && books.grants().get(session.id).is_some() {
                let until = until(books, session.id);
                session.count(at, start);
                session.promise(minute, 0, until);
                // Without room, what was promised does not become longer, but for the next minute.
                let tail = signed(super::super::settings::millis(books.ledger().tail(SFU)));
                session.has_no_room = until < minute_from(minute * MINUTE + tail);
            }
        }
    }
}

/// Until when the books promise something for a session.
fn until(books: &Books, id: GrantId) -> i64 {
    let promised = books.grants().get(id).and_then(|row| row.promised);
    promised.map_or(0, |time| time.until.number())
}

impl Model {
    /// The SFU has said how many tracks a page may take, and on how many media flow; `None`: its session has ended.
    pub(in super::super) fn look(
        &mut self,
        books: &Books,
        (id, user): (GrantId, Option<u64>),
        state: Option<(u64, u64)>,
        had_row: bool,
    ) {
        let now = books.now().as_millis();
        let (minute, start) = (minute_of(now), books.ledger().period().start.as_millis());
        if self.now.session(id).is_none() && state.is_some() {
            self.now.sessions_of_pages.push(Session {
                id,
                user,
                begun: 0,
                tracks: 0,
                active: 0,
                since: now,
                measured: Some(0),
                counted_until: now,
                promise: None,
                has_no_room: false,
                behind: vec![],
                flowed: vec![],
            });
        }
        let Some(session) = self.now.session(id) else { return };
        session.flow(now);
        session.count(now, start);
        if !had_row {
            (session.measured, session.counted_until) = (Some(0), now);
            session.begun += 1;
            session.behind.extend(session.promise.take());
        }
        (session.tracks, session.active) = state.unwrap_or_default();
        if session.tracks == 0
            && let Some(promise) = &mut session.promise
        {
            promise.until = promise.until.min(minute + 1);
        }
        let per_minute = session.tracks * PART_MINUTE;
        let is_enough = session
            .promise
            .is_some_and(|promise| promise.per_minute >= per_minute && promise.until > minute + 1);
        if per_minute > 0 && !is_enough {
            session.promise(minute, 0, until(books, id));
            session.has_no_room = false;
        }
    }

    /// A page has asked for so many tracks more. `is_admitted`: there is room for them.
    pub(in super::super) fn pull(&mut self, books: &Books, id: GrantId, more: u64, is_admitted: bool) {
        let (minute, start) = (minute_of(books.now().as_millis()), books.ledger().period().start.as_millis());
        if books.grants().get(id).is_some_and(|row| row.extra().revoked_at.is_none())
            && let Some(session) = self.now.session(id)
        {
            session.count(books.now().as_millis(), start);
            session.promise(minute, if is_admitted { more } else { 0 }, until(books, id));
            session.has_no_room &= !is_admitted;
        }
    }

    /// What a session's row promises wrong, and whether it is closed.
    pub(in super::super) fn check_sessions(&self, books: &Books) -> Option<String> {
        let closing: Vec<_> =
            books.sfu_sessions_to_close().iter().map(|name| GrantId::of_session(name)).collect();
        let wrong = self.now.sessions_of_pages.iter().find(|session| {
            let is_known = books.grants().get(session.id).is_some();
            is_known && session.has_no_room && session.tracks > 0 && !closing.contains(&session.id)
        });
        if let Some(session) = wrong {
            return Some(format!("there is no room for it, and it is not closed: {session:?}"));
        }
        self.now.sessions_of_pages.iter().find_map(|session| {
            let row = books.grants().get(session.id)?;
            let found = row.promised.map(|time| (time.from.number(), time.until.number(), time.per_minute));
            let expected = session.promise.map(|promise| (promise.from, promise.until, promise.per_minute));
            let is_right =
                found == expected && u64::from(row.sfu_kbps()) == session.tracks * u64::from(SOUND_KBPS);
            let measured = row.spent().measured().get();
            if session.measured.is_some_and(|expected| expected != measured) {
                return Some(format!("{measured} bytes are charged to {session:?}"));
            }
            (!is_right).then(|| format!("{found:?} is promised for {session:?}, {} units", row.sfu_kbps()))
        })
    }
}
