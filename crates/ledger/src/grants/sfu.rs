//! The sessions of the SFU. Tests: `src/books/tests/sfu.rs`.
//! Each session is a grant with one connection, from its first request until the SFU does not know the session any more. What a session may
//! take from others is promised before the SFU is asked for it, and each look that finds the session promises it again for the next 300 s.
//! Only a look can show that a session has ended, so without a look its promise goes on minute by minute. When the rate changes, the
//! minutes before stay promised at their rate.
//!
//! A promise rises at once. It falls only from the minute in which the provider, whose clock may be ahead of ours, counts nothing of the
//! present minute any more. No count names a session, so its bytes follow from what the SFU has said of its tracks.

use std::net::{IpAddr, Ipv4Addr};

use super::{GrantExtra, GrantRow, GrantState, Grants, Pulls};
use crate::prelude::*;

/// An open session of the SFU.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SfuSession {
    /// Who spends what the session takes.
    pub spender: Option<Arc<Spender>>,
    /// The grant whose token opened it.
    pub opened_by: Option<GrantId>,
    /// The client that opened it.
    pub client: ClientKey,
    /// When its life is over. It stays open after that while it may take something.
    pub ends_at: Timestamp,
    /// What it may take from others, in kbit/s.
    pub kbps: u32,
    /// The rate at which it is charged: the tracks that the SFU has confirmed, at estimated rates, in kbit/s.
    pub charged_kbps: u32,
}

impl GrantRow {
    pub(super) fn pulls(&self) -> Option<&Pulls> {
        self.extra().pulls.as_deref()
    }

    /// The earlier promises of a session of the SFU, for the minutes before its present promise.
    pub(crate) fn behind(&self) -> &[PromisedTime] {
        self.pulls().map_or(&[], |pulls| &pulls.behind)
    }

    fn pulls_mut(&mut self) -> Option<&mut Pulls> {
        self.extra.as_mut()?.pulls.as_deref_mut()
    }

    /// What a session of the SFU may take from others, in kbit/s. Zero for any other grant.
    pub fn sfu_kbps(&self) -> u32 {
        self.pulls().map_or(0, |pulls| pulls.kbps)
    }
}

impl Grants {
    /// The open sessions of the SFU with their names. A session whose life is over is still open while it may take something.
    pub(crate) fn sessions(&self, now: Timestamp) -> impl Iterator<Item = (Arc<str>, SfuSession)> {
        let open = self
            .rows
            .iter()
            .map(|(_, row)| row)
            .filter(move |row| row.expires_at > now || row.sfu_kbps() > 0);
        open.filter_map(|row| {
            let Pulls { name, opened_by, kbps, charged_kbps, .. } = row.pulls()?.clone();
            // The row of a person who was removed has no client.
            let nobody = || ClientKey::of(IpAddr::V4(Ipv4Addr::UNSPECIFIED));
            let (spender, ends_at) = (row.spender.clone(), row.expires_at);
            let client = row.client.unwrap_or_else(nobody);
            Some((name, SfuSession { spender, opened_by, client, ends_at, kbps, charged_kbps }))
        })
    }

    /// Charges all sessions by time again after a restart.
    pub(crate) fn start_sfu_clocks(&mut self) {
        let open = self.rows.iter().map(|(_, row)| row).filter(|row| !row.has_ended());
        let charged = open.filter_map(|row| Some(u64::from(row.pulls()?.charged_kbps)));
        self.effects.note(Effect::Usage(rate_change(0, charged.fold(0, u64::saturating_add))));
    }

    /// When the next session is due: at the start of this minute, if a session's promise ends before the provider has certainly counted all
    /// that the session takes in this minute ([`counted_after`]). `None` if no session is due in this minute.
    pub(crate) fn next_session(&self, now: Timestamp) -> Option<Timestamp> {
        let next = counted_after(now);
        self.indexes.pulling.first().filter(|(due, _)| *due < next).map(|_| Minute::of(now).start())
    }

    /// A session that is due in this minute, as [`Self::next_session`] defines it. Once [`Self::go_on`] was called for this session, or it
    /// has ended, the next call returns another one.
    pub(crate) fn due_session(&self, now: Timestamp) -> Option<GrantId> {
        self.next_session(now).and_then(|_| self.indexes.pulling.first()).map(|(_, id)| *id)
    }

