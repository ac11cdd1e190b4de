//! A running trial of a tail: with a credential of its own, the broker relays data to itself beyond the end of the credential
//! ([`turn_ledger::TailTrial`]). Nobody else gets the credential.

use std::time::Duration;

use tokio::time::timeout;

use super::api::MintingApi;
use super::call::DEADLINE;
use super::cloudflare::OWN_IDENTIFIERS;
use super::server::IceServerList;
use super::udp_relay::UdpRelay;
use turn_base::http_client::CallError;
use turn_ledger::{ByteCount, CredentialEnd, Minute, RevocationAnswer, TailTrial, Timestamp, TrialStep};
use turn_relay::client::{Allocation, RelayError};

/// What is relayed in one minute: 100 datagrams of 1,000 bytes.
const DATAGRAMS: u16 = 100;
/// The same, in bytes.
pub const BYTES: ByteCount = ByteCount::new(100_000);
/// The most that one trial relays, rounded up: 100,000 bytes in each of 41 minutes. These are one minute before the end, 20 after it, and
/// every fifth minute of the rest of two hours.
pub const BYTES_MAX: ByteCount = ByteCount::new(5_000_000);
/// The life of a credential that is to expire: the shortest that Cloudflare is asked for.
pub const TTL: Duration = Duration::from_secs(60);
/// A credential that is to be revoked expires this long after its trial. So its expiry ends none of the relaying that the
/// trial observes.
const LONGER: Duration = Duration::from_secs(900);
/// The time limit for relaying the datagrams of one minute, which normally takes seconds.
const RELAY_MAX: Duration = Duration::from_secs(30);

/// See the module's description.
#[derive(Debug)]
pub struct TailRun {
    /// What was done and seen until now.
    pub trial: TailTrial,
    servers: IceServerList,
    allocation: Option<Allocation>,
}

/// What a step has done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stepped {
    /// Nothing was due.
    Waited,
    /// Data were sent.
    Sent {
        /// Whether they came back.
        came_back: bool,
        /// Whether the server refused the credential.
        refused: bool,
    },
    /// The credential was revoked.
    Revoked,
    /// The trial is over.
    Finished,
    /// The provider did not revoke the credential: the trial shows nothing.
    Failed,
}

/// The identifier of the credential of a trial. Trials of several keys can have the same identifier, so counts are asked for by key, too.
pub fn identifier(end: CredentialEnd, began_at: Timestamp) -> String {
    let end: &str = end.into();
    format!("{OWN_IDENTIFIERS}{end}-{}", Minute::of(began_at).number())
}

impl TailRun {
    /// Mints the credential. `life`: the life of a credential that is to expire. If the provider states another life, the trial assumes the
    /// shorter of the two, so it relays already around the earlier end.
    pub async fn begin(
        key: &MintingApi,
        end: CredentialEnd,
        life: Duration,
        now: Timestamp,
    ) -> Result<Self, CallError> {
        let asked = match end {
            CredentialEnd::Expiry => life,
            CredentialEnd::Revocation => key.source().expiry_tail().saturating_add(LONGER),
        };
        let listed = key.mint(asked, &identifier(end, now), DEADLINE).await?;
        let life = listed.life.map_or(asked, |stated| stated.min(asked));
        Ok(Self { trial: TailTrial::new(end, now, life), servers: listed.servers, allocation: None })
    }

    /// What is due. `max`: for how long after the end of the credential the trial goes on at most.
    pub fn next(&self, now: Timestamp, max: Duration) -> TrialStep {
        self.trial.step(now, max)
    }

    /// Does what is due.
    pub async fn step(&mut self, step: TrialStep, key: &MintingApi, now: Timestamp) -> Stepped {
        match step {
            TrialStep::Wait => Stepped::Waited,
            TrialStep::Relay { allocates } => {
                let (came_back, refused) = self.relay(allocates).await;
                self.trial.sent(now, came_back, refused);
                Stepped::Sent { came_back, refused }
            }
            TrialStep::Revoke => {
                self.trial.revoked(now);
                let username = self.servers.username().unwrap_or_default();
                if matches!(key.revoke(username).await, Ok(RevocationAnswer::Revoked)) {
                    Stepped::Revoked
                } else {
                    Stepped::Failed
                }
            }
            TrialStep::Finish => {
                self.close().await;
                Stepped::Finished
            }
        }
    }

    /// Releases the allocation.
    pub async fn close(&mut self) {
        if let Some(allocation) = self.allocation.take() {
            allocation.close().await;
        }
    }

    /// Relays over the present allocation, and over a new one if nothing comes back. If `allocates`, tries a new allocation first. A new
    /// allocation that relays replaces the present one. Returns whether data came back, and whether the credential was refused.
    async fn relay(&mut self, allocates: bool) -> (bool, bool) {
        if !allocates && self.present_relays().await {
            return (true, false);
        }
        let opened = match timeout(RELAY_MAX, self.open()).await {
            Ok(opened) => opened,
            Err(_) => Err(RelayError::NothingThrough),
        };
        match opened {
            Ok(new) => {
                self.close().await;
                self.allocation = Some(new);
                (true, false)
            }
            Err(error) => {
                let refused = matches!(error, RelayError::Refused { .. });
                (allocates && self.present_relays().await, refused)
            }
        }
    }

    /// Whether data come back over the present allocation; `false` without one.
    async fn present_relays(&self) -> bool {
        match &self.allocation {
            Some(allocation) => matches!(timeout(RELAY_MAX, allocation.relay(DATAGRAMS)).await, Ok(Ok(_))),
            None => false,
        }
    }

    /// A new allocation that relays, over the first UDP relay in the list.
    async fn open(&self) -> Result<Allocation, RelayError> {
        let UdpRelay { address, username, password } =
            UdpRelay::first(&self.servers).await.ok_or(RelayError::Unreachable)?;
        let allocation = Allocation::open(address, &username, &password).await?;
        match allocation.relay(DATAGRAMS).await {
            Ok(_) => Ok(allocation),
            Err(error) => {
                allocation.close().await;
                Err(error)
            }
        }
    }
}
