//! What the store writes and reads: the books, and two values beside them that are stored as a whole.

use crate::actions::OperatorActions;
use crate::alert::rules::AlertRules;
use turn_ledger::{Batch, Stored};

/// Changes that are written together.
#[derive(Clone, Debug)]
pub struct Changes {
    /// Of the books.
    pub books: Batch,
    /// The alerts, if they have changed.
    pub alerts: Option<AlertRules>,
    /// What operators did, if that has changed.
    pub actions: Option<OperatorActions>,
}

/// Everything that is stored. The default is a new ledger.
#[derive(Clone, Debug, Default)]
pub struct Contents {
    /// The books.
    pub books: Stored,
    /// The alerts.
    pub alerts: AlertRules,
    /// What operators did.
    pub actions: OperatorActions,
}

impl From<Batch> for Changes {
    fn from(books: Batch) -> Self {
        Self { books, alerts: None, actions: None }
    }
}

impl Changes {
    /// Adds the changes that follow. Writing the result has the same effect as writing both in order.
    pub fn append(&mut self, later: Self) {
        self.books.append(later.books);
        self.alerts = later.alerts.or(self.alerts.take());
        self.actions = later.actions.or(self.actions.take());
    }
}
