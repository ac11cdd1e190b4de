//! How the latest calls to the provider went, for people to look at: how long they took, and all outcomes since the start.
//! Bounded: outcomes come from a closed set, and of times only the latest are kept.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

/// Times that are kept. The oldest goes first.
const TIMES_MAX: usize = 200;

/// See the module.
#[derive(Debug, Default)]
pub struct ProviderCalls(Mutex<Calls>);

#[derive(Debug, Default)]
struct Calls {
    outcomes: BTreeMap<&'static str, u64>,
    times: VecDeque<Duration>,
}

/// How long the latest calls took.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CallTimes {
    /// Of how many calls, at most 200.
    pub calls: usize,
    /// Half of them took no longer.
    pub median: Duration,
    /// 95 % of them took no longer.
    pub p95: Duration,
    /// The longest.
    pub longest: Duration,
}

impl ProviderCalls {
    /// Counts one call; `None` where none was made.
    pub fn count(&self, outcome: &'static str, took: Option<Duration>) {
        let mut calls = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        *calls.outcomes.entry(outcome).or_default() += 1;
        if let Some(took) = took {
            if calls.times.len() >= TIMES_MAX {
                calls.times.pop_front();
            }
            calls.times.push_back(took);
        }
    }

    /// How many calls ended how, since the start.
    #[must_use]
    pub fn outcomes(&self) -> BTreeMap<&'static str, u64> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).outcomes.clone()
    }

    /// `None` before the first call.
    #[must_use]
    pub fn times(&self) -> Option<CallTimes> {
        let times = self.0.lock().unwrap_or_else(PoisonError::into_inner).times.clone();
        let mut sorted = Vec::from(times);
        sorted.sort_unstable();
        let longest = *sorted.last()?;
        // Nearest rank: the smallest that so many percent do not exceed.
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
    fn times_are_those_of_the_calls_by_nearest_rank() {
        let millis = Duration::from_millis;
        assert_eq!(after([]), None);
        let one = CallTimes { calls: 1, median: millis(7), p95: millis(7), longest: millis(7) };
        assert_eq!(after([7]), Some(one));
        let twenty = CallTimes { calls: 20, median: millis(10), p95: millis(19), longest: millis(20) };
        assert_eq!(after((1..=20).rev()), Some(twenty));
    }

    #[test]
    fn only_the_latest_are_kept() {
        let times = after(1..=1_000).unwrap();
        assert_eq!((times.calls, times.longest), (TIMES_MAX, Duration::from_secs(1)));
        assert_eq!(times.median, Duration::from_millis(900));
    }

    #[test]
    fn a_call_that_was_not_made_has_an_outcome_and_no_time() {
        let calls = ProviderCalls::default();
        calls.count("breaker_open", None);
        calls.count("breaker_open", None);
        assert_eq!((calls.outcomes(), calls.times()), (BTreeMap::from([("breaker_open", 2)]), None));
    }
}
