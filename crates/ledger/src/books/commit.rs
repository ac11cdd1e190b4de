//! The three steps that issue a grant: reserve, commit, note how the write ended. Tests: `src/books/tests/commits.rs`.
//! The service and the simulation call the same functions.
//!
//! A grant is in the same batch as every change that its admission relied on, so the disk never has one without the other.
//! If a batch cannot be written, the commit is undone in the books, and the undoing changes are written after the batch.

use super::Books;
use super::blocks::names_of;
use crate::changes::Batch;
use crate::clients::Holder;
use crate::grants::{GrantRow, Requester};
use crate::prelude::*;
use crate::spending::{ADDRESS_LIMIT_MIN, ADDRESS_LIMIT_PART, KeptAddresses, Named};

/// No metered credential is minted while the wall clock is further ahead of the books' time than this.
pub(super) const CLOCK_AHEAD_MAX: Duration = Duration::from_secs(2 * 86_400);

/// The promise for one credential, made before the provider is asked. [`Books::release`] takes the promise back, [`Books::commit`] makes it
/// that of the grant.
#[derive(Debug)]
#[must_use]
pub struct Hold {
    /// What the credential may relay.
    pub promise: Promise,
    /// The lifetime that the credential gets: as requested. Strict mode makes it shorter if there is less room, and longer if it is too
    /// short for the tail.
    pub life: Duration,
    /// The latest time at which the credential expires.
    expires_by: Timestamp,
    /// How far the wall clock was ahead of the books' time. The hold covers the credential by both clocks.
    clock_ahead: Duration,
    /// How many revocations of spenders there were before it.
    revocations: usize,
}

/// Why a credential is not handed out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NotAdmitted {
    /// The budget, or the share or limit of the requester, has no room.
    Refused(Refusal),
    /// The wall clock is more than two days ahead of the books.
    ClockInDoubt,
    /// Strict mode: the sessions of this coturn should be cut, and are not cut now.
    Uncut,
    /// A spender of this kind is blocked. As if the user were blocked: the grant of a session of the SFU was revoked.
    Blocked(SpenderKind),
    /// The caller's address has used its limit of this day, which ends after this time.
    AddressLimit {
        /// The rest of the day.
        retry_in: Duration,
    },
    /// There is a limit for each user, and the table of users has no room for another one.
    TooManyUsers,
    /// The table of grants is full of live ones.
    TooManyGrants,
    /// The ledger could not be written, the credential came later than its hold covers, or promises are not raised yet.
    NotRecorded,
    /// An override stops all minting, or the grant to renew or all grants of the spender were revoked meanwhile.
    Stopped,
}

impl From<NotRecorded> for NotAdmitted {
    fn from(_: NotRecorded) -> Self {
        Self::NotRecorded
    }
}

/// A commit whose write may still fail. [`Books::note_written`] ends it.
#[derive(Debug)]
#[must_use]
pub struct Commit {
    grant: GrantId,
}

/// What happened to a batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Written {
    /// It is on disk.
    Yes,
    /// It is not on disk.
    No,
    /// It may be on disk, now or later.
    Unknown,
}

/// The ledger was not written, or nobody knows whether it was. The caller must not hand out the credential. An override that was not
/// written is in effect until a restart.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the ledger could not be written")]
pub struct NotRecorded;

