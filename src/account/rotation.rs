//! The account's interface for the rotation of the TURN key. Its state is on disk before a call is made. The books know which
//! old keys still have live grants.

use std::time::Duration;

use super::{Account, Guarded};
use crate::rotation::{CallOutcome, KeyRequest, KeyRotation, RotationInput};
use turn_ledger::NotRecorded;

impl Account {
    /// The rotation of the TURN key.
    pub fn rotation(&self) -> KeyRotation {
        self.guarded.lock().rotation.get().clone()
    }

    /// The call that is due now, after what it may create is on disk. `every`: how long a key mints. `is_refused`: whether the
    /// provider refuses the key that mints.
    pub async fn rotation_step(
        &self,
        every: Duration,
        is_refused: bool,
        random: u64,
    ) -> Result<Option<KeyRequest>, NotRecorded> {
        if !self.is_writable() {
            return Err(NotRecorded);
        }
        let call = self.with_all(|Guarded { books, rotation, .. }| {
            let now = books.now();
            let has_grants = |key| books.grants().key_is_used(key, now);
            let input = RotationInput { now, every, is_refused, has_grants: &has_grants, random };
            rotation.change(|rotation| rotation.step(&input))
        });
        let Some(call) = call else { return Ok(None) };
        self.recorded().await?;
        Ok(Some(call))
    }

    /// Applies the outcome of that call. Returns whether another key mints from now on. The state is on disk before the next call.
    pub fn rotation_took(&self, call: &KeyRequest, outcome: CallOutcome) -> bool {
        let is_new = self.with_all(|Guarded { books, rotation, .. }| {
            let period = books.snapshot().figures.period;
            rotation.change(|rotation| {
                rotation.forget_deleted(period.start);
                rotation.took(call, outcome, books.now())
            })
        });
        self.flush();
        is_new
    }
}
