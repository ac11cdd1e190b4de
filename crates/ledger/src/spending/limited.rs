//! What each user and each server key has spent in this period and may still relay, for their limits.
//! Tests: `src/books/spending/tests/limits.rs`.
//! A sum with bytes stays until the period ends, so nobody uses a limit twice. A new user is refused when the table is full, or when the
//! server key that names the user has its share of the table. Then sums without bytes leave; in strict mode only those without a promise,
//! which counts against the limit there. Server keys are few, and always have a place.

use std::ops::Range;

use super::Sums;
use super::spent::PromisedMinutes;
use crate::person::{NamesPerson, Person};
use crate::prelude::*;

/// The first minute of each source that still counts as promised.
pub(crate) type Uncounted = [(IceSource, Minute); IceSource::ALL.len()];

/// Who can have a limit.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Limited {
    /// A user.
    User(User),
    /// The name of a server key.
    Server(Label),
}

impl Limited {
    /// The user and the server key of a spender: both can have a limit.
    pub fn of(spender: Option<&Spender>) -> impl Iterator<Item = Self> + '_ {
        let user = spender.and_then(|spender| spender.user.clone());
        let server = spender.and_then(|spender| spender.server.clone());
        user.map(Self::User).into_iter().chain(server.map(Self::Server))
    }
}

/// What a user or a server key has used in this period, and what may come.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LimitedPromises {
    /// Bytes of its grants, and of its connections without a grant.
    pub used: ByteCount,
    /// Bytes that no promise covers: counted for good, assumed for time that nobody counted, or charged without a grant.
    pub settled: ByteCount,
    /// What is promised at each source.
    pub promised: Vec<SourcePromises>,
}

/// A server key can name users in at most one part in this many of the table.
const SERVER_PART: usize = 4;

/// How somebody comes to be named.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Named<'a> {
    /// By a request for a credential, which may come with a server key.
    WithMint(Option<&'a Label>),
    /// By a program that reports a connection, or that makes credentials of its own.
    WithoutMint,
}

impl LimitedPromises {
    /// Worst case for this whole period. It is `settled` plus the promises of `uncounted`, or `used` plus the promises of `ahead` if that
    /// is more: then reports exceed the promises of the minutes until now. `bytes_of`: what grants of a source may relay in these minutes.
    pub(crate) fn committed(&self, bytes_of: impl Fn(IceSource, GrantMinutes) -> u128) -> ByteCount {
        let sum = |bytes: ByteCount, minutes: fn(&SourcePromises) -> GrantMinutes| {
            let promised = self.promised.iter().map(|of| bytes_of(of.source, minutes(of)));
            promised.fold(bytes.get().into(), u128::saturating_add)
        };
        ByteCount::saturating(sum(self.settled, |of| of.uncounted).max(sum(self.used, |of| of.ahead)))
    }
}

/// Promised grant-minutes of one source.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SourcePromises {
    /// The source.
    pub source: IceSource,
    /// The minutes of this period that are not counted yet.
    pub uncounted: GrantMinutes,
    /// The part of `uncounted` that is not over yet.
    pub ahead: GrantMinutes,
    /// The minutes after this period.
    pub next: GrantMinutes,
}

/// See the module's description.
#[derive(Debug, Default)]
pub(crate) struct LimitedSums {
    sums: Shards<Limited, LimitedSum>,
    /// How many users each server key has named.
    named_by: BTreeMap<Label, usize>,
    /// The most sums: with this many, a new user gets none.
    most: usize,
    /// Whether promises count against the limits, as in strict mode.
    counts_promises: bool,
    /// When all promises were last looked through, to remove idle sums.
    swept_at: Minute,
}

#[derive(Debug, Default)]
struct LimitedSum {
    /// The server key that named the user.
    named_by: Option<Label>,
    total: Sums,
    /// Where its grants may relay.
    promised: PromisedMinutes,
}

impl NamesPerson for LimitedSums {
    /// In what users have spent. Promises stay: one for a credential that is being made is released only later.
    fn forget(&mut self, who: &mut Person) {
        if let Some(sum) = self.sums.get_mut(&Limited::User(who.user.clone())) {
            sum.total = Sums::default();
            self.retain(|sum| !sum.is_idle());
        }
    }
}

impl LimitedSums {
    /// An empty table for at most `most` sums.
    pub(crate) fn new(most: usize, counts_promises: bool) -> Self {
        Self { most, counts_promises, ..Self::default() }
    }

    /// How many sums there are, and the most.
    pub(crate) fn rows(&self) -> (usize, usize) {
        (self.sums.len(), self.most)
    }

    fn retain(&mut self, is_kept: impl Fn(&LimitedSum) -> bool) {
        self.sums.retain(is_kept);
        self.named_by.clear();
        for server in self.sums.iter().filter_map(|(_, sum)| sum.named_by.as_ref()) {
            count_one(&mut self.named_by, server);
        }
    }

    /// The sum of a user or a server key. `server`: the key that names the user, for a new sum.
    fn sum(&mut self, of: Limited, server: Option<&Label>) -> &mut LimitedSum {
        let named_by = server.filter(|_| matches!(of, Limited::User(_)) && !self.sums.contains_key(&of));
        if let Some(server) = named_by {
            count_one(&mut self.named_by, server);
        }
        let sum = self.sums.get_or_default(of);
        sum.named_by = sum.named_by.take().or_else(|| named_by.cloned());
        sum
    }

