//! The effect of a reading on the minutes: its bytes replace the estimates of the minutes that it covers.
#![cfg_attr(not(test), warn(clippy::arithmetic_side_effects))]

use super::{Cell, Minutes, replace};
use crate::minute::Minute;
use crate::period::Period;
use crate::promise::GrantMinutes;
use crate::reading::{Reading, at_most};
use crate::units::{ByteCount, Timestamp};

/// The latest reading, and the minutes that it covers.
#[derive(Clone, Copy, Debug)]
pub(crate) struct CountedPart {
    pub(crate) granted: u128,
    /// The most that `granted` can really be. Sampling may have missed some bytes, but no more than the live grants
    /// could relay since the previous reading, as long as the readings fit the assumed rate.
    at_most: u128,
    pub(crate) other: u128,
    /// What was promised in spans that were not observed. Bytes that flowed there may be missing in `granted`.
    pub(crate) unseen: u128,
    as_of: Timestamp,
    /// Minutes before this one are covered in full.
    pub(crate) whole: Minute,
    /// Minutes before this one had begun at `as_of`: usage reported in them does not count. At most one more than
    /// `whole`.
    pub(crate) begun: Minute,
}

impl CountedPart {
    /// Nothing is counted yet.
    pub(crate) fn at_start_of(period: Period) -> Self {
        let first = Minute::of(period.start);
        Self { granted: 0, at_most: 0, other: 0, unseen: 0, as_of: period.start, whole: first, begun: first }
    }
}

/// What one minute adds to the figures.
#[derive(Clone, Copy)]
pub(crate) struct MinuteFigures {
    pub(crate) used: u128,
    pub(crate) worst: u128,
}

impl Minutes {
    /// The worst case of the time that the reading covers.
    pub(crate) fn settled(&self) -> u128 {
        let CountedPart { granted, other, unseen, .. } = self.counted;
        let counted = if self.rates.promises_cap_claims {
            self.sampled_at_most()
        } else {
            granted.saturating_add(other)
        };
        counted.saturating_add(unseen)
    }

    /// How much more than [`Self::settled`] says sampling may have missed. Zero in strict mode, which includes it.
    pub(crate) fn margin(&self) -> u128 {
        let CountedPart { granted, other, .. } = self.counted;
        let counted = granted.saturating_add(other);
        if self.rates.promises_cap_claims { 0 } else { self.sampled_at_most().saturating_sub(counted) }
    }

    fn sampled_at_most(&self) -> u128 {
        self.counted.at_most.saturating_add(at_most(self.counted.other, self.sampling))
    }

    /// Keeps what is promised from the latest reading up to now: that time was not observed, so its bytes may be missing
    /// in the next reading.
    pub(crate) fn keep_unseen(&mut self, now: Timestamp) {
        let unseen = self.promised_between(self.counted.as_of, now);
        self.counted.unseen = self.counted.unseen.saturating_add(unseen);
    }

    /// As stored.
    pub(crate) fn set_unseen(&mut self, unseen: u128) {
        self.counted.unseen = unseen;
    }

    /// What was promised in spans that were not observed.
    pub(crate) fn unseen(&self) -> u128 {
        self.counted.unseen
    }

    /// What is known of one minute: the share of a reading that covers it, or else its estimate.
    pub(crate) fn best_of(&self, minute: Minute, cell: Cell) -> u128 {
        if minute < self.counted.begun { cell.counted.into() } else { self.estimate_of(cell) }
    }

    /// Spreads bytes of a reading evenly over the minutes of `[from, to)`. A reading says nothing about single minutes.
    pub(crate) fn spread(&mut self, bytes: u128, from: Timestamp, to: Timestamp) {
        let minutes = self.touched(from, to);
        let count = u128::try_from(minutes.size_hint().0).unwrap_or(u128::MAX);
        let until = |nth: u128| bytes.saturating_mul(nth).checked_div(count).unwrap_or(0);
        for (nth, minute) in (0_u128..).zip(minutes) {
            let share = until(nth.saturating_add(1)).saturating_sub(until(nth));
            if let Some(cell) = self.index(minute).and_then(|index| self.begun.get_mut(index)) {
                cell.counted = cell.counted.saturating_add(ByteCount::saturating(share).get());
            }
        }
    }

