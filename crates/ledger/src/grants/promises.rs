//! What is promised for the grants in the table. Tests: `src/books/tests/promises.rs`.
//! A row states its own promise. Every change of a promise goes through [`Grants::replace_promise`], which changes the sums of its user and
//! server key, the shares of its client and user, and the minutes of its owner in the ledger. Where these minutes must stay as they are,
//! only [`Grants::change_promised`] is called.
//!
//! The promise of a revoked grant is released when its source has no session of the grant and refuses new ones. The present minute stays
//! promised, because its bytes may not be counted yet. A renewed grant is released only after its renewal was released. It is assumed that
//! one of the two relays at a time, so the renewal does not reserve the minutes that are promised for the renewed grant.

use std::ops::Bound;

use super::{GrantRow, GrantState, Grants};
use crate::clients::{Clients, Holder};
use crate::prelude::*;
use crate::spending::Limited;

/// Of how many rows one step changes the promises.
const PROMISES_AT_ONCE: usize = 500;

impl GrantRow {
    /// Whether its promise can be released once it has no session: it was revoked, and its source ends its sessions and refuses new ones.
    /// `false` while its commit can still be undone, after the release, and after the end of the grant.
    pub(super) fn may_be_released(&self) -> bool {
        self.extra().revoked_at.is_some() && self.source.refuses_revoked() && self.state == GrantState::Live
    }
}

impl Grants {
    /// Replaces a promise by another one in all sums, and in the minutes of its owner.
    pub(crate) fn replace_promise(&mut self, before: Option<&Promise>, after: Option<&Promise>) {
        self.change_promised(before, after);
        self.effects.note_promise(before, after);
    }

    /// Replaces a promise in the sums of its user and server key, if these have a limit, and in strict mode in the shares of its client and
    /// user. The minutes of its owner stay as they are.
    pub(super) fn change_promised(&mut self, before: Option<&Promise>, after: Option<&Promise>) {
        for (promise, is_added) in [(before, false), (after, true)] {
            let Some(Promise { owner, time, user, server, client }) = promise else { continue };
            let limited =
                user.clone().map(Limited::User).into_iter().chain(server.clone().map(Limited::Server));
            for of in limited {
                if self.terms.limits_promises_of(&of) {
                    self.limited.promise(&of, server.as_ref(), owner.source, time, is_added);
                }
            }
            if self.terms.is_strict {
                let change = if is_added { Clients::reserve } else { Clients::release };
                let holder = Holder { client: *client, user: user.as_ref(), ..Holder::default() };
                change(&mut self.clients, holder, time.until, time.reserved_bytes());
            }
        }
    }

    /// Raises the promise of a grant to this tail and rate, as far as it is lower. A promise that was over at `since` or is released stays
    /// as it is. A grant that has ended is live again if its promise rises.
    pub(crate) fn raise_tail(&mut self, id: GrantId, tail: Duration, rate: u64, since: Timestamp) {
        let Some(row) = self.rows.get(&id).filter(|row| !row.is_released()) else { return };
        let Some(before) = row.promised.filter(|time| time.until.start() > since) else { return };
        let until = Minute::from_end(row.latest_expiry().plus(tail)).max(before.until);
        let per_minute = before.per_minute.max(rate);
        // Nearly all promises stay as they are.
        if (until, per_minute) != (before.until, before.per_minute) {
            self.raise_promise(id, until, per_minute);
        }
    }

    /// Sets the end and the rate of a promise that is not released. Callers make sure that neither is lower than before.
    fn raise_promise(&mut self, id: GrantId, until: Minute, per_minute: u64) {
        self.edit(id, |row| {
            // The grant may relay for longer than the ledger assumed when the grant ended, so it is live again.
            if row.state == GrantState::Ended {
                row.state = GrantState::Live;
            }
            row.promised = row.promised.map(|time| PromisedTime { until, per_minute, ..time });
        });
    }

    /// The next grants of a walk that have a promise at a group, live or ended, and whether they are the last ones.
    pub(crate) fn next_promised(&self, group: CountOwner, walk: &mut Walk) -> (Vec<GrantId>, bool) {
        let rows = walk.next(&self.rows, PROMISES_AT_ONCE);
        let is_at = |row: &GrantRow| row.promised.is_some() && row.owner().group() == group;
        let ids = rows.iter().filter(|(_, row)| is_at(row)).map(|(id, _)| *id).collect();
        (ids, rows.len() < PROMISES_AT_ONCE)
    }

