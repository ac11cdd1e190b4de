//! What the store writes and reads: the books, and three values beside them that are stored as a whole.

use crate::actions::OperatorActions;
use crate::alert::rules::AlertRules;
use crate::rotation::KeyRotation;
use turn_ledger::{Batch, Stored};

/// Changes that are written together.
#[derive(Clone, Debug)]
pub struct Changes {
    /// Of the books.
    pub books: Batch,
    /// The alerts, if they have changed.
    pub alerts: Option<AlertRules>,
    /// The rotation of the TURN key, if it has changed. It holds secrets of keys.
    pub rotation: Option<KeyRotation>,
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
    /// The rotation of the TURN key.
    pub rotation: KeyRotation,
    /// What operators did.
    pub actions: OperatorActions,
}

impl From<Batch> for Changes {
    fn from(books: Batch) -> Self {
        Self { books, alerts: None, rotation: None, actions: None }
    }
}

impl Changes {
    /// Adds the changes that follow. Writing the result has the same effect as writing both in order.
    pub fn append(&mut self, later: Self) {
        self.books.append(later.books);
        self.alerts = later.alerts.or(self.alerts.take());
        self.rotation = later.rotation.or(self.rotation.take());
        self.actions = later.actions.or(self.actions.take());
    }
}
