//! The rows of each source: what it counted, and its minutes. The rows of live grants are differences, which add up. Those of a
//! source that this version does not know are an error, so that its usage is not lost.

use redb::{ReadTransaction, ReadableTable, WriteTransaction};

use turn_ledger::{ClaimedUsage, Day, IceSource, LiveDelta, Minute, MinuteUsage, SourceRows, Stored};

use super::{DAYS, FLOWS, FlowRow, MARKS, OnBadRow, StoreError, from_row, json_of, put, rows, write_rows};

pub(super) fn read_sources(
    transaction: &ReadTransaction,
    stored: &mut Stored,
    bad: OnBadRow<'_>,
) -> Result<(), StoreError> {
    rows(transaction, MARKS, bad, |(source, minute), (live, per_minute)| {
        let delta = LiveDelta { live, per_minute };
        rows_of(stored, source)?.deltas.insert(Minute::new(minute), delta);
        Ok(())
    })?;
    rows(transaction, FLOWS, bad, |(source, minute), numbers| {
        rows_of(stored, source)?.usage.insert(Minute::new(minute), usage_of(numbers));
        Ok(())
    })?;
    rows(transaction, DAYS, bad, |(source, day), row| {
        let count = from_row(row)?;
        rows_of(stored, source)?.days.insert(Day::new(day), Some(count));
        Ok(())
    })?;
    for source in IceSource::ALL {
        let state = json_of(transaction, &state_key(source), bad)?;
        let trial = json_of(transaction, &trial_key(source), bad)?;
        let read = SourceRows { state, trial, ..SourceRows::default() };
        if !read.is_empty() {
            stored.sources.entry(source).or_default().apply(read);
        }
    }
    Ok(())
}

pub(super) fn write_source(
    transaction: &WriteTransaction,
    source: IceSource,
    rows: &SourceRows,
) -> Result<(), StoreError> {
    let mut marks = transaction.open_table(MARKS)?;
    for (minute, change) in &rows.deltas {
        let key = (source.name(), minute.number());
        let (live, per_minute) = marks.get(key)?.map_or((0, 0), |value| value.value());
        let LiveDelta { live, per_minute } = change.plus(LiveDelta { live, per_minute });
        if (live, per_minute) == (0, 0) {
            marks.remove(key)?;
        } else {
            marks.insert(key, (live, per_minute))?;
        }
    }
    let mut flows = transaction.open_table(FLOWS)?;
    for (minute, MinuteUsage { granted, ungranted, counted }) in &rows.usage {
        let row = (numbers_of(*granted), numbers_of(*ungranted), *counted);
        flows.insert((source.name(), minute.number()), row)?;
    }
    write_rows(transaction, DAYS, &rows.days, |day| (source.name(), day.number()))?;
    put(transaction, &state_key(source), rows.state.as_ref())?;
    put(transaction, &trial_key(source), rows.trial.as_ref())
}

fn state_key(source: IceSource) -> String {
    format!("counts/{source}")
}

fn trial_key(source: IceSource) -> String {
    format!("trial/{source}")
}

fn usage_of((granted, ungranted, counted): FlowRow) -> MinuteUsage {
    let claimed = |(connection_millis, claimed)| ClaimedUsage { connection_millis, claimed };
    MinuteUsage { granted: claimed(granted), ungranted: claimed(ungranted), counted }
}

fn numbers_of(ClaimedUsage { connection_millis, claimed }: ClaimedUsage) -> (u64, u64) {
    (connection_millis, claimed)
}

/// The rows of the source of that name. An unknown source is an error, so that its usage is not lost.
fn rows_of<'a>(stored: &'a mut Stored, source: &str) -> Result<&'a mut SourceRows, String> {
    let source = source
        .parse::<IceSource>()
        .map_err(|_| "belongs to an ICE source that this version does not know")?;
    Ok(stored.sources.entry(source).or_default())
}
