//! The names that a promise carries: of a grant, of its client, and of who spends. Tests: in each module.

pub(crate) mod client;
pub(crate) mod spender;
pub(crate) mod token;
