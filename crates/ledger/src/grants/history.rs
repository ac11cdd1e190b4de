//! The rows of a period, from the issue of a grant until the period ends. Tests: `src/grants_tests.rs`.
//! A grant that has ended stays in the table as history. It leaves when many have ended since, but not before the last bytes of the grant
//! are counted: a later count would be of an unknown identifier. A grant does not wait where counts by grant are not read, if the table is
//! full, or for longer than [`COUNTED_WITHIN`]. What a leaving grant has spent in the period is added to the sums of what left the table.
//! When a period begins, all grants that ended before it leave, except those whose tail is still to be looked at.
//! A row names the first day of the period of its figures. In any other period these figures count as zero. When something changes them,
//! they are added to the sums of their own period, and begin anew. So a reset waits for no row, and another billing day is a reset like any
//! other.
//! When a person is removed, the bytes stay, in rows and sums without a name.

use std::net::IpAddr;

use super::{EndedPlace, GrantRow, GrantState, Grants};
use crate::clients::Holder;
use crate::person::{NamesPerson, Person};
use crate::prelude::*;
use crate::spending::{LOOKED_AT_ONCE, SpenderKey, Spent};

impl Grants {
    /// All grants of this period, live and ended, in no order.
    pub fn iter(&self) -> impl Iterator<Item = (&GrantId, &GrantRow)> {
        self.rows.iter().filter(|(_, row)| !self.is_past(row))
    }

    /// The live grants of a spender.
    pub(crate) fn live_of(&self, spender: &SpenderKey) -> Vec<GrantId> {
        let is_theirs = |row: &GrantRow| !row.has_ended() && self.terms.is_of(row, spender);
        self.iter().filter(|(_, row)| is_theirs(row)).map(|(id, _)| *id).collect()
    }

    /// How many ended grants are kept.
    pub fn ended_count(&self) -> usize {
        self.indexes.ended.len()
    }

    /// One step of the walk that goes through all rows once a minute. Ends grants that are not live any more. Forgets what grants
    /// relayed too long ago, and earlier promises of sessions once these promises are over. Stops after [`LOOKED_AT_ONCE`] rows, or when it
    /// has ended `rows_at_once` grants. `false` if there may be more rows.
    pub(super) fn end_over(&mut self, now: Timestamp) -> bool {
        let minute = Minute::of(now);
        if self.walk.is_none() && self.walked_in != minute {
            self.recent.forget_old_of_others(now);
            (self.walk, self.walked_in) = (Some(Walk::default()), minute);
        }
        let mut ended: usize = 0;
        for _ in 0..LOOKED_AT_ONCE {
            let next = self.walk.as_mut().and_then(|walk| walk.next(&self.rows, 1).pop());
            let Some((id, row)) = next else {
                self.walk = None;
                return true;
            };
            let is_over = !row.has_ended() && !row.is_live(now);
            let has_earlier_promises = !row.behind().is_empty();
            let id = *id;
            self.recent.forget_old(id, now);
            if has_earlier_promises {
                self.forget_behind(id, Minute::of(now.minus(IceSource::Sfu.clocks_differ_by())));
            }
            if is_over {
                self.end(id, now);
                ended = ended.saturating_add(1);
            }
            if ended >= self.terms.bounds.rows_at_once {
                break;
            }
        }
        false
    }

    /// Ends a grant. The row of a grant that costs nothing leaves the table at once, because the history has only metered grants.
    fn end(&mut self, id: GrantId, now: Timestamp) {
        self.forget_behind(id, Minute::of(now));
        let Some(row) = self.rows.get(&id) else { return };
        self.clients.forget_idle(row.holder(), now);
        if !row.source.is_metered() {
            self.take_out(id);
            return;
        }
        self.edit(id, |row| {
            // The history does not show the user name.
            row.username = None;
            row.state = if row.is_released() { GrantState::EndedReleased } else { GrantState::Ended };
        });
    }

