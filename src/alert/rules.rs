//! The alert rules. A threshold alert is sent at most once for each period, until another limit is set; far beyond the limit, one an hour
//! has the sum. For each fault, one alert is sent
//! when it begins, and one when it has been gone for [`GONE_FOR`]. The kept alerts are part of the stored value, so a restart changes
//! nothing. Pure: the time is part of the input.

pub(super) mod texts;

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::fmt::Display;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::mints::MintHours;
use super::spending::is_proven;
use crate::alert::{
    Alert, AlertKind, BudgetFigures, Fault, FoundFault, MintStop, ServiceFacts, Severity, Spending,
    SpentGrant, faults, minting,
};
use crate::config::{Config, PERCENT_MAX};
use turn_ledger::{ByteCount, Figures, NamesPerson, Period, Person, Snapshot, Timestamp};

/// How long a fault must be gone before the alert about its end is sent. A fault that comes back earlier is still the same one.
pub const GONE_FOR: Duration = Duration::from_secs(60);
/// The same for a limit that is near: the rate goes up and down.
const FAR_FOR: Duration = Duration::from_secs(3_600);
/// How long a limit must be near before the alert is sent: longer than one wrong count lasts.
const NEAR_FOR: Duration = Duration::from_secs(90);
/// Beyond the limit, there is an alert at these percents of it. After the last one, there is one each [`SUM_EVERY`] while usage grows.
const BEYOND: [u16; 6] = [125, 150, 200, 300, 500, PERCENT_MAX];
const SUM_EVERY: Duration = Duration::from_secs(3_600);
/// The kind of the alerts that have the sum.
const SUM: AlertKind = AlertKind::Used(PERCENT_MAX);
/// Most alerts that are kept, delivered or not. The oldest is dropped first, because the newest shows the current state.
pub const KEPT_MAX: usize = 64;

/// What is done at the limit with live credentials at a provider that can revoke them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum AtLimitState {
    /// Nothing: `AT_LIMIT=none`.
    #[default]
    Nothing,
    /// They will be revoked: counted or vouched bytes have not reached the limit yet.
    WaitsForCount,
    /// They are revoked.
    Revokes,
}

/// The input of the rules at one instant.
#[derive(Clone, Debug)]
pub struct AlertInput {
    /// The books' time.
    pub now: Timestamp,
    /// The period that contains `now`.
    pub period: Period,
    /// The budget. A limit of zero counts as reached.
    pub budget: BudgetFigures,
    /// Whether a metered credential would be issued now, and why not.
    pub minting: Result<(), MintStop>,
    /// What is known of the service.
    pub facts: ServiceFacts,
    /// The faults that are there.
    pub faults: Vec<FoundFault>,
    /// The parts of the limit that raise an alert.
    pub percents: BTreeSet<u16>,
    /// The chains that were revoked since the last evaluation, because each relayed more than `GRANT_LIMIT_GB`.
    pub spent_grants: Vec<SpentGrant>,
}

impl AlertInput {
    /// The input of one instant.
    pub fn of(snapshot: &Snapshot, facts: ServiceFacts, config: &Config) -> Self {
        let Snapshot { uncut_overshoot, figures, .. } = *snapshot;
        // Without a rate that was counted, nothing is likely.
        let likely_overshoot = snapshot.likely_overshoot.filter(|_| snapshot.measured.highest_hour.is_some());
        let Figures { now, period, used, limit, .. } = figures;
        let (overshoot_bound, reset) = (figures.overshoot_bound(), period.end);
        let budget = BudgetFigures { used, limit, overshoot_bound, uncut_overshoot, likely_overshoot, reset };
        let (faults, minting) = (faults(snapshot, &facts, config), minting(snapshot, &facts.mint));
        let percents = config.alert_percents.clone();
        Self { now, period, budget, minting, facts, faults, percents, spent_grants: vec![] }
    }

    fn has(&self, fault: Fault) -> bool {
        self.found(fault).is_some()
    }

    fn found(&self, fault: Fault) -> Option<&FoundFault> {
        self.faults.iter().find(|found| found.fault == fault)
    }

    /// Whether usage has reached so many percent of the limit.
    fn has_reached(&self, percent: u64) -> bool {
        let times = |bytes: ByteCount, factor: u64| u128::from(bytes.get()) * u128::from(factor);
        // A limit of zero is reached, but nothing is a multiple of it.
        let is_possible = percent <= 100 || self.budget.limit > ByteCount::ZERO;
        // used / limit >= percent / 100, without divisions.
        is_possible && times(self.budget.used, 100) >= times(self.budget.limit, percent)
    }

