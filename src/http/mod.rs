//! The HTTP side: one file for each group of endpoints, and what is around them. A handler extracts, calls, answers;
//! it decides nothing.

pub mod alerts;
pub mod bandwidth_status;
pub mod body;
pub mod connections;
pub mod credentials;
pub mod envelope;
pub mod error;
pub mod health;
pub mod metrics;
pub mod openapi;
pub mod operator;
pub mod origin;
pub mod overrides;
pub mod overview;
pub mod renewal;
pub mod wire_formats;
