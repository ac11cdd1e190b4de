//! The stored form of the books, as plain values without files. A [`Batch`] contains the changes since the last one.
//! [`Stored`] is the sum of all batches so far.
//!
//! A batch is written whole or not at all. A grant and everything that its admission depends on are in one batch.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use crate::{
    Boot, Connection, CoturnSums, CountedSources, DroppedKey, GrantId, GrantRow, IceSource, Name, Overrides,
    Period, PeriodCounts, RowKey, Rows, SessionId, SessionRow, SourceRows, Standing, SteadyTime, Sums,
    Timestamp, User,
};

/// Changes that are written together. A row replaces the stored one, except for the differences in
/// [`SourceRows::deltas`], which are added.
#[derive(Clone, Debug)]
pub struct Batch {
    /// The rows of each source.
    pub sources: BTreeMap<IceSource, SourceRows>,
    /// Grants.
    pub grants: Rows<GrantId, GrantRow>,
    /// How many grants are not in the table any more.
    pub dropped: Rows<DroppedKey, u64>,
    /// Shares of grants that are not in the table any more, by who spent them.
    pub spenders: Rows<RowKey, Sums>,
    /// The state of the counts by grant, if it has changed.
    pub counted: Option<CountedSources>,
    /// Until when grants may relay that this ledger does not know, if that has changed. This ledger is no copy any more.
    pub lacks_until: Option<Timestamp>,
    /// Blocked users, if they have changed.
    pub blocked: Option<BTreeSet<User>>,
    /// Open connections.
    pub connections: Rows<Name, Connection>,
    /// The sessions of coturn.
    pub sessions: Rows<SessionId, SessionRow>,
    /// The sums over coturn's sessions, if they have changed.
    pub coturn: Option<CoturnSums>,
    /// The operator's overrides, if they have changed.
    pub overrides: Option<Overrides>,
    /// The current period and its counts.
    pub counts: (Period, PeriodCounts),
    /// Whether the books' time is right.
    pub standing: Standing,
    /// The books' time.
    pub now: Timestamp,
}

/// The rows of a ledger. The default is an empty one.
#[derive(Clone, Debug, Default)]
pub struct Stored {
    /// The rows of each source.
    pub sources: BTreeMap<IceSource, SourceRows>,
    /// Grants.
    pub grants: BTreeMap<GrantId, GrantRow>,
    /// How many grants are not in the table any more.
    pub dropped: BTreeMap<DroppedKey, u64>,
    /// Shares of grants that are not in the table any more, by who spent them.
    pub spenders: BTreeMap<RowKey, Sums>,
    /// The state of the counts by grant.
    pub counted: CountedSources,
    /// Until when grants may relay that this ledger does not know.
    pub lacks_until: Timestamp,
    /// Whether it is a copy of a ledger that went on, and no process has opened it yet.
    pub is_copy: bool,
    /// Blocked users.
    pub blocked: BTreeSet<User>,
    /// Open connections.
    pub connections: BTreeMap<Name, Connection>,
    /// The sessions of coturn.
    pub sessions: BTreeMap<SessionId, SessionRow>,
    /// The sums over coturn's sessions.
    pub coturn: CoturnSums,
    /// The operator's overrides.
    pub overrides: Overrides,
    /// The period of the last write, and its counts.
    pub counts: Option<(Period, PeriodCounts)>,
    /// Whether the books' time is right.
    pub standing: Standing,
    /// The latest instant that the books have seen; `None` in a new ledger.
    pub now: Option<Timestamp>,
    /// The key that signs grant tokens.
    pub key: Option<[u8; 64]>,
}

impl Batch {
    /// Adds the batch that follows. Writing the result has the same effect as writing both in order.
    pub fn append(&mut self, later: Self) {
        for (source, rows) in later.sources {
            self.sources.entry(source).or_default().apply(rows);
        }
        self.grants.extend(later.grants);
        self.dropped.extend(later.dropped);
        self.spenders.extend(later.spenders);
        self.counted = later.counted.or(self.counted.take());
        self.lacks_until = later.lacks_until.or(self.lacks_until);
        self.blocked = later.blocked.or(self.blocked.take());
        self.connections.extend(later.connections);
        self.sessions.extend(later.sessions);
        self.coturn = later.coturn.or(self.coturn);
        self.overrides = later.overrides.or(self.overrides);
        self.counts = later.counts;
        self.standing = later.standing;
        self.now = later.now;
    }
}

impl Stored {
    /// The books' time with these clocks. A new ledger begins at the wall clock's.
    #[must_use]
    pub fn time(&self, wall: Timestamp, boot: Boot, since_boot: Duration) -> SteadyTime {
        match self.now {
            Some(then) => SteadyTime::restore(then, self.standing.mark, boot, since_boot),
            None => SteadyTime::new(wall, boot, since_boot),
        }
    }

    /// Applies a batch.
    pub fn apply(&mut self, batch: Batch) {
        for (source, rows) in batch.sources {
            self.sources.entry(source).or_default().apply(rows);
        }
        replace(&mut self.grants, batch.grants);
        replace(&mut self.dropped, batch.dropped);
        replace(&mut self.spenders, batch.spenders);
        if let Some(counted) = batch.counted {
            self.counted = counted;
        }
        if let Some(lacks_until) = batch.lacks_until {
            (self.lacks_until, self.is_copy) = (lacks_until, false);
        }
        if let Some(blocked) = batch.blocked {
            self.blocked = blocked;
        }
        replace(&mut self.connections, batch.connections);
        replace(&mut self.sessions, batch.sessions);
        self.coturn = batch.coturn.unwrap_or(self.coturn);
        self.overrides = batch.overrides.unwrap_or(self.overrides);
        self.counts = Some(batch.counts);
        self.standing = batch.standing;
        self.now = Some(batch.now);
    }
}

fn replace<K: Ord, V>(rows: &mut BTreeMap<K, V>, changes: Rows<K, V>) {
    for (key, row) in changes {
        match row {
            Some(row) => drop(rows.insert(key, row)),
            None => drop(rows.remove(&key)),
        }
    }
}
