//! What of the books is stored: plain values that know nothing of files. A [`Batch`] holds the changes since the last one,
//! and [`Stored`] is what a ledger holds after all batches so far.
//!
//! A batch is written whole or not at all. What an admission rests on is in the same batch as its grant.

use std::collections::BTreeMap;

use crate::alert_rules::AlertRules;
use crate::connection::Name;
use crate::connections::StoredConnection;
use crate::coturn::listing::SessionId;
use crate::coturn::sessions::SessionRow;
use crate::coturn::usage::CoturnSums;
use crate::grants::GrantRow;
use crate::ledger::PeriodCounts;
use crate::minute_usage::SourceRows;
use crate::overrides::Overrides;
use crate::period::Period;
use crate::source::IceSource;
use crate::token::GrantId;
use crate::units::Timestamp;

/// Changed rows by their key; `None` for a row that is gone.
pub type Rows<K, V> = BTreeMap<K, Option<V>>;

/// Changes that are written together. Writing a row again changes nothing, except for the differences in
/// [`SourceRows::deltas`], which add up.
#[derive(Clone, Debug)]
pub struct Batch {
    /// Each source by the minute.
    pub sources: BTreeMap<IceSource, SourceRows>,
    /// Grants.
    pub grants: Rows<GrantId, GrantRow>,
    /// Open connections.
    pub connections: Rows<Name, StoredConnection>,
    /// A coturn's sessions.
    pub sessions: Rows<SessionId, SessionRow>,
    /// What is stored beside a coturn's sessions, if it has changed.
    pub coturn: Option<CoturnSums>,
    /// The operator's overrides, if they have changed.
    pub overrides: Option<Overrides>,
    /// The alerts, if they have changed.
    pub alerts: Option<AlertRules>,
    /// What happened in the current period.
    pub counts: (Period, PeriodCounts),
    /// The books' time.
    pub now: Timestamp,
}

/// What a ledger holds. The default is a new one.
#[derive(Clone, Debug, Default)]
pub struct Stored {
    /// Each source by the minute.
    pub sources: BTreeMap<IceSource, SourceRows>,
    /// Grants.
    pub grants: BTreeMap<GrantId, GrantRow>,
    /// Open connections.
    pub connections: BTreeMap<Name, StoredConnection>,
    /// A coturn's sessions.
    pub sessions: BTreeMap<SessionId, SessionRow>,
    /// What is stored beside a coturn's sessions.
    pub coturn: CoturnSums,
    /// The operator's overrides.
    pub overrides: Overrides,
    /// The alerts.
    pub alerts: AlertRules,
    /// What happened in the period of that name.
    pub counts: Option<(Period, PeriodCounts)>,
    /// The latest instant that the books have seen; `None` in a new ledger.
    pub now: Option<Timestamp>,
    /// The key that signs grant tokens.
    pub key: Option<[u8; 64]>,
}

impl Batch {
    /// Adds the batch that follows. Writing the sum is the same as writing one after the other.
    pub fn append(&mut self, later: Self) {
        for (source, rows) in later.sources {
            self.sources.entry(source).or_default().apply(rows);
        }
        self.grants.extend(later.grants);
        self.connections.extend(later.connections);
        self.sessions.extend(later.sessions);
        self.coturn = later.coturn.or(self.coturn);
        self.overrides = later.overrides.or(self.overrides);
        self.alerts = later.alerts.or(self.alerts.take());
        self.counts = later.counts;
        self.now = later.now;
    }
}

impl Stored {
    /// What the ledger holds after a batch.
    pub fn apply(&mut self, batch: Batch) {
        for (source, rows) in batch.sources {
            self.sources.entry(source).or_default().apply(rows);
        }
        replace(&mut self.grants, batch.grants);
        replace(&mut self.connections, batch.connections);
        replace(&mut self.sessions, batch.sessions);
        self.coturn = batch.coturn.unwrap_or(self.coturn);
        self.overrides = batch.overrides.unwrap_or(self.overrides);
        if let Some(alerts) = batch.alerts {
            self.alerts = alerts;
        }
        self.counts = Some(batch.counts);
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
