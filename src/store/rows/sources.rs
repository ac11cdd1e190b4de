//! The rows of each source: what it counted, and its minutes. Those of a source that this version does not know are an error, so that its
//! usage is not lost.

use std::collections::BTreeMap;

use turn_ledger::{Day, IceSource, Minute, SourceRows, Stored};

use super::{
    DAYS, MINUTES, Meta, OnBadRow, ReadRows, StoreError, Table, WriteRows, from_key, from_row, number,
    ordered, put, rows, to_row, write_rows,
};

pub(super) fn read_sources(
    from: &impl ReadRows,
    meta: &Meta,
    stored: &mut Stored,
    bad: OnBadRow<'_>,
) -> Result<(), StoreError> {
    for (source, minutes) in by_source(from, MINUTES, bad, Minute::new, |row| from_row(row))? {
        rows_of(stored, source).minutes = minutes;
    }
    for (source, days) in by_source(from, DAYS, bad, Day::new, |row| Ok(Some(from_row(row)?)))? {
        rows_of(stored, source).days = days;
    }
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

/// The rows of a table for each source, by their minute or day.
fn by_source<Slot: Ord, R>(
    from: &impl ReadRows,
    table: Table,
    bad: OnBadRow<'_>,
    slot: impl Fn(i64) -> Slot,
    read: impl Fn(&[u8]) -> Result<R, String>,
) -> Result<impl Iterator<Item = (IceSource, BTreeMap<Slot, R>)>, StoreError> {
    let mut found = BTreeMap::<_, Vec<_>>::new();
    rows(from, table, bad, |key, row| {
        let (source, number) = slot_of(key)?;
        found.entry(source).or_default().push((slot(number), read(row)?));
        Ok(())
    })?;
    // They are in order, so building a map at once is faster than inserting each row.
    Ok(found.into_iter().map(|(source, rows)| (source, rows.into_iter().collect())))
}

pub(super) fn write_source(
    to: &mut impl WriteRows,
    source: IceSource,
    rows: &SourceRows,
) -> Result<(), StoreError> {
    to.replace(
        MINUTES,
        &mut rows
            .minutes
            .iter()
            .map(|(minute, row)| Ok((slot_key(source.name(), minute.number())?, Some(to_row(row)?)))),
    )?;
    write_rows(to, DAYS, &rows.days, |day| slot_key(source.name(), day.number()))?;
    put(to, &state_key(source), rows.state.as_ref())?;
    put(to, &trial_key(source), rows.trial.as_ref())
}

fn state_key(source: IceSource) -> String {
    format!("counts/{source}")
}

fn trial_key(source: IceSource) -> String {
    format!("trial/{source}")
}

/// The key of a minute or a day of a source.
pub(super) fn slot_key(source: &str, slot: i64) -> Result<Vec<u8>, postcard::Error> {
    to_row(&(source, ordered(slot)))
}

/// The minute or the day of such a key.
fn slot_of(key: &[u8]) -> Result<(IceSource, i64), String> {
    let (source, slot) = from_key::<(&str, [u8; 8])>(key)?;
    let source = source.parse().map_err(|_| "belongs to an ICE source that this version does not know")?;
    Ok((source, number(slot)))
}

fn rows_of(stored: &mut Stored, source: IceSource) -> &mut SourceRows {
    stored.sources.entry(source).or_default()
}
