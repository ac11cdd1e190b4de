//! What a provider is asked for, and when: pure decisions of the service that reads its counts.

pub mod days;
pub mod lateness;
pub mod spans;