    /// An alert at the instant of the input, without who spends. `which`: the last part of the id. `since`: when the fault began, for an
    /// alert about a fault.
    fn alert(&self, kind: AlertKind, which: impl Display, since: Timestamp) -> Alert {
        let day = self.period.start.to_utc().date_naive();
        let id = format!("{day}/{}/{which}", kind.name().replace(['.', '_'], "-"));
        let (what, callers) = (texts::what(kind, self, since), texts::callers(kind, self));
        let rate = kind.is_about_rate().then_some(self.facts.rate);
        let (at, budget) = (self.now, self.budget);
        Alert { id, kind, at, what, callers, budget, spending: Spending::default(), rate, ends: None }
    }
}

/// The state of the rules: sent thresholds, faults, mints, and the latest alerts.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct AlertRules {
    sent: SentThresholds,
    faults: BTreeMap<Fault, Edge>,
    /// The mints of the last week.
    pub mints: MintHours,
    /// The newest last.
    kept: VecDeque<KeptAlert>,
}

/// An alert that is kept for delivery and display.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct KeptAlert {
    /// The alert.
    pub alert: Alert,
    /// Whether it waits for delivery.
    pub waits: bool,
}

/// What an evaluation has changed.
#[derive(Debug)]
pub struct Evaluation {
    /// The new alerts.
    pub made: Vec<Alert>,
    /// The kinds of the alerts that waited and are dropped, because too many are kept.
    pub dropped: Vec<AlertKind>,
}

/// The thresholds whose alerts were sent in this period, for the limit in force.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
struct SentThresholds {
    period: Option<Period>,
    limit: ByteCount,
    percents: Vec<u16>,
}

impl NamesPerson for AlertRules {
    /// In the kept alerts.
    fn forget(&mut self, who: &mut Person) {
        let Self { sent: _, faults: _, mints: _, kept } = self;
        for kept in kept {
            kept.alert.forget(who);
        }
    }
}

impl AlertRules {
    /// Makes the alerts that are due, and keeps them. `is_delivered`: whether somebody delivers alerts, so that the new ones wait for
    /// delivery. `spending`: for the alerts that show who spends.
    pub fn evaluate(&mut self, input: &AlertInput, spending: &Spending, is_delivered: bool) -> Evaluation {
        let made: Vec<_> = self.due(input).into_iter().map(|alert| alert.with_spending(spending)).collect();
        let keep = |alert: &Alert| KeptAlert { alert: alert.clone(), waits: is_delivered };
        self.kept.extend(made.iter().map(keep));
        let mut dropped = vec![];
        while self.kept.len() > KEPT_MAX
            && let Some(kept) = self.kept.remove(self.least_needed())
        {
            dropped.extend(kept.waits.then_some(kept.alert.kind));
        }
        Evaluation { made, dropped }
    }

    /// The place of the kept alert that is dropped first: one with a sum that a later one has replaced, or else one that was delivered, or
    /// else one about a single credential, of which a leak causes many, or else the oldest.
    fn least_needed(&self) -> usize {
        let mut sums = (0..self.kept.len()).filter(|at| self.kept[*at].alert.kind == SUM);
        let replaced = sums.next().filter(|_| sums.next().is_some());
        let delivered = || self.kept.iter().position(|kept| !kept.waits);
        let of_a_grant = || self.kept.iter().position(|kept| kept.alert.kind == AlertKind::GrantLimit);
        replaced.or_else(delivered).or_else(of_a_grant).unwrap_or(0)
    }

    /// Whether [`Self::evaluate`] would make an alert that shows who spends.
    pub fn will_show_spending(&self, input: &AlertInput) -> bool {
        // A copy, because its alerts must not count as sent here.
        self.clone().due(input).iter().any(|alert| alert.kind.shows_spending())
    }

    /// The alerts that are due. They count as sent from now on.
    fn due(&mut self, input: &AlertInput) -> Vec<Alert> {
        let is_new = (self.sent.period, self.sent.limit) != (Some(input.period), input.budget.limit);
        let mut due: Vec<_> = self.threshold_alert(input).into_iter().collect();
        due.extend(self.fault_alerts(input, is_new));
        due.extend(input.spent_grants.iter().map(|spent| Alert {
            what: spent.sentence(),
            ends: spent.who.iter().find(|key| is_proven(key.kind())).map(|key| (key.kind(), key.to_string())),
            ..input.alert(AlertKind::GrantLimit, spent.grant, input.now)
        }));
        due
    }

    /// The alerts that wait for delivery, the oldest first.
    pub fn waiting(&self) -> impl Iterator<Item = &Alert> {
        self.kept.iter().filter(|kept| kept.waits).map(|kept| &kept.alert)
    }

    /// The latest alerts, newest first.
    pub fn latest(&self) -> impl Iterator<Item = &KeptAlert> {
        self.kept.iter().rev()
    }

