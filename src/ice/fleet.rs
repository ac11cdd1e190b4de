//! The operator's own relays, and the choice of the relay for a credential. [`Fleet::choose`] is pure: what is known of the relays, and
//! randomness, are arguments.

use std::io::ErrorKind;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use tokio::time::{sleep, timeout};

use super::cloudflare::OWN_IDENTIFIERS;
use super::relays::PROBE_MAX;
use super::{IceServer, IceUrl, KeyName, RelayHealth, RestServer, relays};
use turn_base::{Clock, Trust, random};
use turn_ledger::{Books, BudgetMode, CountOwner, Timestamp};
use turn_relay::client::{RelayError, relay_to_itself};

/// After this time, listings are assumed to show half of the load that new credentials are expected to cause. After twice this time, they
/// are assumed to show three quarters.
const SHOWN_AFTER: Duration = Duration::from_secs(30);
/// The lifetime of a probe's credential: longer than clocks differ.
const PROBE_TTL: Duration = Duration::from_secs(3_600);

/// One relay.
#[derive(Debug)]
pub struct OwnRelay {
    /// Its host.
    pub host: String,
    /// The name of its region, if it has one.
    pub name: Option<KeyName>,
    /// The owner of the count of its bytes.
    pub owner: CountOwner,
    /// Computes credentials for it.
    pub server: RestServer,
    /// What the probes have shown.
    pub health: Mutex<RelayHealth>,
    expected: Mutex<ExpectedLoad>,
}

/// All relays, in the order of `COTURN_URLS`.
#[derive(Debug)]
pub struct Fleet(pub Vec<OwnRelay>);

/// What credentials that were just issued will carry, until listings show it.
#[derive(Clone, Copy, Debug, Default)]
struct ExpectedLoad {
    bytes_per_second: u64,
    /// When the load was this high.
    at: Timestamp,
}

/// What is known of a relay that a credential may name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Candidate {
    /// How well it suits the credential.
    pub fit: Fit,
    /// What it carries; `None` if its sessions are not listed.
    pub bytes_per_second: Option<u64>,
}

/// How well a relay suits one credential. The least value is the best, and an earlier field decides first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Fit {
    /// Whether the relay can get new credentials.
    pub state: RelayState,
    /// Whether the page has failed to use the relay.
    pub has_failed: bool,
    /// Whether the page asks for another region.
    pub is_elsewhere: bool,
}

/// Whether a relay can get new credentials. The order of the variants is from best to worst.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum RelayState {
    /// Yes.
    Serves,
    /// Only while no other relay serves: its sessions are not listed now, so nobody ends them.
    LastResort,
    /// Only while no other relay and no other source serves: the broker's probes fail, but it may work where clients are.
    Unreached,
    /// No: nobody ends its sessions now, which strict mode requires.
    Down,
    /// No: the operator lets its calls come to an end.
    Draining,
    /// No: it has used what it may relay in this period.
    UsedUp,
}

impl RelayState {
    /// Whether at least one relay is used up, and each of the others is used up or drained.
    pub fn are_used_up(states: &[Self]) -> bool {
        states.contains(&Self::UsedUp) && states.iter().all(|state| *state >= Self::Draining)
    }
}

impl ExpectedLoad {
    /// What is left of it at `now`: it halves with each [`SHOWN_AFTER`], because listings show the rest by then.
    fn halved(self, now: Timestamp) -> Self {
        let halvings = now.since(self.at).as_secs().checked_div(SHOWN_AFTER.as_secs()).unwrap_or(0);
        let halvings = u32::try_from(halvings).unwrap_or(u32::MAX);
        match self.bytes_per_second.checked_shr(halvings).unwrap_or(0) {
            0 => Self { bytes_per_second: 0, at: now },
            left => Self { bytes_per_second: left, at: self.at.plus(SHOWN_AFTER.saturating_mul(halvings)) },
        }
    }
}

impl OwnRelay {
    /// A relay of which nothing is known yet.
    pub fn new(host: String, name: Option<KeyName>, owner: CountOwner, server: RestServer) -> Self {
        Self { host, name, owner, server, health: Mutex::default(), expected: Mutex::default() }
    }

