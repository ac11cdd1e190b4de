//! What a replica decides about the database: the service's own code.

#[expect(unreachable_pub, reason = "the service exports it")]
#[path = "../../../../../src/store/postgres/observation.rs"]
pub(crate) mod observation;
#[path = "../../../../../src/store/postgres/outcome.rs"]
pub(crate) mod outcome;
#[expect(unreachable_pub, reason = "the service exports it")]
#[path = "../../../../../src/store/postgres/takeovers.rs"]
pub(crate) mod takeovers;
