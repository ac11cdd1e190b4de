//! Calls to the provider, for the overview: the duration of the latest calls, and all outcomes since the start. Bounded:
//! outcomes come from a closed set, and only the latest durations are kept.

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use parking_lot::Mutex;
use serde::{Serialize, Serializer};
use utoipa::ToSchema;

use crate::json::plain_number;

/// Durations that are kept. The oldest is dropped first.
const TIMES_MAX: usize = 200;

/// Outcomes and durations of provider calls.
#[derive(Debug, Default)]
pub struct ProviderCalls(Mutex<Calls>);

#[derive(Debug, Default)]
struct Calls {
    outcomes: BTreeMap<&'static str, u64>,
    times: VecDeque<Duration>,
}

/// Duration of the latest calls.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = CallTimesBody)]
pub struct CallTimes {
    /// Number of calls, at most 200.
    #[schema(example = 200)]
    pub calls: usize,
    /// Median in milliseconds.
    #[serde(rename = "medianMs", serialize_with = "millis")]
    #[schema(value_type = f64, example = 42.5)]
    pub median: Duration,
    /// 95th percentile in milliseconds.
    #[serde(rename = "p95Ms", serialize_with = "millis")]
    #[schema(value_type = f64, example = 120)]
    pub p95: Duration,
    /// The longest call in milliseconds.
    #[serde(rename = "longestMs", serialize_with = "millis")]
    #[schema(value_type = f64, example = 300)]
    pub longest: Duration,
}

/// Rounded to a tenth of a millisecond.
fn millis<S: Serializer>(took: &Duration, to: S) -> Result<S::Ok, S::Error> {
    plain_number((took.as_secs_f64() * 10_000.0).round() / 10.0).serialize(to)
}

impl ProviderCalls {
    /// Counts one outcome. `took` is `None` if no call was made.
    pub fn count(&self, outcome: &'static str, took: Option<Duration>) {
        let mut calls = self.0.lock();
        *calls.outcomes.entry(outcome).or_default() += 1;
        if let Some(took) = took {
            if calls.times.len() >= TIMES_MAX {
                calls.times.pop_front();
            }
            calls.times.push_back(took);
        }
    }

    /// Number of calls by outcome since the start.
    pub fn outcomes(&self) -> BTreeMap<&'static str, u64> {
        self.0.lock().outcomes.clone()
    }

    /// Durations of the latest calls. `None` before the first call.
    pub fn times(&self) -> Option<CallTimes> {
        let times = self.0.lock().times.clone();
        let mut sorted = Vec::from(times);
        sorted.sort_unstable();
        let longest = *sorted.last()?;
        // Nearest rank: the smallest duration that at least `percent` of the calls do not exceed.
        let rank = |percent: usize| sorted[(sorted.len() * percent).div_ceil(100).saturating_sub(1)];
        Some(CallTimes { calls: sorted.len(), median: rank(50), p95: rank(95), longest })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn after(millis: impl IntoIterator<Item = u64>) -> Option<CallTimes> {
        let calls = ProviderCalls::default();
        millis.into_iter().for_each(|took| calls.count("minted", Some(Duration::from_millis(took))));
        calls.times()
    }

    #[test]
    fn percentiles_use_the_nearest_rank() {
        let millis = Duration::from_millis;
        assert_eq!(after([]), None);
        let one = CallTimes { calls: 1, median: millis(7), p95: millis(7), longest: millis(7) };
        assert_eq!(after([7]), Some(one));
        let twenty = CallTimes { calls: 20, median: millis(10), p95: millis(19), longest: millis(20) };
        assert_eq!(after((1..=20).rev()), Some(twenty));
    }

    #[test]
    fn only_the_latest_durations_are_kept() {
        let times = after(1..=1_000).unwrap();
        assert_eq!((times.calls, times.longest), (TIMES_MAX, Duration::from_secs(1)));
        assert_eq!(times.median, Duration::from_millis(900));
    }

    #[test]
    fn a_call_that_was_not_made_has_an_outcome_and_no_duration() {
        let calls = ProviderCalls::default();
        calls.count("breaker_open", None);
        calls.count("breaker_open", None);
        assert_eq!((calls.outcomes(), calls.times()), (BTreeMap::from([("breaker_open", 2)]), None));
    }
}
