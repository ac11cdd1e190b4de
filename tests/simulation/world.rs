//! What really happens: every credential that somebody may hold relays at up to the assumed rate until its tail ends.

use std::time::Duration;

use turn_broker::budget::period::Period;
use turn_broker::units::Timestamp;

/// The most that one credential relays, bytes in a millisecond: 2 Mbps.
pub(crate) const RATE: u64 = 250;

/// A credential that somebody may hold.
#[derive(Clone, Copy, Debug)]
struct Credential {
    /// In the world's own milliseconds.
    ends: u64,
}

/// True bytes, which nobody in the broker can see.
#[derive(Default)]
pub(crate) struct World {
    /// Milliseconds since the walk began; never set back.
    pub(crate) now: u64,
    credentials: Vec<Credential>,
    /// True bytes of the period that the books are in.
    pub(crate) bytes: u64,
}

impl World {
    /// The provider made a credential `delay` after it was asked; its holder relays until life and tail are over.
    pub(crate) fn hand_out(&mut self, delay: Duration, life: Duration, tail: Duration) {
        let millis = u64::try_from((delay + life + tail).as_millis()).unwrap_or(u64::MAX);
        self.credentials.push(Credential { ends: self.now.saturating_add(millis) });
    }

    /// Time passes, and those who hold credentials relay: `share` of the most, in 256ths. `periods` says in which of the
    /// books' periods an instant lies.
    pub(crate) fn pass(
        &mut self,
        millis: u64,
        share: u64,
        begins: Timestamp,
        period: impl Fn(Timestamp) -> Period,
    ) {
        let (from, to) = (self.now, self.now + millis);
        let last = period(begins.plus_millis(millis));
        // Only what flows in the period that the books are in at the end is counted there.
        let counted_from = last.start.max(begins).millis_since(begins) + from;
        if last.start > begins {
            self.bytes = 0;
        }
        let relayed =
            self.credentials.iter().map(|credential| credential.ends.min(to).saturating_sub(counted_from));
        self.bytes += relayed.sum::<u64>() * RATE * share / 256;
        self.now = to;
        self.credentials.retain(|credential| credential.ends > to);
    }
}
