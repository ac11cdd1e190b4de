//! The rotation of the TURN key named `default`: a new key is created, proven and minted with; the old one is deleted when its
//! last grant has ended. Pure: [`KeyRotation::step`] says which call is due, and [`KeyRotation::took`] applies its outcome. Time
//! and randomness are arguments.
//!
//! The state is on disk before each call and after it. Every key that may exist at the provider is in the state: by its name
//! before the call that creates it, and by its id once that is known. So no crash and no lost response leaves a key that nobody
//! deletes. A key mints only after a proof, and is deleted only when it has no live grants. Keys that were not created here are
//! never deleted.
#![cfg_attr(not(test), warn(clippy::arithmetic_side_effects))]

use std::fmt;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use turn_ledger::{KeyName, Timestamp};

mod outcome;

pub use outcome::{CallOutcome, KeyRequest, ListedKey};

/// A key may still appear at the provider for this long after the call that asked for it.
pub const LATE_MAX: Duration = Duration::from_secs(3_600);
/// Most calls whose key may still appear. No further key is created before one is settled.
pub const ATTEMPTS_MAX: usize = 8;
/// Most keys that wait for the end of their last grant. No further key is created before one has ended.
pub const RETIRED_MAX: usize = 8;
/// Most deleted keys of this period that are remembered for its counts.
pub const DELETED_MAX: usize = 64;
/// How often a new key may fail its proof. The provider may take a while to know a key everywhere.
pub const PROOFS_MAX: u32 = 10;
/// The shortest time for which a key stays after it has stopped minting: longer than any mint in progress.
pub const RETIRED_MIN: Duration = Duration::from_secs(30);
/// The keys at the provider are listed at this interval, and when the provider refuses the key that mints.
const LIST_INTERVAL: Duration = Duration::from_secs(3_600);
/// The interval while a key may still appear late.
const LATE_LIST_INTERVAL: Duration = Duration::from_secs(600);
/// The shortest time between two lists.
const LIST_PAUSE: Duration = Duration::from_secs(60);
/// The pause after the first failure. It doubles with each failure in a row.
const RETRY_FIRST: Duration = Duration::from_secs(1);
/// The longest pause after failures.
const RETRY_MAX: Duration = Duration::from_secs(600);

/// How the names of created keys begin. No key in the settings has such a name.
pub const CREATED_PREFIX: &str = "auto-";
/// Failed calls in a row after which the operator is alerted. The last of them is about 15 s after the first.
const FAILURES_TO_ALERT: u32 = 5;

/// The secret of a key. `Debug` does not show it.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct KeySecret(String);

impl KeySecret {
    /// This secret.
    pub fn new(secret: String) -> Self {
        Self(secret)
    }

    /// The secret, for the header that carries it.
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for KeySecret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("[redacted]")
    }
}

/// A key that was created here.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CreatedKey {
    /// Its number, from 1.
    pub sequence: u32,
    /// Its id at the provider.
    pub id: String,
    /// Its secret.
    pub secret: KeySecret,
    /// When it was created; once it mints, when it began to.
    pub since: Timestamp,
}

impl CreatedKey {
    /// The name in the rows of its grants.
    pub fn name(&self) -> KeyName {
        // The prefix and at most ten digits.
        KeyName::new(&format!("{CREATED_PREFIX}{}", self.sequence)).unwrap_or(KeyName::DEFAULT)
    }
}

/// A call for a new key whose outcome is not certain.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Attempt {
    /// The name that the key has at the provider. Nobody else uses it.
    name: String,
    asked_at: Timestamp,
}

/// A key that has been deleted. Its bytes in this period are still ours.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DeletedKey {
    /// Its id at the provider.
    pub id: String,
    /// When it was deleted.
    pub at: Timestamp,
}

/// See the module's description. The default has created nothing.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct KeyRotation {
    sequence: u32,
    attempts: Vec<Attempt>,
    /// Created, and not proven yet.
    candidate: Option<CreatedKey>,
    /// Failed proofs of the candidate.
    proofs: u32,
    /// The key that mints. `None`: the one in the settings, if there is one.
    current: Option<CreatedKey>,
    /// Whether the provider no longer has the key that mints.
    is_current_gone: bool,
    /// No longer minting; `since` is when that began.
    retired: Vec<CreatedKey>,
    /// Ids of keys that never minted for anybody, to be deleted.
    orphans: Vec<String>,
    deleted: Vec<DeletedKey>,
    /// A key whose deletion the provider refused, perhaps because it is gone.
    refused_delete: Option<String>,
    /// Failed calls in a row. A new process tries at once.
    #[serde(skip)]
    failures: u32,
    #[serde(skip)]
    retry_at: Timestamp,
    /// When the keys were last listed by this process.
    #[serde(skip)]
    listed_at: Option<Timestamp>,
}