    /// Whether `text` is its host, or the name of its region.
    pub fn is_named(&self, text: &str) -> bool {
        self.host.eq_ignore_ascii_case(text) || self.name.is_some_and(|name| name.as_str() == text)
    }

    /// Whether it gets new credentials now.
    pub fn state(&self, books: &Books) -> RelayState {
        let is_strict = books.budget().terms.mode == BudgetMode::Strict;
        if books.budget().is_used_up(self.owner) {
            RelayState::UsedUp
        } else if books.is_draining(self.owner) {
            RelayState::Draining
        } else if books.is_uncut(self.owner) && is_strict {
            RelayState::Down
        } else if self.health.lock().is_down {
            RelayState::Unreached
        } else if books.is_uncut(self.owner) {
            RelayState::LastResort
        } else {
            RelayState::Serves
        }
    }

    /// The bytes a second that it carries, plus those that credentials issued just now are expected to cause; `None` if its sessions are
    /// not listed.
    pub fn load(&self, books: &Books) -> Option<u64> {
        // Sessions that are listed are also cut. So without a tail of cut sessions, the sessions of this relay are not listed.
        books.budget().cut_tail(self.owner)?;
        let expected = self.expected.lock().halved(books.now()).bytes_per_second;
        Some(books.relay_load(self.owner).bytes_per_second.saturating_add(expected))
    }

    /// Adds the expected load of a new credential for this relay.
    pub fn expect(&self, bytes_per_second: u64, now: Timestamp) {
        let mut expected = self.expected.lock();
        *expected = expected.halved(now);
        expected.bytes_per_second = expected.bytes_per_second.saturating_add(bytes_per_second);
    }