impl Books {
    /// Reserves budget for a credential that the provider creates within `slack`. `life`: the requested lifetime. [`Hold`] says which
    /// one the credential gets.
    ///
    /// While the wall clock is ahead and not accepted yet, the true time may be the wall clock's or the books'. The hold begins at the
    /// books' time and ends with a credential that is created at the wall clock's time, so the hold covers the credential in both cases.
    ///
    /// The budget assumes that only one of a grant and its renewal relays at a time. So a renewal needs room only for the minutes after the
    /// promise of the renewed grant. In strict mode, a client and a user may reserve only their shares of the limit, and a user or a server
    /// key no more than its own limit. The limit of a user assumes that the user relays with both grants at once, so there a renewal
    /// reserves all its minutes. Where the broker ends sessions, a renewal also prolongs the sessions of the grants before it. The limit of
    /// a user reserves that time, too.
    pub fn reserve(
        &mut self,
        source: IceSource,
        life: Duration,
        slack: Duration,
        requester: &Requester,
    ) -> Result<Hold, NotAdmitted> {
        let owner = self.budget.owner_with(source, requester.issuer);
        // `is_known`: whether the owner of the bytes is known. Of several TURN keys, only the mint shows which one has minted. Until then,
        // all minutes of a renewal are reserved.
        let is_known = requester.issuer.is_some() || self.budget.has_one_owner(source);
        let admitted_as = if is_known { owner } else { owner.group() };
        let request = self.admission(admitted_as, life, slack, requester, None)?;
        if source.is_metered() && self.grants.is_full() {
            return Err(NotAdmitted::TooManyGrants);
        }
        let Requester { client, spender, .. } =
            if source.is_metered() { requester } else { &Requester::default() };
        let names = spender.as_ref().map(|spender| (spender.user.clone(), spender.server.clone()));
        let (user, server) = names.unwrap_or_default();
        let (now, life) = (self.now(), request.life);
        let promise = Promise { owner, time: request.promise(now), user, server, client: *client };
        self.grants.replace_promise(None, Some(&promise));
        self.apply_effects();
        let (clock_ahead, revocations) = (self.clock_ahead(), self.blocks.revoked.count);
        Ok(Hold { promise, life, expires_by: request.expires_by(now), clock_ahead, revocations })
    }

    /// The request for what somebody wants to relay, if it is admitted, or the reason why it is not. `session`: bytes that a session of the
    /// SFU may take in a minute, and the first minute that is not promised already; `None` for a credential. If a client or user has
    /// reserved nothing, one credential always fits into its share, and so does a session that takes no more than a credential.
    pub(super) fn admission(
        &mut self,
        owner: impl Into<CountOwner>,
        life: Duration,
        slack: Duration,
        requester: &Requester,
        session: Option<(u64, Minute)>,
    ) -> Result<Request, NotAdmitted> {
        self.apply_effects();
        let Requester { client, renews, .. } = *requester;
        let owner = owner.into();
        let source = owner.source;
        if let Some(blocked) = self.block_of(requester) {
            return Err(blocked);
        }
        let ahead = self.clock_ahead();
        if source.is_metered() && ahead > CLOCK_AHEAD_MAX {
            return Err(NotAdmitted::ClockInDoubt);
        }
        let now = self.now();
        if source.is_metered() && self.address_is_over(requester) {
            return Err(NotAdmitted::AddressLimit { retry_in: Day::of(now).end().since(now) });
        }
        let renewed = self.relied_on(renews, owner);
        let metered_user = requester.user().filter(|_| source.is_metered());
        let is_strict = self.budget.terms.mode == BudgetMode::Strict && source.is_metered();
        if is_strict && self.is_uncut(owner) {
            return Err(NotAdmitted::Uncut);
        }
        if is_strict && self.raising() > 0 {
            return Err(NotAdmitted::NotRecorded);
        }
        let holder = if is_strict {
            Holder { client, user: metered_user, ..Holder::default() }
        } else {
            Holder::default()
        };
        // The share of a client or user that has reserved nothing has room for one credential in any case, but not for a session of the SFU
        // that takes more than a credential. One reserved byte, `reserved_min`, takes this exception away. Rates of sessions are whole
        // kbit/s, rounded up, and so is `of_grant`, what a credential takes in a minute.
        let of_grant = self.budget.assumed_rate().per_minute().next_multiple_of(SFU_UNIT.per_minute());
        let reserved_min = u64::from(session.is_some_and(|(taken, _)| taken > of_grant));
        let clients = self.grants.clients.shares(holder, now).map(|share| {
            share.map(|share| ClientShare { reserved: share.reserved.max(reserved_min), ..share })
        });
        let spender = requester.spender.as_deref().filter(|_| source.is_metered());
        let limited: Vec<_> = self.grants.with_limit(spender).collect();
        let named = Named::WithMint(spender.and_then(|spender| spender.server.as_ref()));
        if limited.iter().any(|of| !self.grants.has_room_for(of, named, now)) {
            return Err(NotAdmitted::TooManyUsers);
        }
        let mut limits = [None; 2];
        for (share, of) in limits.iter_mut().zip(&limited) {
            *share = self.limit_share(of);
        }
        if let Some(name) = spender.and_then(|of| of.server.as_ref()).filter(|_| is_strict) {
            // The last place is free: this key has no limit.
            limits[1] = self.share_of_unlimited(name).or(limits[1]);
        }
        let request = self.budget.request(owner, life, slack.saturating_add(ahead), renewed);
        // A renewal goes on at the rate of its chain, which counts may have raised.
        let of_chain = renewed.map_or(0, |time| time.per_minute);
        let (per_minute, reserved_from) =
            session.unwrap_or((request.per_minute.max(of_chain), request.reserved_from));
        self.budget
            .admit(Request { per_minute, reserved_from, clients, limits, ..request })
            .map_err(NotAdmitted::Refused)
    }

