//! The rows in the order in which an operator reads them: most bytes first, in pages.

use std::cmp::Ordering;

use super::{Row, SpenderKey, SpenderKind, Spenders, Sums};
use crate::units::ByteCount;

/// One row, as an operator sees it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SpenderSums {
    /// Who; `None` for all keys without a row of their own.
    pub key: Option<SpenderKey>,
    /// The sums of this period.
    pub sums: Sums,
    /// Live grants.
    pub live: u64,
}

/// A place in the order: rows with more bytes come first, then by key, and the row of others before all with as many.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place {
    /// The bytes of the row at this place.
    pub bytes: ByteCount,
    /// Its key.
    pub key: Option<SpenderKey>,
}

impl Place {
    fn cmp(&self, bytes: ByteCount, key: Option<&SpenderKey>) -> Ordering {
        bytes.cmp(&self.bytes).then_with(|| self.key.as_ref().cmp(&key))
    }
}

impl SpenderSums {
    /// Its place in the order.
    #[must_use]
    pub fn place(&self) -> Place {
        Place { bytes: self.sums.bytes(), key: self.key.clone() }
    }
}

impl Spenders {
    /// The sums of one key; `None` if it has no row.
    #[must_use]
    pub fn get(&self, key: &SpenderKey) -> Option<SpenderSums> {
        self.rows.get(key).map(|row| row.shown(key))
    }

    /// The first `limit` rows of a kind after a place, most bytes first.
    #[must_use]
    pub fn top(&self, kind: SpenderKind, limit: usize, after: Option<&Place>) -> Vec<SpenderSums> {
        let is_later = |bytes: ByteCount, key: Option<&SpenderKey>| {
            after.is_none_or(|place| place.cmp(bytes, key) == Ordering::Less)
        };
        // The row of a user without a grant in this period says nothing.
        let of_kind = self.rows.iter().filter(|(key, row)| key.kind() == kind && !row.total.is_empty());
        let mut rows: Vec<_> = of_kind.filter(|(key, row)| is_later(row.total.bytes(), Some(key))).collect();
        let order = |a: &(&SpenderKey, &Row), b: &(&SpenderKey, &Row)| {
            b.1.total.bytes().cmp(&a.1.total.bytes()).then_with(|| a.0.cmp(b.0))
        };
        if rows.len() > limit {
            rows.select_nth_unstable_by(limit, order);
            rows.truncate(limit);
        }
        rows.sort_unstable_by(order);
        let mut rows: Vec<_> = rows.into_iter().map(|(key, row)| row.shown(key)).collect();
        let others = self.others_of(kind);
        if !others.is_empty() && is_later(others.bytes(), None) {
            let at = rows.partition_point(|row| row.sums.bytes() > others.bytes());
            rows.insert(at, SpenderSums { key: None, sums: others, live: 0 });
            rows.truncate(limit);
        }
        rows
    }

    /// The sums of all keys of a kind without a row of their own.
    #[must_use]
    pub fn others_of(&self, kind: SpenderKind) -> Sums {
        self.others.get(kind.index()).map(|(total, _)| *total).unwrap_or_default()
    }

    /// How many keys of a kind have a row, and how many gave it up in this period.
    #[must_use]
    pub fn counts_of(&self, kind: SpenderKind) -> (usize, u64) {
        let at = kind.index();
        (self.counts.get(at).copied().unwrap_or(0), self.folded.get(at).copied().unwrap_or(0))
    }
}

impl Row {
    fn shown(&self, key: &SpenderKey) -> SpenderSums {
        let live = u64::try_from(self.live).unwrap_or(0);
        SpenderSums { key: Some(key.clone()), sums: self.total, live }
    }
}
