//! What a replica decides about the database: the service's own code.

#[expect(unreachable_pub, reason = "the service exports it")]
#[path = "../../../../../src/journal/postgres/standby/observation.rs"]
mod observation;
#[path = "../../../../../src/journal/postgres/outcome.rs"]
pub(crate) mod outcome;
#[expect(unreachable_pub, reason = "the service exports it")]
#[path = "../../../../../src/journal/postgres/takeovers.rs"]
pub(crate) mod takeovers;

pub(crate) mod standby {
    pub(crate) use super::observation::{Observation, books_now};
}
