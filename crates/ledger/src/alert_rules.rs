//! Decides what is worth an alert. A threshold is said at most once for each period and limit, whatever the figures do in
//! between; what is down, broken or stale is said once, and once more when it recovers, at most one such pair in
//! [`FLAP_PAUSE`]. What was said and what was not delivered yet is part of the value: stored and read again it goes on as
//! if nothing had happened. Pure: `now` comes in with the input.

use std::collections::{BTreeMap, VecDeque};
use std::fmt::Display;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::alert::{Alert, AlertKind, BudgetFigures};
use crate::period::Period;
use crate::units::{BitRate, ByteCount, Timestamp};

/// Percent of the limit, rising.
const THRESHOLDS: [(u64, AlertKind); 4] =
    [(50, AlertKind::Used50), (80, AlertKind::Used80), (95, AlertKind::Used95), (100, AlertKind::Used100)];
/// Between two alerts that the same thing has gone bad. A recovery waits for nothing.
pub const FLAP_PAUSE: Duration = Duration::from_secs(600);
/// Alerts that wait to be delivered. The oldest goes first: the newest says how things are.
pub const PENDING_MAX: usize = 64;
/// Alerts that are remembered for people to look at, delivered or not; the oldest goes first.
pub const RECENT_MAX: usize = 50;
/// Limits of one period whose thresholds are remembered; the oldest goes first.
const LIMITS_MAX: usize = 8;

/// All that decides, at one instant.
#[derive(Clone, Copy, Debug)]
pub struct AlertInput {
    /// The books' time.
    pub now: Timestamp,
    /// The period that holds `now`.
    pub period: Period,
    /// Best figure of this period.
    pub used: ByteCount,
    /// The limit. Zero counts as reached.
    pub limit: ByteCount,
    /// How far past the limit the live credentials can take us.
    pub overshoot_bound: ByteCount,
    /// Whether the provider mints; `None` where none is configured.
    pub provider: Option<bool>,
    /// Whether the grants relay no more than `assumed_rate`, as far as readings tell.
    pub assumption_holds: bool,
    /// What a grant relays, as far as readings tell.
    pub observed_rate: Option<BitRate>,
    /// The most that a grant is assumed to relay.
    pub assumed_rate: BitRate,
    /// Whether the provider's own count is older than it should be; `false` where none is read.
    pub analytics_stale: bool,
    /// Whether a coturn that must be asked cannot be; `false` where none is asked.
    pub coturn_unreachable: bool,
}

impl AlertInput {
    fn has_reached(&self, percent: u64) -> bool {
        let hundredfold = |bytes: ByteCount, factor: u64| u128::from(bytes.get()) * u128::from(factor);
        hundredfold(self.used, 100) >= hundredfold(self.limit, percent)
    }

    fn alert(&self, kind: AlertKind, which: impl Display, what: String) -> Alert {
        let day = self.period.start.to_utc().date_naive();
        let budget = BudgetFigures {
            used: self.used,
            limit: self.limit,
            overshoot_bound: self.overshoot_bound,
            reset: self.period.end,
        };
        let id = format!("{day}/{}/{which}", kind.name().replace(['.', '_'], "-"));
        Alert { id, kind, at: self.now, what, budget }
    }
}

/// What was said, and what is still to be delivered.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct AlertRules {
    /// The period that `said` is about.
    period: Option<Period>,
    /// By limit, the present one last.
    said: VecDeque<Said>,
    provider: Edge,
    assumption: Edge,
    analytics: Edge,
    coturn: Edge,
    pending: VecDeque<Alert>,
    dropped: BTreeMap<AlertKind, u64>,
    /// The newest last.
    recent: VecDeque<Alert>,
}

/// Which thresholds of a limit are not to be said again.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Said {
    limit: ByteCount,
    percents: Vec<u64>,
}

impl AlertRules {
    /// What is new. The same alerts now wait in [`Self::next_pending`], too.
    pub fn evaluate(&mut self, input: &AlertInput) -> Vec<Alert> {
        let mut made: Vec<_> = self.threshold(input).into_iter().collect();
        made.extend(self.provider(input));
        made.extend(self.assumption(input));
        made.extend(self.analytics(input));
        made.extend(self.coturn(input));
        for alert in &made {
            self.keep(alert.clone());
        }
        made
    }

    /// The oldest alert that is not delivered.
    #[must_use]
    pub fn next_pending(&self) -> Option<&Alert> {
        self.pending.front()
    }

    /// The latest alerts, the newest first, and whether each still waits to be delivered.
    pub fn recent(&self) -> impl Iterator<Item = (&Alert, bool)> {
        let waits = |alert: &Alert| self.pending.iter().any(|pending| pending.id == alert.id);
        self.recent.iter().rev().map(move |alert| (alert, waits(alert)))
    }

    /// How many alerts wait, [`PENDING_MAX`] at most.
    #[must_use]
    pub fn pending_len(&self) -> usize {
        self.pending.len()
    }

    /// The alert was delivered, or will never be: it is not to be sent again. Harmless when it is not known.
    pub fn delivered(&mut self, id: &str) {
        self.pending.retain(|alert| alert.id != id);
    }

    /// How many alerts of each kind were dropped since this was asked last, because too many waited.
    pub fn take_dropped(&mut self) -> BTreeMap<AlertKind, u64> {
        std::mem::take(&mut self.dropped)
    }

    fn keep(&mut self, alert: Alert) {
        if self.recent.len() >= RECENT_MAX {
            self.recent.pop_front();
        }
        self.recent.push_back(alert.clone());
        if self.pending.len() >= PENDING_MAX
            && let Some(oldest) = self.pending.pop_front()
        {
            *self.dropped.entry(oldest.kind).or_default() += 1;
        }
        self.pending.push_back(alert);
    }

