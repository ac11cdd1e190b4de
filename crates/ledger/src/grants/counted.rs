//! Until when each source has counted its grants for good, and what it counted under identifiers that the ledger does not know.
//! Tests: `src/books/spending/tests/counts.rs`.
#![cfg_attr(not(test), warn(clippy::arithmetic_side_effects))]

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::spent::Spent;
use super::tails::EndedPlace;
use crate::grant_counts::GrantCounts;
use crate::owner::CountOwner;
use crate::token::GrantId;
use crate::trial::Excess;
use crate::units::{ByteCount, Timestamp};

/// The state of the counts by grant of each [group](CountOwner::group).
pub type CountedSources = BTreeMap<CountOwner, CountedSource>;

/// The state of one source's counts by grant.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct CountedSource {
    /// Everything before this instant is counted for good.
    pub until: Timestamp,
    /// Everything before this instant is counted, but perhaps not for good. Claims count only after it.
    pub(super) seen_until: Timestamp,
    /// Bytes of this period under identifiers that the ledger does not know.
    pub(super) unknown: Spent,
    /// How far a count is taken that is taken in parts.
    pub(super) taking: Option<Taking>,
    /// Whether the last count was absurd: of those that are not final, and of those that are.
    pub(super) was_absurd: [bool; 2],
    /// The excess, in this period, of chains of renewals that have left the table.
    pub(super) excess_of_left: Excess,
    /// The tails of the grants up to this one were looked at.
    pub(super) looked_at: Option<EndedPlace>,
}

/// How far a count by grant is taken. It is stored with what was taken, so that a crash lets no part count twice.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Taking {
    /// The span of the count.
    pub(super) span: (Timestamp, Timestamp),
    /// Whether it is final.
    pub(super) is_final: bool,
    /// The last grant that was taken; `None` for none.
    pub(super) last: Option<GrantId>,
    /// Bytes so far under identifiers that the ledger does not know.
    pub(super) unknown: ByteCount,
}

impl Taking {
    /// The begin of taking a count.
    pub(super) fn of(counts: &GrantCounts) -> Self {
        let span = (counts.from, counts.until);
        Self { span, is_final: counts.is_final, last: None, unknown: ByteCount::ZERO }
    }

    /// Whether it goes on with this count.
    pub(super) fn is_of(&self, counts: &GrantCounts) -> bool {
        let Self { span, is_final, .. } = Self::of(counts);
        (self.span, self.is_final) == (span, is_final)
    }
}

impl CountedSource {
    /// Bytes of this period under identifiers that the ledger does not know.
    pub fn unknown(&self) -> ByteCount {
        self.unknown.measured()
    }
}
