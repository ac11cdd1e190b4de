//! The test of the lag. Tests: below.
//! It compares two counts of the same hour: the first one when the lag has passed since the end of that hour, and the second one an hour
//! later. If the count has grown by more than noise, counts settle later than the lag. Then the lag doubles, up to an hour, and the bound
//! does not hold until the count of a later hour has not grown. If a whole day is counted again and its count has grown, that has the same
//! effect. The longer lag stays until one at least as long is configured. Pure: the meter queries and publishes.

use std::time::Duration;

use turn_budget::{ByteCount, LateCounts, Minute, Timestamp};

/// The length of a window, and the time between its two counts.
const HOUR: Duration = Duration::from_secs(3_600);
/// The longest lag, which is also the longest `ANALYTICS_LAG_SECONDS`.
const LAG_MAX: Duration = HOUR;
/// The shortest lag that follows a lag that was too short. Doubling a lag of 0 would change nothing.
const LAG_MIN: Duration = Duration::from_secs(60);
/// Growth of a window up to this is noise. So is growth within the margin, which strict mode keeps reserved.
const NOISE: ByteCount = ByteCount::new(1_000_000);

/// The lag, and the window under test.
#[derive(Clone, Copy, Debug)]
pub struct Lateness {
    /// The configured lag.
    configured: Duration,
    /// The margin of error of a count, in percent.
    sampling: u32,
    /// The window under test, and its first count.
    first: Option<(Span, ByteCount)>,
    /// The result so far.
    late: Option<LateCounts>,
}

/// A span of whole minutes, and how long ago it must have ended by Cloudflare's clock.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Span {
    /// Its first instant.
    pub from: Timestamp,
    /// The first instant after it.
    pub until: Timestamp,
    /// How long ago it must have ended, by Cloudflare's clock, when it is counted. A count of a younger span is an error.
    pub age: Duration,
}

impl Lateness {
    /// `configured`: the lag. `sampling`: the margin, in percent. `late`: the result of an earlier process.
    pub fn new(configured: Duration, sampling: u32, late: Option<LateCounts>) -> Self {
        Self { configured, sampling, first: None, late: late.filter(|late| late.lag > configured) }
    }

    /// The lag in use: the configured one, or a longer one that counts were found to need.
    pub fn lag(&self) -> Duration {
        self.late.map_or(self.configured, |late| late.lag)
    }

    /// The result so far; `None` while no window grew.
    pub fn late(&self) -> Option<LateCounts> {
        self.late
    }

    /// The window to count now; `None` while the next count is not due.
    pub fn due(&self, now: Timestamp) -> Option<Span> {
        let settled = settled_minute(now, self.lag());
        match self.first {
            None => Some(Span { from: settled.minus(HOUR), until: settled, age: self.lag() }),
            Some((window, _)) if settled >= window.until.plus(HOUR) => {
                Some(Span { age: window.age.saturating_add(HOUR), ..window })
            }
            Some(_) => None,
        }
    }

    /// Takes the count of the window that was due. The first count of a window is kept, the second one is compared with it.
    pub fn take(&mut self, window: Span, counted: ByteCount) {
        let Some((_, first)) = self.first.take() else {
            self.first = Some((window, counted));
            return;
        };
        let grows = self.recount(first, counted);
        // Without growth the bound holds again, but a longer lag stays.
        self.late = self.late.map(|late| LateCounts { grows, ..late });
    }

    /// Takes a later count of a time that had settled. Returns whether the count has grown by more than noise. If so, the lag doubles.
    pub fn recount(&mut self, first: ByteCount, counted: ByteCount) -> bool {
        let noise = first.share_up(self.sampling).max(NOISE.get().into());
        let grows = u128::from(counted.get()) > u128::from(first.get()).saturating_add(noise);
        if grows {
            let lag = self.lag().saturating_mul(2).clamp(LAG_MIN, LAG_MAX);
            self.late = Some(LateCounts { lag, grows });
        }
        grows
    }
}