    /// Whether the address of a caller without a user has used its limit of this day.
    fn address_is_over(&mut self, requester: &Requester) -> bool {
        let limit = match self.grants.terms.bounds.spenders.address_limit {
            None => ByteCount::new(self.budget.terms.limit.get() / ADDRESS_LIMIT_PART).max(ADDRESS_LIMIT_MIN),
            Some(limit) => limit,
        };
        let is_nobody = requester.spender.as_deref().is_none_or(Spender::is_nobody);
        let client = requester.client.filter(|_| is_nobody);
        limit > ByteCount::ZERO && client.is_some_and(|client| self.grants.today.refuses(client, limit))
    }

    /// The promise of the grant that a credential of this owner renews. The credential relies on the minutes of this promise, because of
    /// the two grants only one relays at a time. `None` if the credential renews none, or one for which nothing is promised. `None` also if
    /// the renewed grant has another owner, whose count could release these minutes while the renewal relays.
    fn relied_on(&self, renews: Option<GrantId>, owner: CountOwner) -> Option<PromisedTime> {
        self.grants.get(renews?).filter(|row| row.owner() == owner)?.promised
    }

    /// Releases a hold whose credential was not handed out.
    pub fn release(&mut self, hold: &Hold) {
        self.grants.replace_promise(Some(&hold.promise), None);
        self.apply_effects();
    }

