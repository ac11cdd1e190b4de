//! The proxy of Cloudflare's SFU, as partytracks and Orange use it. Only the paths of `path` go upstream. A session belongs to one room
//! from its first request to its end, and takes tracks only from sessions of that room.
//!
//! These modules decide. They are pure: time is an argument.
//!
//! | where | what |
//! |---|---|
//! | `path`, `header` | which requests and which of their headers go upstream, and which headers of a response come back |
//! | `request`, `answer` | the bodies of requests, with exactly what goes upstream; the answers of the SFU |
//! | `track`, `name`, [`taken`] | what a session sends and takes, its names; what it takes at assumed rates |
//! | `sessions`, [`session`] | all sessions with their bounds and timers; one session: its owner, its room, its tracks |
//! | `addresses` | how many sessions one address may open |
//! | `lock` | the cookies: the lock that binds a session to one browser, and the ICE servers that the browser got |
//! | `fault` | the errors that the proxy answers itself |
//!
//! These carry it out:
//!
//! | where | what |
//! |---|---|
//! | [`routes`] | a request: who calls, from where, and what goes upstream |
//! | `proxy` | the sessions behind one lock; a request that is admitted |
//! | `upstream` | one request to the SFU |
//! | `watch` | what happens without a request: looks at sessions, and closing by force |
//! | `broker`, `ledger_row` | what the proxy needs of the broker; sessions as rows of the ledger |
//! | `settings` | the settings |

use std::fmt;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use turn_ledger::is_dots;

mod addresses;
mod answer;
mod broker;
mod fault;
mod header;
mod ledger_row;
mod lock;
mod name;
mod path;
mod proxy;
mod request;
pub mod routes;
pub mod session;
mod sessions;
mod settings;
pub mod taken;
mod track;
mod upstream;
mod watch;

pub use broker::SfuBroker;
pub use proxy::{Service, SfuProxy};
pub use settings::SfuConfig;

/// The longest name of a room, in bytes.
const ROOM_MAX: usize = 128;
/// The longest id of a session, in bytes. Cloudflare's have 32.
const SESSION_ID_MAX: usize = 64;

/// The id of a session, as Cloudflare made it. It is not a secret: every member of a room knows those of the others.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String")]
pub struct SessionId(Arc<str>);

impl SessionId {
    /// `None` unless the text is 1 to 64 letters, digits, `-` and `_`, so it can stand in a path and in a cookie's name.
    pub fn new(text: &str) -> Option<Self> {
        let is_allowed = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_');
        let is_good = (1..=SESSION_ID_MAX).contains(&text.len()) && text.bytes().all(is_allowed);
        is_good.then(|| Self(text.into()))
    }

    /// The text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The text, shared.
    pub fn text(&self) -> Arc<str> {
        Arc::clone(&self.0)
    }
}

impl TryFrom<String> for SessionId {
    type Error = &'static str;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        Self::new(&text).ok_or("expected the id of a session")
    }
}

/// The room that a request names. `None` for an empty name, one that is too long, one with a control character, and one that no path
/// can have.
pub fn room(text: &str) -> Option<Arc<str>> {
    let is_good =
        (1..=ROOM_MAX).contains(&text.len()) && !is_dots(text) && !text.chars().any(char::is_control);
    is_good.then(|| text.into())
}

impl fmt::Display for SessionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}
