//! The sessions of the SFU. Tests: `src/books/tests/sfu.rs`.
//! Each is a grant from its first request to its end. What it may take from others is promised from the present minute on, and again at the
//! start of each minute. What lies behind stays promised at the rate that it had.
//!
//! A promise rises at once and falls with the next minute: so the rate of a minute is the highest of its instants.
//! No count names a session, so what the SFU said of its tracks is the measure.
#![cfg_attr(not(test), warn(clippy::arithmetic_side_effects))]

use std::sync::Arc;
use std::time::Duration;

use super::Grants;
use super::row::{GrantExtra, GrantRow, GrantState, Pulls};
use crate::client::ClientKey;
use crate::minute_usage::Basis;
use crate::promise::{Promise, PromisedTime};
use crate::rates::SFU_UNIT;
use crate::source::IceSource;
use crate::spender::Spender;
use crate::token::{Grant, GrantId};
use crate::units::slot::Minute;
use crate::units::{ByteCount, Timestamp};
use crate::usage_change::{ChangeKind, UsageChange};

/// An open session of the SFU.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SfuSession {
    /// Who spends what it takes.
    pub spender: Option<Arc<Spender>>,
    /// The grant whose token opened it.
    pub opened_by: Option<GrantId>,
    /// The client that opened it.
    pub client: ClientKey,
    /// When its life is over.
    pub ends_at: Timestamp,
    /// What it may take from others, in kbit/s.
    pub kbps: u32,
    /// The part of it on which media flow.
    pub active_kbps: u32,
}

impl GrantRow {
    pub(super) fn pulls(&self) -> Option<&Pulls> {
        self.extra().pulls.as_deref()
    }

    fn pulls_mut(&mut self) -> Option<&mut Pulls> {
        self.extra.as_mut()?.pulls.as_deref_mut()
    }

    /// What a session of the SFU may take from others, in kbit/s.
    pub fn sfu_kbps(&self) -> u32 {
        self.pulls().map_or(0, |pulls| pulls.kbps)
    }

    /// Whether the budget has no room to promise that for longer.
    pub(crate) fn has_no_room(&self) -> bool {
        self.pulls().is_some_and(|pulls| pulls.has_no_room)
    }
}

impl Grants {
    /// The open sessions of the SFU. One whose life is over is open while it takes something.
    pub(crate) fn sessions(&self, now: Timestamp) -> impl Iterator<Item = (Arc<str>, SfuSession)> {
        let open = self
            .rows
            .iter()
            .map(|(_, row)| row)
            .filter(move |row| row.expires_at > now || row.sfu_kbps() > 0);
        open.filter_map(|row| {
            let Pulls { name, opened_by, kbps, active_kbps, .. } = row.pulls()?.clone();
            let (spender, client, ends_at) = (row.spender.clone(), row.client?, row.expires_at);
            Some((name, SfuSession { spender, opened_by, client, ends_at, kbps, active_kbps }))
        })
    }

    /// The clocks of all sessions on which media flow.
    pub(crate) fn sfu_clocks(&self) -> Option<UsageChange> {
        let open = self.rows.iter().map(|(_, row)| row).filter(|row| !row.has_ended());
        clocks(
            0,
            open.filter_map(|row| Some(u64::from(row.pulls()?.active_kbps))).fold(0, u64::saturating_add),
        )
    }

    /// The start of this minute, if the promise for some session must be renewed in it.
    pub(crate) fn next_session(&self, now: Timestamp) -> Option<Timestamp> {
        let minute = Minute::of(now);
        self.pulling.first().filter(|(due, _)| *due <= minute).map(|_| minute.start())
    }

    /// Takes the first session whose promise must be renewed at `now`.
    pub(crate) fn take_due_session(&mut self, now: Timestamp) -> Option<GrantId> {
        self.next_session(now).and_then(|_| self.pulling.pop_first()).map(|(_, id)| id)
    }

