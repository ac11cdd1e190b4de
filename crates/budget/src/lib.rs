//! The rules of the budget: is the bound right? This package is pure: it reads no clock and no environment, and neither reads nor writes
//! files. It knows no grant's row, no connection and no session: only what is promised, what is counted, and what the one releases of the
//! other. The first lines of a module name the file with its tests.
//!
//! | where | what |
//! |---|---|
//! | `units` | bytes, bit rates, instants, spans of time; the time of the books; billing periods; days and minutes in UTC |
//! | `names` | what a promise carries of its grant: its id, its client, who spends |
//! | `source` | the kinds of sources, with a table of what is true of each |
//! | `promise` | what a credential can still relay: its minutes, its rate, its tail; how reports are charged |
//! | `evidence` | whose bytes a count is of, what it shows, whether it is believed, and the assumed rate tested against it |
//! | `minutes`, `timeline` | promises and usage by the minute; one timeline for each owner of counts |
//! | `budget`, `verdict`, `overrides` | all owners under one limit; admit or refuse; the operator's overrides |
//! | `collections` | rows with their changes; a large hash map; small sorted lists |

#![cfg_attr(not(test), warn(clippy::arithmetic_side_effects))]

mod budget;
mod collections;
mod evidence;
mod minutes;
mod names;
mod overrides;
mod promise;
mod source;
mod timeline;
mod units;
mod verdict;

#[cfg(test)]
mod testing;

pub use collections::sorted;
// The words of the budget, and of everything around it.
pub use collections::{
    dirty::{Dirty, Rows},
    shards::{NewShards, Shards, Walk},
};
pub use names::{
    client::{ClientKey, GROUP_FACTOR},
    spender::{Call, LABEL_MAX, Label, ORIGIN_MAX, SIGN_IN_MAX, Spender, USER_MAX, User, is_dots},
    token::{Grant, GrantId, LIFE_MAX},
};
pub use source::{
    IceSource, MINT_SLACK, UNWRITTEN_MAX,
    facts::{Charged, DecidedBy, EndedBy, GrantsAre, OnRevocation, SourceFacts, SourceSettings},
};
pub use units::{
    BitRate, ByteCount, RELAY_RATE_MAX, Timestamp,
    clock::{Boot, ClockDoubt, Moment, REFERENCE_DIFFERENCE_TOLERATED, SteadyTime},
    interval::{Interval, Spread},
    lossy,
    period::{BillingDay, Period},
    slot::{Day, Minute, Slot},
    standing::Standing,
    wait_seconds,
};
// Its rules.
pub use budget::{Budget, PeriodCounts, RECENT_MAX, Terms};
pub use evidence::{
    agreement::Agreement,
    day::{DayCount, at_most},
    grant_counts::{COUNTED_WITHIN, CountsTaken, GrantCounts},
    owner::{CountOwner, IdDigest},
    rate_check::{Excess, Excesses},
    reading::{Carried, Reading, ReadingOutcome},
    traffic::Traffic,
};
pub use minutes::{
    change::{ChangeKind, UsageChange},
    usage::{Basis, ClaimedUsage, MinuteRow, SourceRows},
};
pub use overrides::Overrides;
pub use promise::{
    GrantMinutes, LiveDelta, Promise, PromisedTime,
    effects::{Effect, Effects, OwnedTime},
    rates::{Rates, SFU_UNIT},
    usage_rules::{BilledDirections, UsageRules},
};
pub use timeline::{
    Slice,
    measured::{MeasuredUsage, SeenRate},
    terms::{ProofRule, SourceTerms},
};
pub use verdict::{
    BudgetMode, ClientShare, Figures, LimitKind, LimitShare, LimitUsage, PeriodBytes, Refusal, Request,
    STRICT_LIFE_MIN, decide, strict_life_min,
};
