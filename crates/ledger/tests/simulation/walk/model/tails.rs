//! How promises change after their credential was made: longer and shorter tails, reports, and what is released.

use turn_ledger::{GrantId, IceSource};

use super::{Facts, Known, MINUTE, Model, SLACK, minute_from, minute_of, signed};

/// Sessions count as cut for so long after the listing that showed it.
const CUT_FOR: i64 = 15_000;
/// A session that has expired for so long at a listing is cut before the next one.
const CUT_TIME: i64 = 10_000;

impl Known {
    /// When the credential expires at the latest, by either clock.
    pub(super) fn latest_expiry(&self) -> i64 {
        self.expires_at + self.ahead
    }

    /// At least this long a tail, and this rate, is promised.
    fn raise(&mut self, tail: i64, per_minute: u64) {
        let until = minute_from(self.latest_expiry() + tail + SLACK).max(self.until);
        (self.until, self.per_minute) = (until, self.per_minute.max(per_minute));
        self.due = self.due.max(until);
    }
}

impl Facts {
    /// The settings have changed, or sessions are not cut: what is promised for grants of a source becomes longer, unless it was over at
    /// `since`. Nothing more is relayed on one that was released. Of those that have left the table only the latest is known, so if it may
    /// relay for longer, the ledger lacks grants.
    fn raise(
        &mut self,
        source: IceSource,
        tail: u64,
        per_minute: u64,
        since: i64,
        now: i64,
        has_row: impl Fn(GrantId) -> bool,
    ) {
        let of_source = self.grants.iter_mut().filter(|known| known.source == source && !known.is_released);
        let (mut expiry, mut until) = (0, 0);
        for known in of_source {
            if !has_row(known.id) {
                (expiry, until) = (known.latest_expiry().max(expiry), known.until.max(until));
            } else if known.until * MINUTE > since {
                known.raise(signed(tail), per_minute);
            }
        }
        let end = minute_from(expiry + signed(tail) + SLACK);
        if end > until && until * MINUTE > since && end * MINUTE > now {
            self.lacks_until = self.lacks_until.max(end * MINUTE);
        }
    }
}

impl Model {
    /// Whether sessions of coturn are cut at this time.
    pub(in super::super) fn is_cut(&self, latest: i64) -> bool {
        latest - self.now.cut_until <= CUT_FOR
    }

    /// Time has passed. `latest`: the later of the books' time and the wall clock. `tail`: that of sessions that are not cut.
    pub(in super::super) fn note_cutting(
        &mut self,
        now: i64,
        latest: i64,
        tail: u64,
        per_minute: u64,
        has_row: impl Fn(GrantId) -> bool,
    ) {
        let is_cut = self.is_cut(latest);
        if !is_cut && !self.now.is_raised {
            let since = self.now.cut_until;
            self.now.raise(IceSource::Coturn, tail, per_minute, since, now, has_row);
        }
        self.now.is_raised = !is_cut;
    }

    /// A process has started, perhaps with other settings. `tails`: what is configured, or in force for coturn.
    pub(in super::super) fn extend_tails(
        &mut self,
        now: i64,
        tails: &[(IceSource, u64)],
        per_minute: u64,
        has_row: impl Fn(GrantId) -> bool,
    ) {
        for (source, tail) in tails {
            let since = if *source == IceSource::Coturn { self.now.cut_until } else { 0 };
            self.now.raise(*source, *tail, per_minute, since, now, &has_row);
        }
    }

    /// A listing of coturn that was asked for at one time arrived at another. `listed`: the grant of each session, and the expiry in
    /// its credential.
    pub(in super::super) fn list(
        &mut self,
        (asked_at, now): (i64, i64),
        latest: i64,
        is_complete: bool,
        listed: &[(GrantId, i64)],
        short: Option<u64>,
    ) {
        if !is_complete {
            return;
        }
        let seen_at = std::mem::replace(&mut self.now.complete_at, asked_at);
        if listed.iter().any(|(id, expiry)| self.expiry_of(*id).unwrap_or(*expiry) + CUT_TIME < seen_at) {
            return;
        }
        self.now.cut_until = now;
        let is_due = self.is_cut(latest) && std::mem::take(&mut self.now.is_raised);
        let Some(short) = short.filter(|_| is_due) else { return };
        for nth in 0..self.now.grants.len() {
            let known = &mut self.now.grants[nth];
            // One that is over and still has a session is cut from now on.
            let until = minute_from(known.latest_expiry().max(now) + signed(short) + SLACK);
            if known.source == IceSource::Coturn && !known.is_released && known.until > until {
                known.until = until;
                self.reserve_after(nth);
            }
        }
    }

    /// A client reported at this time that it relays with a grant. The next report is due before `until`.
    pub(in super::super) fn may_extend(&mut self, id: GrantId, promised: i64, until: i64) {
        if let Some(known) = self.grant(id)
            && promised == minute_from(until)
            && promised > known.until
        {
            (known.until, known.due) = (promised, known.due.max(promised));
        }
    }

    /// A relay ends what relays on revoked grants, and refuses them from then on. `late`: those with a session left.
    pub(in super::super) fn release(
        &mut self,
        now: i64,
        late: impl Fn(GrantId) -> bool,
        has_row: impl Fn(GrantId) -> bool,
    ) {
        let released =
            |id: &GrantId| self.now.grants.iter().any(|known| known.id == *id && known.is_released);
        let relies = |known: &Known| known.was_renewed && !known.renewed_by.as_ref().is_some_and(released);
        let is_gone = |known: &&Known| {
            let is_refused =
                known.source == IceSource::Relay && known.revoked_at.is_some() && known.is_settled;
            is_refused && !known.is_released && !relies(known) && !late(known.id) && has_row(known.id)
        };
        let gone: Vec<_> = self.now.grants.iter().filter(is_gone).map(|known| known.id).collect();
        for id in gone {
            if let Some(known) = self.grant(id) {
                known.is_released = true;
                known.until = known.until.min(minute_of(now) + 1);
            }
        }
    }
}
