//! What the store writes and reads: the books, and the alerts, which are stored as a whole.

use crate::alert::rules::AlertRules;
use turn_ledger::{Batch, Stored};

/// Changes that are written together.
#[derive(Clone, Debug)]
pub struct Changes {
    /// Of the books.
    pub books: Batch,
    /// The alerts, if they have changed.
    pub alerts: Option<AlertRules>,
}

/// Everything that is stored. The default is a new ledger.
#[derive(Clone, Debug, Default)]
pub struct Contents {
    /// The books.
    pub books: Stored,
    /// The alerts.
    pub alerts: AlertRules,
}

impl From<Batch> for Changes {
    fn from(books: Batch) -> Self {
        Self { books, alerts: None }
    }
}

impl Changes {
    /// Adds the changes that follow. Writing the result has the same effect as writing both in order.
    pub fn append(&mut self, later: Self) {
        self.books.append(later.books);
        self.alerts = later.alerts.or(self.alerts.take());
    }
}
