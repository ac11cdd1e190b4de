//! Logs and metrics of a running broker.

pub mod log;
pub mod metrics;
pub mod refusals;
pub mod startup;
pub mod words;
