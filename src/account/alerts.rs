//! The account's interface for operator alerts. The rules read the books under the same lock, so an alert shows one instant.

use std::cmp::Reverse;
use std::collections::BTreeMap;

use super::{Account, Guarded};
use crate::alert::dispatcher::Outbox;
use crate::alert::rules::{AlertInput, SourceStates};
use crate::alert::{Alert, AlertCost, Fault, SpenderNow, Spending, TOP_SPENDERS};
use crate::config::{Config, PriceConfig};
use crate::rate::{Lately, PresentRate};
use turn_ledger::{ByteCount, SpenderKind, SpenderSums, Sums, User};

/// The rows of each kind, most bytes first.
#[derive(Debug, Default)]
struct FoundSpenders {
    of_period: BTreeMap<SpenderKind, Vec<SpenderSums>>,
    lately: Lately,
    recent: BTreeMap<SpenderKind, Vec<SpenderSums>>,
}

impl Account {
    /// Logs the alerts that are due, and queues them for delivery if `is_delivered`. Without the lease nothing is due:
    /// the replica that leads evaluates them.
    pub async fn evaluate_alerts(&self, sources: SourceStates, config: &Config, is_delivered: bool) {
        let PriceConfig { price, currency } = &config.prices;
        if !self.holds_lease() {
            return;
        }
        let mut found: Option<FoundSpenders> = None;
        let (made, dropped) = loop {
            let evaluated = self.with_all(|Guarded { books, alerts, over_limit, .. }| {
                let snapshot = books.snapshot();
                let rate = PresentRate::of(books);
                let of_books = AlertInput::of(&snapshot, sources.clone(), rate, config.alert_percents);
                let mut input = AlertInput { spent_grants: over_limit.clone(), ..of_books };
                if self.ledger_fails() {
                    input.faults.push(Fault::LedgerFailing.found(""));
                }
                if found.is_none() && alerts.get().will_show_spending(&input) {
                    return None;
                }
                let spending = || {
                    let since = books.ledger().used_since();
                    let cost = AlertCost::of(price, currency, &snapshot.figures, since);
                    let found = found.take().unwrap_or_default();
                    let is_blocked = |user: &User| books.is_blocked(user);
                    Spending::new(
                        &found.of_period,
                        (&found.lately, &found.recent),
                        snapshot.figures.used,
                        is_blocked,
                        cost,
                    )
                };
                over_limit.clear();
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
                None => found = Some(self.find_spenders().await),
            }
        };
        for (kind, count) in dropped {
            self.metrics.alerts.add([kind.name(), "dropped"], count);
        }
        for alert in made {
            tracing::warn!(alert = alert.id, event = alert.kind.name(), "{}", alert.log_text());
        }
    }

    /// Who spends, of the kinds that an alert can name.
    async fn find_spenders(&self) -> FoundSpenders {
        // The kept lists are up to ten seconds old. The spender who has caused the alert may be missing there.
        self.forget_lists();
        let mut found = FoundSpenders { lately: self.read(Lately::of), ..FoundSpenders::default() };
        for kind in SpenderNow::KINDS {
            found.of_period.insert(kind, self.spenders(kind, None).await.page(TOP_SPENDERS, None));
            let mut recent = self.spenders(kind, Some(found.lately.since())).await.rows.clone();
            if found.lately.is_counted() {
                // Claims are about the time after the count.
                for row in &mut recent {
                    let Sums { first_seen, last_seen, .. } = row.sums;
                    let counted = [row.sums.measured(), ByteCount::ZERO, ByteCount::ZERO];
                    row.sums = Sums::of_grant(counted, [first_seen, last_seen]);
                }
                recent.sort_by_key(|row| Reverse(row.sums.bytes()));
            }
            found.recent.insert(kind, recent);
        }
        found
    }

    /// The latest alerts, newest first, and whether each one still waits for delivery.
    pub fn recent_alerts(&self) -> Vec<(Alert, bool)> {
        let guarded = self.guarded.lock();
        guarded.alerts.get().recent().map(|(alert, waits)| (alert.clone(), waits)).collect()
    }
}

impl Outbox for Account {
    /// None without the lease: the replica that leads has the same ones.
    async fn waiting(&self) -> Vec<Alert> {
        let waiting: Vec<_> = self.guarded.lock().alerts.get().pending().iter().cloned().collect();
        if !waiting.is_empty() {
            // An alert about a ledger that cannot be written is sent, too.
            let _ = self.recorded().await;
        }
        waiting.into_iter().filter(|_| self.holds_lease()).collect()
    }

    fn remove(&self, id: &str) {
        self.guarded.lock().alerts.change(|rules| rules.delivered(id));
    }
}
