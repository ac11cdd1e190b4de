//! The rows in the order in which an operator reads them: most bytes first, in pages. Tests: `src/books/spending/tests/listing.rs`.
//! The rest has no key. It is what the others leave of the period's bytes, so the rows of a kind add up to these.

use std::cmp::Reverse;

use super::key::{SpenderKey, SpenderKind};
use super::sums::{PeriodBytes, Sums};
use super::{SpenderRow, Spenders};
use crate::units::ByteCount;

/// One row, as an operator sees it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SpenderSums {
    /// Who; `None` for the rest.
    pub key: Option<SpenderKey>,
    /// The sums of this period, or of the last minutes.
    pub sums: Sums,
    /// Live grants.
    pub live: u64,
    /// How many of them were not revoked.
    pub usable: u64,
}

/// A place in the order: rows with more bytes come first, then by key, and the rest before all with as many.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place {
    /// The bytes of the row at this place.
    pub bytes: ByteCount,
    /// Its key.
    pub key: Option<SpenderKey>,
}

impl Place {
    /// Whether it comes after another one.
    pub fn comes_after(&self, other: &Self) -> bool {
        (Reverse(self.bytes), &self.key) > (Reverse(other.bytes), &other.key)
    }
}

type Order<'a> = (Reverse<ByteCount>, Option<&'a SpenderKey>);

impl SpenderSums {
    /// Its place in the order.
    pub fn place(&self) -> Place {
        Place { bytes: self.sums.bytes(), key: self.key.clone() }
    }
}

impl Spenders {
    /// The sums of one key; `None` if it has no row, or no grant in this period.
    pub fn get(&self, key: &SpenderKey) -> Option<SpenderSums> {
        let row = self.table(key.kind()).rows.get(key).filter(|row| !row.total.is_empty())?;
        Some(row.shown(Some(key), row.total))
    }

    /// The first `limit` rows of a kind after a place, most bytes first.
    pub fn top(
        &self,
        kind: SpenderKind,
        limit: usize,
        after: Option<&Place>,
        period: &PeriodBytes,
    ) -> Vec<SpenderSums> {
        let table = self.table(kind);
        let all = &self.all.total;
        let keyed = table.rows.iter().map(|(key, row)| (Some(key), row, row.total.within(all, period)));
        let mut rows: Vec<_> = keyed.filter(|(.., sums)| !sums.is_empty()).collect();
        let shown = rows.iter().fold([ByteCount::ZERO; 2], |[measured, bytes], (.., sums)| {
            [measured.plus(sums.measured()), bytes.plus(sums.bytes())]
        });
        let rest = table.rest.total.as_rest(all, shown, period);
        if rest.bytes() > ByteCount::ZERO {
            rows.push((None, &table.rest, rest));
        }
        let after: Option<Order<'_>> = after.map(|place| (Reverse(place.bytes), place.key.as_ref()));
        let order = |(key, _, sums): &(_, _, Sums)| (Reverse(sums.bytes()), *key);
        rows.retain(|row| after.is_none_or(|after| order(row) > after));
        // Numbers are compared first: most rows have few bytes, and their names lie all over the memory.
        if rows.len() > limit {
            let (.., (.., least), _) =
                rows.select_nth_unstable_by_key(limit, |(.., sums)| Reverse(sums.bytes()));
            let least = least.bytes();
            rows.retain(|(.., sums)| sums.bytes() >= least);
        }
        if rows.len() > limit {
            rows.select_nth_unstable_by(limit, |a, b| order(a).cmp(&order(b)));
            rows.truncate(limit);
        }
        rows.sort_unstable_by(|a, b| order(a).cmp(&order(b)));
        rows.into_iter().map(|(key, row, sums)| row.shown(key, sums)).collect()
    }

    /// How many keys of a kind have a row, and how many gave it up in this period.
    pub fn counts_of(&self, kind: SpenderKind) -> (usize, u64) {
        let table = self.table(kind);
        (table.rows.len(), table.folded)
    }
}

impl SpenderRow {
    fn shown(&self, key: Option<&SpenderKey>, sums: Sums) -> SpenderSums {
        let live = u64::try_from(self.live).unwrap_or(0);
        SpenderSums { key: key.cloned(), sums, live, usable: live }
    }
}
