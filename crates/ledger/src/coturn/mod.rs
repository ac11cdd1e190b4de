//! From coturn's listings to the usage of its sessions, and from this usage to counts. Tests: `src/coturn/sessions_tests.rs`.

pub(crate) mod listing;
pub(crate) mod sessions;
pub(crate) mod usage;
