//! coturn's sessions: what each is charged from listing to listing. coturn shows a session's packets late, so what it does not show yet
//! is estimated, at most 2,047 packets. A session that is gone is charged at its last rate until the listing that misses it, or its cut.

use std::collections::BTreeMap;

use turn_ledger::{GrantId, IceSource, Listing, Session, SessionId, Timestamp};

use super::claims::Rules;
use super::{Facts, Model, signed};

/// Packets that coturn may not show, and bytes of one if none was measured.
const HIDDEN: u64 = 2_047;
const PACKET: u64 = 1_200;
/// So many packets give a rate.
const MEASURED: u64 = 1_024;
/// coturn shows ages in whole seconds.
const SECOND: i64 = 1_000;
/// A session that is gone is charged for no longer.
const GONE_MAX: i64 = 600_000;
/// No session relays faster, in bytes per millisecond.
const RATE_MAX: u64 = 12_500;
/// Two listings that are further apart have a gap between them.
const GAP: i64 = 5_000;
/// A session that was not seen for so long when a day begins is forgotten: the longest life and tail.
const UNSEEN_MAX: i64 = 9 * 86_400_000;

/// Bytes from the client, and to it.
type Both = [u64; 2];

fn each(one: Both, other: Both, of: impl Fn(u64, u64) -> u64) -> Both {
    [of(one[0], other[0]), of(one[1], other[1])]
}

fn plus(one: Both, other: Both) -> Both {
    each(one, other, |one, other| one + other)
}

fn least(one: Both, other: Both) -> Both {
    each(one, other, u64::min)
}

fn scaled(bytes: Both, part: u64, whole: u64) -> Both {
    bytes.map(|bytes| {
        let scaled = (u128::from(bytes) * u128::from(part)).div_ceil(u128::from(whole));
        u64::try_from(scaled).unwrap_or(u64::MAX)
    })
}

/// The counts when its rate was last measured, or when it began. `hidden_since`: since when there may be packets that are not shown.
#[derive(Clone, Copy, Debug)]
struct Mark {
    packets: u64,
    shown: Both,
    at: i64,
    hidden_since: i64,
}

/// A session that is not known to have ended.
#[derive(Clone, Debug)]
pub(super) struct Relayed {
    user: String,
    grant: GrantId,
    seen_at: i64,
    /// The same when it was last stored. That of a session which has not changed is not.
    stored_at: i64,
    packets: u64,
    shown: Both,
    mark: Mark,
    /// Packets, bytes and milliseconds of the last measurement.
    measured: Option<(u64, Both, u64)>,
    charged: Both,
    cut_at: Option<i64>,
}

impl Relayed {
    fn new(session: &Session, grant: GrantId, at: i64) -> Self {
        let age = signed(session.age.unwrap_or_default().as_secs()) * SECOND;
        let (latest, earliest) = (at - age, at - age - SECOND);
        Self {
            user: session.user.clone(),
            grant,
            seen_at: earliest,
            stored_at: at,
            packets: 0,
            shown: [0; 2],
            mark: Mark { packets: 0, shown: [0; 2], at: latest, hidden_since: earliest },
            measured: None,
            charged: [0; 2],
            cut_at: None,
        }
    }

    fn hidden_max(&self) -> Both {
        self.measured.map_or([0; 2], |(packets, bytes, _)| scaled(bytes, HIDDEN, packets))
    }

    /// What it relays in a time at its last rate.
    fn at_rate(&self, millis: u64) -> Both {
        let Some((_, bytes, of)) = self.measured else { return [0; 2] };
        least(scaled(plus(bytes, self.hidden_max()), millis, of), [RATE_MAX * millis; 2])
    }

    /// What coturn may not show at a time.
    fn hidden(&self, at: i64, rate: u64) -> Both {
        let millis = u64::try_from(at - self.mark.hidden_since).unwrap_or(0);
        if self.measured.is_some() {
            return least(self.at_rate(millis), self.hidden_max());
        }
        least([rate * millis; 2], [HIDDEN.saturating_sub(self.packets) * PACKET; 2])
    }

    /// All that it has relayed if a listing at this time misses it.
    fn at_its_end(&self, at: i64, rate: u64) -> Both {
        let at = self.cut_at.map_or(at, |cut| cut.min(at));
        let gone = (at - self.seen_at).clamp(0, GONE_MAX);
        if self.measured.is_none() {
            return plus(self.shown, self.hidden(self.seen_at + gone, rate));
        }
        let (millis, idle) = (gone.unsigned_abs(), u64::try_from(self.seen_at - self.mark.at).unwrap_or(0));
        let mut since = self.at_rate(millis);
        if idle > 0 {
            let carried = each(self.shown, self.mark.shown, |is, was| is - was);
            since = least(since, scaled(plus(carried, self.hidden_max()), millis, idle));
        }
        plus(plus(self.shown, self.hidden(self.seen_at, rate)), since)
    }

