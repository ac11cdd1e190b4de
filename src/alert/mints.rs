//! Mints by the hour. A leaked link first shows as many mints whose clients report nothing: the mints of one hour are unusual if they are
//! more than four times the mean of the same hour of the days before, a week at most, and if most of them report no connection. Pure.

use std::collections::VecDeque;

use serde::{Deserialize, Serialize};

use super::{Fault, FoundFault};
use turn_ledger::{PeriodCounts, Timestamp};

const HOUR_MILLIS: i64 = 3_600_000;
const DAY_HOURS: usize = 24;
/// The hours that are kept: a week.
const HOURS_MAX: usize = 7 * DAY_HOURS;
/// More mints than so many times the mean are unusual.
const FACTOR: u64 = 4;
/// Fewer mints in an hour are not unusual.
const MINTS_MIN: u64 = 100;

/// The mints of the last week, by the hour.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct MintHours {
    /// The number of the present hour since 1970; 0 before the first call of [`Self::observe`].
    hour: i64,
    /// The counts of the period when the present hour began.
    begun: PeriodCounts,
    /// The counts of the period at the last call of [`Self::observe`].
    #[serde(skip)]
    last: PeriodCounts,
    /// What was issued in each whole hour before the present one, the latest last.
    issued: VecDeque<u64>,
    /// The hour before the present one, if its mints were unusual.
    before: Option<Unusual>,
}

/// An unusual hour.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Unusual {
    issued: u64,
    reported: u64,
    /// The mean of the same hour of the days before, rounded up.
    mean: u64,
}

impl MintHours {
    /// Notes the counts of the period. The caller does this more often than once an hour: an hour without a call counts as one without
    /// mints.
    pub fn observe(&mut self, now: Timestamp, counts: PeriodCounts) {
        let hour = now.as_millis() / HOUR_MILLIS;
        if hour <= self.hour {
            self.last = if hour == self.hour { counts } else { self.last };
            return;
        }
        if self.hour > 0 {
            // If a period began with this hour, the last counts before it are those of the hour that has ended.
            let counts = if self.is_same_period(counts) { counts } else { self.last };
            let hours_off = usize::try_from(hour - self.hour - 1).unwrap_or(HOURS_MAX).min(HOURS_MAX);
            self.before = if hours_off == 0 { self.present(counts) } else { None };
            self.issued.push_back(self.since_begun(counts).issued);
            self.issued.extend(std::iter::repeat_n(0, hours_off));
            self.issued.drain(..self.issued.len().saturating_sub(HOURS_MAX));
        }
        (self.hour, self.begun, self.last) = (hour, counts, counts);
    }

    /// A fault if the mints of this hour, or else of the hour before, are unusual.
    pub fn fault(&self, counts: PeriodCounts) -> Option<FoundFault> {
        let Unusual { issued, reported, mean } = self.present(counts).or(self.before)?;
        Some(Fault::MintsUnreported.found(format!(
            "In an hour {issued} were issued, of which {reported} reported a connection; on the days before, this hour had {mean} on average."
        )))
    }

    /// The present hour, if its mints are unusual. `None` also without a day before.
    fn present(&self, counts: PeriodCounts) -> Option<Unusual> {
        let PeriodCounts { issued, reported, .. } = self.since_begun(counts);
        // The last entry is one hour ago, so the 24th from the end is the same hour of the day before.
        let past: Vec<_> = self.issued.iter().rev().skip(DAY_HOURS - 1).step_by(DAY_HOURS).copied().collect();
        let days = u64::try_from(past.len()).ok().filter(|days| *days > 0)?;
        let sum = past.into_iter().fold(0, u64::saturating_add);
        let is_unusual = issued >= MINTS_MIN
            && issued.saturating_mul(days) > sum.saturating_mul(FACTOR)
            && reported.saturating_mul(2) < issued;
        is_unusual.then_some(Unusual { issued, reported, mean: sum.div_ceil(days) })
    }

