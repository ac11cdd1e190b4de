//! Which grants relayed around their expiry, so that it is worth asking what they relayed after their tail.
//! Tests: `src/books/spending/tests/tails.rs`.
#![cfg_attr(not(test), warn(clippy::arithmetic_side_effects))]

use std::collections::BTreeMap;
use std::ops::Bound;
use std::time::Duration;

use super::Grants;
use super::row::GrantRow;
use crate::source::IceSource;
use crate::token::GrantId;
use crate::units::slot::Minute;
use crate::units::{ByteCount, Timestamp};

/// A grant is asked for if its last bytes are at most this long before its expiry.
const BEFORE_EXPIRY: Duration = Duration::from_secs(600);
/// The most ended grants in one search. The books are locked during it.
const ROWS_MAX: usize = 1_000;

/// The place of a grant among those that have ended.
pub type EndedPlace = (Minute, GrantId);

/// The next grants whose tails are looked at.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tails {
    /// Those that relayed around their expiry, with the expiry.
    pub grants: BTreeMap<GrantId, Timestamp>,
    /// The last grant of this search. The next search begins after it.
    pub last: EndedPlace,
}

impl Grants {
    /// The next grants of a source that have ended and are due by their expiry: at most `most`, which expire within `span`. `None` if no
    /// other one is due.
    pub fn tails(
        &self,
        source: IceSource,
        is_due: impl Fn(Timestamp) -> bool,
        most: usize,
        span: Duration,
    ) -> Option<Tails> {
        let looked_at = self.counted.get(&source)?.looked_at;
        let (mut grants, mut last) = (BTreeMap::new(), None);
        let after = looked_at.map_or(Bound::Unbounded, Bound::Excluded);
        let ended = self.ended.range((after, Bound::Unbounded));
        let rows = ended.filter_map(|place| Some((*place, self.any(place.1)?)));
        let rows = rows.filter(|(_, row)| row.source == source);
        for (place, row) in rows.take_while(|(_, row)| is_due(row.expires_at)).take(ROWS_MAX) {
            if relayed_around_expiry(row) {
                let first = grants.values().min().copied().unwrap_or(row.expires_at);
                let distance = row.expires_at.since(first).max(first.since(row.expires_at));
                if grants.len() >= most || distance > span {
                    break;
                }
                grants.insert(place.1, row.expires_at);
            }
            last = Some(place);
        }
        Some(Tails { grants, last: last? })
    }

    /// The tails up to this one were looked at.
    pub(crate) fn note_looked_at(&mut self, source: IceSource, last: EndedPlace) {
        if let Some(counted) = self.counted.get_mut(&source) {
            counted.looked_at = counted.looked_at.max(Some(last));
        }
    }
}

fn relayed_around_expiry(row: &GrantRow) -> bool {
    let spent = row.spent();
    spent.measured() > ByteCount::ZERO && spent.seen_at().plus(BEFORE_EXPIRY) >= row.expires_at
}
