//! Grants and the grants that renew them, and revocations.

use turn_ledger::{
    Books, Caller, GrantEnd, GrantId, IceSource, Minute, OpenError, PromisedTime, ReportError, Timestamp,
};

use super::allowances::Holder;
use super::{Known, Model, minute_from, minute_of, signed};

impl Model {
    /// A grant and its renewals, from this one on.
    fn chain(&self, id: GrantId) -> Vec<&Known> {
        let (mut chain, mut next) = (vec![], Some(id));
        while let Some(known) =
            next.and_then(|id| self.now.grants.iter().find(|known| known.id == id && known.has_row))
        {
            next = known.renewed_by;
            chain.push(known);
        }
        chain
    }

    /// When the last credential of a chain at one source expires. Revoked renewals do not count, nor those that may be undone.
    pub(super) fn expiry_of(&self, id: GrantId) -> Option<i64> {
        let chain = self.chain(id);
        let source = chain.first()?.source;
        let counts = |known: &&&Known| {
            let is_valid = known.revoked_at.is_none() && known.is_settled;
            known.is_live && (known.id == id || (known.source == source && is_valid))
        };
        chain.iter().filter(counts).map(|known| known.latest_expiry()).max()
    }

    /// Whether a grant with a row was revoked.
    pub(in super::super) fn is_revoked(&self, id: GrantId) -> bool {
        self.chain(id).first().is_some_and(|known| known.revoked_at.is_some())
    }

    /// Why a grant with a row takes no report, if it does not.
    pub(in super::super) fn refuses_report(&self, id: GrantId) -> Option<ReportError> {
        self.is_revoked(id).then_some(ReportError::GrantRevoked)
    }

    /// Why nothing is opened on a grant, if that is so. What is open stays open, unless it was revoked.
    pub(in super::super) fn refuses_open(&self, caller: Caller, name: &str, now: i64) -> Option<OpenError> {
        let grant = caller.grant()?;
        if self.is_revoked(grant.id) {
            return Some(OpenError::GrantRevoked);
        }
        let chain = self.chain(grant.id);
        let by = chain.first().filter(|known| known.was_renewed).and_then(|known| known.renewed_by);
        let is_made = |by| self.now.grants.iter().all(|it| it.id != by || it.is_settled);
        let is_client = matches!(caller, Caller::Grant(_));
        let renewed = (by.is_some_and(is_made) && is_client).then_some(OpenError::GrantRenewed);
        let expired = (grant.expires_at.as_millis() <= now).then_some(OpenError::GrantExpired);
        expired.or(renewed).filter(|_| !self.now.is_open(name, grant.id))
    }

    /// Compares whether and why nothing more is relayed on each grant, by the expiry in its credential if its row is over.
    pub(in super::super) fn check_ends(&self, books: &Books, is_spent: bool) -> Option<String> {
        let now = books.now().as_millis();
        self.now.grants.iter().find_map(|known| {
            let in_credential = known.latest_expiry();
            let expected = match self.expiry_of(known.id).unwrap_or(in_credential) {
                _ if self.is_revoked(known.id) => Some(GrantEnd::Revoked),
                expiry if now >= expiry => Some(GrantEnd::Expired),
                _ => is_spent.then_some(GrantEnd::Spent),
            };
            let found = books.grant_end(known.id, Some(Timestamp::from_millis(in_credential)));
            (found != expected).then(|| format!("it ends by {found:?}, not {expected:?}: {known:?}"))
        })
    }

    /// Minutes from now on that are promised for a grant that is renewed, and how many grants before the renewal go on because of it.
    pub(in super::super) fn covered(
        &mut self,
        renewed: Option<GrantId>,
        source: IceSource,
        now: Timestamp,
        is_cut_here: bool,
    ) -> (u128, u128) {
        let renewed = renewed.and_then(|id| self.grant(id)).filter(|known| known.source == source);
        let Some(known) = renewed else { return (0, 0) };
        let covered = known.until.max(known.reserved_from) - minute_of(now.as_millis());
        let before = if is_cut_here { u128::from(known.chain_before) + 1 } else { 0 };
        (u128::try_from(covered).unwrap_or(0), before)
    }

    /// What is promised for the grants of a holder that have not ended.
    pub(in super::super) fn reserved_by(
        &self,
        holder: Holder,
        now: i64,
    ) -> impl Iterator<Item = PromisedTime> {
        let theirs = self
            .now
            .grants
            .iter()
            .filter(move |known| known.holders().contains(&holder) && known.until > now);
        theirs.map(Known::promised)
    }

    /// What a hold promises wrong. `expires_by`: the latest time at which its credential expires. `is_cut_here`: sessions of its source
    /// are ended here, so those of the grants before it go on.
    #[expect(clippy::too_many_arguments, reason = "each is a fact of its own")]
    pub(in super::super) fn differs_from_hold(
        &mut self,
        held: &PromisedTime,
        now: Timestamp,
        expires_by: Timestamp,
        tail: u64,
        source: IceSource,
        renewed: Option<GrantId>,
        is_cut_here: bool,
    ) -> Option<String> {
        let from = minute_of(now.as_millis());
        let (covered, before) = self.covered(renewed, source, now, is_cut_here);
        let covered = from + i64::try_from(covered).unwrap_or(0);
        let until = minute_from(expires_by.as_millis() + signed(tail));
        let expected = PromisedTime {
            from: Minute::new(from),
            reserved_from: Minute::new(covered),
            chain_before: u16::try_from(before).unwrap_or(0),
            until: Minute::new(until),
            per_minute: held.per_minute,
            is_held: true,
        };
        (*held != expected).then(|| format!("a hold says {held:?} instead of {expected:?}"))
    }

    /// A promise is shorter: its renewals rely on it no longer.
    pub(super) fn reserve_after(&mut self, first: usize) {
        let mut nth = first;
        loop {
            let known = &self.now.grants[nth];
            let end = known.until.max(known.reserved_from);
            let Some(next) =
                known.renewed_by.and_then(|id| self.now.grants.iter().position(|it| it.id == id))
            else {
                return;
            };
            let renewal = &mut self.now.grants[next];
            if renewal.reserved_from <= end {
                return;
            }
            renewal.reserved_from = end;
            nth = next;
        }
    }

    /// A client asks to renew: whether it must be allowed.
    pub(in super::super) fn renew(&mut self, id: GrantId, now: i64) -> bool {
        let Some(known) = self.grant(id) else { return false };
        let is_due =
            now - known.issued_at >= (known.expires_at - known.issued_at) * 3 / 4 && now < known.expires_at;
        let is_allowed = is_due && !known.was_renewed && known.revoked_at.is_none();
        known.was_renewed |= is_allowed;
        is_allowed
    }

    /// The renewal issued nothing.
    pub(in super::super) fn give_renewal_back(&mut self, id: GrantId) {
        let is_known = |by: &GrantId| self.now.grants.iter().any(|it| it.id == *by && it.has_row);
        let made = self.chain(id).first().and_then(|known| known.renewed_by).filter(is_known);
        if let Some(known) = self.grant(id) {
            (known.was_renewed, known.renewed_by) = (false, made);
        }
    }

    /// The operator revokes a grant: whether it can be revoked. `is_open`: whether a connection is open on it.
    pub(in super::super) fn revoke(&mut self, id: GrantId, now: i64, is_open: bool) -> bool {
        let Some(known) = self.grant(id) else { return false };
        let is_in_use = known.source != IceSource::Sfu && (known.latest_expiry() > now || is_open);
        if is_in_use {
            known.revoked_at.get_or_insert(now);
            self.disconnect_all(id, now);
        }
        is_in_use
    }
}
