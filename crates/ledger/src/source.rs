//! What is charged to the budget: the ICE sources that can be configured, and the SFU. Tests: `src/ledger_tests.rs`.
//! Their names appear in settings, responses and stored rows.

use std::time::Duration;

use crate::units::clock::REFERENCE_DIFFERENCE_TOLERATED;

/// The most time between a request and the credential: the provider's deadline, rounded up to a whole second.
pub const MINT_SLACK: Duration = Duration::from_secs(4);

/// The relay of this process relays for at most this long after the last write of its count.
pub const UNWRITTEN_MAX: Duration = Duration::from_secs(4);

/// One entry of `ICE_SOURCES`, or the SFU. The wire and the log use the name of the setting.
#[derive(
    Clone,
    Copy,
    Debug,
    PartialEq,
    Eq,
    PartialOrd,
    Ord,
    Hash,
    serde::Serialize,
    serde::Deserialize,
    strum::Display,
    strum::EnumString,
    strum::IntoStaticStr,
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

impl IceSource {
    /// All sources, in the order of the documentation.
    pub const ALL: [Self; 7] =
        [Self::Cloudflare, Self::Coturn, Self::Http, Self::Relay, Self::Manual, Self::Stun, Self::Sfu];
    /// Those that `ICE_SOURCES` can name.
    pub const NAMED: [Self; 6] =
        [Self::Cloudflare, Self::Coturn, Self::Http, Self::Relay, Self::Manual, Self::Stun];

    /// The name in settings, answers and logs.
    pub fn name(self) -> &'static str {
        self.into()
    }

    /// How long relaying may outlive a credential: a TURN server checks the credential when an allocation is made, and
    /// a running allocation may be refreshed. coturn 4.6 never cuts one (measured); Cloudflare does after about two
    /// hours (reported by others). Of another provider nothing is known. Our own relay cuts at expiry. The SFU ends a session only when its
    /// page leaves, so the broker ends the others: the tail is the longest absence of the broker that a promise covers.
    pub const fn expiry_tail(self) -> Duration {
        match self {
            Self::Cloudflare | Self::Coturn | Self::Http => Duration::from_secs(7_200),
            Self::Sfu => Duration::from_secs(300),
            Self::Relay | Self::Manual | Self::Stun => Duration::ZERO,
        }
    }

    /// Whether its count comes from another party, which can be wrong. Others are counted here.
    pub const fn is_counted_by_provider(self) -> bool {
        matches!(self, Self::Cloudflare | Self::Sfu)
    }

    /// By how much the clock of the provider that counts may differ from ours, in both directions. A promise is that much longer at each end.
    pub const fn clocks_differ_by(self) -> Duration {
        if self.is_counted_by_provider() { REFERENCE_DIFFERENCE_TOLERATED } else { Duration::ZERO }
    }

    /// Whether it counts each grant. Where such counts are sampled, a grant is asked for alone before it is judged.
    pub const fn counts_grants(self) -> bool {
        matches!(self, Self::Cloudflare | Self::Relay | Self::Coturn)
    }

    /// Whether what it counts of a grant are relayed bytes alone. coturn's counts are late by many packets, which are estimated; a session of
    /// the SFU has a rate of its own.
    pub const fn counts_grants_exactly(self) -> bool {
        matches!(self, Self::Cloudflare | Self::Relay)
    }

    /// Whether it refuses the credential of a revoked grant from then on, and ends what runs with it. coturn and Cloudflare accept
    /// a credential until it expires: a session that was ended can begin again.
    pub const fn refuses_revoked(self) -> bool {
        matches!(self, Self::Relay)
    }

    /// Whether it is asked to revoke a credential by its user name.
    pub const fn revokes_by_name(self) -> bool {
        matches!(self, Self::Cloudflare)
    }

    /// Whether another party chooses the user names of its credentials. The broker's own names say which grant they are of.
    pub const fn chooses_names(self) -> bool {
        matches!(self, Self::Cloudflare | Self::Http)
    }

    /// Whether what it relays is charged to the budget.
    pub const fn is_metered(self) -> bool {
        matches!(self, Self::Cloudflare | Self::Coturn | Self::Http | Self::Relay | Self::Sfu)
    }

    /// Whether its credentials live as long as it says, whatever was asked. So strict mode admits them whole or not at all.
    pub const fn decides_life(self) -> bool {
        matches!(self, Self::Http)
    }

    /// Whether its grants are credentials.
    pub const fn issues_credentials(self) -> bool {
        !matches!(self, Self::Sfu)
    }
}