    /// Probes the relay again and again: makes an allocation, and sends a datagram through it to itself; or without a URL over UDP, connects
    /// as a browser does.
    pub async fn watch(&self, clock: &Arc<dyn Clock>, trust: &Trust) {
        let user = format!("{OWN_IDENTIFIERS}probe");
        loop {
            let began = clock.instant();
            let servers = self.server.credential(&user, clock.now().plus(PROBE_TTL));
            let over_tcp = || servers.urls().find(|url| !url.is_dtls());
            let probed = match (servers.udp_relays().next(), over_tcp()) {
                (Some((server, url)), _) => probe(url, server).await,
                (None, Some(url)) => match relays::connect(url, trust).await {
                    Err(error) if error.kind() == ErrorKind::NetworkUnreachable => None,
                    connected => Some(connected.map(drop).map_err(|error| error.to_string())),
                },
                (None, None) => return,
            };
            if let Some(outcome) = probed {
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
        if let Some(failure) = &health.failure {
            tracing::warn!(
                relay = self.host,
                "a relay gets new credentials only while nothing else serves: {failure}"
            );
        } else {
            tracing::info!(relay = self.host, "a relay gets new credentials again");
        }
    }
}

/// Whether the relay works, or why not. `None`: this machine has no route to the relay, so the probe shows nothing.
async fn probe(url: &IceUrl, server: &IceServer) -> Option<Result<(), String>> {
    let (server, url) = (server.clone(), url.clone());
    let relayed = async move {
        let Some(relay) = relays::of(&server, &url).await else {
            return Some(Err("its name has no address, or the resolver does not answer".to_owned()));
        };
        match relay_to_itself(&relay, 1).await {
            Ok(_) => Some(Ok(())),
            Err(RelayError::Unreachable) => None,
            Err(error) => Some(Err(error.to_string())),
        }
    };
    // In a task of its own, the probe releases its allocation even after the time limit.
    match timeout(PROBE_MAX, tokio::spawn(relayed)).await {
        Ok(Ok(outcome)) => outcome,
        Ok(Err(_)) | Err(_) => Some(Err("no answer in time".to_owned())),
    }
}

impl Fleet {
    /// The relays that fail the probes, each with the reason.
    pub fn down(&self) -> Vec<String> {
        let down = |relay: &OwnRelay| {
            let health = relay.health.lock();
            let since = if health.is_down { health.since } else { None }?;
            let why = health.failure.as_deref().unwrap_or("one probe of two is good again");
            Some(format!("{} since {since}: {why}", relay.host))
        };
        self.0.iter().filter_map(down).collect()
    }

    /// Whether all relays fail the probes.
    pub fn is_down(&self) -> bool {
        self.0.iter().all(|relay| relay.health.lock().is_down)
    }

    /// Chooses the preferred relay, whatever its region, with two exceptions: another relay is in a better state; or the page has failed to
    /// use the preferred relay, but not another one in the same state. Otherwise takes two of the best relays by chance, and chooses the
    /// one that carries less. `None` if no relay is in the state `worst` or a better one. `candidates`: one for each relay, in the same
    /// order.
    pub fn choose(
        &self,
        candidates: &[Candidate],
        worst: RelayState,
        preferred: Option<CountOwner>,
        random: u64,
    ) -> Option<(&OwnRelay, Fit)> {
        let best = candidates.iter().map(|known| known.fit).min().filter(|best| best.state <= worst)?;
        let all = || self.0.iter().zip(candidates);
        let is_as_good = |fit: Fit| (fit.state, fit.has_failed) == (best.state, best.has_failed);
        let kept = all().find(|(relay, known)| Some(relay.owner) == preferred && is_as_good(known.fit));
        if let Some((relay, known)) = kept {
            return Some((relay, known.fit));
        }
        let best_relays: Vec<_> = all().filter(|(_, known)| known.fit == best).collect();
        let (first, second) = two_of(best_relays.len(), random);
        let ((relay, known), (other, other_known)) = (best_relays.get(first)?, best_relays.get(second)?);
        let other_carries_less = match (known.bytes_per_second, other_known.bytes_per_second) {
            (Some(load), Some(other_load)) => other_load < load,
            _ => false,
        };
        Some((if other_carries_less { other } else { relay }, best))
    }
}

/// Two different indexes below `count` by chance; the same one twice if there is only one. Each half of `random` picks one of them.
fn two_of(count: usize, random: u64) -> (usize, usize) {
    let half = |bits: u64| usize::try_from(bits).unwrap_or(0);
    let first = half(random >> 32).checked_rem(count).unwrap_or(0);
    // From 1 to `count` - 1, so that the second index is another one.
    let step =
        half(random & u64::from(u32::MAX)).checked_rem(count.saturating_sub(1)).map_or(0, |step| step + 1);
    (first, (first + step).checked_rem(count).unwrap_or(0))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ice::rest::RestSecret;
    use RelayState::{Down, Draining, LastResort, Serves, Unreached, UsedUp};
    use turn_ledger::{IceSource, IdDigest};

    fn fleet() -> Fleet {
        let relay = |host: &str| {
            let urls = vec![IceUrl::parse(&format!("turn:{host}")).unwrap()];
            let server = RestServer { urls, secret: RestSecret::generated(&[7; 32]) };
            let owner = CountOwner { source: IceSource::Coturn, issuer: Some(IdDigest::of(host)) };
            OwnRelay::new(host.to_owned(), None, owner, server)
        };
        Fleet(["a", "b", "c"].map(relay).into())
    }

    fn candidates<const N: usize>(known: [(RelayState, u64); N]) -> [Candidate; N] {
        let fit = |state| Fit { state, has_failed: false, is_elsewhere: false };
        known.map(|(state, rate)| Candidate { fit: fit(state), bytes_per_second: Some(rate) })
    }

    /// How many of 3,000 credentials name each relay.
    fn share(fleet: &Fleet, known: &[Candidate]) -> [usize; 3] {
        let mut share = [0; 3];
        for number in 0..3_000_u64 {
            let random = number.wrapping_mul(0x9e37_79b9_7f4a_7c15);
            let (chosen, _) = fleet.choose(known, LastResort, None, random).unwrap();
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
        assert_eq!(share(&fleet, &candidates([(Down, 0), (Serves, 9), (LastResort, 0)])), [0, 3_000, 0]);
        assert_eq!(share(&fleet, &candidates([(Unreached, 0), (LastResort, 9), (Down, 0)])), [0, 3_000, 0]);
        let none_serves = candidates([(Unreached, 9), (Unreached, 0), (Down, 0)]);
        assert!(fleet.choose(&none_serves, LastResort, None, 7).is_none());
        assert_eq!(fleet.choose(&none_serves, Unreached, None, 7).unwrap().0.host, "b");
        let all_out = candidates([(Down, 0), (Draining, 0), (UsedUp, 0)]);
        assert!(fleet.choose(&all_out, Unreached, None, 7).is_none());
    }

    #[test]
    fn a_renewal_stays_at_its_relay_while_that_serves() {
        let fleet = fleet();
        let preferred = Some(fleet.0[0].owner);
        let chosen =
            |known: &[Candidate]| fleet.choose(known, LastResort, preferred, 7).unwrap().0.host.clone();
        let host = |known| chosen(&candidates(known));
        assert_eq!(host([(Serves, 9), (Serves, 0), (Serves, 0)]), "a");
        assert_ne!(host([(LastResort, 0), (Serves, 9), (Serves, 9)]), "a");
        assert_ne!(host([(Down, 0), (Serves, 9), (Serves, 9)]), "a");
        let mut known = candidates([(Serves, 9), (Serves, 0), (Serves, 0)]);
        known[0].fit.is_elsewhere = true;
        assert_eq!(chosen(&known), "a", "no region moves a call");
        known[0].fit.has_failed = true;
        assert_ne!(chosen(&known), "a", "the page of the call cannot use it");
    }

    #[test]
    fn a_relay_of_the_region_is_chosen_and_one_that_the_page_could_not_use_only_if_no_other_serves() {
        let fleet = fleet();
        // Each: its state, whether it has failed, whether it is elsewhere.
        let share_of = |fits: [(RelayState, bool, bool); 3]| {
            let known = fits.map(|(state, has_failed, is_elsewhere)| Candidate {
                fit: Fit { state, has_failed, is_elsewhere },
                bytes_per_second: Some(0),
            });
            share(&fleet, &known).map(|count| count > 0)
        };
        let all = [(Serves, false, true), (Serves, false, false), (Serves, false, true)];
        assert_eq!(share_of(all), [false, true, false]);
        let dead = [(Serves, false, true), (Down, false, false), (Serves, false, true)];
        assert_eq!(share_of(dead), [true, false, true]);
        let failed = [(Serves, false, true), (Serves, true, false), (LastResort, false, false)];
        assert_eq!(share_of(failed), [true, false, false]);
        let only = [(Down, false, true), (Serves, true, false), (Down, false, true)];
        assert_eq!(share_of(only), [false, true, false]);
    }

    fn expected(fleet: &Fleet, at: usize, now: Timestamp) -> u64 {
        fleet.0[at].expected.lock().halved(now).bytes_per_second
    }

    /// A relay with a little load gets its share before listings show what the others got.
    #[test]
    fn of_100_credentials_in_a_minute_no_relay_of_three_gets_more_than_half() {
        let fleet = fleet();
        let (mut share, mut now) = ([0; 3], Timestamp::default());
        for number in 0..100_u64 {
            now = now.plus_millis(600);
            let load = |at: usize| [1_000_000, 0, 0][at] + expected(&fleet, at, now);
            let known = candidates([0, 1, 2].map(|at| (Serves, load(at))));
            let (relay, _) =
                fleet.choose(&known, LastResort, None, number.wrapping_mul(0x9e37_79b9_7f4a_7c15)).unwrap();
            relay.expect(250_000, now);
            share[["a", "b", "c"].iter().position(|host| *host == relay.host).unwrap()] += 1;
        }
        assert!(share.iter().all(|count| (20..=50).contains(count)), "{share:?}");
        assert_eq!(expected(&fleet, 0, now.plus(64 * SHOWN_AFTER)), 0);
    }

    #[test]
    fn what_listings_have_shown_is_not_expected_any_more_though_new_credentials_follow() {
        let (fleet, mut now) = (fleet(), Timestamp::default());
        for _ in 0..1_800 {
            now = now.plus_millis(2_000);
            fleet.0[0].expect(250_000, now);
        }
        // 15 credentials in half a minute, as much of those before, and one more.
        assert!((15..=31).contains(&(expected(&fleet, 0, now) / 250_000)));
    }
}
