//! What reads a provider's own count of bytes, from time to time, and gives it to the account as a reading. Nothing here
//! decides about money: a count that cannot be had leaves the ledger with its estimate, and the status says since when.

pub mod cloudflare;
pub mod coturn;
