//! The row of one grant: what is stored of it, and why a relay stops serving it. Tests: `src/grants_tests.rs`.
//!
//! A row is changed only by the table, which records each change.

use std::net::Ipv6Addr;
use std::ops::Range;
use std::sync::LazyLock;

use serde::Deserializer;

use crate::allowance::Allowance;
use crate::clients::Holder;
use crate::prelude::*;
use crate::spending::Spent;

/// One grant. Its stored form has the fields in this order. There are up to 2,000,000 rows, so a row takes at most 120 bytes of memory.
/// What few grants have is in [`GrantExtra`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct GrantRow {
    /// The source that made its credential.
    pub source: IceSource,
    /// When the credential was requested, in the books' time.
    pub issued_at: Timestamp,
    /// When the credential expires, in the books' time, as its client was told.
    pub expires_at: Timestamp,
    /// The TURN user name until the grant ends, if its source or a server key may revoke the credential by it.
    pub username: Option<Box<str>>,
    /// What is promised for it. `None` for a grant that costs nothing, for a session of the SFU that takes nothing, and for a credential of
    /// another program. Admission, charging and cutting all use this value.
    pub promised: Option<PromisedTime>,
    /// The client that it was issued to or, if that was not known, the one that first used it.
    pub client: Option<ClientKey>,
    /// Who spends what it relays, as far as is known.
    #[serde(deserialize_with = "shared")]
    pub spender: Option<Arc<Spender>>,
    /// Where it is in its life.
    pub(super) state: GrantState,
    /// The first day of the period of its figures (`spent`). Figures of another period than the present one count as zero, and begin anew
    /// when they change ([`Self::set_spent`]).
    pub(crate) figures_since: Day,
    /// What it has spent in the period of its figures.
    pub(super) spent: Option<Box<Spent>>,
    /// The TURN key that minted its credential, or the operator's relay that the credential is for. See [`CountOwner::issuer`].
    pub issuer: Option<IdDigest>,
    /// What few grants have, in a box of its own, so that the other rows take little memory.
    pub(super) extra: Option<Box<GrantExtra>>,
}

/// The first fields of a stored [`GrantRow`], up to three of the figures in `spent`. A migration finds by them what comes later.
pub type GrantRowUpToClosed = (
    IceSource,
    (Timestamp, Timestamp),
    Option<Box<str>>,
    Option<PromisedTime>,
    Option<ClientKey>,
    Option<Spender>,
    (GrantState, Day),
    Option<[ByteCount; 3]>,
);

/// Reads a spender with one allocation. For an `Arc`, `serde` would make a `Box` first.
fn shared<'de, D: Deserializer<'de>>(from: D) -> Result<Option<Arc<Spender>>, D::Error> {
    Ok(Option::<Spender>::deserialize(from)?.map(Arc::new))
}

/// What few grants have.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct GrantExtra {
    /// Whether its one renewal was used.
    pub renewed: bool,
    /// The grant that renews it. After a failed renewal it can still be set: see `Grants::give_renewal_back`.
    pub(super) renewed_by: Option<GrantId>,
    /// When it was revoked.
    pub revoked_at: Option<Timestamp>,
    /// What its source answered to the request to revoke it. `None` while the source has not answered.
    pub revocation_answer: Option<RevocationAnswer>,
    /// Whether its client has reported a connection.
    pub reported: bool,
    /// The credential can expire by so many milliseconds later than its client was told: the wall clock was ahead of the books' time when
    /// the grant was issued, or the source decides how long the credential works.
    pub later_by_millis: u64,
    /// The whole IPv6 address of its client, if it is kept.
    pub address: Option<Ipv6Addr>,
    /// What a session of the SFU takes from other sessions; `None` for any other grant.
    pub(super) pulls: Option<Box<Pulls>>,
    /// What its client may claim.
    #[serde(skip)]
    pub(super) claims: Allowance,
    /// What a relay can carry for it. A freeze does not change this allowance, so it lowers no report of an app server.
    #[serde(skip)]
    pub(super) capacity: Allowance,
}

/// A source's answer to the request to revoke a credential.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum RevocationAnswer {
    /// It does not know the credential.
    Unknown,
    /// It has revoked the credential.
    Revoked,
}