/// Until when minutes have settled: the latest end of a minute that is at least `lag` before `now`.
pub fn settled_minute(now: Timestamp, lag: Duration) -> Timestamp {
    Minute::of(now.minus(lag)).start()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// 2025-01-15T12:00:00Z
    const NOON: Timestamp = Timestamp::from_millis(1_736_942_400_000);
    const LAG: Duration = Duration::from_secs(600);
    const MB: u64 = 1_000_000;

    fn after(minutes: u64) -> Timestamp {
        NOON.plus_millis(minutes * 60_000)
    }

    /// Takes a count if one is due at that minute.
    fn take(lateness: &mut Lateness, minutes: u64, counted: u64) -> bool {
        let due = lateness.due(after(minutes));
        if let Some(window) = due {
            lateness.take(window, ByteCount::new(counted));
        }
        due.is_some()
    }

    /// Two counts of one window.
    fn compared(sampling: u32, first: u64, later: u64) -> Lateness {
        let mut lateness = Lateness::new(LAG, sampling, None);
        assert!(take(&mut lateness, 0, first) && take(&mut lateness, 60, later));
        lateness
    }

    #[test]
    fn a_window_is_counted_when_it_has_settled_and_again_an_hour_later() {
        let mut lateness = Lateness::new(LAG, 5, None);
        let first = lateness.due(NOON).unwrap();
        let (from, until) = (NOON.as_millis() - 70 * 60_000, NOON.as_millis() - 10 * 60_000);
        assert_eq!((first.from.as_millis(), first.until.as_millis(), first.age), (from, until, LAG));
        lateness.take(first, ByteCount::new(MB));
        assert_eq!((lateness.due(NOON), lateness.due(after(59))), (None, None));
        assert_eq!(lateness.due(after(60)), Some(Span { age: LAG + HOUR, ..first }));
    }

    #[test]
    fn the_next_window_begins_where_the_last_one_ended() {
        let mut lateness = Lateness::new(LAG, 5, None);
        let first = lateness.due(NOON).unwrap();
        assert!(take(&mut lateness, 0, 0) && take(&mut lateness, 60, 0));
        assert_eq!(lateness.due(after(60)).unwrap().from, first.until);
    }

    #[test]
    fn a_growth_within_the_margin_or_a_megabyte_is_noise() {
        for (sampling, first, later, is_late) in [
            (5, 100 * MB, 105 * MB, false),
            (5, 100 * MB, 105 * MB + 1, true),
            (5, 0, MB, false),
            (5, 0, MB + 1, true),
            (0, 100 * MB, 101 * MB, false),
            (0, 100 * MB, 101 * MB + 1, true),
            (5, 100 * MB, 0, false),
        ] {
            let late = compared(sampling, first, later).late();
            assert_eq!(late.is_some(), is_late, "{sampling} %, {first}, {later}");
        }
    }

    #[test]
    fn each_growth_doubles_the_lag_up_to_an_hour() {
        let mut lateness = Lateness::new(LAG, 5, None);
        let mut lags = Vec::new();
        for minutes in 0..600 {
            // Every second count is higher: the window of the count before has grown.
            while let Some(window) = lateness.due(after(minutes)) {
                let counted = if window.age > lateness.lag() { 10 * MB } else { 0 };
                lateness.take(window, ByteCount::new(counted));
            }
            if lags.last() != Some(&lateness.lag().as_secs()) {
                lags.push(lateness.lag().as_secs());
            }
        }
        assert_eq!(lags, [600, 1_200, 2_400, 3_600]);
        assert_eq!(lateness.late(), Some(LateCounts { lag: LAG_MAX, grows: true }));
    }

    #[test]
    fn an_hour_without_growth_ends_the_doubt_and_keeps_the_lag() {
        let mut lateness = compared(5, 0, 10 * MB);
        let lag = 2 * LAG;
        assert_eq!(lateness.late(), Some(LateCounts { lag, grows: true }));
        assert!(take(&mut lateness, 60, 10 * MB), "the first count with the longer lag");
        assert!(!take(&mut lateness, 119, 0));
        assert!(take(&mut lateness, 120, 10 * MB));
        assert_eq!(lateness.late(), Some(LateCounts { lag, grows: false }));
        assert_eq!(lateness.lag(), lag);
    }

    #[test]
    fn a_lag_of_zero_grows_to_a_minute() {
        let mut lateness = Lateness::new(Duration::ZERO, 5, None);
        assert!(take(&mut lateness, 0, 0) && take(&mut lateness, 60, 10 * MB));
        assert_eq!(lateness.lag(), LAG_MIN);
    }

    #[test]
    fn an_earlier_result_counts_until_a_longer_lag_is_configured() {
        let late = Some(LateCounts { lag: 2 * LAG, grows: true });
        for (lag, used, kept) in [(LAG, 2 * LAG, late), (2 * LAG, 2 * LAG, None), (3 * LAG, 3 * LAG, None)] {
            let lateness = Lateness::new(lag, 5, late);
            assert_eq!((lateness.lag(), lateness.late()), (used, kept));
        }
    }

    #[test]
    fn a_clock_that_is_set_back_makes_nothing_due() {
        let mut lateness = Lateness::new(LAG, 5, None);
        assert!(take(&mut lateness, 600, 0));
        assert_eq!(lateness.due(NOON), None);
        assert_eq!(lateness.due(Timestamp::from_millis(i64::MIN)), None);
    }
}
