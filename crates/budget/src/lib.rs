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

pub use {
    budget::*,
    collections::*,
    evidence::*,
    minutes::{Basis, ChangeKind, ClaimedUsage, MinuteRow, SourceRows, UsageChange},
    names::*,
    overrides::*,
    promise::*,
    source::*,
    timeline::{MeasuredUsage, ProofRule, SeenRate, Slice, SourceTerms},
    units::*,
    verdict::*,
};