/// What only the row of a session of the SFU has.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Pulls {
    /// The name that the SFU gave the session.
    pub(super) name: Arc<str>,
    /// The grant whose token opened the session.
    pub(super) opened_by: Option<GrantId>,
    /// What the session may take from others, in kbit/s.
    pub(super) kbps: u32,
    /// The rate at which it is charged, in kbit/s.
    pub(super) charged_kbps: u32,
    /// The row's bytes contain what the session took before this instant.
    pub(super) counted_until: Timestamp,
    /// Earlier promises, at the rates that the session had then. The provider, whose clock may be behind, may still count bytes in their
    /// minutes.
    pub(super) behind: Vec<PromisedTime>,
    /// Whether the budget has no room to extend the session's promise.
    #[serde(skip)]
    pub(super) has_no_room: bool,
}

/// Where a grant is in its life.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum GrantState {
    /// It is not known yet that its row is on disk, so its commit may still be undone.
    Unwritten,
    /// Its promise, its credential or a connection on it is not over.
    #[default]
    Live,
    /// It was revoked, and its promise is released: nothing more can be relayed on it.
    Released,
    /// It is over, and kept for its bytes, and for a tail that turns out to be longer.
    Ended,
    /// It is over, and its promise was released before.
    EndedReleased,
}

impl GrantRow {
    /// The row of a grant that has just been issued. It keeps no user name that the broker chose, because such a name has the grant's id.
    pub fn new(grant: &Grant, username: Option<&str>, promised: Option<PromisedTime>) -> Self {
        Self {
            source: grant.source,
            issued_at: grant.issued_at,
            expires_at: grant.expires_at,
            username: username.filter(|_| grant.source.facts().names == DecidedBy::Source).map(Box::from),
            promised,
            client: None,
            spender: None,
            state: GrantState::Unwritten,
            figures_since: Day::default(),
            spent: None,
            issuer: None,
            extra: None,
        }
    }

    /// Sets what it has spent in this period. Figures of another period are dropped: the caller has kept a copy.
    pub(crate) fn set_spent(&mut self, spent: Spent, period: Period) {
        if !self.has_figures_of(period) {
            self.begin_period(period);
        }
        match &mut self.spent {
            Some(known) => **known = spent,
            None if spent.is_empty() => {}
            none => *none = Some(Box::new(spent)),
        }
    }

    /// What few grants have.
    pub fn extra(&self) -> &GrantExtra {
        static NONE: LazyLock<GrantExtra> = LazyLock::new(GrantExtra::default);
        self.extra.as_deref().unwrap_or(&NONE)
    }

    pub(crate) fn extra_mut(&mut self) -> &mut GrantExtra {
        self.extra.get_or_insert_default()
    }

    /// The owner whose count releases its promise.
    pub fn owner(&self) -> CountOwner {
        CountOwner { source: self.source, issuer: self.issuer }
    }

    /// The row as stored. Once it is on disk, it is no longer unwritten.
    pub(super) fn stored(&self) -> Self {
        Self { state: self.stored_state(), ..self.clone() }
    }

    /// The state that the row has on disk.
    pub(super) fn stored_state(&self) -> GrantState {
        if self.state == GrantState::Unwritten { GrantState::Live } else { self.state }
    }

    /// The requester of another credential for the same client and spender.
    pub fn requester(&self) -> Requester {
        let address = self.extra().address;
        Requester { client: self.client, spender: self.spender.clone(), address, ..Requester::default() }
    }

    /// Its user, if known.
    pub fn user(&self) -> Option<&User> {
        self.spender.as_deref()?.user.as_ref()
    }

    /// The spender whose limits count what the grant relays. `None` if the grant costs nothing, or if its spender is not known.
    pub(super) fn limited_spender(&self) -> Option<&Arc<Spender>> {
        self.spender.as_ref().filter(|_| self.source.is_metered())
    }

    /// The bytes of a period that count for the limit of its client's address: none if a user or a server key answers for them.
    pub(super) fn bytes_of_address(&self, period: Period) -> ByteCount {
        let counts = self.source.is_metered() && self.spender.as_deref().is_none_or(Spender::is_nobody);
        if counts { self.spent_in(period).bytes() } else { ByteCount::ZERO }
    }

