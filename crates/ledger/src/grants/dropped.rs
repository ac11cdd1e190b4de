//! What is known of the grants that have left the table: when the last of them expired, and until when it was promised.
//! Tests: `src/grants_tests.rs`.
//! If a longer tail reaches beyond that, the ledger lacks grants that may relay.
#![cfg_attr(not(test), warn(clippy::arithmetic_side_effects))]

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::units::Timestamp;
use crate::units::slot::Minute;

/// No tail of any setting is longer.
pub const TAIL_MAX: Duration = Duration::from_secs(7 * 86_400);

/// The latest of a source's grants that have left the table.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Dropped {
    pub(crate) expiry: Timestamp,
    pub(super) until: Minute,
}
