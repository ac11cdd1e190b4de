//! The mint, a request's way through the broker: asks the sources in the order of `ICE_SOURCES` and always has an answer,
//! at last public STUN servers.
//! A metered source is asked only under a reservation; it is committed before the answer leaves and given back when
//! the source fails. Once the budget has refused, no metered source is asked any more for this request.

use std::sync::Arc;
use std::time::Duration;

use tokio_util::sync::CancellationToken;

use crate::account::{Account, RenewalRight};
use crate::clock::Clock;
use crate::config::LimitAction;
use crate::ice::breaker::BreakerState;
use turn_ledger::books::NotCommitted;
use turn_ledger::grants::GrantRow;
use turn_ledger::source::{IceSource, MINT_SLACK};
use turn_ledger::token::{Grant, GrantId, GrantKey};
use turn_ledger::verdict::Refusal;

mod answer;
pub mod credential_source;
pub mod pool;
pub mod provider;

pub use answer::{Answer, DegradedReason, IssuedCredential, NoAnswer};
use credential_source::{CredentialSource, Minted};
use pool::PoolCounts;
use provider::{Filled, Provider, Unavailable};

/// How often somebody looks whether credentials are to be minted ahead.
const FILL_INTERVAL: Duration = Duration::from_secs(1);
/// The same where all calls for them have failed.
const FILL_PAUSE: Duration = Duration::from_secs(10);

/// What a client wants.
#[derive(Clone, Copy, Debug)]
pub struct MintRequest<'a> {
    /// Life; the budget may make it shorter.
    pub ttl: Duration,
    /// The id of the grant that comes of it, if its credential is made now: one that lay ready has its own.
    pub grant: GrantId,
    /// The right that is used up if it does.
    pub renewal: Option<&'a RenewalRight>,
}

/// What became of asking a provider to revoke a credential.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Revocation {
    /// It did, as far as it says.
    Done,
    /// It does not know the credential (any more).
    Unknown,
    /// It could not be asked, or would not.
    Failed,
    /// The source cannot, but the sessions are ended within seconds, and whenever there are new ones.
    Cut,
    /// The source has no such thing.
    Unsupported,
}

impl Revocation {
    /// Each of them.
    pub const ALL: [Self; 5] = [Self::Done, Self::Unknown, Self::Failed, Self::Cut, Self::Unsupported];

    /// The name on the wire.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Done => "revoked",
            Self::Unknown => "unknown",
            Self::Failed => "failed",
            Self::Cut => "cut",
            Self::Unsupported => "unsupported",
        }
    }
}

/// An entry of `ICE_SOURCES`.
#[derive(Debug)]
pub enum Source {
    /// It can be asked.
    Ready(CredentialSource),
    /// It has no settings.
    Absent,
    /// Nothing to ask, and the end of the way.
    Stun,
}

/// See the module's invariant.
#[derive(Debug)]
pub struct Mint {
    /// The kill switch: `false` answers STUN only.
    pub enabled: bool,
    /// In order.
    pub sources: Vec<Source>,
    /// Whose sessions this process ends when their grant is over, or revoked.
    pub cut_here: Vec<IceSource>,
    /// What to do when the budget is spent.
    pub limit_action: LimitAction,
    /// Where reservations come from.
    pub account: Arc<Account>,
    /// Signs grant tokens.
    pub grant_key: Arc<GrantKey>,
    /// Time.
    pub clock: Arc<dyn Clock>,
}

impl Mint {
    /// An answer for one client: a credential of that life from the first source that can give one.
    pub async fn answer(&self, request: &MintRequest<'_>) -> Result<Answer, NoAnswer> {
        if self.is_stopped() {
            return Ok(Answer::Stun(Some(DegradedReason::Disabled)));
        }
        let mut reason = None;
        let mut metered_is_closed = false;
        for source in &self.sources {
            let credentials = match source {
                Source::Ready(credentials) => credentials,
                Source::Absent => {
                    reason = reason.or(Some(DegradedReason::NotConfigured));
                    continue;
                }
                Source::Stun => break,
            };
            if metered_is_closed && credentials.source().is_metered() {
                continue;
            }
            match self.try_source(credentials, request).await {
                Ok(minted) => {
                    return Ok(Answer::Minted(Box::new(IssuedCredential { degraded: reason, ..minted })));
                }
                Err(Skipped::Unavailable) => reason = reason.or(Some(DegradedReason::ProviderUnavailable)),
                Err(Skipped::Refused(refusal)) if self.limit_action == LimitAction::Refuse => {
                    return Err(NoAnswer::Refused(refusal));
                }
                Err(Skipped::Stopped) => return Ok(Answer::Stun(Some(DegradedReason::Disabled))),
                Err(Skipped::NotRecorded) if self.limit_action == LimitAction::Refuse => {
                    return Err(NoAnswer::NotRecorded);
                }
                Err(Skipped::NotRecorded) => {
                    metered_is_closed = true;
                    reason = Some(DegradedReason::LedgerUnavailable);
                }
                Err(Skipped::Refused(_)) => {
                    metered_is_closed = true;
                    // Of all reasons the one that the operator can do most about.
                    reason = Some(DegradedReason::BudgetExhausted);
                }
            }
        }
        Ok(Answer::Stun(reason))
    }

