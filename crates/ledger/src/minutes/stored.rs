//! The minutes from stored rows, and the rows that must be stored.
//!
//! After a restart every sum is computed from all minutes, so it equals the sum that was kept minute by minute.
#![cfg_attr(not(test), warn(clippy::arithmetic_side_effects))]

use std::collections::BTreeMap;

use super::{Cell, Minutes, Sums};
use crate::dirty::Dirty;
use crate::minute::Minute;
use crate::minute_usage::{LiveDelta, MinuteUsage, SourceRows};
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
        let mut live = stored.deltas.range(..first).fold(LiveDelta::default(), |sum, (_, by)| sum.plus(*by));
        for (number, cell) in (first.number()..).zip(&mut minutes.begun) {
            let minute = Minute::new(number);
            let delta = stored.deltas.get(&minute).copied().unwrap_or_default();
            live = live.plus(delta);
            cell.change_live(live);
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
            let live = cell.promised();
            let figures = self.figures_of(&self.counted, minute, *cell);
            sums.used = sums.used.saturating_add(figures.used);
            if minute < self.counted.whole {
                sums.measured = sums.measured.plus(live);
            }
            if minute < current {
                sums.worst_behind = sums.worst_behind.saturating_add(figures.worst);
            } else {
                sums.ahead = sums.ahead.plus(live);
            }
        }
        let Cell { live, per_minute, .. } = self.current_cell();
        let mut level = Cell { live, per_minute, ..Cell::default() };
        let mut from = current.next();
        for (until, delta) in &self.ahead {
            let (before, after) = (until.min(&reset).since(from), until.since(from.max(reset)));
            sums.ahead = sums.ahead.plus(level.promised().times(before));
            sums.beyond = sums.beyond.plus(level.promised().times(after));
            level.change_live(*delta);
            from = *until;
        }
        self.sums = sums;
    }
}
