//! What grants have spent in this period, and who has spent it. Every change of a row's bytes changes the sums of its user, label,
//! origin and address by the same difference. A grant that has ended stays in the table as history until the period ends.
#![cfg_attr(not(test), warn(clippy::arithmetic_side_effects))]

use std::collections::btree_map::Entry;
use std::collections::{BTreeMap, HashMap};
use std::net::IpAddr;

use super::counted::{CountedSource, CountedSources, FastGrant};
use super::ended::EndedGrants;
use super::spent::{Charge, Spent};
use super::{GrantRow, Grants};
use crate::connection::BilledDirections;
use crate::grant_counts::GrantCounts;
use crate::minute::Minute;
use crate::period::Period;
use crate::source::IceSource;
use crate::spender::{Spender, User};
use crate::spenders::{Keys, SpenderKey, SpenderTerms, Spenders, Sums, UserPromises};
use crate::token::GrantId;
use crate::units::{BitRate, ByteCount, Timestamp};

/// How bytes are attributed to who spends them.
#[derive(Clone, Debug, Default)]
pub struct SpendingTerms {
    /// Limits and bounds.
    pub spenders: SpenderTerms,
    /// Whether room is taken for what a user's grants may still relay.
    pub is_strict: bool,
    /// The margin of error of each source's count, in percent.
    pub sampling: Vec<(IceSource, u32)>,
    /// Bytes that one grant may relay in a minute.
    pub per_minute: u128,
}

impl SpendingTerms {
    /// Whether room is taken for each user.
    pub(super) fn promises(&self) -> bool {
        self.is_strict && self.spenders.user_limit.is_some()
    }

    fn keys(&self, row: &GrantRow) -> Keys {
        if !row.source.is_metered() {
            return Keys::default();
        }
        let Spender { user, label, origin } = row.spender.as_deref().cloned().unwrap_or_default();
        let address = self.address(row);
        [user.map(SpenderKey::User), label.map(SpenderKey::Label), origin.map(SpenderKey::Origin), address]
    }

    /// What is kept of a client's address.
    pub(super) fn address(&self, row: &GrantRow) -> Option<SpenderKey> {
        let client = || row.client.map(SpenderKey::Client);
        let whole = || row.address.as_deref().map(|address| SpenderKey::Address(IpAddr::V6(*address)));
        match self.spenders.addresses {
            KeptAddresses::Full => whole().or_else(client),
            KeptAddresses::Prefix => client(),
            KeptAddresses::None => None,
        }
    }

    fn share(&self, row: &GrantRow) -> Sums {
        let spent = row.spent();
        let sampling = self.sampling.iter().find(|(source, _)| *source == row.source);
        let settled = spent.settled(sampling.map_or(0, |(_, percent)| *percent));
        let seen = [row.issued_at, row.issued_at.max(spent.seen_at())];
        Sums::of_grant(spent.measured(), spent.claimed(), settled, seen)
    }
}

/// What of a client's address is kept with a grant for the sums. The limits of a client do not depend on it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum KeptAddresses {
    /// The whole address.
    Full,
    /// An IPv4 address, or the first 64 bits of an IPv6 address.
    #[default]
    Prefix,
    /// Nothing.
    None,
}

impl Grants {
    /// The same table with these terms. To be called before any grant is in it.
    #[must_use]
    pub fn with_spending(self, spending: SpendingTerms) -> Self {
        let spenders = Spenders::new(spending.spenders.bounds, spending.spenders.user_limit.is_some());
        Self { spending, spenders, ..self }
    }

    /// Bytes that one user may use in a period.
    #[must_use]
    pub(crate) fn user_limit(&self) -> Option<ByteCount> {
        self.spending.spenders.user_limit
    }

    /// Whether room is taken for what each user's grants may relay.
    pub(crate) fn promises_to_users(&self) -> bool {
        self.spending.promises()
    }

    /// Whether whole addresses are kept.
    pub(crate) fn keeps_whole_addresses(&self) -> bool {
        self.spending.spenders.addresses == KeptAddresses::Full
    }

    /// The grant that relayed fastest in this period, if one was faster than assumed.
    #[must_use]
    pub fn fastest(&self) -> Option<FastGrant> {
        self.counted.values().filter_map(|counted| counted.fastest).max_by_key(|fast| fast.rate)
    }

