//! The bandwidth ledger of turn-broker. This package is pure: it reads no clock and no environment, and neither reads nor writes files.
//! Time and randomness are arguments, decisions are values. The rules of the budget are in the package turn-budget. Every public name is
//! exported at the root, except those of [`polls`]; the other modules are private. The first lines of a module name the file with its
//! tests.
//!
//! | where | what |
//! |---|---|
//! | `books`, `open`, `lacking` | everything under one lock; opening it; grants that it lacks |
//! | `changes` | what must be stored |
//! | `grants` | one row per grant: its promise, its chain, its counts, its end |
//! | `connection`, `connections`, `reports` | reported connections, and what a report does |
//! | `coturn` | what coturn's sessions carried |
//! | `cost` | what the billed bytes cost |
//! | `spending` | who spends, and the limits of users and server keys |
//! | `clients`, `allowance` | what one client may claim, hold and reserve |
//! | `token_keys`, `person` | the keys that sign tokens; how a person is removed |
//! | `polls` | what a provider is asked for, and when |

#![cfg_attr(not(test), warn(clippy::arithmetic_side_effects))]

mod allowance;
mod books;
mod changes;
mod clients;
mod connection;
mod connections;
mod cost;
mod coturn;
mod grants;
mod lacking;
mod open;
mod person;
pub mod polls;
mod reports;
mod spending;
mod token_keys;

pub use turn_budget::*;
pub use {
    allowance::*, books::*, changes::*, clients::*, connection::*, connections::*, cost::*, coturn::*,
    grants::*, lacking::*, open::*, person::*, reports::*, spending::*, token_keys::*,
};

/// What most modules use.
mod prelude {
    pub(crate) use std::collections::{BTreeMap, BTreeSet};
    pub(crate) use std::sync::Arc;
    pub(crate) use std::time::Duration;

    pub(crate) use serde::{Deserialize, Serialize};
    pub(crate) use turn_budget::*;
}

#[cfg(test)]
mod testing;