    /// Removes the oldest ended grants if there are too many: at most `rows_at_once` of the [`LOOKED_AT_ONCE`] oldest. Those of which no
    /// further count is expected leave first. `false` if more may have to leave.
    pub(super) fn remove_oldest_ended(&mut self, now: Timestamp) -> bool {
        let bounds = &self.terms.bounds;
        let surplus = self.ended_count().saturating_sub(bounds.spenders.ended_max).min(bounds.rows_at_once);
        if surplus == 0 {
            return true;
        }
        let oldest = self.indexes.ended.iter().copied().take(LOOKED_AT_ONCE);
        let (waiting, others): (Vec<_>, Vec<_>) =
            oldest.partition(|(end, id)| self.awaits_count(*id, end.start(), now));
        // Grants that wait for a count leave only if the table is still too large without all the others.
        let waiting_surplus = self.rows.len().saturating_sub(bounds.grants).saturating_sub(others.len());
        let leaving = others.into_iter().chain(waiting.into_iter().take(waiting_surplus));
        self.remove_ended(&leaving.take(surplus).collect::<Vec<_>>())
    }

    /// Removes these ended grants. `false` if the list has `rows_at_once` grants, so that there may be more.
    pub(super) fn remove_ended(&mut self, places: &[EndedPlace]) -> bool {
        for (_, id) in places {
            self.remove_one_ended(*id);
        }
        places.len() < self.terms.bounds.rows_at_once
    }

    /// Whether another count of a grant is expected: its group's counts by grant are read, the last final one ends before `end`, and `end`
    /// is not too long ago. `end`: when the grant was over.
    fn awaits_count(&self, id: GrantId, end: Timestamp, now: Timestamp) -> bool {
        self.rows.get(&id).is_some_and(|row| {
            let is_too_old = now.since(end) > COUNTED_WITHIN;
            let is_read = self.terms.counted.contains(&row.owner().group());
            is_read && !is_too_old && self.counted_until(row.owner().group()) < end
        })
    }

    /// Removes the row of a grant that has ended. The minutes of its promise are over, so the minutes of its owner in the ledger stay as
    /// they are. What the grant has spent stays in the sums of the period of its figures. What was promised for time that nobody counted
    /// stays in the sums of this period.
    pub(super) fn remove_one_ended(&mut self, id: GrantId) {
        self.pass_excess_on(id);
        if let Some(row) = self.any(id) {
            let assumed = self.terms.uncounted(row, self.counted_until(row.owner().group()), self.period.end);
            self.change_spent(id, |spent| spent.assumed = spent.assumed.plus(assumed));
        }
        let Some((row, derived)) = self.take_out(id) else { return };
        self.keep_past(&row);
        if !self.is_past(&row) {
            self.left.add(Day::of(self.period.start), self.terms.keys(&row), &self.share_of(&row));
        }
        for promise in derived.promises() {
            self.change_promised(Some(&promise), None);
        }
        self.note_left(&row);
    }

    /// Notes until when a grant that leaves the table may relay. Notes nothing for a released grant, which relays nothing more.
    pub(super) fn note_left(&mut self, row: &GrantRow) {
        if let Some(PromisedTime { until, .. }) = row.promised
            && !row.is_released()
        {
            let latest = self.dropped.entry(row.owner().group()).or_default();
            latest.until = latest.until.max(until);
            latest.expiry = latest.expiry.max(row.latest_expiry());
        }
    }

    /// Until when the grants of a group that are not in the table any more may relay, if credentials relay for `after_expiry` after their
    /// expiry. `None` if there are no such grants, or if their promises covered that time or were all over at `since`.
    pub(crate) fn may_relay_until(
        &self,
        group: impl Into<CountOwner>,
        after_expiry: Duration,
        since: Timestamp,
    ) -> Option<Timestamp> {
        let Dropped { expiry, until } = *self.dropped.get(&group.into())?;
        let end = Minute::from_end(expiry.plus(after_expiry));
        (end > until && until.start() > since).then(|| end.start())
    }
}

/// The longest tail that any setting allows.
pub const TAIL_MAX: Duration = Duration::from_secs(7 * 86_400);

/// Until when the grants of a group that have left the table may relay.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Dropped {
    /// The latest expiry of their credentials.
    pub(crate) expiry: Timestamp,
    /// The latest end of their promises.
    pub(super) until: Minute,
}

impl Grants {
    /// Begins a period: the next one, or another one because the billing day has changed. Rows of grants that ended before it are removed
    /// in steps, by [`Self::forget_expired`].
    pub(crate) fn begin_period(&mut self, period: Period) {
        let is_same = self.period.start == period.start;
        self.period = period;
        // A period with the same start is the same one: another billing day changes at most its end.
        if !is_same {
            self.limited.begin();
            self.forget_unknown();
            // The counts of suspects are of the period before.
            self.chains.suspects.clear();
            self.forget_raised();
            self.indexes.begin_period();
        }
    }