    /// Notes that an alert was delivered, or never will be: it waits no more. An unknown id changes nothing.
    pub fn delivered(&mut self, id: &str) {
        for kept in self.kept.iter_mut().filter(|kept| kept.alert.id == id) {
            kept.waits = false;
        }
    }

    /// The alert for the highest newly reached threshold; `None` if no threshold is newly reached. Lower thresholds count as sent. After a
    /// change of the limit, the thresholds that usage no longer reaches can be sent again.
    fn threshold_alert(&mut self, input: &AlertInput) -> Option<Alert> {
        if self.sent.period != Some(input.period) {
            self.sent = SentThresholds { period: Some(input.period), ..SentThresholds::default() };
        }
        if self.sent.limit != input.budget.limit {
            self.sent.limit = input.budget.limit;
            self.sent.percents.retain(|percent| input.has_reached((*percent).into()));
        }
        let mut highest = None;
        for percent in input.percents.iter().copied().chain(BEYOND) {
            if input.has_reached(percent.into()) && !self.sent.percents.contains(&percent) {
                self.sent.percents.push(percent);
                highest = highest.max(Some(percent));
            }
        }
        if highest.is_none() && self.is_sum_due(input) {
            return Some(input.alert(SUM, input.now.as_millis(), input.now));
        }
        Some(input.alert(AlertKind::Used(highest?), input.budget.limit.get(), input.now))
    }

    /// Whether usage is beyond all thresholds, and has grown since the last sum, an hour ago or more.
    fn is_sum_due(&self, input: &AlertInput) -> bool {
        let last = self.kept.iter().map(|kept| &kept.alert).rfind(|alert| alert.kind == SUM);
        let is_old =
            |last: &Alert| input.now.since(last.at) >= SUM_EVERY && input.budget.used > last.budget.used;
        input.has_reached(PERCENT_MAX.into()) && last.is_none_or(is_old)
    }

    /// The alerts about faults that have begun, and about those that have ended. `is_new`: the period or the limit is another one.
    fn fault_alerts(&mut self, input: &AlertInput, is_new: bool) -> Vec<Alert> {
        let mut made = vec![];
        let is_found = |fault| input.found(fault).is_some_and(|found| found.severity > Severity::Info);
        for fault in Fault::alerted() {
            let edge = self.faults.entry(fault).or_default();
            // A fault that has become a worse one of the same hint is not over.
            let has_same_hint = |other: &Fault| other.facts().code == fault.facts().code;
            let mut kept_by = Fault::alerted().filter(|other| has_same_hint(other) && *other >= fault);
            // Nor is a limit that has been reached, or of which nobody knows the rate.
            let unknown = [Fault::AnalyticsStale, Fault::CountsMissing];
            let is_hidden =
                fault.is_near_limit() && (input.has_reached(100) || unknown.into_iter().any(is_found));
            // It is said again of another limit or period.
            edge.is_bad &= !(is_new && fault.is_near_limit() && is_found(fault));
            let is_there = is_found(fault) || edge.is_bad && (is_hidden || kept_by.any(is_found));
            let after = match (fault.is_near_limit(), is_there) {
                (true, true) => NEAR_FOR,
                (true, false) => FAR_FOR,
                (false, true) => Duration::ZERO,
                (false, false) => GONE_FOR,
            };
            if let Some(since) = edge.transition(is_there, input.now, after) {
                let kind = if edge.is_bad { AlertKind::Began(fault) } else { AlertKind::Ended(fault) };
                made.push(input.alert(kind, input.now.as_millis(), since));
            }
        }
        made
    }
}

/// Whether one fault is there, as of its last alert.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
struct Edge {
    is_bad: bool,
    /// When the alert about the last beginning of the fault was made.
    since: Option<Timestamp>,
    /// Since when this is otherwise, as long as the alert about that is not made.
    #[serde(rename = "gone_since")]
    changed_since: Option<Timestamp>,
}

impl Edge {
    /// Notes whether the fault is there now. An alert is due if it is otherwise than at the last alert, and has been for this time. Returns
    /// when the fault began, or `None` if no alert is due.
    fn transition(&mut self, is_there: bool, now: Timestamp, after: Duration) -> Option<Timestamp> {
        // An instant in the future comes from a wrong clock. It must not delay alerts.
        let since = self.changed_since.take().filter(|since| *since <= now).unwrap_or(now);
        if is_there == self.is_bad {
            return None;
        }
        if now.since(since) < after {
            self.changed_since = Some(since);
            return None;
        }
        if is_there {
            self.since = Some(now);
        }
        self.is_bad = is_there;
        Some(self.since.unwrap_or(now))
    }
}

#[cfg(test)]
#[path = "rules_tests/mod.rs"]
mod tests;