    /// The kill switch, by the configuration or by order.
    fn is_stopped(&self) -> bool {
        !self.enabled || self.account.is_frozen()
    }

    /// Asks the provider to revoke a credential, or says whether it is ended here. It may go on working for a while: nothing
    /// is given back for it.
    pub async fn revoke(&self, grant: &GrantRow) -> Revocation {
        match (grant.source, grant.username.as_deref(), self.provider()) {
            (IceSource::Cloudflare, Some(username), Some(provider)) => revoke_at(provider, username).await,
            (source, ..) if self.cut_here.contains(&source) => Revocation::Cut,
            _ => Revocation::Unsupported,
        }
    }

    /// Has credentials minted ahead of callers, as far as callers are to be expected, until `end`.
    pub async fn fill_pool(&self, end: &CancellationToken) {
        let Some(provider) = self.provider() else { return };
        let fill = async {
            loop {
                let may_mint = !self.is_stopped() && self.account.is_writable();
                let filled = if may_mint { provider.fill().await } else { Filled::default() };
                tokio::time::sleep(pause_after(filled)).await;
            }
        };
        tokio::select! {
            () = end.cancelled() => {}
            () = fill => {}
        }
    }

    /// Whether the provider mints, as far as its breaker tells; `None` where none is configured.
    #[must_use]
    pub fn provider_is_up(&self) -> Option<bool> {
        self.provider().map(|provider| provider.breaker_state() == BreakerState::Closed)
    }

    /// The state of the provider's breaker.
    #[must_use]
    pub fn breaker_state(&self) -> BreakerState {
        self.provider().map_or(BreakerState::Closed, |provider| provider.breaker_state())
    }

    /// How the pool of credentials fares that are minted ahead.
    #[must_use]
    pub fn pool_counts(&self) -> PoolCounts {
        self.provider().map(|provider| provider.pool_counts()).unwrap_or_default()
    }

    fn provider(&self) -> Option<&Arc<Provider>> {
        self.sources.iter().find_map(|source| match source {
            Source::Ready(CredentialSource::Cloudflare(provider)) => Some(provider),
            Source::Ready(
                CredentialSource::Coturn(_) | CredentialSource::Relay(_) | CredentialSource::Manual(_),
            )
            | Source::Absent
            | Source::Stun => None,
        })
    }

    /// Reserve, ask, commit. Dropped anywhere before the commit, the reservation gives itself back.
    async fn try_source(
        &self,
        credentials: &CredentialSource,
        request: &MintRequest<'_>,
    ) -> Result<IssuedCredential, Skipped> {
        let source = credentials.source();
        if !self.account.is_writable() && source.is_metered() {
            // Nobody is asked for what could not be handed out.
            return Err(Skipped::NotRecorded);
        }
        let reservation = self.account.reserve(source, request.ttl, MINT_SLACK).map_err(Skipped::Refused)?;
        let issued_at = self.clock.now();
        let minted = credentials.mint(request.grant, reservation.life(), issued_at).await;
        let Minted { ice_servers, grant, life } = minted.map_err(|Unavailable| Skipped::Unavailable)?;
        let at = reservation.at();
        let record = Grant { id: grant, source, issued_at: at, expires_at: at.plus(life) };
        reservation.commit(&record, ice_servers.username(), request.renewal).await.map_err(
            |why| match why {
                NotCommitted::NotRecorded(_) => Skipped::NotRecorded,
                NotCommitted::Stopped => Skipped::Stopped,
            },
        )?;
        let token = self.grant_key.sign(&record);
        let refresh_after = issued_at.plus(record.refresh_after().since(at));
        Ok(IssuedCredential {
            ice_servers,
            source,
            ttl: life,
            issued_at,
            expires_at: issued_at.plus(life),
            refresh_after,
            grant,
            token,
            degraded: None,
        })
    }
}

/// How long to wait before somebody looks again whether credentials are to be minted ahead.
fn pause_after(filled: Filled) -> Duration {
    match filled {
        Filled { came: 1.., failed: 0 } => Duration::ZERO,
        Filled { came: 0, failed: 1.. } => FILL_PAUSE,
        _ => FILL_INTERVAL,
    }
}

async fn revoke_at(provider: &Provider, username: &str) -> Revocation {
    match provider.revoke(username).await {
        Ok(true) => Revocation::Done,
        Ok(false) => Revocation::Unknown,
        Err(error) => {
            tracing::warn!(outcome = error.outcome(), "Cloudflare did not revoke: {error}");
            Revocation::Failed
        }
    }
}

/// Why a source gave nothing.
enum Skipped {
    /// It failed, or its breaker is open.
    Unavailable,
    Refused(Refusal),
    NotRecorded,
    Stopped,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_pool_is_filled_without_a_pause_until_all_is_there_and_seldom_where_all_calls_fail() {
        for (came, failed, pause) in
            [(0, 0, FILL_INTERVAL), (16, 0, Duration::ZERO), (15, 1, FILL_INTERVAL), (0, 16, FILL_PAUSE)]
        {
            assert_eq!(pause_after(Filled { came, failed }), pause, "{came} came, {failed} failed");
        }
    }
}
