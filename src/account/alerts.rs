//! The account's interface for operator alerts. The rules read the books under the same lock, so an alert shows one instant.

use std::time::Duration;

use super::{Account, Guarded};
use crate::alert::dispatcher::Outbox;
use crate::alert::rules::{AlertInput, AlertRules, SourceStates};
use crate::alert::{Alert, AlertCost, SpenderNow, Spending};
use crate::config::AlertPercents;
use crate::config::PriceConfig;
use crate::rate::PresentRate;
use turn_ledger::{Books, RecentSpenders, SpenderKind, SpenderSums};

impl Account {
    /// Logs the alerts that are due, and queues them for delivery if `is_delivered`. `prices`: of the cost that an alert shows.
    /// `percents`: the parts of the limit that raise one. Without the lease nothing is due: the replica that leads evaluates them.
    pub async fn evaluate_alerts(
        &self,
        sources: SourceStates,
        prices: &PriceConfig,
        percents: AlertPercents,
        is_delivered: bool,
    ) {
        if !self.holds_lease() {
            return;
        }
        let mut now = None;
        let (made, dropped) = loop {
            let evaluated = self.with_all(|Guarded { books, alerts, .. }| {
                let snapshot = books.snapshot();
                let input = AlertInput::of(&snapshot, sources, PresentRate::of(books), percents);
                if now.is_none() && alerts.get().will_show_spending(&input) {
                    return None;
                }
                let spending = || {
                    let since = books.ledger().used_since();
                    let cost = AlertCost::of(&prices.price, &prices.currency, &snapshot.figures, since);
                    let rows = |kind, limit| books.spenders(kind, limit, None);
                    Spending { now: now.take().flatten(), ..Spending::new(rows, snapshot.figures.used, cost) }
                };
                Some(alerts.change(|rules| {
                    let made = rules.evaluate(&input, spending);
                    if !is_delivered {
                        for alert in &made {
                            rules.delivered(&alert.id);
                        }
                    }
                    (made, rules.take_dropped())
                }))
            });
            match evaluated {
                Some(evaluated) => break evaluated,
                None => now = Some(self.spender_now().await),
            }
        };
        for (kind, count) in dropped {
            self.metrics.alerts.add([kind.name(), "dropped"], count);
        }
        for alert in made {
            tracing::warn!(alert = alert.id, event = alert.kind.name(), "{}", alert.log_text());
        }
    }

    /// Who has spent what in the last minutes, most bytes first. `span`: at most [`turn_ledger::RECENT_MAX`].
    pub async fn recent_spenders(&self, kind: SpenderKind, span: Duration) -> Vec<SpenderSums> {
        let mut walk = RecentSpenders::new(kind, self.read(Books::now).minus(span));
        self.read_in_parts(|books| walk.look(books.grants(), books.now()).then_some(())).await;
        walk.rows()
    }

    /// Who spends most of what flows now.
    async fn spender_now(&self) -> Option<SpenderNow> {
        let mut found = vec![];
        for kind in SpenderNow::KINDS {
            found.push((kind, self.recent_spenders(kind, SpenderNow::SPAN).await));
        }
        SpenderNow::of(&found)
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
