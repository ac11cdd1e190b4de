//! Tests that the fake does on the wire what its documentation says. They read a bare socket, because an HTTP client hides
//! incomplete responses and resets.

mod analytics;
mod bare_client;
mod control;
mod faults;
