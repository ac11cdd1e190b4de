//! What one query of the database shows.

use serde::Deserialize;
use turn_budget::Timestamp;

use super::takeovers::Takeovers;

/// The row that says who leads, as one query of the database shows it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Observation {
    /// Grows by one with each takeover.
    pub epoch: i64,
    /// Grows by one with each write and each takeover.
    pub seq: i64,
    /// `false`: the leader has released the ledger, or it is new.
    pub is_held: bool,
    /// Whether the leader's session is there.
    pub has_session: bool,
    /// Whether the leader has written since the database server started.
    pub has_written: bool,
    /// Through which connection of this process this was seen, counted from 0.
    pub connection: u64,
    /// Where the leader is reached.
    pub leader: Option<String>,
    /// The format of the ledger.
    pub format: i32,
    /// The digest of the leader's settings that decide figures.
    pub settings: Option<String>,
    /// The leader's version.
    pub version: Option<String>,
    /// The time of the books, as stored.
    pub books_now: Option<Timestamp>,
    /// The latest takeovers.
    pub takeovers: Takeovers,
}

/// The time of the books in the row that is written with each batch.
pub fn books_now(head: &[u8]) -> Option<Timestamp> {
    #[derive(Deserialize)]
    struct Head {
        now: Timestamp,
    }
    serde_json::from_slice(head).ok().map(|Head { now }| now)
}
