//! The terms of one owner of counts. Tests: `../ledger/src/open_tests.rs`.

use std::time::Duration;

use crate::evidence::{CountOwner, IdDigest};
use crate::minutes::SourceRows;
use crate::units::ByteCount;

/// Sessions count as cut for this long after a listing showed that they are.
pub(super) const CUT_FOR: Duration = Duration::from_secs(30);

/// The terms of one owner of counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SourceTerms {
    /// Whose count it is.
    pub owner: CountOwner,
    /// How long an allocation may continue after its credential's expiry.
    pub tail: Duration,
    /// The tail while we cut sessions whose grant is over; `None` if we cannot cut this owner's sessions.
    pub cut_tail: Option<Duration>,
    /// What it alone may relay in a period, besides the limit of all together.
    pub limit: Option<ByteCount>,
    /// The margin of error of the provider's count, in percent.
    pub sampling: u32,
    /// Whether readings of this owner are taken.
    pub is_read: bool,
    /// What must show that a count without bytes is its own.
    pub proof: ProofRule,
    /// A digest of what a provider counts: the account, the billed directions, the app of the SFU. `None` if no provider counts.
    pub counted_in: Option<IdDigest>,
}

/// What must show that a count without bytes, of a time in which a credential was live, is this owner's. A provider that counts nothing, or
/// another account, answers zero too.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ProofRule {
    /// Nothing: this broker itself counts, nothing is promised under this owner, or no count is taken.
    Unneeded,
    /// Nothing. A probe would show it, but the broker makes none.
    Missing,
    /// Bytes. No probe can be made.
    Bytes,
    /// Bytes, or the broker's own probe.
    Probe,
    /// Bytes. The TURN key has left the settings: no probe can be made, and nobody waits for its counts. What is promised stays.
    Retired,
}

impl ProofRule {
    /// Whether a count without bytes is believed only once something has shown that it is this owner's.
    pub fn is_strict(self) -> bool {
        matches!(self, Self::Bytes | Self::Probe | Self::Retired)
    }
}

impl SourceTerms {
    /// The terms of an owner without settings, whose count nobody reads.
    pub fn of_unconfigured(owner: impl Into<CountOwner>) -> Self {
        let owner = owner.into();
        Self {
            owner,
            tail: owner.source.expiry_tail(),
            cut_tail: None,
            limit: None,
            sampling: 0,
            is_read: false,
            // No count is taken, so none needs a proof.
            proof: ProofRule::Unneeded,
            counted_in: None,
        }
    }

    /// The terms of an owner that has stored rows and has left the settings. A TURN key is still counted while its account is read.
    pub(crate) fn of_removed(owner: CountOwner, rows: &SourceRows, configured: &[Self]) -> Self {
        let counted_in = rows.state.as_ref().and_then(|state| state.counted_in);
        let is_of_account = |terms: &&Self| {
            terms.owner.source == owner.source && counted_in.is_some() && terms.counted_in == counted_in
        };
        let account = configured.iter().find(is_of_account).filter(|_| owner.issuer.is_some());
        match account {
            Some(terms) => Self { owner, proof: ProofRule::Retired, ..*terms },
            None => Self::of_unconfigured(owner),
        }
    }
}