/// What a step depends on.
#[derive(Clone, Copy)]
pub struct RotationInput<'a> {
    /// The books' time.
    pub now: Timestamp,
    /// How long a key mints.
    pub every: Duration,
    /// Whether the provider refuses the key that mints.
    pub is_refused: bool,
    /// Whether a grant of this key is alive, its tail included.
    pub has_grants: &'a dyn Fn(KeyName) -> bool,
    /// Makes the name of a new key unique.
    pub random: u64,
}

/// What the rotation is doing, for operators.
#[derive(Clone, Copy, Debug, PartialEq, Eq, strum::IntoStaticStr)]
#[strum(serialize_all = "snake_case")]
pub enum RotationState {
    /// A key mints, and the next one is not due.
    Waiting,
    /// A new key is being created.
    Creating,
    /// A new key is being tried.
    Proving,
    /// The latest call failed. It is made again.
    Failing,
}

impl RotationState {
    /// All states.
    pub const ALL: [Self; 4] = [Self::Waiting, Self::Creating, Self::Proving, Self::Failing];

    /// The name on the wire.
    pub fn name(self) -> &'static str {
        self.into()
    }
}

impl KeyRotation {
    /// The call that is due now; `None` if none is. The state must be on disk before the call is made, because it names a key
    /// that the call may create.
    #[must_use]
    pub fn step(&mut self, input: &RotationInput<'_>) -> Option<KeyRequest> {
        if input.now < self.retry_at {
            return None;
        }
        if self.is_list_due(input) {
            return Some(KeyRequest::List);
        }
        if let Some(id) = self.orphans.first() {
            return Some(KeyRequest::Delete { id: id.clone() });
        }
        if let Some(candidate) = &self.candidate {
            return Some(KeyRequest::Prove { key: candidate.clone() });
        }
        if self.is_due(input) && self.has_room() {
            return self.begin_creation(input).map(|name| KeyRequest::Create { name });
        }
        let ended =
            |key: &&CreatedKey| input.now >= key.since.plus(RETIRED_MIN) && !(input.has_grants)(key.name());
        self.retired.iter().find(ended).map(|key| KeyRequest::Delete { id: key.id.clone() })
    }

    /// The first list of a process finds what an earlier one left. Later ones find late keys, and a key that somebody deleted.
    fn is_list_due(&self, input: &RotationInput<'_>) -> bool {
        let Some(listed_at) = self.listed_at else { return true };
        let is_urgent = input.is_refused && self.current.is_some() && !self.is_current_gone;
        let pause = if is_urgent {
            LIST_PAUSE
        } else if self.attempts.is_empty() {
            LIST_INTERVAL
        } else {
            LATE_LIST_INTERVAL
        };
        input.now >= listed_at.plus(pause)
    }

    fn is_due(&self, input: &RotationInput<'_>) -> bool {
        self.is_current_gone
            || self.current.as_ref().is_none_or(|current| input.now >= current.since.plus(input.every))
    }

    fn has_room(&self) -> bool {
        self.attempts.len() < ATTEMPTS_MAX && self.retired.len() < RETIRED_MAX
    }

    /// Notes the name of the key that is about to be created. `None` after the last number.
    fn begin_creation(&mut self, input: &RotationInput<'_>) -> Option<String> {
        self.sequence = self.sequence.checked_add(1)?;
        let name = format!("turn-broker auto-{} {:016x}", self.sequence, input.random);
        self.attempts.push(Attempt { name: name.clone(), asked_at: input.now });
        Some(name)
    }

    /// The created key that mints. `None`: the one in the settings mints, if there is one.
    pub fn current(&self) -> Option<&CreatedKey> {
        self.current.as_ref()
    }

    /// Keys that no longer mint, and have not been deleted.
    pub fn retired(&self) -> impl Iterator<Item = &CreatedKey> {
        self.retired.iter()
    }

    /// The ids of all keys of this rotation whose bytes count as ours.
    pub fn ids(&self) -> impl Iterator<Item = &str> {
        let keys = self.current.iter().chain(&self.candidate).chain(&self.retired);
        keys.map(|key| key.id.as_str()).chain(self.deleted.iter().map(|key| key.id.as_str()))
    }

    /// What it is doing.
    pub fn state(&self) -> RotationState {
        if self.failures > 0 {
            RotationState::Failing
        } else if self.candidate.is_some() {
            RotationState::Proving
        } else if self.current.is_none() {
            RotationState::Creating
        } else {
            RotationState::Waiting
        }
    }

    /// Failed calls in a row.
    pub fn failures(&self) -> u32 {
        self.failures
    }

    /// Whether the operator must look at it.
    pub fn is_failing(&self) -> bool {
        self.failures >= FAILURES_TO_ALERT
    }

    /// Forgets the deleted keys of earlier periods.
    pub fn forget_deleted(&mut self, period_start: Timestamp) {
        self.deleted.retain(|key| key.at >= period_start);
    }
}

#[cfg(test)]
mod tests;
