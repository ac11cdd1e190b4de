//! Which grants relayed around their expiry, so that it is worth asking what they relayed after their tail.
//! Tests: `src/books/spending/tests/tails.rs`.

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

/// The most late grants that wait to be asked for. One shows as much as all.
const LATE_MAX: usize = 100;

/// So long at most a grant waits over a reset until its tail is looked at.
const LOOKED_AT_WITHIN: Duration = Duration::from_secs(86_400);

/// The place of a grant among those that have ended.
pub type EndedPlace = (Minute, GrantId);

/// A revoked grant whose count grew after it was to end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LateGrant {
    /// The grant.
    pub grant: GrantId,
    /// When it was to end.
    pub from: Timestamp,
    /// The end of the count.
    pub until: Timestamp,
}

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
        let after = self.counted.get(&source.into())?.looked_at.map_or(Bound::Unbounded, Bound::Excluded);
        let (mut grants, mut last) = (BTreeMap::new(), None);
        for place in self.indexes.ended.range((after, Bound::Unbounded)).take(ROWS_MAX) {
            let row = self.rows.get(&place.1).filter(|row| row.source == source);
            // Those of other sources are passed. No grant of this source ends before them any more.
            if !is_due(row.map_or(place.0.start(), |row| row.expires_at)) {
                break;
            }
            if let Some(row) = row.filter(|row| relayed_around_expiry(row)) {
                let first = grants.values().fold(row.expires_at, |first, at| first.min(*at));
                let latest = grants.values().fold(row.expires_at, |latest, at| latest.max(*at));
                if grants.len() >= most || latest.since(first) > span {
                    break;
                }
                grants.insert(place.1, row.expires_at);
            }
            last = Some(*place);
        }
        Some(Tails { grants, last: last? })
    }

    /// More bytes of a grant were counted, which flowed from one instant to another: after its expiry, or after the time for which its source
    /// lets it relay after a revocation.
    pub(super) fn note_after_end(&mut self, id: GrantId, source: IceSource, from: Timestamp, at: Timestamp) {
        // A final count repeats a time that was counted before.
        let Some(row) = self.any(id).filter(|_| from < at) else { return };
        let after = from.since(row.latest_expiry());
        let is_over = row.ends_by_revocation() && row.promised.is_some_and(|time| time.until.start() <= from);
        if is_over && self.after_revocation.len() < LATE_MAX {
            self.after_revocation.insert((source, id), at);
        }
        if after > Duration::ZERO {
            let longest = self.after_expiry.entry(source).or_default();
            *longest = after.max(*longest);
        }
    }

    /// The revoked grants whose count grew after they were to end, at most `most`. Sampling may have missed earlier bytes before, so each of
    /// them is asked for by minute before it is judged.
    pub fn late_revoked(&self, source: IceSource, most: usize) -> Vec<LateGrant> {
        let of_source = self.after_revocation.iter().filter(|((of, _), _)| *of == source);
        let late = of_source.filter_map(|((_, grant), until)| {
            let from = self.any(*grant)?.promised?.until.start();
            Some(LateGrant { grant: *grant, from, until: *until })
        });
        late.take(most).collect()
    }

    /// A late grant was asked for.
    pub(crate) fn note_judged_late(&mut self, source: IceSource, late: &LateGrant) {
        self.after_revocation.remove(&(source, late.grant));
    }

    /// Finds late grants again after a restart.
    pub(super) fn find_late_again(&mut self) {
        let is_late = |row: &GrantRow| {
            let until = row.promised.map(|time| time.until.start()).filter(|_| row.ends_by_revocation());
            until.is_some_and(|until| until < self.spent_of(row).seen_at())
        };
        let late = self.iter().filter(|(_, row)| is_late(row));
        let late = late.map(|(id, row)| ((row.source, *id), self.spent_of(row).seen_at()));
        self.after_revocation = late.take(LATE_MAX).collect();
    }

    /// The tails up to this one were looked at.
    pub(crate) fn note_looked_at(&mut self, source: IceSource, last: EndedPlace) {
        if let Some(counted) = self.counted.get_mut(&source.into()) {
            counted.looked_at = counted.looked_at.max(Some(last));
        }
    }

    /// Whether the broker asks the provider what grants of this source relayed after their tail.
    pub(super) fn are_tails_read(&self, source: IceSource) -> bool {
        source.is_counted_by_provider() && self.terms.counted.contains(&source.into())
    }

    /// Whether an ended grant stays over a reset, because its tail is still to be looked at.
    pub(super) fn waits_for_look(&self, place: EndedPlace, now: Timestamp) -> bool {
        self.rows.get(&place.1).is_some_and(|row| {
            let looked_at = self.counted.get(&row.source.into()).and_then(|counted| counted.looked_at);
            let is_recent = now.since(place.0.start()) < LOOKED_AT_WITHIN;
            self.are_tails_read(row.source)
                && is_recent
                && looked_at < Some(place)
                && relayed_around_expiry(row)
        })
    }
}

fn relayed_around_expiry(row: &GrantRow) -> bool {
    let spent = row.spent();
    spent.measured() > ByteCount::ZERO && spent.seen_at().plus(BEFORE_EXPIRY) >= row.expires_at
}
