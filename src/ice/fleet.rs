//! The operator's own relays, and which of them a credential names. [`Fleet::choose`] is pure: what is known of the relays and randomness are
//! arguments.

use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use tokio::net::lookup_host;
use tokio::time::{sleep, timeout};

use super::cloudflare::OWN_IDENTIFIERS;
use super::health::RelayHealth;
use super::rest::RestServer;
use super::server::IceServer;
use super::url::IceUrl;
use crate::config::CoturnRelay;
use turn_base::clock::Clock;
use turn_base::random;
use turn_ledger::CountOwner;
use turn_relay::client::{RelayError, relay_to_itself};

/// The time limit of a probe.
pub const PROBE_MAX: Duration = Duration::from_secs(4);
/// The lifetime of its credential: longer than clocks differ.
const PROBE_TTL: Duration = Duration::from_secs(3_600);

/// One relay.
#[derive(Debug)]
pub struct OwnRelay {
    /// Its host.
    pub host: String,
    /// Whose count has its bytes.
    pub owner: CountOwner,
    /// Computes credentials for it.
    pub server: RestServer,
    /// What the probes have shown.
    pub health: Mutex<RelayHealth>,
}

/// All relays, in the order of `COTURN_URLS`.
#[derive(Debug)]
pub struct Fleet(pub Vec<OwnRelay>);

/// Whether a relay can get new credentials.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum RelayState {
    /// Yes.
    Serves,
    /// Only while no other one serves: its sessions are not listed now, so nobody ends them.
    LastResort,
    /// No.
    Out,
}

impl OwnRelay {
    /// A relay of which nothing is known yet.
    pub fn new(config: &CoturnRelay) -> Self {
        let (host, server) = (config.host.clone(), config.server.clone());
        Self { host, owner: config.owner(), server, health: Mutex::default() }
    }

    /// `is_uncut`: whether its listings have stopped.
    pub fn state(&self, is_uncut: bool, is_strict: bool) -> RelayState {
        if !self.health.lock().is_up() {
            return RelayState::Out;
        }
        match (is_uncut, is_strict) {
            (false, _) => RelayState::Serves,
            (true, false) => RelayState::LastResort,
            (true, true) => RelayState::Out,
        }
    }
}

impl OwnRelay {
    /// Probes it again and again: an allocation, and a datagram through it to itself. A relay without a URL over UDP is not probed.
    pub async fn watch(&self, clock: &Arc<dyn Clock>) {
        let user = format!("{OWN_IDENTIFIERS}probe");
        loop {
            let began = clock.instant();
            let servers = self.server.credential(&user, clock.now().plus(PROBE_TTL));
            let Some((server, url)) = servers.udp_relays().next() else { return };
            if let Some(outcome) = probe(url, server).await {
                self.note(outcome, &**clock);
            }
            let random = random::bytes().map_or(0, u64::from_be_bytes);
            let pause = self.health.lock().pause(random);
            sleep(pause.saturating_sub(clock.instant().saturating_duration_since(began))).await;
        }
    }

    /// Takes the outcome of a probe.
    pub fn note(&self, outcome: Result<(), String>, clock: &dyn Clock) {
        let mut health = self.health.lock();
        if !health.note(outcome, clock.now()) {
            return;
        }
        if let Some(failure) = health.failure() {
            tracing::warn!(relay = self.host, "a relay gets no new credentials: {failure}");
        } else {
            tracing::info!(relay = self.host, "a relay gets new credentials again");
        }
    }
}

/// `None`: this machine has no way to the relay, so nothing is known of it.
async fn probe(url: &IceUrl, server: &IceServer) -> Option<Result<(), String>> {
    let (host, port) = (url.host().to_owned(), url.port());
    let [username, password] =
        [&server.username, &server.credential].map(|part| part.clone().unwrap_or_default());
    let relayed = async move {
        let Some(address) = lookup_host((host, port)).await.ok().and_then(|mut found| found.next()) else {
            return Err("its name has no address, or the resolver does not answer".to_owned());
        };
        match relay_to_itself(address, &username, &password, 1).await {
            Ok(_) => Ok(true),
            Err(RelayError::Unreachable) => Ok(false),
            Err(error) => Err(error.to_string()),
        }
    };
    // It releases its allocation also when nobody waits for it any more.
    match timeout(PROBE_MAX, tokio::spawn(relayed)).await {
        Ok(Ok(Ok(has_way))) => has_way.then_some(Ok(())),
        Ok(Ok(Err(failure))) => Some(Err(failure)),
        Ok(Err(_)) | Err(_) => Some(Err("no answer in time".to_owned())),
    }
}

impl Fleet {
    /// The relays that the probes have taken out, each with the reason.
    pub fn down(&self) -> Vec<String> {
        let down = |relay: &OwnRelay| {
            let health = relay.health.lock();
            let since = health.since().filter(|_| !health.is_up())?;
            let why = health.failure().unwrap_or("one probe of two is good again");
            Some(format!("{} since {since}: {why}", relay.host))
        };
        self.0.iter().filter_map(down).collect()
    }

    /// Whether no relay works.
    pub fn is_down(&self) -> bool {
        self.0.iter().all(|relay| !relay.health.lock().is_up())
    }

    /// One of those that serve best. `states`: of each relay.
    pub fn choose(&self, states: &[RelayState], random: u64) -> Option<&OwnRelay> {
        let best = states.iter().min().filter(|best| **best != RelayState::Out)?;
        let of_best: Vec<_> =
            self.0.iter().zip(states).filter(|(_, state)| *state == best).map(|(relay, _)| relay).collect();
        let index = random.checked_rem(u64::try_from(of_best.len()).ok()?)?;
        of_best.get(usize::try_from(index).ok()?).copied()
    }
}
