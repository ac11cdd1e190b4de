//! One coturn session: the counts that coturn has shown, and the estimate of what it does not show. Tests: `src/coturn/sessions_tests.rs`.
//!
//! The charges never decrease within a day, and are never less than the shown counts.

use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use turn_budget::{BitRate, GrantId, RELAY_RATE_MAX, Timestamp, Traffic};

use crate::coturn::{Reach, Session};

/// Most packets of a session that coturn does not show (4.6.1, measured).
pub const HIDDEN_PACKETS_MAX: u64 = 2_047;

/// The longest time for which a session that ended between two listings is charged at its last rate. If an allocation is not refreshed,
/// coturn ends it after 10 minutes.
pub(super) const UNWATCHED_MAX: Duration = Duration::from_secs(600);

/// Bytes of a packet if none was measured: a full packet of video or of a data channel.
pub(super) const PACKET_BYTES: u64 = 1_200;

/// Fewest packets that give a rate. Fewer are the handshake, which coturn shows separately.
const MEASURE_PACKETS: u64 = 1_024;

/// coturn shows ages in whole seconds, rounded down. No measurement covers less time than this.
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
    /// The counts at the start of the span that is being measured.
    mark: Baseline,
    /// The last measurement.
    measured: Option<Measurement>,
    /// The charges so far, at least `traffic`.
    charged: Traffic,
    /// When coturn accepted the command to end it; `None` if a later listing shows it.
    pub(super) cut_at: Option<Timestamp>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Baseline {
    packets: u64,
    traffic: Traffic,
    /// The time of the listing that showed these counts.
    at: Timestamp,
    /// The time of the listing before that one. Hidden packets may have begun to flow at this time.
    hidden_since: Timestamp,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Measurement {
    packets: u64,
    traffic: Traffic,
    /// At least [`AGE_UNIT`].
    millis: u64,
}

impl SessionRow {
    pub(super) fn new(session: &Session, at: Timestamp) -> Self {
        let age = session.age.unwrap_or_default();
        // Between these two instants the session began, not before 1970.
        let before = |span| at.minus(span).max(Timestamp::default());
        let (latest, earliest) = (before(age), before(age.saturating_add(AGE_UNIT)));
        Self {
            user: session.user.as_str().into(),
            grant: session.grant,
            age: session.age,
            reach: session.reach,
            // No earlier listing showed this session.
            seen_at: earliest,
            packets: 0,
            traffic: Traffic::ZERO,
            mark: Baseline { packets: 0, traffic: Traffic::ZERO, at: latest, hidden_since: earliest },
            measured: None,
            charged: Traffic::ZERO,
            cut_at: None,
        }
    }

    /// Whether more has changed than `seen_at` and `age`, which each listing changes. A row is not stored again for these alone.
    pub(super) fn has_changed_since(&self, before: &Self) -> bool {
        Self { seen_at: self.seen_at, age: self.age, ..before.clone() } != *self
    }

    /// Lowers the charges to the shown counts. Returns whether more was charged.
    pub(super) fn forget_estimate(&mut self) -> bool {
        std::mem::replace(&mut self.charged, self.traffic) != self.traffic
    }

    /// Whether this is the row's session, and not a new one with the same id after a restart of coturn.
    pub(super) fn is_of(&self, session: &Session) -> bool {
        // `min` compares each direction. While no bytes have fallen, the lower of the two counts is the row's in both directions.
        let has_fallen = session.packets < self.packets || session.traffic.min(self.traffic) != self.traffic;
        let is_younger =
            self.age.zip(session.age).is_some_and(|(was, is)| is.saturating_add(AGE_SLACK) < was);
        *self.user == *session.user && !has_fallen && !is_younger
    }

    /// Takes the session as a listing shows it. Measures its rate once enough packets have come since the last measurement.
    pub(super) fn update(&mut self, session: &Session, at: Timestamp) {
        let before = self.seen_at;
        self.age = session.age.or(self.age);
        self.reach = self.reach.max(session.reach);
        self.packets = session.packets;
        self.traffic = session.traffic;
        self.seen_at = at;
        self.cut_at = None;
        let packets = self.packets.saturating_sub(self.mark.packets);
        if packets >= MEASURE_PACKETS {
            let traffic = self.traffic.minus(self.mark.traffic);
            let millis = millis(at.since(self.mark.at).max(AGE_UNIT));
            self.measured = Some(Measurement { packets, traffic, millis });
            self.mark = Baseline { packets: self.packets, traffic: self.traffic, at, hidden_since: before };
        }
    }

    /// The estimated traffic by `at` of a live session, beyond the shown counts.
    pub(super) fn hidden(&self, at: Timestamp, default_rate: BitRate) -> Traffic {
        let millis = at.millis_since(self.mark.hidden_since);
        let Some(measured) = self.measured else {
            return self.unmeasured(millis, default_rate);
        };
        measured.over(millis).min(measured.hidden_max())
    }

    /// The same without a measured rate.
    fn unmeasured(&self, millis: u64, default_rate: BitRate) -> Traffic {
        if self.reach < Reach::Bound {
            return Traffic::ZERO;
        }
        let hidden = HIDDEN_PACKETS_MAX.saturating_sub(self.packets).saturating_mul(PACKET_BYTES);
        Traffic::of_rate(default_rate, millis).min(Traffic::new(hidden, hidden))
    }

    /// The estimated total of a session that had ended by `at`.
    pub(super) fn at_its_end(&self, at: Timestamp, default_rate: BitRate) -> Traffic {
        let unwatched = at.since(self.seen_at).min(UNWATCHED_MAX);
        let Some(measured) = self.measured else {
            return self.traffic.plus(self.hidden(self.seen_at.plus(unwatched), default_rate));
        };
        self.traffic.plus(self.hidden(self.seen_at, default_rate)).plus(self.since_seen(measured, unwatched))
    }

    /// The estimated traffic since the last listing that showed the session, at the lower of two rates: the measured one, and the highest
    /// one that was possible from the measurement to that listing. So an idle session is assumed to have stayed idle.
    fn since_seen(&self, measured: Measurement, unwatched: Duration) -> Traffic {
        let at_measured_rate = measured.over(millis(unwatched));
        let since_measured = self.seen_at.millis_since(self.mark.at);
        if since_measured == 0 {
            return at_measured_rate;
        }
        let carried_max = self.traffic.minus(self.mark.traffic).plus(measured.hidden_max());
        at_measured_rate.min(carried_max.scaled(millis(unwatched), since_measured))
    }

    /// Raises the charges in each direction to those of `sum`, if these are higher. Returns the difference.
    pub(super) fn charge(&mut self, sum: Traffic) -> Traffic {
        let added = sum.minus(self.charged);
        self.charged = self.charged.plus(added);
        added
    }
}

impl Measurement {
    /// Traffic at this measurement's rate over `millis`, at most at [`RELAY_RATE_MAX`]. The rate includes up to 2,047
    /// hidden packets, so it is never too low. It is too high by at most these packets and the rounding of a young
    /// session's age.
    fn over(&self, millis: u64) -> Traffic {
        let with_hidden = self.traffic.plus(self.hidden_max());
        with_hidden.scaled(millis, self.millis).min(Traffic::of_rate(RELAY_RATE_MAX, millis))
    }

    /// [`HIDDEN_PACKETS_MAX`] packets of this measurement's mean size.
    fn hidden_max(&self) -> Traffic {
        self.traffic.scaled(HIDDEN_PACKETS_MAX, self.packets)
    }
}

fn millis(span: Duration) -> u64 {
    u64::try_from(span.as_millis()).unwrap_or(u64::MAX)
}
