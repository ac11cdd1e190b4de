//! What an operator sees of a running broker: log lines and metrics.

pub mod cause;
mod labels;
pub mod log;
pub mod metrics;
pub mod provider_calls;
pub mod startup;