    /// The name of a session whose life is over, if the SFU is not in the settings any more: then nobody asks whether it has ended.
    pub(crate) fn unwatched(&self, id: GrantId, now: Timestamp) -> Option<Arc<str>> {
        let row = self.get(id).filter(|row| !self.terms.watches_sfu && row.expires_at <= now)?;
        Some(Arc::clone(&row.pulls()?.name))
    }

    /// Notes what the SFU says of a session; `None`: it has ended.
    #[must_use]
    pub(crate) fn note_session(
        &mut self,
        name: &Arc<str>,
        session: Option<&SfuSession>,
        now: Timestamp,
    ) -> Vec<UsageChange> {
        let id = GrantId::of_session(name);
        self.begin_row(id);
        match session {
            Some(session) if self.any(id).is_none() => self.issue(id, row_of(name, session, now)),
            Some(session) => self.revive(id, Minute::from_end(session.ends_at)),
            None => {}
        }
        self.count_session(id, now);
        let (kbps, active) = session.map_or((0, 0), |session| (session.kbps, session.active_kbps));
        let Some(row) = self.rows.get_mut(&id).filter(|row| !row.has_ended()) else { return vec![] };
        let (due, ended) = (row.ends_in(), row.expires_at.min(now));
        row.expires_at = session.map_or(ended, |session| session.ends_at);
        let Some(pulls) = row.pulls_mut() else { return vec![] };
        let changes = clocks(pulls.active_kbps.into(), active.into());
        (pulls.kbps, pulls.active_kbps) = (kbps, active);
        self.dirty.note(id);
        let least = if kbps > 0 { Minute::new(i64::MAX) } else { Minute::of(now).next() };
        let shorter = |time: PromisedTime| PromisedTime { until: time.until.min(least), ..time };
        let released = self.change_promise(id, |row| row.promised = row.promised.map(shorter));
        if let Some(earlier) = self.any(id).map(GrantRow::ends_in).filter(|end| *end < due) {
            self.due.insert(earlier, id);
        }
        changes.into_iter().chain(released).collect()
    }

    /// Notes what the page that opened a session says of it. What it does not say is as its grant has it.
    #[must_use]
    pub(crate) fn describe_session(&mut self, name: &str, by_page: Spender) -> Option<UsageChange> {
        let id = GrantId::of_session(name);
        let row = self.get(id)?;
        let opened_by = row.pulls()?.opened_by;
        let by_grant = opened_by.and_then(|id| self.any(id)?.spender.as_deref().cloned());
        let Spender { label, origin, .. } = by_page.renewing(by_grant.as_ref());
        let spender =
            Spender { label, origin, ..row.spender.as_deref().cloned().unwrap_or_default() }.known();
        self.change_spender(id, |row| row.spender = spender)
    }

    /// Adds to the bytes of a session what it took since the last call.
    pub(crate) fn count_session(&mut self, id: GrantId, now: Timestamp) {
        self.begin_row(id);
        let start = self.period.start;
        let Some(pulls) = self.rows.get_mut(&id).and_then(|row| row.pulls_mut()) else { return };
        let bytes = bytes_of(pulls.active_kbps, now.millis_since(pulls.counted_until.max(start)));
        pulls.counted_until = now;
        self.measure(id, bytes, now);
    }

    /// Adds bytes to what a session took.
    fn measure(&mut self, id: GrantId, bytes: ByteCount, now: Timestamp) {
        if bytes > ByteCount::ZERO {
            self.change_spent(id, |spent| spent.count(spent.measured().plus(bytes), false, now));
            self.recent.count(id, bytes, now, now);
            self.dirty.note(id);
        }
    }

    /// Adds to the bytes of a session what it took before the SFU said so, as far as that is of this period.
    #[must_use]
    pub(crate) fn charge_late(
        &mut self,
        id: GrantId,
        (kbps, span): (u32, Duration),
        now: Timestamp,
    ) -> Option<UsageChange> {
        let begun = self.get(id)?.issued_at.max(self.period.start);
        let from = begun.plus(now.since(begun).saturating_sub(span));
        let bytes = bytes_of(kbps, now.millis_since(from));
        self.measure(id, bytes, now);
        let kind = ChangeKind::AddBytes { bytes, from, to: now };
        Some(UsageChange { source: IceSource::Sfu, basis: Basis::Granted, kind })
    }

