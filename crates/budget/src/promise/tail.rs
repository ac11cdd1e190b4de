//! The trial of a tail: how long a credential of the broker's own relays after its end, and until when its bytes are billed.
//! Tests: `src/promise/tail_tests.rs`.
//! Three proofs within eight days replace the tail that is assumed otherwise. If any grant relays after the proven tail, the proofs until
//! then count no more.

use std::collections::BTreeSet;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::units::Timestamp;
use crate::units::slot::Minute;

/// How many proofs a proven tail needs.
const PROOFS_MIN: usize = 3;
/// How long a proof counts.
const PROVES_FOR: Duration = Duration::from_secs(8 * 86_400);
/// The most trials that are remembered. Eight days have at most 32: before the tail is proven, one begins every six hours.
const TRIALS_MAX: usize = 32;
/// What is added to the longest tail that was seen.
const MARGIN: Duration = Duration::from_secs(300);
/// The pause between two trials once the tail is proven.
const DAY: Duration = Duration::from_secs(86_400);
/// The pause between two trials before the tail is proven.
const PAUSE: Duration = Duration::from_secs(6 * 3_600);
/// Data are sent in each minute until this long after the end of the credential.
const EACH_MINUTE_FOR: Duration = Duration::from_secs(20 * 60);
/// The pause between two sends after that.
const SPARSE: Duration = Duration::from_secs(5 * 60);
/// A credential is revoked at this age. With a credential that expires, the second allocation is made this long before its end.
const SHORTLY: Duration = Duration::from_secs(30);
/// A trial ends after this many sends in a row without an answer: perhaps the network is down.
const UNANSWERED_MAX: usize = 3;
/// A trial ends with a refusal only after this many sends in a row that did not come back, because one alone may be lost on the way.
const LOST_MIN: usize = 2;

/// How a credential ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[derive(Serialize, Deserialize, strum::EnumIter, strum::IntoStaticStr)]
#[serde(rename_all = "lowercase")]
#[strum(serialize_all = "lowercase")]
pub enum CredentialEnd {
    /// It expires.
    Expiry,
    /// It is revoked.
    Revocation,
}

/// The result of sending data with the credential.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum TrialAnswer {
    /// The data came back.
    Relayed,
    /// The data did not come back, and the server refused the credential.
    Refused,
    /// The data did not come back, and the reason is unknown.
    Nothing,
}

/// What is to be done in a trial.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TrialStep {
    /// Nothing now.
    Wait,
    /// Send data with the credential.
    Relay {
        /// Whether a new allocation is tried first.
        allocates: bool,
    },
    /// Revoke the credential.
    Revoke,
    /// Nothing more.
    Finish,
}

/// One trial, as far as it has come.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TailTrial {
    began_at: Timestamp,
    /// When the credential ends, at the earliest. `None`: it was not revoked yet.
    ended_at: Option<Timestamp>,
    /// When data were sent with the credential, and the result, in order of time.
    sent: Vec<(Timestamp, TrialAnswer)>,
    /// When the server first refused an allocation or a refresh.
    refused_at: Option<Timestamp>,
}

impl TailTrial {
    /// The trial of a credential with this life, which was asked for at `began_at`.
    pub fn new(end: CredentialEnd, began_at: Timestamp, life: Duration) -> Self {
        let ended_at = (end == CredentialEnd::Expiry).then(|| began_at.plus(life));
        Self { began_at, ended_at, sent: vec![], refused_at: None }
    }

    /// When the credential was asked for.
    pub fn began_at(&self) -> Timestamp {
        self.began_at
    }

    /// When the credential ends, at the earliest. `None`: it was not revoked yet.
    pub fn ended_at(&self) -> Option<Timestamp> {
        self.ended_at
    }

