//! The rows of a period, from the issue of a grant until the period ends. Tests: `src/grants_tests.rs`.
//! A grant that has ended stays in the table as history. It leaves when many have ended since, but not before its source has counted its last
//! bytes: a later count would be of an unknown identifier. A grant does not wait where such counts are not read, if the table is full, or
//! for longer than [`COUNTED_WITHIN`]. What a grant has spent in the period is added to the sums of what left the table.
#![cfg_attr(not(test), warn(clippy::arithmetic_side_effects))]

use super::Grants;
use super::dropped::Dropped;
use super::listing::LOOKED_AT_ONCE;
use super::row::{GrantRow, GrantState};
use super::tails::EndedPlace;
use crate::grant_counts::COUNTED_WITHIN;
use std::time::Duration;

use crate::promise::PromisedTime;
use crate::shards::Walk;
use crate::source::IceSource;
use crate::spenders::key::SpenderKey;
use crate::token::GrantId;
use crate::units::Timestamp;
use crate::units::slot::{Day, Minute};

impl Grants {
    /// All grants of this period, live and ended, in no order.
    pub fn iter(&self) -> impl Iterator<Item = (&GrantId, &GrantRow)> {
        self.rows.iter().map(|(id, row)| (id, &**row)).filter(|(_, row)| !self.is_past(row))
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

    /// Goes through all rows once a minute: ends grants whose time is over, and forgets their old minutes. Stops after [`LOOKED_AT_ONCE`]
    /// rows, or when `rows_at_once` have ended. `false` if there are more.
    pub(super) fn end_over(&mut self, now: Timestamp) -> bool {
        let minute = Minute::of(now);
        if self.walk.is_none() && self.walked_in != minute {
            self.recent.forget_old_of_others(now);
            (self.walk, self.walked_in) = (Some(Walk::default()), minute);
        }
        let mut ended: usize = 0;
        for _ in 0..LOOKED_AT_ONCE {
            let next = self.walk.as_mut().and_then(|walk| walk.next(&self.rows, 1).pop());
            let Some(id) = next else {
                self.walk = None;
                return true;
            };
            self.recent.forget_old(id, now);
            let Some(row) = self.rows.get(&id) else { continue };
            let (is_over, has_behind) = (!row.has_ended() && !row.is_live(now), !row.behind().is_empty());
            if has_behind {
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

    fn end(&mut self, id: GrantId, now: Timestamp) {
        self.forget_behind(id, Minute::of(now));
        let Some(row) = self.rows.get(&id) else { return };
        self.clients.forget_idle(row.holder(), now);
        if !row.source.is_metered() {
            self.take_out(id);
            return;
        }
        self.edit(id, |row| {
            // Only what a history shows is kept.
            row.username = None;
            row.state = if row.is_released() { GrantState::EndedReleased } else { GrantState::Ended };
        });
    }

    /// Removes the oldest ended grants if there are too many: at most `rows_at_once` of the first [`LOOKED_AT_ONCE`]. `false` if there
    /// may be more.
    pub(super) fn leave_oldest(&mut self, now: Timestamp) -> bool {
        let bounds = &self.terms.bounds;
        let too_many = self.ended_count().saturating_sub(bounds.spenders.ended_max).min(bounds.rows_at_once);
        if too_many == 0 {
            return true;
        }
        let oldest = self.indexes.ended.iter().copied().take(LOOKED_AT_ONCE);
        let (counted, others): (Vec<_>, Vec<_>) =
            oldest.partition(|(end, id)| self.is_counted(*id, end.start(), now));
        // Uncounted grants go only if the table is full.
        let without_room = self.rows.len().saturating_sub(bounds.grants).saturating_sub(counted.len());
        let leaving = counted.into_iter().chain(others.into_iter().take(without_room));
        self.leave_all(&leaving.take(too_many).collect::<Vec<_>>())
    }

    /// Removes ended grants. `false` if these are `rows_at_once`, so there may be more.
    pub(super) fn leave_all(&mut self, places: &[EndedPlace]) -> bool {
        for (_, id) in places {
            self.leave(*id);
        }
        places.len() < self.terms.bounds.rows_at_once
    }

    /// Whether the source of a grant has counted it until its end for good, or its counts of grants are not read, or not any more.
    fn is_counted(&self, id: GrantId, end: Timestamp, now: Timestamp) -> bool {
        self.rows.get(&id).is_none_or(|row| {
            let is_too_old = now.since(end) > COUNTED_WITHIN;
            let is_read = self.terms.counted.contains(&row.owner().group());
            !is_read || is_too_old || self.counted_until(row.owner().group()) >= end
        })
    }

    /// A grant that has ended is live again, because its tail turns out to be longer.
    pub(super) fn revive(&mut self, id: GrantId) {
        if self.rows.get(&id).is_some_and(|row| row.state == GrantState::Ended) {
            self.edit(id, |row| row.state = GrantState::Live);
        }
    }

    /// Removes the row of a grant that has ended. The minutes of its source are over, and stay as they are. What it has spent in this
    /// period or the one of its figures, and what nobody has counted of it, stays in the sums.
    pub(super) fn leave(&mut self, id: GrantId) {
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
        self.drop_row(&row);
    }

    /// A grant leaves the table. Nothing more can be relayed on one that was released.
    pub(super) fn drop_row(&mut self, row: &GrantRow) {
        if let Some(PromisedTime { until, .. }) = row.promised
            && !row.is_released()
        {
            let latest = self.dropped.entry(row.source).or_default();
            latest.expiry = latest.expiry.max(row.latest_expiry());
            latest.until = latest.until.max(until);
        }
    }

    /// When the last grant of a source that has left the table stops relaying, with this tail. `None`: what was promised covers it, or all
    /// were over at `since`.
    pub(crate) fn may_relay_until(
        &self,
        source: IceSource,
        after_expiry: Duration,
        since: Timestamp,
    ) -> Option<Timestamp> {
        let Dropped { expiry, until } = *self.dropped.get(&source)?;
        let end = Minute::from_end(expiry.plus(after_expiry));
        (end > until && until.start() > since).then(|| end.start())
    }
}