    /// The name of this session, if its life is over and the SFU is not in the settings any more: then no look can show that the session
    /// has ended. `None` otherwise.
    pub(crate) fn unwatched(&self, id: GrantId, now: Timestamp) -> Option<Arc<str>> {
        let row = self.get(id).filter(|row| !self.terms.watches_sfu && row.expires_at <= now)?;
        Some(Arc::clone(&row.pulls()?.name))
    }

    /// Notes what a session may take and at which rate it is charged. Adds a row for a new session. `session`: `None` if the session has
    /// ended, and then its promise is taken back. Otherwise its promise stays as it is. `counted_from`: as in [`Self::release_session`].
    pub(crate) fn note_session(
        &mut self,
        name: &Arc<str>,
        session: Option<&SfuSession>,
        counted_from: Minute,
        now: Timestamp,
    ) {
        let id = GrantId::of_session(name);
        if let Some(session) = session.filter(|_| self.any(id).is_none()) {
            // A row of an earlier period may still be in the table.
            if self.knows(id) {
                self.remove(id);
            }
            let row = self.row_of(name, session, now);
            self.issue(id, row);
        }
        self.count_session(id, now);
        let (kbps, charged) = session.map_or((0, 0), |session| (session.kbps, session.charged_kbps));
        let charged_before = self.edit_live(id, |row| {
            row.expires_at = session.map_or(row.expires_at.min(now), |session| session.ends_at);
            let pulls = row.pulls_mut()?;
            pulls.kbps = kbps;
            Some(std::mem::replace(&mut pulls.charged_kbps, charged))
        });
        // `None`: the session has no live row. The table was full, or the session has ended before.
        let Some(before) = charged_before.flatten() else { return };
        self.effects.note(Effect::Usage(rate_change(before.into(), charged.into())));
        if session.is_none() {
            self.release_session(id, counted_after(now), counted_from);
        }
    }

    /// The row of a new session, which takes nothing yet. If the page does not say the label or the origin, the row has that of the grant
    /// that opened the session.
    fn row_of(&self, name: &Arc<str>, session: &SfuSession, now: Timestamp) -> GrantRow {
        let grant = Grant {
            id: GrantId::of_session(name),
            source: IceSource::Sfu,
            issued_at: now,
            expires_at: session.ends_at,
        };
        // The fields are named one by one, so that a new one is decided upon here.
        let Spender { user, label, origin, call, server, signed_in_until } =
            session.spender.as_deref().cloned().unwrap_or_default();
        let by_grant = session.opened_by.and_then(|id| self.any(id)?.spender.as_deref().cloned());
        let by_grant = by_grant.unwrap_or_default();
        let (label, origin) = (label.or(by_grant.label), origin.or(by_grant.origin));
        let pulls = Pulls {
            name: Arc::clone(name),
            opened_by: session.opened_by,
            kbps: 0,
            charged_kbps: 0,
            counted_until: now,
            behind: vec![],
            has_no_room: false,
        };
        GrantRow {
            state: GrantState::Live,
            extra: Some(Box::new(GrantExtra { pulls: Some(Box::new(pulls)), ..GrantExtra::default() })),
            client: Some(session.client),
            spender: Spender { user, label, origin, call, server, signed_in_until }.known(),
            ..GrantRow::new(&grant, None, None)
        }
    }

    /// Adds to the bytes of a session what it took since the last call, by its charged rate. What it took before this period is left out.
    pub(crate) fn count_session(&mut self, id: GrantId, now: Timestamp) {
        let start = self.period.start;
        let Some(pulls) = self.rows.get(&id).and_then(|row| row.pulls()) else { return };
        let millis = now.millis_since(pulls.counted_until.max(start));
        let bytes = SFU_UNIT.over_millis(u128::from(pulls.charged_kbps).saturating_mul(millis.into()));
        let (bytes, period) = (ByteCount::saturating(bytes), self.period);
        self.edit(id, |row| {
            let mut spent = row.spent_in(period);
            if bytes > ByteCount::ZERO {
                spent.count_total(spent.measured.plus(bytes), now);
                row.set_spent(spent, period);
            }
            if let Some(pulls) = row.pulls_mut() {
                pulls.counted_until = now;
            }
        });
        self.recent.count(id, bytes, now, now);
    }

