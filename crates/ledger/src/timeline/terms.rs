//! The terms of one source. Tests: `src/open_tests.rs`.

use std::time::Duration;

use crate::minute_usage::SourceRows;
use crate::owner::{CountOwner, IdDigest};
use crate::units::ByteCount;

/// Sessions count as cut for this long after the listing that showed it.
pub(super) const CUT_FOR: Duration = Duration::from_secs(30);

/// The terms of one source that issues credentials.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SourceTerms {
    /// Whose count it is.
    pub owner: CountOwner,
    /// How long an allocation may continue after its credential's expiry.
    pub tail: Duration,
    /// The tail while we cut sessions whose grant is over; `None` if we cannot cut this source's sessions.
    pub cut_tail: Option<Duration>,
    /// Whether the tail that trials prove replaces `tail`, and a proven end of a revoked credential releases what is left.
    pub takes_proofs: bool,
    /// What it may relay in a period, beside the limit of all.
    pub limit: Option<ByteCount>,
    /// The margin of error of the provider's count, in percent.
    pub sampling: u32,
    /// Whether readings of this source are taken.
    pub is_read: bool,
    /// What must show that its count is one.
    pub proof: ProofRule,
    /// The account that is counted, with the app of the SFU. `None` if that is not another party's.
    pub counted_in: Option<IdDigest>,
}

/// What must show that a count of a time in which a credential was live is of this owner, if it has no bytes. One that counts nothing, or
/// another account, answers zero too.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ProofRule {
    /// Nothing: it is counted here, or nothing is promised under it.
    Unneeded,
    /// Nothing, although a probe would show it: there is no way for one.
    Missing,
    /// Bytes. No probe can be made.
    Bytes,
    /// Bytes, or the broker's own probe.
    Probe,
    /// Bytes. The TURN key has left the settings: no probe can be made, and nobody waits for its counts. What is promised stays.
    Retired,
}

impl ProofRule {
    /// Whether a count without bytes is not believed at once.
    pub(crate) fn is_strict(self) -> bool {
        matches!(self, Self::Bytes | Self::Probe | Self::Retired)
    }
}

impl SourceTerms {
    /// The terms of an owner without settings, whose count nobody reads.
    pub(crate) fn of_unconfigured(owner: impl Into<CountOwner>) -> Self {
        let owner = owner.into();
        Self {
            owner,
            tail: owner.source.expiry_tail(),
            cut_tail: None,
            takes_proofs: false,
            limit: None,
            sampling: 0,
            is_read: false,
            // No count is taken, so none needs a proof.
            proof: ProofRule::Unneeded,
            counted_in: None,
        }
    }

    /// The terms of an owner that has stored rows and has left the settings. A TURN key of an account that is still read is counted.
    pub(crate) fn of_a_stored(owner: CountOwner, rows: &SourceRows, configured: &[Self]) -> Self {
        let counted_in = rows.state.as_ref().and_then(|state| state.counted_in);
        let is_of_account = |terms: &&Self| {
            terms.owner.source == owner.source && counted_in.is_some() && terms.counted_in == counted_in
        };
        let account = configured.iter().find(is_of_account).filter(|_| owner.turn_key.is_some());
        match account {
            Some(terms) => Self { owner, proof: ProofRule::Retired, takes_proofs: false, ..*terms },
            None => Self::of_unconfigured(owner),
        }
    }
}
