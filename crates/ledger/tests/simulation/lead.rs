//! What a replica decides about the lead: the service's own code.

#[expect(unreachable_pub, reason = "the service exports it")]
#[path = "../../../../src/lead/election.rs"]
pub(crate) mod election;
#[expect(unreachable_pub, reason = "the service exports it")]
#[path = "../../../../src/lead/lease.rs"]
pub(crate) mod lease;