    /// Takes a reading of this period that is later than the previous one.
    pub(crate) fn measure(&mut self, reading: &Reading) {
        let total = |granted: u128, other: u128| granted.saturating_add(other);
        let CountedPart { granted: granted_before, other: other_before, as_of, .. } = self.counted;
        let grown = total(reading.granted.get().into(), reading.other.get().into())
            .saturating_sub(total(granted_before, other_before));
        self.spread(grown, as_of, reading.as_of);
        let granted = reading.granted.get().into();
        let before = self.counted;
        // The bytes of a key that is one of ours now were promised by nobody. They bring their own margin along.
        let moved = at_most(other_before.saturating_sub(reading.other.get().into()), self.sampling);
        let promised = self.promised_between(before.as_of, reading.as_of);
        let promised = before.at_most.saturating_add(moved).saturating_add(promised);
        let sampled = at_most(granted, self.sampling);
        self.measure_as(reading, if granted > promised { sampled } else { sampled.min(promised) });
    }

    /// Takes a reading with the most that its bytes under grants can be.
    pub(crate) fn measure_as(&mut self, reading: &Reading, at_most: u128) {
        let (before, current) = (self.counted, self.current());
        let (granted, other) = (reading.granted.get().into(), reading.other.get().into());
        let (whole, begun) = (Minute::of(reading.as_of), Minute::from_end(reading.as_of));
        let after = CountedPart { granted, at_most, other, as_of: reading.as_of, whole, begun, ..before };
        for minute in self.touched(before.whole.start(), begun.start()) {
            let cell = self.get(minute).unwrap_or_default();
            let (was, is) = (self.figures_of(&before, minute, cell), self.figures_of(&after, minute, cell));
            self.sums.used = replace(self.sums.used, was.used, is.used);
            if minute < current {
                self.sums.worst_behind = replace(self.sums.worst_behind, was.worst, is.worst);
            }
            if minute < whole {
                self.sums.measured = self.sums.measured.plus(cell.promised());
            }
        }
        self.counted = after;
    }

    /// The most that the reading's bytes under grants can be.
    pub(crate) fn granted_at_most(&self) -> u128 {
        self.counted.at_most
    }

    /// The most that the live grants may have relayed from the latest reading to `until`.
    pub(crate) fn promised_since_reading(&self, until: Timestamp) -> u128 {
        self.promised_between(self.counted.as_of, until)
    }

    /// Forgets the latest reading: all minutes count as estimated and promised. What was promised unseen stays.
    pub(crate) fn drop_reading(&mut self) {
        let unseen = self.counted.unseen;
        self.counted = CountedPart { unseen, ..CountedPart::at_start_of(self.period) };
        self.recount();
    }

    /// The most that the grants alive in `[from, to)` may have relayed in that time.
    fn promised_between(&self, from: Timestamp, to: Timestamp) -> u128 {
        let parts = self.touched(from, to).map(|minute| {
            let cell = self.get(minute).unwrap_or_default();
            self.promised_in(cell, minute.overlap_millis(from, to))
        });
        parts.fold(0, u128::saturating_add)
    }

    /// The most that the grants alive in a minute may relay in `millis` of it. Rounded down, so the parts of a minute
    /// add up to no more than the minute.
    fn promised_in(&self, cell: Cell, millis: u64) -> u128 {
        let minute = self.rates.promised(cell.promised());
        minute.saturating_mul(millis.into()).checked_div(Minute::MILLIS.into()).unwrap_or(minute)
    }

    /// Grant-minutes that the reading covers, and those of the minute of its end.
    pub(crate) fn measured(&self) -> (GrantMinutes, GrantMinutes) {
        (self.sums.measured, self.get(self.counted.whole).unwrap_or_default().promised())
    }

    /// What a minute adds to the figures; nothing for the time that the reading covers.
    pub(crate) fn figures_of(&self, counted: &CountedPart, minute: Minute, cell: Cell) -> MinuteFigures {
        if minute < counted.whole {
            return MinuteFigures { used: 0, worst: 0 };
        }
        if minute < counted.begun {
            let rest = minute.end().millis_since(counted.as_of);
            return MinuteFigures { used: 0, worst: self.promised_in(cell, rest) };
        }
        let used = self.estimate_of(cell);
        MinuteFigures { used, worst: used.max(self.rates.promised(cell.promised())) }
    }
}
