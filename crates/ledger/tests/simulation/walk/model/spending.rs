//! Who spends: what a source has counted for each grant, and the sums and the room of each user.

use std::collections::BTreeMap;

use turn_ledger::{
    Books, ByteCount, GrantCounts, GrantId, IceSource, Period, PromisedTime, SpenderKey, SpenderKind, Sums,
    Timestamp, User,
};

use super::super::world::METERED;
use super::figures::{Range, at_most, parts};
use super::{Facts, Known, Model, minute_from, minute_of, signed};

/// What is known of the bytes of one grant in this period.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Counted {
    /// Counted for good.
    pub(super) closed: u64,
    /// The most that was counted so far.
    pub(super) measured: u64,
    /// Nobody counted it, so all that was promised is assumed.
    pub(super) assumed: u128,
    /// When more was counted than before.
    seen_at: i64,
    /// Whether it may belong to a period before.
    may_go: bool,
}

/// What its connections claimed for the time after the count of its source.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Claims {
    pub(super) bytes: u64,
    /// When something was last counted or claimed.
    pub(super) seen_at: i64,
    /// Whether a start has computed it from connections that were open.
    pub(super) is_rough: bool,
}

/// The part of bytes of `[from, to)` that is later than an instant.
fn later_part(bytes: u64, from: i64, to: i64, after: i64) -> u64 {
    let size = |millis: i64| u128::try_from(millis).unwrap_or(0);
    let part = (u128::from(bytes) * size(to - after)).checked_div(size(to - from));
    if after <= from { bytes } else { part.and_then(|part| u64::try_from(part).ok()).unwrap_or(0) }
}

impl Facts {
    /// A connection was charged for `[from, at)`.
    pub(super) fn note_charge(
        &mut self,
        grant: Option<GrantId>,
        (before, after): (u64, u64),
        from: i64,
        at: i64,
    ) {
        let start = self.period.map_or(0, |period| period.start.as_millis());
        let of = grant.and_then(|id| self.grants.iter_mut().rev().find(|known| known.id == id));
        let Some(known) = of else { return };
        let seen_until = self.seen_until.get(&known.source).copied().unwrap_or(0);
        let later = |bytes| later_part(bytes, from.max(start), at, seen_until);
        // What was relayed before the reset is of the period before.
        let more = later_part(after.saturating_sub(before), from, at, start);
        let less = before.saturating_sub(after);
        known.charged += signed(more) - signed(less);
        let Claims { bytes, seen_at, .. } = &mut known.claims;
        let charged = u64::try_from(known.charged).unwrap_or(0);
        *bytes = (*bytes + later(more)).saturating_sub(later(less)).min(charged);
        *seen_at = at.max(*seen_at);
    }

    /// A source has counted these grants until an instant.
    pub(super) fn drop_claims(
        &mut self,
        source: IceSource,
        until: i64,
        is_counted: impl Fn(GrantId) -> bool,
    ) {
        let from = self.seen_until.get(&source).copied().unwrap_or(0);
        for known in self.grants.iter_mut().filter(|known| known.source == source && is_counted(known.id)) {
            let seen_at = known.claims.seen_at.max(known.counted.seen_at);
            known.claims.bytes = later_part(known.claims.bytes, from.max(known.issued_at), seen_at, until);
        }
    }

    /// Nobody counted the grants of a source for some time, apart from these bytes: users are charged what was promised.
    pub(super) fn assume(
        &mut self,
        source: IceSource,
        (from, until): (i64, i64),
        counted: &BTreeMap<GrantId, u64>,
    ) {
        let start = self.period.map_or(0, |period| period.start.as_millis());
        let (from, until) = (minute_of(from.max(start)), minute_from(until));
        for known in self.grants.iter_mut().filter(|known| known.source == source && known.has_row) {
            let counted = counted.get(&known.id).copied().unwrap_or(0);
            known.counted.assumed += known.of_user(from, until).saturating_sub(counted.into());
        }
    }

    /// A source has counted all its grants until an instant.
    pub(super) fn see_until(&mut self, source: IceSource, until: i64) {
        let seen = self.seen_until.entry(source).or_default();
        *seen = until.max(*seen);
    }
}

impl Known {
    /// A part of this period is its time.
    pub(super) fn is_of(&mut self, period: Period) {
        self.days = (self.issued_at.max(period.start.as_millis()), period.end.as_millis());
    }

    /// Its source has counted so many bytes more of it.
    pub(super) fn add_count(&mut self, bytes: u64, now: i64) {
        self.counted.closed += bytes;
        if self.counted.closed > self.counted.measured {
            (self.counted.measured, self.counted.seen_at) = (self.counted.closed, now);
        }
    }

    /// Whether so many bytes are those that were counted of it.
    pub(super) fn is_counted(&mut self, measured: u64) -> bool {
        if std::mem::take(&mut self.counted.may_go) && measured == 0 {
            self.counted = Counted::default();
        }
        measured == self.counted.measured
    }

