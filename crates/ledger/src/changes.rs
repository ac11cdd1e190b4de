//! The stored form of the books, as plain values without files. Tests: `src/open_tests.rs`.
//! A [`Batch`] contains the changes since the last one. [`Stored`] is the sum of all batches so far.
//!
//! A batch is written whole or not at all. A grant and everything that its admission depends on are in one batch.

use crate::connection::{Connection, Name};
use crate::cost::Tariffs;
use crate::coturn::{SessionKey, SessionRow};
use crate::grants::{CountedSources, Dropped, GrantRow};
use crate::lacking::Lacking;
use crate::prelude::*;
use crate::spending::{Block, LeftKey, SpenderKey, Sums};
use crate::token_keys::{TokenKey, TokenKeys};

/// What is small and written with each batch as one value. The default is that of a ledger that has just begun.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Head {
    /// The latest instant that the books have seen.
    pub now: Timestamp,
    /// What is stored of the clocks, of a jump of the time, and of the relay in the process.
    pub standing: Standing,
    /// The current period and its counts.
    pub counts: (Period, PeriodCounts),
    /// The operator's overrides.
    pub overrides: Overrides,
    /// What is known of grants that this ledger does not have.
    pub lacking: Lacking,
    /// The time of the last complete listing of each coturn.
    pub coturn_at: BTreeMap<CountOwner, Timestamp>,
    /// The state of the counts by grant.
    pub counted: CountedSources,
    /// The latest grants that have left the table.
    pub dropped: BTreeMap<CountOwner, Dropped>,
    /// The relays that the operator has drained: they get no new credentials. At most 16.
    pub draining: BTreeSet<CountOwner>,
    /// How many grants are stored, so that a loss of some is noticed.
    pub grants: usize,
    /// What each period costs.
    #[serde(default)]
    pub tariffs: Tariffs,
}

/// Changes that are written together. A row replaces the stored one.
#[derive(Clone, Debug, Default)]
pub struct Batch {
    /// What is written with each batch.
    pub head: Head,
    /// The rows of each owner of counts.
    pub sources: BTreeMap<CountOwner, SourceRows>,
    /// Grants.
    pub grants: Rows<GrantId, Box<GrantRow>>,
    /// Sums of what left the table of grants, by who spent it.
    pub spenders: Rows<LeftKey, Sums>,
    /// Blocked spenders.
    pub blocks: Rows<SpenderKey, Block>,
    /// Open connections.
    pub connections: Rows<Name, Box<Connection>>,
    /// The sessions of coturn.
    pub sessions: Rows<SessionKey, SessionRow>,
}

/// The rows of a ledger. The default is an empty one.
#[derive(Clone, Debug, Default)]
pub struct Stored {
    /// What was written with the last batch; `None` in a new ledger.
    pub head: Option<Head>,
    /// The rows of each owner of counts.
    pub sources: BTreeMap<CountOwner, SourceRows>,
    /// Grants.
    pub grants: Shards<GrantId, GrantRow>,
    /// Sums of what left the table of grants, by who spent it.
    pub spenders: BTreeMap<LeftKey, Sums>,
    /// Whether it is a copy of a ledger that went on, and no process has written to it yet.
    pub is_copy: bool,
    /// Blocked spenders.
    pub blocks: BTreeMap<SpenderKey, Block>,
    /// Open connections.
    pub connections: BTreeMap<Name, Box<Connection>>,
    /// The sessions of coturn.
    pub sessions: BTreeMap<SessionKey, SessionRow>,
    /// The keys of grant tokens.
    pub keys: Option<TokenKeys>,
    /// Whether it is a copy that still has the key of the original.
    pub shares_key: bool,
}

impl Batch {
    /// Adds the batch that follows. Writing the result has the same effect as writing both in order.
    pub fn append(&mut self, later: Self) {
        self.head = later.head;
        for (owner, rows) in later.sources {
            self.sources.entry(owner).or_default().apply(rows);
        }
        self.grants.extend(later.grants);
        self.spenders.extend(later.spenders);
        self.blocks.extend(later.blocks);
        self.connections.extend(later.connections);
        self.sessions.extend(later.sessions);
    }
}

impl Stored {
    /// The latest instant that the books have seen; `None` in a new ledger.
    pub fn now(&self) -> Option<Timestamp> {
        Some(self.head.as_ref()?.now)
    }

    /// Whether grants may be missing: a copy lacks those that its original has stored since, or fewer are stored than the head says.
    pub fn lacks_grants(&self) -> bool {
        self.is_copy || self.head.as_ref().is_some_and(|head| head.grants > self.grants.len())
    }

    /// Its keys with a new one, `signing`, which signs from `now` on, or from the latest instant of
    /// the books on if that is later. Without stored keys, the new one alone.
    pub fn with_key_replaced(&self, signing: TokenKey, now: Timestamp) -> TokenKeys {
        let now = self.now().map_or(now, |then| now.max(then));
        self.keys.as_ref().map_or_else(|| TokenKeys::new(signing), |keys| keys.replaced(signing, now))
    }

    /// The books' time with these clocks. A new ledger begins at the wall clock's time. `followed`: the latest books' time that another
    /// process has stored, and this machine's time since boot when this process first saw it. Not used if the stored mark is of `boot`: the
    /// mark's own time since boot is exact then.
    pub fn time(
        &self,
        wall: Timestamp,
        boot: Boot,
        since_boot: Duration,
        followed: Option<(Timestamp, Duration)>,
    ) -> SteadyTime {
        match (&self.head, followed) {
            (Some(Head { standing, .. }), Some((then, seen_at))) if !standing.mark.is_of(boot) => {
                SteadyTime::following(then, standing.mark, boot, seen_at)
            }
            (Some(Head { now, standing, .. }), _) => {
                SteadyTime::restore(*now, standing.mark, boot, since_boot)
            }
            (None, _) => SteadyTime::new(wall, boot, since_boot),
        }
    }

    /// Applies a batch, which makes a copy a ledger of its own.
    pub fn apply(&mut self, batch: Batch) {
        (self.head, self.is_copy) = (Some(batch.head), false);
        for (owner, rows) in batch.sources {
            self.sources.entry(owner).or_default().apply(rows);
        }
        for (id, row) in batch.grants {
            match row {
                Some(row) => drop(self.grants.insert(id, *row)),
                None => drop(self.grants.remove(&id)),
            }
        }
        replace(&mut self.spenders, batch.spenders);
        replace(&mut self.blocks, batch.blocks);
        replace(&mut self.connections, batch.connections);
        replace(&mut self.sessions, batch.sessions);
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
