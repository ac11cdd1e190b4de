//! The stored ledger. A [`Store`](writer::Store) writes batches to a [`Storage`](storage::Storage): a [`file`], or a database
//! ([`postgres`]). Both have the same [`rows`].

pub mod file;
pub mod postgres;
pub mod storage;
pub mod writer;

pub use turn_store::{contradictions, rows};

/// What is written and read: the books, and the alerts, which are stored as a whole.
pub mod changes {
    use crate::alert::rules::AlertRules;

    /// See [`turn_store::changes::Changes`].
    pub type Changes = turn_store::changes::Changes<AlertRules>;
    /// See [`turn_store::changes::Contents`].
    pub type Contents = turn_store::changes::Contents<AlertRules>;
}

#[cfg(test)]
pub(crate) mod testing;
