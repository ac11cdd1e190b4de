//! Usage: what connections say about themselves, turned into charges for the ledger. Everything here is pure.

pub mod allowance;
pub mod calls;
pub mod connection;
pub mod estimator;
pub mod grants;
