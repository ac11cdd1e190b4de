//! The calls of a rotation, and what their outcomes change.
#![cfg_attr(not(test), warn(clippy::arithmetic_side_effects))]

use super::{
    CreatedKey, DELETED_MAX, DeletedKey, KeyRotation, KeySecret, LATE_MAX, PROOFS_MAX, RETRY_FIRST, RETRY_MAX,
};
use turn_base::backoff;
use turn_ledger::Timestamp;

/// A call to the provider.
#[derive(Clone, Debug, PartialEq, Eq, strum::IntoStaticStr)]
#[strum(serialize_all = "snake_case")]
pub enum KeyRequest {
    /// List all keys of the account.
    List,
    /// Create a key of this name.
    Create {
        /// The name, which no other key has.
        name: String,
    },
    /// Mint a credential that nobody gets.
    Prove {
        /// The new key.
        key: CreatedKey,
    },
    /// Delete a key.
    Delete {
        /// Its id.
        id: String,
    },
}

/// A key of the account.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ListedKey {
    /// Its id.
    pub id: String,
    /// Its name.
    pub name: String,
}

/// What came of a call.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CallOutcome {
    /// All keys of the account.
    Listed(Vec<ListedKey>),
    /// The new key.
    Created {
        /// Its id.
        id: String,
        /// Its secret.
        secret: KeySecret,
    },
    /// The key minted.
    Proven,
    /// The key is gone, by this call or before.
    Deleted,
    /// The provider refused: nothing was changed.
    Refused,
    /// No response, or one that says nothing: the call may have had its effect, or may have it later.
    Unknown,
}

impl KeyRequest {
    /// The name in metrics and logs.
    pub fn name(&self) -> &'static str {
        self.into()
    }
}

impl KeyRotation {
    /// Applies the outcome of the call that [`Self::step`] returned. The state must be on disk before the next call.
    /// Returns whether another key mints from now on.
    pub fn took(&mut self, call: &KeyRequest, outcome: CallOutcome, now: Timestamp) -> bool {
        let before = self.current.as_ref().map(|key| key.sequence);
        let has_succeeded = self.apply(call, outcome, now);
        if has_succeeded {
            self.failures = 0;
        } else {
            self.retry_at = now.plus(backoff::step(RETRY_FIRST, self.failures, RETRY_MAX));
            self.failures = self.failures.saturating_add(1);
        }
        before != self.current.as_ref().map(|key| key.sequence)
    }

    fn apply(&mut self, call: &KeyRequest, outcome: CallOutcome, now: Timestamp) -> bool {
        match (call, outcome) {
            (KeyRequest::List, CallOutcome::Listed(keys)) => {
                let is_refused = |id: &String| keys.iter().any(|key| key.id == *id);
                let has_deleted = !self.refused_delete.as_ref().is_some_and(is_refused);
                self.take_list(&keys, now);
                // The key that could not be deleted is still there, so the next attempt waits longer.
                return has_deleted;
            }
            (KeyRequest::Create { name }, CallOutcome::Created { id, secret }) => {
                self.attempts.retain(|attempt| attempt.name != *name);
                self.candidate = Some(CreatedKey { sequence: self.sequence, id, secret, since: now });
                self.proofs = 0;
            }
            (KeyRequest::Prove { .. }, CallOutcome::Proven) => self.promote(now),
            (KeyRequest::Delete { id }, CallOutcome::Deleted) => self.forget(id, now),
            (KeyRequest::Create { name }, CallOutcome::Refused) => {
                self.attempts.retain(|attempt| attempt.name != *name);
                return false;
            }
            (KeyRequest::Prove { .. }, _) => {
                self.fail_proof();
                return false;
            }
            (KeyRequest::Delete { id }, CallOutcome::Refused) => {
                // The key may be gone. A list says so.
                self.refused_delete = Some(id.clone());
                self.listed_at = None;
                return false;
            }
            _ => return false,
        }
        true
    }

    /// The candidate mints from now on. The key before it waits for the end of its last grant.
    fn promote(&mut self, now: Timestamp) {
        let Some(candidate) = self.candidate.take() else { return };
        let before = self.current.replace(CreatedKey { since: now, ..candidate });
        self.retired.extend(before.map(|key| CreatedKey { since: now, ..key }));
        self.is_current_gone = false;
    }

    /// A key that fails its proof too often is given up and deleted.
    fn fail_proof(&mut self) {
        self.proofs = self.proofs.saturating_add(1);
        if self.proofs >= PROOFS_MAX {
            self.orphans.extend(self.candidate.take().map(|key| key.id));
        }
    }

    /// Finds keys that were asked for and whose id is not known, and whether somebody else has deleted a key.
    fn take_list(&mut self, keys: &[ListedKey], now: Timestamp) {
        self.listed_at = Some(now);
        let exists = |id: &str| keys.iter().any(|key| key.id == id);
        self.is_current_gone = self.current.as_ref().is_some_and(|key| !exists(&key.id));
        for ListedKey { id, name } in keys {
            let is_ours = self.attempts.iter().any(|attempt| attempt.name == *name);
            if is_ours && !self.orphans.contains(id) {
                self.orphans.push(id.clone());
            }
        }
        // A lost request does not arrive later than this.
        self.attempts.retain(|attempt| {
            now < attempt.asked_at.plus(LATE_MAX) || keys.iter().any(|key| key.name == attempt.name)
        });
        if let Some(id) = self.refused_delete.take().filter(|id| !exists(id)) {
            self.forget(&id, now);
        }
    }

    /// A key does not exist any more.
    fn forget(&mut self, id: &str, now: Timestamp) {
        self.orphans.retain(|orphan| orphan != id);
        let (gone, left) = std::mem::take(&mut self.retired).into_iter().partition(|key| key.id == id);
        self.retired = left;
        let gone: Vec<CreatedKey> = gone;
        self.deleted.extend(gone.into_iter().map(|key| DeletedKey { id: key.id, at: now }));
        let excess = self.deleted.len().saturating_sub(DELETED_MAX);
        self.deleted.drain(..excess);
    }
}
