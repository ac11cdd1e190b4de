//! The mint: calls the sources in the order of `ICE_SOURCES` until one issues a credential. If none does, a relay that fails the broker's
//! probes gets one. Without such a relay, the response has public STUN servers only. A metered source is called only under a reservation.
//! The reservation is committed before the response is sent, and released when the source fails. Once the budget has refused, no metered
//! source is called for this request.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use crate::account::{Account, RenewalRight};
use crate::alert::{MintFacts, StopCode};
use crate::ice::{BreakerState, Candidate, Fit, Fleet, KeyName, OwnRelay, RelayState, TurnKey, UrlChoice};
use turn_base::{NoRandomness, random};
use turn_ledger::{
    Books, ClientKey, EndedBy, Grant, GrantId, GrantRow, IceSource, NotAdmitted, Requester, Spender,
    Timestamp,
};

mod answer;
pub mod credential_source;
pub mod ending;
pub mod pool;
pub mod provider;
mod revocation;
pub mod token;

pub use answer::{IceResponse, IssuedCredential};
use credential_source::Minted;
pub use credential_source::{CredentialSource, HttpSource};
pub use ending::Ending;
pub use pool::{Moment, Pool, PoolCounts, PooledCredential};
use provider::Filled;
pub use provider::{Provider, ProviderFailure};
pub use revocation::{Revocation, RevokedAll, why_failed};
pub use token::{GrantKeys, GrantToken};

/// How often the pool is checked for missing credentials.
const FILL_INTERVAL: Duration = Duration::from_secs(1);
/// The interval after all calls for the pool have failed.
const FILL_PAUSE: Duration = Duration::from_secs(10);
/// The pause between two probes of a provider that does not mint.
const PROBE_PAUSE: Duration = Duration::from_secs(60);

/// A client's request for a credential.
#[derive(Debug)]
pub struct MintRequest {
    /// Requested lifetime. The budget may shorten it.
    pub ttl: Duration,
    /// The id of the new grant. A credential that was minted ahead has its own.
    pub grant: GrantId,
    /// Who asks, and who spends what the credential relays.
    pub requester: Requester,
    /// Where the credential should relay.
    pub place: Place,
    /// The right to renew, if this is a renewal. The commit consumes it.
    pub renewal: Option<RenewalRight>,
    /// Whether nobody gets the credential, because it only prolongs a call. The call stays on the relay of the grant that is renewed,
    /// whatever the state of that relay.
    pub stays: bool,
}

impl MintRequest {
    /// A request for a credential of any key, with an id for its grant.
    pub fn new(now: Timestamp, requester: Requester, ttl: Duration) -> Result<Self, NoRandomness> {
        Ok(Self { ttl, grant: new_id(now)?, requester, place: Place::default(), renewal: None, stays: false })
    }
}

/// Where a caller wants to relay.
#[derive(Clone, Debug, Default)]
pub struct Place {
    /// The TURN key that should mint.
    pub turn_key: Option<KeyName>,
    /// The host or the region of the own relays that should serve.
    pub region: Option<Box<str>>,
    /// The host of an own relay that the page could not use.
    pub failed: Option<Box<str>>,
}

/// The client at this address, which asks for itself.
pub fn client_at(address: IpAddr, spender: Option<Arc<Spender>>) -> Requester {
    let client = Some(ClientKey::of(address));
    // The key of an IPv4 client is its whole address already.
    let address = match address {
        IpAddr::V6(address) => Some(address),
        IpAddr::V4(_) => None,
    };
    Requester { client, address, spender, ..Requester::default() }
}

/// An id for a grant.
fn new_id(now: Timestamp) -> Result<GrantId, NoRandomness> {
    Ok(GrantId::at(now, random::bytes()?))
}

/// An entry of `ICE_SOURCES`.
pub enum Source {
    /// Configured.
    Ready(CredentialSource),
    /// Listed, but not configured.
    Absent,
    /// Public STUN servers. They need no call. Entries after this one are not used.
    Stun,
}

impl Source {
    /// The source, if it is configured.
    const fn ready(&self) -> Option<&CredentialSource> {
        match self {
            Self::Ready(credentials) => Some(credentials),
            Self::Absent | Self::Stun => None,
        }
    }

    /// The operator's own relays, if this is coturn.
    const fn fleet(&self) -> Option<&Fleet> {
        match self {
            Self::Ready(CredentialSource::Coturn(fleet)) => Some(fleet),
            _ => None,
        }
    }
}

