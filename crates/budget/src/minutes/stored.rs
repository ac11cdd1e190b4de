//! The minutes from stored rows, and the rows that must be stored. Tests: `src/timeline/tests`.
//! What is promised from the current minute on is not taken from these rows: the rows of the grants are read after them.
//!
//! After a restart every sum is computed from all minutes, so it equals the sum that was kept minute by minute.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::counted::MinuteFigures;
use super::{CountedPart, Minutes, Sums};
use crate::collections::{Dirty, Rows};
use crate::evidence::{CountProof, DayCount, DayCounts, IdDigest, RaisedRate, RateCheckState};
use crate::promise::{GrantMinutes, LiveDelta, Rates};
use crate::units::{ByteCount, Day, Minute, Period, Timestamp};

impl Minutes {
    /// The minutes as stored, at `now`. What minutes before this period say moves to their days. If the billing day has changed, days whose
    /// period was over can belong to this period again.
    pub fn open(period: Period, rates: Rates, sampling: u32, now: Timestamp, stored: &SourceRows) -> Self {
        let days = DayCounts::restore(&stored.days, sampling);
        // A day without an estimate still needs its minutes, also if it lies before this period.
        let mut stored_days = stored.minutes.keys().map(|minute| Day::of(minute.start()));
        let unfolded = stored_days.find(|day| days.get(*day).estimated.is_none());
        let widened = Period { start: unfolded.map_or(period.start, Day::start).min(period.start), ..period };
        let mut minutes = Self {
            rates,
            sampling,
            counted: CountedPart::default(),
            days,
            elsewhere: BTreeMap::new(),
            by_day: BTreeMap::new(),
            period: widened,
            begun: vec![],
            differences: BTreeMap::new(),
            sums: Sums::default(),
            hidden: ByteCount::ZERO,
            dirty: Dirty::default(),
        };
        let index_now = minutes.index(Minute::of(now)).unwrap_or(0);
        minutes.begun.resize(index_now.saturating_add(1), MinuteRow::default());
        let (first, current) = (minutes.first(), minutes.current());
        for (minute, row) in stored.minutes.range(first..=current) {
            if let Some(cell) = minutes.index(*minute).and_then(|index| minutes.begun.get_mut(index)) {
                *cell = *row;
            }
        }
        // The rows of the grants add the promises of the current minute.
        let level = minutes.current_cell().level();
        if let Some(cell) = minutes.begun.last_mut() {
            cell.change_live(level.negated());
        }
        minutes.recount();
        minutes.fold(period.start);
        let earlier = minutes.index(Minute::of(period.start)).unwrap_or(0);
        minutes.begun.drain(..earlier.min(minutes.begun.len().saturating_sub(1)));
        minutes.period = period;
        minutes.recount();
        minutes.reopen_days();
        minutes
    }

    /// Days whose period was over, and that belong to this period again, count by their minutes again. What was claimed for them after
    /// their period was over is in no minute, so their last minute gets it.
    fn reopen_days(&mut self) {
        let days = self.days.of(self.period).filter(|(_, count)| count.estimated.is_some());
        let over: Vec<_> = days.map(|(day, count)| (day, *count)).collect();
        for (day, count) in over {
            self.days.reopen(day);
            let (used, known) = (u128::from(count.used().get()), self.used_of(day));
            if let Some(last) = self.touched(day.interval()).last()
                && used > known
            {
                // A counted minute raises the day only by what is vouched for, so the vouched bytes must reach `used`.
                let is_counted = last.start() < self.counted_until(last).newest;
                let vouched = self.by_day.get(&day).map_or(0, |minutes| minutes.ungranted_counted);
                let late = used.saturating_sub(if is_counted { vouched } else { known });
                self.raise(|row| &mut row.ungranted.claimed, last, late);
            }
        }
    }

    /// The minutes that have changed since the last call and must be stored.
    pub fn take_changes(&mut self) -> BTreeMap<Minute, MinuteRow> {
        self.dirty.take()
    }

    /// Computes the sums from all minutes and days.
    pub(super) fn recount(&mut self) {
        let mut by_day = BTreeMap::<Day, MinuteFigures>::new();
        // What a minute adds depends on the time that is counted, so the end of the latest count comes first.
        self.sum_days();
        let mut sums = Sums { first_used: self.find_used(self.first()), ..Sums::default() };
        let (current, reset) = (self.current(), Minute::of(self.period.end));
        for (number, cell) in (self.first().number()..).zip(&self.begun) {
            let minute = Minute::new(number);
            let live = cell.promised();
            let until = self.counted_until(minute);
            let figures = self.figures_of(until, minute, *cell);
            sums.begun = sums.begun.plus(live);
            by_day.entry(Day::of(minute.start())).or_default().replace(&MinuteFigures::default(), &figures);
            if minute.end() <= until.agreed {
                sums.measured = sums.measured.plus(live);
            }
            if minute < current {
                sums.worst_behind = sums.worst_behind.saturating_add(figures.worst);
            } else {
                sums.until_reset = sums.until_reset.plus(live);
            }
        }
        let MinuteRow { live, per_minute, .. } = self.current_cell();
        let mut level = MinuteRow { live, per_minute, ..MinuteRow::default() };
        let mut from = current.next();
        for (until, delta) in &self.differences {
            let (before_reset, after_reset) = (until.min(&reset).since(from), until.since(from.max(reset)));
            sums.until_reset = sums.until_reset.plus(level.promised().times(before_reset));
            sums.after_reset = sums.after_reset.plus(level.promised().times(after_reset));
            level.change_live(*delta);
            from = *until;
        }
        sums.used = by_day.values().map(MinuteFigures::used).fold(0, u128::saturating_add);
        (self.sums, self.by_day) = (sums, by_day);
        // Again: what was vouched for on the counted days is in the new `by_day`.
        self.sum_days();
    }
}

