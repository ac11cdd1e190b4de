//! How many grants have left the table, by when they expired and until when they were promised. Their source may turn out to have a
//! longer tail: then it is promised for them too. A longest tail after the expiry they are forgotten, so their number is bounded.
#![cfg_attr(not(test), warn(clippy::arithmetic_side_effects))]

use std::collections::BTreeMap;
use std::time::Duration;

use super::{GrantRow, LeastPromise};
use crate::{
    Basis, ChangeKind, Dirty, IceSource, MINT_SLACK, Minute, PromisedTime, Rows, Timestamp, UsageChange,
};

/// No tail of any setting is longer.
pub const TAIL_MAX: Duration = Duration::from_secs(7 * 86_400);

/// Source, expiry in seconds since 1970, the first minute in which nothing is promised, bytes in a minute. Tails and minutes are
/// whole seconds, so an expiry that is rounded up to one ends in the same minute.
pub type DroppedKey = (IceSource, i64, Minute, u64);

/// See the module's description.
#[derive(Debug, Default)]
pub(super) struct DroppedGrants {
    counts: BTreeMap<DroppedKey, u64>,
    dirty: Dirty<DroppedKey>,
}

impl DroppedGrants {
    pub(super) fn restore(counts: BTreeMap<DroppedKey, u64>) -> Self {
        Self { counts, dirty: Dirty::tracking() }
    }

    pub(super) fn take_changes(&mut self) -> Rows<DroppedKey, u64> {
        self.dirty.take().into_keys().map(|key| (key, self.counts.get(&key).copied())).collect()
    }

    /// A grant has left the table. Nothing more can be relayed on one that was released.
    pub(super) fn add(&mut self, row: &GrantRow) {
        if let Some(PromisedTime { until, per_minute, .. }) = row.promised.filter(|_| !row.is_released()) {
            let expiry = row.latest_expiry().as_millis().saturating_add(999).div_euclid(1_000);
            self.put((row.source, expiry, until, per_minute), 1);
        }
    }

    /// Promises for the grants of a source what a longer tail adds, unless their promise was over at `since`.
    pub(super) fn raise(
        &mut self,
        source: IceSource,
        least: LeastPromise,
        since: Timestamp,
    ) -> Vec<UsageChange> {
        self.change_ends(source, |(_, expiry, until, per_minute)| {
            let longer = Minute::from_end(at(expiry).plus(least.after_expiry));
            let is_raised = longer > until && until.start() > since;
            is_raised.then_some((longer, per_minute.max(least.per_minute)))
        })
    }

    /// Takes back what is promised from `from` on and longer than this after the expiry.
    pub(super) fn shorten(
        &mut self,
        source: IceSource,
        after_expiry: Duration,
        from: Minute,
    ) -> Vec<UsageChange> {
        self.change_ends(source, |(_, expiry, until, per_minute)| {
            let shorter = Minute::from_end(at(expiry).plus(after_expiry)).max(from);
            (shorter < until).then_some((shorter, per_minute))
        })
    }

    /// Replaces the end of promises of a source, and the rate from there on; `None`: it stays. What was promised before the earlier
    /// one of the two ends stays as it is.
    fn change_ends(
        &mut self,
        source: IceSource,
        new_end: impl Fn(DroppedKey) -> Option<(Minute, u64)>,
    ) -> Vec<UsageChange> {
        let of_source = self.counts.keys().copied().filter(|(of, ..)| *of == source);
        let keys: Vec<_> = of_source.filter_map(|key| Some((key, new_end(key)?))).collect();
        let mut changes = vec![];
        for (key, (until, per_minute)) in keys {
            let (_, expiry, before, _) = key;
            let count = self.counts.remove(&key).unwrap_or_default();
            self.dirty.note_removed(key);
            let from = before.min(until);
            let part = |until| (until > from).then_some(PromisedTime::new(from, until, per_minute));
            let kind = ChangeKind::Promise { before: part(before), after: part(until) };
            changes.extend((0..count).map(|_| UsageChange { source, basis: Basis::Granted, kind }));
            self.put((source, expiry, until, per_minute), count);
        }
        changes
    }

    /// Forgets those that no tail can reach.
    pub(super) fn forget(&mut self, now: Timestamp) {
        let is_over = |(_, expiry, ..): &DroppedKey| at(*expiry).plus(TAIL_MAX).plus(MINT_SLACK) <= now;
        let over: Vec<_> = self.counts.keys().copied().filter(is_over).collect();
        for key in over {
            self.counts.remove(&key);
            self.dirty.note_removed(key);
        }
    }

    fn put(&mut self, key: DroppedKey, count: u64) {
        let sum = self.counts.entry(key).or_default();
        *sum = sum.saturating_add(count);
        self.dirty.note(key);
    }
}

fn at(seconds: i64) -> Timestamp {
    Timestamp::from_millis(seconds.saturating_mul(1_000))
}
