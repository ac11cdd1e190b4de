//! The table of grants: one row for each credential. `src/grants/history.rs` says when a row leaves.
//! Tests: `src/grants_tests.rs`.
//! A row states what is promised for the grant, whether it was renewed or revoked, and who it was issued to. Every method that changes what
//! is stored of a row records the change. What a client may claim over all its grants is kept beside the rows.
//!
//! The table is bounded. When it is full of live grants, no metered credential is issued. The row of a grant that has ended stays, because
//! of the bytes that the grant has spent, and because its tail may turn out to be longer.

mod chains;
mod counts;
mod edit;
mod ending;
mod history;
mod indexes;
mod promises;
mod row;
mod sfu;
mod terms;

pub use {chains::*, counts::*, ending::*, history::*, promises::*, row::*, sfu::*, terms::*};

use crate::allowance::{AllowanceTerms, Allowances};
use crate::clients::{Clients, Holder};
use crate::prelude::*;
use crate::reports::{CONNECTIONS_PER_GRANT_MAX, OpenError};
use crate::spending::{AddressDays, LeftSums, LimitedSums, RecentBytes};
use indexes::Indexes;

/// See the module's invariant.
#[derive(Debug, Default)]
pub struct Grants {
    pub(crate) terms: GrantTerms,
    pub(crate) rows: Shards<GrantId, GrantRow>,
    /// Goes through all rows once a minute; `None` while it has nothing to do.
    walk: Option<Walk>,
    /// The minute in which the last walk began.
    walked_in: Minute,
    indexes: Indexes,
    /// For each [group](CountOwner::group): until when its grants that have left the table may relay.
    pub(crate) dropped: BTreeMap<CountOwner, Dropped>,
    /// The sums of grants that left the table, and of connections without a grant.
    pub left: LeftSums,
    /// The sum of each server key and, if users have a limit, of each user.
    pub(crate) limited: LimitedSums,
    pub(crate) recent: RecentBytes,
    pub(crate) today: AddressDays,
    /// The rate that is assumed at a source in place of the configured one, because chains have shown it; in bytes a minute.
    pub(crate) raised: BTreeMap<IceSource, u64>,
    chains: Chains,
    /// A final count by grant that waits for a second answer.
    answered_first: Option<FirstAnswer>,
    /// The state of the counts by grant of each [group](CountOwner::group).
    pub(crate) counted: CountedSources,
    pub(crate) period: Period,
    pub(crate) clients: Clients,
    /// The highest rate that the client of one grant may claim.
    claim_rate: BitRate,
    pub(crate) dirty: Dirty<GrantId>,
    /// Changes that the ledger has not applied yet.
    pub(crate) effects: Effects,
}

impl Grants {
    /// An empty table in this period.
    pub fn new(terms: GrantTerms, period: Period) -> Self {
        Self {
            clients: Clients::new(terms.bounds.client),
            left: LeftSums::new(terms.bounds.spenders.left_max, terms.bounds.spenders.user_limit.is_some()),
            limited: LimitedSums::new(terms.bounds.spenders.users_max, terms.is_strict),
            terms,
            period,
            claim_rate: RELAY_RATE_MAX,
            ..Self::default()
        }
    }

    /// Rows that have changed since the last call; `None` for a removed one.
    pub(crate) fn take_changes(&mut self) -> Rows<GrantId, Box<GrantRow>> {
        let changed = self.dirty.take().into_keys();
        changed.map(|id| (id, self.rows.get(&id).map(|row| Box::new(row.stored())))).collect()
    }

    /// The row of a live grant. A grant that is over still counts as live until [`Self::forget_expired`] has ended it.
    pub fn get(&self, id: GrantId) -> Option<&GrantRow> {
        self.any(id).filter(|row| !row.has_ended())
    }

    /// The name of the server key that minted a live grant.
    pub fn minted_by(&self, id: GrantId) -> Option<&Label> {
        self.get(id)?.spender.as_ref()?.server.as_ref()
    }

    /// The row of a grant, live or ended. `None` also for a row that only waits to be forgotten ([`Self::is_past`]).
    pub(super) fn any(&self, id: GrantId) -> Option<&GrantRow> {
        self.rows.get(&id).filter(|row| !self.is_past(row))
    }

    /// The row of a grant of this source, live or ended.
    fn any_of(&self, source: IceSource, id: GrantId) -> Option<&GrantRow> {
        self.any(id).filter(|row| row.source == source)
    }

