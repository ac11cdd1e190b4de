//! The rotation of the TURN key, as a part of the books: they know which old keys still have live grants.

use std::time::Duration;

use super::{Books, Whole};
use crate::key_rotation::{Call, CallOutcome, KeyRotation, RotationInput};

impl Books {
    /// The rotation of the TURN key.
    #[must_use]
    pub fn rotation(&self) -> &KeyRotation {
        &self.rotation
    }

    /// The call that is due now. The changes must be stored before it is made. `every`: how long a key mints. `is_refused`:
    /// whether the provider refuses the key that mints.
    pub fn rotation_step(&mut self, every: Duration, is_refused: bool, random: u64) -> Option<Call> {
        let (now, grants) = (self.now(), &self.grants);
        let has_grants = |key| grants.key_is_used(key, now);
        let input = RotationInput { now, every, is_refused, has_grants: &has_grants, random };
        let call = self.rotation.step(&input)?;
        self.dirty.note(Whole::Rotation);
        Some(call)
    }

    /// Applies the outcome of that call. Returns whether another key mints from now on.
    pub fn rotation_took(&mut self, call: &Call, outcome: CallOutcome) -> bool {
        let now = self.now();
        let period_start = self.ledger.figures().period.start;
        self.rotation.forget_deleted(period_start);
        self.dirty.note(Whole::Rotation);
        self.rotation.took(call, outcome, now)
    }
}
