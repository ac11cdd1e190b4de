//! What grants relayed in the last minutes, as their connections claimed it and as their sources counted it.
//! Tests: `src/books/spending/tests/recent.rs`.
//! A count replaces what was claimed for the time that it covers. All this is kept in memory only. A grant without bytes in the last
//! minutes has no entry.

use super::{ConnectionCharge, Spent};
use crate::grants::Grants;
use crate::person::{NamesPerson, Person};
use crate::prelude::*;

/// The most spenders of connections without a grant whose last minutes are kept by name. The minutes of all other spenders have one sum.
pub(crate) const UNGRANTED_MAX: usize = 1_000;

/// The time of what was spent lately. A client that reports nothing is seen only in the counted minutes, and one that has come since the count
/// only in the reported ones, so that of each spender counts in which it has more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RecentTime {
    /// The last minutes before now.
    pub reported: Interval,
    /// The last minutes before the end of the provider's count; `None` without a count.
    pub counted: Option<Interval>,
}

/// The bytes of one minute.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct MinuteBytes {
    measured: ByteCount,
    claimed: ByteCount,
}

/// The last minutes, in order, without minutes that have no bytes.
#[derive(Debug, Default)]
struct RecentMinutes(Vec<(Minute, MinuteBytes)>);

/// See the module's description.
#[derive(Debug, Default)]
pub(crate) struct RecentBytes {
    grants: Shards<GrantId, RecentMinutes>,
    /// The bytes of connections without a grant.
    ungranted: BTreeMap<Spender, RecentMinutes>,
    /// The bytes that were counted under identifiers that the ledger does not know.
    unknown: RecentMinutes,
}

impl RecentMinutes {
    /// Spreads bytes over the minutes in which they flowed. Forgets minutes, with their parts, that are too old at its end. `change` is called with each minute and its part of the bytes.
    fn spread(&mut self, spread: Spread, change: impl Fn(&mut MinuteBytes, ByteCount)) {
        let Interval { from, to } = spread.over;
        let last = Minute::of(to);
        for minute in (Minute::of(from).max(first_minute(to)).number()..=last.number()).map(Minute::new) {
            // Not by its parts: those of an empty span are zero.
            let part = spread.after(minute.start()).minus(spread.after(minute.end()));
            sorted::change(&mut self.0, minute, |of| change(of, part));
        }
        self.forget_before(first_minute(to));
    }

    /// Adds or subtracts the difference of a charge, evenly over the time from `charge.from` to `charge.at`. Leaves out the part before
    /// `counted_until`, because the count has the bytes of that time.
    fn claim(&mut self, charge: &ConnectionCharge, counted_until: Timestamp) {
        let ConnectionCharge { before, after, at, .. } = *charge;
        let from = charge.from.max(counted_until).min(at);
        let uncounted = |bytes| Spread::new(bytes, charge.from, at).after(counted_until);
        let (more, less) = (uncounted(after.minus(before)), uncounted(before.minus(after)));
        self.spread(Spread::new(more, from, at), |of, part| of.claimed = of.claimed.plus(part));
        self.spread(Spread::new(less, from, at), |of, part| of.claimed = of.claimed.minus(part));
    }

    fn count(&mut self, bytes: ByteCount, from: Timestamp, until: Timestamp) {
        self.spread(Spread::new(bytes, from.min(until), until), |of, part| {
            of.measured = of.measured.plus(part);
        });
    }

    /// Everything before `until` is counted, so only claims for the time from `until` on stay. Nothing was claimed for the time after
    /// `seen_at`.
    fn drop_claims(&mut self, until: Timestamp, seen_at: Timestamp) {
        for (minute, of) in &mut self.0 {
            let end = minute.end().min(seen_at.max(minute.start()));
            of.claimed = Spread::new(of.claimed, minute.start(), end).after(until);
        }
        self.0.retain(|(_, of)| *of != MinuteBytes::default());
    }

    fn forget_before(&mut self, first: Minute) {
        self.0.retain(|(minute, _)| *minute >= first);
    }

    /// What was relayed in those of the last minutes that have more.
    fn lately(&self, time: RecentTime) -> MinuteBytes {
        let reported = self.within(time.reported);
        let counted = time.counted.map(|counted| self.within(counted)).unwrap_or_default();
        let all = |of: MinuteBytes| of.measured.plus(of.claimed);
        if all(counted) > all(reported) { counted } else { reported }
    }

    fn within(&self, Interval { from, to }: Interval) -> MinuteBytes {
        let part = |minute: Minute, bytes| Spread { bytes, over: minute.interval().before(to) }.after(from);
        let parts = self.0.iter().filter(|(minute, _)| minute.end() > from && minute.start() < to);
        parts.fold(MinuteBytes::default(), |sum, (minute, of)| MinuteBytes {
            measured: sum.measured.plus(part(*minute, of.measured)),
            claimed: sum.claimed.plus(part(*minute, of.claimed)),
        })
    }
}

impl MinuteBytes {
    fn plus(self, more: Self) -> Self {
        Self { measured: self.measured.plus(more.measured), claimed: self.claimed.plus(more.claimed) }
    }

