//! Grants that relayed late: around their expiry, or after the proven end of their credential.
//! Tests: `src/books/spending/tests/tails.rs`.
//! The provider is asked what a grant that relayed around its expiry has relayed after its tail.

use std::collections::BTreeMap;
use std::ops::Bound;
use std::time::Duration;

use strum::IntoEnumIterator as _;

use turn_budget::{ByteCount, CredentialEnd, GrantId, IceSource, Minute, Timestamp};

use super::Grants;
use super::row::GrantRow;

/// The provider is asked about the tail of a grant if its last bytes are at most this long before its expiry, or later.
const BEFORE_EXPIRY: Duration = Duration::from_secs(600);
/// The most ended grants in one search. The books are locked during it.
const ROWS_MAX: usize = 1_000;

/// The most late grants about which the provider is still to be asked. One late grant proves as much as many.
const LATE_MAX: usize = 100;

/// An ended grant stays over a reset until its tail is looked at, but at most for this long after its promise and expiry.
const LOOKED_AT_WITHIN: Duration = Duration::from_secs(86_400);

/// The place of a grant among those that have ended: the first minute after its promise and expiry, and its id.
pub type EndedPlace = (Minute, GrantId);

/// A grant whose count grew in a time in which it may not relay any more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LateGrant {
    /// The grant.
    pub grant: GrantId,
    /// The end of its credential after which it relayed.
    pub end: CredentialEnd,
    /// When its credential expires.
    pub expires_at: Timestamp,
    /// The first instant at which it may not relay any more after this end.
    pub from: Timestamp,
    /// The end of the count that showed it.
    pub until: Timestamp,
}

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

    /// The first instant at which a grant may not relay any more after this end; `None` if its promise relies on no proof of this end.
    /// `tail`: the shortest proven time after an expiry on which promises of the source rely; `None` if they rely on no proof.
    fn late_from(row: &GrantRow, end: CredentialEnd, tail: Option<Duration>) -> Option<Timestamp> {
        match end {
            CredentialEnd::Expiry => {
                let tail = tail?.saturating_add(row.source.clocks_differ_by());
                Some(Minute::from_end(row.latest_expiry().plus(tail)).start())
            }
            CredentialEnd::Revocation if row.ends_by_revocation() => Some(row.promised?.until.start()),
            CredentialEnd::Revocation => None,
        }
    }

    /// More bytes of a grant were counted than before, relayed in `[from, at)`. Notes the grant as late for each end after which it may not
    /// relay any more at `from`. `tail`: see [`Self::late_from`].
    pub(super) fn note_if_late(
        &mut self,
        id: GrantId,
        source: IceSource,
        [from, at]: [Timestamp; 2],
        tail: Option<Duration>,
    ) {
        // A final count repeats time that was counted before: then the span is empty.
        let Some(row) = self.any(id).filter(|_| from < at) else { return };
        let is_late = |end: &CredentialEnd| Self::late_from(row, *end, tail).is_some_and(|late| late <= from);
        for end in CredentialEnd::iter().filter(is_late).collect::<Vec<_>>() {
            if self.late.len() < LATE_MAX {
                self.late.insert((source, end, id), at);
            }
        }
    }

    /// At most `most` late grants, those with the earliest counts first. Their bytes may have been relayed before the end, but missed by an
    /// earlier sampled count. So the provider is asked for the minutes of each grant before the grant is judged. `tail`: see
    /// [`Self::late_from`].
    pub(crate) fn late(&self, source: IceSource, tail: Option<Duration>, most: usize) -> Vec<LateGrant> {
        let of_source = self.late.iter().filter(|((of, ..), _)| *of == source);
        let late = of_source.filter_map(|((_, end, grant), until)| {
            let row = self.any(*grant)?;
            let from = Self::late_from(row, *end, tail)?;
            Some(LateGrant { grant: *grant, end: *end, expires_at: row.latest_expiry(), from, until: *until })
        });
        let mut late: Vec<_> = late.collect();
        late.sort_by_key(|late| late.until);
        late.truncate(most);
        late
    }

    /// Forgets a late grant, because the provider was asked about it.
    pub(crate) fn note_judged_late(&mut self, source: IceSource, late: &LateGrant) {
        self.late.remove(&(source, late.end, late.grant));
    }

    /// A grant leaves the table: it is no late grant any more.
    pub(super) fn forget_late(&mut self, source: IceSource, id: GrantId) {
        self.late.retain(|(of, _, grant), _| (*of, *grant) != (source, id));
    }

    /// Forgets the late grants of a source with this end, because its promises rely on no proof of this end any more.
    pub(crate) fn end_lateness(&mut self, source: IceSource, end: CredentialEnd) {
        self.late.retain(|(of, of_end, _), _| (*of, *of_end) != (source, end));
    }

    /// Finds late grants again after a restart: those whose last count or claim ends after they may not relay any more. `tails`: the `tail`
    /// of each source, see [`Self::late_from`].
    pub(crate) fn find_late_again(&mut self, tails: &BTreeMap<IceSource, Duration>) {
        let ends = self.iter().flat_map(|(id, row)| CredentialEnd::iter().map(move |end| (*id, row, end)));
        let late = ends.filter_map(|(id, row, end)| {
            let seen_at = self.spent_of(row).seen_at();
            let late_from = Self::late_from(row, end, tails.get(&row.source).copied())?;
            (late_from < seen_at).then_some(((row.source, end, id), seen_at))
        });
        self.late = late.take(LATE_MAX).collect();
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
    spent.measured() > ByteCount::ZERO && spent.seen_at().plus(BEFORE_EXPIRY) >= row.expires_at
}