// The stored form of one owner of counts, minute by minute: plain values between the timeline and the disk. Tests: `src/timeline/tests`.

/// The basis on which usage is charged.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Basis {
    /// A grant: its bytes were promised.
    Granted,
    /// An app server's report without a grant, or the broker's own probe: its bytes were not promised.
    Ungranted,
}

/// Usage that connections reported.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ClaimedUsage {
    /// Milliseconds of connections that are charged by time; of the SFU, kbit/s × ms.
    pub connection_millis: u64,
    /// Bytes that connections claimed.
    pub claimed: u64,
}

/// One minute of an owner of counts.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct MinuteRow {
    /// Grants whose credential or its tail covers some part of this minute.
    pub live: u64,
    /// The bytes that the live grants may relay, at the rates that were assumed for each.
    pub per_minute: u64,
    /// What connections under grants have reported.
    pub granted: ClaimedUsage,
    /// What app servers have reported without a grant, and what the broker itself relays to test counts.
    pub ungranted: ClaimedUsage,
    /// The bytes that app servers vouched for under grants. They are in `granted`, too, as far as they were charged.
    pub vouched: u64,
    /// The bytes of a count, spread over the minutes that it covers. For plots, and for what was used lately: no other
    /// figure uses them.
    pub counted: u64,
}

impl MinuteRow {
    /// What is claimed on this basis.
    pub fn usage(&mut self, basis: Basis) -> &mut ClaimedUsage {
        match basis {
            Basis::Granted => &mut self.granted,
            Basis::Ungranted => &mut self.ungranted,
        }
    }

    /// The bytes that app servers vouched for, under grants or without one, and those of the broker itself.
    pub fn vouched(&self) -> ByteCount {
        ByteCount::new(self.ungranted.claimed).plus(ByteCount::new(self.vouched))
    }

    /// What its live grants may relay.
    pub fn promised(&self) -> GrantMinutes {
        GrantMinutes { count: self.live.into(), bytes: self.per_minute.into() }
    }

    /// The same, as a change from no live grant.
    pub fn level(&self) -> LiveDelta {
        let signed = |number: u64| i64::try_from(number).unwrap_or(i64::MAX);
        LiveDelta { live: signed(self.live), per_minute: signed(self.per_minute) }
    }

    pub(crate) fn change_live(&mut self, by: LiveDelta) {
        self.live = self.live.saturating_add_signed(by.live);
        self.per_minute = self.per_minute.saturating_add_signed(by.per_minute);
    }
}

/// The stored rows of one owner of counts, or changes of them. A change replaces the stored row.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SourceRows {
    /// The minutes that have begun.
    pub minutes: BTreeMap<Minute, MinuteRow>,
    /// Counts by the day.
    pub days: Rows<Day, DayCount>,
    /// What is known of the counts besides their days.
    pub state: Option<SourceState>,
}

/// What is known of one owner's counts besides their days.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct SourceState {
    /// The period of `flowed` and `rate_check`.
    pub period: Period,
    /// Bytes under our grants as the averages see them: those that only moved here from another key are left out.
    pub flowed: ByteCount,
    /// What the counts have shown of the assumed rate and tail.
    #[serde(rename = "trial")]
    pub(crate) rate_check: RateCheckState,
    /// The rate that is assumed because it was seen.
    pub raised: Option<RaisedRate>,
    /// When the count of a settled day was last found to have grown.
    pub late: Option<Timestamp>,
    /// A digest of what the provider has counted: the latest known `SourceTerms::counted_in`.
    pub counted_in: Option<IdDigest>,
    /// The id of the TURN key, so that its bytes are asked for when it has left the settings.
    pub turn_key: Option<Arc<str>>,
    /// When a complete listing last showed that sessions are cut: it had no session whose credential had long expired at the
    /// listing before. 1970 if none did.
    pub cut_until: Timestamp,
    /// What is known of the probes.
    pub proof: CountProof,
}

impl SourceRows {
    /// Whether there is nothing to store.
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    /// Adds later changes.
    pub fn apply(&mut self, later: Self) {
        self.minutes.extend(later.minutes);
        self.days.extend(later.days);
        self.state = later.state.or(self.state.take());
    }
}
