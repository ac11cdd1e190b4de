//! Collections: rows with their changes, a large hash map in parts, small sorted lists. Tests: in each module.

pub(crate) mod dirty;
pub(crate) mod shards;
pub mod sorted;
