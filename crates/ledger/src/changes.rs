//! What of the books goes to disk, and comes back at start: plain values, without any thought of files.

use std::collections::BTreeMap;

use crate::alert_rules::AlertRules;
use crate::connections::{StoredConnection, TableChanges};
use crate::coturn::usage::CoturnBook;
use crate::issued::Issued;
use crate::ledger::{PeriodCounts, SourceChanges};
use crate::minute_usage::StoredSource;
use crate::overrides::Overrides;
use crate::period::Period;
use crate::reported_grants::GrantRow;
use crate::source::IceSource;
use crate::token::GrantId;
use crate::units::Timestamp;

/// What is to be written. Nothing here is undone by being written twice but the marks of a lane, which are added.
#[derive(Clone, Debug)]
pub struct BooksChanges {
    /// Of the ledger.
    pub lanes: Vec<SourceChanges>,
    /// Of the estimator.
    pub table: TableChanges,
    /// Of the renewals; `None` is what is gone.
    pub renewals: Vec<(GrantId, Option<Timestamp>)>,
    /// Credentials that are out; `None` is what is gone.
    pub issued: Vec<(GrantId, Option<Issued>)>,
    /// The operator's overrides, where they have changed.
    pub overrides: Option<Overrides>,
    /// What was told and what is still to be told, where it has changed.
    pub alerts: Option<AlertRules>,
    /// What a coturn has said, where it was asked since.
    pub coturn: Option<CoturnBook>,
    /// What happened in the current period.
    pub counts: (Period, PeriodCounts),
    /// The books' time, where all of them is written.
    pub now: Option<Timestamp>,
}

/// What was read at start. An empty one is a ledger that was just made.
#[derive(Clone, Debug, Default)]
pub struct Recovered {
    /// The latest instant that the books had seen; `None` in a new ledger.
    pub now: Option<Timestamp>,
    /// What happened in the period of that name.
    pub counts: Option<(Period, PeriodCounts)>,
    /// Marks and flows of each source.
    pub lanes: BTreeMap<IceSource, StoredSource>,
    /// Open connections.
    pub connections: Vec<StoredConnection>,
    /// Grants that have reported.
    pub grants: Vec<(GrantId, GrantRow)>,
    /// Grants that have renewed, and when they expire.
    pub renewals: Vec<(GrantId, Timestamp)>,
    /// Credentials that are out.
    pub issued: Vec<(GrantId, Issued)>,
    /// The operator's overrides.
    pub overrides: Overrides,
    /// What was told and what is still to be told.
    pub alerts: AlertRules,
    /// What a coturn has said.
    pub coturn: CoturnBook,
    /// What grant tokens are signed with.
    pub key: Option<[u8; 64]>,
}