    /// The sums by who spends.
    #[must_use]
    pub fn spenders(&self) -> &Spenders {
        &self.spenders
    }

    /// All grants of this period, live and ended, in no order.
    pub fn iter(&self) -> impl Iterator<Item = (&GrantId, &GrantRow)> {
        self.rows.iter().map(|(id, row)| (id, &**row)).chain(self.ended.iter())
    }

    /// The live grants of a user.
    pub(crate) fn live_of(&self, user: &User) -> Vec<GrantId> {
        let is_theirs =
            |row: &GrantRow| row.spender.as_deref().and_then(|spender| spender.user.as_ref()) == Some(user);
        self.rows.iter().filter(|(_, row)| is_theirs(row)).map(|(id, _)| *id).collect()
    }

    /// How many ended grants are kept.
    #[must_use]
    pub fn ended_count(&self) -> usize {
        self.ended.len()
    }

    /// Until when a source has counted its grants in this period for good.
    #[must_use]
    pub fn counted_until(&self, source: IceSource) -> Timestamp {
        let until = self.counted.get(&source).map_or(Timestamp::default(), |counted| counted.until);
        until.max(self.period.start)
    }

    /// Bytes of this period that sources counted under identifiers that are not those of a grant in the table.
    #[must_use]
    pub fn unknown_bytes(&self) -> ByteCount {
        self.counted.values().map(CountedSource::unknown).fold(ByteCount::ZERO, ByteCount::plus)
    }

    /// The state of the counts, for storing.
    pub(crate) fn counted(&self) -> &CountedSources {
        &self.counted
    }

    /// Notes what a connection of a grant was charged.
    pub(crate) fn charge(&mut self, id: GrantId, charge: &Charge) {
        if self.change_spent(id, |spent| spent.charge(charge)) && charge.is_last {
            self.dirty.note(id);
        }
    }

    /// Takes what a source counted for its grants since [`Self::counted_until`]. What a span that begins later leaves out was not
    /// counted by anybody. `false`, and nothing changes, for a span that begins earlier.
    pub(crate) fn take_counts(
        &mut self,
        source: IceSource,
        counts: &GrantCounts,
        billed: BilledDirections,
    ) -> bool {
        let counted_until = self.counted_until(source);
        if counts.from < counted_until || counts.until < counts.from {
            return false;
        }
        let mut unknown = counts.other.billed(billed);
        let mut fastest = None;
        for (id, traffic) in &counts.by_grant {
            let bytes = traffic.billed(billed);
            fastest = self.fast(*id, bytes, counts.from, counts.until).max(fastest);
            if !self.count_bytes(source, *id, bytes, counts.is_final, counts.until) {
                unknown = unknown.plus(bytes);
            }
        }
        if counts.is_final && counts.from > counted_until {
            self.assume(source, counted_until, counts.from, |_| None);
        }
        if counts.is_final && !counts.is_complete {
            self.assume(source, counts.from, counts.until, |id| {
                counts.by_grant.contains_key(&id).then_some(u128::MAX)
            });
        }
        let (start, counted) = (self.period.start, self.counted.entry(source).or_default());
        counted.unknown.period = start;
        counted.unknown.count(unknown, counts.is_final, counts.until);
        counted.fastest = counted.fastest.max(fastest);
        if counts.is_final {
            counted.until = counts.until;
        }
        true
    }

    /// Takes what a source that is watched here has counted for its grants since the last call. `until`: everything before it is
    /// counted; `None` if some of it may be missing.
    pub(crate) fn add_counts(
        &mut self,
        source: IceSource,
        added: &BTreeMap<GrantId, ByteCount>,
        until: Option<Timestamp>,
        now: Timestamp,
    ) {
        let mut unknown = ByteCount::ZERO;
        let mut fastest = None;
        for (id, bytes) in added {
            if self.count_bytes(source, *id, *bytes, true, now) {
                // Two looks are too close together for a rate, so the time since its issue is taken.
                let total = row_of(&mut self.rows, &mut self.ended, *id).map(|row| row.spent().measured());
                fastest = self.fast(*id, total.unwrap_or_default(), self.period.start, now).max(fastest);
            } else {
                unknown = unknown.plus(*bytes);
            }
        }
        let (start, counted) = (self.period.start, self.counted.entry(source).or_default());
        counted.unknown.period = start;
        counted.unknown.count(unknown, true, now);
        counted.fastest = counted.fastest.max(fastest);
        counted.until = counted.until.max(until.unwrap_or_default());
    }

