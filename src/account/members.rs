//! The account's interface for signaling: the connections of a call's members, and the revocation of their grants. Only
//! [`Account::recorded`] waits for the disk, so a ledger that cannot be written does not hold up a call.

use std::sync::Arc;

use super::{Account, RenewalRight};
use turn_ledger::{Books, Grant, GrantId, GrantRow, Report, ReportError, Spender};

impl Account {
    /// Reports that the connection of a member goes on, and opens it if it is not open. If the promise for the grant and its renewals ends
    /// before the next report, closes the connection, even if the call goes on: after the promise the grants can relay nothing.
    pub fn keep_member(&self, grant: GrantId, id: &str) {
        let member =
            self.change(|books| books.member_with(grant).map(|member| (member, is_promised(books, grant))));
        let Some((member, is_promised)) = member else { return };
        if !is_promised {
            return self.close_member(grant, id);
        }
        if matches!(self.heartbeat(member, None, id, Report::default()), Err(ReportError::Unknown)) {
            // If a table is full, the metrics count that.
            let _ = self.open(member, None, id, None, Spender::default());
        }
    }

    /// Takes the right to renew for a member whose client cannot take another credential. `None` if no renewal is due, or if the last grant
    /// of the chain that begins with `grant` is not live. The right and the row are of this last grant.
    pub fn take_member_renewal(self: &Arc<Self>, grant: GrantId) -> Option<(RenewalRight, GrantRow)> {
        let (last, row) = self.change(|books| {
            let last = books.grants().with_renewals(grant).last()?;
            Some((last, books.grants().get(last)?.clone()))
        })?;
        let GrantRow { source, issued_at, expires_at, .. } = row;
        let right = self.take_renewal(&Grant { id: last, source, issued_at, expires_at }, |_| true)?;
        Some((right, row))
    }

    /// Closes the connection of a member.
    pub fn close_member(&self, grant: GrantId, id: &str) {
        if let Some(member) = self.change(|books| books.member_with(grant)) {
            // A revoked grant has no connection left to close.
            let _ = self.close(member, id, Report::default());
        }
    }

    /// Revokes a credential with its renewals, and closes their connections. Takes effect at once; [`Self::recorded`] waits until it is on
    /// disk. Later `src/mint/ending.rs` asks the source to end the credentials. Returns how many credentials this has revoked: those that
    /// were metered, in use, and not revoked before.
    pub fn cut(&self, id: GrantId) -> usize {
        let not_revoked = |books: &Books| {
            let grants = books.grants();
            grants.with_renewals(id).filter(|id| !grants.is_revoked(*id)).collect()
        };
        self.revoke_found(not_revoked, Books::revoke_and_ask).len()
    }
}

/// Whether the whole interval until the next report is promised for the grant or a renewal of it.
fn is_promised(books: &Books, grant: GrantId) -> bool {
    let chain = books.grants().with_renewals(grant);
    let until = chain.filter_map(|grant| books.grants().get(grant)?.alive_until()).max();
    until.is_some_and(|until| until.start() >= books.now().plus(books.connections().rules.heartbeat))
}
