//! The fake does on the wire what its documentation promises: read with a bare socket, since an HTTP client
//! hides half of it.

mod analytics;
mod bare_client;
mod control;
mod faults;