/// The mint with all its sources.
pub struct Mint {
    /// The kill switch: with `false`, new callers get STUN only.
    pub enabled: bool,
    /// In the order of `ICE_SOURCES`.
    pub sources: Vec<Source>,
    /// How many URLs of a source a response has.
    pub urls: UrlChoice,
    /// Sources whose sessions this process ends, each once its grant has expired or is revoked.
    pub cut_here: Vec<IceSource>,
    /// Whether the next unmetered source is used when the budget refuses.
    pub falls_back: bool,
    /// The ledger, for reservations.
    pub account: Arc<Account>,
    /// Signs grant tokens.
    pub grant_keys: GrantKeys,
}

impl Mint {
    /// Mints for one client: a credential from the first source that can issue one, else for a relay that only fails the probes, else STUN
    /// servers. An error for a caller who is blocked
    /// or over a limit of its own, and unless it `falls_back` also if the books refuse. Blocks and a freeze are checked first: a
    /// blocked caller gets no STUN servers either, and a frozen mint asks no source.
    pub async fn answer(&self, request: &MintRequest) -> Result<IceResponse, NotAdmitted> {
        if !self.enabled || self.ready().next().is_none() {
            // No source asks this.
            match self.account.read(|books| allowed(books, &request.requester)) {
                Err(blocked @ NotAdmitted::Blocked(_)) => return Err(blocked),
                Ok(()) if self.enabled => {}
                _ => return Ok(IceResponse::Stun(Some(StopCode::Disabled))),
            }
        }
        let (mut reason, mut is_used_up) = (None, false);
        let mut is_metered_refused = false;
        // The broker sees a relay from one place. So one that its probes do not reach is given when nothing else serves.
        let again = self.listed().filter(|source| source.fleet().is_some());
        let attempts = self.listed().map(|source| (source, RelayState::LastResort));
        for (source, worst) in attempts.chain(again.map(|source| (source, RelayState::Unreached))) {
            let Some(credentials) = source.ready() else {
                reason = reason.or(Some(StopCode::NotConfigured));
                continue;
            };
            if is_metered_refused && credentials.source().is_metered() {
                continue;
            }
            match self.try_source(credentials, request, worst).await {
                Ok(Some(mut minted)) => {
                    minted.degraded = reason.or(minted.degraded);
                    return Ok(IceResponse::Minted(Box::new(minted)));
                }
                // The relays have used what the operator lets them relay: no source has failed.
                Ok(None) if RelayState::are_used_up(&self.relay_states(credentials)) => is_used_up = true,
                Ok(None) => reason = reason.or(Some(StopCode::ProviderUnavailable)),
                Err(why) => match StopCode::of(&why) {
                    // In strict mode, a coturn gets no credentials while its sessions cannot be ended, so it counts as failed.
                    Some(code @ StopCode::ProviderUnavailable) => reason = reason.or(Some(code)),
                    Some(code @ StopCode::Frozen) => return Ok(IceResponse::Stun(Some(code))),
                    Some(code) if self.falls_back => {
                        is_metered_refused = true;
                        // This reason replaces that of an earlier source, because the operator can act on this one.
                        reason = Some(code);
                    }
                    // A caller that is blocked, or has no room in its own limit, gets no fallback.
                    _ => return Err(why),
                },
            }
        }
        let used_up = is_used_up.then_some(StopCode::BudgetExhausted);
        Ok(IceResponse::Stun(reason.or(used_up)))
    }

    /// Renews for a member of a call the last grant of the chain that begins with `grant`, if that is due and this process ends the
    /// sessions of its source. The budget decides, as about every renewal. Nobody gets the new credential: the allocations of the renewed
    /// one go on.
    pub async fn renew_member(&self, grant: GrantId, ttl: Duration) {
        if !self.ready().any(|source| self.cut_here.contains(&source)) || self.is_stopped() {
            return;
        }
        let Some((right, row)) = self.account.take_member_renewal(grant) else { return };
        let is_its =
            |it: &&CredentialSource| it.source() == row.source && self.cut_here.contains(&row.source);
        let Some(credentials) = self.sources.iter().filter_map(Source::ready).find(is_its) else { return };
        let now = self.account.read(Books::now);
        let Ok(request) = MintRequest::new(now, row.requester(), ttl) else { return };
        let request = MintRequest { renewal: Some(right), stays: true, ..request };
        // If the renewal is refused, the right is given back, and the next check tries again.
        let _ = self.try_source(credentials, &request, RelayState::LastResort).await;
    }

