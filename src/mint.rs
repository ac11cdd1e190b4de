//! The mint, a request's way through the broker: asks the sources in the order of `ICE_SOURCES` and always has an answer, at last public STUN servers.
//! A metered source is asked only under a reservation; it is committed before the answer leaves and given back when
//! the source fails. Once the budget has refused, no metered source is asked any more for this request.

use std::sync::Arc;
use std::time::Duration;

use crate::account::{Account, NotCommitted, RenewalRight};
use crate::budget::grant::{Grant, GrantId, GrantKey};
use crate::budget::issued::Issued;
use crate::budget::verdict::Refusal;
use crate::clock::Clock;
use crate::config::LimitAction;
use crate::ice::IceSource;
use crate::ice::breaker::{BreakerState, SharedBreaker};
use crate::ice::cloudflare::{Cloudflare, DEADLINE, ProviderError};
use crate::ice::coturn::Coturn;
use crate::ice::relay::EmbeddedRelay;
use crate::ice::server::IceServerList;
use crate::telemetry::cause::innermost;
use crate::telemetry::log::Throttle;
use crate::telemetry::metrics::Metrics;
use crate::units::Timestamp;

/// A credential may be made so long after we asked: the provider's deadline, up to a whole second.
pub const MINT_SLACK: Duration = Duration::from_secs(DEADLINE.as_secs() + 1);
/// A provider that fails is written about once in this time.
const FAILURE_LOG_WINDOW: Duration = Duration::from_secs(10);

/// Why an answer does not come from the first source.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DegradedReason {
    /// The first source has no settings.
    NotConfigured,
    /// The kill switch is on, or the grant that renews was revoked meanwhile.
    Disabled,
    /// The source failed, or its breaker is open.
    ProviderUnavailable,
    /// The budget is spent.
    BudgetExhausted,
    /// The ledger cannot be written.
    LedgerUnavailable,
}

impl DegradedReason {
    /// All of them.
    pub const ALL: [Self; 5] = [
        Self::NotConfigured,
        Self::Disabled,
        Self::ProviderUnavailable,
        Self::BudgetExhausted,
        Self::LedgerUnavailable,
    ];

    /// The name on the wire.
    #[must_use]
    pub const fn code(self) -> &'static str {
        match self {
            Self::NotConfigured => "NOT_CONFIGURED",
            Self::Disabled => "DISABLED",
            Self::ProviderUnavailable => "PROVIDER_UNAVAILABLE",
            Self::BudgetExhausted => "BUDGET_EXHAUSTED",
            Self::LedgerUnavailable => "LEDGER_UNAVAILABLE",
        }
    }
}

/// What a client wants.
#[derive(Clone, Copy, Debug)]
pub struct Order<'a> {
    /// Life; the budget may make it shorter.
    pub ttl: Duration,
    /// The id of the grant that comes of it.
    pub grant: GrantId,
    /// The right that is used up if it does.
    pub renewal: Option<&'a RenewalRight>,
}

/// Why there is no answer with ICE servers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NoAnswer {
    /// The budget has no room.
    Refused(Refusal),
    /// The ledger cannot be written.
    NotRecorded,
}

/// A credential that was made for this request.
#[derive(Clone, Debug)]
pub struct Minted {
    /// The servers, credential included.
    pub ice_servers: IceServerList,
    /// Who made it.
    pub source: IceSource,
    /// Life, whole seconds.
    pub ttl: Duration,
    /// When the source was asked: the earliest that its life can have begun.
    pub issued_at: Timestamp,
    /// `issued_at + ttl`.
    pub expires_at: Timestamp,
    /// From when on a renewal makes sense: three quarters of its life.
    pub refresh_after: Timestamp,
    /// The grant's id, for logs.
    pub grant: GrantId,
    /// The signed token. A secret of the client's: never logged.
    pub token: String,
    /// Why the first source did not serve, if it did not.
    pub degraded: Option<DegradedReason>,
}

/// An answer with ICE servers.
#[derive(Clone, Debug)]
pub enum Answer {
    /// A credential.
    Minted(Box<Minted>),
    /// Public STUN servers; degraded unless STUN is the first source.
    Stun(Option<DegradedReason>),
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
    Ready(Maker),
    /// It has no settings.
    Absent,
    /// Nothing to ask, and the end of the way.
    Stun,
}

/// Who makes credentials, with what it takes to ask.
#[derive(Debug)]
pub enum Maker {
    /// Minted over the API.
    Cloudflare {
        /// The key.
        api: Cloudflare,
        /// Keeps us from asking in vain.
        breaker: SharedBreaker,
    },
    /// Computed here.
    Coturn(Coturn),
    /// Computed here, for the relay in this process.
    Relay(EmbeddedRelay),
    /// A fixed list.
    Manual(IceServerList),
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
    /// Counters.
    pub metrics: Arc<Metrics>,
    /// Keeps failure lines few.
    pub failure_log: Throttle,
}

impl Mint {
    /// A throttle for [`Self::failure_log`].
    #[must_use]
    pub const fn failure_log() -> Throttle {
        Throttle::new(FAILURE_LOG_WINDOW)
    }

