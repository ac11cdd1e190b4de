//! The readings of this period, for plots: at most one for each ten minutes, in the order of their instants. No figure
//! and no decision uses them. They are kept in memory only.

use std::collections::VecDeque;
use std::time::Duration;

use serde::Serialize;
use turn_ledger::{ByteCount, MeasuredUsage, Timestamp};
use utoipa::ToSchema;

/// Of each span of this length, only the last point is kept.
const SPAN: Duration = Duration::from_secs(600);
/// Most points kept: more than a month of them. The oldest is dropped first.
const POINTS_MAX: usize = 5_000;

/// The provider's own count: the sum of the sources' readings in this period.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = UsageReading)]
pub struct ReadingPoint {
    /// End of the count.
    #[schema(value_type = String, format = DateTime, example = "2025-01-15T11:58:00Z")]
    pub as_of: Timestamp,
    /// Billed bytes since the period's start.
    #[schema(value_type = u64, example = 45_100_000_000_u64)]
    pub bytes: ByteCount,
}

/// See the module's invariant.
#[derive(Clone, Debug, Default)]
pub(super) struct ReadingHistory {
    points: VecDeque<ReadingPoint>,
}

impl ReadingHistory {
    /// Adds the present sum. Later points of a period before are removed.
    pub(super) fn record(&mut self, measured: &MeasuredUsage) {
        let Some(as_of) = measured.as_of else { return self.points.clear() };
        let is_over = |point: &ReadingPoint| {
            point.as_of > as_of
                || point.bytes > measured.bytes
                || span_number(point.as_of, SPAN) == span_number(as_of, SPAN)
        };
        while self.points.back().is_some_and(is_over) {
            self.points.pop_back();
        }
        if self.points.len() >= POINTS_MAX {
            self.points.pop_front();
        }
        self.points.push_back(ReadingPoint { as_of, bytes: measured.bytes });
    }

    /// The points in `[from, to]`: the last one in each `step`.
    pub(super) fn between(&self, from: Timestamp, to: Timestamp, step: Duration) -> Vec<ReadingPoint> {
        let mut thinned: Vec<ReadingPoint> = Vec::new();
        for counted in self.points.iter().filter(|counted| from <= counted.as_of && counted.as_of <= to) {
            match thinned.last_mut() {
                Some(last) if span_number(last.as_of, step) == span_number(counted.as_of, step) => {
                    *last = *counted;
                }
                _ => thinned.push(*counted),
            }
        }
        thinned
    }
}

/// The number of the span that contains an instant.
fn span_number(at: Timestamp, length: Duration) -> i64 {
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
        for ReadingPoint { as_of, bytes } in points {
            history.record(&MeasuredUsage { as_of: Some(as_of), bytes, ..MeasuredUsage::default() });
        }
        history
    }

    fn all(history: &ReadingHistory, step: u64) -> Vec<ReadingPoint> {
        history.between(counted(0, 0).as_of, counted(1_000_000, 0).as_of, Duration::from_secs(step))
    }

    #[test]
    fn the_last_point_of_ten_minutes_is_kept() {
        let history = history([counted(0, 1), counted(9, 2), counted(10, 3), counted(25, 4)]);
        assert_eq!(all(&history, 60), [counted(9, 2), counted(10, 3), counted(25, 4)]);
    }

    #[test]
    fn a_count_that_begins_again_ends_the_points_after_it() {
        let mut none = history([counted(0, 1)]);
        none.record(&MeasuredUsage::default());
        assert_eq!(all(&none, 60), []);
        let of_the_next_period = history([counted(0, 8), counted(20, 9), counted(40, 1)]);
        assert_eq!(all(&of_the_next_period, 60), [counted(40, 1)]);
    }

    #[test]
    fn a_full_history_drops_its_oldest_point() {
        let most = u64::try_from(POINTS_MAX).unwrap();
        let history = history((0..=most).map(|n| counted(10 * n, n)));
        let kept = all(&history, 60);
        assert_eq!((kept.len(), kept[0]), (POINTS_MAX, counted(10, 1)));
    }

    #[test]
    fn a_plot_gets_one_point_for_each_step_of_its_range() {
        let history = history((0..18).map(|n| counted(10 * n, n)));
        assert_eq!(all(&history, 3_600), [counted(50, 5), counted(110, 11), counted(170, 17)]);
        let some = history.between(counted(20, 0).as_of, counted(40, 0).as_of, Duration::from_secs(60));
        assert_eq!(some, [counted(20, 2), counted(30, 3), counted(40, 4)]);
    }
}