    /// Whose allowances it uses.
    pub(crate) fn holder(&self) -> Holder<'_> {
        let server = self.spender.as_ref().and_then(|spender| spender.server.as_ref());
        Holder { client: self.client, user: self.user(), server }
    }

    /// The first minute after all its promises, so the first in which the ledger does not count it as alive. `None` without a promise.
    pub fn alive_until(&self) -> Option<Minute> {
        self.promised.iter().chain(self.behind()).map(|time| time.until).max()
    }

    /// Whether what was promised for it was released.
    pub fn is_released(&self) -> bool {
        matches!(self.state, GrantState::Released | GrantState::EndedReleased)
    }

    /// What it has spent in the period of its figures.
    pub fn spent(&self) -> Spent {
        self.spent.as_deref().copied().unwrap_or_default()
    }

    /// What it has spent in this period.
    pub(super) fn spent_in(&self, period: Period) -> Spent {
        if self.has_figures_of(period) { self.spent() } else { Spent::default() }
    }

    /// Whether its figures belong to this period.
    pub(super) fn has_figures_of(&self, period: Period) -> bool {
        self.figures_since == Day::of(period.start)
    }

    /// Begins its figures anew, at zero, for this period.
    pub(super) fn begin_period(&mut self, period: Period) {
        (self.figures_since, self.spent) = (Day::of(period.start), None);
    }

    /// Whether it has ended.
    pub fn has_ended(&self) -> bool {
        matches!(self.state, GrantState::Ended | GrantState::EndedReleased)
    }

    /// What is promised for it in `[from, until)`, as the limit of a user counts it: see [`PromisedTime::of_user`]. Without the earlier
    /// promises of a session.
    pub(super) fn promised_between(&self, from: Minute, until: Minute) -> ByteCount {
        let bytes = |(minutes, level): (Range<Minute>, LiveDelta)| {
            let common = minutes.end.min(until).since(minutes.start.max(from));
            level.per_minute.unsigned_abs().saturating_mul(common)
        };
        let of_user = self.promised.map(|time| time.of_user()).into_iter().flatten();
        ByteCount::new(of_user.map(bytes).fold(0, u64::saturating_add))
    }

    /// Whether it has ended, and its promise and its expiry were over at this instant.
    pub(super) fn is_over(&self, at: Timestamp) -> bool {
        self.has_ended() && self.over_from().start() <= at
    }

    /// The first minute after its promises and after the expiry that its client was told. An open connection may keep it live for longer.
    pub(super) fn over_from(&self) -> Minute {
        self.alive_until().unwrap_or_default().max(Minute::from_end(self.expires_at))
    }

    /// Whether its promise is not over, its credential may still work, or a connection is open on it. `false` once it has ended. A released
    /// grant stays live until its credential has expired, because its source must go on refusing the credential.
    pub(crate) fn is_live(&self, now: Timestamp) -> bool {
        let is_promised = self.alive_until().is_some_and(|until| until.start() > now);
        !self.has_ended() && (is_promised || self.is_in_use(now))
    }

    /// The latest time at which its credential can expire.
    pub(super) fn latest_expiry(&self) -> Timestamp {
        self.expires_at.plus_millis(self.extra().later_by_millis)
    }

    /// Whether its credential may still work, or a connection is open on it.
    pub(super) fn is_in_use(&self, now: Timestamp) -> bool {
        self.latest_expiry() > now || self.extra().claims.open > 0
    }
}

/// A revoked grant, as an operator sees it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Revoked {
    /// The grant.
    pub grant: GrantId,
    /// Its source.
    pub source: IceSource,
    /// When it was revoked.
    pub revoked_at: Timestamp,
    /// When its credential expires.
    pub expires_at: Timestamp,
}

/// Who asks for a credential.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Requester {
    /// The client. `None` if somebody vouches for the request: then no allowance of an address applies.
    pub client: Option<ClientKey>,
    /// The grant that the credential renews.
    pub renews: Option<GrantId>,
    /// Who spends what the credential relays.
    pub spender: Option<Arc<Spender>>,
    /// The client's whole IPv6 address, if it is kept.
    pub address: Option<Ipv6Addr>,
    /// The TURN key that minted the credential, known once it is minted; or the operator's relay that the credential is for.
    pub issuer: Option<IdDigest>,
}

impl Requester {
    /// The user who spends.
    pub fn user(&self) -> Option<&User> {
        self.spender.as_deref()?.user.as_ref()
    }
}
