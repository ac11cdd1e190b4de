//! The rows of each source: what it counted, and its minutes. The rows of live grants are differences, which add up. Those of a
//! source that this version does not know are an error, so that its usage is not lost.

use turn_ledger::{ClaimedUsage, Day, IceSource, LiveDelta, Minute, MinuteUsage, SourceRows, Stored};

use super::{
    DAYS, FLOWS, FlowRow, MARKS, Meta, OnBadRow, ReadRows, StoreError, WriteRows, bytes_of, from_row, put,
    rows, write_rows,
};

pub(super) fn read_sources(
    from: &impl ReadRows,
    meta: &Meta,
    stored: &mut Stored,
    bad: OnBadRow<'_>,
) -> Result<(), StoreError> {
    rows(from, MARKS, bad, |(source, minute), (live, per_minute)| {
        let delta = LiveDelta { live, per_minute };
        rows_of(stored, source)?.deltas.insert(Minute::new(*minute), delta);
        Ok(())
    })?;
    rows(from, FLOWS, bad, |(source, minute), numbers| {
        rows_of(stored, source)?.usage.insert(Minute::new(*minute), usage_of(numbers));
        Ok(())
    })?;
    rows(from, DAYS, bad, |(source, day), row| {
        let count = from_row(row)?;
        rows_of(stored, source)?.days.insert(Day::new(*day), Some(count));
        Ok(())
    })?;
    for source in IceSource::ALL {
        let state = meta.json(&state_key(source), bad)?;
        let trial = meta.json(&trial_key(source), bad)?;
        let read = SourceRows { state, trial, ..SourceRows::default() };
        if !read.is_empty() {
            stored.sources.entry(source).or_default().apply(read);
        }
    }
    Ok(())
}

pub(super) fn write_source(
    to: &mut impl WriteRows,
    source: IceSource,
    rows: &SourceRows,
) -> Result<(), StoreError> {
    to.add_marks(source, rows.deltas.iter())?;
    let flows = rows.usage.iter().map(|(minute, MinuteUsage { granted, ungranted, counted })| {
        let row = (numbers_of(*granted), numbers_of(*ungranted), *counted);
        Ok(((source.name(), minute.number()), Some(bytes_of::<FlowRow>(&row))))
    });
    to.replace(FLOWS, flows)?;
    write_rows(to, DAYS, &rows.days, |day| (source.name(), day.number()))?;
    put(to, &state_key(source), rows.state.as_ref())?;
    put(to, &trial_key(source), rows.trial.as_ref())
}

pub(super) const UNKNOWN_SOURCE: &str = "belongs to an ICE source that this version does not know";

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
    let source = source.parse::<IceSource>().map_err(|_| UNKNOWN_SOURCE)?;
    Ok(stored.sources.entry(source).or_default())
}
