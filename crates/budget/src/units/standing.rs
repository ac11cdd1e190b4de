//! What is stored of the clocks, of a jump of the time, and of the relay in the process. Tests: `../ledger/src/books/tests/clock.rs`.
//! This is stored with the books' time. The overshoot bound is not published as holding before `jumped_until`.

use serde::{Deserialize, Serialize};

use crate::units::{ClockMark, Moment, Timestamp};

/// See the module's description.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Standing {
    /// The clocks at the books' time.
    pub mark: ClockMark,
    /// Until when grants that were alive at a jump of the time may relay beyond what is promised.
    pub jumped_until: Timestamp,
    /// Whether the process that wrote this had a relay and had not noted an orderly end, so it may have relayed after this write.
    pub is_relaying: bool,
}

impl Standing {
    /// Applies a reading of the clocks, before the books advance to it. If a clock was wrong before or after a jump, less time has
    /// passed than the books' time jumped, perhaps none. Then grants relay longer than promised, by the jump at most. `before`: the time of
    /// the books. `alive_until`: the end of the last live grant.
    pub fn advance(&mut self, moment: &Moment, before: Timestamp, alive_until: impl FnOnce() -> Timestamp) {
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
