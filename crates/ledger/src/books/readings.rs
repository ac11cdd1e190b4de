//! The counts of sources, and what the broker relays itself to test them. Tests: `src/books/tests/owners.rs`.
//! These methods change the ledger alone, not the grants. An owner that is not known changes nothing.

use turn_budget::{
    Basis, ByteCount, Carried, ChangeKind, CountOwner, IceSource, Minute, ProofRule, Reading, ReadingOutcome,
    Spread, UsageChange,
};

use super::Books;

impl Books {
    /// Takes a reading of an owner.
    pub fn take_reading(&mut self, owner: impl Into<CountOwner>, reading: &Reading) -> ReadingOutcome {
        self.budget.take_reading(owner, reading)
    }

    /// Takes what an owner that the broker itself watches has carried since its last count. The caller makes sure that [`Self::may_count`]
    /// is true.
    pub fn carry(&mut self, owner: impl Into<CountOwner>, carried: &Carried) {
        let owner = owner.into();
        self.budget.with(owner, |timeline| timeline.carry(carried));
        self.budget.share_counts(owner);
    }

    /// Notes that the count of a settled day has grown: this source counts bytes later than the lag, so a reading can release room that
    /// was used.
    pub fn note_late_counts(&mut self, source: IceSource) {
        let now = self.now();
        self.budget.with(source.into(), |timeline| timeline.state.late = Some(now));
    }

    /// Sets whether the broker can make a probe for this owner. If it cannot, counts without bytes are believed.
    pub fn set_probed(&mut self, owner: impl Into<CountOwner>, is_probed: bool) {
        let proof = if is_probed { ProofRule::Probe } else { ProofRule::Missing };
        self.budget.with(owner.into(), |timeline| timeline.terms.proof = proof);
    }

    /// Counts what a probe is about to relay, until a count replaces it.
    pub fn charge_probe(&mut self, owner: impl Into<CountOwner>, bytes: ByteCount) {
        let now = self.now();
        let kind = ChangeKind::AddBytes(Spread::new(bytes, now, now));
        self.budget.charge(UsageChange { owner: owner.into(), basis: Basis::Ungranted, kind });
    }

    /// Notes that a probe has relayed in this minute.
    pub fn note_probe(&mut self, owner: impl Into<CountOwner>, minute: Minute) {
        self.budget.with(owner.into(), |timeline| timeline.state.proof.note(minute));
    }

    /// Notes that a count shows the probe of this minute.
    pub fn show_probe(&mut self, owner: impl Into<CountOwner>, minute: Minute) {
        self.budget.with(owner.into(), |timeline| timeline.state.proof.show(minute));
    }
}