    /// Puts a grant into the books: its row gets the promise of the hold. Releases the hold instead if the operator forbids the grant, or
    /// if a metered credential comes later than its hold covers or finds the table full.
    ///
    /// The caller must write the next batch before it hands out a metered credential.
    pub fn commit(
        &mut self,
        hold: Hold,
        grant: &Grant,
        username: Option<&str>,
        requester: Requester,
    ) -> Result<Commit, NotAdmitted> {
        let blocked = self.block_of(&requester);
        let is_revoked = self.blocks.revoked.has_since(hold.revocations, names_of(&requester));
        let Requester { client, renews, spender, address, issuer } = requester;
        let address = address.filter(|_| self.grants.terms.bounds.spenders.addresses == KeptAddresses::Full);
        if blocked.is_some() || is_revoked || self.has_stopped(renews) {
            self.release(&hold);
            return Err(blocked.unwrap_or(NotAdmitted::Stopped));
        }
        let is_metered = grant.source.is_metered();
        // The machine may have slept during the mint. If the provider made the credential only now, it expires later than the hold covers.
        let is_late = self.now().plus(hold.life) > hold.expires_by;
        if is_metered && (is_late || self.grants.is_full()) {
            self.release(&hold);
            return Err(if is_late { NotAdmitted::NotRecorded } else { NotAdmitted::TooManyGrants });
        }
        // The TURN key of a provider is known only now.
        let owner = issuer.map_or(hold.promise.owner, |_| self.budget.owner_with(grant.source, issuer));
        // Tail and rate may have changed since the hold.
        let until = Minute::from_end(hold.expires_by.plus(self.budget.tail(owner)));
        let per_minute = hold.promise.time.per_minute.max(self.budget.bytes_per_minute(owner.source));
        let mut time = PromisedTime { until, per_minute, ..hold.promise.time };
        if let Some(renewed) = self.relied_on(renews, owner) {
            time.reserved_from = time.reserved_from.max(renewed.chain_until());
        }
        let is_of_server = spender.as_ref().is_some_and(|spender| spender.server.is_some());
        let has_user = spender.as_ref().is_some_and(|spender| spender.user.is_some());
        // A free grant has a row only if it has a user or a server key, so that its renewal gets the same, and only if there is room.
        if is_metered || (is_of_server || has_user) && self.grants.has_room_for_free() {
            // The user name is kept only if the source or a server key may revoke the credential by it.
            let username =
                username.filter(|_| is_metered && (is_of_server || grant.source.revokes_by_name()));
            let mut row = GrantRow::new(grant, username, is_metered.then_some(time));
            (row.client, row.spender, row.issuer) = (client, spender, owner.issuer);
            // A source that decides the life may make a credential for the whole requested life, although it states a shorter one.
            // `later_by`: by how much later than stated the credential can expire.
            let stated = grant.expires_at.since(grant.issued_at);
            let beyond_stated =
                if grant.source.decides_life() { hold.life.saturating_sub(stated) } else { Duration::ZERO };
            let later_by = hold.clock_ahead.saturating_add(beyond_stated);
            if address.is_some() || later_by > Duration::ZERO {
                let later_by = u64::try_from(later_by.as_millis()).unwrap_or(u64::MAX);
                (row.extra_mut().address, row.extra_mut().later_by_millis) = (address, later_by);
            }
            self.grants.issue(grant.id, row);
        }
        if let Some(renewed) = renews {
            self.grants.note_renewal(renewed, grant.id);
        }
        let Hold { promise: reserved, .. } = hold;
        // From now on the row has the promise, so that of the hold is removed.
        self.grants.replace_promise(Some(&reserved), None);
        self.apply_effects();
        self.budget.counts.issued = self.budget.counts.issued.saturating_add(1);
        Ok(Commit { grant: grant.id })
    }

    /// Ends the commits of a batch that is on disk.
    pub fn note_batch(&mut self, batch: &Batch) {
        batch.grants.keys().for_each(|id| self.grants.note_written(*id));
    }

    /// Ends a commit with the outcome of its write. `Ok`: the credential may be handed out. After a failed write the grant is removed. If
    /// the outcome is unknown, the grant stays, so that the books never have fewer grants than the disk.
    pub fn note_written(&mut self, commit: &Commit, written: Written) -> Result<(), NotRecorded> {
        if written == Written::No {
            // This also releases the promise of the row.
            self.grants.remove(commit.grant);
            self.apply_effects();
            self.budget.counts.issued = self.budget.counts.issued.saturating_sub(1);
        } else {
            self.grants.note_written(commit.grant);
        }
        if written == Written::Yes { Ok(()) } else { Err(NotRecorded) }
    }

    /// Uses the one renewal of a grant. `false` if the grant may not be renewed now.
    pub fn take_renewal(&mut self, grant: &Grant) -> bool {
        self.recognize(Some(grant));
        let now = self.now();
        self.grants.take_renewal(grant, now)
    }

    /// Gives back a renewal that issued no grant.
    pub fn give_renewal_back(&mut self, grant: GrantId) {
        self.grants.give_renewal_back(grant);
    }
}
