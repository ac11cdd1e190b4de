//! Collections: rows with their changes, a large hash map in parts, small sorted lists. Tests: in each module.

mod dirty;
mod shards;
pub mod sorted;

pub use {dirty::*, shards::*};
