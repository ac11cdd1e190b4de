//! The account's interface for operator alerts. The rules read the books under the same lock, so an alert shows one instant.

use super::{Account, Guarded};
use crate::alert::dispatcher::Outbox;
use crate::alert::rules::{AlertInput, AlertRules, SourceStates};
use crate::alert::{Alert, AlertCost, Spending};
use crate::config::AlertPercents;
use crate::config::PriceConfig;
use crate::rate::PresentRate;

impl Account {
    /// Logs the alerts that are due, and queues them for delivery if `is_delivered`. `prices`: of the cost that an alert shows.
    /// `percents`: the parts of the limit that raise one. Without the lease nothing is due: the replica that leads evaluates them.
    pub fn evaluate_alerts(
        &self,
        sources: SourceStates,
        prices: &PriceConfig,
        percents: AlertPercents,
        is_delivered: bool,
    ) {
        if !self.holds_lease() {
            return;
        }
        let (made, dropped) = self.with_all(|Guarded { books, alerts, .. }| {
            let snapshot = books.snapshot();
            let input = AlertInput::of(&snapshot, sources, PresentRate::of(books), percents);
            let spending = || {
                let since = books.ledger().used_since();
                let cost = AlertCost::of(&prices.price, &prices.currency, &snapshot.figures, since);
                Spending::new(|kind, limit| books.spenders(kind, limit, None), snapshot.figures.used, cost)
            };
            alerts.change(|rules| {
                let made = rules.evaluate(&input, spending);
                if !is_delivered {
                    for alert in &made {
                        rules.delivered(&alert.id);
                    }
                }
                (made, rules.take_dropped())
            })
        });
        for (kind, count) in dropped {
            self.metrics.alerts.add([kind.name(), "dropped"], count);
        }
        for alert in made {
            tracing::warn!(alert = alert.id, event = alert.kind.name(), "{}", alert.log_text());
        }
    }

    /// The latest alerts, newest first, and whether each one still waits for delivery.
    pub fn recent_alerts(&self) -> Vec<(Alert, bool)> {
        let copies =
            |rules: &AlertRules| rules.recent().map(|(alert, waits)| (alert.clone(), waits)).collect();
        copies(self.guarded.lock().alerts.get())
    }
}

impl Outbox for Account {
    /// None without the lease: the replica that leads has the same ones.
    async fn next(&self) -> Option<Alert> {
        let alert = self.guarded.lock().alerts.get().next_pending().cloned()?;
        // An alert about a ledger that cannot be written is sent, too.
        let _ = self.recorded().await;
        self.holds_lease().then_some(alert)
    }

    fn remove(&self, id: &str) {
        self.guarded.lock().alerts.change(|rules| rules.delivered(id));
    }
}
