//! From coturn's listings to the usage of its sessions, and from this usage to counts. Tests: `src/coturn/sessions_tests.rs`.

mod sessions;
mod usage;

pub use {sessions::*, usage::*};
