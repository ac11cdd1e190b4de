//! What a handler tells the layers around it, among the extensions of a response.

/// A response that another protocol defines, so its body stays as it is, also with an error status. Among its extensions. An
/// [`ErrorBody`](crate::error::ErrorBody) beside it is only for the log.
#[derive(Clone, Copy, Debug)]
pub struct Verbatim;

/// A response to a request that pages send every few seconds, on a path that is a setting. Among its extensions.
#[derive(Clone, Copy, Debug)]
pub struct Polled;