    /// Whether minting is stopped, by configuration or by override.
    fn is_stopped(&self) -> bool {
        !self.enabled || self.account.read(Books::is_frozen)
    }

    /// Keeps the pools filled with credentials for expected callers.
    pub async fn fill_pool(&self) {
        let Some(provider) = self.provider() else { return };
        loop {
            let may_mint = !self.is_stopped() && self.account.is_writable();
            let filled = if may_mint { provider.fill().await } else { Filled::default() };
            match pause_after(filled) {
                // After a failure, further callers are no reason to hurry.
                FILL_PAUSE => tokio::time::sleep(FILL_PAUSE).await,
                pause => provider.wait_for_demand(pause).await,
            }
        }
    }

    /// Tests Cloudflare after the start, and each provider again while it does not mint. So without a caller, the operator learns of a
    /// wrong key or token, and the broker learns that a provider works again. Mints nothing while minting is stopped.
    pub async fn probe(&self) {
        loop {
            if !self.is_stopped() {
                self.probe_providers().await;
            }
            tokio::time::sleep(PROBE_PAUSE).await;
        }
    }

    /// Tests each provider once, if that is due. The test cannot be left to callers: they may never reach a provider that is not the first.
    pub async fn probe_providers(&self) {
        for credentials in self.sources.iter().filter_map(Source::ready) {
            if let Some(provider) = credentials.provider()
                && (credentials.source() == IceSource::Cloudflare || !provider.is_up())
            {
                provider.probe().await;
            }
        }
    }

    /// Why none of the metered sources mints. `None` if one does, as far as is known.
    fn stop_of_sources(&self) -> Option<StopCode> {
        let listed = self.listed().filter_map(Source::ready);
        let (metered, others): (Vec<_>, Vec<_>) = listed.partition(|it| it.source().is_metered());
        if metered.is_empty() {
            return Some(StopCode::NotConfigured);
        }
        let worst = if others.is_empty() { RelayState::Unreached } else { RelayState::LastResort };
        let mut is_used_up = true;
        for credentials in metered {
            let states = self.relay_states(credentials);
            let mints = match credentials.provider() {
                Some(provider) => provider.is_up(),
                None => states.is_empty() || states.iter().any(|state| *state <= worst),
            };
            if mints {
                return None;
            }
            is_used_up &= RelayState::are_used_up(&states);
        }
        Some(if is_used_up { StopCode::BudgetExhausted } else { StopCode::ProviderUnavailable })
    }

    /// The states of the relays of a source. Empty if it has none of the operator's own.
    fn relay_states(&self, credentials: &CredentialSource) -> Vec<RelayState> {
        let CredentialSource::Coturn(fleet) = credentials else { return vec![] };
        self.account.read(|books| fleet.0.iter().map(|relay| relay.state(books)).collect())
    }

    /// What decides, besides the books, whether a metered credential is issued.
    pub fn facts(&self) -> MintFacts {
        let is_unwritable = !self.account.is_writable();
        let failure = if is_unwritable { self.account.ledger_failure() } else { self.provider_cause() };
        let (sources, paused_until) = (self.stop_of_sources(), self.paused_until());
        MintFacts { is_disabled: !self.enabled, is_unwritable, sources, failure, paused_until }
    }

    /// What is known of why a provider does not mint, in sentences; empty if nothing.
    pub fn provider_cause(&self) -> String {
        let why =
            |ProviderFailure { provider, what, remedy }| format!("{provider}: {what}. To fix it, {remedy}.");
        let cause = self.provider_failure().or_else(|| self.fleet_failure()).map(why);
        let pause = self.paused_until().map(|until| {
            format!("A pause was requested until {until}; one request each 10 s tries whether it is over.")
        });
        cause.into_iter().chain(pause).collect::<Vec<_>>().join(" ")
    }

    /// When the pause ends that a provider asks for, if it mints nothing meanwhile.
    fn paused_until(&self) -> Option<Timestamp> {
        self.providers().find_map(|provider| provider.paused_until())
    }

