//! What a handler tells the layers around it and the connection, among the extensions of a response.

use std::sync::Arc;

use tokio::time::Instant;

/// An extension of a response that another protocol defines: the body of the response stays as it is, also with an error status. An
/// [`ErrorBody`](crate::error::ErrorBody) among the extensions of such a response is only for the log.
#[derive(Clone, Copy, Debug)]
pub struct Verbatim;

/// An extension of the response to a request that pages send every few seconds, on a path that a setting chooses. The log has such a
/// request at `debug`.
#[derive(Clone, Copy, Debug)]
pub struct Polled;

/// Counts the bytes that arrive at an upgraded connection. `false`: the connection must end.
#[derive(Clone)]
pub struct Received(pub Arc<dyn Fn(usize, Instant) -> bool + Send + Sync>);
