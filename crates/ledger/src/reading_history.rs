//! What the providers' own counts said in the course of this period, for plots: instants rise, counts are as they were
//! taken, one for each ten minutes at most. No figure and no decision rests on it. It lives in memory only.
#![cfg_attr(not(test), warn(clippy::arithmetic_side_effects))]

use std::collections::VecDeque;
use std::time::Duration;

use crate::units::{ByteCount, Timestamp};

/// Points lie in different stretches of this length; of each the last one stays.
const STRETCH: Duration = Duration::from_secs(600);
/// Points that are kept: more than a month of them. The oldest goes first.
const POINTS_MAX: usize = 5_000;

/// A count of this period's bytes, over all sources that are counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ReadingPoint {
    /// Up to when.
    pub as_of: Timestamp,
    /// Since the period's start.
    pub bytes: ByteCount,
}

/// See the module's invariant.
#[derive(Clone, Debug, Default)]
pub struct ReadingHistory {
    points: VecDeque<ReadingPoint>,
}

impl ReadingHistory {
    /// One more count. One that reaches less far than what is known already changes nothing.
    pub fn add(&mut self, counted: ReadingPoint) {
        if let Some(last) = self.points.back() {
            if counted.as_of < last.as_of {
                return;
            }
            if stretch(counted.as_of, STRETCH) == stretch(last.as_of, STRETCH) {
                self.points.pop_back();
            }
        }
        if self.points.len() >= POINTS_MAX {
            self.points.pop_front();
        }
        self.points.push_back(counted);
    }

    /// Another period begins.
    pub fn clear(&mut self) {
        self.points.clear();
    }

    /// The counts up to instants of `[from, to]`, the last one for each `step`.
    #[must_use]
    pub fn between(&self, from: Timestamp, to: Timestamp, step: Duration) -> Vec<ReadingPoint> {
        let mut thinned: Vec<ReadingPoint> = Vec::new();
        for counted in self.points.iter().filter(|counted| from <= counted.as_of && counted.as_of <= to) {
            match thinned.last_mut() {
                Some(last) if stretch(last.as_of, step) == stretch(counted.as_of, step) => *last = *counted,
                _ => thinned.push(*counted),
            }
        }
        thinned
    }
}

/// The number of the stretch that holds an instant.
fn stretch(at: Timestamp, length: Duration) -> i64 {
    at.as_secs().div_euclid(i64::try_from(length.as_secs()).unwrap_or(i64::MAX).max(1))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn counted(minute: u64, bytes: u64) -> ReadingPoint {
        // 2025-01-15T12:00:00Z
        let as_of = Timestamp::from_millis(1_736_942_400_000).plus_millis(minute * 60_000);
        ReadingPoint { as_of, bytes: ByteCount::new(bytes) }
    }

    fn history(points: impl IntoIterator<Item = ReadingPoint>) -> ReadingHistory {
        let mut history = ReadingHistory::default();
        points.into_iter().for_each(|point| history.add(point));
        history
    }

    fn all(history: &ReadingHistory, step: u64) -> Vec<ReadingPoint> {
        history.between(counted(0, 0).as_of, counted(1_000_000, 0).as_of, Duration::from_secs(step))
    }

    #[test]
    fn of_ten_minutes_the_last_count_stays() {
        let history = history([counted(0, 1), counted(9, 2), counted(10, 3), counted(25, 4)]);
        assert_eq!(all(&history, 60), [counted(9, 2), counted(10, 3), counted(25, 4)]);
    }

    #[test]
    fn a_count_that_reaches_less_far_changes_nothing() {
        let history = history([counted(20, 2), counted(5, 9)]);
        assert_eq!(all(&history, 60), [counted(20, 2)]);
    }

    #[test]
    fn the_oldest_of_too_many_goes_first() {
        let most = u64::try_from(POINTS_MAX).unwrap();
        let history = history((0..=most).map(|n| counted(10 * n, n)));
        let kept = all(&history, 60);
        assert_eq!((kept.len(), kept[0]), (POINTS_MAX, counted(10, 1)));
    }

    #[test]
    fn a_plot_gets_the_stretch_and_the_steps_that_it_asks_for() {
        let history = history((0..18).map(|n| counted(10 * n, n)));
        assert_eq!(all(&history, 3_600), [counted(50, 5), counted(110, 11), counted(170, 17)]);
        let some = history.between(counted(20, 0).as_of, counted(40, 0).as_of, Duration::from_secs(60));
        assert_eq!(some, [counted(20, 2), counted(30, 3), counted(40, 4)]);
    }
}
