//! The row of one grant: what is stored of it, and why a relay stops serving it.
//!
//! A row is changed only by the table, which records each change.
#![cfg_attr(not(test), warn(clippy::arithmetic_side_effects))]

use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::allowance::Allowance;
use crate::client::ClientKey;
use crate::key_name::KeyName;
use crate::minute::Minute;
use crate::source::IceSource;
use crate::spender::Spender;
use crate::token::{Grant, GrantId};
use crate::units::Timestamp;

/// One grant.
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
    pub username: Option<Box<str>>,
    /// The first minute in which the ledger no longer counts it as alive; `None` for a grant that costs nothing.
    /// Admission, charging and cutting all use this value.
    pub alive_until: Option<Minute>,
    /// Whether its one renewal was used.
    pub renewed: bool,
    /// When it was revoked.
    pub revoked_at: Option<Timestamp>,
    /// Whether its client has reported a connection.
    #[serde(default)]
    pub reported: bool,
    /// The client that it was issued to. `None` in a row of an older version, until the client reports again.
    #[serde(default)]
    pub client: Option<ClientKey>,
    /// The minutes that strict mode reserved for it. A renewal reserves only those after the renewed grant's.
    #[serde(default)]
    pub reserved_minutes: u64,
    /// How far the wall clock was ahead of the books' time when it was issued, in milliseconds. If that clock was right, the
    /// credential expires this much later.
    #[serde(default)]
    pub clock_ahead_millis: u64,
    /// Who spends what it relays, as far as is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub spender: Option<Arc<Spender>>,
    /// The TURN key that minted its credential. `None` in a row of an older version, and without a provider.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub key: Option<KeyName>,
    /// What its client may claim.
    #[serde(skip)]
    pub(super) claims: Allowance,
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
            revoked_at: None,
            reported: false,
            client: None,
            reserved_minutes: 0,
            clock_ahead_millis: 0,
            spender: None,
            key: None,
            claims: Allowance::default(),
        }
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
