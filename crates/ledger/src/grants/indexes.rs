//! The indexes of the table of grants, for everything that is not looked up by the id. Tests: `tests/simulation`.
//! After each step, the simulation compares the indexes with indexes that are made anew from the rows.
//! The entries of a row in the indexes follow from its [`Places`]. [`Indexes::note`] changes the indexes for each row that comes, changes
//! or leaves, also for each row of a restored ledger.

use std::hash::{BuildHasher, RandomState};

use super::{EndedPlace, GrantRow, NEXT, Unanswered, has_no_answer};
use crate::prelude::*;

/// See the module's description.
#[derive(Debug, Default)]
pub(super) struct Indexes {
    /// Grants that have ended, by [`GrantRow::over_from`].
    pub(super) ended: BTreeSet<EndedPlace>,
    /// Live grants that were revoked, by the time of the revocation.
    pub(super) revoked: BTreeSet<(Timestamp, GrantId)>,
    /// Grants for which [`GrantRow::may_be_released`] is true.
    pub(super) releasable: BTreeSet<GrantId>,
    /// Live revoked grants whose source can be asked to revoke the credential and has not answered. A grant whose credential has expired
    /// leaves when [`super::Grants::take_unanswered`] finds it.
    pub(super) unanswered: Unanswered,
    /// Grants with bytes that the next count can replace: claims, or a count that is not final. They may be of an earlier period.
    pub(super) unsettled: BTreeSet<(IceSource, GrantId)>,
    /// First grants of chains: their row says how much the chain exceeded the assumed rate in this period.
    pub(super) judged: BTreeSet<(IceSource, GrantId)>,
    /// Live sessions of the SFU with a promise, by the first minute after the promise.
    pub(super) pulling: BTreeSet<(Minute, GrantId)>,
    /// From each renewal to the grant that it renews.
    pub(super) renewed: BTreeMap<GrantId, GrantId>,
    /// Grants of server keys by a hash of the user name of their credential: the hash takes little memory. Some providers give all
    /// credentials one user name. Then the index has only the last grant.
    by_username: BTreeMap<u64, GrantId>,
    hasher: RandomState,
    /// The latest expiry that a row of each source has had since the start of the process.
    latest_expiry: BTreeMap<IceSource, Timestamp>,
}

/// What the entries of a row in the indexes follow from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Places {
    source: IceSource,
    latest_expiry: Timestamp,
    ended: Option<Minute>,
    revoked_at: Option<Timestamp>,
    is_releasable: bool,
    is_unanswered: bool,
    unsettled_source: Option<IceSource>,
    judged_source: Option<IceSource>,
    pulls_until: Option<Minute>,
    renewed_by: Option<GrantId>,
    username_hash: Option<u64>,
}

impl Indexes {
    /// The places of a row in this period.
    pub(super) fn places(&self, row: &GrantRow, period: Period) -> Places {
        let (extra, has_ended, name) = (row.extra(), row.has_ended(), row.username.as_deref());
        let revoked_at = if has_ended { None } else { extra.revoked_at };
        let is_of_server = row.spender.as_ref().is_some_and(|spender| spender.server.is_some());
        let promise_of_session = if has_ended { None } else { row.pulls().and(row.promised) };
        Places {
            source: row.source,
            latest_expiry: row.latest_expiry(),
            ended: has_ended.then(|| row.over_from()),
            revoked_at,
            is_releasable: row.may_be_released(),
            is_unanswered: revoked_at.is_some() && has_no_answer(row),
            unsettled_source: row.spent().is_unsettled().then_some(row.source),
            judged_source: (row.spent_in(period).excess.bytes > ByteCount::ZERO).then_some(row.source),
            pulls_until: promise_of_session.map(|time| time.until),
            renewed_by: extra.renewed_by,
            username_hash: if is_of_server { name.map(|name| self.hasher.hash_one(name)) } else { None },
        }
    }