    /// How many live grants have a row.
    pub fn count(&self) -> usize {
        self.rows.len().saturating_sub(self.ended_count())
    }

    /// How many live grants have a row, and the most.
    pub fn row_counts(&self) -> (usize, usize) {
        (self.count(), self.terms.bounds.grants)
    }

    /// Whether there is no room for another live grant.
    pub fn is_full(&self) -> bool {
        let (taken, most) = self.row_counts();
        taken >= most
    }

    /// Adds a grant, with its promise. Does nothing if the table is full.
    pub(crate) fn issue(&mut self, id: GrantId, mut row: GrantRow) {
        if !self.is_full() {
            row.begin_period(self.period);
            self.insert(id, row);
        }
    }

    /// The latest expiry of a source's credentials. Grants that have left the table count, too. 1970 if there was no credential.
    pub(crate) fn latest_expiry_of(&self, source: IceSource) -> Timestamp {
        let groups = self.dropped.iter().filter(|(group, _)| group.source == source);
        let of_dropped = groups.map(|(_, dropped)| dropped.expiry).max();
        self.indexes.latest_expiry_of(source).max(of_dropped).unwrap_or_default()
    }

    /// How many addresses, groups of addresses and users hold something. An address or a group counts twice if it holds something both
    /// for grants of users and for others.
    pub fn client_count(&self) -> usize {
        self.clients.count()
    }

    /// Uses the one renewal of a grant. Adds a row if the grant has none. `false` if the renewal was used before or is not due yet, if the
    /// grant is revoked or expired, or if the grant has no row and the table is full.
    pub(crate) fn take_renewal(&mut self, grant: &Grant, now: Timestamp) -> bool {
        if now < grant.refresh_after() || grant.is_expired(now) {
            return false;
        }
        self.insert_if_unknown(grant);
        let may_renew = self.valid(grant.id).is_some_and(|row| !row.extra().renewed);
        may_renew && self.edit(grant.id, |row| row.extra_mut().renewed = true).is_some()
    }

    /// Lets a grant be renewed again, because its renewal failed. If this or an earlier renewal has added a new grant that is still in the
    /// table, the row of the renewed grant goes on to name the new grant, because the new grant may be on disk.
    pub(crate) fn give_renewal_back(&mut self, id: GrantId) {
        let new_grant = self.any(id).and_then(|row| row.extra().renewed_by).filter(|by| self.knows(*by));
        self.edit_live(id, |row| {
            row.extra_mut().renewed = false;
            row.extra_mut().renewed_by = new_grant;
        });
    }

    /// The live grant with this user name in its credential, if a server key minted it. Of several such grants, only the last one is found.
    pub fn with_username(&self, username: &str) -> Option<GrantId> {
        let id = self.indexes.with_username(username)?;
        // The index has only a hash of the name.
        let known = self.get(id)?.username.as_deref();
        if known == Some(username) { Some(id) } else { None }
    }

    /// The row of a live grant that was not revoked.
    pub fn valid(&self, id: GrantId) -> Option<&GrantRow> {
        self.get(id).filter(|row| row.extra().revoked_at.is_none())
    }

    /// Counts one more open connection of a grant, if the grant, its client, its client's group and its user may each have one more. Notes
    /// that the grant has reported. Adds a row if the grant has none. [`OpenError::TableFull`] here means the table of grants.
    pub(crate) fn open_connection(
        &mut self,
        grant: &Grant,
        now: Timestamp,
        rules: &UsageRules,
    ) -> Result<(), OpenError> {
        // Grants that are over are ended regularly. A full table is not searched for them here: each refusal would read all rows.
        self.insert_if_unknown(grant);
        let row = self.get(grant.id).ok_or(OpenError::TableFull)?;
        let is_first = !row.extra().reported;
        if row.extra().claims.open >= CONNECTIONS_PER_GRANT_MAX {
            return Err(OpenError::TooManyOnGrant);
        }
        if !self.clients.may_open(row.holder()) {
            return Err(OpenError::TooManyOnClient);
        }
        self.allowances(Some(grant.id), now, rules).open();
        if is_first {
            self.edit(grant.id, |row| row.extra_mut().reported = true);
            self.effects.note(Effect::Reported);
        }
        Ok(())
    }

