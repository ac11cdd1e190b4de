//! Evidence: what is known of the bytes that were relayed, and what it releases. Tests: in each module.
//! A count releases what its owner's promises cover, as far as something proves that it shows those bytes. Evidence that nobody can forge
//! tests the assumed rates.

mod agreement;
mod day;
mod owner;
mod proof;
mod rate_check;
mod reading;
mod traffic;

pub use {agreement::*, day::*, owner::*, proof::*, rate_check::*, reading::*, traffic::*};