    /// A listing shows it. Returns whether more has changed than its time.
    fn update(&mut self, session: &Session, at: i64, rate: u64) -> (Both, bool) {
        let (before, was) = (self.seen_at, self.clone());
        (self.packets, self.seen_at, self.cut_at) = (session.packets, at, None);
        self.shown = [session.traffic.received.get(), session.traffic.sent.get()];
        let packets = self.packets - self.mark.packets;
        if packets >= MEASURED {
            let bytes = each(self.shown, self.mark.shown, |is, was| is - was);
            self.measured = Some((packets, bytes, (at - self.mark.at).max(SECOND).unsigned_abs()));
            self.mark = Mark { packets: self.packets, shown: self.shown, at, hidden_since: before };
        }
        let added = self.charge(plus(self.shown, self.hidden(at, rate)));
        let has_changed = (was.packets, was.shown, was.charged) != (self.packets, self.shown, self.charged);
        (added, has_changed || was.cut_at.is_some())
    }

    fn charge(&mut self, total: Both) -> Both {
        let added = each(total, self.charged, u64::saturating_sub);
        self.charged = plus(self.charged, added);
        added
    }
}

/// What a listing adds.
#[derive(Debug, Default)]
pub(in super::super) struct Listed {
    pub(in super::super) by_grant: BTreeMap<GrantId, u64>,
    /// What was carried since the last complete listing, and whether there was a gap since; `None` if this one is not complete, so nothing.
    pub(in super::super) carried: Option<(u64, bool)>,
}

impl Facts {
    fn end_session(&mut self, id: SessionId, at: i64, rules: &Rules, listed: &mut Listed) {
        let Some(mut row) = self.sessions.remove(&id) else { return };
        let added = row.charge(row.at_its_end(at, rules.rate));
        add(listed, row.grant, added, rules);
    }

    /// A day begins. What was estimated in the one before does not count in it.
    pub(super) fn begin_day(&mut self, now: i64) {
        self.sessions.retain(|_, row| now - row.seen_at <= UNSEEN_MAX);
        for row in self.sessions.values_mut() {
            if std::mem::replace(&mut row.charged, row.shown) != row.shown {
                row.stored_at = row.seen_at;
            }
        }
    }

    /// A process starts: the times of sessions that have not changed were not stored.
    pub(super) fn restore_sessions(&mut self) {
        for row in self.sessions.values_mut() {
            row.seen_at = row.stored_at.max(self.complete_at);
        }
    }
}

fn add(listed: &mut Listed, grant: GrantId, added: Both, rules: &Rules) {
    if added != [0; 2] {
        let billed = added[1] + if rules.bills_both { added[0] } else { 0 };
        *listed.by_grant.entry(grant).or_default() += billed;
    }
}

impl Model {
    /// A listing of coturn arrives. One that is not complete is nothing.
    pub(in super::super) fn take_listing(
        &mut self,
        listing: &Listing,
        is_complete: bool,
        now: i64,
        is_limited: bool,
    ) -> Listed {
        if !is_complete {
            return Listed::default();
        }
        let (facts, rules, mut listed) = (&mut self.now, self.rules, Listed::default());
        for session in &listing.sessions {
            let Some(grant) = session.grant else { continue };
            let is_another = facts
                .sessions
                .get(&session.id)
                .is_some_and(|row| row.user != session.user || session.packets < row.packets);
            if is_another {
                facts.end_session(session.id, now, &rules, &mut listed);
            }
            let is_new = !facts.sessions.contains_key(&session.id);
            let row = facts.sessions.entry(session.id).or_insert_with(|| Relayed::new(session, grant, now));
            let (added, has_changed) = row.update(session, now, rules.rate);
            if has_changed || is_new {
                row.stored_at = now;
            }
            add(&mut listed, grant, added, &rules);
        }
        let is_listed = |id: &SessionId| listing.sessions.iter().any(|session| session.id == *id);
        let gone: Vec<_> = facts.sessions.keys().filter(|id| !is_listed(id)).copied().collect();
        for id in gone {
            facts.end_session(id, now, &rules, &mut listed);
        }
        listed.carried = Some((listed.by_grant.values().sum(), now - facts.complete_at > GAP));
        let seen_at = facts.complete_at;
        if now - seen_at > GAP && is_limited {
            self.now.assume(IceSource::Coturn, (seen_at, now), &listed.by_grant);
        }
        for (id, bytes) in &listed.by_grant {
            if let Some(known) = self.grant(*id).filter(|known| known.has_row) {
                known.add_count(*bytes, now);
            }
        }
        self.now.drop_claims(IceSource::Coturn, now, |_| true);
        self.now.see_until(IceSource::Coturn, now);
        listed
    }

    /// coturn accepted the command to end these sessions.
    pub(in super::super) fn cut_sessions(&mut self, ids: &[SessionId], now: Timestamp) {
        for id in ids {
            if let Some(row) = self.now.sessions.get_mut(id) {
                (row.cut_at, row.stored_at) = (Some(now.as_millis()), row.seen_at);
            }
        }
    }
}
