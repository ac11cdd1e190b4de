//! The rows in the order in which an operator reads them: most bytes first, in pages. Tests: `src/books/spending/tests/listing.rs`.

use std::cmp::Reverse;

use turn_budget::ByteCount;

use super::{SpenderKey, Sums};

/// One row, as an operator sees it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SpenderSums {
    /// Who; `None` for the rest, which has no key.
    pub key: Option<SpenderKey>,
    /// The sums of this period, or of the last minutes.
    pub sums: Sums,
    /// Live grants.
    pub live: u64,
    /// How many of them were not revoked.
    pub usable: u64,
}

/// A place in the order: rows with more bytes come first. Of rows with the same bytes, the rest comes first, then the others by key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place {
    /// The bytes of the row at this place.
    pub bytes: ByteCount,
    /// Its key.
    pub key: Option<SpenderKey>,
}

impl SpenderSums {
    /// Adds the sums of another row, of the same spender.
    pub(crate) fn join(&mut self, other: &Self) {
        self.sums.add(&other.sums);
        self.live = self.live.saturating_add(other.live);
        self.usable = self.usable.saturating_add(other.usable);
    }

    /// Its place in the order.
    pub fn place(&self) -> Place {
        Place { bytes: self.sums.bytes(), key: self.key.clone() }
    }

    /// What rows are sorted by: see [`Place`].
    pub fn order(&self) -> (Reverse<ByteCount>, &Option<SpenderKey>) {
        (Reverse(self.sums.bytes()), &self.key)
    }

    /// Whether it comes after a place.
    pub fn is_after(&self, place: &Place) -> bool {
        self.order() > (Reverse(place.bytes), &place.key)
    }
}
