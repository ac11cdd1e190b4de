//! One coturn session: what coturn has shown of it, and the most that it can have relayed since. Tests: `src/coturn/sessions_tests.rs`.

use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use turn_budget::{GrantId, Timestamp, Traffic};

use crate::coturn::{Reach, Session};

/// Most packets of a session that coturn does not show (4.6.1, measured).
pub const HIDDEN_PACKETS_MAX: u64 = 2_047;

/// Bytes of a packet that is not shown: a full packet of video or of a data channel.
const PACKET_BYTES: u64 = 1_200;

/// coturn shows ages in whole seconds, rounded down.
const AGE_UNIT: Duration = Duration::from_secs(1);

/// A session whose age decreased by at most this is still the same one, because coturn's clock may have been set.
const AGE_SLACK: Duration = Duration::from_secs(5);

/// One session.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SessionRow {
    user: Arc<str>,
    pub(super) grant: GrantId,
    /// As coturn showed it last, in whole seconds; `None` if coturn never did.
    age: Option<Duration>,
    /// The furthest reach that a listing has shown.
    reach: Reach,
    /// The time of the last listing that showed it. In a new row: the earliest instant at which it can have begun.
    pub(super) seen_at: Timestamp,
    /// Packets as coturn shows them.
    packets: u64,
    pub(super) traffic: Traffic,
    /// The time of the last listing that showed other counts. Hidden packets may have flowed since.
    pub(super) shown_at: Timestamp,
    /// Whether coturn has reported its end: the counts are exact.
    pub(super) has_ended: bool,
    /// Whether the last complete listing missed it, and its end was not reported yet.
    pub(super) is_missing: bool,
}

/// The first fields of a stored [`SessionRow`], up to `traffic`. A migration finds by them what comes later.
pub type SessionRowUpToTraffic = (Box<str>, GrantId, Option<Duration>, Reach, Timestamp, u64, Traffic);

impl SessionRow {
    pub(super) fn new(session: &Session, at: Timestamp) -> Self {
        let age = session.age.unwrap_or_default().saturating_add(AGE_UNIT);
        // No earlier listing showed this session. It did not begin before 1970.
        let earliest = at.minus(age).max(Timestamp::default());
        Self {
            user: session.user.as_str().into(),
            grant: session.grant,
            age: session.age,
            reach: session.reach,
            seen_at: earliest,
            packets: 0,
            traffic: Traffic::ZERO,
            shown_at: earliest,
            has_ended: false,
            is_missing: false,
        }
    }

    /// Whether more has changed than `seen_at` and `age`, which each listing changes. A row is not stored again for these alone.
    pub(super) fn has_changed_since(&self, before: &Self) -> bool {
        Self { seen_at: self.seen_at, age: self.age, ..before.clone() } != *self
    }

    /// Whether this is the row's session, and not a new one with the same id after a restart of coturn. A listing can still show a session
    /// whose end coturn has just reported.
    pub(super) fn is_of(&self, session: &Session) -> bool {
        // `min` compares each direction. While no bytes have fallen, the lower of the two counts is the row's in both directions.
        let has_fallen = session.packets < self.packets || session.traffic.min(self.traffic) != self.traffic;
        let is_younger =
            self.age.zip(session.age).is_some_and(|(was, is)| is.saturating_add(AGE_SLACK) < was);
        *self.user == *session.user && (self.has_ended || !has_fallen) && !is_younger
    }

    /// Takes the session as a listing or the report of its end shows it. Returns the bytes that are new.
    pub(super) fn update(&mut self, session: &Session, at: Timestamp) -> Traffic {
        if session.packets != self.packets {
            self.shown_at = self.seen_at;
        }
        let added = session.traffic.minus(self.traffic);
        self.age = session.age.or(self.age);
        self.reach = self.reach.max(session.reach);
        self.packets = self.packets.max(session.packets);
        self.traffic = self.traffic.plus(added);
        self.seen_at = at;
        self.is_missing = false;
        added
    }

    /// The most that it can have relayed beyond its counts; nothing without a channel to a peer. Browsers begin many such sessions and never
    /// use them.
    pub(super) fn hidden_max(&self) -> Traffic {
        if self.has_ended || self.reach < Reach::Bound {
            return Traffic::ZERO;
        }
        let bytes = HIDDEN_PACKETS_MAX.saturating_mul(PACKET_BYTES);
        Traffic::new(bytes, bytes)
    }
}
