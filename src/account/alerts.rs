//! The account's interface for operator alerts. An alert shows the books at one instant, and who spends just after it.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::{Account, Guarded, SpentIn};
use crate::alert::dispatcher::Outbox;
use crate::alert::mints::MintHours;
use crate::alert::rules::{AlertInput, Evaluation, KeptAlert};
use crate::alert::{Act, Alert, AlertCost, NAMED_KINDS, ServiceFacts, Spending, TOP_SPENDERS};
use crate::config::Config;
use crate::rate::WINDOW;
use turn_ledger::ByteCount;

impl Account {
    /// Logs the alerts that are due, and queues them for delivery if `is_delivered`. Without the lease nothing is due:
    /// the replica that leads evaluates them.
    pub async fn evaluate_alerts(&self, facts: ServiceFacts, config: &Config, is_delivered: bool) {
        if !self.holds_lease() {
            return;
        }
        let (input, cost) = self.with_all(|Guarded { books, over_limit, alerts, .. }| {
            let snapshot = self.snapshot_of(books);
            let cost = AlertCost::of(books);
            alerts.mints.observe(snapshot.figures.now, snapshot.counts);
            let of_books = AlertInput::of(&snapshot, facts, config);
            (AlertInput { spent_grants: std::mem::take(over_limit), ..of_books }, cost)
        });
        // All spenders are read only if one of the alerts will show them.
        let spending = if self.guarded.lock().alerts.will_show_spending(&input) {
            self.find_spenders(input.budget.used, cost).await
        } else {
            Spending::default()
        };
        let Evaluation { made, dropped } =
            self.with_all(|Guarded { alerts, .. }| alerts.evaluate(&input, &spending, is_delivered));
        for kind in dropped {
            self.metrics.alerts.count([kind.name(), "dropped"]);
        }
        for alert in made {
            let act = Act::stated_by(alert.kind).map(Act::name);
            tracing::warn!(alert = alert.id, event = alert.kind.name(), act, "{}", alert.log_text());
        }
    }

    /// Who spends, of the kinds that an alert can name.
    async fn find_spenders(&self, used: ByteCount, cost: AlertCost) -> Spending {
        // Not from the kept lists: they are up to ten seconds old, so they may lack the spender who has caused the alert.
        let (mut of_period, mut recent, mut lately) = (BTreeMap::new(), BTreeMap::new(), None);
        for kind in NAMED_KINDS {
            let list = Arc::new(self.list_spenders(kind, SpentIn::ThisPeriod).await);
            of_period.insert(kind, list.page(TOP_SPENDERS, None).await);
            let list = Arc::new(self.list_spenders(kind, SpentIn::Last(WINDOW)).await);
            lately = list.lately;
            recent.insert(kind, list.page(usize::MAX, None).await);
        }
        let recent = lately.map(|lately| (lately, recent));
        self.read(|books| {
            Spending::new(&of_period, recent.as_ref(), used, |spender| books.block_on(spender), cost)
        })
    }

    /// The mints of the last week.
    pub fn mints(&self) -> MintHours {
        self.guarded.lock().alerts.mints.clone()
    }

    /// The latest alerts, newest first.
    pub fn latest_alerts(&self) -> Vec<KeptAlert> {
        self.guarded.lock().alerts.latest().cloned().collect()
    }
}

impl Outbox for Account {
    /// The alerts that wait for delivery, after an attempt to write them to disk. Empty without the lease: the replica that leads has the
    /// same alerts.
    async fn waiting(&self) -> Vec<Alert> {
        let waiting: Vec<_> = self.guarded.lock().alerts.waiting().cloned().collect();
        if !waiting.is_empty() {
            // An alert about a ledger that cannot be written is sent, too.
            let _ = self.recorded().await;
        }
        if self.holds_lease() { waiting } else { vec![] }
    }

    fn remove(&self, id: &str) {
        self.guarded.lock().alerts.delivered(id);
    }
}
