//! The stored ledger. A [`Store`](writer::Store) writes batches to a [`Storage`](storage::Storage): a [`file`], or a database
//! ([`postgres`]). Both have the same [`rows`].

pub mod changes;
pub mod contradictions;
pub mod file;
pub mod postgres;
pub mod rows;
pub mod storage;
pub mod writer;

#[cfg(test)]
pub(crate) mod testing;
