//! What the published bound depends on besides the assumed rate: that the books' time is right. Tests: `src/books/tests/clock.rs`.
//! It is stored with that time. The bound is not published as holding before the instants here.

use serde::{Deserialize, Serialize};

use crate::units::Timestamp;
use crate::units::clock::{ClockMark, Moment};

/// See the module's description.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Standing {
    /// The clocks at the books' time.
    pub mark: ClockMark,
    /// Grants that were alive at a jump of the time may relay until then, beyond what is promised.
    pub jumped_until: Timestamp,
    /// Whether the process that wrote this had a relay, and has not ended in order: it may have relayed after this write.
    pub is_relaying: bool,
}

impl Standing {
    /// Applies a reading of the clocks, before the books advance to it. If a clock was wrong on either side of a jump, no time has
    /// passed, and grants relay for as much longer than was promised. `alive_until`: the end of the last live grant.
    pub(crate) fn advance(
        &mut self,
        moment: &Moment,
        before: Timestamp,
        alive_until: impl FnOnce() -> Timestamp,
    ) {
        self.mark = moment.mark;
        if !moment.may_be_wrong {
            return;
        }
        let last = alive_until().max(self.jumped_until);
        if last > before {
            self.jumped_until = last.plus(moment.jumped);
        }
    }
}
