//! What a request says about its sender: request id, client address, bearer token, query, origin. The rate limiter and the shared state
//! of the handlers hold these types, so nothing here knows a handler.

pub mod client_addr;
pub mod header;
pub mod query;
