//! What every route and every outgoing request of turn-broker uses, so that packages with routes of their own need nothing else of the
//! service.
//!
//! | where | what |
//! |---|---|
//! | [`clock`], [`random`] | the only readers of time and randomness |
//! | [`broker`], [`sign_in`] | what the broker does for routes of other packages; whose token a request has |
//! | [`request`] | what a request says of its sender: id, client address, token, query |
//! | [`body`] | reading a body within its bounds |
//! | [`error`], [`response`] | error responses; what a handler tells the layers around it |
//! | [`http_client`], [`backoff`] | outgoing requests, why they fail, and when to try again |
//! | [`web_url`] | the URL of a webhook, which is a secret |
//! | [`access`] | directories that only their owner may read |
//! | [`throttle`] | log lines that clients can cause |
//! | [`trust`] | the authorities of every outgoing connection |
//! | [`schema`] | schemas of the `OpenAPI` document |

pub mod access;
pub mod backoff;
pub mod body;
pub mod broker;
pub mod clock;
pub mod error;
pub mod http_client;
pub mod random;
pub mod request;
pub mod response;
pub mod schema;
pub mod sign_in;
pub mod throttle;
pub mod trust;
pub mod web_url;
