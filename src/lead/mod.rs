//! Replicas on one ledger: which of them leads, and for how long its lead holds. One leader has the books. All others forward to it.

pub mod election;
pub mod lease;