    fn is_same_period(&self, counts: PeriodCounts) -> bool {
        counts.issued >= self.begun.issued && counts.reported >= self.begun.reported
    }

    /// The counts of this hour alone. Counts that have fallen are those of a new period, which began at zero.
    fn since_begun(&self, counts: PeriodCounts) -> PeriodCounts {
        let begun = if self.is_same_period(counts) { self.begun } else { PeriodCounts::default() };
        PeriodCounts {
            issued: counts.issued - begun.issued,
            reported: counts.reported - begun.reported,
            ..counts
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const DAY: u64 = 24;

    fn counts(issued: u64, reported: u64) -> PeriodCounts {
        PeriodCounts { issued, reported, ..PeriodCounts::default() }
    }

    /// So many days with so many mints an hour, and then the mints of one more hour.
    fn after(days: u64, each: u64, last: PeriodCounts) -> (MintHours, PeriodCounts) {
        let mut hours = MintHours::default();
        for (hour, issued) in (1_000_000..).zip((0..=days * DAY).map(|hours| hours * each)) {
            hours.observe(Timestamp::from_millis(hour * HOUR_MILLIS), counts(issued, issued));
        }
        let all = days * DAY * each;
        (hours, counts(all + last.issued, all + last.reported))
    }

    #[test]
    fn mints_are_unusual_above_four_times_the_mean_if_most_report_nothing() {
        for (days, each, issued, reported, is_unusual) in [
            (7, 50, 204, 4, true),
            (7, 51, 204, 4, false),
            (7, 50, 204, 102, false),
            (7, 50, 205, 102, true),
            (1, 0, 100, 4, true),
            (1, 0, 99, 4, false),
            (0, 0, 5_000, 0, false),
        ] {
            let (hours, counts) = after(days, each, counts(issued, reported));
            assert_eq!(hours.fault(counts).is_some(), is_unusual, "{days} {each} {issued} {reported}");
        }
        let (hours, counts) = after(7, 12, counts(204, 4));
        let what = hours.fault(counts).unwrap().what();
        assert!(what.ends_with("204 were issued, of which 4 reported a connection; on the days before, this hour had 12 on average."), "{what}");
    }

    #[test]
    fn an_unusual_hour_is_a_fault_until_the_next_hour_has_passed_and_only_a_week_is_kept() {
        let (mut hours, unusual) = after(10, 12, counts(204, 4));
        assert_eq!(hours.issued.len(), HOURS_MAX);
        let next = |hours: &mut MintHours, by: i64| {
            hours.observe(Timestamp::from_millis((hours.hour + by) * HOUR_MILLIS), unusual);
            hours.fault(unusual).is_some()
        };
        assert!(next(&mut hours, 1));
        assert!(!next(&mut hours, 1));
        assert!(!next(&mut hours, 10_000));
        assert!(hours.issued.iter().all(|issued| *issued == 0), "the service was off");
    }

    #[test]
    fn the_hour_before_a_new_period_has_its_own_counts() {
        let (mut hours, unusual) = after(10, 12, counts(204, 4));
        let at = |hours: &MintHours, by| Timestamp::from_millis((hours.hour + by) * HOUR_MILLIS);
        hours.observe(at(&hours, 0), unusual);
        hours.observe(at(&hours, 1), counts(1, 0));
        assert_eq!(hours.issued.back(), Some(&204));
        assert!(hours.fault(counts(1, 0)).is_some());
    }

    #[test]
    fn a_new_period_begins_the_counts_anew_and_a_clock_that_goes_back_changes_nothing() {
        let (mut hours, _) = after(1, 12, counts(0, 0));
        assert_eq!(hours.since_begun(counts(3, 1)), counts(3, 1));
        let before = hours.clone();
        hours.observe(Timestamp::from_millis(7 * HOUR_MILLIS), counts(900, 0));
        assert_eq!(hours, before);
    }
}
