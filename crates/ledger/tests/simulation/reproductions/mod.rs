//! Scenarios that failed once, by what was wrong. They are literal operations, so a change of the random choice does not change them.
//! Each has a mutant in `tests/mutants/ledger.txt`, or its reason in `tests/mutants/reproductions.txt`.

mod clocks;
mod counts;
mod inaccuracies;
mod reports;
mod stored;
mod tails;

use crate::walk::settings::Settings;

mod prelude {
    pub(super) use turn_ledger::{IceSource, Written};

    pub(super) use super::{DAY, ESTIMATE, HOUR, MINUTE, STRICT};
    pub(super) use crate::check;
    pub(super) use crate::walk::Scenario;
    pub(super) use crate::walk::coturn::Cli;
    pub(super) use crate::walk::ops::Op::{self, *};
    pub(super) use crate::walk::settings::Change::{BillingDay, Limit, Mbps, Sources, Strict};
    pub(super) use crate::walk::settings::{COTURN, Keys, Settings};
}

const ESTIMATE: Settings = Settings::DEFAULT;
const STRICT: Settings = Settings { strict: true, ..ESTIMATE };
const MINUTE: u64 = 60_000;
const HOUR: u64 = 60 * MINUTE;
const DAY: u64 = 24 * HOUR;
