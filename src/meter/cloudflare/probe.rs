//! The broker's own probe: a credential that nobody else has, with which the broker relays some bytes to itself. While no call relays, a
//! count is believed only if it shows bytes of the probe, because a provider that counts nothing answers zero too
//! ([`turn_ledger::ReadingOutcome::Unproven`]).

use tokio::time::timeout;

use super::CloudflareMeter;
use super::analytics::AnalyticsError;
use crate::ice::api::MintingApi;
use crate::ice::call::DEADLINE;
use crate::ice::relays;
use crate::meter::prelude::*;
use turn_relay::client::{RelayError, relay_to_itself};

const SOURCE: IceSource = IceSource::Cloudflare;
/// What a probe relays: 300 datagrams of 1,000 bytes. Sampling does not hide it while little else is relayed.
const DATAGRAMS: u16 = 300;
const BYTES: ByteCount = ByteCount::new(300_000);
/// The lifetime of its credential: the shortest that Cloudflare is asked for.
const TTL: Duration = Duration::from_secs(60);
/// The time limit of the relaying, which takes seconds.
const RELAY_MAX: Duration = Duration::from_secs(30);
/// The pause between two probes. Pause and lag together are shorter than the hour after which counts are missing.
const PAUSE: Duration = Duration::from_secs(30 * 60);

/// What the meter remembers of its probes.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct ProbeState {
    /// When the latest probe began.
    tried_at: Option<Timestamp>,
    /// Whether the latest probe reached no relay, or got no bytes through.
    has_no_way: bool,
}

/// The identifier of the probe of a minute. Probes of several keys can have the same identifier, so they are asked for by key, too.
fn identifier(minute: Minute) -> String {
    format!("{OWN_IDENTIFIERS}probe-{}", minute.number())
}

impl CloudflareMeter {
    /// Asks which probes Cloudflare has counted, of those that the next count should contain, and tells the books. The next count ends at
    /// `as_of`.
    pub(super) async fn look_for_probes(&self, as_of: Timestamp) -> Result<(), AnalyticsError> {
        for (owner, _) in &self.probed {
            let mut minutes = self.account.read(|books| books.budget().unshown_probes(*owner));
            // A probe at the end of a minute continues into the next minute, and Cloudflare's clock may differ.
            let end = |minute: &Minute| minute.next().end().plus(SOURCE.clocks_differ_by());
            minutes.retain(|minute| end(minute) <= as_of);
            let (Some(first), Some(last)) = (minutes.first(), minutes.last()) else { continue };
            let span = Span {
                from: first.start().minus(SOURCE.clocks_differ_by()),
                until: end(last),
                age: self.lag,
            };
            let identifiers = minutes.iter().map(|minute| identifier(*minute)).collect();
            let counted = self.api.minutes_of(owner.issuer, identifiers, span).await?;
            minutes.retain(|minute| counted.contains_key(&identifier(*minute)));
            self.account.change(|books| {
                for minute in minutes {
                    books.show_probe(*owner, minute);
                }
            });
        }
        Ok(())
    }

    /// Makes the probes that counts need. If a probe gets no bytes through, further counts of its key are believed without a probe.
    pub(super) async fn probe_if_due(&self, states: &mut BTreeMap<CountOwner, ProbeState>) {
        for (owner, key) in &self.probed {
            self.probe_with(*owner, key, states.entry(*owner).or_default()).await;
        }
    }

    /// Makes a probe with this key, if one is due and the pause is over.
    async fn probe_with(&self, owner: CountOwner, key: &MintingApi, state: &mut ProbeState) {
        let now = self.account.time_of_provider();
        let is_due = self.account.read(|books| {
            // A probe that failed is repeated while somebody may relay, even if counts need no probe now.
            books.budget().needs_probe(owner, BYTES) || state.has_no_way && books.snapshot().live_grants > 0
        });
        if !is_due || state.tried_at.is_some_and(|at| now.since(at) < PAUSE) {
            return;
        }
        state.tried_at = Some(now);
        let charge = || self.account.record_change(|books| books.charge_probe(owner, BYTES));
        // Charge the bytes before they are relayed. After a probe that got nothing through, the next one will most likely relay nothing
        // either, so it is charged afterwards.
        if !state.has_no_way && charge().await.is_err() {
            return;
        }
        let minute = Minute::of(now);
        // Without a credential nothing was tried.
        let Some(relayed) = relay(key, &identifier(minute)).await else { return };
        if state.has_no_way && relayed.is_ok() && charge().await.is_err() {
            return;
        }
        self.note_probe(owner, minute, relayed, state.has_no_way);
        state.has_no_way = relayed.is_err();
    }

    /// Notes whether the probe of a minute has relayed. `is_again`: the previous probe has not relayed either, and that was logged.
    fn note_probe(&self, owner: CountOwner, minute: Minute, relayed: Result<(), RelayError>, is_again: bool) {
        self.account.change(|books| {
            books.set_probed(owner, relayed.is_ok());
            if relayed.is_ok() {
                books.note_probe(owner, minute);
            }
        });
        if let Err(error) = relayed
            && !is_again
        {
            let remedy = "allow UDP from here to turn.cloudflare.com, or set RELAY_PROBE=off";
            tracing::warn!(remedy, "counts without bytes are believed without a probe: {error}");
        }
    }
}

/// Relays with a new credential. `None` if it could not be minted.
async fn relay(key: &MintingApi, identifier: &str) -> Option<Result<(), RelayError>> {
    let servers = key.mint(TTL, identifier, DEADLINE).await.ok()?.servers;
    let relayed = async {
        let relay = relays::first(&servers).await.ok_or(RelayError::Unreachable)?;
        relay_to_itself(&relay, DATAGRAMS).await.map(drop)
    };
    Some(timeout(RELAY_MAX, relayed).await.unwrap_or(Err(RelayError::NothingThrough)))
}