    /// The rate of a grant that relayed these bytes within a span of time, if it was faster than assumed. A minute of grace covers
    /// counts by the minute.
    fn fast(&self, grant: GrantId, bytes: ByteCount, from: Timestamp, until: Timestamp) -> Option<FastGrant> {
        let row = self.get(grant).or_else(|| self.ended.get(grant))?;
        let end = row.alive_until.map_or(until, |end| end.start().min(until));
        let millis = end.millis_since(from.max(row.issued_at)).max(Minute::MILLIS);
        let allowed =
            self.spending.per_minute.saturating_mul(u128::from(millis.saturating_add(Minute::MILLIS)));
        let relayed = u128::from(bytes.get()).saturating_mul(Minute::MILLIS.into());
        let rate = u128::from(bytes.get()).saturating_mul(8_000).checked_div(millis.into()).unwrap_or(0);
        let rate = BitRate::new(u64::try_from(rate).unwrap_or(u64::MAX));
        (relayed > allowed).then_some(FastGrant { rate, grant })
    }

    /// Nobody counted a source's grants in `[from, until)`, apart from what `counted` says. Users are charged what may have been
    /// relayed.
    pub(crate) fn assume(
        &mut self,
        source: IceSource,
        from: Timestamp,
        until: Timestamp,
        counted: impl Fn(GrantId) -> Option<u128>,
    ) {
        if !self.spending.promises() {
            return;
        }
        let from = Minute::of(from.max(self.period.start));
        let until = Minute::from_end(until);
        let per_minute = self.spending.per_minute;
        let missing = |(id, row): (&GrantId, &GrantRow)| {
            let minutes = row.promised_minutes();
            let minutes = minutes.end.min(until).since(minutes.start.max(from));
            let most = u128::from(minutes).saturating_mul(per_minute);
            let bytes = ByteCount::saturating(most.saturating_sub(counted(*id).unwrap_or(0)));
            (row.source == source && bytes > ByteCount::ZERO).then_some((*id, bytes))
        };
        let missing: Vec<_> = self.iter().filter_map(missing).collect();
        for (id, bytes) in missing {
            self.change_spent(id, |spent| spent.assumed = spent.assumed.plus(bytes));
            self.dirty.note(id);
        }
    }

    /// What a user has used and may still use.
    pub(crate) fn promises_of(&mut self, user: &User) -> UserPromises {
        let (counted, start) = (&self.counted, self.period.start);
        let until = |source| counted_until(counted, start, source);
        self.spenders.of_user(user, self.period.end, &until)
    }

    /// Whether a user has a row in the sums, or can get one.
    pub(crate) fn has_room_for(&mut self, user: &User, now: Timestamp) -> bool {
        let (counted, start) = (&self.counted, self.period.start);
        let until = |source| counted_until(counted, start, source);
        self.spenders.has_room_for(user, now, self.period.end, &until)
    }

    /// Takes room for a grant of a user that may relay in these minutes.
    pub(crate) fn promise(&mut self, user: &User, source: IceSource, minutes: &std::ops::Range<Minute>) {
        self.spenders.promise(user, source, minutes);
    }

    /// Reverses [`Self::promise`].
    pub(crate) fn withdraw(&mut self, user: &User, source: IceSource, minutes: &std::ops::Range<Minute>) {
        self.spenders.withdraw(user, source, minutes);
    }

    /// A grant of a user has no row, so what it may relay counts as used.
    pub(crate) fn assume_all(&mut self, user: &User, minutes: u64, now: Timestamp) {
        let bytes = u128::from(minutes).saturating_mul(self.spending.per_minute);
        self.spenders.assume(user, ByteCount::saturating(bytes), now);
    }

    /// A connection without a grant was charged.
    pub(crate) fn charge_ungranted(&mut self, spender: &Spender, charge: &Charge) {
        let Spender { user, label, origin } = spender.clone();
        let keys =
            [user.map(SpenderKey::User), label.map(SpenderKey::Label), origin.map(SpenderKey::Origin), None];
        self.spenders.add_kept(&keys, &Sums::of_charge(charge.before, charge.after, charge.at));
    }

