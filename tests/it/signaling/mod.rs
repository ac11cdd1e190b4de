//! Tests of signaling: real sockets at the real router.

mod rooms;