    /// Whether all providers mint and at least one of the operator's own relays works, as far as is known. `None` if no provider is
    /// configured, and no fleet is down.
    pub fn provider_is_up(&self) -> Option<bool> {
        let fleet = if self.fleet().is_some_and(Fleet::is_down) { Some(false) } else { None };
        self.providers().map(|provider| provider.is_up()).chain(fleet).reduce(|all, one| all && one)
    }

    /// Why a provider does not mint, as far as is known.
    pub fn provider_failure(&self) -> Option<ProviderFailure> {
        self.providers().find_map(|provider| provider.failure())
    }

    /// Whether a provider is configured that mints over the network.
    pub fn has_provider(&self) -> bool {
        self.providers().next().is_some()
    }

    /// Why none of the operator's own relays gets credentials. `None` if one does, or if there are no such relays.
    fn fleet_failure(&self) -> Option<ProviderFailure> {
        let down = self.fleet().filter(|fleet| fleet.is_down())?.down().join("; ");
        let remedy = "start coturn, and open its UDP ports also for this machine, or set RELAY_PROBE=off if clients reach it";
        let what = format!("no relay answers the broker's probes ({down})");
        Some(ProviderFailure { provider: IceSource::Coturn.name(), what, remedy })
    }

    /// The operator's own relays, if coturn is among the configured sources.
    pub fn fleet(&self) -> Option<&Fleet> {
        self.sources.iter().find_map(Source::fleet)
    }

    /// The sources before public STUN servers.
    fn listed(&self) -> impl Iterator<Item = &Source> {
        self.sources.iter().take_while(|source| !matches!(source, Source::Stun))
    }

    /// The sources that have their settings.
    pub fn ready(&self) -> impl Iterator<Item = IceSource> {
        self.sources.iter().filter_map(Source::ready).map(CredentialSource::source)
    }

    /// Whether this process ends the sessions of coturn; `None` if coturn does not mint.
    pub fn cuts_coturn(&self) -> Option<bool> {
        let coturn = self.ready().find(|source| source.facts().ended_by == EndedBy::CommandLine)?;
        Some(self.cut_here.contains(&coturn))
    }

    /// The TURN keys that mint. Empty without Cloudflare.
    pub fn turn_keys(&self) -> &[Arc<TurnKey>] {
        self.provider().map_or(&[], |provider| &provider.keys)
    }

    /// The [breaker state](Provider::breaker_state) of the provider that lets fewest calls pass.
    pub fn breaker_state(&self) -> BreakerState {
        let states = self.providers().map(|provider| provider.breaker_state());
        states.max_by_key(|state| state.gauge()).unwrap_or(BreakerState::Closed)
    }

    /// Counts of the pool.
    pub fn pool_counts(&self) -> PoolCounts {
        self.provider().map(|provider| provider.pool_counts()).unwrap_or_default()
    }

    /// Cloudflare, if it is configured.
    pub fn provider(&self) -> Option<&Arc<Provider>> {
        self.sources.iter().filter_map(Source::ready).find_map(|credentials| match credentials {
            CredentialSource::Cloudflare(provider) => Some(provider),
            _ => None,
        })
    }

    /// All providers that mint over the network.
    fn providers(&self) -> impl Iterator<Item = &Arc<Provider>> {
        self.sources.iter().filter_map(Source::ready).filter_map(CredentialSource::provider)
    }

