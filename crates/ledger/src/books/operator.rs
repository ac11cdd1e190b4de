//! The operator's overrides. Tests: `src/books/tests/strangers/stopped.rs`.

use turn_budget::{ByteCount, GrantId, IceSource, Timestamp};

use super::Books;
use crate::grants::{ASK_PAUSE, FIRST, GrantRow, Grants};
use crate::reports::Closed;

impl Books {
    /// Overrides the limit; `None` removes the override.
    pub fn override_limit(&mut self, limit: Option<ByteCount>) {
        self.overrides.override_limit(limit, self.configured_limit);
        self.budget.terms.limit = self.overrides.limit(self.configured_limit);
    }

    /// Stops all minting, or allows it again. While minting is stopped, the client of a grant may claim bytes only at the assumed rate.
    pub fn override_freeze(&mut self, frozen: bool) {
        let was_frozen = std::mem::replace(&mut self.overrides.frozen, frozen);
        if frozen != was_frozen {
            self.set_claim_rate();
        }
    }

    /// Sets the rate at which the client of a grant may claim bytes, after an override or a start. Drops what grants have saved for claims.
    /// If minting is stopped, also drops what the clients, users and server keys of open connections have saved, and stops the clocks that
    /// do not fit into the lower rate.
    pub(super) fn set_claim_rate(&mut self) {
        let (promised_rate, now) = (self.budget.assumed_rate(), self.now());
        self.grants.set_claim_rate(self.is_frozen().then_some(promised_rate), now);
        if self.is_frozen() {
            self.connections.shrink_claims(&mut self.grants, now);
            self.apply_effects();
        }
    }

    /// Whether an override stops all minting.
    pub fn is_frozen(&self) -> bool {
        self.overrides.frozen
    }

    /// Whether the operator forbids handing out a new credential: minting is stopped, or the grant that it renews was revoked.
    pub fn has_stopped(&self, renews: Option<GrantId>) -> bool {
        self.is_frozen() || renews.is_some_and(|grant| self.grants.is_revoked(grant))
    }

    /// Revokes a credential and closes its connections. `None` for a grant that is unknown, that costs nothing, or that has expired and has
    /// no open connection. What is promised for the grant stays reserved, and no report charges the grant any more. The caller asks the
    /// source to end the credential.
    pub fn revoke(&mut self, grant: GrantId) -> Option<(GrantRow, Vec<Closed>)> {
        self.revoke_asking(grant, self.now().plus(ASK_PAUSE))
    }

    /// The same for a credential that the broker ends by itself. The caller does not ask the source: the next [`Self::take_unanswered`]
    /// returns the credential, and the source is asked then.
    pub fn revoke_and_ask(&mut self, grant: GrantId) -> Option<(GrantRow, Vec<Closed>)> {
        self.revoke_asking(grant, FIRST)
    }

    /// Revokes a credential, and closes its connections. `ask_from`: the instant from which [`Self::take_unanswered`] returns the
    /// credential; `FIRST`: at once.
    fn revoke_asking(&mut self, grant: GrantId, ask_from: Timestamp) -> Option<(GrantRow, Vec<Closed>)> {
        let now = self.now();
        let row = self.grants.revoke(grant, now, ask_from)?.clone();
        let is_it = |_: &Grants, id| id == grant;
        let closed = self.connections.close_all_of(&mut self.grants, is_it, now);
        self.apply_effects();
        Some((row, closed))
    }

    /// Releases what is promised for the revoked grants of a source that have no session there. Releases nothing at a source that does not
    /// refuse revoked grants. Callers make sure that the source refused these grants before it listed its sessions. Returns how many
    /// reserved minutes were freed.
    pub fn release_gone(&mut self, source: IceSource, has_session: impl Fn(GrantId) -> bool) -> u64 {
        // While the wall clock is ahead and not accepted yet, it may be right. Then what was relayed so far counts at the wall clock's
        // time.
        let now = self.now().plus(self.clock_ahead());
        let released = self.grants.release_gone(source, has_session, now);
        self.apply_effects();
        released
    }
}
