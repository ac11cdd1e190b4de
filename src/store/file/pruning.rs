//! Removal of old rows. It never changes the figures that a restart finds. No billing period is longer than 31 days, so
//! with any `BILLING_DAY` the current period begins at most [`MINUTES_KEPT`] minutes ago. No figure uses
//! the rows of earlier minutes, with one exception: the sum of the earlier marks is the number of grants that are still
//! alive. It stays as one row.

use std::ops::Range;

use redb::{ReadableTable, Table, WriteTransaction};

use super::tables::in_file;
use crate::store::rows::{FLOWS, MARKS, StoreError, mark_of, slot_key, to_row};
use turn_ledger::{IceSource, LiveDelta, Minute, Timestamp};

/// The longest period, in minutes.
pub(in crate::store) const MINUTES_KEPT: i64 = 31 * 1_440;

/// Removes the rows that the books do not need at `now` and later. Returns whether there were any.
pub(super) fn forget_old(transaction: &WriteTransaction, now: Timestamp) -> Result<bool, StoreError> {
    let kept_from = Minute::of(now).number().saturating_sub(MINUTES_KEPT);
    let mut marks = transaction.open_table(in_file(MARKS))?;
    let mut flows = transaction.open_table(in_file(FLOWS))?;
    let mut has_changed = false;
    for source in IceSource::ALL {
        let old = slot_key(source.name(), i64::MIN)?..slot_key(source.name(), kept_from)?;
        let old = &*old.start..&*old.end;
        // Usually there are none. In that case no page should be written.
        if flows.range(old.clone())?.next().is_some() {
            flows.retain_in(old.clone(), |_, _| false)?;
            has_changed = true;
        }
        has_changed |= fold_marks(&mut marks, old)?;
    }
    Ok(has_changed)
}

/// Replaces the marks with these keys, all of one source, with one row that holds their sum. Returns whether that changed anything.
fn fold_marks(
    marks: &mut Table<'_, &'static [u8], &'static [u8]>,
    old: Range<&[u8]>,
) -> Result<bool, StoreError> {
    let (mut rows, mut sum, mut last) = (0_u64, LiveDelta::default(), None);
    for row in marks.range(old.clone())? {
        let (key, row) = row?;
        rows += 1;
        sum = sum.plus(mark_of(key.value(), row.value())?.2);
        last = Some(key.value().to_vec());
    }
    let Some(last) = last else { return Ok(false) };
    let is_level = sum != LiveDelta::default();
    if rows == 1 && is_level {
        return Ok(false);
    }
    marks.retain_in(old, |_, _| false)?;
    if is_level {
        marks.insert(&*last, &*to_row(&sum)?)?;
    }
    Ok(true)
}

#[cfg(test)]
#[path = "pruning_tests.rs"]
mod tests;
