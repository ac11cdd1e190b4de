//! Removal of old rows. It never changes the figures that a restart finds. No billing period is longer than 31 days, so
//! with any `BILLING_DAY` the current period begins at most [`MINUTES_KEPT`] minutes ago. No figure uses
//! the rows of earlier minutes, with one exception: the sum of the earlier marks is the number of grants that are still
//! alive. It stays as one row.

use redb::{ReadableTable, Table, WriteTransaction};

use super::rows::{FLOWS, MARKS, StoreError};
use turn_ledger::{IceSource, Minute, Timestamp};

/// The longest period, in minutes.
pub(super) const MINUTES_KEPT: i64 = 31 * 1_440;

/// Removes the rows that the books do not need at `now` and later. Returns whether there were any.
pub(super) fn forget_old(transaction: &WriteTransaction, now: Timestamp) -> Result<bool, StoreError> {
    let kept_from = Minute::of(now).number().saturating_sub(MINUTES_KEPT);
    let mut marks = transaction.open_table(MARKS)?;
    let mut flows = transaction.open_table(FLOWS)?;
    let mut has_changed = false;
    for source in IceSource::ALL {
        let old = (source.name(), i64::MIN)..(source.name(), kept_from);
        // Usually there are none. In that case no page should be written.
        if flows.range(old.clone())?.next().is_some() {
            flows.retain_in(old, |_, _| false)?;
            has_changed = true;
        }
        has_changed |= fold_marks(&mut marks, source, kept_from)?;
    }
    Ok(has_changed)
}

/// Replaces the marks before a minute with one row that holds their sum. Returns whether that changed anything.
fn fold_marks(
    marks: &mut Table<'_, (&'static str, i64), (i64, i64)>,
    source: IceSource,
    kept_from: i64,
) -> Result<bool, StoreError> {
    let old = (source.name(), i64::MIN)..(source.name(), kept_from);
    let (mut rows, mut live, mut per_minute, mut last) = (0_u64, 0_i64, 0_i64, None);
    for row in marks.range(old.clone())? {
        let (key, mark) = row?;
        rows += 1;
        live = live.saturating_add(mark.value().0);
        per_minute = per_minute.saturating_add(mark.value().1);
        last = Some(key.value().1);
    }
    let Some(last) = last else { return Ok(false) };
    let is_level = (live, per_minute) != (0, 0);
    if rows == 1 && is_level {
        return Ok(false);
    }
    marks.retain_in(old, |_, _| false)?;
    if is_level {
        marks.insert((source.name(), last), (live, per_minute))?;
    }
    Ok(true)
}

#[cfg(test)]
#[path = "pruning_tests.rs"]
mod tests;