    /// Takes back what is promised for a session from this minute on. What lies behind stays: nobody counts it by session, so the
    /// user is charged all of it.
    #[must_use]
    pub(crate) fn release_session(&mut self, id: GrantId, now: Timestamp) -> Option<UsageChange> {
        self.begin_row(id);
        let (minute, start) = (Minute::of(now), Minute::of(self.period.start));
        let row = self.rows.get_mut(&id)?;
        let before = row.promise()?;
        row.promised = None;
        self.pulling.remove(&(before.time.from.next(), id));
        self.dirty.note(id);
        // A session that takes something went on while nothing was promised for it: no process ran, or time jumped.
        let until = if row.sfu_kbps() > 0 { minute } else { before.time.until.min(minute) };
        let behind = PromisedTime { until, ..before.time };
        let behind = (before.time.from < minute).then_some(behind);
        if let Some(time) = behind
            && self.terms.promises()
        {
            let bytes = time.per_minute.saturating_mul(time.until.since(time.from.max(start)));
            self.change_spent(id, |spent| spent.assumed = spent.assumed.plus(ByteCount::new(bytes)));
        }
        let behind = behind.map(|time| Promise { time, user: None, client: None, ..before.clone() });
        self.replace_promise(Some(&before), behind.as_ref())
    }

    /// Promises this rate of a session from this minute on.
    #[must_use]
    pub(crate) fn promise_session(
        &mut self,
        id: GrantId,
        kbps: u32,
        time: PromisedTime,
        has_no_room: bool,
    ) -> Option<UsageChange> {
        self.pulling.insert((time.from.next(), id));
        self.change_promise(id, |row| {
            row.promised = Some(time);
            if let Some(pulls) = row.pulls_mut() {
                (pulls.kbps, pulls.has_no_room) = (kbps, has_no_room);
            }
        })
    }

    /// The sessions that take something and must not. `is_over`: of one for which there is room.
    pub(crate) fn sessions_to_close(&self, is_over: impl Fn(GrantId, &GrantRow) -> bool) -> Vec<Arc<str>> {
        let rows = self.pulling.iter().filter_map(|(_, id)| Some((*id, self.get(*id)?)));
        let to_close = rows.filter_map(|(id, row)| {
            let pulls = row.pulls().filter(|pulls| pulls.kbps > 0)?;
            (pulls.has_no_room || is_over(id, row)).then(|| Arc::clone(&pulls.name))
        });
        to_close.collect()
    }
}

fn row_of(name: &Arc<str>, session: &SfuSession, now: Timestamp) -> GrantRow {
    let grant = Grant {
        id: GrantId::of_session(name),
        source: IceSource::Sfu,
        issued_at: now,
        expires_at: session.ends_at,
    };
    let (name, opened_by) = (Arc::clone(name), session.opened_by);
    let pulls = Pulls { name, opened_by, kbps: 0, active_kbps: 0, counted_until: now, has_no_room: false };
    GrantRow {
        state: GrantState::Live,
        extra: Some(Box::new(GrantExtra { pulls: Some(Box::new(pulls)), ..GrantExtra::default() })),
        client: Some(session.client),
        spender: session.spender.clone(),
        ..GrantRow::new(&grant, None, None)
    }
}

/// The change of the clocks for what flows.
fn clocks(before: u64, after: u64) -> Option<UsageChange> {
    let kind = ChangeKind::Clocks { before, after };
    (before != after).then_some(UsageChange { source: IceSource::Sfu, basis: Basis::Granted, kind })
}

/// Bytes at this rate in this time.
fn bytes_of(kbps: u32, millis: u64) -> ByteCount {
    ByteCount::saturating(SFU_UNIT.over_millis(u128::from(kbps).saturating_mul(millis.into())))
}
