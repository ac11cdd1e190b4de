//! Evidence: what is known of the bytes that were relayed, and what it releases. Tests: in each module.
//! A count releases what its owner's promises cover, as far as something proves that it shows those bytes. Evidence that nobody can forge
//! tests the assumed rates.

pub(crate) mod agreement;
pub(crate) mod day;
pub(crate) mod grant_counts;
pub(crate) mod owner;
pub(crate) mod proof;
pub(crate) mod rate_check;
pub(crate) mod reading;
pub(crate) mod traffic;