    /// Lowers the promise of a grant that has no session in a complete listing. The promise then ends with this tail after the expiry, or
    /// at the start of the minute of `listed`, if that is later. `listed`: when the listing was asked for.
    pub(crate) fn lower_tail(&mut self, id: GrantId, tail: Duration, listed: Timestamp) {
        if let Some(row) = self.rows.get(&id) {
            self.lower_promise(id, Minute::from_end(row.latest_expiry().plus(tail)).max(Minute::of(listed)));
        }
    }

    /// Sets the end of the promise of a live, not released grant, if the new end is earlier. The renewal of the grant then reserves the
    /// minutes that the promise loses. So nothing changes if the grant was renewed and the table has no row of the renewal, which may still
    /// be under way.
    fn lower_promise(&mut self, id: GrantId, until: Minute) {
        let Some(row) = self.rows.get(&id).filter(|row| !row.has_ended() && !row.is_released()) else {
            return;
        };
        let has_row = |by| self.any(by).is_some();
        let lacks_renewal_row = row.extra().renewed && !row.extra().renewed_by.is_some_and(has_row);
        if lacks_renewal_row || row.promised.is_none_or(|before| before.until <= until) {
            return;
        }
        self.edit(id, |row| row.promised = row.promised.map(|time| PromisedTime { until, ..time }));
        self.follow_chain(id);
    }

    /// Lets each renewal of a grant also reserve those minutes of its promise that the chain before the renewal covers no longer. Stops at
    /// the first renewal for which nothing changes.
    fn follow_chain(&mut self, first: GrantId) {
        let chain: Vec<_> = self.with_renewals(first).collect();
        for (renewed, renewal) in chain.iter().zip(chain.iter().skip(1)) {
            let end = self.any(*renewed).and_then(|row| row.promised).map(|time| time.chain_until());
            let (Some(end), Some(time)) = (end, self.any(*renewal).and_then(|row| row.promised)) else {
                return;
            };
            // The first reserved minute never gets later, and is never before the first minute of the promise.
            let reserved_from = time.reserved_from.min(end.max(time.from));
            if reserved_from == time.reserved_from {
                return;
            }
            self.edit(*renewal, |row| row.promised = Some(PromisedTime { reserved_from, ..time }));
        }
    }

    /// Extends the promise of a grant to all minutes before `until`, because the grant may relay in them. A grant that has ended is live
    /// again. Nothing changes if the promise already ends at `until` or later, or if it is released.
    pub(crate) fn extend_promise(&mut self, id: GrantId, until: Minute) {
        let promised = self.rows.get(&id).filter(|row| !row.is_released()).and_then(|row| row.promised);
        if let Some(before) = promised.filter(|time| time.until < until) {
            self.raise_promise(id, until, before.per_minute);
        }
    }

    /// When the last promises of all grants end; 1970 if nothing is promised.
    pub fn alive_until(&self) -> Timestamp {
        self.rows.iter().filter_map(|(_, row)| row.alive_until()).max().unwrap_or_default().start()
    }

    /// Releases the promises of those revoked grants of a source that have no session at `now` and on whose minutes no renewal relies.
    /// Callers make sure that the source refused the credentials before it listed its sessions. Returns how many reserved minutes are
    /// freed.
    pub(crate) fn release_gone(
        &mut self,
        source: IceSource,
        has_session: impl Fn(GrantId) -> bool,
        now: Timestamp,
    ) -> u64 {
        let is_gone = |id: &GrantId| {
            let row = self.get(*id).filter(|row| row.source == source);
            row.is_some_and(|row| self.no_renewal_relies_on(row)) && !has_session(*id)
        };
        let gone: Vec<_> = self.indexes.releasable.iter().copied().filter(is_gone).collect();
        gone.into_iter().map(|id| self.release_promise(id, now)).fold(0, u64::saturating_add)
    }

    /// Releases the minutes of a promise after the present one. Returns how many of them the grant had reserved.
    fn release_promise(&mut self, id: GrantId, now: Timestamp) -> u64 {
        let next = Minute::of(now).next();
        let promised = self.rows.get(&id).and_then(|row| row.promised);
        self.edit(id, |row| {
            row.state = GrantState::Released;
            row.promised = row.promised.map(|time| PromisedTime { until: time.until.min(next), ..time });
        });
        promised.map_or(0, |before| before.until.since(next.max(before.reserved().start)))
    }

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

// Grants that relayed around their expiry. The provider is asked what such a grant has relayed after its tail.
// Tests: `src/books/spending/tests/tails.rs`.

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

/// Whether bytes of a grant were counted, and its last count or claim is at most [`BEFORE_EXPIRY`] before its expiry, or later.
fn relayed_around_expiry(row: &GrantRow) -> bool {
    let spent = row.spent();
    spent.measured > ByteCount::ZERO && spent.seen_at.plus(BEFORE_EXPIRY) >= row.expires_at
}
