//! One listing of coturn's sessions, as typed values. Tests: `src/coturn/sessions_tests.rs`.

use std::fmt;
use std::time::Duration;

use turn_budget::{GrantId, Timestamp, Traffic};

/// Most sessions that are read. A listing with more is not complete.
pub const SESSIONS_MAX: usize = 65_536;

/// A session's number in coturn. Numbers start again when coturn restarts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize, serde::Deserialize)]
#[serde(transparent)]
pub struct SessionId(u64);

impl SessionId {
    /// From its number; `None` for zero.
    pub fn new(number: u64) -> Option<Self> {
        (number > 0).then_some(Self(number))
    }

    /// Its number.
    pub const fn get(self) -> u64 {
        self.0
    }
}

impl fmt::Display for SessionId {
    /// As coturn prints it.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:018}", self.0)
    }
}

/// The peers that a session can exchange packets with, by the client's requests.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
#[derive(serde::Serialize, serde::Deserialize)]
pub enum Reach {
    /// No peer: nothing is relayed.
    #[default]
    Nobody,
    /// A permission for an address. Browsers request one for each candidate and never use most of them.
    Permitted,
    /// A channel to an address and port. Browsers request it before they send data.
    Bound,
}

/// One authenticated session, which is one allocation. Sessions without a valid credential are left out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Session {
    /// The session's number.
    pub id: SessionId,
    /// Its user name. A long one is shortened.
    pub user: String,
    /// The grant in the user name. A name that is not ours has an id of its own, which [is foreign](GrantId::is_foreign).
    pub grant: GrantId,
    /// When the credential expires, by the user name; `None` for a name that does not say it.
    pub expires_at: Option<Timestamp>,
    /// Its age in whole seconds; `None` if coturn does not know it.
    pub age: Option<Duration>,
    /// Packets between the relay and the client in both directions, as of coturn's last update of its figures.
    pub packets: u64,
    /// Bytes between the relay and the client, as of the same update.
    pub traffic: Traffic,
    /// The peers that it can exchange packets with.
    pub reach: Reach,
}

/// The sessions at one time.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Listing {
    /// The authenticated sessions, in no particular order.
    pub sessions: Vec<Session>,
    /// The sessions whose end coturn has reported since the last listing, with their exact totals. Also one that no listing has shown.
    pub ended: Vec<Session>,
    /// Whether these are all sessions. If not, a missing session may still be alive.
    pub is_complete: bool,
    /// Whether reports of ends may have been lost since the last complete listing.
    pub is_after_gap: bool,
}
