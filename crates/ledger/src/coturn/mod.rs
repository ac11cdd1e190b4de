//! From coturn's listings to the usage of its sessions, and from this usage to counts. Tests: `src/coturn/sessions_tests.rs`.

mod listing;
mod sessions;
mod usage;

pub use {listing::*, sessions::*, usage::*};
