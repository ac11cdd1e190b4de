//! The bandwidth ledger of turn-broker. This package is pure: it reads no clock and no environment, and neither reads nor writes files.
//! Time and randomness are arguments, decisions are values. Every public name is exported at the root, except those of [`polls`]; the
//! other modules are private. The first lines of a module name the file with its tests.
//!
//! | where | what |
//! |---|---|
//! | `units` | bytes, bit rates, instants; the time of the books; billing periods; days and minutes in UTC |
//! | `day` | what is counted by the day |
//! | `standing` | what is stored of the clocks, of a jump of the time, and of the relay in the process |
//! | `source`, `owner`, `rates` | the kinds of sources, with a table of what is true of each; whose bytes a count is of; the rates that are assumed |
//! | `timeline`, `minutes`, `minute_usage`, `usage_change` | one owner of counts: its counts and the check of the rate; its minutes; the usage in one of them, and how usage changes it |
//! | `reading`, `doubt`, `proof`, `rate_check` | the provider's own count; whether it is believed; the assumed rate tested against it |
//! | `promise`, `ledger`, `verdict`, `overrides` | what a credential can still relay; all sources under one limit; admit or refuse; the operator's overrides |
//! | `grants`, `token`, `token_keys`, `spender` | one row per grant; its id; the keys that sign tokens; who spends |
//! | `connection`, `connections`, `usage_rules`, `reports` | reported connections, and how they are charged |
//! | `client`, `clients`, `allowance` | which addresses count as one client; what each may claim, hold and reserve |
//! | `coturn`, `traffic` | what coturn's sessions carried |
//! | `spenders`, `grant_counts`, `person` | the sums by who spends; what a source counted for each grant; how a person is removed |
//! | `books`, `open`, `effects`, `lacking` | everything under one lock; opening it; what grants and connections change in the ledger; grants that it lacks |
//! | `changes`, `dirty` | what must be stored |
//! | `polls` | what a provider is asked for, and when |
//! | `sorted`, `shards` | small sorted lists; a large hash map |

#![cfg_attr(not(test), warn(clippy::arithmetic_side_effects))]

mod allowance;
mod books;
mod changes;
mod clients;
mod connection;
mod connections;
mod coturn;
mod grants;
mod lacking;
mod open;
mod person;
pub mod polls;
mod reports;
mod spenders;
mod token_keys;

pub use turn_budget::*;
pub use {
    allowance::*,
    books::{blocks::*, commit::*, snapshot::*, spending::*, *},
    changes::*,
    clients::*,
    connection::*,
    connections::*,
    coturn::{listing::*, sessions::row::*, sessions::*, usage::*},
    grants::{
        chains::*, counts::*, ending::*, history::*, listing::*, row::*, sfu::*, spent::*, summing::*,
        tails::*, terms::*, *,
    },
    lacking::*,
    open::*,
    person::*,
    reports::*,
    spenders::{key::*, left::*, limited::*, listing::*, sums::*, terms::*},
    token_keys::*,
};

#[cfg(test)]
mod testing;
