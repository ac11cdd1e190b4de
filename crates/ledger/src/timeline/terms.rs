//! The terms of one source. Tests: `src/open_tests.rs`.
#![cfg_attr(not(test), warn(clippy::arithmetic_side_effects))]

use std::time::Duration;

use crate::source::IceSource;

/// Sessions count as cut for this long after the listing that showed it.
pub(super) const CUT_FOR: Duration = Duration::from_secs(30);

/// The terms of one source that issues credentials.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SourceTerms {
    /// The source.
    pub source: IceSource,
    /// How long an allocation may continue after its credential's expiry.
    pub tail: Duration,
    /// The tail while we cut sessions whose grant is over; `None` if we cannot cut this source's sessions.
    pub cut_tail: Option<Duration>,
    /// The margin of error of the provider's count, in percent.
    pub sampling: u32,
    /// Whether readings of this source are taken.
    pub is_read: bool,
    /// Whether a reading without bytes is believed only if it shows a probe. Else it is believed at once.
    pub is_probed: bool,
}

impl SourceTerms {
    /// The terms of a source that is stored but no longer configured.
    pub(crate) fn of_a_removed(source: IceSource) -> Self {
        Self {
            source,
            tail: source.expiry_tail(),
            cut_tail: None,
            sampling: 0,
            is_read: false,
            is_probed: false,
        }
    }
}
