//! Revoked grants, and why nothing more is relayed for a grant. Tests: `src/grants_tests.rs`.
#![cfg_attr(not(test), warn(clippy::arithmetic_side_effects))]

use super::Grants;
use super::ending::has_no_answer;
use super::row::{GrantEnd, GrantRow, Revoked};
use crate::token::GrantId;
use crate::units::Timestamp;

impl Grants {
    /// Whether a grant was revoked. It stays so after its end.
    pub fn is_revoked(&self, id: GrantId) -> bool {
        self.any(id).is_some_and(|row| row.extra().revoked_at.is_some())
    }

    /// Revokes a grant. A second call does not change the time. `None` for an unknown grant, for one that costs nothing
    /// and for one that has expired and has no open connection.
    ///
    /// The grant stays committed, because a running allocation may continue. Its source is asked to end it from `ask_from` on.
    pub(crate) fn revoke(&mut self, id: GrantId, now: Timestamp, ask_from: Timestamp) -> Option<&GrantRow> {
        let row = self.get(id).filter(|row| row.source.is_metered() && row.is_in_use(now))?;
        if row.extra().revoked_at.is_none() {
            self.edit(id, |row| row.extra_mut().revoked_at = Some(now));
            if self.get(id).is_some_and(has_no_answer) {
                self.indexes.unanswered.insert(id, ask_from);
            }
        }
        self.get(id)
    }

    /// Notes what its source answered when it was asked to revoke a grant: whether it knew the grant.
    pub(crate) fn note_known_to_source(&mut self, id: GrantId, is_known: bool) {
        self.edit_live(id, |row| row.extra_mut().known_to_source = Some(is_known));
    }

    /// The revoked grants that the table still has, the latest revocation first.
    pub fn revoked(&self) -> impl Iterator<Item = Revoked> {
        self.indexes.revoked.iter().rev().filter_map(|(revoked_at, grant)| {
            let row = self.get(*grant)?;
            let (grant, revoked_at) = (*grant, *revoked_at);
            Some(Revoked { grant, source: row.source, revoked_at, expires_at: row.expires_at })
        })
    }

    /// The reason why the relay must stop serving a grant, if there is one. `expiry` is the one in the credential, for a grant without a
    /// row. A grant with neither counts as expired. A row of the time in which the wall clock was ahead has two expiries, and the later
    /// one counts: the other clock may be wrong, and room is promised until then. A renewal at the same source prolongs what was begun
    /// before it: room is promised for the chain, of which one credential relays at a time.
    pub fn end_of(
        &self,
        id: GrantId,
        expiry: Option<Timestamp>,
        is_spent: bool,
        now: Timestamp,
    ) -> Option<GrantEnd> {
        let expires_at = self.expiry_of(id, expiry);
        if self.is_revoked(id) {
            return Some(GrantEnd::Revoked);
        }
        if expires_at.is_none_or(|end| now >= end) {
            return Some(GrantEnd::Expired);
        }
        is_spent.then_some(GrantEnd::Spent)
    }
}