    /// Takes back what is promised for a session from the minute `from` on. The minutes before `from` stay promised as long as the provider
    /// may count bytes in them. `counted_from`: the first minute in which the provider still may.
    pub(crate) fn release_session(&mut self, id: GrantId, from: Minute, counted_from: Minute) {
        let Some(before) = self.rows.get(&id).and_then(|row| row.promised) else { return };
        let behind = PromisedTime { until: before.until.min(from), ..before };
        self.edit(id, |row| {
            row.promised = None;
            if let Some(pulls) = row.pulls_mut()
                && behind.from < behind.until
            {
                pulls.behind.push(behind);
            }
        });
        self.forget_behind(id, counted_from);
    }

    /// Forgets the earlier promises of a session that end by `until`. No count names a session, so in strict mode the limits of users and
    /// server keys are charged all that was promised.
    pub(super) fn forget_behind(&mut self, id: GrantId, until: Minute) {
        let start = Minute::of(self.period.start);
        let Some(row) = self.rows.get(&id) else { return };
        let over = row.behind().iter().filter(|time| time.until <= until);
        let promised =
            |time: &PromisedTime| time.per_minute.saturating_mul(time.until.since(time.from.max(start)));
        // `None`: no promise ends by `until`.
        let Some(bytes) = over.map(promised).reduce(u64::saturating_add) else { return };
        let assumed = if self.terms.counts_promises() { ByteCount::new(bytes) } else { ByteCount::ZERO };
        self.change_spent(id, |spent| spent.assumed = spent.assumed.plus(assumed));
        // The minutes of these promises are over, so the minutes of their owner in the ledger stay as they are.
        let forget =
            |row: &mut GrantRow| row.pulls_mut().map(|pulls| pulls.behind.retain(|time| time.until > until));
        self.edit_with(id, forget, Self::change_promised);
    }

    /// Sets the present promise of a session.
    pub(crate) fn promise_session(&mut self, id: GrantId, time: PromisedTime) {
        self.edit(id, |row| row.promised = Some(time));
    }

    /// Changes a session. The arguments of `change` are what the session may take, in kbit/s, and whether the budget has no room to extend
    /// its promise.
    pub(crate) fn change_pulls(&mut self, id: GrantId, change: impl FnOnce(&mut u32, &mut bool)) {
        self.edit_live(id, |row| {
            row.pulls_mut().map(|pulls| change(&mut pulls.kbps, &mut pulls.has_no_room))
        });
    }

    /// Counts a session that is due, and extends its promise to cover also what the session takes in this minute: no look has found the
    /// session in time, or shown that it has ended. If the session may take nothing, its promise is taken back instead.
    pub(crate) fn go_on(&mut self, id: GrantId, counted_from: Minute, now: Timestamp) {
        self.count_session(id, now);
        let next = counted_after(now);
        match self.get(id).map(|row| (row.promised, row.sfu_kbps())) {
            Some((Some(time), 1..)) => self.promise_session(id, PromisedTime { until: next, ..time }),
            _ => self.release_session(id, next, counted_from),
        }
    }

    /// The sessions that may take something and must be closed: the budget has no room to extend their promise, or `is_over` says so.
    pub(crate) fn sessions_to_close(&self, is_over: impl Fn(GrantId, &GrantRow) -> bool) -> Vec<Arc<str>> {
        let rows = self.indexes.pulling.iter().filter_map(|(_, id)| Some((*id, self.get(*id)?)));
        let to_close = rows.filter_map(|(id, row)| {
            let pulls = row.pulls().filter(|pulls| pulls.kbps > 0)?;
            (pulls.has_no_room || is_over(id, row)).then(|| Arc::clone(&pulls.name))
        });
        to_close.collect()
    }
}

/// The first minute in which the provider, whose clock may be ahead, counts nothing that is taken until the end of this minute.
pub(crate) fn counted_after(now: Timestamp) -> Minute {
    Minute::of(now.plus(IceSource::Sfu.clocks_differ_by())).next()
}

/// Sessions of the SFU are charged at `after` kbit/s instead of `before`. Each kbit/s is one clock of [`ChangeKind::Clocks`].
fn rate_change(before: u64, after: u64) -> UsageChange {
    let kind = ChangeKind::Clocks { before, after };
    UsageChange { owner: IceSource::Sfu.into(), basis: Basis::Granted, kind }
}
