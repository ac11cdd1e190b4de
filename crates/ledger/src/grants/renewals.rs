//! Which grant renewed which. Tests: `src/books/tests/released.rs`.
//! A grant and its renewals belong to one client, and rely on the minutes of each other: whatever ends the client's relaying ends all of
//! them.
#![cfg_attr(not(test), warn(clippy::arithmetic_side_effects))]

use std::iter;

use super::Grants;
use super::row::{GrantRow, GrantState};
use crate::token::GrantId;
use crate::units::Timestamp;

impl Grants {
    /// Notes the grant that renews another one.
    pub(crate) fn note_renewal(&mut self, renewed: GrantId, by: GrantId) {
        self.edit_live(renewed, |row| row.extra_mut().renewed_by = Some(by));
    }

    /// Whether the renewal of a grant is committed. One that is being made, or whose write failed, does not count; one without a row
    /// costs nothing, so nothing of it was written.
    pub(crate) fn was_renewed(&self, id: GrantId) -> bool {
        let is_written = |by| self.any(by).is_none_or(|row| row.state != GrantState::Unwritten);
        self.any(id).is_some_and(|row| row.extra().renewed && row.extra().renewed_by.is_some_and(is_written))
    }

    /// A grant, its renewal, the renewal of that, and so on. The latest one ends the list.
    pub fn with_renewals(&self, id: GrantId) -> impl Iterator<Item = GrantId> + '_ {
        iter::successors(Some(id), move |id| self.any(*id)?.extra().renewed_by)
    }

    /// When the last credential of a grant and its renewals at the same source expires, by either clock. Revoked renewals do not
    /// count. `expiry`: that of the credential, if no row is known.
    pub(crate) fn expiry_of(&self, id: GrantId, expiry: Option<Timestamp>) -> Option<Timestamp> {
        let source = self.any(id).map(|row| row.source);
        let of_chain = self.with_renewals(id).filter_map(|it| Some((it, self.get(it)?)));
        let counts = |(it, row): &(GrantId, &GrantRow)| {
            *it == id
                || (Some(row.source) == source
                    && row.extra().revoked_at.is_none()
                    && row.state != GrantState::Unwritten)
        };
        of_chain.filter(counts).map(|(_, row)| row.latest_expiry()).max().or(expiry)
    }

    /// Whether no renewal relies on the minutes of a grant: there is none, or nothing can be relayed on it and its own minutes are
    /// released. A renewal that is not in the table relies on them, for all we know.
    pub(super) fn no_renewal_relies_on(&self, row: &GrantRow) -> bool {
        let renewal = row.extra().renewed_by.and_then(|id| self.any(id));
        !row.extra().renewed || renewal.is_some_and(GrantRow::is_released)
    }
}
