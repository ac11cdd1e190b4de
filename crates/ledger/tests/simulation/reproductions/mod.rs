//! Scenarios that failed once, by what was wrong. They are literal operations, so a change of the random choice does not change them.
//! Each has a mutant in `tests/mutants/ledger.txt`, or its reason in `tests/mutants/reproductions.txt`.

mod clocks;
mod counts;
mod inaccuracies;
mod reports;
mod stored;
mod tails;

use crate::walk::settings::Settings;

const ESTIMATE: Settings = Settings::DEFAULT;
const STRICT: Settings = Settings { strict: true, ..ESTIMATE };
const MINUTE: u64 = 60_000;
const HOUR: u64 = 60 * MINUTE;
const DAY: u64 = 24 * HOUR;
