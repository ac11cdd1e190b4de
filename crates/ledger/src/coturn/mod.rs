//! From coturn's listings to the usage of its sessions, and from that to readings. Tests: `src/coturn/sessions_tests.rs`.

pub(crate) mod listing;
pub(crate) mod sessions;
pub(crate) mod usage;
