//! The account's list of what operators did.

use super::{Account, Guarded};
use crate::actions::OperatorAction;

impl Account {
    /// Notes a change by an operator. It is written with the next changes of the books.
    pub fn note_action(&self, what: String) {
        self.with_all(|Guarded { books, actions, .. }| {
            let now = books.now();
            actions.change(|actions| actions.add(now, what));
        });
    }

    /// What operators did, newest first.
    pub fn actions(&self) -> Vec<OperatorAction> {
        self.guarded.lock().actions.get().latest().cloned().collect()
    }
}