    /// A row has come, changed or left: brings all indexes up to date. `before` and `after`: the places of the row; `None` without a row.
    pub(super) fn note(&mut self, id: GrantId, before: Option<&Places>, after: Option<&Places>) {
        if before == after {
            return;
        }
        if let Some(after) = after {
            let expiry = self.latest_expiry.entry(after.source).or_default();
            *expiry = after.latest_expiry.max(*expiry);
        }
        let both = [before, after];
        replace(&mut self.ended, both, |of| Some((of.ended?, id)));
        replace(&mut self.revoked, both, |of| Some((of.revoked_at?, id)));
        replace(&mut self.releasable, both, |of| of.is_releasable.then_some(id));
        replace(&mut self.unsettled, both, |of| Some((of.unsettled_source?, id)));
        replace(&mut self.judged, both, |of| Some((of.judged_source?, id)));
        replace(&mut self.pulling, both, |of| Some((of.pulls_until?, id)));
        // `NEXT` holds for a restored row. When a grant is revoked, `Grants::revoke` then sets another time.
        match both.map(|of| of.is_some_and(|of| of.is_unanswered)) {
            [false, true] => self.unanswered.insert(id, NEXT),
            [true, false] => self.unanswered.remove(&id),
            _ => {}
        }
        let [renewal_before, renewal] = both.map(|of| of?.renewed_by);
        if renewal_before != renewal {
            renewal_before.map(|by| self.renewed.remove(&by));
            self.renewed.extend(renewal.map(|by| (by, id)));
        }
        let [name_before, name] = both.map(|of| of?.username_hash);
        if name_before != name {
            // Another grant with the same name may have taken the place.
            let is_its = |name: &u64| self.by_username.get(name) == Some(&id);
            name_before.filter(is_its).map(|name| self.by_username.remove(&name));
            self.by_username.extend(name.map(|name| (name, id)));
        }
    }

    /// A period begins: the figures of all rows count as zero from now on, so no chain is judged yet.
    pub(super) fn begin_period(&mut self) {
        self.judged.clear();
    }

    /// The last grant whose user name has the same hash as this one. Most likely the two names are the same, but the caller must compare
    /// them.
    pub(super) fn with_username(&self, username: &str) -> Option<GrantId> {
        self.by_username.get(&self.hasher.hash_one(username)).copied()
    }

    /// The latest expiry that a row of a source has had since the start of the process.
    pub(super) fn latest_expiry_of(&self, source: IceSource) -> Option<Timestamp> {
        self.latest_expiry.get(&source).copied()
    }

    /// The name of the first index that differs from one made anew from these rows; `None` if there is none.
    pub(super) fn difference<'a>(
        &self,
        rows: impl Iterator<Item = (&'a GrantId, &'a GrantRow)>,
        period: Period,
    ) -> Option<&'static str> {
        let mut anew = Self::default();
        for (id, row) in rows {
            anew.note(*id, None, Some(&self.places(row, period)));
        }
        let is_same = [
            ("ended", self.ended == anew.ended),
            ("revoked", self.revoked == anew.revoked),
            ("releasable", self.releasable == anew.releasable),
            ("unsettled", self.unsettled == anew.unsettled),
            ("judged", self.judged == anew.judged),
            ("pulling", self.pulling == anew.pulling),
            ("renewed", self.renewed == anew.renewed),
            ("unanswered", self.unanswered.is_part_of(&anew.unanswered)),
            ("by user name", self.by_username.keys().all(|name| anew.by_username.contains_key(name))),
            (
                "latest expiry",
                anew.latest_expiry.iter().all(|(of, at)| self.latest_expiry.get(of) >= Some(at)),
            ),
        ];
        is_same.into_iter().find(|(_, is_same)| !is_same).map(|(index, _)| index)
    }
}

/// Brings one index up to date after a row has come, changed or left. `both`: the places of the row before and after; `None` without a row.
/// `entry_of`: the entry of this index that follows from places, if there is one.
fn replace<T: Ord>(
    index: &mut BTreeSet<T>,
    both: [Option<&Places>; 2],
    entry_of: impl Fn(&Places) -> Option<T>,
) {
    let [before, after] = both.map(|places| places.and_then(&entry_of));
    if before != after {
        before.map(|entry| index.remove(&entry));
        index.extend(after);
    }
}