    /// The highest threshold that is newly reached. Those below it count as said.
    fn threshold(&mut self, input: &AlertInput) -> Option<Alert> {
        let percents = self.said_under(input);
        let mut highest = None;
        for (percent, kind) in THRESHOLDS {
            if input.has_reached(percent) && !percents.contains(&percent) {
                percents.push(percent);
                highest = Some((percent, kind));
            }
        }
        let (percent, kind) = highest?;
        Some(input.alert(kind, input.limit.get(), usage_sentence(input, percent)))
    }

    /// What was said under this period and limit. Another limit starts with what was said and is reached under it too.
    fn said_under(&mut self, input: &AlertInput) -> &mut Vec<u64> {
        if self.period != Some(input.period) {
            self.period = Some(input.period);
            self.said.clear();
        }
        if self.said.back().is_none_or(|said| said.limit != input.limit) {
            let mut percents = self.said.back().map_or_else(Vec::new, |said| said.percents.clone());
            percents.retain(|percent| input.has_reached(*percent));
            // A limit that comes back: its alerts would have the ids that they had before.
            if let Some(at) = self.said.iter().position(|said| said.limit == input.limit) {
                percents.extend(self.said.remove(at).map_or_else(Vec::new, |said| said.percents));
                percents.sort_unstable();
                percents.dedup();
            }
            if self.said.len() >= LIMITS_MAX {
                self.said.pop_front();
            }
            self.said.push_back(Said { limit: input.limit, percents });
        }
        &mut self.said.back_mut().expect("one was pushed if there was none").percents
    }

    fn provider(&mut self, input: &AlertInput) -> Option<Alert> {
        let (kind, what) = match self.provider.turn(!input.provider?, input.now)? {
            Turn::Bad => (AlertKind::ProviderDown, "The TURN provider does not mint.".into()),
            Turn::Good { since } => {
                (AlertKind::ProviderUp, format!("The TURN provider mints again; it was down since {since}."))
            }
        };
        Some(input.alert(kind, input.now.as_millis(), what))
    }

    fn assumption(&mut self, input: &AlertInput) -> Option<Alert> {
        let (kind, what) = match self.assumption.turn(!input.assumption_holds, input.now)? {
            Turn::Bad => (AlertKind::AssumptionBroken, broken_sentence(input)),
            Turn::Good { since } => (
                AlertKind::AssumptionHolds,
                format!("The overshoot bound holds again; it did not since {since}."),
            ),
        };
        Some(input.alert(kind, input.now.as_millis(), what))
    }

    fn coturn(&mut self, input: &AlertInput) -> Option<Alert> {
        let (kind, what) = match self.coturn.turn(input.coturn_unreachable, input.now)? {
            Turn::Bad => (
                AlertKind::CoturnUnreachable,
                "coturn's command line does not answer. Its sessions are neither counted nor cut, so the overshoot bound does not hold.".into(),
            ),
            Turn::Good { since } => (
                AlertKind::CoturnReachable,
                format!("coturn's command line answers again; it did not since {since}."),
            ),
        };
        Some(input.alert(kind, input.now.as_millis(), what))
    }

    fn analytics(&mut self, input: &AlertInput) -> Option<Alert> {
        let (kind, what) = match self.analytics.turn(input.analytics_stale, input.now)? {
            Turn::Bad => (
                AlertKind::AnalyticsStale,
                "The provider's own count of usage could not be read for a while.".into(),
            ),
            Turn::Good { since } => (
                AlertKind::AnalyticsFresh,
                format!("The provider's own count of usage is read again; it was stale since {since}."),
            ),
        };
        Some(input.alert(kind, input.now.as_millis(), what))
    }
}

/// One thing that is good or bad, as of its last alert.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
struct Edge {
    is_bad: bool,
    /// When it was last said to be bad.
    since: Option<Timestamp>,
}

/// A change that is to be said.
enum Turn {
    Bad,
    Good { since: Timestamp },
}

impl Edge {
    fn turn(&mut self, is_bad: bool, now: Timestamp) -> Option<Turn> {
        if is_bad == self.is_bad {
            return None;
        }
        if is_bad {
            // An instant that lies ahead comes from a clock that was wrong, and holds nothing back.
            if self.since.is_some_and(|since| since <= now && now.since(since) < FLAP_PAUSE) {
                return None;
            }
            *self = Self { is_bad, since: Some(now) };
            return Some(Turn::Bad);
        }
        self.is_bad = false;
        Some(Turn::Good { since: self.since.unwrap_or(now) })
    }
}

fn usage_sentence(input: &AlertInput, percent: u64) -> String {
    let (used, limit) = (input.used.gb_nearest(), input.limit.as_gb());
    let reset = input.period.end;
    let what = if percent < 100 {
        format!("{percent} % of the bandwidth limit is used: {used} of {limit} GB, to last until {reset}.")
    } else {
        format!("The bandwidth limit is reached: {used} of {limit} GB used, to last until {reset}.")
    };
    if input.overshoot_bound == ByteCount::ZERO {
        return what;
    }
    let bound = input.overshoot_bound.gb_up();
    format!(
        "{what} If nothing cuts them, credentials already issued can take it up to {bound} GB past the limit."
    )
}

fn broken_sentence(input: &AlertInput) -> String {
    let assumed = input.assumed_rate;
    let observed = input.observed_rate.map(|rate| format!(", up to {rate}")).unwrap_or_default();
    format!(
        "Credentials relay more than the {assumed} assumed of each{observed}: the overshoot bound does not hold."
    )
}

#[cfg(test)]
#[path = "alert_rules_tests.rs"]
mod tests;
