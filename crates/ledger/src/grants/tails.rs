//! Grants that relayed around their expiry. The provider is asked what such a grant has relayed after its tail.
//! Tests: `src/books/spending/tests/tails.rs`.

use std::collections::BTreeMap;
use std::ops::Bound;
use std::time::Duration;

use turn_budget::{ByteCount, GrantId, IceSource, Minute, Timestamp};

use super::{GrantRow, Grants};

/// The provider is asked about the tail of a grant if its last bytes are at most this long before its expiry, or later.
const BEFORE_EXPIRY: Duration = Duration::from_secs(600);
/// The most ended grants in one search. The books are locked during it.
const ROWS_MAX: usize = 1_000;

/// An ended grant stays over a reset until its tail is looked at, but at most for this long after its promise and expiry.
const LOOKED_AT_WITHIN: Duration = Duration::from_secs(86_400);

/// The place of a grant among those that have ended: the first minute after its promise and expiry, and its id.
pub type EndedPlace = (Minute, GrantId);

/// The result of one search for grants whose tails are looked at.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tails {
    /// Grants that relayed around their expiry, with the expiry.
    pub grants: BTreeMap<GrantId, Timestamp>,
    /// The last ended grant of this search, whether or not it is in `grants`. The next search begins after it.
    pub last: EndedPlace,
}

impl Grants {
    /// The next ended grants of a source that relayed around their expiry, if that expiry `is_due`: at most `most`. The first and the last
    /// expiry are no more than `span` apart. The search stops after `ROWS_MAX` ended grants, so it may find none although more follow
    /// after [`Tails::last`]. `None` if no further grant is due, or if the source counts no grants.
    pub fn tails(
        &self,
        source: IceSource,
        is_due: impl Fn(Timestamp) -> bool,
        most: usize,
        span: Duration,
    ) -> Option<Tails> {
        let after = self.counted.get(&source.into())?.looked_at.map_or(Bound::Unbounded, Bound::Excluded);
        let (mut grants, mut last) = (BTreeMap::new(), None);
        for place @ (over_from, id) in self.indexes.ended.range((after, Bound::Unbounded)).take(ROWS_MAX) {
            let row = self.rows.get(id).filter(|row| row.source == source);
            // A grant of another source is skipped only once the minute of its end is due. From then on, no grant of this source gets a
            // place before it, where no search would look again.
            if !is_due(row.map_or(over_from.start(), |row| row.expires_at)) {
                break;
            }
            if let Some(row) = row.filter(|row| relayed_around_expiry(row)) {
                let earliest = grants.values().fold(row.expires_at, |earliest, at| earliest.min(*at));
                let latest = grants.values().fold(row.expires_at, |latest, at| latest.max(*at));
                if grants.len() >= most || latest.since(earliest) > span {
                    break;
                }
                grants.insert(*id, row.expires_at);
            }
            last = Some(*place);
        }
        Some(Tails { grants, last: last? })
    }

    /// Notes that the tails of all ended grants of a source up to this place were looked at.
    pub(crate) fn note_looked_at(&mut self, source: IceSource, last: EndedPlace) {
        if let Some(counted) = self.counted.get_mut(&source.into()) {
            counted.looked_at = counted.looked_at.max(Some(last));
        }
    }

    /// Whether the broker asks the provider what grants of this source relayed after their tail.
    pub(super) fn are_tails_read(&self, source: IceSource) -> bool {
        source.is_counted_by_provider() && self.terms.counted.contains(&source.into())
    }

    /// Whether an ended grant stays in the table over a reset, because its tail is still to be looked at.
    pub(super) fn waits_for_look(&self, place @ (over_from, id): EndedPlace, now: Timestamp) -> bool {
        self.rows.get(&id).is_some_and(|row| {
            let looked_at = self.counted.get(&row.source.into()).and_then(|counted| counted.looked_at);
            let is_recent = now.since(over_from.start()) < LOOKED_AT_WITHIN;
            self.are_tails_read(row.source)
                && is_recent
                && looked_at < Some(place)
                && relayed_around_expiry(row)
        })
    }
}

/// Whether bytes of a grant were counted, and its last count or claim is at most [`BEFORE_EXPIRY`] before its expiry, or later.
fn relayed_around_expiry(row: &GrantRow) -> bool {
    let spent = row.spent();
    spent.measured > ByteCount::ZERO && spent.seen_at.plus(BEFORE_EXPIRY) >= row.expires_at
}
