//! The meters: they regularly read a provider's own count of bytes, and give it to the account as a reading. Without a
//! count the ledger keeps its estimate, and the status shows the age of the last reading.

pub mod cloudflare;
pub mod coturn;
pub mod reference_clock;
