//! What a source counted for each grant in a span of time, as one plain value. Tests: `../ledger/src/books/spending/tests/counts.rs`.
//! The counts are attributions: the total that the budget charges comes from the source's readings and never from here.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::evidence::Traffic;
use crate::names::GrantId;
use crate::units::Timestamp;

/// How far back a provider is asked for counts by grant. Bytes of earlier time, when the broker did not run, are missing.
pub const COUNTED_WITHIN: Duration = Duration::from_secs(7 * 86_400);

/// See the module's description.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct GrantCounts {
    /// The first instant of the span.
    pub from: Timestamp,
    /// The first instant after the span.
    pub until: Timestamp,
    /// Bytes by grant. An identifier that is not the id of a grant is in `other`.
    pub by_grant: BTreeMap<GrantId, Traffic>,
    /// Bytes under identifiers that are not the id of a grant, and without an identifier. Bytes of the program's own tests are in
    /// neither field.
    pub other: Traffic,
    /// Whether every identifier of the span is included. Otherwise the source had more than could be asked for, or returned
    /// them in an order in which one could be left out.
    pub is_complete: bool,
    /// Whether the span is settled: it will not be counted again, and its counts are final.
    pub is_final: bool,
    /// When the source answered, in the books' time.
    pub at: Timestamp,
}

/// What became of counts that a source gave for its grants.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use]
pub enum CountsTaken {
    /// All of them count.
    Whole,
    /// The first part of them counts, because there are many. Repeat the call for the next part. What was taken may be written in between.
    InPart,
    /// Nothing has changed.
    Refused,
}
