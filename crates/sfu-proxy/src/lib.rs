//! The proxy of Cloudflare's SFU, as partytracks and Orange use it. Only the paths of `path` go upstream. A session belongs to one room
//! from its first request to its end, and takes tracks only from sessions of that room.
//!
//! These modules decide. They are pure: time is an argument.
//!
//! | where | what |
//! |---|---|
//! | `path`, `header` | which requests and which of their headers go upstream, and which headers of a response come back |
//! | `request`, `answer` | the bodies of requests, with exactly what goes upstream; their session descriptions; the answers of the SFU |
//! | `name` | the id of a session; the names of rooms and tracks |
//! | `track` | what a session sends and takes; what it takes at assumed rates |
//! | `sessions`, [`session`] | all sessions with their bounds, timers and rows of the ledger; one session: its owner, its room, its tracks |
//! | `addresses` | how many sessions one address may open |
//! | `lock` | the cookies: the lock that binds a session to one browser, and the ICE servers that the browser got |
//! | `fault` | the errors that the proxy answers itself |
//!
//! These carry it out:
//!
//! | where | what |
//! |---|---|
//! | [`routes`] | a request: who calls, from where, and what goes upstream |
//! | `proxy` | the sessions behind one lock; a session that is opened |
//! | `call` | a call on a session |
//! | `upstream` | one request to the SFU |
//! | `watch` | what happens without a request: looks at sessions, and closing by force |
//! | `broker` | what the proxy needs of the broker |
//! | `settings` | the settings |

mod addresses;
mod answer;
mod broker;
mod call;
mod fault;
mod lock;
mod name;
mod path;
mod proxy;
mod request;
pub mod routes;
pub mod session;
mod sessions;
mod settings;
mod track;
mod upstream;
mod watch;

pub use broker::SfuBroker;
pub use name::{SessionId, room};
pub use proxy::{Service, SfuProxy};
pub use sessions::SESSIONS_MAX;
pub use settings::SfuConfig;
pub use track::VideoRates;

use addresses::Addresses;
use answer::SfuAnswer;
use fault::{SfuFault, SfuResult};
use lock::{GivenServers, LockKey};
use path::SfuCall;
use proxy::Opening;
use request::{Pull, Push, RequestedTracks};
use session::{Caller, OpenedSession, Session, SessionLoad};
use sessions::{Sessions, SfuTerms};
use track::{Direction, MediaKind, Replies, Taken, TrackId};
use upstream::{ForwardedRequest, Returned, SfuResponse, Upstream};

/// What most modules use.
mod prelude {
    pub(crate) use std::collections::BTreeMap;
    pub(crate) use std::sync::Arc;
    pub(crate) use std::time::Duration;

    pub(crate) use axum::http::header::{CONTENT_TYPE, SET_COOKIE};
    pub(crate) use axum::http::{HeaderMap, HeaderValue, StatusCode};
    pub(crate) use serde::{Deserialize, Serialize};
    pub(crate) use serde_json::{Value, json};
    pub(crate) use strum::VariantArray;
    pub(crate) use turn_budget::{BitRate, ClientKey, GrantId, Spender, Timestamp, User};
    pub(crate) use turn_ledger::SfuSession;
    pub(crate) use turn_limits::{Bounds, Holder};
    pub(crate) use turn_signaling::ProtocolName;

    pub(crate) use super::*;
}