    /// Whether it counts as a grant of the period that begins at `start`, at least and at most. One that has left the table counts
    /// for the day of its last bytes.
    fn counts(&self, start: i64) -> Range {
        let (first, last) = self.days;
        let is_of = [self.has_row || first >= start, self.has_row || last > start];
        Range { least: is_of[0].into(), most: is_of[1].into() }
    }

    /// What its user may relay because of it in these minutes.
    fn of_user(&self, from: i64, until: i64) -> u128 {
        parts(&self.promised(), from, until, 0)
    }
}

impl Model {
    /// A source has counted its grants. `counted_until`: everything before was counted for good.
    pub(in super::super) fn count(
        &mut self,
        source: IceSource,
        counts: &GrantCounts,
        start: Timestamp,
        is_limited: bool,
    ) {
        let (from, until) = (counts.from.as_millis(), counts.until.as_millis());
        let mut unknown = counts.other.sent.get();
        let mut known_ids = vec![];
        for known in self.now.grants.iter_mut().filter(|known| known.source == source && known.has_row) {
            let bytes = counts.by_grant.get(&known.id).map(|traffic| traffic.sent.get());
            known_ids.push(known.id);
            if let Some(bytes) = bytes {
                let total = known.counted.closed + bytes;
                if total > known.counted.measured {
                    (known.counted.measured, known.counted.seen_at) = (total, until);
                }
                if counts.is_final {
                    known.counted.closed = total;
                }
            } else if counts.is_final && !counts.is_complete && is_limited {
                let from = minute_of(from.max(start.as_millis()));
                known.counted.assumed += known.of_user(from, minute_from(until));
            }
        }
        self.now.drop_claims(source, until, |id| counts.is_complete || counts.by_grant.contains_key(&id));
        if counts.is_complete {
            self.now.see_until(source, until);
        }
        let others = counts.by_grant.iter().filter(|(id, _)| !known_ids.contains(id));
        unknown += others.map(|(_, traffic)| traffic.sent.get()).sum::<u64>();
        let (closed, measured) = &mut self.now.unknown;
        *measured = (*measured).max(*closed + unknown);
        if counts.is_final {
            *closed += unknown;
        }
    }

    /// The relay has carried so much for each grant since its last count, which ends now.
    pub(in super::super) fn count_relayed(&mut self, by_grant: &BTreeMap<GrantId, u64>, now: i64) {
        for (id, bytes) in by_grant {
            if let Some(known) = self.grant(*id).filter(|known| known.has_row) {
                known.add_count(*bytes, now);
            }
        }
        self.now.drop_claims(IceSource::Relay, now, |_| true);
        self.now.see_until(IceSource::Relay, now);
        self.now.relayed_until = now;
    }

    /// A period begins: nothing is spent in it.
    pub(super) fn begin_spending(&mut self, period: Period) {
        self.now.unknown = (0, 0);
        let was = self.now.period.unwrap_or(period);
        let is_next = was.end <= period.start;
        self.now.trial.begin_period(is_next);
        self.now.flows.retain(|flow| flow.at.max(flow.to) >= was.start.as_millis());
        self.now.is_rough &= !self.now.connections.is_empty();
        self.now.is_reopened = period.start < was.start || (self.now.is_reopened && !is_next);
        for session in &mut self.now.sessions_of_pages {
            session.begin_period(is_next);
        }
        for known in &mut self.now.grants {
            // On another billing day, what was counted of a grant stays whole, or goes whole to the day of its last bytes.
            if is_next {
                (known.counted, known.charged, known.claims) = (Counted::default(), 0, Claims::default());
            } else {
                known.claims.is_rough = true;
            }
            known.counted.may_go = !is_next && known.counted.seen_at < period.start.as_millis();
            if known.is_live {
                known.is_of(period);
            }
        }
    }

    /// A row has left the table. What nobody has counted of it is assumed to have been relayed.
    pub(super) fn forget(known: &mut Known, counted_until: Timestamp, end: Timestamp, is_limited: bool) {
        if is_limited && known.has_row {
            let from = minute_of(counted_until.as_millis());
            let until = known.until.max(minute_from(known.expires_at)).min(minute_of(end.as_millis()));
            known.counted.assumed += known.of_user(from, until);
        }
    }

