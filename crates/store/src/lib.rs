//! What is stored of a ledger, and which replica leads. Rows and decisions alone: files, connections and clocks are the service's. The
//! simulation of the ledger uses the same package.
//!
//! A file and a database have the same [`rows`]. What a write to a database has led to is decided in [`outcome`], and who leads in
//! [`election`], from the row of `shard` as [`observation`] has it.

pub mod changes;
pub mod contradictions;
pub mod election;
pub mod lease;
pub mod observation;
pub mod outcome;
pub mod rows;
pub mod tables;
pub mod takeovers;

pub use election::{Action, Election};
pub use lease::Lease;
pub use observation::Observation;
pub use outcome::{Answer, Lost, Shard, Step, Term};
pub use rows::{Pruned, StoreError};
pub use takeovers::{LOSS_STATED, Takeovers};
