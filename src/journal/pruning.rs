//! Old rows leave the file. No billing period is longer than 31 days, so whichever `BILLING_DAY` the next start has, the
//! period that holds the books' present or any later instant begins within [`MINUTES_KEPT`] of the present. Rows of
//! minutes before that count in no figure; of the marks among them only the sum does, and it stays, as one row. So a
//! restart finds the same figures with and without this, now and later.

use redb::{ReadableTable, Table, WriteTransaction};

use super::tables::{FLOWS, MARKS, StoreError};
use turn_ledger::minute::Minute;
use turn_ledger::source::IceSource;
use turn_ledger::units::Timestamp;

/// The longest period.
pub(super) const MINUTES_KEPT: i64 = 31 * 1_440;

/// Removes the rows that the books at `now` and later do not need; whether there were any.
pub(super) fn forget_old(transaction: &WriteTransaction, now: Timestamp) -> Result<bool, StoreError> {
    let kept_from = Minute::of(now).number().saturating_sub(MINUTES_KEPT);
    let mut marks = transaction.open_table(MARKS)?;
    let mut flows = transaction.open_table(FLOWS)?;
    let mut has_changed = false;
    for source in IceSource::ALL {
        let old = (source.name(), i64::MIN)..(source.name(), kept_from);
        // Most of the time there are none: no page is to be written for that.
        if flows.range(old.clone())?.next().is_some() {
            flows.retain_in(old, |_, _| false)?;
            has_changed = true;
        }
        has_changed |= fold_marks(&mut marks, source, kept_from)?;
    }
    Ok(has_changed)
}

/// Puts the sum of the marks before a minute into the last one of them; whether it was not there already.
fn fold_marks(
    marks: &mut Table<'_, (&'static str, i64), (i64, i64)>,
    source: IceSource,
    kept_from: i64,
) -> Result<bool, StoreError> {
    let old = (source.name(), i64::MIN)..(source.name(), kept_from);
    let (mut rows, mut live, mut last) = (0_u64, 0_i64, None);
    for row in marks.range(old.clone())? {
        let (key, mark) = row?;
        rows += 1;
        live = live.saturating_add(mark.value().0);
        last = Some(key.value().1);
    }
    let Some(last) = last else { return Ok(false) };
    if rows == 1 && live != 0 {
        return Ok(false);
    }
    marks.retain_in(old, |_, _| false)?;
    if live != 0 {
        marks.insert((source.name(), last), (live, 0))?;
    }
    Ok(true)
}

#[cfg(test)]
#[path = "pruning_tests.rs"]
mod tests;
