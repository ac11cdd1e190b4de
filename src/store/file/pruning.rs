//! Removal of old rows. It never changes the figures that a restart finds. No billing period is longer than 31 days, so
//! with any `BILLING_DAY` the current period begins at most [`MINUTES_KEPT`] minutes ago. No figure uses the rows of earlier minutes.

use redb::{ReadableTable, WriteTransaction};

use super::tables::in_file;
use crate::store::rows::{MINUTES, StoreError, slot_key};
use turn_ledger::{IceSource, Minute, Timestamp};

/// The longest period, in minutes.
pub(in crate::store) const MINUTES_KEPT: i64 = 31 * 1_440;

/// Removes the rows that the books do not need at `now` and later. Returns whether there were any.
pub(super) fn forget_old(transaction: &WriteTransaction, now: Timestamp) -> Result<bool, StoreError> {
    let kept_from = Minute::of(now).number().saturating_sub(MINUTES_KEPT);
    let mut minutes = transaction.open_table(in_file(MINUTES))?;
    let mut has_changed = false;
    for source in IceSource::ALL {
        let old = slot_key(source.name(), i64::MIN)?..slot_key(source.name(), kept_from)?;
        let old = &*old.start..&*old.end;
        // Usually there are none. In that case no page should be written.
        if minutes.range(old.clone())?.next().is_some() {
            minutes.retain_in(old, |_, _| false)?;
            has_changed = true;
        }
    }
    Ok(has_changed)
}

#[cfg(test)]
#[path = "pruning_tests.rs"]
mod tests;