    /// Begins a period: nothing has been spent in it, and the grants that ended before are forgotten.
    pub(crate) fn begin_period(&mut self, period: Period) {
        self.period = period;
        self.spenders.clear();
        for id in self.ended.take_all() {
            self.dirty.note_removed(id);
        }
        for (id, row) in &mut self.rows {
            if let Some(spent) = &mut row.spent {
                spent.begin(period.start);
                if spent.is_empty() {
                    // The stored value names the last period, so it needs no change.
                    row.spent = None;
                } else {
                    self.dirty.note(*id);
                }
            }
            self.spenders.add(&self.spending.keys(row), &self.spending.share(row), true);
        }
        for counted in self.counted.values_mut() {
            counted.unknown.begin(period.start);
            counted.fastest = None;
        }
    }

    /// Restores the stored counts and sums. Sources without a stored state are counted from `now` on.
    pub(crate) fn restore_counts(
        &mut self,
        counted: CountedSources,
        sources: impl Iterator<Item = IceSource>,
        now: Timestamp,
    ) {
        self.counted = counted;
        let begin = Minute::of(now).start();
        for source in sources.filter(|source| source.is_metered()) {
            if let Entry::Vacant(counted) = self.counted.entry(source) {
                counted.insert(CountedSource::since(begin));
                self.assume(source, Timestamp::default(), begin, |_| None);
            } else if source == IceSource::Relay {
                // What it carried since the last write of its counts is lost with the process.
                self.assume(source, self.counted_until(source), now, |_| None);
                self.add_counts(source, &BTreeMap::new(), Some(now), now);
            }
        }
    }

    /// Puts the rows as stored into the sums. `of`: the start of the period that their bytes must belong to.
    pub(super) fn restore_spending(&mut self, of: Option<Timestamp>) {
        let (rows, ended): (HashMap<_, _>, _) =
            std::mem::take(&mut self.rows).into_iter().partition(|(_, row)| !row.ended);
        self.rows = rows;
        self.ended = EndedGrants::restore(ended.into_iter().map(|(id, row)| (id, *row)).collect());
        let start = self.period.start;
        let mut restamped = vec![];
        let ids: Vec<_> = self.iter().map(|(id, _)| *id).collect();
        for id in ids {
            let is_live = self.rows.contains_key(&id);
            let Some(row) = row_of(&mut self.rows, &mut self.ended, id) else { continue };
            let spent = row.spent.take().filter(|spent| Some(spent.period) == of);
            row.spent = spent.map(|spent| Box::new(spent.without_open()));
            if let Some(spent) = row.spent.as_deref_mut().filter(|spent| spent.period != start) {
                spent.period = start;
                restamped.push(id);
            }
            if is_live {
                self.due.entry(row.ends_in()).or_default().push(id);
            }
            let keys = self.spending.keys(row);
            self.spenders.add(&keys, &self.spending.share(row), is_live);
            if let ([Some(SpenderKey::User(user)), ..], true) = (&keys, self.spending.promises()) {
                self.spenders.promise(user, row.source, &row.promised_minutes());
            }
        }
        for id in restamped {
            self.dirty.note(id);
        }
    }

    /// A row was added.
    pub(super) fn enter(&mut self, id: GrantId) {
        if let Some(row) = self.rows.get(&id) {
            self.due.entry(row.ends_in()).or_default().push(id);
            self.spenders.add(&self.spending.keys(row), &self.spending.share(row), true);
        }
    }

    /// A row was removed, because its credential was not handed out.
    pub(super) fn leave(&mut self, id: GrantId, row: &GrantRow) {
        if let Some(ids) = self.due.get_mut(&row.ends_in()) {
            ids.retain(|due| *due != id);
        }
        let keys = self.spending.keys(row);
        self.spenders.remove(&keys, &self.spending.share(row), true);
        if let ([Some(SpenderKey::User(user)), ..], true) = (&keys, self.spending.promises()) {
            self.spenders.withdraw(user, row.source, &row.promised_minutes());
        }
    }

    /// Ends the grants whose time is over.
    pub(super) fn end_due(&mut self, now: Timestamp) {
        let minute = Minute::of(now);
        let mut stay = vec![];
        while let Some(first) = self.due.first_entry().filter(|first| *first.key() <= minute) {
            for id in first.remove() {
                match self.rows.get(&id) {
                    Some(row) if row.is_live(now) => stay.push((row.ends_in().max(minute), id)),
                    Some(_) => self.end(id),
                    None => {}
                }
            }
        }
        for (until, id) in stay {
            self.due.entry(until).or_default().push(id);
        }
    }