    fn as_spent(self, seen_at: Timestamp) -> Spent {
        Spent { measured: self.measured, claimed: self.claimed, seen_at, ..Spent::default() }
    }
}

impl RecentBytes {
    /// A connection of a grant was charged. Its source has counted everything before `counted_until`.
    pub(crate) fn claim(&mut self, id: GrantId, charge: &ConnectionCharge, counted_until: Timestamp) {
        self.change(id, |minutes| minutes.claim(charge, counted_until));
    }

    /// Changes the minutes of a grant. Removes the entry of the grant if it has no bytes any more.
    fn change(&mut self, id: GrantId, change: impl FnOnce(&mut RecentMinutes)) {
        let minutes = self.grants.get_or_default(id);
        change(minutes);
        if minutes.0.is_empty() {
            self.grants.remove(&id);
        }
    }

    /// A connection without a grant was charged.
    pub(crate) fn claim_ungranted(&mut self, spender: &Spender, charge: &ConnectionCharge) {
        let is_named = self.ungranted.len() < UNGRANTED_MAX || self.ungranted.contains_key(spender);
        let spender = if is_named { spender.clone() } else { Spender::default() };
        self.ungranted.entry(spender).or_default().claim(charge, Timestamp::default());
    }

    /// The source of a grant has counted bytes from one instant to another.
    pub(crate) fn count(&mut self, id: GrantId, bytes: ByteCount, from: Timestamp, until: Timestamp) {
        if bytes > ByteCount::ZERO {
            self.change(id, |minutes| minutes.count(bytes, from, until));
        }
    }

    /// A source has counted bytes under identifiers that the ledger does not know.
    pub(crate) fn count_unknown(&mut self, bytes: ByteCount, from: Timestamp, until: Timestamp) {
        self.unknown.count(bytes, from, until);
    }

    /// See [`RecentMinutes::drop_claims`].
    pub(crate) fn drop_claims(&mut self, id: GrantId, until: Timestamp, seen_at: Timestamp) {
        self.change(id, |minutes| minutes.drop_claims(until, seen_at));
    }

    pub(crate) fn remove(&mut self, id: GrantId) {
        self.grants.remove(&id);
    }

    /// Forgets what a grant relayed too long ago.
    pub(crate) fn forget_old(&mut self, id: GrantId, now: Timestamp) {
        if self.grants.contains_key(&id) {
            self.change(id, |minutes| minutes.forget_before(first_minute(now)));
        }
    }

    /// Forgets what connections without a grant and unknown identifiers relayed too long ago.
    pub(crate) fn forget_old_of_others(&mut self, now: Timestamp) {
        let first = first_minute(now);
        self.unknown.forget_before(first);
        self.ungranted.retain(|_, minutes| {
            minutes.forget_before(first);
            !minutes.0.is_empty()
        });
    }
}

impl Grants {
    /// What a grant has relayed lately, measured and claimed.
    pub(crate) fn recent_of(&self, id: GrantId, time: RecentTime) -> Spent {
        let minutes = self.recent.grants.get(&id);
        let seen_at = self.any(id).map(|row| row.spent().seen_at).unwrap_or_default();
        minutes.map(|minutes| minutes.lately(time).as_spent(seen_at)).unwrap_or_default()
    }

    /// How many grants have relayed something within [`RECENT_MAX`], to the minute.
    pub fn relaying(&self) -> usize {
        self.recent.grants.len()
    }

    /// The next grants of a walk through those of [`Self::relaying`], at most `most`.
    pub(crate) fn next_recent(&self, walk: &mut Walk, most: usize) -> Vec<GrantId> {
        walk.next(&self.recent.grants, most).into_iter().map(|(id, _)| *id).collect()
    }

    /// What connections without a grant have relayed lately, by spender. The bytes under unknown identifiers come last, without a spender.
    pub(crate) fn recent_others(&self, time: RecentTime) -> impl Iterator<Item = (Spender, Spent)> {
        let named = self.recent.ungranted.iter().map(|(spender, minutes)| (spender.clone(), minutes));
        let all = named.chain([(Spender::default(), &self.recent.unknown)]);
        all.map(move |(spender, minutes)| (spender, minutes.lately(time).as_spent(time.reported.to)))
    }

    /// Bytes that sources have counted lately under identifiers that the ledger does not know.
    pub fn recent_unknown_bytes(&self, time: RecentTime) -> ByteCount {
        self.recent.unknown.lately(time).measured
    }
}

/// The first minute that is kept at `now`: the one that was running [`RECENT_MAX`] before `now`.
fn first_minute(now: Timestamp) -> Minute {
    let most = i64::try_from(RECENT_MAX.as_secs() / 60).unwrap_or(0);
    Minute::new(Minute::of(now).number().saturating_sub(most))
}

impl NamesPerson for RecentBytes {
    /// In the bytes of connections without a grant.
    fn forget(&mut self, who: &mut Person) {
        for (spender, RecentMinutes(minutes)) in std::mem::take(&mut self.ungranted) {
            let of = self.ungranted.entry(who.removed_from(&spender).unwrap_or(spender)).or_default();
            for (minute, bytes) in minutes {
                sorted::change(&mut of.0, minute, |sum| *sum = sum.plus(bytes));
            }
        }
    }
}