    /// The allowances for what is reported of a grant at `now`. They limit nothing if there is no grant, or if the grant has no row or
    /// has ended.
    pub(crate) fn allowances(
        &mut self,
        id: Option<GrantId>,
        now: Timestamp,
        rules: &UsageRules,
    ) -> Allowances<'_> {
        let Some(row) = id.and_then(|id| self.rows.get_mut(&id)).filter(|row| !row.has_ended()) else {
            return Allowances::default();
        };
        let [client, group, user, server] = self.clients.scopes(row.holder(), rules);
        let extra = row.extra_mut();
        let capacity = (&mut extra.capacity, AllowanceTerms::of_relay(rules));
        let claims = (&mut extra.claims, AllowanceTerms::new(self.claim_rate, rules));
        Allowances::new([Some(capacity), Some(claims), client, group, user, server], now)
    }

    /// Sets the highest rate that the client of one grant may claim from now on; `None` for [`RELAY_RATE_MAX`]. Drops what each grant has
    /// saved of its allowance for claims.
    pub(crate) fn set_claim_rate(&mut self, rate: Option<BitRate>, now: Timestamp) {
        self.claim_rate = rate.unwrap_or(RELAY_RATE_MAX);
        let extras = self.rows.iter_mut().filter_map(|(_, row)| row.extra.as_mut());
        extras.for_each(|extra| extra.claims.forfeit(now));
    }

    /// Notes the client of a grant, if the row names no client and the grant is valid. The open connections of the grant, and in strict
    /// mode its promise, then count for this client and its group. A grant that has no row and has not expired gets a row first.
    pub(crate) fn adopt(&mut self, grant: &Grant, client: ClientKey, now: Timestamp, rules: &UsageRules) {
        if !grant.is_expired(now) {
            self.insert_if_unknown(grant);
        }
        let Some(row) = self.valid(grant.id).filter(|row| row.client.is_none()) else { return };
        let (claims, user) = (row.extra().claims.clone(), row.user().cloned());
        self.edit(grant.id, |row| row.client = Some(client));
        let holder = Holder { client: Some(client), user: user.as_ref(), ..Holder::default() };
        // The connections of the grant already count for the allowances of its user and of its server key.
        let [client, group, ..] = self.clients.scopes(holder, rules);
        let mut allowances = Allowances::new([None, None, client, group, None, None], now);
        allowances.join(&claims);
    }

    /// One step of tidying up. Each of these tasks ends or removes at most `rows_at_once` rows. `false` if there is more to do. No figure
    /// depends on when this is called.
    /// 1. Forgets rows and sums of earlier periods. The other tasks wait until this one is done.
    /// 2. Once a minute ends grants whose promise is over and that are not in use, and forgets what grants relayed too long ago.
    /// 3. Removes the oldest ended grants if there are too many.
    pub(crate) fn forget_expired(&mut self, now: Timestamp) -> bool {
        if !self.forget_past(now) {
            return false;
        }
        let is_walk_over = self.end_over(now);
        // The oldest ended grants are removed also while the walk goes on.
        self.remove_oldest_ended(now) && is_walk_over
    }

    /// Whether another grant for which nothing is promised may have a row: only while there are fewer rows, live and ended, than half of
    /// the most live grants.
    pub(crate) fn has_room_for_free(&self) -> bool {
        self.rows.len() < self.terms.bounds.grants / 2
    }

    /// Whether a grant has a row: it is live, it has ended, or the row only waits to be forgotten.
    pub(crate) fn knows(&self, id: GrantId) -> bool {
        self.rows.contains_key(&id)
    }

    /// Adds a row for a credential that the broker has not issued just now: a valid token names it and the table lacks it, or another
    /// program made it with the secret of a coturn, and then nothing is promised for it. Callers make sure that the table has room.
    pub(crate) fn take_up(
        &mut self,
        grant: &Grant,
        promised: Option<PromisedTime>,
        issuer: Option<IdDigest>,
        spender: Option<Arc<Spender>>,
    ) {
        let row = GrantRow::new(grant, None, promised);
        self.issue(grant.id, GrantRow { state: GrantState::Live, issuer, spender, ..row });
    }

    /// Adds a row without a promise for a grant that has no row. Does nothing if the table is full. Only a grant that costs nothing gets
    /// its row here: `Books::recognize` runs before, and gives a metered grant a row with a promise.
    fn insert_if_unknown(&mut self, grant: &Grant) {
        if !self.knows(grant.id) {
            self.issue(grant.id, GrantRow::new(grant, None, None));
        }
    }
}

#[cfg(test)]
#[path = "grants_tests.rs"]
mod tests;
