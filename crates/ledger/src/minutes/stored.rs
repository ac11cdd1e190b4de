//! The minutes from stored rows, and the rows that must be stored.
//!
//! After a restart every sum is computed from all minutes, so it equals the sum that was kept minute by minute.
#![cfg_attr(not(test), warn(clippy::arithmetic_side_effects))]

use std::collections::BTreeMap;

use super::{Minutes, Sums, grant_minutes, moved, shifted};
use crate::dirty::Dirty;
use crate::minute::Minute;
use crate::minute_usage::{MinuteUsage, SourceRows};
use crate::period::Period;
use crate::rates::Rates;
use crate::units::Timestamp;

impl Minutes {
    /// The minutes as stored, at `now`.
    pub(crate) fn restore(
        period: Period,
        rates: Rates,
        sampling: u32,
        now: Timestamp,
        stored: &SourceRows,
    ) -> Self {
        let mut minutes = Self::new(period, rates, sampling, now);
        minutes.dirty = Dirty::tracking();
        let (first, current) = (minutes.first(), minutes.current());
        let mut live: i64 = stored.deltas.range(..first).map(|(_, delta)| delta.live).sum();
        for (number, cell) in (first.number()..).zip(&mut minutes.begun) {
            let minute = Minute::new(number);
            let delta = stored.deltas.get(&minute).copied().unwrap_or_default();
            live = live.saturating_add(delta.live);
            cell.live = moved(0, live);
            cell.unreported = moved(0, delta.unreported);
            cell.usage = stored.usage.get(&minute).copied().unwrap_or_default();
        }
        minutes.ahead = stored.deltas.range(current.next()..).map(|(at, delta)| (*at, *delta)).collect();
        minutes.recount();
        minutes
    }

    /// The minutes whose usage has changed since the last call.
    pub(crate) fn take_changes(&mut self) -> BTreeMap<Minute, MinuteUsage> {
        let changed = self.dirty.take().into_keys();
        changed.filter_map(|minute| Some((minute, self.get(minute)?.usage))).collect()
    }

    /// Computes the sums from all minutes.
    pub(super) fn recount(&mut self) {
        let mut sums = Sums::default();
        let (current, reset) = (self.current(), Minute::of(self.period.end));
        for (number, cell) in (self.first().number()..).zip(&self.begun) {
            let minute = Minute::new(number);
            let live = u128::from(cell.live);
            let figures = self.figures_of(&self.counted, minute, *cell);
            sums.used = sums.used.saturating_add(figures.used);
            if minute < self.counted.whole {
                sums.live_measured = sums.live_measured.saturating_add(live);
            }
            if minute < current {
                sums.worst_behind = sums.worst_behind.saturating_add(figures.worst);
            } else {
                sums.live_ahead = sums.live_ahead.saturating_add(live);
                sums.unreported_ahead = sums.unreported_ahead.saturating_add(cell.unreported.into());
            }
        }
        let mut live = self.current_cell().live;
        let mut from = current.next();
        for (until, delta) in &self.ahead {
            let (before, after) = (until.min(&reset).since(from), until.since(from.max(reset)));
            sums.live_ahead = sums.live_ahead.saturating_add(grant_minutes(live, before));
            sums.live_beyond = sums.live_beyond.saturating_add(grant_minutes(live, after));
            if *until < reset {
                sums.unreported_ahead = shifted(sums.unreported_ahead, 1, delta.unreported);
            }
            live = moved(live, delta.live);
            from = *until;
        }
        self.sums = sums;
    }
}