    /// A rate that was assumed because chains had shown it ends with its period. A chain keeps the rate that it has shown itself.
    fn forget_raised(&mut self) {
        let (per_minute, forgotten) = (self.terms.per_minute, std::mem::take(&mut self.raised));
        if forgotten.is_empty() {
            return;
        }
        let is_raised = |(id, row): &(&GrantId, &GrantRow)| {
            row.promised.is_some_and(|time| forgotten.get(&row.source) == Some(&time.per_minute))
                && !self.is_judged(**id, row.source)
        };
        for id in self.iter().filter(is_raised).map(|(id, _)| *id).collect::<Vec<_>>() {
            self.edit(id, |row| row.promised = row.promised.map(|time| PromisedTime { per_minute, ..time }));
        }
    }

    /// Forgets figures of another period that no row has: bytes that sources counted under unknown identifiers, and the excess of chains
    /// that have left the table.
    pub(crate) fn forget_unknown(&mut self) {
        for counted in self.counted.values_mut() {
            (counted.unknown, counted.excess_of_left) = Default::default();
        }
    }

    /// Removes grants that ended before this period, and moves the sums of an earlier period out of the present ones: at most
    /// `rows_at_once` of each. Grants whose tail is still to be looked at stay. `false` if there may be more to do.
    pub(super) fn forget_past(&mut self, now: Timestamp) -> bool {
        let (start, most) = (self.period.start, self.terms.bounds.rows_at_once);
        let past = self.indexes.ended.iter().copied().take_while(|(over_from, _)| over_from.start() <= start);
        let forgotten = past.take(LOOKED_AT_ONCE).filter(|place| !self.waits_for_look(*place, now));
        let forgotten: Vec<_> = forgotten.take(most).collect();
        self.remove_ended(&forgotten) && self.left.begin(Day::of(start), most)
    }

    /// What a grant has spent in this period.
    pub(crate) fn spent_of(&self, row: &GrantRow) -> Spent {
        row.spent_in(self.period)
    }

    /// Whether a grant ended before this period and has spent nothing in it, so its row only waits to be forgotten.
    pub(crate) fn is_past(&self, row: &GrantRow) -> bool {
        row.is_over(self.period.start) && self.spent_of(row).is_empty()
    }

    /// If the figures of a row are of an earlier period, adds them to the sums of that period.
    pub(super) fn keep_past(&mut self, row: &GrantRow) {
        let is_past = row.figures_since < Day::of(self.period.start) && row.source.is_metered();
        if is_past && row.spent().bytes() > ByteCount::ZERO {
            let share = self.terms.share(row, &row.spent());
            self.left.add_past(row.figures_since, self.terms.keys(row), &share);
        }
    }

    /// The labels and addresses in all rows.
    pub(crate) fn names(&self) -> impl Iterator<Item = SpenderKey> {
        self.rows.iter().flat_map(|(_, row)| names_in(row))
    }
}

impl NamesPerson for Grants {
    /// In all rows, with their labels and addresses, and in the last minutes. The caller has revoked the user's grants and closed their
    /// connections. Reads every row.
    fn forget(&mut self, who: &mut Person) {
        let of_user = self.rows.iter().filter(|(_, row)| row.user() == Some(&who.user));
        let rows: Vec<_> = of_user.map(|(id, row)| (*id, row.clone())).collect();
        for (id, before) in &rows {
            who.names.extend(names_in(before));
            self.edit(*id, |row| {
                row.spender = before.spender.as_deref().and_then(|of| who.removed_from(of)?.known());
                row.client = None;
                if let Some(extra) = &mut row.extra {
                    extra.address = None;
                }
            });
            let holder = Holder { client: before.client, user: Some(&who.user), ..Holder::default() };
            self.clients.forget_idle(holder, who.at);
        }
        who.rows = rows.len();
        self.recent.forget(who);
    }
}

/// The label in a row, and its address in both forms that sums can have: the whole address and the client.
fn names_in(row: &GrantRow) -> impl Iterator<Item = SpenderKey> {
    let label = row.spender.as_ref().and_then(|spender| spender.label.clone()).map(SpenderKey::Label);
    let whole = row.extra().address.map(|address| SpenderKey::Address(IpAddr::V6(address)));
    [label, whole, row.client.map(SpenderKey::Client)].into_iter().flatten()
}
