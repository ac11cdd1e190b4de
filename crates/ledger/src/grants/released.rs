//! What was promised for a revoked grant, and is released because nothing more can be relayed on it.
//!
//! Only a source that refuses the credential from the revocation on can say so, and only once it has no session of the grant. The
//! minute of that moment stays promised, because its bytes may not be counted yet. A grant that was renewed is released after its
//! renewal: of the two, one relays at a time, so the renewal relies on the minutes of the renewed grant.
#![cfg_attr(not(test), warn(clippy::arithmetic_side_effects))]

use super::{GrantRow, Grants};
use crate::minute::Minute;
use crate::source::IceSource;
use crate::token::GrantId;
use crate::units::Timestamp;
use crate::usage_change::ChangeKind;

impl GrantRow {
    /// Whether its promise can be released once it is gone. Its source ends its sessions and refuses new ones.
    pub(super) fn may_be_released(&self) -> bool {
        let is_known = self.reserved_from != Minute::default();
        self.revoked_at.is_some() && self.source.refuses_revoked() && is_known && !self.released
    }
}

impl Grants {
    /// Releases what is promised for the revoked grants of a source that have no session now. The source must have refused new
    /// sessions of each since before it looked.
    pub(crate) fn release_gone(
        &mut self,
        source: IceSource,
        has_session: impl Fn(GrantId) -> bool,
        now: Timestamp,
    ) -> Vec<ChangeKind> {
        let is_gone = |id: &GrantId| {
            let row = self.rows.get(id).filter(|row| row.source == source);
            row.is_some_and(|row| self.no_renewal_relies_on(row) && !row.is_unsettled) && !has_session(*id)
        };
        let gone: Vec<_> = self.releasable.iter().copied().filter(is_gone).collect();
        gone.into_iter().filter_map(|id| self.release_promise(id, now)).collect()
    }

    fn release_promise(&mut self, id: GrantId, now: Timestamp) -> Option<ChangeKind> {
        self.releasable.remove(&id);
        let row = self.rows.get_mut(&id)?;
        row.released = true;
        self.dirty.note(id);
        let until = row.alive_until?;
        let from = Minute::of(now).next().max(row.reserved_from);
        if from >= until {
            return None;
        }
        if let Some(user) = row.spender.as_deref().and_then(|spender| spender.user.as_ref())
            && self.spending.promises()
        {
            let minutes = row.promised_minutes();
            self.spenders.withdraw(user, row.source, &(minutes.start..until));
            self.spenders.promise(user, row.source, &(minutes.start..from));
        }
        if let Some(client) = row.client.filter(|_| row.reserved_minutes > 0) {
            self.clients.release(client, until, row.reserved_minutes);
            row.reserved_minutes = row.reserved_minutes.saturating_sub(until.since(from));
            self.clients.reserve(client, from, row.reserved_minutes);
        }
        row.alive_until = Some(from);
        Some(ChangeKind::ReleaseGrant { from, until })
    }

    /// The commit of a grant is settled: it will not be undone.
    pub(crate) fn settle(&mut self, id: GrantId) {
        if let Some(row) = self.rows.get_mut(&id) {
            row.is_unsettled = false;
        }
    }
}
