//! The row of one grant: what is stored of it, and why a relay stops serving it.
//!
//! A row is changed only by the table, which records each change.
#![cfg_attr(not(test), warn(clippy::arithmetic_side_effects))]

use std::net::Ipv6Addr;
use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::spent::Spent;
use crate::allowance::Allowance;
use crate::client::ClientKey;
use crate::key_name::KeyName;
use crate::minute::Minute;
use crate::source::IceSource;
use crate::spender::Spender;
use crate::token::{Grant, GrantId};
use crate::units::{ByteCount, Timestamp};

/// One grant.
#[expect(clippy::struct_excessive_bools, reason = "each is a fact of its own")]
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct GrantRow {
    /// The source that made its credential.
    pub source: IceSource,
    /// When the credential was requested, in the books' time. 1970 in a row of an older version.
    #[serde(default)]
    pub issued_at: Timestamp,
    /// When the credential expires, in the books' time.
    pub expires_at: Timestamp,
    /// The TURN user name; `None` if it is not known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub username: Option<Box<str>>,
    /// The first minute in which the ledger no longer counts it as alive; `None` for a grant that costs nothing.
    /// Admission, charging and cutting all use this value.
    pub alive_until: Option<Minute>,
    /// Whether its one renewal was used.
    pub renewed: bool,
    /// The grant that renews it. `None` in a row of an older version.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) renewed_by: Option<Box<GrantId>>,
    /// When it was revoked.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub revoked_at: Option<Timestamp>,
    /// Whether its source knew it when it was asked to revoke it. `None` while the source has not answered.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub known_to_source: Option<bool>,
    /// Whether its client has reported a connection.
    #[serde(default)]
    pub reported: bool,
    /// The client that it was issued to. `None` in a row of an older version, until the client reports again.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub client: Option<ClientKey>,
    /// The minutes that strict mode reserved for it. A renewal reserves only those after the renewed grant's.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub reserved_minutes: u64,
    /// How far the wall clock was ahead of the books' time when it was issued, in milliseconds. If that clock was right, the
    /// credential expires this much later.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub clock_ahead_millis: u64,
    /// Who spends what it relays, as far as is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub spender: Option<Arc<Spender>>,
    /// The whole IPv6 address of its client, if it is kept.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub address: Option<Box<Ipv6Addr>>,
    /// The first minute for which room was taken for it under the limit of its user. 1970 in a row of an older version, and for a grant that was added later.
    #[serde(default, skip_serializing_if = "is_unknown")]
    pub promised_from: Minute,
    /// The first minute that the ledger reserved for it: for a renewal, the first one after the renewed grant's. 1970 in a row of an
    /// older version, and for a grant that was added later.
    #[serde(default, skip_serializing_if = "is_unknown")]
    pub(super) reserved_from: Minute,
    /// Whether nothing more can be relayed on it, and what was promised for it is released.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub(super) released: bool,
    /// Whether it is not known yet that its row is on disk. Its commit may still be undone.
    #[serde(skip)]
    pub(super) is_unsettled: bool,
    /// What it has spent in this period.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) spent: Option<Box<Spent>>,
    /// Whether it has ended and is kept for its bytes only.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub(super) ended: bool,
    /// The TURN key that minted its credential. `None` in a row of an older version, and without a provider.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub key: Option<KeyName>,
    /// What its client may claim.
    #[serde(skip)]
    pub(super) claims: Allowance,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde asks for a reference")]
fn is_zero(number: &u64) -> bool {
    *number == 0
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde asks for a reference")]
fn is_unknown(minute: &Minute) -> bool {
    *minute == Minute::default()
}

impl GrantRow {
    /// A grant that has just been issued.
    #[must_use]
    pub fn new(grant: &Grant, username: Option<&str>, alive_until: Option<Minute>) -> Self {
        Self {
            source: grant.source,
            issued_at: grant.issued_at,
            expires_at: grant.expires_at,
            username: username.map(Into::into),
            alive_until,
            renewed: false,
            renewed_by: None,
            revoked_at: None,
            known_to_source: None,
            reported: false,
            client: None,
            reserved_minutes: 0,
            clock_ahead_millis: 0,
            spender: None,
            address: None,
            promised_from: Minute::default(),
            reserved_from: Minute::default(),
            released: false,
            is_unsettled: false,
            spent: None,
            ended: false,
            key: None,
            claims: Allowance::default(),
        }
    }

    /// Whether its user is known.
    #[must_use]
    pub fn has_user(&self) -> bool {
        self.spender.as_ref().is_some_and(|spender| spender.user.is_some())
    }

    /// The same grant, issued to this client, with so many reserved minutes.
    #[must_use]
    pub fn issued_to(self, client: Option<ClientKey>, reserved_minutes: u64) -> Self {
        Self { client, reserved_minutes, ..self }
    }

    /// The same grant, issued while the wall clock was so far ahead of the books' time.
    #[must_use]
    pub fn with_clock_ahead(self, ahead: Duration) -> Self {
        Self { clock_ahead_millis: u64::try_from(ahead.as_millis()).unwrap_or(u64::MAX), ..self }
    }

    /// The same grant, with who spends what it relays.
    #[must_use]
    pub fn spent_by(self, spender: Option<Arc<Spender>>) -> Self {
        Self { spender, ..self }
    }

    /// The same grant, with room under the limit of its user from this minute on, and its client's whole address.
    #[must_use]
    pub fn promised(self, from: Minute, address: Option<Ipv6Addr>) -> Self {
        Self { promised_from: from, address: address.map(Box::new), ..self }
    }

    /// The same grant, for which the ledger has reserved the minutes from this one on. Its commit is not settled yet.
    #[must_use]
    pub(crate) fn reserved(self, from: Minute) -> Self {
        Self { reserved_from: from, is_unsettled: true, ..self }
    }

    /// Whether what was promised for it was released.
    #[must_use]
    pub fn is_released(&self) -> bool {
        self.released
    }

    /// What it has spent in this period.
    #[must_use]
    pub fn spent(&self) -> Spent {
        self.spent.as_deref().copied().unwrap_or_default()
    }

    /// What it has spent in this period: the larger of the measured and the claimed bytes.
    #[must_use]
    pub fn bytes(&self) -> ByteCount {
        let spent = self.spent();
        spent.measured().max(spent.claimed())
    }

    /// Whether it has ended and is kept for its bytes only.
    #[must_use]
    pub fn has_ended(&self) -> bool {
        self.ended
    }

    /// The minutes in which it may relay, as far as room was taken for them. Nothing for a grant that costs nothing.
    pub(crate) fn promised_minutes(&self) -> Range<Minute> {
        let is_known = self.promised_from != Minute::default();
        let from = if is_known { self.promised_from } else { Minute::of(self.issued_at) };
        let until = self.alive_until.unwrap_or(from);
        from.min(until)..until
    }

    /// The first minute in which it may have ended.
    pub(super) fn ends_in(&self) -> Minute {
        self.alive_until.unwrap_or_default().max(Minute::from_end(self.expires_at))
    }

    /// Whether the ledger counts it as alive, its credential still works, or a connection is open on it. A released one stays until its
    /// credential has expired by either clock, because its source must go on refusing it.
    pub(super) fn is_live(&self, now: Timestamp) -> bool {
        let is_refused = self.released && self.latest_expiry() > now;
        self.alive_until.is_some_and(|until| until.start() > now) || self.is_in_use(now) || is_refused
    }

    /// The same grant, minted with this TURN key.
    #[must_use]
    pub fn minted_with(self, key: Option<KeyName>) -> Self {
        Self { key, ..self }
    }

    /// The latest time at which its credential expires, by the books' time or by the wall clock.
    pub(super) fn latest_expiry(&self) -> Timestamp {
        self.expires_at.plus_millis(self.clock_ahead_millis)
    }

    /// When it is charged as a grant whose client has reported no connection; `None` once it has reported one, or the grant
    /// is revoked.
    pub(crate) fn unreported_at(&self) -> Option<Timestamp> {
        (!self.reported && self.revoked_at.is_none()).then_some(self.expires_at)
    }

    /// Whether its credential still works or a connection is open on it.
    pub(super) fn is_in_use(&self, now: Timestamp) -> bool {
        self.expires_at > now || self.claims.open_count() > 0
    }

    /// The same grant after its client has reported a connection.
    #[must_use]
    pub fn reported(self) -> Self {
        Self { reported: true, ..self }
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

/// The reason why the relay stops serving a grant.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum GrantEnd {
    /// Its credential has expired.
    Expired,
    /// The operator has revoked it.
    Revoked,
    /// The budget is spent.
    Spent,
}

impl GrantEnd {
    /// The name in logs and metrics.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Expired => "expired",
            Self::Revoked => "revoked",
            Self::Spent => "spent",
        }
    }
}