    /// What is due. `max`: for how long after the end of the credential the trial goes on at most.
    pub fn step(&self, now: Timestamp, max: Duration) -> TrialStep {
        let last = self.sent.last().copied();
        // How many of the last sends in a row have such an answer.
        let in_a_row = |is_such: fn(TrialAnswer) -> bool| {
            self.sent.iter().rev().take_while(|(_, answer)| is_such(*answer)).count()
        };
        let is_refused = last.is_some_and(|(_, answer)| answer == TrialAnswer::Refused)
            && in_a_row(|answer| answer != TrialAnswer::Relayed) >= LOST_MIN;
        let is_over = is_refused
            || in_a_row(|answer| answer == TrialAnswer::Nothing) >= UNANSWERED_MAX
            || self.ended_at.is_some_and(|end| now >= end.plus(max));
        if is_over {
            return TrialStep::Finish;
        }
        let Some((at, _)) = last else { return TrialStep::Relay { allocates: false } };
        if self.ended_at.is_none() && now >= self.began_at.plus(SHORTLY) {
            return TrialStep::Revoke;
        }
        let is_dense = self.ended_at.is_none_or(|end| now < end.plus(EACH_MINUTE_FOR));
        let is_second = self.sent.len() == 1 && self.ended_at.is_some_and(|end| now < end);
        let is_due = match self.ended_at {
            // Shortly before the end, because the holder of a credential may still allocate then.
            Some(end) if is_second => now.plus(SHORTLY) >= end,
            _ if is_dense => Minute::of(now) > Minute::of(at),
            _ => Minute::of(now) >= Minute::of(at.plus(SPARSE)),
        };
        if !is_due {
            return TrialStep::Wait;
        }
        TrialStep::Relay { allocates: is_second || !is_dense || self.sent.len().is_multiple_of(5) }
    }

    /// Notes that the broker is about to revoke the credential, so it ends now at the earliest.
    pub fn revoked(&mut self, now: Timestamp) {
        self.ended_at = self.ended_at.or(Some(now));
    }

    /// Notes that data were sent. `refused`: the server refused an allocation or a refresh, whether or not data came back.
    pub fn sent(&mut self, now: Timestamp, came_back: bool, refused: bool) {
        let answer = match (came_back, refused) {
            (true, _) => TrialAnswer::Relayed,
            (false, true) => TrialAnswer::Refused,
            (false, false) => TrialAnswer::Nothing,
        };
        self.refused_at = self.refused_at.or(refused.then_some(now));
        self.sent.push((now, answer));
    }

    /// The minutes of which the count is asked for, with three more at each end: `[from, until)`.
    pub fn span(&self) -> (Timestamp, Timestamp) {
        let last = self.sent.last().map_or(self.began_at, |(at, _)| *at);
        let spare = Duration::from_secs(180);
        (Minute::of(self.began_at.minus(spare)).start(), Minute::of(last.plus(spare)).end())
    }

    /// When the last data came back.
    fn relayed_until(&self) -> Option<Timestamp> {
        self.sent.iter().rev().find(|(_, answer)| *answer == TrialAnswer::Relayed).map(|(at, _)| *at)
    }

    /// Whether data came back as long as the trial went on. `max`: see [`Self::step`]. The last data are sent up to two pauses before the
    /// end of the trial.
    pub fn relays_on(&self, max: Duration) -> bool {
        let end = self.ended_at.unwrap_or(self.began_at);
        self.relayed_until().is_some_and(|at| at.plus(SPARSE).plus(SPARSE) >= end.plus(max))
    }

    /// For how long after its end the credential relayed, at least. [`Duration::MAX`] if it relayed as long as the trial went on.
    pub fn relayed_for(&self, max: Duration) -> Duration {
        if self.relays_on(max) {
            return Duration::MAX;
        }
        let end = self.ended_at.unwrap_or(self.began_at);
        self.relayed_until().map_or(Duration::ZERO, |at| at.since(end))
    }

    /// What the trial shows. `billed`: the minutes with counted bytes of its credential; `None` where nobody counts: the minutes in which
    /// data came back take their place. The trial proves a tail only if all that was sent before the end came back and is billed, and if
    /// the result of a later send than the last billed one is known. Where nobody counts, a credential that relays as long as the trial
    /// goes on proves nothing: it may relay for ever.
    pub fn judge(&self, billed: Option<&BTreeSet<Minute>>, max: Duration) -> TailEvidence {
        let came_back = self.sent.iter().filter(|(_, answer)| *answer == TrialAnswer::Relayed);
        let relayed: BTreeSet<_> = came_back.map(|(at, _)| Minute::of(*at)).collect();
        let is_counted = billed.is_some();
        let billed = billed.unwrap_or(&relayed);
        let end = self.ended_at.unwrap_or(self.began_at);
        let mut before_end = self.sent.iter().take_while(|(at, _)| *at < end).peekable();
        let is_shown = before_end.peek().is_some()
            && before_end
                .all(|(at, answer)| *answer == TrialAnswer::Relayed && billed.contains(&Minute::of(*at)));
        let last = billed.last().copied().unwrap_or_default().max(Minute::of(end));
        let relayed_until = self.relayed_until();
        let is_known = |(at, answer): &&(Timestamp, TrialAnswer)| match answer {
            TrialAnswer::Relayed => true,
            // Known only if the refusal is final: no later data came back.
            TrialAnswer::Refused => relayed_until < Some(*at),
            TrialAnswer::Nothing => false,
        };
        let next =
            self.sent.iter().filter(is_known).map(|(at, _)| Minute::of(*at)).find(|minute| *minute > last);
        // If no later send is known because the credential was billed as long as the trial went on, the tail is at least `max`.
        let goes_on = is_counted && self.relays_on(max);
        let seen = next.map(|minute| minute.start().since(end)).or(goes_on.then_some(max));
        TailEvidence {
            began_at: self.began_at,
            billed_until: billed.last().map(|minute| minute.end()),
            relayed_until,
            refused_at: self.refused_at,
            tail: if is_shown && self.ended_at.is_some() { seen } else { None },
        }
    }
}

