//! What is charged to the budget: the ICE sources that can be configured, and the SFU. Tests: `src/budget_tests.rs`.
//! Their names appear in settings, responses and stored rows.

mod facts;

pub use facts::*;

use std::collections::BTreeMap;
use std::time::Duration;

use strum::EnumCount;

use crate::units::REFERENCE_DIFFERENCE_TOLERATED;

/// The most time between a request and the credential: the provider's deadline, rounded up to a whole second.
pub const MINT_SLACK: Duration = Duration::from_secs(4);

/// The relay of this process relays for at most this long after the last write of its count.
pub const UNWRITTEN_MAX: Duration = Duration::from_secs(4);

/// One entry of `ICE_SOURCES`, or the SFU. The wire and the log use the name of the setting. Stored rows have the position
/// of a variant, so a new variant is the last.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[derive(
    serde::Serialize,
    serde::Deserialize,
    strum::Display,
    strum::EnumCount,
    strum::EnumString,
    strum::IntoStaticStr
)]
#[serde(rename_all = "lowercase")]
#[strum(serialize_all = "lowercase")]
pub enum IceSource {
    /// Cloudflare Realtime TURN, minted over its API.
    Cloudflare,
    /// The operator's coturn with a shared secret: credentials are computed here.
    Coturn,
    /// The small relay inside this process.
    Relay,
    /// A fixed list of the operator.
    Manual,
    /// Public STUN servers: no relay, no credential, no cost.
    Stun,
    /// Cloudflare's SFU. It issues no credentials: a session that takes tracks from others is a grant.
    Sfu,
    /// Any other provider or server that answers an HTTP request with a list of ICE servers. Its credentials live as long as it says.
    Http,
}

/// A setting of which a source can have a value of its own.
#[derive(Clone, Debug, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct BySource<T> {
    /// The value of all other sources.
    pub usual: T,
    /// The values that are a source's own.
    pub own: BTreeMap<IceSource, T>,
}

impl<T: Copy> BySource<T> {
    /// The value of this source.
    pub fn of(&self, source: IceSource) -> T {
        self.own.get(&source).copied().unwrap_or(self.usual)
    }
}

impl<T> From<T> for BySource<T> {
    fn from(usual: T) -> Self {
        Self { usual, own: BTreeMap::new() }
    }
}

impl IceSource {
    /// All sources, in the order of the documentation.
    pub const ALL: [Self; Self::COUNT] =
        [Self::Cloudflare, Self::Coturn, Self::Http, Self::Relay, Self::Manual, Self::Stun, Self::Sfu];

    /// The sources that `ICE_SOURCES` can name.
    pub fn named() -> impl Iterator<Item = Self> {
        Self::ALL.into_iter().filter(|source| source.facts().grants != GrantsAre::Sessions)
    }

    /// The name in settings, answers and logs.
    pub fn name(self) -> &'static str {
        self.into()
    }

    /// See [`SourceFacts::expiry_tail`].
    pub const fn expiry_tail(self) -> Duration {
        self.facts().expiry_tail
    }

    /// Whether its count comes from another party, which can be wrong.
    pub const fn is_counted_by_provider(self) -> bool {
        matches!(self.facts().charged, Charged::ByTurnKey | Charged::BySfuApp)
    }

    /// By how much the clock of the provider that counts may differ from ours, in both directions. A promise is that much longer at each
    /// end.
    pub const fn clocks_differ_by(self) -> Duration {
        if self.is_counted_by_provider() { REFERENCE_DIFFERENCE_TOLERATED } else { Duration::ZERO }
    }

    /// Whether it refuses the credential of a revoked grant from then on, and ends what runs with it.
    pub const fn refuses_revoked(self) -> bool {
        matches!(self.facts().on_revocation, OnRevocation::Refuses)
    }

    /// Whether it is asked to revoke a credential by its user name.
    pub const fn revokes_by_name(self) -> bool {
        matches!(self.facts().on_revocation, OnRevocation::IsAsked)
    }

    /// Whether what it relays is charged to the budget.
    pub const fn is_metered(self) -> bool {
        !matches!(self.facts().charged, Charged::Nothing)
    }

    /// Whether its credentials live as long as it says, whatever was asked.
    pub const fn decides_life(self) -> bool {
        matches!(self.facts().life, DecidedBy::Source)
    }

    /// Whether its grants are credentials.
    pub const fn issues_credentials(self) -> bool {
        matches!(self.facts().grants, GrantsAre::Credentials)
    }
}
