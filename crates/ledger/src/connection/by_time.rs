//! The charges of one connection by time: the ledger's clock runs for it, and past spans are charged afterwards.
//! Tests: `src/connection_tests.rs`.
//!
//! Every span in `estimates` is charged, and the spans do not overlap. A later count can reverse them.

use super::{Changes, Clock, Connection, Span};
use crate::{Allowances, ChangeKind, Timestamp, UsageRules};

/// Most time charges that a later count can reverse. Only a connection that switches between direct and relayed without
/// a count has more of them. Then the oldest stay charged.
pub(super) const ESTIMATES_MAX: usize = 8;

impl Connection {
    /// Makes the time since the last report free.
    pub(super) fn forgive(&mut self, now: Timestamp, allowances: &mut Allowances<'_>, changes: &mut Changes) {
        self.stop_clock(now, allowances, changes);
        let Some(last) = self.estimates.last_mut().filter(|estimate| estimate.to > self.last_seen) else {
            return;
        };
        let from = last.from.max(self.last_seen);
        changes.push(ChangeKind::RemoveTime { from, to: last.to });
        allowances.give_back(last.to.millis_since(from));
        last.to = from;
        self.estimates.retain(|estimate| estimate.millis() > 0);
    }

    /// Charges the time since the last report, and the time from now on if the connection is relayed.
    pub(super) fn charge_time(
        &mut self,
        now: Timestamp,
        rules: &UsageRules,
        allowances: &mut Allowances<'_>,
        changes: &mut Changes,
    ) {
        if let Some(clock) = self.clock.as_mut().filter(|clock| clock.running)
            && self.relayed != Some(false)
        {
            clock.stops_at = now.plus(rules.heartbeat);
            return;
        }
        let charged_until = self.stop_clock(now, allowances, changes);
        self.estimate(Span { from: charged_until, to: now }, allowances, changes);
        if !self.is_direct() {
            self.start_clock(now, rules, allowances, changes);
        }
    }

    /// Starts the clock, if the allowances have room for it.
    pub(super) fn start_clock(
        &mut self,
        now: Timestamp,
        rules: &UsageRules,
        allowances: &mut Allowances<'_>,
        changes: &mut Changes,
    ) {
        if allowances.start_clock() {
            self.clock = Some(Clock { since: now, stops_at: now.plus(rules.heartbeat), running: true });
            changes.push(ChangeKind::START_CLOCK);
        }
    }

    /// Stops the clock. Its charge becomes one that a count can reverse. Returns the instant up to which time is
    /// charged.
    pub(super) fn stop_clock(
        &mut self,
        now: Timestamp,
        allowances: &mut Allowances<'_>,
        changes: &mut Changes,
    ) -> Timestamp {
        let Some(clock) = self.clock.take() else { return self.last_seen };
        if clock.running {
            allowances.stop_clock();
            changes.push(ChangeKind::STOP_CLOCK);
        }
        let to = now.min(clock.stops_at);
        self.remember(Span { from: clock.since, to });
        to
    }

    /// Charges the end of a past span by time, as far as the allowances have room. A later count can reverse it.
    pub(super) fn estimate(&mut self, span: Span, allowances: &mut Allowances<'_>, changes: &mut Changes) {
        let left_out = span.millis().saturating_sub(allowances.take_time(span.millis()));
        let span = Span { from: span.from.plus_millis(left_out), to: span.to };
        if span.millis() > 0 {
            changes.push(ChangeKind::AddTime { from: span.from, to: span.to });
            self.remember(span);
        }
    }

    fn remember(&mut self, span: Span) {
        match self.estimates.last_mut() {
            Some(last) if last.to == span.from => last.to = span.to,
            _ if span.millis() == 0 => {}
            _ => self.estimates.push(span),
        }
        if self.estimates.len() > ESTIMATES_MAX {
            let oldest = self.estimates.remove(0);
            self.settled_millis = self.settled_millis.saturating_add(oldest.millis());
        }
    }

    /// Makes all time charges final.
    pub(super) fn settle_estimates(&mut self) {
        for estimate in std::mem::take(&mut self.estimates) {
            self.settled_millis = self.settled_millis.saturating_add(estimate.millis());
        }
    }
}
