//! The rows of each owner of counts: what was counted, and its minutes. A row of a source that this version does not know is an error, so
//! that the source's usage is not lost.

use std::collections::BTreeMap;

use turn_budget::{CountOwner, Day, Minute, SourceRows};
use turn_ledger::Stored;

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
    for (owner, minutes) in by_owner(from, MINUTES, bad, Minute::new, |row| from_row(row))? {
        stored.sources.entry(owner).or_default().minutes = minutes;
    }
    for (owner, days) in by_owner(from, DAYS, bad, Day::new, |row| Ok(Some(from_row(row)?)))? {
        stored.sources.entry(owner).or_default().days = days;
    }
    for owner in meta.0.keys().filter_map(|key| key.strip_prefix(STATES)?.parse().ok()) {
        stored.sources.entry(owner).or_default().state = meta.json(&format!("{STATES}{owner}"), bad)?;
    }
    Ok(())
}

/// The rows of a table for each owner, by their minute or day.
fn by_owner<Slot: Ord, R>(
    from: &impl ReadRows,
    table: Table,
    bad: OnBadRow<'_>,
    slot: impl Fn(i64) -> Slot,
    read: impl Fn(&[u8]) -> Result<R, String>,
) -> Result<impl Iterator<Item = (CountOwner, BTreeMap<Slot, R>)>, StoreError> {
    let mut found = BTreeMap::<_, Vec<_>>::new();
    rows(from, table, bad, |key, row| {
        let (owner, number) = slot_of(key)?;
        found.entry(owner).or_default().push((slot(number), read(row)?));
        Ok(())
    })?;
    // The rows of an owner are in order, so building a map at once is faster than inserting each row.
    Ok(found.into_iter().map(|(owner, rows)| (owner, rows.into_iter().collect())))
}

pub(super) fn write_source(
    to: &mut impl WriteRows,
    owner: CountOwner,
    rows: &SourceRows,
) -> Result<(), StoreError> {
    let minutes = rows.minutes.iter();
    let mut minutes = minutes.map(|(at, row)| Ok((slot_key(&owner, at.number())?, Some(to_row(row)?))));
    to.replace(MINUTES, &mut minutes)?;
    write_rows(to, DAYS, &rows.days, |day| slot_key(&owner, day.number()))?;
    put(to, &format!("{STATES}{owner}"), rows.state.as_ref())
}

/// The name of the state that is stored once for an owner begins with this, and ends with the owner.
const STATES: &str = "counts/";

/// The key of a minute or a day of an owner. `slot`: its number.
pub(super) fn slot_key(owner: &CountOwner, slot: i64) -> Result<Vec<u8>, postcard::Error> {
    to_row(&(owner.to_string(), ordered(slot)))
}

/// The owner in a key of [`slot_key`], and the number of its minute or day.
fn slot_of(key: &[u8]) -> Result<(CountOwner, i64), String> {
    let (owner, slot) = from_key::<(&str, [u8; 8])>(key)?;
    let owner = owner.parse().map_err(|()| "belongs to an ICE source that this version does not know")?;
    Ok((owner, number(slot)))
}
