//! Replaces the TURN key named `default` at intervals: makes the calls that [`crate::rotation`] asks for, and mints with
//! the key that it names. Nothing is decided here.

use std::sync::Arc;
use std::time::Duration;

use secrecy::SecretString;
use tokio_util::sync::CancellationToken;
use url::Url;

use super::provider::{Keys, Provider};
use crate::account::Account;
use crate::ice::cloudflare::{self, Cloudflare, DEADLINE};
use crate::ice::turn_keys::{OwnKey, OwnKeys, TurnKey};
use crate::ice::turn_keys_api::{TurnKeysApi, remedy};
use crate::rotation::{CallOutcome, CreatedKey, KeyRequest, KeyRotation};
use crate::telemetry::metrics::Metrics;
use turn_base::clock::Clock;
use turn_base::http_client::{CallError, ProviderClient};
use turn_base::random;
use turn_ledger::KeyName;

/// How often it is checked whether a call is due.
const CHECK_INTERVAL: Duration = Duration::from_secs(1);
/// The life of the credential that proves a key. Nobody gets it.
const PROOF_LIFE: Duration = Duration::from_secs(60);
/// What the provider stores with it.
const PROOF_IDENTIFIER: &str = "turn-broker-rotation";

/// The rotation, with what its calls need.
#[derive(Debug)]
pub struct KeyRotator {
    /// The API for keys.
    pub api: TurnKeysApi,
    /// How long a key mints.
    pub every: Duration,
    /// The keys in the settings.
    pub configured: Keys,
    /// The ids of those keys.
    pub configured_ids: Vec<OwnKey>,
    /// The client and the base URL of mints.
    pub mints: (ProviderClient, Url),
    /// Mints with the key.
    pub provider: Arc<Provider>,
    /// The ids whose bytes are ours.
    pub own_keys: Arc<OwnKeys>,
    /// The state.
    pub account: Arc<Account>,
    /// For the breakers of new keys.
    pub clock: Arc<dyn Clock>,
    /// Counts rotations.
    pub metrics: Arc<Metrics>,
}

/// What to do if a new key does not mint.
fn proof_remedy(error: &CallError) -> &'static str {
    match error.status() {
        Some(401 | 403 | 404) => "wait: Cloudflare may take a while to know a new key; it is tried again",
        _ => cloudflare::remedy(error),
    }
}

impl KeyRotator {
    /// Makes every call that is due, until `end`.
    pub async fn run(&self, end: &CancellationToken) {
        loop {
            // A call that is cut off has an unknown outcome, as after a crash.
            let was_due = tokio::select! {
                biased;
                () = end.cancelled() => return,
                was_due = self.turn() => was_due,
            };
            let pause = if was_due { Duration::ZERO } else { CHECK_INTERVAL };
            tokio::select! {
                () = end.cancelled() => return,
                () = tokio::time::sleep(pause) => {}
            }
        }
    }

    /// Makes the call that is due. `false` if none is.
    pub async fn turn(&self) -> bool {
        let random = random::bytes().map(u64::from_be_bytes);
        let Ok(random) = random else { return false };
        let is_refused = self.account.rotation().current().is_some_and(|key| {
            let keys = self.provider.keys();
            keys.iter().any(|own| own.name == key.name() && !own.is_up())
        });
        // Without a ledger that can be written, nothing is changed. The store's log says why.
        let Ok(Some(call)) = self.account.rotation_step(self.every, is_refused, random).await else {
            return false;
        };
        let outcome = self.make(&call).await;
        let is_new = self.account.rotation_took(&call, outcome);
        self.apply();
        if is_new {
            self.metrics.key_rotations.count("rotated");
            let rotation = self.account.rotation();
            let key = rotation.current().map(CreatedKey::name);
            tracing::info!(key = key.map(tracing::field::display), "the new TURN key mints from now on");
        }
        true
    }

    /// Mints with the keys that the rotation says, and counts all of them as ours.
    pub fn apply(&self) {
        let rotation = self.account.rotation();
        let (default, others): (Vec<_>, Vec<_>) =
            self.configured.iter().cloned().partition(|key| key.name == KeyName::DEFAULT);
        let weight = default.first().map_or(1, |key| key.weight);
        let (mut minting, mut retired) = (Vec::new(), Vec::new());
        match rotation.current() {
            Some(current) => {
                minting.push(self.turn_key(current, weight));
                retired.extend(default);
            }
            None => minting.extend(default),
        }
        minting.extend(others);
        retired.extend(rotation.retired().map(|key| self.turn_key(key, 0)));
        self.own_keys.replace(self.ids(&rotation));
        self.provider.replace_keys(&minting.into(), retired.into());
    }

    fn ids(&self, rotation: &KeyRotation) -> Vec<OwnKey> {
        let created = rotation.ids().map(|id| OwnKey { name: KeyName::DEFAULT, id: id.into() });
        self.configured_ids.iter().cloned().chain(created).collect()
    }

    /// The key as it is in use, or a new one.
    fn turn_key(&self, key: &CreatedKey, weight: u32) -> Arc<TurnKey> {
        let known = self.provider.key(key.name()).filter(|known| known.weight == weight);
        known.unwrap_or_else(|| {
            let clock = Arc::clone(&self.clock);
            let made = TurnKey::new(key.name(), weight, self.client_of(key), clock);
            Arc::new(made.counted_as(KeyName::DEFAULT))
        })
    }

    fn client_of(&self, key: &CreatedKey) -> Cloudflare {
        let (client, base) = &self.mints;
        Cloudflare::new(client.clone(), base, &key.id, &SecretString::from(key.secret.expose().to_owned()))
    }

    /// Makes a call. A failure is logged and counted.
    async fn make(&self, call: &KeyRequest) -> CallOutcome {
        let made = match call {
            KeyRequest::List => self.api.list().await.map(CallOutcome::Listed),
            KeyRequest::Create { name } => {
                let created = self.api.create(name).await;
                created.map(|(id, secret)| CallOutcome::Created { id, secret })
            }
            KeyRequest::Delete { id } => self.api.delete(id).await.map(|()| CallOutcome::Deleted),
            KeyRequest::Prove { key } => return self.prove(key).await,
        };
        match made {
            Ok(outcome) => {
                if !matches!(call, KeyRequest::List) {
                    tracing::info!(call = call.name(), "the rotation of the TURN key made a call");
                }
                outcome
            }
            Err(error) => {
                self.note_failure(call, &error, remedy(&error));
                if error.had_no_effect() { CallOutcome::Refused } else { CallOutcome::Unknown }
            }
        }
    }

    async fn prove(&self, key: &CreatedKey) -> CallOutcome {
        match self.client_of(key).mint(PROOF_LIFE, PROOF_IDENTIFIER, DEADLINE, None).await {
            Ok(_) => CallOutcome::Proven,
            Err(error) => {
                self.note_failure(&KeyRequest::Prove { key: key.clone() }, &error, proof_remedy(&error));
                CallOutcome::Refused
            }
        }
    }

    /// The pauses between failures grow, so these lines are few.
    fn note_failure(&self, call: &KeyRequest, error: &CallError, remedy: &str) {
        self.metrics.key_rotations.count("failed");
        tracing::warn!(call = call.name(), remedy, "the rotation of the TURN key failed: {error}");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_key_that_is_not_known_yet_is_waited_for() {
        for (status, waits) in [(401, true), (403, true), (404, true), (400, false), (429, false)] {
            let error = CallError::of_status(status);
            assert_eq!(proof_remedy(&error).contains("a new key"), waits, "{status}");
        }
        assert!(!proof_remedy(&CallError::Timeout).contains("a new key"));
    }
}