    /// An answer for one client: a credential of that life from the first source that can give one.
    pub async fn answer(&self, order: &Order<'_>) -> Result<Answer, NoAnswer> {
        if !self.enabled || self.account.is_frozen() {
            return Ok(Answer::Stun(Some(DegradedReason::Disabled)));
        }
        let mut reason = None;
        let mut metered_is_closed = false;
        for source in &self.sources {
            let maker = match source {
                Source::Ready(maker) => maker,
                Source::Absent => {
                    reason = reason.or(Some(DegradedReason::NotConfigured));
                    continue;
                }
                Source::Stun => break,
            };
            if metered_is_closed && maker.name().is_metered() {
                continue;
            }
            match self.ask(maker, order).await {
                Ok(minted) => return Ok(Answer::Minted(Box::new(Minted { degraded: reason, ..minted }))),
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

    /// Asks the provider to revoke a credential, or says whether it is ended here. It may go on working for a while: nothing
    /// is given back for it.
    pub async fn revoke(&self, issued: &Issued) -> Revocation {
        match (issued.source, issued.username.as_deref()) {
            (IceSource::Cloudflare, Some(username)) => self.revoke_at_cloudflare(username).await,
            (source, _) if self.cut_here.contains(&source) => Revocation::Cut,
            _ => Revocation::Unsupported,
        }
    }

    async fn revoke_at_cloudflare(&self, username: &str) -> Revocation {
        let Some((api, _)) = self.cloudflare() else { return Revocation::Unsupported };
        match api.revoke(username).await {
            Ok(true) => Revocation::Done,
            Ok(false) => Revocation::Unknown,
            Err(error) => {
                tracing::warn!(outcome = error.outcome(), "Cloudflare did not revoke: {error}");
                Revocation::Failed
            }
        }
    }

    /// Whether the provider mints, as far as its breaker tells; `None` where none is configured.
    #[must_use]
    pub fn provider_is_up(&self) -> Option<bool> {
        self.cloudflare().map(|(_, breaker)| breaker.state() == BreakerState::Closed)
    }

    /// The state of the provider's breaker.
    #[must_use]
    pub fn breaker_state(&self) -> BreakerState {
        self.cloudflare().map_or(BreakerState::Closed, |(_, breaker)| breaker.state())
    }

    fn cloudflare(&self) -> Option<(&Cloudflare, &SharedBreaker)> {
        self.sources.iter().find_map(|source| match source {
            Source::Ready(Maker::Cloudflare { api, breaker }) => Some((api, breaker)),
            Source::Ready(Maker::Coturn(_) | Maker::Relay(_) | Maker::Manual(_))
            | Source::Absent
            | Source::Stun => None,
        })
    }

    /// Reserve, ask, commit. Dropped anywhere before the commit, the reservation gives itself back.
    async fn ask(&self, maker: &Maker, order: &Order<'_>) -> Result<Minted, Skipped> {
        let (name, grant) = (maker.name(), order.grant);
        if !self.account.is_writable() && name.is_metered() {
            // Nobody is asked for what could not be handed out.
            return Err(Skipped::NotRecorded);
        }
        let reservation = self.account.reserve(name, order.ttl, MINT_SLACK).map_err(Skipped::Refused)?;
        let ttl = reservation.life();
        let issued_at = self.clock.now();
        let expires_at = issued_at.plus(ttl);
        let ice_servers = match maker {
            Maker::Cloudflare { api, breaker } => self.ask_cloudflare(api, breaker, ttl, grant).await?,
            Maker::Coturn(coturn) => coturn.credential(&grant.to_string(), expires_at),
            Maker::Relay(relay) => relay.credential(&grant.to_string(), expires_at),
            Maker::Manual(list) => list.clone(),
        };
        let at = reservation.at();
        let record = Grant { id: grant, source: name, issued_at: at, expires_at: at.plus(ttl) };
        reservation.commit(&record, ice_servers.username(), order.renewal).await.map_err(
            |why| match why {
                NotCommitted::NotRecorded(_) => Skipped::NotRecorded,
                NotCommitted::Stopped => Skipped::Stopped,
            },
        )?;
        let token = self.grant_key.sign(&record);
        let refresh_after = issued_at.plus(record.refresh_after().since(at));
        Ok(Minted {
            ice_servers,
            source: name,
            ttl,
            issued_at,
            expires_at,
            refresh_after,
            grant,
            token,
            degraded: None,
        })
    }

    async fn ask_cloudflare(
        &self,
        api: &Cloudflare,
        breaker: &SharedBreaker,
        ttl: Duration,
        grant: GrantId,
    ) -> Result<IceServerList, Skipped> {
        let Some(call) = breaker.admit() else {
            self.metrics.provider_skipped("breaker_open");
            return Err(Skipped::Unavailable);
        };
        let started = self.clock.instant();
        let result = api.mint(ttl, &grant.to_string()).await;
        let took = self.clock.instant().saturating_duration_since(started);
        let outcome = result.as_ref().map_or_else(ProviderError::outcome, |_| "minted");
        self.metrics.provider_call(outcome, took);
        call.finish(result.is_ok());
        result.map_err(|error| {
            self.log_failure(&error);
            Skipped::Unavailable
        })
    }

    fn log_failure(&self, error: &ProviderError) {
        if let Some(held_back) = self.failure_log.pass(self.clock.instant()) {
            let cause = innermost(error);
            tracing::warn!(outcome = error.outcome(), cause, held_back, "Cloudflare did not mint: {error}");
        }
    }
}

impl Maker {
    /// Which entry of `ICE_SOURCES`.
    #[must_use]
    pub const fn name(&self) -> IceSource {
        match self {
            Self::Cloudflare { .. } => IceSource::Cloudflare,
            Self::Coturn(_) => IceSource::Coturn,
            Self::Relay(_) => IceSource::Relay,
            Self::Manual(_) => IceSource::Manual,
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
