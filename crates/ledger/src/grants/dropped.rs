//! What is known of the grants that have left the table: when the last of them expired, and until when it was promised. If a longer
//! tail reaches beyond that, the ledger lacks grants that may relay.
#![cfg_attr(not(test), warn(clippy::arithmetic_side_effects))]

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::{GrantRow, Grants};
use crate::{IceSource, Minute, PromisedTime, Timestamp};

/// No tail of any setting is longer.
pub const TAIL_MAX: Duration = Duration::from_secs(7 * 86_400);

/// The latest of a source's grants that have left the table.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Dropped {
    expiry: Timestamp,
    until: Minute,
}

impl Grants {
    /// A grant leaves the table. Nothing more can be relayed on one that was released.
    pub(super) fn drop_row(&mut self, row: &GrantRow) {
        if let Some(PromisedTime { until, .. }) = row.promised
            && !row.is_released()
        {
            let latest = self.dropped.entry(row.source).or_default();
            latest.expiry = latest.expiry.max(row.latest_expiry());
            latest.until = latest.until.max(until);
        }
    }

    /// When the last grant of a source that has left the table stops relaying, with this tail. `None`: what was promised covers it, or all
    /// were over at `since`.
    pub(crate) fn may_relay_until(
        &self,
        source: IceSource,
        after_expiry: Duration,
        since: Timestamp,
    ) -> Option<Timestamp> {
        let Dropped { expiry, until } = *self.dropped.get(&source)?;
        let end = Minute::from_end(expiry.plus(after_expiry));
        (end > until && until.start() > since).then(|| end.start())
    }
}
