//! The operator's own relays, and which of them a credential names. [`Fleet::choose`] is pure: what is known of the relays and randomness are
//! arguments.

use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use tokio::time::{sleep, timeout};

use super::cloudflare::OWN_IDENTIFIERS;
use super::health::RelayHealth;
use super::rest::RestServer;
use super::server::IceServer;
use super::udp_relay::UdpRelay;
use super::url::IceUrl;
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

/// What is known of a relay that a credential may name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Candidate {
    /// Whether it can get one.
    pub state: RelayState,
    /// What it carries; `None` if it is not listed.
    pub bytes_per_second: Option<u64>,
}

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
    pub fn new(host: String, owner: CountOwner, server: RestServer) -> Self {
        Self { host, owner, server, health: Mutex::default() }
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
    let (server, url) = (server.clone(), url.clone());
    let relayed = async move {
        let Some(UdpRelay { address, username, password }) = UdpRelay::of(&server, &url).await else {
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

    /// The preferred one if it serves best, else of two by chance that do the one that carries less. `candidates`: each relay.
    pub fn choose(
        &self,
        candidates: &[Candidate],
        preferred: Option<CountOwner>,
        random: u64,
    ) -> Option<&OwnRelay> {
        let best = candidates.iter().map(|of| of.state).min().filter(|best| *best != RelayState::Out)?;
        let all = self.0.iter().zip(candidates);
        let of_best: Vec<_> = all.filter(|(_, of)| of.state == best).collect();
        if let Some((relay, _)) = of_best.iter().find(|(relay, _)| Some(relay.owner) == preferred) {
            return Some(relay);
        }
        let (first, second) = two_of(of_best.len(), random);
        let ((relay, of), (other, than)) = (of_best.get(first)?, of_best.get(second)?);
        let carries_less = than.bytes_per_second.zip(of.bytes_per_second).is_some_and(|(than, of)| than < of);
        Some(if carries_less { other } else { relay })
    }
}

/// Two of so many by chance, which differ if there are two.
fn two_of(count: usize, random: u64) -> (usize, usize) {
    let [first, step] =
        [random >> 32, random & u64::from(u32::MAX)].map(|part| usize::try_from(part).unwrap_or(0));
    let first = first.checked_rem(count).unwrap_or(0);
    let step = step.checked_rem(count.saturating_sub(1)).map_or(0, |step| step + 1);
    (first, (first + step).checked_rem(count).unwrap_or(0))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ice::rest::RestSecret;
    use RelayState::{LastResort, Out, Serves};
    use turn_ledger::IceSource;

    fn fleet() -> Fleet {
        let relay = |host: &str| {
            let urls = vec![IceUrl::parse(&format!("turn:{host}")).unwrap()];
            let server = RestServer::new(urls, RestSecret::generated(&[7; 32]));
            OwnRelay::new(host.to_owned(), IceSource::Coturn.into(), server)
        };
        Fleet(["a", "b", "c"].map(relay).into())
    }

    fn candidates<const N: usize>(known: [(RelayState, u64); N]) -> [Candidate; N] {
        known.map(|(state, rate)| Candidate { state, bytes_per_second: Some(rate) })
    }

    /// How many of 3,000 credentials name each relay.
    fn share(fleet: &Fleet, known: &[Candidate]) -> [usize; 3] {
        let mut share = [0; 3];
        for number in 0..3_000_u64 {
            let random = number.wrapping_mul(0x9e37_79b9_7f4a_7c15);
            let chosen = fleet.choose(known, None, random).unwrap();
            share[["a", "b", "c"].iter().position(|host| *host == chosen.host).unwrap()] += 1;
        }
        share
    }

    #[test]
    fn of_two_relays_by_chance_the_one_that_carries_less_is_named() {
        let fleet = fleet();
        for count in share(&fleet, &candidates([(Serves, 0), (Serves, 0), (Serves, 0)])) {
            assert!((900..=1_100).contains(&count), "{count}");
        }
        let [a, b, c] = share(&fleet, &candidates([(Serves, 9), (Serves, 5), (Serves, 7)]));
        assert_eq!(a, 0, "it carries most");
        assert!((1_900..=2_100).contains(&b) && (900..=1_100).contains(&c), "{b} {c}");
        let mut unknown = candidates([(Serves, 9), (Serves, 5), (Serves, 7)]);
        unknown[2].bytes_per_second = None;
        assert!(share(&fleet, &unknown)[2] < 1_100, "one that is not listed does not get all");
    }

    #[test]
    fn a_relay_that_is_out_is_never_named_and_one_of_last_resort_only_if_no_other_serves() {
        let fleet = fleet();
        assert_eq!(share(&fleet, &candidates([(Out, 0), (Serves, 9), (LastResort, 0)])), [0, 3_000, 0]);
        assert_eq!(share(&fleet, &candidates([(Out, 0), (LastResort, 9), (Out, 0)])), [0, 3_000, 0]);
        assert!(fleet.choose(&candidates([(Out, 0), (Out, 0), (Out, 0)]), None, 7).is_none());
    }

    #[test]
    fn a_renewal_stays_at_its_relay_while_that_serves() {
        let fleet = fleet();
        let preferred = Some(fleet.0[0].owner);
        let host = |known| fleet.choose(&candidates(known), preferred, 7).unwrap().host.clone();
        assert_eq!(host([(Serves, 9), (Serves, 0), (Serves, 0)]), "a");
        assert_ne!(host([(LastResort, 0), (Serves, 9), (Serves, 9)]), "a");
        assert_ne!(host([(Out, 0), (Serves, 9), (Serves, 9)]), "a");
    }
}
