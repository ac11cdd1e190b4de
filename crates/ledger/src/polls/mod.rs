//! What a provider is asked for, and when: pure decisions of the service that reads its counts. Tests: `src/polls/spans.rs`.

pub mod days;
pub mod spans;
