//! What a store writes and reads: the books, and what its user stores beside them as one value.

use turn_ledger::{Batch, Stored};

/// Changes that are written together. `A`: what is stored beside the books.
#[derive(Clone, Debug)]
pub struct Changes<A> {
    /// Of the books.
    pub books: Batch,
    /// The value beside the books, if it has changed.
    pub alerts: Option<A>,
}

/// Everything that is stored. The default is a new ledger.
#[derive(Clone, Debug, Default)]
pub struct Contents<A> {
    /// The books.
    pub books: Stored,
    /// The value beside the books.
    pub alerts: A,
}

impl<A> From<Batch> for Changes<A> {
    fn from(books: Batch) -> Self {
        Self { books, alerts: None }
    }
}

impl<A> Changes<A> {
    /// Adds the changes that follow. Writing the result has the same effect as writing both in order.
    pub fn append(&mut self, later: Self) {
        self.books.append(later.books);
        self.alerts = later.alerts.or(self.alerts.take());
    }
}
