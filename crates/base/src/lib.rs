//! What every route and every outgoing request of turn-broker uses, so that packages with routes of their own need nothing else of the
//! service.
//!
//! | where | what |
//! |---|---|
//! | [`clock`], [`random`] | the only readers of time and randomness |
//! | [`broker`] | what the broker does for routes of other packages; whose token a request has |
//! | [`request`] | what a request says of its sender: id, client address, token, query |
//! | [`body`] | reading a body within its bounds |
//! | [`error`], [`response`] | error responses; what a handler tells the layers around it |
//! | [`http_client`], [`backoff`] | outgoing requests, why they fail, and when to try again |
//! | [`web_url`] | the URL of a webhook, which is a secret |
//! | [`access`] | directories that only their owner may read |
//! | [`throttle`] | log lines that clients can cause |
//! | [`trust`] | the authorities of every outgoing connection |
//! | [`schema`] | schemas of the `OpenAPI` document |
//!
//! What has a name of its own is also at the root, so that one `use` takes it.

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
pub mod throttle;
pub mod trust;
pub mod web_url;

pub use backoff::RetryPolicy;
pub use body::{
    BODY_MAX, BODY_OWN, Bodies, BodyProgress, COMING_PER_CLIENT_MAX, PARTS_MAX, REQUEST_TIMEOUT, gather,
    parse_json, read_json,
};
pub use broker::{Broker, Minted, Unverified, Verified, WebClient};
pub use broker::{is_jwt, is_known_enough, require, signed_in, user_of};
pub use clock::{Clock, SystemClock};
pub use error::{ApiError, Code, ErrorBody, ProviderError};
pub use http_client::{Api, CallError, ClientError, HttpClient, HttpsProxy, Network, post_webhook};
pub use random::NoRandomness;
pub use request::{client_addr::*, header::*, query::*};
pub use response::{Polled, Received, Verbatim};
pub use schema::one_of;
pub use throttle::{LOG_WINDOW, Throttle};
pub use trust::{Trust, in_words};
pub use web_url::{WebhookUrl, is_visible_ascii, parse_web_url};
