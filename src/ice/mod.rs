//! ICE sources: how each one issues credentials.

use turn_ledger::MINT_SLACK;

pub mod breaker;
pub mod cloudflare;
pub mod rest;
pub mod server;
pub mod turn_keys;
pub mod url;

const _: () = assert!(
    cloudflare::DEADLINE.as_secs() < MINT_SLACK.as_secs(),
    "a reservation covers the deadline of a mint"
);