/// What one trial has shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TailEvidence {
    /// When the trial began.
    pub began_at: Timestamp,
    /// The end of the last billed minute.
    pub billed_until: Option<Timestamp>,
    /// When the last data came back.
    pub relayed_until: Option<Timestamp>,
    /// When the server first refused the credential.
    pub refused_at: Option<Timestamp>,
    /// The time from the end to the first minute after the last billed one with a known result, or, if there is none because
    /// the credential relayed as long as the trial went on, the longest time of a trial. `None`: the trial proves nothing.
    pub tail: Option<Duration>,
}

/// A tail that is proven.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ProvenTail {
    /// The longest tail that a proof showed plus a margin, in whole minutes.
    pub tail: Duration,
    /// When the last trial that proves it began.
    pub measured_at: Timestamp,
}

/// The trials of one way in which credentials of one owner end.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct TailTrials {
    /// When the last trial began, or was to begin.
    tried_at: Option<Timestamp>,
    /// The trial that waits for its count.
    pub uncounted: Option<TailTrial>,
    evidence: Vec<TailEvidence>,
    /// When bytes after the proven tail were seen. Earlier trials prove nothing.
    contradicted_at: Option<Timestamp>,
    /// The proven tail that promises rely on, as the latest trial left it; `None` before the first proof and after a contradiction.
    pub relied_on: Option<Duration>,
}

impl TailTrials {
    /// Whether another trial is to begin.
    pub fn is_due(&self, now: Timestamp) -> bool {
        let pause = if self.proven(now).is_some() { DAY } else { PAUSE };
        // If the trial began too long ago, its count proves nothing any more.
        let waits = self.uncounted.as_ref().is_some_and(|trial| now.since(trial.began_at) <= PROVES_FOR);
        !waits && self.tried_at.is_none_or(|at| now.since(at) >= pause)
    }

    /// Notes that a trial begins, or was to begin.
    pub fn begin(&mut self, now: Timestamp) {
        self.tried_at = Some(now);
    }

    /// Takes what a trial has shown.
    pub fn take(&mut self, shown: TailEvidence) {
        self.uncounted = None;
        if self.evidence.len() >= TRIALS_MAX {
            self.evidence.remove(0);
        }
        self.evidence.push(shown);
    }

    /// The trials that are remembered, the latest last.
    pub fn evidence(&self) -> &[TailEvidence] {
        &self.evidence
    }

    /// When bytes after the proven tail were seen last.
    pub fn contradicted_at(&self) -> Option<Timestamp> {
        self.contradicted_at
    }

    /// The tail that the trials prove.
    pub fn proven(&self, now: Timestamp) -> Option<ProvenTail> {
        let is_recent = |at: Timestamp| now.since(at) <= PROVES_FOR && self.contradicted_at < Some(at);
        let recent = self.evidence.iter().filter(|shown| is_recent(shown.began_at));
        let proofs: Vec<_> = recent.filter_map(|shown| Some((shown.began_at, shown.tail?))).collect();
        let (measured_at, longest) = (proofs.last()?.0, proofs.iter().map(|(_, tail)| *tail).max()?);
        let minutes = longest.saturating_add(MARGIN).as_secs().div_ceil(60);
        let tail = Duration::from_secs(minutes.saturating_mul(60));
        (proofs.len() >= PROOFS_MIN).then_some(ProvenTail { tail, measured_at })
    }

    /// The same, as promises rely on it. When an old proof no longer counts, this tail does not become shorter before the next trial.
    pub fn in_force(&self, now: Timestamp) -> Option<ProvenTail> {
        let proven = self.proven(now)?;
        Some(ProvenTail { tail: proven.tail.max(self.relied_on.unwrap_or_default()), ..proven })
    }

    /// Notes that bytes were counted after the proven tail, so it is not relied on any more.
    pub(crate) fn contradict(&mut self, now: Timestamp) {
        (self.contradicted_at, self.relied_on) = (Some(now), None);
    }
}

#[cfg(test)]
#[path = "tail_tests.rs"]
mod tests;