    /// Reserve, mint, commit. A reservation that is dropped before the commit is released. `None`: the source failed, its breaker is
    /// open, or none of its relays is in the state `worst` or a better one.
    async fn try_source(
        &self,
        credentials: &CredentialSource,
        request: &MintRequest,
        worst: RelayState,
    ) -> Result<Option<IssuedCredential>, NotAdmitted> {
        let source = credentials.source();
        let renewal = request.renewal.as_ref();
        let requester =
            Requester { renews: renewal.map(|right| right.grant.id), ..request.requester.clone() };
        let assumed_life = credentials.works_for(request.ttl);
        let reserved = self.account.reserve(source, assumed_life, requester, |books, requester| {
            allowed(books, requester)?;
            if source.is_metered() && !self.account.is_writable() {
                // A credential that cannot be recorded must not be handed out.
                return Err(NotAdmitted::NotRecorded);
            }
            let found = relay_for(books, credentials, request, worst);
            requester.issuer = found.and_then(|(relay, _)| relay?.owner.issuer);
            Ok(found)
        })?;
        let Some((reservation, (relay, is_elsewhere))) = reserved else {
            // No relay serves. A refusal of the budget is the first reason to give, as in `crate::alert::minting`.
            return self.account.refusal().map_or(Ok(None), Err);
        };
        let issued_at = reservation.earliest();
        let minted = credentials.mint(request, relay, reservation.life, issued_at).await;
        let Some(Minted { ice_servers, grant, issuer, life, works_for }) = minted else { return Ok(None) };
        // The answer of the source says how long the credential works.
        let reservation = reservation.lasting(source, works_for)?;
        // The operator has chosen the URLs of the source `manual`.
        let urls = if source == IceSource::Manual { UrlChoice::All } else { self.urls };
        let ice_servers = ice_servers.choose(urls);
        // The record has the books' time. The response has `issued_at`, which may be earlier.
        let reserved_at = reservation.at();
        let record = Grant { id: grant, source, issued_at: reserved_at, expires_at: reserved_at.plus(life) };
        reservation.commit(&record, issuer, ice_servers.username(), renewal).await?;
        let token = self.grant_keys.sign(&record);
        let refresh_after = issued_at.plus(record.refresh_after().since(reserved_at));
        Ok(Some(IssuedCredential {
            ice_servers,
            source,
            ttl: life,
            issued_at,
            expires_at: issued_at.plus(life),
            refresh_after,
            grant,
            token,
            degraded: is_elsewhere.then_some(StopCode::ProviderUnavailable),
        }))
    }
}

/// Refuses a requester who is blocked, and everybody while the operator has stopped all minting.
fn allowed(books: &Books, requester: &Requester) -> Result<(), NotAdmitted> {
    let stopped = if books.is_frozen() { Some(NotAdmitted::Stopped) } else { None };
    books.block_of(requester).or(stopped).map_or(Ok(()), Err)
}

/// The operator's relay that the next credential names, if its source has such relays, and whether the relay is in another region than asked
/// for. `None` if none is in the state `worst` or a better one. Adds the load that the credential is expected to cause to the relay, unless
/// the call stays there.
fn relay_for<'a>(
    books: &Books,
    credentials: &'a CredentialSource,
    request: &MintRequest,
    worst: RelayState,
) -> Option<(Option<&'a OwnRelay>, bool)> {
    let CredentialSource::Coturn(fleet) = credentials else { return Some((None, false)) };
    let renewed = request.renewal.as_ref().map(|right| right.grant.id);
    let preferred = renewed.and_then(|id| books.grants().get(id)).map(GrantRow::owner);
    if request.stays {
        let relay = fleet.0.iter().find(|relay| Some(relay.owner) == preferred)?;
        return Some((Some(relay), false));
    }
    let Place { region, failed, .. } = &request.place;
    let candidate = |relay: &OwnRelay| Candidate {
        fit: Fit {
            state: relay.state(books),
            has_failed: failed.as_ref().is_some_and(|host| relay.host == **host),
            is_elsewhere: region.as_ref().is_some_and(|region| !relay.is_named(region)),
        },
        bytes_per_second: relay.load(books),
    };
    let candidates: Vec<_> = fleet.0.iter().map(candidate).collect();
    // The last bytes of an id are random.
    let random = request.grant.as_bytes().last_chunk().map_or(0, |last| u64::from_be_bytes(*last));
    let (relay, fit) = fleet.choose(&candidates, worst, preferred, random)?;
    relay.expect(books.budget().assumed_rate().per_minute() / 60, books.now());
    Some((Some(relay), fit.is_elsewhere))
}

/// Pause before the next check of the pool: none while every call succeeds, because the pool may want more.
fn pause_after(filled: Filled) -> Duration {
    match filled {
        Filled { minted: 1.., failed: 0 } => Duration::ZERO,
        Filled { minted: 0, failed: 1.. } => FILL_PAUSE,
        _ => FILL_INTERVAL,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_pool_is_filled_without_pause_until_full_and_rarely_while_all_calls_fail() {
        for (minted, failed, pause) in
            [(0, 0, FILL_INTERVAL), (16, 0, Duration::ZERO), (15, 1, FILL_INTERVAL), (0, 16, FILL_PAUSE)]
        {
            assert_eq!(pause_after(Filled { minted, failed }), pause, "{minted} minted, {failed} failed");
        }
    }
}