    fn end(&mut self, id: GrantId) {
        let Some(mut row) = self.rows.remove(&id) else { return };
        if let Some(at) = row.revoked_at {
            self.revoked.remove(&(at, id));
        }
        self.spenders.end(&self.spending.keys(&row));
        if !row.source.is_metered() {
            self.dirty.note_removed(id);
            return;
        }
        // Only what a history shows is kept.
        (row.ended, row.username) = (true, None);
        self.dirty.note(id);
        self.ended.push(id, *row);
        while let Some(oldest) = self.ended.beyond(self.spending.spenders.ended_max) {
            self.drop_oldest(oldest);
        }
    }

    /// Removes the oldest ended grant. What it spent stays in the sums, and so does what nobody has counted of it.
    fn drop_oldest(&mut self, id: GrantId) {
        if self.spending.promises()
            && let Some(row) = self.ended.get(id)
        {
            let (source, minutes) = (row.source, row.promised_minutes());
            let user = row.spender.as_deref().and_then(|spender| spender.user.clone());
            let from = Minute::of(self.counted_until(source)).max(minutes.start);
            let bytes = u128::from(minutes.end.since(from)).saturating_mul(self.spending.per_minute);
            let bytes = ByteCount::saturating(bytes);
            self.change_spent(id, |spent| spent.assumed = spent.assumed.plus(bytes));
            if let Some(user) = user {
                self.spenders.withdraw(&user, source, &minutes);
            }
        }
        if let Some(row) = self.ended.pop() {
            self.spenders.keep(&self.spending.keys(&row), &self.spending.share(&row));
            self.dirty.note_removed(id);
        }
    }

    fn count_bytes(
        &mut self,
        source: IceSource,
        id: GrantId,
        bytes: ByteCount,
        is_final: bool,
        at: Timestamp,
    ) -> bool {
        let row = row_of(&mut self.rows, &mut self.ended, id);
        if row.is_none_or(|row| row.source != source) {
            return false;
        }
        let mut has_changed = false;
        self.change_spent(id, |spent| {
            let before = *spent;
            spent.count(bytes, is_final, at);
            has_changed = *spent != before;
        });
        if has_changed {
            self.dirty.note(id);
        }
        true
    }

    /// Changes what a grant has spent, and the sums with it. `false` if it is not in the table.
    fn change_spent(&mut self, id: GrantId, change: impl FnOnce(&mut Spent)) -> bool {
        let Some(row) = row_of(&mut self.rows, &mut self.ended, id) else { return false };
        let before = self.spending.share(row);
        let mut spent = row.spent();
        spent.period = self.period.start;
        change(&mut spent);
        match &mut row.spent {
            Some(known) => **known = spent,
            None if spent.is_empty() => {}
            none => *none = Some(Box::new(spent)),
        }
        let after = self.spending.share(row);
        if before != after {
            self.spenders.replace(&self.spending.keys(row), &before, &after);
        }
        true
    }

    /// Changes who spends what a grant relays.
    pub(super) fn change_spender(&mut self, id: GrantId, change: impl FnOnce(&mut GrantRow)) {
        let Some(row) = self.rows.get_mut(&id) else { return };
        let (before, share) = (self.spending.keys(row), self.spending.share(row));
        change(row);
        let after = self.spending.keys(row);
        self.dirty.note(id);
        if before == after {
            return;
        }
        self.spenders.add(&after, &share, true);
        self.spenders.remove(&before, &share, true);
        if let (true, [None, ..], [Some(SpenderKey::User(user)), ..]) =
            (self.spending.promises(), &before, &after)
        {
            self.spenders.promise(user, row.source, &row.promised_minutes());
        }
    }
}

fn counted_until(counted: &CountedSources, start: Timestamp, source: IceSource) -> Minute {
    let until = counted.get(&source).map_or(Timestamp::default(), |counted| counted.until);
    Minute::of(until.max(start))
}

fn row_of<'a>(
    rows: &'a mut HashMap<GrantId, Box<GrantRow>>,
    ended: &'a mut EndedGrants,
    id: GrantId,
) -> Option<&'a mut GrantRow> {
    match rows.get_mut(&id) {
        Some(row) => Some(row),
        None => ended.get_mut(id),
    }
}
