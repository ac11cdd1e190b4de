//! The only reader of time. Everything else takes `now` as an argument, so that a test decides what time it is.
//! Two kinds: [`Timestamp`] (UTC) for the wire and the ledger, [`Instant`] for spans inside this process.

use std::fmt::Debug;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use turn_ledger::units::Timestamp;

/// A source of both kinds of time.
pub trait Clock: Debug + Send + Sync + 'static {
    /// Wall time. It may step backwards; whoever keeps state takes the later of this and what it saw before.
    fn now(&self) -> Timestamp;
    /// Monotonic time, for how long a thing took and when a breaker may try again.
    fn instant(&self) -> Instant;
}

/// `span` from now, for the runtime's timers. They watch sockets; no figure and no decision rests on them.
#[must_use]
#[expect(clippy::disallowed_methods, reason = "this is where time is read")]
pub fn deadline(span: Duration) -> tokio::time::Instant {
    tokio::time::Instant::now() + span
}

/// The machine's clock.
#[derive(Debug, Clone, Copy, Default)]
pub struct SystemClock;

impl Clock for SystemClock {
    #[expect(clippy::disallowed_methods, reason = "this is where time is read")]
    fn now(&self) -> Timestamp {
        // A clock before 1970 is a machine without a clock; the ledger keeps its later time in that case.
        let since_1970 = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        Timestamp::from_millis(0).plus(since_1970)
    }

    #[expect(clippy::disallowed_methods, reason = "this is where time is read")]
    fn instant(&self) -> Instant {
        Instant::now()
    }
}