    /// Compares the sums of each user, and the room that is taken for each. `held`: what is reserved for credentials that are being
    /// made. `sampling`: the margin of the counts, in percent; `None` if not all bytes are known here.
    pub(in super::super) fn check_users(
        &self,
        books: &mut Books,
        held: &[(IceSource, Option<u64>, PromisedTime)],
        sampling: Option<u32>,
        is_limited: bool,
    ) -> Option<String> {
        let figures = books.snapshot().figures;
        let (start, end) = (figures.period.start.as_millis(), minute_of(figures.period.end.as_millis()));
        for user in 0..3 {
            let name = User::new(&user.to_string())?;
            let theirs: Vec<_> = self.now.grants.iter().filter(|known| known.user == Some(user)).collect();
            let (mut measured, mut settled, mut grants) = (0, 0, Range::default());
            for known in &theirs {
                let Range { least, most } = known.counts(start);
                grants.add(least, most);
                let sampling = sampling.filter(|_| known.source == IceSource::Cloudflare);
                settled += at_most(known.counted.closed, sampling.unwrap_or(0)) + known.counted.assumed;
                measured += known.counted.measured;
            }
            let sessions = self.now.sessions_of_pages.iter().filter(|session| session.user == Some(user));
            let sessions: Vec<_> = sessions.collect();
            let is_live = |id: GrantId| books.grants().get(id).is_some();
            for session in &sessions {
                grants.add(is_live(session.id).into(), session.begun.into());
            }
            let live = theirs.iter().filter(|known| known.is_live).count()
                + sessions.iter().filter(|session| is_live(session.id)).count();
            let live = u64::try_from(live).unwrap_or(0);
            let tracks =
                sessions.iter().filter(|session| is_live(session.id)).filter_map(|session| session.promise);
            let tracks: Vec<_> = tracks.map(PromisedTime::from).collect();
            let row = books.grants().spenders().get(&SpenderKey::User(name.clone()));
            let (sums, found_live) = row.map(|row| (row.sums, row.live)).unzip();
            let sums = sums.unwrap_or_default();
            let found = (sums.grants(), found_live.unwrap_or(0));
            if !grants.contains(found.0) || found.1 != live {
                return Some(format!(
                    "user {user} has {found:?} grants in all and live, not {grants:?} and {live}"
                ));
            }
            if sampling.is_some()
                && (sums.measured().get(), u128::from(sums.settled().get())) != (measured, settled)
            {
                return Some(format!(
                    "{sums:?} of user {user}, but {measured} are measured and {settled} settled"
                ));
            }
            let Some(share) = books.user_share(&name) else { continue };
            let settled = u128::from(sums.settled().get());
            let (mut committed, mut next) = (Range::default(), Range::default());
            committed.add(settled, settled);
            for source in METERED {
                let rate = books.ledger().bytes_per_minute(source);
                let from = minute_of(books.grants().counted_until(source).as_millis());
                let theirs = theirs.iter().filter(|known| known.source == source && known.has_row);
                let held = held.iter().filter(|(of, by, _)| (*of, *by) == (source, Some(user)));
                let times = theirs.map(|known| known.promised()).chain(held.map(|(.., time)| *time));
                let tracks = tracks.iter().filter(|_| source == IceSource::Sfu).copied();
                for time in times.chain(tracks).filter(|_| is_limited) {
                    let bytes = |from, until| [0, rate].map(|rate| parts(&time, from, until, rate));
                    let ([this_least, this_most], [next_least, next_most]) =
                        (bytes(from, end), bytes(end.max(from), i64::MAX));
                    committed.add(this_least, this_most);
                    next.add(next_least, next_most);
                }
            }
            let used = sums.bytes();
            let [found, found_next] =
                [share.committed, share.committed_next].map(|bytes| u128::from(bytes.get()));
            let is_right = share.usage.used == used
                && (committed.least.max(used.get().into())..=committed.most.max(used.get().into()))
                    .contains(&found)
                && (next.least..=next.most).contains(&found_next);
            if !is_right {
                return Some(format!("user {user} has {share:?}, not {used:?}, {committed:?}, {next:?}"));
            }
        }
        self.check_kinds(books, figures.used, start)
    }

    /// The rows of each kind add up to what was used, and name each address with its grants.
    fn check_kinds(&self, books: &Books, used: ByteCount, start: i64) -> Option<String> {
        for kind in SpenderKind::ALL {
            let rows = books.spenders(kind, 1_000, None);
            let sum = |of: fn(&Sums) -> ByteCount| rows.iter().map(|row| of(&row.sums).get()).sum::<u64>();
            let (bytes, measured) = (sum(Sums::bytes), sum(Sums::measured));
            // What is claimed beyond what is used is less in proportion, rounded down in each row.
            let rounding = u64::try_from(rows.len()).unwrap_or(0);
            if bytes.abs_diff(used.get().max(measured)) > rounding {
                return Some(format!("the rows of {kind:?} add up to {bytes}, but {used:?} are used"));
            }
        }
        let mut by_address = BTreeMap::<_, (Range, u64)>::new();
        for known in &self.now.grants {
            let (Some(client), Range { least, most }) = (known.client, known.counts(start)) else { continue };
            let (grants, live) = by_address.entry(SpenderKey::Client(client)).or_default();
            grants.add(least, most);
            *live += u64::from(known.is_live);
        }
        by_address.into_iter().find_map(|(key, (grants, live))| {
            let row = books.grants().spenders().get(&key);
            let found = row.map_or((0, 0), |row| (row.sums.grants(), row.live));
            let is_right = grants.contains(found.0) && found.1 == live;
            (!is_right).then(|| format!("{key:?} has {found:?} grants, not {grants:?} and {live}"))
        })
    }

    /// Bytes under identifiers that the ledger does not know.
    pub(in super::super) fn unknown(&self) -> u64 {
        self.now.unknown.1
    }
}
