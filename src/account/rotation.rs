//! The account's interface for the rotation of the TURN key. Its state is on disk before a call is made.

use std::time::Duration;

use super::Account;
use turn_ledger::books::NotRecorded;
use turn_ledger::key_rotation::{Call, CallOutcome, KeyRotation};

impl Account {
    /// The rotation of the TURN key.
    #[must_use]
    pub fn rotation(&self) -> KeyRotation {
        self.with(|books| books.rotation().clone())
    }

    /// The call that is due now, after what it may create is on disk.
    pub async fn rotation_step(
        &self,
        every: Duration,
        is_refused: bool,
        random: u64,
    ) -> Result<Option<Call>, NotRecorded> {
        if !self.is_writable() {
            return Err(NotRecorded);
        }
        let Some(call) = self.with(|books| books.rotation_step(every, is_refused, random)) else {
            return Ok(None);
        };
        self.record(false).await?;
        Ok(Some(call))
    }

    /// Applies the outcome of that call. Returns whether another key mints from now on. The state is on disk before the next call.
    pub fn rotation_took(&self, call: &Call, outcome: CallOutcome) -> bool {
        let is_new = self.with(|books| books.rotation_took(call, outcome));
        self.flush();
        is_new
    }
}