    /// Begins a period: nothing has been spent in it. What was promised stays.
    pub(crate) fn begin(&mut self) {
        self.sums.iter_mut().for_each(|(_, sum)| sum.total = Sums::default());
        self.retain(|sum| !sum.is_idle());
    }

    /// Changes what a user or a server key has spent. `server`: the key that names the user.
    pub(crate) fn change(&mut self, of: Limited, server: Option<&Label>, before: &Sums, after: &Sums) {
        let sum = self.sum(of, server);
        sum.total.remove(before);
        sum.total.add(after);
    }

    /// Whether everybody has spent the same in both tables.
    pub(crate) fn has_same_bytes(&self, other: &Self) -> bool {
        let none = Sums::default();
        let total = |sums: &Self, of: &Limited| sums.sums.get(of).map_or(none, |sum| sum.total);
        let mut all = self.sums.iter().chain(other.sums.iter()).map(|(of, _)| of);
        all.all(|of| total(self, of).has_same_bytes(&total(other, of)))
    }

    /// What a user or a server key has used and may still use in a period that ends at `end`. Removes the promises of counted minutes.
    pub(crate) fn of(
        &mut self,
        of: &Limited,
        now: Timestamp,
        end: Timestamp,
        first_uncounted: &Uncounted,
    ) -> LimitedPromises {
        self.sums.get_mut(of).map(|sum| sum.promises(now, end, first_uncounted)).unwrap_or_default()
    }

    /// What somebody has used in this period.
    pub(crate) fn used(&self, of: &Limited) -> ByteCount {
        self.sums.get(of).map_or(ByteCount::ZERO, |sum| sum.total.bytes())
    }

    /// Whether a user or a server key has a sum, or can get one. A program that names users without a mint fills no more than half of the
    /// table, so that callers find room.
    pub(crate) fn has_room_for(
        &mut self,
        of: &Limited,
        named: Named<'_>,
        now: Timestamp,
        end: Timestamp,
        first_uncounted: &Uncounted,
    ) -> bool {
        let is_server = matches!(of, Limited::Server(_));
        if is_server || self.sums.contains_key(of) {
            return true;
        }
        let server = match named {
            // A user who is named without a mint has no promise that holds a place, and takes one only once bytes are charged.
            Named::WithoutMint => return self.sums.len() < self.most / 2,
            Named::WithMint(server) => server,
        };
        if !self.is_full(server) {
            return true;
        }
        // Promises that were counted in the meantime hold no place. All of them are looked through once a minute at most.
        if self.swept_at < Minute::of(now) {
            self.swept_at = Minute::of(now);
            for (_, sum) in self.sums.iter_mut() {
                let _ = sum.promises(now, end, first_uncounted);
            }
            let counts_promises = self.counts_promises;
            self.retain(|sum| sum.has_bytes() || counts_promises && !sum.promised.is_empty());
        }
        !self.is_full(server)
    }

    /// Whether there is no place for a further user, whom this server key names if there is one.
    fn is_full(&self, server: Option<&Label>) -> bool {
        let named = server.and_then(|server| self.named_by.get(server)).copied().unwrap_or_default();
        self.sums.len() >= self.most || named >= self.most.div_ceil(SERVER_PART)
    }

    /// Adds or removes a promise. A user could relay with each grant of a chain of renewals; for a server key the chain counts once.
    /// `server`: the key that names the user.
    pub(crate) fn promise(
        &mut self,
        of: &Limited,
        server: Option<&Label>,
        source: IceSource,
        time: &PromisedTime,
        is_added: bool,
    ) {
        let sum = if is_added { Some(self.sum(of.clone(), server)) } else { self.sums.get_mut(of) };
        // If nothing is promised, nothing is left of the promise to remove: all its minutes were counted, and forgotten.
        let Some(LimitedSum { promised, .. }) = sum.filter(|sum| is_added || !sum.promised.is_empty()) else {
            return;
        };
        let change = |(minutes, level): (Range<Minute>, LiveDelta)| {
            promised.change(source, &minutes, if is_added { level } else { level.negated() });
        };
        match of {
            Limited::User(_) => time.of_user().into_iter().for_each(change),
            Limited::Server(_) => std::iter::once((time.reserved(), time.level())).for_each(change),
        }
    }
}

fn count_one(named_by: &mut BTreeMap<Label, usize>, server: &Label) {
    let count = named_by.entry(server.clone()).or_default();
    *count = count.saturating_add(1);
}

impl LimitedSum {
    /// Whether it holds nothing, so that its place is free.
    fn is_idle(&self) -> bool {
        self.promised.is_empty() && !self.has_bytes()
    }

    fn has_bytes(&self) -> bool {
        self.total.bytes().max(self.total.settled()) > ByteCount::ZERO
    }

    /// What was used, and what may come until `end` and after it. Removes the promises of counted minutes.
    fn promises(&mut self, now: Timestamp, end: Timestamp, first_uncounted: &Uncounted) -> LimitedPromises {
        let (mut promised, now, end) = (vec![], Minute::of(now), Minute::of(end));
        for (source, from) in *first_uncounted {
            self.promised.forget_before(source, from);
            let between = |from, to| self.promised.between(source, from, to);
            let (uncounted, ahead) = (between(from, end), between(from.max(now), end));
            let next = between(end, Minute::new(i64::from(u32::MAX)));
            if uncounted.plus(next).count > 0 {
                promised.push(SourcePromises { source, uncounted, ahead, next });
            }
        }
        LimitedPromises { used: self.total.bytes(), settled: self.total.settled(), promised }
    }
}
